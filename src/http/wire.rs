//! The shapes on the wire, and how they come from the domain. Absent is absent, never `null`; numbers are signed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::payload::{FromBody, objects, present, present_object, present_objects};
use super::problem::{Code, Problem};
use crate::config::MAX_URL_TTL;
use crate::coordinator::{
    CompletionRequest, CreateRequest, Creation, DEFAULT_PART_URLS, DownloadLink, PartReport, PartRequest,
    PartUrlsRequest, PartsRequest, Snapshot,
};
use crate::upload::{Invalid, LastProblem, PartSet, Status, Upload};
use crate::{coordinator, upload};

/// A checksum of a whole file.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename = "Checksum")]
#[serde(deny_unknown_fields)]
pub(super) struct WireChecksum {
    /// How it was made
    pub(super) algorithm: String,
    /// Base64, as S3 writes it
    pub(super) value: String,
}

/// The checksum of a stored object.
#[derive(Debug, Clone, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct StoredChecksum {
    /// How it was made
    algorithm: String,
    /// Base64, as S3 writes it
    value: String,
    /// `true` when it was compared with the client's and was equal; absent when nothing could be compared
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
}

/// The finished object, as S3 reports it.
#[derive(Debug, Clone, Object, Serialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(super) struct StoredObject {
    /// S3's ETag, verbatim
    etag: String,
    /// Bytes
    size: i64,
    /// In a versioned bucket, the version that completed
    #[serde(skip_serializing_if = "Option::is_none")]
    version_id: Option<String>,
    /// Its checksum, where the store reports one
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<StoredChecksum>,
    /// When it was proved to be there
    completed_at: DateTime<Utc>,
}

/// Why the last completion was refused.
#[derive(Debug, Clone, Object, Serialize)]
#[oai(rename = "LastProblem", rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireLastProblem {
    /// `parts-missing` or `parts-differ`
    code: String,
    /// The parts that S3 does not hold, such as `41-88`
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_parts: Option<String>,
    /// The parts that differ from what was recorded, such as `3,7-9`
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<String>,
}

/// An upload.
#[derive(Debug, Clone, Object, Serialize)]
#[oai(rename = "Upload", rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireUpload {
    /// Sortable by creation (UUIDv7)
    id: Uuid,
    /// Where it stands
    state: String,
    /// Whose it is
    owner: String,
    /// The named rules it was made under
    preset: String,
    /// The name its download will have
    filename: String,
    /// The media type its download will have
    content_type: String,
    /// Bytes; absent while not known
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<i64>,
    /// What the client says about it
    metadata: HashMap<String, String>,
    /// Bytes of every part but the last
    part_size: i64,
    /// Parts; absent while the size is not known
    #[serde(skip_serializing_if = "Option::is_none")]
    part_count: Option<i32>,
    /// The algorithm of the checksum that every part must carry
    #[serde(skip_serializing_if = "Option::is_none")]
    part_checksum: Option<String>,
    /// The service completes it by itself once S3 holds every part
    auto_complete: bool,
    /// Parts recorded so far
    recorded_parts: i64,
    /// Bytes recorded so far
    recorded_bytes: i64,
    /// The planned parts that are not recorded, such as `41-88`, empty when there is none; in the answers of create, get and
    /// sync while it is open
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_parts: Option<String>,
    /// The client's checksum of the file
    #[serde(skip_serializing_if = "Option::is_none")]
    checksum: Option<WireChecksum>,
    /// By which clients find it again
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// The bucket of its object
    bucket: String,
    /// The key of its object
    key: String,
    /// When it began
    created_at: DateTime<Utc>,
    /// When it last changed
    updated_at: DateTime<Utc>,
    /// After this moment it is given up; moves with activity
    expires_at: DateTime<Utc>,
    /// The finished object, once it is completed
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<StoredObject>,
    /// Why the last completion was refused
    #[serde(skip_serializing_if = "Option::is_none")]
    last_problem: Option<WireLastProblem>,
    /// Why it is aborted: `requested` or `expired`
    #[serde(skip_serializing_if = "Option::is_none")]
    abort_reason: Option<String>,
    /// Why it failed
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

