//! Completing an upload: the delicate one. One completion in flight per upload, over all replicas; `completed` only with
//! proof; every unclear outcome is resolved by asking S3, never by guessing.

use std::pin::pin;
use std::time::Duration;

use uuid::Uuid;

use super::error::refusal;
use super::resolve::{BLAMES_CHECKSUM, BLAMES_PARTS, COMPLETE_LEASE, HEARTBEAT};
use super::{Coordinator, Error, PartReport, Snapshot};
use crate::bucket;
use crate::failpoint::boundary;
use crate::store::{self, Lease};
use crate::upload::{Checksum, Failure, Invalid, LastProblem, MAX_PARTS, PartSet, Plan, Status, Target, Upload, Whose};

/// S3 is asked at most once in this time whether an upload that completes by itself is all there.
const ASK_PAUSE: Duration = Duration::from_secs(2);

/// A lease that was confirmed no longer ago than this was just confirmed.
const JUST_NOW: Duration = Duration::from_secs(5);

/// What a client says when all its parts are sent. None of it need be said: S3 knows.
#[derive(Debug, Clone, Default)]
pub struct CompletionRequest {
    /// Parts to record first.
    pub parts: Vec<PartReport>,
    /// Bytes of the file; needed when they were not known at its creation.
    pub size: Option<i64>,
    /// Algorithm and value of the file's checksum.
    pub checksum: Option<(String, String)>,
}

/// How far a completion has come.
#[derive(Debug)]
pub enum Completion {
    /// The object is there, proved to be ours.
    Done(Snapshot),
    /// S3 is still at it, or has not said; ask again.
    Running(Snapshot),
}

impl Coordinator {
    /// Completes the upload, or goes on with a completion that is not yet resolved. Waits for S3 for as long as the
    /// setting says; the work goes on in any case.
    ///
    /// # Errors
    /// [`Error::PartsMissing`] and [`Error::PartsDiffer`] (it stays open), [`Error::ChecksumMismatch`] and
    /// [`Error::KeyExists`] (it fails), [`Error::Invalid`], and the refusals of an upload that is not open.
    pub async fn complete(&self, whose: &Whose, id: Uuid, request: CompletionRequest) -> Result<Completion, Error> {
        let (this, whose_in_task) = (self.clone(), whose.clone());
        let mut work =
            pin!(self.to_the_end(async move { this.complete_to_the_end(&whose_in_task, id, request).await }));
        let upload = loop {
            match tokio::time::timeout(self.0.rules.complete_wait, &mut work).await {
                Ok(outcome) => break outcome?,
                // S3 is at it: the work goes on without us. Before and after that it is never long.
                Err(_) => {
                    let upload = self.0.store.find(whose, id).await?;
                    if matches!(upload.status, Status::Completing { .. }) {
                        break upload;
                    }
                }
            }
        };
        let snapshot = self.snapshot(upload).await?;
        match snapshot.upload.status {
            Status::Completed(_) => Ok(Completion::Done(snapshot)),
            Status::Completing { .. } => Ok(Completion::Running(snapshot)),
            // Another call's completion was refused, just now: this one's is, too.
            Status::Open => Err(match snapshot.upload.last_problem {
                Some(LastProblem::PartsMissing(parts)) => Error::PartsMissing(parts),
                Some(LastProblem::PartsDiffer(parts)) => Error::PartsDiffer(parts),
                None => bucket::Error::Unavailable("another completion was refused".into()).into(),
            }),
            _ => Err(refusal(&snapshot.upload)),
        }
    }

    async fn complete_to_the_end(&self, whose: &Whose, id: Uuid, request: CompletionRequest) -> Result<Upload, Error> {
        let upload = self.0.store.find(whose, id).await?;
        match &upload.status {
            Status::Completed(_) => Ok(upload),
            Status::Completing { .. } => self.go_on(upload).await,
            Status::Open if upload.is_alive() => {
                let target = self.target(&upload, &request)?;
                match self.begin_completion(&upload, &target, request.parts).await {
                    // Another was faster: whatever it does, this call tells how far it is.
                    Err(Error::NotOpen(_) | Error::AlreadyCompleted) => {
                        let upload = self.0.store.find(whose, id).await?;
                        match upload.status {
                            Status::Completing { .. } | Status::Completed(_) => Ok(upload),
                            _ => Err(refusal(&upload)),
                        }
                    }
                    outcome => outcome,
                }
            }
            _ => Err(refusal(&upload)),
        }
    }

    async fn begin_completion(
        &self,
        upload: &Upload,
        target: &Target,
        parts: Vec<PartReport>,
    ) -> Result<Upload, Error> {
        if !parts.is_empty() {
            self.record_in(upload, &parts).await?;
        }
        let gathered = self.gather(upload, target).await?;
        boundary!("complete-gathered");
        let lease = self.0.store.claim_completion(&upload.owner, upload.id, target, COMPLETE_LEASE).await?;
        boundary!("complete-claimed");
        match gathered {
            Gathered::All => self.send(lease, target.clone()).await,
            Gathered::UnknownToS3 => self.resolve(lease, target.clone(), None).await,
        }
    }

