//! Taking in what clients report and what S3 lists.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::sign::fit;
use super::{Coordinator, Error, Snapshot};
use crate::bucket::{self, ListedPart};
use crate::upload::{ETag, Invalid, MAX_PARTS, Owner, Part, Upload};

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
    pub async fn record(&self, owner: &Owner, id: Uuid, reports: Vec<PartReport>) -> Result<Snapshot, Error> {
        let upload = self.open_upload(owner, id).await?;
        self.record_in(&upload, reports).await?;
        let upload = self.keep_alive(upload, None).await?;
        self.snapshot(upload).await
    }

    /// Records one part; returns it as it is recorded.
    ///
    /// # Errors
    /// As [`Coordinator::record`].
    pub async fn record_one(&self, owner: &Owner, id: Uuid, report: PartReport) -> Result<(Upload, Part), Error> {
        let upload = self.open_upload(owner, id).await?;
        let mut recorded = self.record_in(&upload, vec![report]).await?;
        let upload = self.keep_alive(upload, None).await?;
        match recorded.pop() {
            Some(part) => Ok((upload, part)),
            None => Err(Error::UploadNotFound),
        }
    }

    pub(super) async fn record_in(&self, upload: &Upload, reports: Vec<PartReport>) -> Result<Vec<Part>, Error> {
        if reports.len() > MAX_PARTS as usize {
            return Err(Invalid::BatchTooLarge(MAX_PARTS.into()).into());
        }
        let mut numbers = BTreeSet::new();
        let mut parts = Vec::with_capacity(reports.len());
        for (index, report) in reports.into_iter().enumerate() {
            let part = self.check_report(upload, report)?;
            if !numbers.insert(part.number) {
                let field = format!("parts[{index}].partNumber");
                return Err(Invalid::Request { field, detail: "a part may be named once in a call" }.into());
            }
            parts.push(part);
        }
        self.0.store.record_parts(&upload.owner, upload.id, &parts).await?;
        Ok(parts)
    }

    fn check_report(&self, upload: &Upload, report: PartReport) -> Result<Part, Error> {
        let planned = upload.plan.part(report.number)?;
        let size = fit(upload, planned, report.size)?;
        match (upload.part_checksum, &report.checksum) {
            (Some(algorithm), Some(value)) => algorithm.check(value)?,
            (None, Some(_)) => return Err(Invalid::Checksum("this upload was created without partChecksum").into()),
            (_, None) => {}
        }
        Ok(Part {
            number: report.number,
            etag: ETag::new(report.etag)?,
            // Of a stream's part only the client knows the size.
            size: if upload.plan.size().is_some() { Some(size) } else { report.size },
            checksum: report.checksum,
            recorded_at: upload.seen_at,
        })
    }

    /// Asks S3 which parts it holds and brings the ledger into line.
    ///
    /// # Errors
    /// The refusals of an upload that is not open, and S3's own.
    pub async fn sync(&self, owner: &Owner, id: Uuid) -> Result<Snapshot, Error> {
        let upload = self.open_upload(owner, id).await?;
        self.sync_in(&upload).await?;
        let upload = self.keep_alive(upload, None).await?;
        self.snapshot_with_missing(upload).await
    }

    pub(super) async fn sync_in(&self, upload: &Upload) -> Result<(), Error> {
        let Some(s3_upload_id) = &upload.s3_upload_id else { return Ok(()) };
        let listed_from = self.0.store.now().await?;
        let listed = match self.0.bucket.list_parts(upload, s3_upload_id).await {
            Ok(listed) => listed,
            Err(bucket::Error::NotFound { code }) => {
                // S3 has dropped it, or has completed it for somebody else. The next completion will find out.
                tracing::warn!(upload_id = %upload.id, code, "S3 does not know an open upload");
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        let recorded = self.0.store.parts(upload.id, 0, MAX_PARTS as u64).await?;
        let Reconciled { found, lost } = reconcile(upload, &recorded, &listed);
        Ok(self.0.store.take_listing(&upload.owner, upload.id, listed_from, &found, &lost).await?)
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Reconciled {
    /// Not recorded, and listed without doubt.
    found: Vec<Part>,
    /// Recorded, but not what S3 holds.
    lost: Vec<i32>,
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
            None => reconciled.lost.push(part.number),
            Some(_) => {}
        }
    }
    for (number, listed) in candidates {
        if let [only] = listed.as_slice() {
            let (etag, size, checksum) = (only.etag.clone(), Some(only.size), only.checksum.clone());
            reconciled.found.push(Part { number, etag, size, checksum, recorded_at: upload.seen_at });
        }
    }
    reconciled
}
