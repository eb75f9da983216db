//! Beginning an upload: the row first, then S3, then the row again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Coordinator, Error, PartUrls, PartsRequest, Snapshot};
use crate::bucket;
use crate::failpoint::boundary;
use crate::store::{self, Created, IdempotencyKey, Lease, NewUpload};
use crate::upload::names::{self, DEFAULT_CONTENT_TYPE, KeyParts};
use crate::upload::{Algorithm, Checksum, Invalid, Owner, Plan, Status, Upload, check_fingerprint, metadata};

/// How long a creation may take before another may take it over: longer than S3 is given to answer.
pub(super) const CREATE_LEASE: Duration = Duration::from_secs(60);
/// Part URLs that come with the answer unless another count is asked for.
pub const DEFAULT_PART_URLS: i64 = 100;
/// The most part URLs that come with the answer.
const MAX_PART_URLS: i64 = 1_000;

/// What a client wants to upload.
#[derive(Debug, Clone, Default)]
pub struct CreateRequest {
    /// The file's name.
    pub filename: String,
    /// Bytes, if known.
    pub size: Option<i64>,
    /// The file's media type.
    pub content_type: Option<String>,
    /// The named rules to make it under.
    pub preset: Option<String>,
    /// The presets that whoever asks is bound to; `None` for all.
    pub bound_to: Option<Vec<String>>,
    /// Bytes of each part but the last.
    pub part_size: Option<i64>,
    /// The algorithm of the checksum that every part must carry.
    pub part_checksum: Option<String>,
    /// Complete it without being asked, once S3 holds every part.
    pub auto_complete: bool,
    /// Algorithm and value of the file's checksum.
    pub checksum: Option<(String, String)>,
    /// By which clients find it again.
    pub fingerprint: Option<String>,
    /// What the client says about it.
    pub metadata: BTreeMap<String, String>,
    /// The part URLs wanted with the answer.
    pub part_urls: Option<PartUrlsRequest>,
}

/// The part URLs wanted with the answer.
#[derive(Debug, Clone, Copy)]
pub struct PartUrlsRequest {
    /// How many, from part 1 on.
    pub count: i64,
    /// How long they live.
    pub ttl: Option<Duration>,
}

/// An upload begun, or found again under its idempotency key.
#[derive(Debug)]
pub struct Creation {
    /// The upload.
    pub snapshot: Snapshot,
    /// Its first part URLs, if any are wanted and can be signed yet.
    pub part_urls: Option<PartUrls>,
    /// An earlier request had made it.
    pub replayed: bool,
}

impl Coordinator {
    /// Begins an upload. After a crash between any two steps, the row tells that there may be something at S3.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::PresetNotFound`], [`Error::IdempotencyInProgress`], [`Error::IdempotencyKeyReused`], and
    /// S3's and the database's own.
    pub async fn create(
        &self,
        owner: Owner,
        request: CreateRequest,
        key: Option<IdempotencyKey>,
    ) -> Result<Creation, Error> {
        let wanted = request.part_urls;
        let new = self.plan(owner, request)?;
        let this = self.clone();
        let (upload, replayed) = self.to_the_end(async move { this.begin(new, key).await }).await?;
        let (upload, part_urls) = self.first_part_urls(Arc::new(upload), wanted).await?;
        let snapshot = self.snapshot_with_missing(Arc::unwrap_or_clone(upload)).await?;
        Ok(Creation { snapshot, part_urls, replayed })
    }

