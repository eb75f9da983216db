//! Giving an upload up, and making sure that S3 holds nothing of it.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::error::refusal;
use super::resolve::Verdict;
use super::{Coordinator, Error};
use crate::bucket::{self, FoundObject};
use crate::failpoint::boundary;
use crate::store::{self, MAX_TRANSFER};
use crate::upload::{AbortReason, Ending, Failure, Object, Status, Target, Upload, Whose};

impl Coordinator {
    /// Gives the upload up. When it returns the intent is durable: nothing is signed, recorded or completed any more, and
    /// S3 is rid of it as far as S3 answered; the sweeper does the rest. Repeating it tries again.
    ///
    /// # Errors
    /// [`Error::AlreadyCompleted`], [`Error::NotOpen`] while a completion is in flight, [`Error::UploadNotFound`].
    pub async fn abort(&self, whose: &Whose, id: Uuid) -> Result<(), Error> {
        let (this, whose) = (self.clone(), whose.clone());
        self.to_the_end(async move { this.abort_to_the_end(&whose, id).await }).await
    }

    async fn abort_to_the_end(&self, whose: &Whose, id: Uuid) -> Result<(), Error> {
        let mut upload = self.0.store.find(whose, id).await?;
        loop {
            let aborting = match &upload.status {
                Status::Creating { .. } | Status::Open => {
                    boundary!("abort-before-row");
                    match self.0.store.abort(&upload, Ending::Abort(AbortReason::Requested)).await {
                        // Somebody moved it meanwhile: look where it is now.
                        Err(store::Error::Moved(moved)) => {
                            upload = *moved;
                            continue;
                        }
                        outcome => outcome?,
                    }
                }
                Status::Aborting { .. } => upload,
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
        boundary!("abort-row-written");
        let outcome = match self.rid(&upload).await {
            Ok(None) => match quiet_until(&upload) {
                Some(quiet_until) if quiet_until > upload.seen_at => self.0.store.put_off(&upload, quiet_until).await,
                _ => {
                    boundary!("abort-proved");
                    self.0.store.end(&upload).await
                }
            },
            Ok(Some(object)) => {
                boundary!("abort-found-completed");
                self.0.store.complete(&upload, &object).await
            }
            Err(error) => {
                tracing::warn!(upload_id = %upload.id, %error, "an abort is not proved yet");
                return Ok(upload);
            }
        };
        boundary!("abort-end-written");
        match outcome {
            Err(store::Error::Moved(moved)) => Ok(*moved),
            outcome => Ok(outcome?),
        }
    }

    /// Makes S3 forget the upload. `Some` if its object is there and is to stay.
    async fn rid(&self, upload: &Upload) -> Result<Option<Object>, bucket::Error> {
        let bucket = &*self.bucket(upload);
        if let Some(s3_upload_id) = &upload.s3_upload_id {
            bucket.abort(upload, s3_upload_id).await?;
            boundary!("abort-sent");
        }
        if may_have_strays(upload) {
            self.abort_strays(upload).await?;
        }
        // A 204 is no proof of abort: S3 gives one for an upload that was completed.
        if let Some(found) = bucket.head(upload).await?.filter(|found| found.is_of(upload)) {
            if let Some(object) = self.worth_keeping(upload, &found) {
                return Ok(Some(object));
            }
            boundary!("abort-before-delete");
            bucket.delete(&upload.key, found.version_id.as_deref()).await?;
            boundary!("abort-after-delete");
            if bucket.head(upload).await?.is_some_and(|found| found.is_of(upload)) {
                return Err(bucket::Error::Unavailable("a deleted object is still there".into()));
            }
        }
        if let Some(s3_upload_id) = &upload.s3_upload_id {
            self.see_gone(upload, s3_upload_id).await?;
        }
        Ok(None)
    }

    /// The proof that S3 knows the multipart upload no more.
    pub(super) async fn see_gone(&self, upload: &Upload, s3_upload_id: &str) -> Result<(), bucket::Error> {
        match self.bucket(upload).list_parts(upload, s3_upload_id).await {
            Err(bucket::Error::NotFound { .. }) => Ok(()),
            Ok(_) => Err(still_there()),
            Err(error) => Err(error),
        }
    }

    /// Aborts whatever is open at S3 under the upload's key, which is its alone: creations that got no answer. The listing
    /// must show that they are gone, for a 204 is no proof.
    pub(super) async fn abort_strays(&self, upload: &Upload) -> Result<(), bucket::Error> {
        let bucket = &*self.bucket(upload);
        let strays = bucket.open_uploads(&upload.key).await?;
        for s3_upload_id in &strays {
            bucket.abort(upload, s3_upload_id).await?;
            boundary!("abort-stray-sent");
        }
        if !strays.is_empty() && !bucket.open_uploads(&upload.key).await?.is_empty() {
            return Err(still_there());
        }
        Ok(())
    }

    /// The object that stands where an upload is being aborted, if it proves that the upload had been completed: not one
    /// that is known to be wrong, nor one that is not what its completion was to prove.
    fn worth_keeping(&self, upload: &Upload, found: &FoundObject) -> Option<Object> {
        let Status::Aborting { ending, target } = &upload.status else {
            return None;
        };
        let planned = || Target { size: upload.plan.size().unwrap_or(found.size), checksum: upload.checksum.clone() };
        let target = target.clone().unwrap_or_else(planned);
        match self.judge(upload, &target, found) {
            Verdict::Proved { verified } if *ending != Ending::Fail(Failure::ChecksumMismatch) => {
                Some(self.object(found, verified))
            }
            _ => None,
        }
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

fn still_there() -> bucket::Error {
    bucket::Error::Unavailable("an aborted upload is still there".into())
}

/// Whether S3 may hold an upload of this key whose id nobody was told.
fn may_have_strays(upload: &Upload) -> bool {
    let unanswered = upload.s3_upload_id.is_none() && upload.plan.size() != Some(0);
    unanswered || upload.creations > 1
}

/// Until when something of an aborted upload may still land at S3.
fn quiet_until(upload: &Upload) -> Option<DateTime<Utc>> {
    let refused = matches!(upload.status, Status::Aborting { ending: Ending::Fail(Failure::CreateRefused), .. });
    // A refusal answers the creation that it was given to, and none that went before without an answer.
    let all_answered = refused && upload.creations == 1;
    let begun_at = (may_have_strays(upload) && !all_answered).then_some(upload.begun_at);
    let urls_expire_at = upload.urls_expire_at.filter(|_| upload.s3_upload_id.is_some());
    begun_at.max(urls_expire_at).map(|last| last + MAX_TRANSFER)
}
