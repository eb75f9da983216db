//! Holding ledger and bucket against each other, both ways, and mending what can be mended without guessing.

use std::fmt;

use futures_util::{Stream, StreamExt, stream};
use uuid::Uuid;

use super::{Coordinator, Error, Place};
use crate::bucket::{self, FoundObject, Marker};
use crate::upload::{AbortReason, Ending, Failure, State, Status, Upload};

/// Rows of one page, and keys of one page of S3's.
const PAGE: u64 = 1_000;
/// Questions to S3 at the same time.
const AT_ONCE: usize = 16;

/// Where ledger and bucket disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// In what respect.
    pub kind: Disagreement,
    /// Of which upload.
    pub id: Uuid,
    /// Under which key.
    pub key: String,
    /// Where the ledger has it; `None` if it does not.
    pub state: Option<State>,
}

/// In what respect ledger and bucket disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disagreement {
    /// The ledger says completed; S3 has no such object of ours, or one of another size. Mending: the file is deleted.
    ObjectMissing,
    /// S3 has the finished object of an upload that the ledger has as unfinished. Mending: it is completed.
    NotCompleted,
    /// S3 has an object of an upload that ended without one. Mending: the object is removed.
    ObjectOfEnded,
    /// The ledger says open; S3 has neither the upload nor its object. Mending: it fails.
    UploadVanished,
    /// S3 has an object of our form whose upload the ledger does not have. Left alone: it is somebody's data.
    ObjectUnknown,
    /// The row contradicts itself. Left alone.
    RowInconsistent,
    /// The row is of a bucket that is not configured any more, and was not looked at.
    OtherBucket,
    /// S3 did not say what is there.
    Unclear,
}

impl Disagreement {
    /// Whether [`Coordinator::mend`] knows what to do.
    pub const fn is_mendable(self) -> bool {
        matches!(self, Self::ObjectMissing | Self::NotCompleted | Self::ObjectOfEnded | Self::UploadVanished)
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ObjectMissing => "completed without object",
            Self::NotCompleted => "object of ours not completed",
            Self::ObjectOfEnded => "object of an ended upload",
            Self::UploadVanished => "open upload that S3 does not have",
            Self::ObjectUnknown => "object of an unknown upload",
            Self::RowInconsistent => "row that contradicts itself",
            Self::OtherBucket => "row of another bucket",
            Self::Unclear => "no answer",
        })
    }
}

/// A page of rows, looked at.
#[derive(Debug)]
pub struct Examined {
    /// Rows of the page.
    pub rows: usize,
    /// Completed ones among them.
    pub completed: usize,
    /// What was found.
    pub findings: Vec<Finding>,
    /// After which row the next page begins; `None` at the end.
    pub next: Option<Uuid>,
}

impl Coordinator {
    /// Holds a page of the ledger's rows against the bucket. Changes nothing.
    ///
    /// # Errors
    /// When the ledger does not answer. That S3 does not is a finding.
    pub async fn examine_rows(&self, after: Option<Uuid>) -> Result<Examined, Error> {
        let rows = self.0.store.all(after, PAGE).await.map_err(Error::Store)?;
        let id = |row: &Result<Upload, crate::store::Error>| match row {
            Ok(upload) => Some(upload.id),
            Err(crate::store::Error::Inconsistent { id, .. }) => Some(*id),
            Err(_) => None,
        };
        let next = rows.last().and_then(id).filter(|_| rows.len() as u64 == PAGE);
        let (count, mut completed) = (rows.len(), 0);
        let mut findings = Vec::new();
        let mut uploads = Vec::new();
        for row in rows {
            match (id(&row), row) {
                (_, Ok(upload)) => {
                    completed += usize::from(matches!(upload.status, Status::Completed(_)));
                    uploads.push(upload);
                }
                (id, Err(_)) => findings.push(Finding {
                    kind: Disagreement::RowInconsistent,
                    id: id.unwrap_or_default(),
                    key: String::new(),
                    state: None,
                }),
            }
        }
        let found = stream::iter(uploads).map(|upload| async move { self.examine(&upload).await }).buffered(AT_ONCE);
        findings.extend(found.filter_map(|finding| async move { finding }).collect::<Vec<_>>().await);
        Ok(Examined { rows: count, completed, findings, next })
    }

    async fn examine(&self, upload: &Upload) -> Option<Finding> {
        let kind = if !self.0.rules.places.iter().any(|place| place.bucket == upload.bucket) {
            Some(Disagreement::OtherBucket)
        } else {
            self.compare(upload).await.unwrap_or_else(|error| {
                tracing::warn!(upload_id = %upload.id, %error, "S3 did not say what it has");
                Some(Disagreement::Unclear)
            })
        };
        let state = Some(upload.status.state());
        kind.map(|kind| Finding { kind, id: upload.id, key: upload.key.clone(), state })
    }