    /// Completes an upload that completes by itself, if S3 holds every part, and goes on with one that is not resolved yet.
    /// Whatever goes wrong, or takes long, is no fault of the one who only looked: the upload is returned as it is.
    pub(super) async fn complete_if_ready(&self, upload: Upload) -> Upload {
        let waits = upload.is_alive() || matches!(upload.status, Status::Completing { .. });
        if !upload.auto_complete || !waits {
            return upload;
        }
        let (this, looked_at) = (self.clone(), upload.clone());
        let work = self.to_the_end(async move { this.try_complete(looked_at).await });
        match tokio::time::timeout(self.0.rules.complete_wait, work).await {
            Ok(Ok(upload)) => upload,
            Err(_) => self.0.store.find(&Whose::Of(upload.owner.clone()), upload.id).await.unwrap_or(upload),
            Ok(Err(error)) => {
                tracing::warn!(upload_id = %upload.id, %error, "an upload could not complete by itself yet");
                self.0.store.find(&Whose::Of(upload.owner.clone()), upload.id).await.unwrap_or(upload)
            }
        }
    }

    pub(super) async fn try_complete(&self, upload: Upload) -> Result<Upload, Error> {
        if !self.0.store.may_ask(upload.id, ASK_PAUSE).await? {
            return Ok(upload);
        }
        if matches!(upload.status, Status::Completing { .. }) {
            return self.go_on(upload).await;
        }
        if self.sync_in(&upload).await? && !self.missing(&upload, upload.plan).await?.is_empty() {
            return Ok(upload);
        }
        self.complete_to_the_end(&Whose::Of(upload.owner), upload.id, CompletionRequest::default()).await
    }

    async fn missing(&self, upload: &Upload, plan: Plan) -> Result<PartSet, Error> {
        let count = plan.part_count().unwrap_or(MAX_PARTS);
        Ok(PartSet::missing(count, self.0.store.recorded(upload).await?.numbers))
    }

    /// Sees to it that the ledger knows all that a completion needs, asking S3 for what clients did not report.
    async fn gather(&self, upload: &Upload, target: &Target) -> Result<Gathered, Error> {
        let plan = upload.plan.of_size(target.size);
        let is_stream = upload.plan.size().is_none();
        // Of a stream only S3 knows how large its parts are.
        if !is_stream && !self.lacks(upload, plan).await? {
            return Ok(Gathered::All);
        }
        if !self.sync_in(upload).await? {
            return Ok(Gathered::UnknownToS3);
        }
        let missing = self.missing(upload, plan).await?;
        if !missing.is_empty() {
            self.0.store.note_problem(&upload.owner, upload.id, &LastProblem::PartsMissing(missing.clone())).await?;
            return Err(Error::PartsMissing(missing));
        }
        if is_stream {
            for part in self.0.store.parts(upload, 0, MAX_PARTS as u64).await? {
                if plan.part(part.number).ok().map(|slice| slice.size) != part.size {
                    return Err(Invalid::SizeMismatch("the parts that S3 holds do not add up to this size").into());
                }
            }
        }
        let composite = upload.part_checksum.is_some_and(|algorithm| !algorithm.is_full_object());
        if composite && self.lacks(upload, plan).await? {
            // S3 wants the checksum of each part repeated, and not every store tells what it has.
            return Err(Invalid::ChecksumRequired.into());
        }
        Ok(Gathered::All)
    }

    /// Whether the ledger lacks a part of the plan, has one beyond it, or lacks a checksum that S3 wants repeated.
    async fn lacks(&self, upload: &Upload, plan: Plan) -> Result<bool, Error> {
        let recorded = self.0.store.recorded(upload).await?;
        let complete = recorded.numbers.is_whole(plan.part_count().unwrap_or(MAX_PARTS));
        let checksums = upload.part_checksum.is_none() || recorded.without_checksum == 0;
        Ok(!(complete && checksums))
    }

