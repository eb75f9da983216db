//! Taking in what clients report and what S3 lists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::sign::fit;
use super::{Coordinator, Error, Snapshot};
use crate::bucket::{self, ListedPart};
use crate::upload::{ETag, Invalid, MAX_PARTS, Part, Upload, Whose};

/// What a client says of a part that it has sent.
#[derive(Debug, Clone)]
pub struct PartReport {
    /// 1 to 10,000.
    pub number: i32,
    /// The ETag that S3 answered with.
    pub etag: String,
    /// Bytes.
    pub size: Option<i64>,
    /// Base64, in the upload's algorithm.
    pub checksum: Option<String>,
}

impl Coordinator {
    /// Records parts, all or none, in the place of what was recorded for them before. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::Invalid`], and the refusals of an upload that is not open.
    pub async fn record(&self, whose: &Whose, id: Uuid, reports: Vec<PartReport>) -> Result<Snapshot, Error> {
        let upload = self.open_upload(whose, id).await?;
        self.record_in(&upload, &reports).await?;
        let upload = self.keep_alive(upload, None, None).await?;
        self.snapshot(Arc::unwrap_or_clone(upload)).await
    }

    /// Records one part; returns it as it is recorded.
    ///
    /// # Errors
    /// As [`Coordinator::record`].
    pub async fn record_one(&self, whose: &Whose, id: Uuid, report: PartReport) -> Result<(Arc<Upload>, Part), Error> {
        let upload = self.open_upload(whose, id).await?;
        let part = check_report(&upload, &report)?;
        self.0.store.record(&upload, Arc::new([part.clone()])).await?;
        let upload = self.keep_alive(upload, None, None).await?;
        Ok((upload, part))
    }

    /// What an upload takes does not change: only whether it takes anything still is seen to by the ledger.
    pub(super) async fn record_in(&self, upload: &Upload, reports: &[PartReport]) -> Result<(), Error> {
        self.0.store.record(upload, check_reports(upload, reports)?.into()).await?;
        Ok(())
    }

    /// Asks S3 which parts it holds and brings the ledger into line.
    ///
    /// # Errors
    /// The refusals of an upload that is not open, and S3's own.
    pub async fn sync(&self, whose: &Whose, id: Uuid) -> Result<Snapshot, Error> {
        let upload = self.open_upload(whose, id).await?;
        self.sync_in(&upload).await?;
        let upload = self.keep_alive(upload, None, None).await?;
        self.snapshot_with_missing(Arc::unwrap_or_clone(upload)).await
    }

