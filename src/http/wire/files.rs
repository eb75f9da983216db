//! Files and links to them.

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::Serialize;
use uuid::Uuid;

use super::uploads::{StoredChecksum, stored_checksum};
use crate::coordinator::DownloadLink;
use crate::upload::{self, Upload};

/// A completed upload, as a file.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "File", rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct WireFile {
    /// The id of its upload
    id: Uuid,
    /// The name its download has
    filename: String,
    /// The media type its download has
    content_type: String,
    /// Bytes
    size: i64,
    /// S3's ETag
    etag: String,
    /// Its checksum, where the store reports one
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<StoredChecksum>,
    /// Whose it is
    owner: String,
    /// `private`: only by links that end
    visibility: String,
    /// When its upload began
    created_at: DateTime<Utc>,
    /// Who else may have it
    shared_with: Vec<String>,
}

impl WireFile {
    /// The file of this completed upload.
    pub(in crate::http) fn of(upload: Upload, object: &upload::Object) -> WireFile {
        WireFile {
            id: upload.id,
            filename: upload.filename,
            content_type: upload.content_type,
            size: object.size,
            etag: object.etag.clone(),
            checksum: stored_checksum(object),
            owner: upload.owner.0,
            visibility: "private".into(),
            created_at: upload.created_at,
            shared_with: Vec::new(),
        }
    }
}

/// A link to a file.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "DownloadUrl", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct WireDownloadUrl {
    /// Who has it has the file, for as long as it lives
    url: String,
    /// When it ends
    expires_at: DateTime<Utc>,
}

impl From<DownloadLink> for WireDownloadUrl {
    fn from(link: DownloadLink) -> Self {
        WireDownloadUrl { url: link.url, expires_at: link.expires_at }
    }
}