    /// Sends the completion, with a lease just confirmed, and sees what came of it.
    pub(super) async fn send(&self, lease: Lease, target: Target) -> Result<Upload, Error> {
        let upload = lease.upload();
        let mut parts = self.0.store.parts(upload, 0, MAX_PARTS as u64).await?;
        let plan = upload.plan.of_size(target.size);
        let missing = PartSet::missing(plan.part_count().unwrap_or(MAX_PARTS), parts.iter().map(|part| part.number));
        if !missing.is_empty() {
            // A part was forgotten between gathering and claiming; or another has taken over and completed it meanwhile.
            return match self.reopen(lease, LastProblem::PartsMissing(missing.clone())).await? {
                Upload { status: Status::Open, .. } => Err(Error::PartsMissing(missing)),
                moved => Ok(moved),
            };
        }
        parts.truncate(plan.part_count().unwrap_or(MAX_PARTS) as usize);
        // Between the claim and this moment the process may have been stopped for any time.
        let lease = if lease.age() < JUST_NOW {
            lease
        } else {
            match self.0.store.confirm_completion(lease, COMPLETE_LEASE).await {
                Ok(lease) => lease,
                Err(error) => return self.moved_or(Err(error)),
            }
        };
        boundary!("complete-before-s3");
        let upload = lease.upload();
        let (bucket, preset) = (self.bucket(upload), &self.0.rules.of(upload).preset);
        let sent = match (&upload.s3_upload_id, target.size) {
            (Some(s3_upload_id), 1..) => {
                let completion = bucket.complete(upload, s3_upload_id, &parts, &target);
                self.holding(&lease, completion).await
            }
            (Some(s3_upload_id), _) => match self.abandon(upload, s3_upload_id).await {
                Ok(()) => bucket.put_empty(upload, preset).await,
                Err(error) => Err(error),
            },
            (None, _) => bucket.put_empty(upload, preset).await,
        };
        boundary!("complete-answered");
        let Err(error) = sent else {
            return self.prove(lease, target).await;
        };
        tracing::info!(upload_id = %upload.id, %error, "a completion was not plainly accepted");
        match error.refusal() {
            Some(code)
                if BLAMES_CHECKSUM.contains(&code) && self.bucket(upload).comparable(upload, &target).is_some() =>
            {
                self.fail(lease, Failure::ChecksumMismatch).await
            }
            Some(code) if BLAMES_PARTS.contains(&code) => self.explain(lease, error).await,
            _ => self.resolve(lease, target, Some(error)).await,
        }
    }

    /// A stream that turned out empty has no use for its multipart upload: gone, and seen to be gone.
    async fn abandon(&self, upload: &Upload, s3_upload_id: &str) -> Result<(), bucket::Error> {
        self.bucket(upload).abort(upload, s3_upload_id).await?;
        self.see_gone(upload, s3_upload_id).await
    }

    /// Holds the lease for as long as the work takes. Should it be lost all the same, whoever has it now decides; what comes
    /// of this work is then no more than a fact at S3, to be found there.
    async fn holding<T>(&self, lease: &Lease, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            match tokio::time::timeout(HEARTBEAT, &mut work).await {
                Ok(outcome) => return outcome,
                Err(_) => match self.0.store.prolong_completion(lease, COMPLETE_LEASE).await {
                    Ok(()) => {}
                    Err(store::Error::Moved(_)) => {
                        tracing::warn!(upload_id = %lease.upload().id, "a completion lost its lease while S3 was at it");
                        return work.await;
                    }
                    Err(error) => tracing::warn!(upload_id = %lease.upload().id, %error, "a lease was not prolonged"),
                },
            }
        }
    }

    /// What the completion is to prove.
    fn target(&self, upload: &Upload, request: &CompletionRequest) -> Result<Target, Error> {
        let size = match (upload.plan.size(), request.size) {
            (Some(planned), Some(told)) if planned != told => {
                return Err(Invalid::SizeMismatch("the upload was created with another size").into());
            }
            (Some(size), _) => size,
            (None, Some(size)) => size,
            (None, None) => return Err(Invalid::Size("an upload of unknown size is completed with its size").into()),
        };
        if upload.plan.size().is_none() {
            let max_size = self.0.rules.of(upload).max_size;
            Plan::new(Some(size), Some(upload.plan.part_size()), max_size).map_err(|refused| match refused {
                Invalid::PartSize(_) => Invalid::Size("more than 10,000 parts of this upload's part size"),
                refused => refused,
            })?;
            let fingerprint = upload.fingerprint.as_deref();
            fingerprint.map_or(Ok(()), |fingerprint| crate::upload::check_fingerprint(fingerprint, Some(size)))?;
        }
        let told =
            request.checksum.clone().map(|(algorithm, value)| Checksum::of_file(&algorithm, value)).transpose()?;
        let checksum = match (upload.checksum.clone(), told) {
            (Some(created), Some(told)) if created != told => {
                return Err(Invalid::Checksum("the upload was created with another checksum").into());
            }
            (created, told) => told.or(created),
        };
        if checksum.is_none() && self.0.rules.of(upload).preset.checksum_required {
            return Err(Invalid::FileChecksumRequired.into());
        }
        Ok(Target { size, checksum })
    }
}

enum Gathered {
    /// The ledger knows every part.
    All,
    /// S3 does not know the upload: it was dropped, or completed already.
    UnknownToS3,
}
