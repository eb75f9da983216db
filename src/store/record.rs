//! Recording what is reported, in groups: all reports of a group are written in one transaction.

use std::collections::HashSet;
use std::fmt;

use sea_orm::{EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::entity::upload::{Column, Entity};
use super::{Error, Store};
use crate::upload::{Invalid, Part, State, Upload, Whose};

/// Reads a report against the upload it is of, as that is when it is written.
pub type Check = Box<dyn Fn(&Upload) -> Result<Vec<Part>, Invalid> + Send + Sync>;

/// The upload, and its parts as they are recorded.
pub(super) type Taken = (Upload, Vec<Part>);

/// Parts to record.
pub(super) struct Report {
    whose: Whose,
    id: Uuid,
    check: Check,
}

impl fmt::Debug for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Report").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Report {
    /// What it says of the upload of its id.
    fn read(&self, found: Option<&Result<Upload, Error>>) -> Result<Taken, Error> {
        match found {
            Some(Ok(upload)) if !self.whose.includes(&upload.owner) => Err(Error::NotFound),
            Some(Ok(upload)) if upload.status.state() != State::Open || upload.expires_at <= upload.seen_at => {
                Err(Error::Moved(Box::new(upload.clone())))
            }
            Some(Ok(upload)) => Ok((upload.clone(), (self.check)(upload).map_err(Error::Refused)?)),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::NotFound),
        }
    }
}

impl Store {
    /// Records the parts that `check` reads from a report, in the place of what was recorded for them before; `weight` is
    /// about how many they are. Durable, all of them, when it returns: the upload, and the parts as they are recorded.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Moved`] unless the upload is open and not yet expired, [`Error::Refused`] as `check`
    /// says; then nothing of this report is recorded, whatever becomes of others in its group.
    pub async fn record(
        &self,
        whose: &Whose,
        id: Uuid,
        weight: usize,
        check: Check,
    ) -> Result<(Upload, Vec<Part>), Error> {
        let (store, whose) = (self.clone(), whose.clone());
        let work = move |group| {
            let store = store.clone();
            async move { store.write(group).await }
        };
        self.groups.reports.ask(Report { whose, id, check }, weight, work).await
    }

    /// Writes a group, in as few transactions as it can. What becomes of each report.
    async fn write(&self, group: Vec<Report>) -> Vec<Result<Taken, Error>> {
        let mut outcomes: Vec<Option<Result<Taken, Error>>> = group.iter().map(|_| None).collect();
        let mut waiting: Vec<usize> = (0..group.len()).collect();
        while !waiting.is_empty() {
            let reports: Vec<&Report> = waiting.iter().map(|index| &group[*index]).collect();
            let written = match self.try_write(&reports).await {
                // The database refuses what one of them holds: the others are not to suffer for it.
                Err(Error::Database(_)) if reports.len() > 1 => {
                    let mut written = Vec::with_capacity(reports.len());
                    for report in reports {
                        let alone = self.try_write(&[report]).await;
                        written.extend(alone.unwrap_or_else(|error| vec![Some(Err(error))]));
                    }
                    written
                }
                Err(error) => reports.iter().map(|_| Some(Err(error.clone()))).collect(),
                Ok(written) => written,
            };
            for (index, outcome) in waiting.iter().zip(written) {
                outcomes[*index] = outcome;
            }
            waiting.retain(|index| outcomes[*index].is_none());
        }
        outcomes.into_iter().flatten().collect()
    }

    /// Writes a group in one transaction. What becomes of each report; `None` if it is to be written
    /// after this group.
    async fn try_write(&self, group: &[&Report]) -> Result<Vec<Option<Result<Taken, Error>>>, Error> {
        let transaction = self.begin().await?;
        let mut ids: Vec<Uuid> = group.iter().map(|report| report.id).collect();
        ids.sort_unstable();
        ids.dedup();
        // Held so that none of them can be completed or aborted while its parts are written; in one order always, for two
        // that hold the same in different orders would wait for each other for ever.
        let select = Entity::find().filter(self.is_among(Column::Id, &ids)).order_by_asc(Column::Id).lock_shared();
        let found = self.all_by_id(&transaction, select).await?;
        let mut taken = HashSet::new();
        let outcomes: Vec<_> = group
            .iter()
            .map(|report| {
                let read = report.read(found.get(&report.id));
                if let (Ok((_, parts)), 2..) = (&read, group.len()) {
                    // One statement cannot write a part twice. The later report is to replace the earlier one.
                    if parts.iter().any(|part| taken.contains(&(report.id, part.number))) {
                        return None;
                    }
                    taken.extend(parts.iter().map(|part| (report.id, part.number)));
                }
                Some(read)
            })
            .collect();
        let read = outcomes.iter().flatten().flatten();
        let parts: Vec<_> = read.flat_map(|(upload, parts)| parts.iter().map(move |part| (upload, part))).collect();
        if parts.is_empty() {
            transaction.rollback().await?;
        } else {
            self.replace_parts(&transaction, parts).await?;
            transaction.commit().await?;
        }
        Ok(outcomes)
    }
}