    /// Whether S3 knows the upload; if it does, the ledger is in line with it when this returns.
    pub(super) async fn sync_in(&self, upload: &Upload) -> Result<bool, Error> {
        let Some(s3_upload_id) = &upload.s3_upload_id else {
            return Ok(true);
        };
        let listed_from = self.0.store.now().await?;
        let listed = match self.bucket(upload).list_parts(upload, s3_upload_id).await {
            Ok(listed) => listed,
            Err(bucket::Error::NotFound { code }) => {
                // S3 has dropped it, or has completed it: a completion finds out which. Until then nothing is forgotten.
                tracing::warn!(upload_id = %upload.id, code, "S3 does not know an open upload");
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        };
        let recorded = self.0.store.parts(upload, 0, MAX_PARTS as u64).await?;
        let Reconciled { found, lost } = reconcile(upload, &recorded, &listed);
        self.0.store.take_listing(upload, listed_from, &found, &lost).await?;
        Ok(true)
    }
}

/// What is reported, if it fits the upload.
fn check_reports(upload: &Upload, reports: &[PartReport]) -> Result<Vec<Part>, Invalid> {
    if reports.len() > MAX_PARTS as usize {
        return Err(Invalid::BatchTooLarge(MAX_PARTS.into()));
    }
    let mut numbers = BTreeSet::new();
    let mut parts = Vec::with_capacity(reports.len());
    for (index, report) in reports.iter().enumerate() {
        let part = check_report(upload, report)?;
        if !numbers.insert(part.number) {
            let field = format!("parts[{index}].partNumber");
            return Err(Invalid::Request { field, detail: "a part may be named once in a call" });
        }
        parts.push(part);
    }
    Ok(parts)
}

fn check_report(upload: &Upload, report: &PartReport) -> Result<Part, Invalid> {
    let planned = upload.plan.part(report.number)?;
    let size = fit(upload, planned, report.size)?;
    match (upload.part_checksum, &report.checksum) {
        (Some(algorithm), Some(value)) => algorithm.check(value)?,
        (None, Some(_)) => return Err(Invalid::Checksum("this upload was created without partChecksum")),
        (_, None) => {}
    }
    Ok(Part {
        number: report.number,
        etag: ETag::new(report.etag.as_str())?,
        // Of a stream's part only the client knows the size.
        size: if upload.plan.size().is_some() { Some(size) } else { report.size },
        checksum: report.checksum.clone(),
        recorded_at: Some(upload.seen_at),
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Reconciled {
    /// Listed without doubt, and not recorded, or recorded without its size or checksum.
    found: Vec<Part>,
    /// Recorded, but not what S3 holds.
    lost: Vec<Part>,
}

/// What a listing tells. A part of the wrong size does not count. A recorded ETag that S3 lists stays, whatever else is
/// listed for the part; without a record, several ETags leave open which one S3 would take.
fn reconcile(upload: &Upload, recorded: &[Part], listed: &[ListedPart]) -> Reconciled {
    let mut candidates: BTreeMap<i32, Vec<&ListedPart>> = BTreeMap::new();
    for part in listed {
        let fits = upload.plan.part(part.number).is_ok_and(|planned| fit(upload, planned, Some(part.size)).is_ok());
        let entry = candidates.entry(part.number).or_default();
        if fits && entry.iter().all(|known| known.etag != part.etag) {
            entry.push(part);
        }
    }
    let mut reconciled = Reconciled::default();
    for part in recorded {
        let listed = candidates.remove(&part.number).unwrap_or_default();
        match listed.iter().find(|candidate| candidate.etag == part.etag) {
            None => reconciled.lost.push(part.clone()),
            Some(same) if part.size != Some(same.size) || (part.checksum.is_none() && same.checksum.is_some()) => {
                let checksum = part.checksum.clone().or(same.checksum.clone());
                reconciled.found.push(Part { size: Some(same.size), checksum, ..part.clone() });
            }
            Some(_) => {}
        }
    }
    for (number, listed) in candidates {
        if let [only] = listed.as_slice() {
            let (etag, size, checksum) = (only.etag.clone(), Some(only.size), only.checksum.clone());
            reconciled.found.push(Part { number, etag, size, checksum, recorded_at: Some(upload.seen_at) });
        }
    }
    reconciled
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono::DateTime;

    use super::*;
    use crate::upload::{MIB, Owner, Plan, Status};

    fn upload(size: Option<i64>) -> Upload {
        let moment = DateTime::from_timestamp(1_795_313_820, 0).expect("a moment");
        Upload {
            id: Uuid::nil(),
            owner: Owner("local".into()),
            preset: "default".into(),
            filename: "x".into(),
            content_type: "text/plain".into(),
            metadata: BTreeMap::new(),
            plan: Plan::stored(size, 8 * MIB),
            part_checksum: None,
            auto_complete: false,
            checksum: None,
            fingerprint: None,
            visibility: crate::upload::Visibility::Private,
            reserved: 0,
            bucket: "b".into(),
            key: "k".into(),
            s3_upload_id: Some("u".into()),
            creations: 1,
            begun_at: moment,
            status: Status::Open,
            last_problem: None,
            version: 1,
            created_at: moment,
            updated_at: moment,
            expires_at: moment,
            hard_expires_at: moment,
            urls_expire_at: None,
            seen_at: moment,
        }
    }

    fn listed(number: i32, etag: &str, size: i64) -> ListedPart {
        ListedPart { number, etag: ETag::new(etag).expect("an ETag"), size, checksum: None }
    }

    fn recorded(number: i32, etag: &str) -> Part {
        let (etag, recorded_at) = (ETag::new(etag).expect("an ETag"), Some(upload(None).seen_at));
        Part { number, etag, size: Some(8 * MIB), checksum: None, recorded_at }
    }

    /// What is found, as number and ETag, and what is lost.
    fn outcome(size: Option<i64>, recorded: &[Part], listed: &[ListedPart]) -> (Vec<(i32, String)>, Vec<i32>) {
        let Reconciled { found, lost } = reconcile(&upload(size), recorded, listed);
        let lost = lost.into_iter().map(|part| part.number).collect();
        (found.into_iter().map(|part| (part.number, part.etag.as_str().to_owned())).collect(), lost)
    }

    #[test]
    fn a_recorded_etag_that_s3_lists_stays_whatever_else_is_listed() {
        let twice = [listed(1, "old", 8 * MIB), listed(1, "new", 8 * MIB), listed(1, "old", 8 * MIB)];
        assert_eq!(outcome(Some(20 * MIB), &[recorded(1, "\"new\"")], &twice), (vec![], vec![]));
        assert_eq!(outcome(Some(20 * MIB), &[recorded(1, "other")], &twice), (vec![], vec![1]));
    }

    #[test]
    fn an_unrecorded_part_is_taken_only_when_there_is_no_doubt() {
        let once = [listed(2, "a", 8 * MIB), listed(2, "a", 8 * MIB)];
        assert_eq!(outcome(Some(20 * MIB), &[], &once), (vec![(2, "a".into())], vec![]));
        let doubtful = [listed(2, "a", 8 * MIB), listed(2, "b", 8 * MIB)];
        assert_eq!(outcome(Some(20 * MIB), &[], &doubtful), (vec![], vec![]));
    }

    #[test]
    fn a_part_of_the_wrong_size_or_beyond_the_plan_does_not_count() {
        let wrong = [listed(1, "a", 8 * MIB - 1), listed(3, "c", 8 * MIB), listed(4, "d", 8 * MIB)];
        assert_eq!(outcome(Some(20 * MIB), &[recorded(1, "a")], &wrong), (vec![], vec![1]));
        assert_eq!(outcome(Some(20 * MIB), &[], &[listed(3, "c", 4 * MIB)]), (vec![(3, "c".into())], vec![]));
        let stream = [listed(1, "a", 8 * MIB), listed(2, "b", 5), listed(3, "c", 9 * MIB)];
        assert_eq!(outcome(None, &[], &stream), (vec![(1, "a".into()), (2, "b".into())], vec![]));
    }

    #[test]
    fn a_missing_checksum_is_learned_from_s3() {
        let mut told = listed(1, "a", 8 * MIB);
        told.checksum = Some("AAAAAA==".into());
        let Reconciled { found, lost } = reconcile(&upload(Some(20 * MIB)), &[recorded(1, "a")], &[told]);
        assert_eq!((found[0].checksum.as_deref(), lost), (Some("AAAAAA=="), vec![]));
    }
}
