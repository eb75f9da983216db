//! Finding out what became of a completion, by proof.

use std::collections::HashMap;
use std::time::Duration;

use super::error::refusal;
use super::{Coordinator, Error};
use crate::bucket::{self, FoundObject, ListedPart};
use crate::failpoint::boundary;
use crate::store::{self, Lease};
use crate::upload::{AbortReason, Algorithm, Ending, Failure, LastProblem, MAX_PARTS, Status, Target, Upload};

/// After an unclear outcome nobody sends another completion for this long: S3 may still be at work on the last one.
const QUIET: Duration = Duration::from_secs(60);
/// Whoever has sent a completion says this often that it still waits for the answer.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(20);
/// When a lease ends, its holder has not been heard of for at least the quiet time.
pub(super) const COMPLETE_LEASE: Duration = QUIET.saturating_add(HEARTBEAT);
/// S3's refusals that blame the list of parts.
pub(super) const BLAMES_PARTS: [&str; 5] =
    ["InvalidPart", "InvalidPartOrder", "EntityTooSmall", "EntityTooLarge", "MalformedXML"];
/// S3's refusals that say that the bytes do not have the checksum that was sent along.
pub(super) const BLAMES_CHECKSUM: [&str; 3] = ["BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch"];
/// S3's refusals that say that something stands at the key.
pub(super) const BLAMES_KEY: [&str; 2] = ["PreconditionFailed", CONFLICT];
/// Another request to the same key was in flight.
const CONFLICT: &str = "ConditionalRequestConflict";

