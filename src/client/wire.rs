//! The service's JSON, as far as the client goes by it. What it does not know it ignores: a newer service may say more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// An upload.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Upload {
    /// Sortable by creation.
    pub id: Uuid,
    /// `open`, `completing`, `completed` …
    pub state: String,
    /// The name its download will have.
    pub filename: String,
    /// The media type its download will have.
    pub content_type: String,
    /// The named rules it was made under.
    pub preset: String,
    /// What is kept with the object.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Bytes; unknown of a stream that has not ended.
    pub size: Option<i64>,
    /// Bytes of every part but the last.
    pub part_size: i64,
    /// The algorithm of the checksum that every part must carry.
    pub part_checksum: Option<String>,
    /// Parts recorded so far.
    pub recorded_parts: i64,
    /// Bytes recorded so far.
    pub recorded_bytes: i64,
    /// The planned parts that are not recorded, such as `41-88`.
    pub missing_parts: Option<String>,
    /// By which clients find it again.
    pub fingerprint: Option<String>,
    /// When it began, RFC 3339.
    pub created_at: String,
    /// After this moment it is given up; moves with activity.
    pub expires_at: String,
    /// The finished object.
    pub object: Option<Object>,
}

/// A finished object.
#[derive(Debug, Clone, Deserialize)]
pub struct Object {
    /// Bytes.
    pub size: i64,
    /// Its checksum, where the store reports one.
    pub checksum: Option<StoredChecksum>,
}

/// The checksum of a stored object.
#[derive(Debug, Clone, Deserialize)]
pub struct StoredChecksum {
    /// `CRC64NVME`, `CRC32C` or `SHA256`.
    pub algorithm: String,
    /// Base64.
    pub value: String,
}

/// A checksum of a whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checksum {
    /// `CRC64NVME`.
    pub algorithm: &'static str,
    /// Base64.
    pub value: String,
}

/// Where a part is to be sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartUrl {
    /// 1 to 10,000.
    pub part_number: i32,
    /// Who has it may send the part, for as long as it lives.
    pub url: String,
    /// To be sent exactly so.
    pub headers: BTreeMap<String, String>,
    /// How long it lives, by whatever clock.
    pub expires_in_seconds: u64,
}

/// A part that is recorded.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// 1 to 10,000.
    pub part_number: i32,
    /// S3's ETag.
    pub etag: String,
    /// Bytes.
    pub size: i64,
    /// Base64, in the upload's algorithm.
    pub checksum: Option<String>,
}

/// A part to be recorded.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LandedPart {
    pub(super) part_number: i32,
    pub(super) etag: String,
    pub(super) size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<String>,
}

/// A completed upload, as a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// The id of its upload.
    pub id: Uuid,
    /// The name its download has.
    pub filename: String,
    /// Bytes.
    pub size: i64,
    /// S3's ETag.
    pub etag: String,
    /// Its checksum, where the store reports one.
    pub checksum: Option<StoredChecksum>,
    /// Whose it is.
    pub owner: String,
    /// When its upload began, RFC 3339.
    pub created_at: String,
}

/// A link to a file.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DownloadUrl {
    /// Who has it has the file, for as long as it lives.
    pub url: String,
    /// When it ends, RFC 3339.
    pub expires_at: String,
}

/// An answer in both its forms: as far as it is understood, and as it was sent.
#[derive(Debug, Clone)]
pub struct Told<T> {
    /// What the client goes by.
    pub known: T,
    /// All of it, to be shown.
    pub json: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) items: Vec<Value>,
    pub(super) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Created {
    pub(super) upload: Value,
    pub(super) part_urls: Vec<PartUrl>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartUrls {
    pub(super) part_urls: Vec<PartUrl>,
}

/// RFC 9457, as the service writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Problem {
    pub(super) code: String,
    pub(super) title: Option<String>,
    pub(super) detail: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) missing_parts: Option<String>,
    pub(super) parts: Option<String>,
}
