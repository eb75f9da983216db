//! The order in which the database and S3 are touched. Intent before effect: the row is written before S3 is called, and
//! no transaction is open meanwhile. S3 is the truth about bytes, the database about intent.

mod abort;
mod complete;
mod create;
mod delete;
mod error;
mod files;
mod fsck;
mod record;
mod resolve;
mod rules;
mod sign;
mod survey;
mod sweep;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use uuid::Uuid;

pub use complete::{Completion, CompletionRequest};
pub use create::{CreateRequest, Creation, DEFAULT_PART_URLS, PartUrlsRequest};
pub use error::Error;
pub use files::{DownloadLink, DownloadRequest, FileEntry};
pub use fsck::{Disagreement, Examined, Finding};
pub use record::PartReport;
pub use rules::Place;
pub use sign::{PartRequest, PartToSend, PartUrls, PartsRequest};
pub use survey::{Kind, Stranger};
pub use sweep::Due;

use rules::Rules;

use crate::bucket::Bucket;
use crate::clock::Clock;
use crate::config::Settings;
use crate::store::{Counts, Filter, Store, Tally};
use crate::upload::{Owner, Part, PartSet, Status, Upload, Whose};

/// An upload's end is moved by activity, but written no more often than this.
const TOUCH_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// Coordinates uploads. Cheap to clone; holds no state of its own, so there may be any number of replicas.
#[derive(Debug, Clone)]
pub struct Coordinator(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    store: Store,
    /// Where uploads go unless their preset says otherwise.
    bucket: Bucket,
    /// The buckets of presets, by name.
    buckets: BTreeMap<String, Bucket>,
    clock: Clock,
    rules: Rules,
    /// Work that goes on when the client that asked for it goes away.
    tasks: TaskTracker,
}

/// An upload with what is recorded of it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The upload.
    pub upload: Upload,
    /// Its recorded parts.
    pub tally: Tally,
    /// The planned parts that are not recorded, where they were asked for and the size is known.
    pub missing: Option<PartSet>,
}

impl Coordinator {
    /// A coordinator between this ledger and this bucket, or those that the presets name.
    pub fn new(store: Store, bucket: Bucket, clock: Clock, settings: &Settings) -> Coordinator {
        let rules = Rules::new(settings, bucket.name());
        let named = |place: &Place| (place.bucket.clone(), bucket.named(&place.bucket));
        let buckets = rules.places.iter().map(named).collect();
        Coordinator(Arc::new(Parts { store, bucket, buckets, clock, rules, tasks: TaskTracker::new() }))
    }