impl From<Snapshot> for WireUpload {
    fn from(Snapshot { upload, tally, missing }: Snapshot) -> Self {
        let (mut object, mut abort_reason, mut failure) = (None, None, None);
        match &upload.status {
            Status::Completed(stored) | Status::Deleting(stored) | Status::Deleted(stored) => {
                object = Some(stored.into())
            }
            Status::Aborting(upload::Ending::Abort(reason)) | Status::Aborted(reason) => {
                abort_reason = Some(reason.name())
            }
            Status::Failed(why) => failure = Some(why.name()),
            _ => {}
        }
        let size = match &upload.status {
            Status::Completed(stored) => Some(stored.size),
            _ => upload.plan.size(),
        };
        WireUpload {
            id: upload.id,
            state: upload.status.state().name().to_owned(),
            part_size: upload.plan.part_size(),
            part_count: upload::Plan::stored(size, upload.plan.part_size()).part_count(),
            owner: upload.owner.0,
            preset: upload.preset,
            filename: upload.filename,
            content_type: upload.content_type,
            size,
            metadata: upload.metadata.into_iter().collect(),
            part_checksum: upload.part_checksum.map(|algorithm| algorithm.name().to_owned()),
            auto_complete: upload.auto_complete,
            recorded_parts: tally.parts,
            recorded_bytes: size.map_or(tally.bytes, |size| tally.bytes.min(size)),
            missing_parts: missing.map(|missing| missing.to_string()),
            checksum: upload.checksum.map(|checksum| WireChecksum {
                algorithm: checksum.algorithm.name().to_owned(),
                value: checksum.value,
            }),
            fingerprint: upload.fingerprint,
            bucket: upload.bucket,
            key: upload.key,
            created_at: upload.created_at,
            updated_at: upload.updated_at,
            expires_at: upload.expires_at,
            object,
            last_problem: upload.last_problem.as_ref().map(Into::into),
            abort_reason: abort_reason.map(str::to_owned),
            failure: failure.map(str::to_owned),
        }
    }
}

impl From<&upload::Object> for StoredObject {
    fn from(object: &upload::Object) -> Self {
        StoredObject {
            etag: object.etag.clone(),
            size: object.size,
            version_id: object.version_id.clone(),
            checksum: stored_checksum(object),
            completed_at: object.completed_at,
        }
    }
}

fn stored_checksum(object: &upload::Object) -> Option<StoredChecksum> {
    object.checksum.as_ref().map(|checksum| StoredChecksum {
        algorithm: checksum.algorithm.name().to_owned(),
        value: checksum.value.clone(),
        verified: object.verified.then_some(true),
    })
}

impl From<&LastProblem> for WireLastProblem {
    fn from(problem: &LastProblem) -> Self {
        match problem {
            LastProblem::PartsMissing(missing) => {
                WireLastProblem { code: "parts-missing".into(), missing_parts: Some(missing.to_string()), parts: None }
            }
            LastProblem::PartsDiffer(parts) => {
                WireLastProblem { code: "parts-differ".into(), missing_parts: None, parts: Some(parts.to_string()) }
            }
        }
    }
}

/// A page of uploads, newest first.
#[derive(Debug, Object, Serialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(super) struct UploadPage {
    /// The uploads
    pub(super) items: Vec<WireUpload>,
    /// Give it as `cursor` for the next page; absent on the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// The first part URLs wanted with the answer.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename = "PartUrlsRequest", rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WirePartUrlsRequest {
    /// How many, from part 1 on, 0 to 1,000; 100 when absent
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) count: Option<i64>,
    /// How long they live, in seconds
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) ttl_seconds: Option<i64>,
}

/// What to upload.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CreateUploadRequest {
    /// The file's name: 1 to 255 bytes of UTF-8, not a path
    pub(super) filename: String,
    /// Bytes; leave it out when it is not known yet
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<i64>,
    /// The file's media type; `application/octet-stream` when absent
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) content_type: Option<String>,
    /// The named rules to make it under
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) preset: Option<String>,
    /// Bytes of each part but the last: 5 MiB to 5 GiB in whole MiB, at most 10,000 parts; the service chooses when absent
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) part_size: Option<i64>,
    /// Every part must carry a checksum of this algorithm
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) part_checksum: Option<String>,
    /// Complete it without being asked, once S3 holds every part
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) auto_complete: Option<bool>,
    /// The file's checksum, CRC64NVME
    #[serde(default, deserialize_with = "present_object", skip_serializing_if = "Option::is_none")]
    pub(super) checksum: Option<WireChecksum>,
    /// `p1-<size>-<CRC64NVME, 16 hex digits, of the first, middle and last MiB>`, by which clients find the upload again
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<String>,
    /// What to keep with the object: keys `[a-z0-9-]{1,64}`, at most 1,536 bytes in all as encoded
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) metadata: Option<HashMap<String, String>>,
    /// The first part URLs wanted with the answer; 100 when absent
    #[serde(default, deserialize_with = "present_object", skip_serializing_if = "Option::is_none")]
    pub(super) part_urls: Option<WirePartUrlsRequest>,
}