    async fn compare(&self, upload: &Upload) -> Result<Option<Disagreement>, bucket::Error> {
        let found = |found: Option<FoundObject>| found.filter(|found| found.is_of(upload));
        Ok(match &upload.status {
            Status::Completed(object) => {
                let there = found(self.bucket(upload).head_version(upload, object.version_id.as_deref()).await?);
                there.is_none_or(|there| there.size != object.size).then_some(Disagreement::ObjectMissing)
            }
            // The sweeper is on its way to find out.
            Status::Creating { .. } | Status::Deleting(_) => None,
            Status::Aborted(_) | Status::Failed(_) | Status::Deleted(_) => {
                found(self.bucket(upload).head(upload).await?).map(|_| Disagreement::ObjectOfEnded)
            }
            Status::Completing { .. } | Status::Aborting { .. } => {
                found(self.bucket(upload).head(upload).await?).map(|_| Disagreement::NotCompleted)
            }
            Status::Open => {
                if found(self.bucket(upload).head(upload).await?).is_some() {
                    return Ok(Some(Disagreement::NotCompleted));
                }
                let Some(s3_upload_id) = &upload.s3_upload_id else { return Ok(None) };
                match self.bucket(upload).list_parts(upload, s3_upload_id).await {
                    Ok(_) => None,
                    // Between the two questions it may have been completed.
                    Err(bucket::Error::NotFound { .. }) => match found(self.bucket(upload).head(upload).await?) {
                        Some(_) => Some(Disagreement::NotCompleted),
                        None => Some(Disagreement::UploadVanished),
                    },
                    Err(error) => return Err(error),
                }
            }
        })
    }

    /// The objects of our form, where ours are, whose uploads the ledger does not have. Read page by page, as they are
    /// asked for.
    pub fn unknown_objects(&self) -> impl Stream<Item = Result<Finding, Error>> + Send {
        self.everywhere(|place, from| self.unknown_objects_at(place, from))
    }

    async fn unknown_objects_at(&self, place: &Place, from: Marker) -> Result<(Vec<Finding>, Option<Marker>), Error> {
        let (keys, next) = self.bucket_named(&place.bucket).keys_under(&place.prefix, from).await?;
        let id_in = |key: &str| self.0.rules.id_in(&place.bucket, key);
        let ours: Vec<(Uuid, String)> = keys.into_iter().filter_map(|key| Some((id_in(&key)?, key))).collect();
        let ids: Vec<Uuid> = ours.iter().map(|(id, _)| *id).collect();
        let known = self.0.store.known(&ids).await.map_err(Error::Store)?;
        let unknown = ours.into_iter().filter(|(id, _)| !known.contains_key(id));
        let finding = |(id, key)| Finding { kind: Disagreement::ObjectUnknown, id, key, state: None };
        Ok((unknown.map(finding).collect(), next))
    }

    /// Mends what was found, by the ways that any upload ends: every step is guarded, so what has moved meanwhile is left
    /// alone. Returns the upload as it is then.
    ///
    /// # Errors
    /// When S3 or the ledger does not answer, or the upload has moved.
    pub async fn mend(&self, finding: &Finding) -> Result<Upload, Error> {
        let upload = self.0.store.any(finding.id).await.map_err(Error::Store)?;
        // What has mended itself since is left alone.
        if !finding.kind.is_mendable() || self.compare(&upload).await? != Some(finding.kind) {
            return Ok(upload);
        }
        match (finding.kind, &upload.status) {
            (Disagreement::ObjectMissing, Status::Completed(_)) => {
                let deleting = self.0.store.delete(&upload).await?;
                self.finish_delete(deleting).await
            }
            (Disagreement::NotCompleted, Status::Open) => {
                // An abort finds the finished object, and completes the upload with it.
                let aborting = self.0.store.abort(&upload, Ending::Abort(AbortReason::Expired)).await?;
                self.finish_abort(aborting).await
            }
            (Disagreement::NotCompleted, Status::Completing { .. }) => self.go_on(upload).await,
            (Disagreement::NotCompleted, Status::Aborting { .. }) => self.finish_abort(upload).await,
            (Disagreement::ObjectOfEnded, Status::Aborted(_) | Status::Failed(_) | Status::Deleted(_)) => {
                if let Some(found) = self.bucket(&upload).head(&upload).await?.filter(|found| found.is_of(&upload)) {
                    self.bucket(&upload).delete(&upload.key, found.version_id.as_deref()).await?;
                }
                Ok(upload)
            }
            (Disagreement::UploadVanished, Status::Open) => {
                let aborting = self.0.store.abort(&upload, Ending::Fail(Failure::UploadVanished)).await?;
                self.finish_abort(aborting).await
            }
            _ => Ok(upload),
        }
    }

    /// Marks the database as one that came from a backup: nothing is swept until it was mended.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn distrust_ledger(&self) -> Result<(), Error> {
        self.0.store.distrust().await.map_err(Error::Store)
    }

    /// Whether the database is marked so.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn distrusts_ledger(&self) -> Result<bool, Error> {
        self.0.store.is_restored().await.map_err(Error::Store)
    }

    /// Takes the mark off: the database was held against the bucket, and mended.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn trust_ledger(&self) -> Result<(), Error> {
        self.0.store.trust().await.map_err(Error::Store)
    }
}
