//! Parts: their URLs, what is reported of them, what is recorded.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::{Deserialize, Serialize};

use super::ttl;
use crate::coordinator::{PartReport, PartRequest, PartsRequest};
use crate::http::payload::{FromBody, objects, present, present_objects};
use crate::http::problem::{Code, Problem};
use crate::upload::{self, PartSet, Upload};

/// A URL to which one part is to be sent: the bytes `[offset, offset + size)` of the file, with exactly these headers.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "PartUrl", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct WirePartUrl {
    /// 1 to 10,000
    pub(super) part_number: i32,
    /// Always `PUT`
    pub(super) method: String,
    /// Who has it may send the part, for as long as it lives
    pub(super) url: String,
    /// To be sent exactly so; `Host` and `Content-Length` clients set by themselves
    pub(super) headers: HashMap<String, String>,
    /// First byte of the part in the file
    pub(super) offset: i64,
    /// Bytes of the part
    pub(super) size: i64,
    /// When it ends
    pub(super) expires_at: DateTime<Utc>,
    /// The same from now, in whole seconds
    pub(super) expires_in_seconds: i64,
}

/// A part to sign.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct SignPartsItem {
    /// 1 to 10,000
    part_number: i32,
    /// Bytes, if they are not the planned ones: the last part of a file whose size is not known
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    size: Option<i64>,
    /// Base64, in the upload's `partChecksum`
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

/// The parts to sign: `parts` or `items`.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct SignPartsRequest {
    /// Part numbers and ranges, such as `1-100,205`
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) parts: Option<String>,
    /// Parts, each with what is known of it
    #[serde(default, deserialize_with = "present_objects", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) items: Option<Vec<SignPartsItem>>,
    /// How long the URLs live, in seconds
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) ttl_seconds: Option<i64>,
}

impl FromBody for SignPartsRequest {}

impl SignPartsRequest {
    /// The parts and the life of their URLs.
    pub(in crate::http) fn read(self) -> Result<(PartsRequest, Option<Duration>), Problem> {
        let ttl = ttl("ttlSeconds", self.ttl_seconds)?;
        let parts = match (self.parts, self.items) {
            (Some(parts), None) => PartsRequest::Numbers(PartSet::parse(&parts).map_err(|_| {
                Problem::field(Code::InvalidRequest, "parts", "not part numbers and ranges such as 1-100,205")
            })?),
            (None, Some(items)) if !items.is_empty() => PartsRequest::Items(
                items
                    .into_iter()
                    .map(|item| PartRequest { number: item.part_number, size: item.size, checksum: item.checksum })
                    .collect(),
            ),
            (None, Some(_)) => return Err(Problem::field(Code::InvalidRequest, "items", "name at least one part")),
            _ => {
                return Err(Problem::field(Code::InvalidRequest, "parts", "give either parts or items"));
            }
        };
        Ok((parts, ttl))
    }
}

/// Part URLs.
#[derive(Debug, Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct SignPartsResponse {
    /// In the order of the request
    pub(in crate::http) part_urls: Vec<WirePartUrl>,
}

/// What a client says of a part that it has sent.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RecordPartsItem {
    /// 1 to 10,000
    part_number: i32,
    /// The `ETag` that S3 answered with
    etag: String,
    /// Bytes
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    size: Option<i64>,
    /// Base64, in the upload's `partChecksum`
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl From<RecordPartsItem> for PartReport {
    fn from(item: RecordPartsItem) -> Self {
        PartReport { number: item.part_number, etag: item.etag, size: item.size, checksum: item.checksum }
    }
}

/// Parts that were sent.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RecordPartsRequest {
    /// 1 to 10,000, each part once
    #[serde(deserialize_with = "objects")]
    parts: Vec<RecordPartsItem>,
}

impl FromBody for RecordPartsRequest {
    const LIMIT: usize = 8 << 20;
}

impl RecordPartsRequest {
    /// The reports.
    pub(in crate::http) fn read(self) -> Result<Vec<PartReport>, Problem> {
        if self.parts.is_empty() {
            return Err(Problem::field(Code::InvalidRequest, "parts", "name at least one part"));
        }
        Ok(self.parts.into_iter().map(Into::into).collect())
    }
}

/// What a client says of the part that it has sent.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RecordPartRequest {
    /// The `ETag` that S3 answered with
    etag: String,
    /// Bytes
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    size: Option<i64>,
    /// Base64, in the upload's `partChecksum`
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
}

impl FromBody for RecordPartRequest {}

impl RecordPartRequest {
    /// The report of this part.
    pub(in crate::http) fn read(self, part_number: &str) -> Result<PartReport, Problem> {
        let digits = part_number.bytes().all(|byte| byte.is_ascii_digit());
        let number = part_number.parse().ok().filter(|_| digits);
        // A number that cannot be is outside every plan.
        Ok(PartReport { number: number.unwrap_or(0), etag: self.etag, size: self.size, checksum: self.checksum })
    }
}

/// A recorded part.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Part", rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct WirePart {
    /// 1 to 10,000
    part_number: i32,
    /// S3's ETag
    etag: String,
    /// Bytes
    size: i64,
    /// Base64, in the upload's `partChecksum`
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<String>,
    /// When it was recorded
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_at: Option<DateTime<Utc>>,
}

impl WirePart {
    /// A part of this upload; one of unknown size counts as a whole one.
    pub(in crate::http) fn of(upload: &Upload, part: upload::Part) -> WirePart {
        WirePart {
            part_number: part.number,
            etag: part.etag.as_str().to_owned(),
            size: part.size.unwrap_or(upload.plan.part_size()),
            checksum: part.checksum,
            recorded_at: part.recorded_at,
        }
    }
}

/// A page of recorded parts, ascending.
#[derive(Debug, Object, Serialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct PartPage {
    /// The parts
    pub(in crate::http) items: Vec<WirePart>,
    /// Give it as `cursor` for the next page; absent on the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) next_cursor: Option<String>,
}