impl FromBody for CreateUploadRequest {}

impl TryFrom<CreateUploadRequest> for CreateRequest {
    type Error = Problem;

    fn try_from(request: CreateUploadRequest) -> Result<Self, Problem> {
        let part_urls = match request.part_urls {
            Some(wanted) => Some(PartUrlsRequest {
                count: wanted.count.unwrap_or(DEFAULT_PART_URLS),
                ttl: ttl("partUrls.ttlSeconds", wanted.ttl_seconds)?,
            }),
            None => None,
        };
        Ok(CreateRequest {
            filename: request.filename,
            size: request.size,
            content_type: request.content_type,
            preset: request.preset,
            part_size: request.part_size,
            part_checksum: request.part_checksum,
            auto_complete: request.auto_complete.unwrap_or(false),
            checksum: request.checksum.map(|checksum| (checksum.algorithm, checksum.value)),
            fingerprint: request.fingerprint,
            metadata: request.metadata.unwrap_or_default().into_iter().collect::<BTreeMap<_, _>>(),
            part_urls,
        })
    }
}

/// A URL to which one part is to be sent: the bytes `[offset, offset + size)` of the file, with exactly these headers.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "PartUrl", rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) struct WirePartUrl {
    /// 1 to 10,000
    part_number: i32,
    /// Always `PUT`
    method: String,
    /// Who has it may send the part, for as long as it lives
    url: String,
    /// To be sent exactly so; `Host` and `Content-Length` clients set by themselves
    headers: HashMap<String, String>,
    /// First byte of the part in the file
    offset: i64,
    /// Bytes of the part
    size: i64,
    /// When it ends
    expires_at: DateTime<Utc>,
    /// The same from now, in whole seconds
    expires_in_seconds: i64,
}

impl From<coordinator::PartUrl> for WirePartUrl {
    fn from(part: coordinator::PartUrl) -> Self {
        WirePartUrl {
            part_number: part.number,
            method: "PUT".into(),
            url: part.url,
            headers: part.headers.into_iter().collect(),
            offset: part.slice.offset,
            size: part.slice.size,
            expires_at: part.expires_at,
            expires_in_seconds: part.expires_in_seconds,
        }
    }
}

/// An upload begun, with its first part URLs.
#[derive(Debug, Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateUploadResponse {
    /// The upload
    upload: WireUpload,
    /// Its first part URLs
    part_urls: Vec<WirePartUrl>,
}

impl From<Creation> for CreateUploadResponse {
    fn from(creation: Creation) -> Self {
        let part_urls = creation.part_urls.into_iter().map(Into::into).collect();
        CreateUploadResponse { upload: creation.snapshot.into(), part_urls }
    }
}

/// A part to sign.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SignPartsItem {
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
pub(super) struct SignPartsRequest {
    /// Part numbers and ranges, such as `1-100,205`
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) parts: Option<String>,
    /// Parts, each with what is known of it
    #[serde(default, deserialize_with = "present_objects", skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Vec<SignPartsItem>>,
    /// How long the URLs live, in seconds
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) ttl_seconds: Option<i64>,
}

impl FromBody for SignPartsRequest {}

