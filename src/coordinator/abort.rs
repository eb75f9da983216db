//! Giving an upload up, and making sure that S3 holds nothing of it.

use chrono::TimeDelta;
use uuid::Uuid;

use super::create::CREATE_LEASE;
use super::error::refusal;
use super::{Coordinator, Error, to_the_end};
use crate::bucket::{self, FoundObject};
use crate::store;
use crate::upload::{AbortReason, Ending, Failure, Object, Owner, Status, Upload};

/// S3 judges a URL when a request begins: a transfer begun in time may land this long after its URL ended.
const MAX_TRANSFER: TimeDelta = TimeDelta::hours(1);
/// When to look again after S3 did not say what it holds.
const LOOK_AGAIN: TimeDelta = TimeDelta::minutes(1);

impl Coordinator {
    /// Gives the upload up. When it returns the intent is durable: nothing is signed, recorded or completed any more, and
    /// S3 is rid of it as far as S3 answered. Repeating it tries again.
    ///
    /// # Errors
    /// [`Error::AlreadyCompleted`], [`Error::NotOpen`] while a completion is in flight, [`Error::UploadNotFound`].
    pub async fn abort(&self, owner: &Owner, id: Uuid) -> Result<(), Error> {
        let (this, owner) = (self.clone(), owner.clone());
        to_the_end(async move { this.abort_to_the_end(&owner, id).await }).await
    }

    async fn abort_to_the_end(&self, owner: &Owner, id: Uuid) -> Result<(), Error> {
        let mut upload = self.0.store.find(owner, id).await?;
        loop {
            let aborting = match &upload.status {
                Status::Creating { .. } | Status::Open => {
                    match self.0.store.abort(&upload, Ending::Abort(AbortReason::Requested)).await {
                        // Somebody moved it meanwhile: look where it is now.
                        Err(store::Error::Moved(moved)) => {
                            upload = *moved;
                            continue;
                        }
                        outcome => outcome?,
                    }
                }
                Status::Aborting(_) => upload,
                Status::Aborted(_) | Status::Failed(_) => return Ok(()),
                Status::Completed(_) | Status::Deleting(_) | Status::Deleted(_) => return Err(Error::AlreadyCompleted),
                Status::Completing { .. } => return Err(refusal(&upload)),
            };
            return match self.finish_abort(aborting).await?.status {
                Status::Completed(_) => Err(Error::AlreadyCompleted),
                _ => Ok(()),
            };
        }
    }

    /// aborting → aborted or failed, once it is proved that S3 holds nothing of the upload and that nothing can land there
    /// any more; → completed if it turns out that it had been completed after all. Until then it stays `aborting`.
    pub(super) async fn finish_abort(&self, upload: Upload) -> Result<Upload, Error> {
        let outcome = match self.rid(&upload).await {
            Ok(None) => match quiet_until(&upload) {
                Some(quiet_until) if quiet_until > upload.seen_at => self.0.store.put_off(&upload, quiet_until).await,
                _ => self.0.store.end(&upload).await,
            },
            Ok(Some(object)) => self.0.store.complete(&upload, &object).await,
            Err(error) => {
                tracing::warn!(upload_id = %upload.id, %error, "an abort is not proved yet");
                self.0.store.put_off(&upload, upload.seen_at + LOOK_AGAIN).await
            }
        };
        match outcome {
            Err(store::Error::Moved(moved)) => Ok(*moved),
            outcome => Ok(outcome?),
        }
    }

    /// Makes S3 forget the upload. `Some` if its object is there and is to stay.
    async fn rid(&self, upload: &Upload) -> Result<Option<Object>, bucket::Error> {
        let bucket = &self.0.bucket;
        match &upload.s3_upload_id {
            Some(s3_upload_id) => bucket.abort(upload, s3_upload_id).await?,
            None if upload.plan.size() == Some(0) => {}
            // The answer to its creation was lost: whatever is open under its key, which is its alone, is it.
            None => {
                for s3_upload_id in bucket.open_uploads(&upload.key).await? {
                    bucket.abort(upload, &s3_upload_id).await?;
                }
            }
        }
        // A 204 is no proof of abort: S3 gives one for an upload that was completed.
        if let Some(found) = bucket.head(upload).await?.filter(|found| found.is_of(upload)) {
            let wrong = upload.status == Status::Aborting(Ending::Fail(Failure::ChecksumMismatch))
                || upload.plan.size().is_some_and(|size| size != found.size);
            if !wrong {
                return Ok(Some(self.object(&found, false)));
            }
            bucket.delete(&upload.key, found.version_id.as_deref()).await?;
            if bucket.head(upload).await?.is_some_and(|found| found.is_of(upload)) {
                return Err(bucket::Error::Unavailable("a deleted object is still there".into()));
            }
        }
        if let Some(s3_upload_id) = &upload.s3_upload_id {
            match bucket.list_parts(upload, s3_upload_id).await {
                Err(bucket::Error::NotFound { .. }) => {}
                Ok(_) => return Err(bucket::Error::Unavailable("an aborted upload is still there".into())),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    pub(super) fn object(&self, found: &FoundObject, verified: bool) -> Object {
        Object {
            etag: found.etag.clone(),
            size: found.size,
            version_id: found.version_id.clone(),
            checksum: found.checksum.clone(),
            verified,
            completed_at: self.0.clock.now(),
        }
    }
}

/// Until when something of an aborted upload may still land at S3.
fn quiet_until(upload: &Upload) -> Option<chrono::DateTime<chrono::Utc>> {
    match (&upload.s3_upload_id, upload.urls_expire_at) {
        (Some(_), Some(urls_expire_at)) => Some(urls_expire_at + MAX_TRANSFER),
        (Some(_), None) => None,
        // Whoever was creating it may not have heard yet.
        (None, _)
            if upload.plan.size() != Some(0)
                && upload.status != Status::Aborting(Ending::Fail(Failure::CreateRefused)) =>
        {
            Some(upload.created_at + CREATE_LEASE * 2)
        }
        (None, _) => None,
    }
}
