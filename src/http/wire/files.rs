//! Files and links to them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::id;
use super::uploads::{StoredChecksum, stored_checksum};
use crate::coordinator::{DownloadLink, FileEntry};
use crate::http::payload::{FromBody, present};

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
    /// `private`: only by links that end; `public`: by `publicUrl`, too
    visibility: String,
    /// Where everybody has it, if it is public
    #[serde(skip_serializing_if = "Option::is_none")]
    public_url: Option<String>,
    /// When its upload began
    created_at: DateTime<Utc>,
    /// Who else may have it; told to its owner alone
    shared_with: Vec<String>,
    /// A link to it, where one was asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    download_url: Option<WireDownloadUrl>,
}

impl WireFile {
    /// The file, with a link to it.
    pub(in crate::http) fn of(file: FileEntry, link: Option<DownloadLink>) -> WireFile {
        WireFile {
            checksum: stored_checksum(&file.object),
            id: file.upload.id,
            filename: file.upload.filename,
            content_type: file.upload.content_type,
            size: file.object.size,
            etag: file.object.etag,
            owner: file.upload.owner.0,
            visibility: file.upload.visibility.name().to_owned(),
            public_url: file.public_url,
            created_at: file.upload.created_at,
            shared_with: file.shared_with,
            download_url: link.map(Into::into),
        }
    }
}

/// A page of files, newest first.
#[derive(Debug, Object, Serialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct FilePage {
    /// The files
    pub(in crate::http) items: Vec<WireFile>,
    /// Give it as `cursor` for the next page; absent on the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) next_cursor: Option<String>,
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

/// The files to which links are wanted.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct DownloadUrlsRequest {
    /// Their ids, 1 to 1,000
    pub(in crate::http) ids: Vec<String>,
    /// How long the links live, in seconds; 60 when absent
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) ttl_seconds: Option<i64>,
    /// `attachment` to save them, `inline` to show them; ignored for types that could run script
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) disposition: Option<String>,
    /// The same URLs for every caller within a window, so that browsers can keep the files
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) cacheable: Option<bool>,
}

impl FromBody for DownloadUrlsRequest {}

/// A link to one of several files.
#[derive(Debug, Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct DownloadUrlItem {
    /// The file's id, as it was asked for
    id: String,
    /// Who has it has the file, for as long as it lives
    url: String,
    /// When it ends
    expires_at: DateTime<Utc>,
}

/// Links to several files.
#[derive(Debug, Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct DownloadUrlPage {
    /// One for each id that is a file, in the order of the question
    items: Vec<DownloadUrlItem>,
    /// The ids that are no files of the caller's, or not yet
    missing: Vec<String>,
}

impl DownloadUrlPage {
    /// The links to what was asked for, each once.
    pub(in crate::http) fn of(asked: &[String], links: &HashMap<Uuid, DownloadLink>) -> DownloadUrlPage {
        let mut page = DownloadUrlPage { items: Vec::with_capacity(links.len()), missing: Vec::new() };
        let mut seen = std::collections::HashSet::new();
        for text in asked.iter().filter(|text| seen.insert(text.as_str())) {
            match links.get(&id(text)) {
                Some(link) => {
                    let (url, expires_at) = (link.url.clone(), link.expires_at);
                    page.items.push(DownloadUrlItem { id: text.clone(), url, expires_at });
                }
                None => page.missing.push(text.clone()),
            }
        }
        page
    }
}