impl SignPartsRequest {
    /// The parts and the life of their URLs.
    pub(super) fn read(self) -> Result<(PartsRequest, Option<Duration>), Problem> {
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
pub(super) struct SignPartsResponse {
    /// In the order of the request
    pub(super) part_urls: Vec<WirePartUrl>,
}

/// What a client says of a part that it has sent.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RecordPartsItem {
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
pub(super) struct RecordPartsRequest {
    /// 1 to 10,000, each part once
    #[serde(deserialize_with = "objects")]
    parts: Vec<RecordPartsItem>,
}

impl FromBody for RecordPartsRequest {
    const LIMIT: usize = 8 << 20;
}

impl RecordPartsRequest {
    /// The reports.
    pub(super) fn read(self) -> Result<Vec<PartReport>, Problem> {
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
pub(super) struct RecordPartRequest {
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
    pub(super) fn read(self, part_number: &str) -> Result<PartReport, Problem> {
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
pub(super) struct WirePart {
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
    pub(super) fn of(upload: &Upload, part: upload::Part) -> WirePart {
        WirePart {
            part_number: part.number,
            etag: part.etag.as_str().to_owned(),
            size: part.size.unwrap_or(upload.plan.part_size()),
            checksum: part.checksum,
            recorded_at: Some(part.recorded_at),
        }
    }
}

/// A page of recorded parts, ascending.
#[derive(Debug, Object, Serialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartPage {
    /// The parts
    pub(super) items: Vec<WirePart>,
    /// Give it as `cursor` for the next page; absent on the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// What may be said when all parts are sent. None of it need be: S3 knows.
#[derive(Debug, Default, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct CompleteUploadRequest {
    /// Parts to record first, at most 10,000
    #[serde(default, deserialize_with = "present_objects", skip_serializing_if = "Option::is_none")]
    parts: Option<Vec<RecordPartsItem>>,
    /// Bytes of the file; needed when they were not known at its creation
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    size: Option<i64>,
    /// The file's checksum, CRC64NVME
    #[serde(default, deserialize_with = "present_object", skip_serializing_if = "Option::is_none")]
    checksum: Option<WireChecksum>,
}

impl FromBody for CompleteUploadRequest {
    const LIMIT: usize = 8 << 20;
    fn absent() -> Option<Self> {
        Some(CompleteUploadRequest::default())
    }
}

impl From<CompleteUploadRequest> for CompletionRequest {
    fn from(request: CompleteUploadRequest) -> Self {
        CompletionRequest {
            parts: request.parts.unwrap_or_default().into_iter().map(Into::into).collect(),
            size: request.size,
            checksum: request.checksum.map(|checksum| (checksum.algorithm, checksum.value)),
        }
    }
}

/// A completed upload, as a file.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "File", rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireFile {
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
    pub(super) fn of(upload: Upload, object: &upload::Object) -> WireFile {
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
pub(super) struct WireDownloadUrl {
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

/// A number of seconds as a URL's life.
pub(super) fn ttl(field: &str, seconds: Option<i64>) -> Result<Option<Duration>, Problem> {
    let Some(seconds) = seconds else { return Ok(None) };
    match u64::try_from(seconds).map(Duration::from_secs) {
        Ok(ttl) if ttl >= Duration::from_secs(1) && ttl <= MAX_URL_TTL => Ok(Some(ttl)),
        _ => Err(Problem::field(Code::InvalidRequest, field, "1 second to 7 days")),
    }
}

/// The length of a page.
pub(super) fn limit(asked: Option<i64>) -> Result<u64, Problem> {
    match asked {
        None => Ok(100),
        Some(limit @ 1..=1_000) => Ok(limit.unsigned_abs()),
        Some(_) => Err(Problem::field(Code::InvalidRequest, "limit", "1 to 1,000")),
    }
}

/// A cursor that carries `position`; opaque to clients.
pub(super) fn cursor(position: &str) -> String {
    URL_SAFE_NO_PAD.encode(position)
}

/// The position that a cursor carries.
pub(super) fn position<T: std::str::FromStr>(cursor: Option<&str>) -> Result<Option<T>, Problem> {
    let Some(cursor) = cursor else { return Ok(None) };
    let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match text.and_then(|text| text.parse().ok()) {
        Some(position) => Ok(Some(position)),
        None => Err(Problem::new(Code::InvalidCursor, "give the nextCursor of an answer, unchanged")),
    }
}

/// The id in a path. One that is none is the id of nothing.
pub(super) fn id(text: &str) -> Uuid {
    // Only the form in which ids are given, so that every upload has one path.
    let parsed = Uuid::try_parse(text).ok().filter(|id| id.to_string() == text);
    parsed.unwrap_or(Uuid::nil())
}

impl From<Invalid> for poem::Error {
    fn from(invalid: Invalid) -> Self {
        Problem::from(invalid).into()
    }
}
