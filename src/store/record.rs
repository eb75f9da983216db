//! Recording what is reported, in groups: all reports of a group are written by one statement.

use std::collections::HashSet;
use std::sync::Arc;

use sea_orm::ConnectionTrait;

use super::rows::Report;
use super::{Error, Store};
use crate::upload::{Part, Upload};

impl Store {
    /// Records parts that fit the upload, none of them twice, in the place of what was recorded for them before, as of when the
    /// upload was seen.
    /// Durable, all of them, when it returns.
    ///
    /// # Errors
    /// [`Error::Moved`] unless it is open still, and not yet expired; then nothing of this report is recorded, whatever
    /// becomes of others in its group.
    pub async fn record(&self, upload: &Upload, parts: Arc<[Part]>) -> Result<(), Error> {
        let weight = parts.len();
        let report = Report { upload_id: upload.id, recorded_at: upload.seen_at, parts };
        if self.groups.reports.ask(report, weight, self.clone(), Store::write).await? {
            return Ok(());
        }
        Err(Error::Moved(Box::new(self.by_id(upload.id).await?)))
    }

    /// Writes a group, in as few statements as it can. Whether each report was written, all of it.
    async fn write(self, group: Vec<Report>) -> Vec<Result<bool, Error>> {
        let mut outcomes: Vec<_> = group.iter().map(|_| None).collect();
        let mut waiting: Vec<usize> = (0..group.len()).collect();
        while !waiting.is_empty() {
            // One statement cannot write a part twice. The later report is to replace the earlier one, and waits for it.
            let is_alone = waiting.len() == 1;
            let mut taken = HashSet::new();
            let mut takes = |index: &usize| {
                let Report { upload_id, parts, .. } = &group[*index];
                let is_first = !parts.iter().any(|part| taken.contains(&(*upload_id, part.number)));
                taken.extend(parts.iter().map(|part| (*upload_id, part.number)));
                is_first
            };
            let is_first = |index: &usize| is_alone || takes(index);
            let (now, later): (Vec<usize>, Vec<usize>) = waiting.into_iter().partition(is_first);
            let reports: Vec<&Report> = now.iter().map(|index| &group[*index]).collect();
            match self.try_write(&reports).await {
                // Some of their uploads take no parts any more, or the database refuses what one of them holds. Which, shows
                // when each is written by itself; to write the others again changes nothing.
                Ok(false) | Err(Error::Database(_)) if reports.len() > 1 => {
                    for index in now {
                        outcomes[index] = Some(self.try_write(&[&group[index]]).await);
                    }
                }
                outcome => now.into_iter().for_each(|index| outcomes[index] = Some(outcome.clone())),
            }
            waiting = later;
        }
        outcomes.into_iter().flatten().collect()
    }

    /// Writes what can be written of these reports, by one statement. Whether that was all.
    async fn try_write(&self, reports: &[&Report]) -> Result<bool, Error> {
        // Of the same part, what is known already stays: a completion may be about to go by it.
        let replace = "UPDATE SET etag = excluded.etag, recorded_at = excluded.recorded_at,
            size = CASE WHEN parts.etag = excluded.etag
                THEN COALESCE(excluded.size, parts.size) ELSE excluded.size END,
            checksum = CASE WHEN parts.etag = excluded.etag
                THEN COALESCE(excluded.checksum, parts.checksum) ELSE excluded.checksum END";
        let written = self.write.execute_raw(self.insert(reports, replace)).await?;
        let wanted: usize = reports.iter().map(|report| report.parts.len()).sum();
        Ok(written.rows_affected() == wanted as u64)
    }
}