impl Coordinator {
    /// Goes on with a completion whose outcome nobody knows yet: with one whose lease has ended by taking it over, with one
    /// that another is at by looking for proof, which is safe at any time.
    pub(super) async fn go_on(&self, upload: Upload) -> Result<Upload, Error> {
        let Status::Completing { lease_until, target } = upload.status.clone() else {
            return Ok(upload);
        };
        if lease_until < upload.seen_at {
            return match self.0.store.take_over_completion(&upload, COMPLETE_LEASE).await {
                Ok(lease) => {
                    boundary!("complete-taken-over");
                    self.resolve(lease, target, None).await
                }
                Err(error) => self.moved_or(Err(error)),
            };
        }
        match self.bucket(&upload).head(&upload).await {
            Ok(Some(found)) if found.is_of(&upload) => {
                if let Verdict::Proved { verified } = self.judge(&upload, &target, &found) {
                    boundary!("go-on-proved");
                    return self.moved_or(self.0.store.complete(&upload, &self.object(&found, verified)).await);
                }
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(upload_id = %upload.id, %error, "a completion is not resolved yet"),
        }
        Ok(upload)
    }

    /// S3 said yes: look whether it is so.
    pub(super) async fn prove(&self, lease: Lease, target: Target) -> Result<Upload, Error> {
        match self.bucket(lease.upload()).head(lease.upload()).await {
            Ok(Some(found)) => self.conclude(lease, &target, found).await,
            Ok(None) => self.leave_unclear(lease, "S3 completed an upload, but has no object").await,
            Err(error) => self.leave_unclear(lease, &error.to_string()).await,
        }
    }

    /// Finds out what became of a completion, by proof: first the object, then the upload, then the object once more, which
    /// closes the gap between the two. `refused` is S3's answer, if this process has just had one.
    pub(super) async fn resolve(
        &self,
        lease: Lease,
        target: Target,
        refused: Option<bucket::Error>,
    ) -> Result<Upload, Error> {
        let upload = lease.upload();
        let found = match self.bucket(upload).head(upload).await {
            Ok(found) => found,
            Err(error) => return self.leave_unclear(lease, &error.to_string()).await,
        };
        let foreign = match found {
            Some(found) if found.is_of(upload) => return self.conclude(lease, &target, found).await,
            found => found.is_some(),
        };
        let code = refused.as_ref().and_then(bucket::Error::refusal);
        if foreign
            && (code.is_some_and(|code| BLAMES_KEY.contains(&code))
                || !self.0.bucket.capabilities().conditional_completion)
        {
            return self.fail(lease, Failure::KeyTaken).await;
        }
        // S3 says of this one that the whole upload has to be sent anew.
        if code == Some(CONFLICT) {
            return self.fail(lease, Failure::KeyTaken).await;
        }
        let is_open = match &upload.s3_upload_id {
            // An empty object is put, not completed: putting it again is safe.
            Some(s3_upload_id) if target.size > 0 => match self.bucket(upload).list_parts(upload, s3_upload_id).await {
                Ok(_) => true,
                Err(bucket::Error::NotFound { .. }) => false,
                Err(error) => return self.leave_unclear(lease, &error.to_string()).await,
            },
            _ => true,
        };
        if is_open {
            // A stream that turned out empty has no multipart upload any more to go back to.
            let can_reopen = upload.s3_upload_id.is_none() || target.size > 0;
            return match refused {
                // S3 has just said no, and holds the upload still: nothing happened, nothing will.
                Some(error @ bucket::Error::Refused { .. }) if can_reopen => {
                    boundary!("complete-refused");
                    self.moved_or(self.0.store.reopen(lease, None).await)?;
                    Err(error.into())
                }
                // Some stores say so of an upload without parts.
                Some(error @ bucket::Error::NotFound { .. }) => self.explain(lease, error).await,
                Some(error) => self.leave_unclear(lease, &error.to_string()).await,
                // The lease was taken over after its quiet time: send it again.
                None => Box::pin(self.send(lease, target)).await,
            };
        }
        match self.bucket(upload).head(upload).await {
            Ok(Some(found)) => self.conclude(lease, &target, found).await,
            Ok(None) => self.fail(lease, Failure::UploadVanished).await,
            Err(error) => self.leave_unclear(lease, &error.to_string()).await,
        }
    }

    /// Something stands at the key: completed, if it is ours and as it should be.
    async fn conclude(&self, lease: Lease, target: &Target, found: FoundObject) -> Result<Upload, Error> {
        let upload = lease.upload();
        if !found.is_of(upload) {
            return self.fail(lease, Failure::KeyTaken).await;
        }
        match self.judge(upload, target, &found) {
            Verdict::Proved { verified } => {
                boundary!("complete-proved");
                self.moved_or(self.0.store.complete(upload, &self.object(&found, verified)).await)
            }
            Verdict::Wrong => self.fail(lease, Failure::ChecksumMismatch).await,
        }
    }

    /// Whether our object is as it should be.
    pub(super) fn judge(&self, upload: &Upload, target: &Target, found: &FoundObject) -> Verdict {
        if found.size != target.size {
            return Verdict::Wrong;
        }
        match (self.bucket(upload).comparable(upload, target), &found.checksum) {
            (Some(expected), Some(stored)) if stored.algorithm == Algorithm::Crc64Nvme => {
                if expected.value == stored.value { Verdict::Proved { verified: true } } else { Verdict::Wrong }
            }
            _ => Verdict::Proved { verified: false },
        }
    }

    /// S3 blames the parts: find out which, for the client to send them again.
    pub(super) async fn explain(&self, lease: Lease, refused: bucket::Error) -> Result<Upload, Error> {
        let upload = lease.upload();
        let Some(s3_upload_id) = &upload.s3_upload_id else { return Err(refused.into()) };
        let recorded = self.0.store.parts(upload, 0, MAX_PARTS as u64).await?;
        let listed = match self.bucket(upload).list_parts(upload, s3_upload_id).await {
            Ok(listed) => listed,
            Err(_) => return self.leave_unclear(lease, &refused.to_string()).await,
        };
        let mut by_number: HashMap<i32, Vec<ListedPart>> = HashMap::new();
        for part in listed {
            by_number.entry(part.number).or_default().push(part);
        }
        let (mut missing, mut differing) = (Vec::new(), Vec::new());
        for part in recorded {
            let fits = |size: i64| part.size.is_none_or(|expected| expected == size);
            match by_number.get(&part.number) {
                None => missing.push(part.number),
                Some(same) if !same.iter().any(|listed| listed.etag == part.etag && fits(listed.size)) => {
                    differing.push(part.number);
                }
                Some(_) => {}
            }
        }
        let problem = match (missing.is_empty(), differing.is_empty()) {
            (false, _) => LastProblem::PartsMissing(missing.into_iter().collect()),
            (true, false) => LastProblem::PartsDiffer(differing.into_iter().collect()),
            // What S3 lists is what was sent.
            (true, true) => {
                let Some(code) = refused.refusal() else {
                    return self.leave_unclear(lease, &refused.to_string()).await;
                };
                // Some stores refuse while a part is being sent again: asking again helps.
                let again = (code == "InvalidPart").then(|| bucket::Error::Unavailable(refused.to_string()));
                return match self.moved_or(self.0.store.reopen(lease, None).await)? {
                    Upload { status: Status::Open, .. } => Err(again.unwrap_or(refused).into()),
                    moved => Ok(moved),
                };
            }
        };
        match (self.reopen(lease, problem.clone()).await?, problem) {
            (Upload { status: Status::Open, .. }, LastProblem::PartsMissing(parts)) => Err(Error::PartsMissing(parts)),
            (Upload { status: Status::Open, .. }, LastProblem::PartsDiffer(parts)) => Err(Error::PartsDiffer(parts)),
            (moved, _) => Ok(moved),
        }
    }

    pub(super) async fn reopen(&self, lease: Lease, problem: LastProblem) -> Result<Upload, Error> {
        boundary!("complete-blames-parts");
        self.moved_or(self.0.store.reopen(lease, Some(&problem)).await)
    }

    pub(super) async fn fail(&self, lease: Lease, failure: Failure) -> Result<Upload, Error> {
        boundary!("complete-failed");
        let upload = self.0.store.abort(lease.upload(), Ending::Fail(failure)).await?;
        tracing::error!(upload_id = %upload.id, failure = failure.name(), "an upload failed");
        match self.finish_abort(upload).await? {
            upload @ Upload { status: Status::Completed(_), .. } => Ok(upload),
            _ => Err(match failure {
                Failure::ChecksumMismatch => Error::ChecksumMismatch,
                Failure::KeyTaken => Error::KeyExists,
                Failure::CreateRefused | Failure::UploadVanished => Error::Failed,
            }),
        }
    }

    /// Nobody knows what became of the completion. It stays `completing`, to be looked at again after the quiet time; past
    /// its hard cap it is given up, and should it have succeeded the abort will find that out.
    async fn leave_unclear(&self, lease: Lease, why: &str) -> Result<Upload, Error> {
        let upload = lease.upload();
        tracing::warn!(upload_id = %upload.id, why, "the outcome of a completion is unclear");
        boundary!("complete-unclear");
        if upload.hard_expires_at <= upload.seen_at {
            return match self.0.store.abort(upload, Ending::Abort(AbortReason::Expired)).await {
                Ok(upload) => self.finish_abort(upload).await,
                Err(error) => self.moved_or(Err(error)),
            };
        }
        self.moved_or(self.0.store.leave_unclear(lease, QUIET).await)
    }

    /// When the lease was taken over meanwhile, whoever has it decides: tell how far it is.
    pub(super) fn moved_or(&self, outcome: Result<Upload, store::Error>) -> Result<Upload, Error> {
        match outcome {
            Err(store::Error::Moved(moved)) => match &moved.status {
                Status::Open | Status::Completing { .. } | Status::Completed(_) => Ok(*moved),
                _ => Err(refusal(&moved)),
            },
            outcome => Ok(outcome?),
        }
    }
}

pub(super) enum Verdict {
    Proved { verified: bool },
    Wrong,
}
