//! Recording in groups: what is reported while one group is being written makes up the next one. A transaction, and the
//! disk's confirmation that it waits for, cost the same for one report as for a thousand; so the more reports there are in
//! flight, the less each of them costs. None is answered before it is durable, and none waits for others to come.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sea_orm::{ConnAcquireErr, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::entity::upload::{Column, Entity};
use super::{Error, Store};
use crate::upload::{Invalid, Part, State, Upload, Whose};

/// Parts in a group, unless one report alone has more.
const GROUP: usize = 1_000;

/// Reads a report against the upload it is of, as that is when it is written.
pub type Check = Box<dyn Fn(&Upload) -> Result<Vec<Part>, Invalid> + Send + Sync>;

type Recorded = Result<(Upload, Vec<Part>), Error>;

/// Parts to record.
struct Report {
    whose: Whose,
    id: Uuid,
    /// How many parts, about.
    weight: usize,
    check: Check,
    answer: oneshot::Sender<Recorded>,
}

impl Report {
    /// What it says of the upload of its id.
    fn read(&self, found: Option<&Result<Upload, Error>>) -> Recorded {
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

/// Reports that wait, and whether somebody writes them.
#[derive(Default)]
pub(super) struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    reports: VecDeque<Report>,
    is_written: bool,
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Queue").field("reports", &self.lock().reports.len()).finish()
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a report; whether whoever adds it is to see to it that all are written.
    fn push(&self, report: Report) -> bool {
        let mut waiting = self.lock();
        waiting.reports.push_back(report);
        !std::mem::replace(&mut waiting.is_written, true)
    }

    /// The reports that make up the next group; `None` when there are none, and nobody writes any more.
    fn group(&self) -> Option<Vec<Report>> {
        let mut waiting = self.lock();
        let mut weight = 0;
        let fits = |report: &&Report| {
            let is_first = weight == 0;
            weight += report.weight.max(1);
            is_first || weight <= GROUP
        };
        let count = waiting.reports.iter().take_while(fits).count();
        waiting.is_written = count > 0;
        (count > 0).then(|| waiting.reports.drain(..count).collect())
    }

    /// Puts back what the last group had no room for.
    fn put_back(&self, reports: Vec<Report>) {
        let mut waiting = self.lock();
        reports.into_iter().rev().for_each(|report| waiting.reports.push_front(report));
    }
}

/// Whoever writes, until it ends in whatever way: should that be a panic, the next report finds that nobody does.
struct Writer(Store);

impl Drop for Writer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.lock().is_written = false;
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
    pub async fn record(&self, whose: &Whose, id: Uuid, weight: usize, check: Check) -> Recorded {
        let (answer, answered) = oneshot::channel();
        if self.queue.push(Report { whose: whose.clone(), id, weight, check, answer }) {
            // In a task of its own: the client that comes first may go away, and with it what others wait for.
            let writer = Writer(self.clone());
            tokio::spawn(async move {
                while let Some(group) = writer.0.queue.group() {
                    writer.0.write(group).await;
                }
            });
        }
        answered.await.unwrap_or_else(|_| Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed).into()))
    }

    async fn write(&self, group: Vec<Report>) {
        let outcomes = match self.try_write(&group).await {
            // The database refuses what one of them holds: the others are not to suffer for it.
            Err(Error::Database(_)) if group.len() > 1 => {
                let mut outcomes = Vec::with_capacity(group.len());
                for report in &group {
                    outcomes.extend(
                        self.try_write(std::slice::from_ref(report))
                            .await
                            .unwrap_or_else(|error| vec![Some(Err(error))]),
                    );
                }
                outcomes
            }
            Err(error) => group.iter().map(|_| Some(Err(error.clone()))).collect(),
            Ok(outcomes) => outcomes,
        };
        let mut again = Vec::new();
        for (report, outcome) in group.into_iter().zip(outcomes) {
            match outcome {
                // Who asked may have gone away; what is recorded is recorded.
                Some(outcome) => drop(report.answer.send(outcome)),
                None => again.push(report),
            }
        }
        self.queue.put_back(again);
    }

    /// Writes a group in one transaction. What becomes of each report; `None` if it is to be written again, after this group.
    async fn try_write(&self, group: &[Report]) -> Result<Vec<Option<Recorded>>, Error> {
        let transaction = self.begin().await?;
        let mut ids: Vec<Uuid> = group.iter().map(|report| report.id).collect();
        ids.sort_unstable();
        ids.dedup();
        // Held so that none of them can be completed or aborted while its parts are written; in one order always, for two
        // that hold the same in different orders would wait for each other for ever.
        let select = Entity::find().filter(self.is_among(Column::Id, &ids)).order_by_asc(Column::Id).lock_shared();
        let mut found = HashMap::with_capacity(ids.len());
        for upload in self.all_seen(&transaction, select).await? {
            let id = match &upload {
                Ok(upload) => upload.id,
                Err(Error::Inconsistent { id, .. }) => *id,
                Err(error) => return Err(error.clone()),
            };
            found.insert(id, upload);
        }
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
