//! Uploads: how they are asked for, shown and completed.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::parts::{RecordPartsItem, WirePartUrl};
use super::ttl;
use crate::coordinator::{CompletionRequest, CreateRequest, DEFAULT_PART_URLS, PartUrlsRequest, Snapshot};
use crate::http::payload::{FromBody, present, present_object, present_objects};
use crate::http::problem::Problem;
use crate::upload::{self, LastProblem, Status};

/// A checksum of a whole file.
#[derive(Debug, Clone, PartialEq, Eq, Object, Serialize, Deserialize)]
#[oai(rename = "Checksum")]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct WireChecksum {
    /// How it was made
    pub(in crate::http) algorithm: String,
    /// Base64, as S3 writes it
    pub(in crate::http) value: String,
}

/// The checksum of a stored object.
#[derive(Debug, Clone, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub(in crate::http) struct StoredChecksum {
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
pub(in crate::http) struct StoredObject {
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
pub(in crate::http) struct WireLastProblem {
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
pub(in crate::http) struct WireUpload {
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
            Status::Aborting { ending: upload::Ending::Abort(reason), .. } | Status::Aborted(reason) => {
                abort_reason = Some(reason.name())
            }
            Status::Failed(why) => failure = Some(why.name()),
            _ => {}
        }
        let plan = match &upload.status {
            Status::Completed(stored) => upload.plan.of_size(stored.size),
            _ => upload.plan,
        };
        WireUpload {
            id: upload.id,
            state: upload.status.state().name().to_owned(),
            part_size: plan.part_size(),
            part_count: plan.part_count(),
            owner: upload.owner.0,
            preset: upload.preset,
            filename: upload.filename,
            content_type: upload.content_type,
            size: plan.size(),
            metadata: upload.metadata.into_iter().collect(),
            part_checksum: upload.part_checksum.map(|algorithm| algorithm.name().to_owned()),
            auto_complete: upload.auto_complete,
            recorded_parts: tally.parts,
            recorded_bytes: plan.size().map_or(tally.bytes, |size| tally.bytes.min(size)),
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

pub(super) fn stored_checksum(object: &upload::Object) -> Option<StoredChecksum> {
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
pub(in crate::http) struct UploadPage {
    /// The uploads
    pub(in crate::http) items: Vec<WireUpload>,
    /// Give it as `cursor` for the next page; absent on the last one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) next_cursor: Option<String>,
}

/// The first part URLs wanted with the answer.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename = "PartUrlsRequest", rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct WirePartUrlsRequest {
    /// How many, from part 1 on, 0 to 1,000; 100 when absent
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) count: Option<i64>,
    /// How long they live, in seconds
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) ttl_seconds: Option<i64>,
}

/// What to upload.
#[derive(Debug, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct CreateUploadRequest {
    /// The file's name: 1 to 255 bytes of UTF-8, not a path
    pub(in crate::http) filename: String,
    /// Bytes; leave it out when it is not known yet
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) size: Option<i64>,
    /// The file's media type; `application/octet-stream` when absent
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) content_type: Option<String>,
    /// The named rules to make it under
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) preset: Option<String>,
    /// Bytes of each part but the last: 5 MiB to 5 GiB in whole MiB, at most 10,000 parts; the service chooses when absent
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) part_size: Option<i64>,
    /// Every part must carry a checksum of this algorithm
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) part_checksum: Option<String>,
    /// Complete it without being asked, once S3 holds every part
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) auto_complete: Option<bool>,
    /// The file's checksum, CRC64NVME
    #[serde(default, deserialize_with = "present_object", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) checksum: Option<WireChecksum>,
    /// `p1-<size>-<CRC64NVME, 16 hex digits, of the first, middle and last MiB>`, by which clients find the upload again
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) fingerprint: Option<String>,
    /// What to keep with the object: keys `[a-z0-9-]{1,64}`, at most 1,536 bytes in all as encoded
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) metadata: Option<HashMap<String, String>>,
    /// The first part URLs wanted with the answer; 100 when absent
    #[serde(default, deserialize_with = "present_object", skip_serializing_if = "Option::is_none")]
    pub(in crate::http) part_urls: Option<WirePartUrlsRequest>,
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
            bound_to: None,
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

/// An upload begun, with its first part URLs.
#[derive(Debug, Object, Serialize)]
#[oai(rename_all = "camelCase")]
#[serde(rename_all = "camelCase")]
pub(in crate::http) struct CreateUploadResponse {
    /// The upload
    upload: WireUpload,
    /// Its first part URLs
    part_urls: Vec<WirePartUrl>,
}

/// What may be said when all parts are sent. None of it need be: S3 knows.
#[derive(Debug, Default, Object, Serialize, Deserialize)]
#[oai(rename_all = "camelCase", skip_serializing_if_is_none)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct CompleteUploadRequest {
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
