//! What is written to disk: one JSON record per bucket, object, open upload and part.
//!
//! Times are milliseconds since 1970 (UTC). File names are names within the bucket's `parts/` folder.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::checksum::{Checksum, ObjectChecksum, Plan};
use crate::cors::CorsRule;

/// The layout described in [`super`]. A folder with another number is left alone.
pub(crate) const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BucketRecord {
    pub(crate) format: u32,
    pub(crate) name: String,
    pub(crate) created_ms: u64,
    /// Empty: the bucket has no CORS configuration.
    #[serde(default)]
    pub(crate) cors: Vec<CorsRule>,
    /// Empty: the bucket has no lifecycle configuration.
    #[serde(default)]
    pub(crate) lifecycle: Vec<LifecycleRule>,
}

/// The part of S3's lifecycle rule that is kept, in order to give it back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LifecycleRule {
    pub(crate) id: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) prefix: String,
    pub(crate) abort_after_days: Option<i32>,
    pub(crate) expire_after_days: Option<i32>,
}

/// What the creator of an object said about it and a reader gets back as headers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ObjectHeaders {
    pub(crate) content_type: Option<String>,
    pub(crate) cache_control: Option<String>,
    pub(crate) content_disposition: Option<String>,
    pub(crate) content_encoding: Option<String>,
    pub(crate) content_language: Option<String>,
    pub(crate) metadata: BTreeMap<String, String>,
}

/// Tag names and values in the order given.
pub(crate) type Tags = Vec<(String, String)>;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ObjectRecord {
    pub(crate) key: String,
    /// Without quotes: the MD5 in hex, and for a multipart object `-` and the number of parts.
    pub(crate) etag: String,
    pub(crate) size: u64,
    pub(crate) modified_ms: u64,
    pub(crate) origin: Origin,
    pub(crate) headers: ObjectHeaders,
    pub(crate) tags: Tags,
    pub(crate) checksum: ObjectChecksum,
    /// In order; together they are the object's bytes. Never empty.
    pub(crate) parts: Vec<PartRecord>,
}

/// How an object came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Origin {
    /// By PutObject or CopyObject.
    Single,
    /// By CompleteMultipartUpload. The id lets a repeated Complete be recognised, and lets recovery
    /// close an upload whose Complete was cut off after its commit.
    Multipart {
        /// The upload's id.
        upload_id: String,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    /// Ids sort by time of creation, so lists of one key's uploads come oldest first as S3's do.
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) initiated_ms: u64,
    pub(crate) headers: ObjectHeaders,
    pub(crate) tags: Tags,
    pub(crate) checksum: Plan,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    /// 1 to 10,000; 1 for the only part of an object that was put whole.
    pub(crate) number: i32,
    pub(crate) file: String,
    pub(crate) size: u64,
    /// Hex, without quotes: the part's ETag.
    pub(crate) md5: String,
    pub(crate) modified_ms: u64,
    pub(crate) checksum: Checksum,
}

/// Milliseconds since 1970 (UTC).
#[expect(clippy::disallowed_methods, reason = "the server stamps what it stores with the system's time")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The S3 timestamp of `ms` milliseconds since 1970.
pub(crate) fn timestamp(ms: u64) -> s3s::dto::Timestamp {
    (UNIX_EPOCH + Duration::from_millis(ms)).into()
}