    /// The bucket of an upload, whether it is configured still or not: what was begun there has to end there.
    fn bucket(&self, upload: &Upload) -> Cow<'_, Bucket> {
        self.bucket_named(&upload.bucket)
    }

    fn bucket_named(&self, name: &str) -> Cow<'_, Bucket> {
        match self.0.buckets.get(name) {
            Some(bucket) => Cow::Borrowed(bucket),
            None => Cow::Owned(self.0.bucket.named(name)),
        }
    }

    /// The upload as it is now. One that completes by itself is completed here, once S3 holds all of it.
    ///
    /// # Errors
    /// [`Error::UploadNotFound`].
    pub async fn get(&self, whose: &Whose, id: Uuid) -> Result<Snapshot, Error> {
        let upload = self.0.store.find(whose, id).await?;
        let upload = self.complete_if_ready(upload).await;
        self.snapshot_with_missing(upload).await
    }

    /// The owner's uploads, newest first: at most `limit`, those before `before`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(
        &self,
        owner: &Owner,
        filter: Filter,
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<Snapshot>, Error> {
        let uploads = self.0.store.list(owner, filter, before, limit).await?;
        let unfinished = uploads.iter().filter(|upload| finished(upload).is_none());
        let tallies = self.0.store.tallies(&unfinished.map(|upload| upload.id).collect::<Vec<_>>()).await?;
        let with_tally = |upload: Upload| {
            let tally = finished(&upload).or(tallies.get(&upload.id).copied()).unwrap_or_default();
            Snapshot { upload, tally, missing: None }
        };
        Ok(uploads.into_iter().map(with_tally).collect())
    }

    /// The recorded parts after number `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// [`Error::UploadNotFound`].
    pub async fn parts(
        &self,
        whose: &Whose,
        id: Uuid,
        after: i32,
        limit: u64,
    ) -> Result<(Arc<Upload>, Vec<Part>), Error> {
        let upload = self.0.store.find_shared(whose, id).await?;
        let parts = self.0.store.parts(&upload, after, limit).await?;
        Ok((upload, parts))
    }

    /// Whether the database answers and has the schema of this version.
    pub async fn is_ready(&self) -> bool {
        match self.0.store.is_ready().await {
            Ok(ready) => ready,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the database is not ready");
                false
            }
        }
    }

    /// Forgets idempotency keys whose time has passed. How many.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn forget_keys(&self) -> Result<u64, Error> {
        self.0.store.forget_keys().await.map_err(Error::Store)
    }

    /// What the ledger holds, in numbers.
    ///
    /// # Errors
    /// When the ledger does not answer.
    pub async fn counts(&self) -> Result<Counts, Error> {
        self.0.store.counts().await.map_err(Error::Store)
    }

    /// Each pool of the database: its name, connections in use, connections idle.
    pub fn connections(&self) -> Vec<(&'static str, u32, u32)> {
        self.0.store.connections()
    }

    /// Runs to its end even when the client that asked goes away: between S3 and the ledger nobody may stop half-way.
    async fn to_the_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        match self.0.tasks.spawn(work.in_current_span()).await {
            Ok(outcome) => outcome,
            Err(failure) => match failure.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(Error::Bucket(crate::bucket::Error::Unavailable("the service is stopping".into()))),
            },
        }
    }

    /// Waits until nothing is at work any more, or until `patience` is at its end; what is left then is gone on with by
    /// whoever sweeps next. Whether nothing was left.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.0.tasks.close();
        tokio::time::timeout(patience, self.0.tasks.wait()).await.is_ok()
    }

    /// The upload, if it is open and not past its time.
    async fn open_upload(&self, whose: &Whose, id: Uuid) -> Result<Arc<Upload>, Error> {
        let upload = self.0.store.find_shared(whose, id).await?;
        if upload.is_alive() { Ok(upload) } else { Err(error::refusal(&upload)) }
    }

    async fn snapshot(&self, upload: Upload) -> Result<Snapshot, Error> {
        let (tally, _) = self.recorded(&upload).await?;
        Ok(Snapshot { upload, tally, missing: None })
    }

    async fn snapshot_with_missing(&self, upload: Upload) -> Result<Snapshot, Error> {
        let (tally, recorded) = self.recorded(&upload).await?;
        let missing = match (upload.plan.part_count(), &upload.status) {
            (Some(count), Status::Open) => Some(PartSet::missing(count, recorded)),
            _ => None,
        };
        Ok(Snapshot { upload, tally, missing })
    }

    /// How much is recorded; and which parts, unless it is completed.
    async fn recorded(&self, upload: &Upload) -> Result<(Tally, PartSet), Error> {
        if let Some(tally) = finished(upload) {
            return Ok((tally, PartSet::default()));
        }
        let recorded = self.0.store.recorded(upload).await?;
        Ok((Tally { parts: recorded.numbers.len(), bytes: recorded.bytes }, recorded.numbers))
    }

    /// Moves the upload's end after activity, and so that it does not expire before a URL that ends at `urls_expire_at` by
    /// the database's clock; of a stream it reserves the bytes that URLs are about to be signed for. Writes only when that
    /// gains something: ahead of need, so that most calls write nothing.
    async fn keep_alive(
        &self,
        upload: Arc<Upload>,
        urls_expire_at: Option<DateTime<Utc>>,
        reserve: Option<i64>,
    ) -> Result<Arc<Upload>, Error> {
        let idle_ttl = self.0.rules.of(&upload).idle_ttl;
        let hard = upload.hard_expires_at;
        let idle = hard.min(upload.seen_at + idle_ttl);
        let gains =
            idle - upload.expires_at >= TOUCH_PAUSE.min(TimeDelta::from_std(idle_ttl / 4).unwrap_or(TOUCH_PAUSE));
        let uncovered = urls_expire_at.filter(|end| upload.urls_expire_at.is_none_or(|covered| *end > covered));
        let reserve = reserve.filter(|bytes| *bytes > upload.reserved).map(|bytes| (bytes, self.0.rules.quota));
        if !gains && uncovered.is_none() && reserve.is_none() {
            return Ok(upload);
        }
        let cover = uncovered.map(|end| hard.min(end + TOUCH_PAUSE));
        Ok(Arc::new(self.0.store.touch(&upload.owner, upload.id, idle_ttl, cover, reserve).await?))
    }
}

/// Of a completed upload, all of it.
fn finished(upload: &Upload) -> Option<Tally> {
    let size = upload.status.object()?.size;
    let parts = upload.plan.of_size(size).part_count()?;
    Some(Tally { parts: parts.into(), bytes: size })
}
