//! The operations on uploads and their parts: read, call the coordinator, render. No decisions.

use poem::http::HeaderMap;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::{ApiResponse, OpenApi};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::payload::{Answer, Body};
use super::problem::{Code, Problem};
use super::spec::Tag;
use super::wire::{
    CompleteUploadRequest, CreateUploadRequest, CreateUploadResponse, PartPage, PartUrlsAnswer, RecordPartRequest,
    RecordPartsRequest, SignPartsRequest, SignPartsResponse, UploadPage, WirePart, WireUpload, id, limit, listed_owner,
    page, position,
};
use crate::access::Caller;
use crate::coordinator::{Completion, Coordinator, CreateRequest};
use crate::store::{Filter, IdempotencyKey};
use crate::upload::{State, check_fingerprint};

/// Has no state of its own, so that the document can be made without a database.
pub(super) struct UploadsApi;

#[derive(ApiResponse)]
pub(super) enum CreateUploadAnswer {
    /// The upload, open, with its first part URLs
    #[oai(status = 201)]
    Created(
        Answer<CreateUploadResponse>,
        /// The upload's path
        #[oai(header = "Location")]
        String,
        /// `true` when an earlier request under this key had made the upload
        #[oai(header = "Idempotency-Replayed")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
pub(super) enum CompleteUploadAnswer {
    /// The upload, completed: the object is there, proved to be its own
    #[oai(status = 200)]
    Completed(Answer<WireUpload>),
    /// The upload, still completing: ask again, or repeat the call
    #[oai(status = 202)]
    Running(
        Answer<WireUpload>,
        /// Seconds to wait
        #[oai(header = "Retry-After")]
        i32,
    ),
}

#[derive(ApiResponse)]
pub(super) enum AbortUploadAnswer {
    /// Given up, now or before
    #[oai(status = 204)]
    Aborted,
}

#[OpenApi(prefix_path = "/v1")]
impl UploadsApi {
    /// Begin an upload
    ///
    /// Fixes the plan and answers with the first part URLs. PUT the bytes of each, then complete the upload.
    /// An `Idempotency-Key` makes it safe to repeat.
    #[oai(path = "/uploads", method = "post", operation_id = "createUpload", tag = "Tag::Uploads")]
    async fn create_upload(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// Makes a repetition of this request the same request, for 24 hours: up to 255 visible ASCII characters
        #[oai(name = "Idempotency-Key")]
        _idempotency_key: Header<Option<String>>,
        // The framework takes an unreadable header for none at all.
        headers: &HeaderMap,
        body: Body<CreateUploadRequest>,
    ) -> poem::Result<CreateUploadAnswer> {
        let key = read_key(headers, &body.raw)?;
        let request = CreateRequest { bound_to: caller.presets.clone(), ..body.value.try_into()? };
        let creation = coordinator.create(caller.owner.clone(), request, key).await?;
        let location = format!("/v1/uploads/{}", creation.snapshot.upload.id);
        let replayed = creation.replayed.then(|| "true".to_owned());
        let upload =
            serde_json::to_string(&WireUpload::from(creation.snapshot)).map_err(poem::error::InternalServerError)?;
        let answer = PartUrlsAnswer::new(&format!("\"upload\":{upload},"), creation.part_urls);
        Ok(CreateUploadAnswer::Created(Answer::Pieces(Box::new(answer)), location, replayed))
    }

    /// List uploads
    ///
    /// The caller's uploads, newest first.
    #[oai(path = "/uploads", method = "get", operation_id = "listUploads", tag = "Tag::Uploads")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list_uploads(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// Only those in this state
        state: Query<Option<String>>,
        /// Only those with this fingerprint
        fingerprint: Query<Option<String>>,
        /// The most items of the page; 100 when absent
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before
        cursor: Query<Option<String>>,
        /// Whose uploads; of others only for administrators
        owner: Query<Option<String>>,
    ) -> poem::Result<Answer<UploadPage>> {
        let owner = listed_owner(&caller, owner.0)?;
        let state = match state.0.as_deref() {
            None => None,
            Some(name) => Some(
                State::from_name(name)
                    .ok_or_else(|| Problem::field(Code::InvalidRequest, "state", "there is no such state"))?,
            ),
        };
        if fingerprint.0.as_deref().is_some_and(|fingerprint| check_fingerprint(fingerprint, None).is_err()) {
            return Err(Problem::field(Code::InvalidRequest, "fingerprint", "not a fingerprint").into());
        }
        let filter = Filter { state, fingerprint: fingerprint.0 };
        let (limit, before) = (self::limit(limit.0)?, position::<Uuid>(cursor.0.as_deref())?);
        let found = coordinator.list(&owner, filter, before, limit + 1).await?;
        let (found, next_cursor) = page(found, limit, |snapshot| snapshot.upload.id.to_string());
        Ok(Answer::Whole(UploadPage { items: found.into_iter().map(Into::into).collect(), next_cursor }))
    }

    /// Get an upload
    ///
    /// The upload as it is now. One with `autoComplete` is completed here once S3 holds every part.
    #[oai(path = "/uploads/:upload_id", method = "get", operation_id = "getUpload", tag = "Tag::Uploads")]
    async fn get_upload(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The upload
        upload_id: Path<String>,
    ) -> poem::Result<Answer<WireUpload>> {
        Ok(Answer::Whole(coordinator.get(&caller.whose(), id(&upload_id)).await?.into()))
    }

    /// Abort an upload
    ///
    /// Gives it up, for good. Repeating it is harmless.
    #[oai(path = "/uploads/:upload_id", method = "delete", operation_id = "abortUpload", tag = "Tag::Uploads")]
    async fn abort_upload(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The upload
        upload_id: Path<String>,
    ) -> poem::Result<AbortUploadAnswer> {
        coordinator.abort(&caller.whose(), id(&upload_id)).await?;
        Ok(AbortUploadAnswer::Aborted)
    }

    /// Complete an upload
    ///
    /// Makes the object of its parts and proves it. What was not recorded is asked of S3. Repeating it after success gives
    /// the same answer.
    #[oai(
        path = "/uploads/:upload_id/complete",
        method = "post",
        operation_id = "completeUpload",
        tag = "Tag::Uploads"
    )]
    async fn complete_upload(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The upload
        upload_id: Path<String>,
        body: Body<CompleteUploadRequest>,
    ) -> poem::Result<CompleteUploadAnswer> {
        Ok(match coordinator.complete(&caller.whose(), id(&upload_id), body.value.into()).await? {
            Completion::Done(snapshot) => CompleteUploadAnswer::Completed(Answer::Whole(snapshot.into())),
            Completion::Running(snapshot) => CompleteUploadAnswer::Running(Answer::Whole(snapshot.into()), 2),
        })
    }

    /// Sign part URLs
    ///
    /// A part can be signed any number of times; sign late, in small windows, and again when a URL has expired.
    #[oai(path = "/uploads/:upload_id/part-urls", method = "post", operation_id = "signParts", tag = "Tag::Parts")]
    async fn sign_parts(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The upload
        upload_id: Path<String>,
        body: Body<SignPartsRequest>,
    ) -> poem::Result<Answer<SignPartsResponse>> {
        let (parts, ttl) = body.value.read()?;
        let urls = coordinator.sign(&caller.whose(), id(&upload_id), parts, ttl).await?;
        Ok(Answer::Pieces(Box::new(PartUrlsAnswer::new("", Some(urls)))))
    }

    /// Record parts
    ///
    /// All or none; recording a part again replaces what was recorded. Durable when it answers.
    #[oai(path = "/uploads/:upload_id/parts", method = "put", operation_id = "recordParts", tag = "Tag::Parts")]
    async fn record_parts(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The upload
        upload_id: Path<String>,
        body: Body<RecordPartsRequest>,
    ) -> poem::Result<Answer<WireUpload>> {
        let reports = body.value.read()?;
        Ok(Answer::Whole(coordinator.record(&caller.whose(), id(&upload_id), reports).await?.into()))
    }

    /// Record a part
    ///
    /// Recording it again replaces what was recorded. Durable when it answers.
    #[oai(
        path = "/uploads/:upload_id/parts/:part_number",
        method = "put",
        operation_id = "recordPart",
        tag = "Tag::Parts"
    )]
    async fn record_part(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The upload
        upload_id: Path<String>,
        /// The part, 1 to 10,000
        part_number: Path<String>,
        body: Body<RecordPartRequest>,
    ) -> poem::Result<Answer<WirePart>> {
        let report = body.value.read(&part_number)?;
        let (upload, part) = coordinator.record_one(&caller.whose(), id(&upload_id), report).await?;
        Ok(Answer::Whole(WirePart::of(&upload, part)))
    }

    /// List recorded parts
    ///
    /// Ascending by part number.
    #[oai(path = "/uploads/:upload_id/parts", method = "get", operation_id = "listParts", tag = "Tag::Parts")]
    async fn list_parts(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The upload
        upload_id: Path<String>,
        /// The most items of the page; 100 when absent
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before
        cursor: Query<Option<String>>,
    ) -> poem::Result<Answer<PartPage>> {
        let (limit, after) = (self::limit(limit.0)?, position::<i32>(cursor.0.as_deref())?);
        let (upload, parts) = coordinator.parts(&caller.whose(), id(&upload_id), after.unwrap_or(0), limit + 1).await?;
        let (parts, next_cursor) = page(parts, limit, |part| part.number.to_string());
        let items = parts.into_iter().map(|part| WirePart::of(&upload, part)).collect();
        Ok(Answer::Whole(PartPage { items, next_cursor }))
    }

    /// Sync with S3
    ///
    /// Asks S3 which parts it holds and brings the record into line. For clients that lost their state, or could not read
    /// the `ETag`.
    #[oai(path = "/uploads/:upload_id/sync", method = "post", operation_id = "syncParts", tag = "Tag::Parts")]
    async fn sync_parts(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The upload
        upload_id: Path<String>,
    ) -> poem::Result<Answer<WireUpload>> {
        Ok(Answer::Whole(coordinator.sync(&caller.whose(), id(&upload_id)).await?.into()))
    }
}

fn read_key(headers: &HeaderMap, body: &[u8]) -> Result<Option<IdempotencyKey>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(None),
        (Some(key), None) => key.to_str().ok().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic())),
        (Some(_), Some(_)) => None,
    };
    let Some(key) = key.filter(|key| (1..=255).contains(&key.len())) else {
        return Err(Problem::new(
            Code::InvalidIdempotencyKey,
            "an idempotency key is 1 to 255 visible ASCII characters",
        ));
    };
    // Compared as JSON: neither white space nor the order of fields makes another request.
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    Ok(Some(IdempotencyKey { key: key.to_owned(), request_hash: Sha256::digest(canonical(&value)).into() }))
}

/// The same text for the same JSON, whatever the order of its fields.
fn canonical(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            let fields = fields.iter().map(|(name, value)| format!("{name:?}:{}", canonical(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        serde_json::Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        plain => plain.to_string(),
    }
}