    /// Checks all that can be checked without asking anybody.
    fn plan(&self, owner: Owner, request: CreateRequest) -> Result<NewUpload, Error> {
        let (preset, rules) = self.0.rules.choose(request.preset, request.bound_to.as_deref())?;
        names::check_filename(&request.filename)?;
        let content_type = request.content_type.unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned());
        names::check_content_type(&content_type)?;
        if !rules.preset.allows(&content_type) {
            return Err(Invalid::ContentTypeNotAllowed.into());
        }
        let plan = Plan::new(request.size, request.part_size, rules.max_size)?;
        if request.auto_complete && request.size.is_none() {
            return Err(Invalid::Size("an upload that completes by itself must tell its size").into());
        }
        metadata::check(&request.metadata)?;
        let part_checksum =
            match (request.part_checksum.as_deref().map(Algorithm::from_name).transpose()?, rules.preset.part_checksum)
            {
                (Some(asked), Some(required)) if asked != required => {
                    return Err(Invalid::Checksum("this preset wants part checksums of another algorithm").into());
                }
                (asked, required) => asked.or(required),
            };
        let checksum = request.checksum.map(|(algorithm, value)| Checksum::of_file(&algorithm, value)).transpose()?;
        if request.auto_complete && checksum.is_none() && rules.preset.checksum_required {
            return Err(Invalid::FileChecksumRequired.into());
        }
        if let Some(fingerprint) = &request.fingerprint {
            check_fingerprint(fingerprint, request.size)?;
        }
        if request.part_urls.is_some_and(|wanted| !(0..=MAX_PART_URLS).contains(&wanted.count)) {
            let detail = "0 to 1,000 part URLs come with the answer";
            return Err(Invalid::Request { field: "partUrls.count".into(), detail }.into());
        }
        let streamed = request.part_urls.filter(|_| request.size.is_none() && part_checksum.is_none());
        let reserved =
            plan.size().unwrap_or(streamed.map_or(0, |wanted| wanted.count.saturating_mul(plan.part_size())));
        if reserved > rules.max_size {
            return Err(Invalid::FileTooLarge { max_size: rules.max_size }.into());
        }
        if let Some(ttl) = request.part_urls.and_then(|wanted| wanted.ttl) {
            rules.url_life(Some(ttl), ttl)?;
        }
        let (id, date) = (Uuid::now_v7(), self.0.clock.now().date_naive());
        let parts = KeyParts { id, owner: &owner.0, filename: &request.filename, date };
        Ok(NewUpload {
            id,
            key: format!("{}{}", rules.prefix, rules.template.key(parts)),
            bucket: rules.bucket.clone(),
            visibility: rules.preset.visibility,
            owner,
            preset,
            filename: request.filename,
            content_type,
            metadata: request.metadata,
            plan,
            reserved,
            part_checksum,
            auto_complete: request.auto_complete,
            checksum,
            fingerprint: request.fingerprint,
            idle_ttl: rules.idle_ttl,
            max_ttl: rules.max_ttl,
            lease: CREATE_LEASE,
            quota: self.0.rules.quota,
        })
    }

    async fn begin(&self, new: NewUpload, key: Option<IdempotencyKey>) -> Result<(Upload, bool), Error> {
        match self.0.store.create(new, key.as_ref()).await? {
            Created::Fresh(lease) => Ok((self.begin_at_s3(lease).await?, false)),
            Created::TakenOver(lease) => Ok((self.adopt_or_begin(lease).await?, true)),
            Created::Replayed(upload) => Ok((*upload, true)),
            Created::InProgress => Err(Error::IdempotencyInProgress),
            Created::Reused => Err(Error::IdempotencyKeyReused),
        }
    }

    async fn begin_at_s3(&self, lease: Lease) -> Result<Upload, Error> {
        boundary!("create-row-written");
        if lease.upload().plan.size() == Some(0) {
            return taken_over_or(self.0.store.open(lease, None).await);
        }
        let preset = &self.0.rules.of(lease.upload()).preset;
        match self.bucket(lease.upload()).create(lease.upload(), preset).await {
            Ok(s3_upload_id) => {
                boundary!("create-answered");
                self.open(lease, s3_upload_id).await
            }
            // The row stays `creating`: S3 may have begun it.
            Err(error @ bucket::Error::Unavailable(_)) => Err(error.into()),
            Err(error) => {
                tracing::error!(upload_id = %lease.upload().id, %error, "S3 refused to begin an upload");
                boundary!("create-refused");
                match self.0.store.refuse_creation(lease).await {
                    // Another took over meanwhile, and S3 did not refuse it.
                    Err(store::Error::Moved(moved)) if has_begun(&moved) => return Ok(*moved),
                    Err(store::Error::Moved(_)) => {}
                    outcome => {
                        self.finish_abort(outcome?).await?;
                    }
                }
                Err(error.into())
            }
        }
    }

    /// Goes on where another died: S3 may hold an upload of this key already.
    pub(super) async fn adopt_or_begin(&self, lease: Lease) -> Result<Upload, Error> {
        if lease.upload().plan.size() == Some(0) {
            return self.begin_at_s3(lease).await;
        }
        let mut found = self.bucket(lease.upload()).open_uploads(&lease.upload().key).await?;
        let Some(adopted) = found.pop() else {
            return self.begin_at_s3(lease).await;
        };
        boundary!("create-found");
        for surplus in found {
            self.bucket(lease.upload()).abort(lease.upload(), &surplus).await?;
            boundary!("create-surplus-aborted");
        }
        self.open(lease, adopted).await
    }

    async fn open(&self, lease: Lease, s3_upload_id: String) -> Result<Upload, Error> {
        let begun = lease.upload().clone();
        let opened = self.0.store.open(lease, Some(&s3_upload_id)).await;
        boundary!("create-opened");
        match opened {
            // Another took over while S3 began this one, and may be about to adopt it. Should it not, it is aborted with the
            // other strays of this key.
            Err(store::Error::Moved(moved)) if matches!(moved.status, Status::Creating { .. }) => {
                taken_over_or(Err(store::Error::Moved(moved)))
            }
            Err(store::Error::Moved(moved)) => {
                // It was aborted, or taken over, meanwhile. If it was not adopted, nobody else knows of this one.
                if moved.s3_upload_id.as_ref() != Some(&s3_upload_id)
                    && let Err(error) = self.bucket(&begun).abort(&begun, &s3_upload_id).await
                {
                    tracing::warn!(upload_id = %begun.id, %error, "an upload that nobody wants stays at S3 for now");
                }
                taken_over_or(Err(store::Error::Moved(moved)))
            }
            outcome => Ok(outcome?),
        }
    }

    async fn first_part_urls(
        &self,
        upload: Arc<Upload>,
        wanted: Option<PartUrlsRequest>,
    ) -> Result<(Arc<Upload>, Option<PartUrls>), Error> {
        if !upload.is_alive() || upload.part_checksum.is_some() {
            return Ok((upload, None));
        }
        let count = match (wanted, upload.plan.part_count()) {
            (Some(wanted), Some(planned)) => wanted.count.min(planned.into()),
            (Some(wanted), None) => wanted.count,
            (None, Some(planned)) => DEFAULT_PART_URLS.min(planned.into()),
            (None, None) => 0,
        };
        if count == 0 {
            return Ok((upload, None));
        }
        let numbers = (1..=i32::try_from(count).unwrap_or(i32::MAX)).collect();
        let ttl = wanted.and_then(|wanted| wanted.ttl);
        let (upload, urls) = self.sign_parts(upload, PartsRequest::Numbers(numbers), ttl).await?;
        Ok((upload, Some(urls)))
    }
}

/// Whether the upload has come to be: whoever asked for its creation is told of it, no matter who made it.
fn has_begun(upload: &Upload) -> bool {
    matches!(upload.status, Status::Open | Status::Completing { .. } | Status::Completed(_))
}

/// When another took the creation over meanwhile, the upload as it is by now, or that it is to be asked for again.
fn taken_over_or(outcome: Result<Upload, store::Error>) -> Result<Upload, Error> {
    match outcome {
        Err(store::Error::Moved(moved)) if has_begun(&moved) => Ok(*moved),
        Err(store::Error::Moved(moved)) if matches!(moved.status, Status::Creating { .. }) => {
            Err(bucket::Error::Unavailable("another begins this upload".into()).into())
        }
        outcome => Ok(outcome?),
    }
}
