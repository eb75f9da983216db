//! Every error as `application/problem+json` (RFC 9457): the one table from causes to codes and statuses.

use poem::error::{MethodNotAllowedError, NotFoundError};
use poem::http::{HeaderValue, StatusCode};
use poem::{IntoResponse, Response};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError};
use serde_json::{Map, Value, json};

use crate::access::{Scope, Standing};
use crate::coordinator::Error;
use crate::upload::{Invalid, State};
use crate::{bucket, store};

macro_rules! codes {
    ($($variant:ident $code:literal $status:literal $title:literal,)+) => {
        /// What went wrong, for machines: stable, never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(in crate::http) enum Code { $(#[doc = $title] $variant,)+ }

        impl Code {
            /// Every code, by status.
            pub(super) const ALL: &[Code] = &[$(Code::$variant,)+];

            /// The code on the wire.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Code::$variant => $code,)+ }
            }

            /// The HTTP status that it comes with.
            pub(super) const fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)+ }
            }

            const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)+ }
            }
        }
    };
}

codes! {
    MalformedJson "malformed-json" 400 "The body is not JSON",
    InvalidRequest "invalid-request" 400 "The request does not have the right form",
    UnknownField "unknown-field" 400 "The request has a field that does not exist",
    InvalidCursor "invalid-cursor" 400 "The cursor is not one that this service gave",
    InvalidIdempotencyKey "invalid-idempotency-key" 400 "An idempotency key is 1 to 255 visible ASCII characters",
    Unauthenticated "unauthenticated" 401 "Nobody said who is calling",
    InvalidToken "invalid-token" 401 "The key or token is not good",
    InsufficientScope "insufficient-scope" 403 "The key or token is not for this",
    OwnerOnly "owner-only" 403 "Only the file's owner may do this",
    ForbiddenOrigin "forbidden-origin" 403 "This origin or host may not call the service",
    UploadNotFound "upload-not-found" 404 "There is no such upload",
    FileNotFound "file-not-found" 404 "There is no such file",
    RouteNotFound "route-not-found" 404 "There is nothing at this path",
    PresetNotFound "preset-not-found" 404 "There is no such preset",
    MethodNotAllowed "method-not-allowed" 405 "This path does not take this method",
    NotAcceptable "not-acceptable" 406 "Answers are JSON",
    UploadNotOpen "upload-not-open" 409 "The upload is not open",
    AlreadyCompleted "already-completed" 409 "The upload is completed",
    PartsMissing "parts-missing" 409 "S3 does not hold every part",
    PartsDiffer "parts-differ" 409 "S3 holds other parts than were recorded",
    KeyExists "key-exists" 409 "Another object stands at the key",
    NotCompleted "not-completed" 409 "The upload is not completed yet",
    IdempotencyInProgress "idempotency-in-progress" 409 "A request with this idempotency key is at work",
    QuotaOpenUploads "quota-open-uploads" 409 "The owner has as many open uploads as it may",
    QuotaBytes "quota-bytes" 409 "The owner would hold more bytes than it may",
    UploadExpired "upload-expired" 410 "The upload has expired",
    UploadAborted "upload-aborted" 410 "The upload was aborted",
    UploadFailed "upload-failed" 410 "The upload failed",
    FileDeleted "file-deleted" 410 "The file was deleted",
    FileTooLarge "file-too-large" 413 "The file is too large",
    BodyTooLarge "body-too-large" 413 "The request body is too large",
    UnsupportedMediaType "unsupported-media-type" 415 "Request bodies are application/json",
    RangeNotSatisfiable "range-not-satisfiable" 416 "The file has no such bytes",
    InvalidFilename "invalid-filename" 422 "Not a file name",
    InvalidContentType "invalid-content-type" 422 "Not a content type",
    InvalidSize "invalid-size" 422 "Not a size",
    InvalidPartNumber "invalid-part-number" 422 "Not a part of this upload",
    InvalidPartSize "invalid-part-size" 422 "Not a part size",
    InvalidEtag "invalid-etag" 422 "Not an ETag",
    InvalidChecksum "invalid-checksum" 422 "Not a checksum",
    ChecksumRequired "checksum-required" 422 "The upload has part checksums",
    InvalidMetadata "invalid-metadata" 422 "Not metadata",
    InvalidFingerprint "invalid-fingerprint" 422 "Not a fingerprint of this file",
    ContentTypeNotAllowed "content-type-not-allowed" 422 "Files of this type may not be uploaded",
    BatchTooLarge "batch-too-large" 422 "Too many parts in one call",
    IdempotencyKeyReused "idempotency-key-reused" 422 "The idempotency key was used for another request",
    SizeMismatch "size-mismatch" 422 "The size does not fit the plan",
    ChecksumMismatch "checksum-mismatch" 422 "The stored bytes do not have the checksum that was given",
    RateLimited "rate-limited" 429 "Too many requests",
    Internal "internal" 500 "The service failed",
    StorageRefused "storage-refused" 502 "The storage refused",
    StorageUnavailable "storage-unavailable" 503 "The storage is unavailable",
    DatabaseUnavailable "database-unavailable" 503 "The database is unavailable",
    AuthUnavailable "auth-unavailable" 503 "Tokens cannot be checked now",
    Overloaded "overloaded" 503 "The service is overloaded",
}

/// An error on its way out. What it says holds no text of S3, of the database or of this machine.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(&'static str, String)>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), members: Map::new(), headers: Vec::new() }
    }

    /// `400 invalid-request` that names the field.
    pub(super) fn field(code: Code, field: &str, detail: &str) -> Problem {
        let errors = json!([{ "field": field, "detail": detail }]);
        Problem::new(code, format!("{field}: {detail}")).with("errors", errors)
    }

    fn with(mut self, member: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: String) -> Problem {
        self.headers.push((name, value));
        self
    }

    pub(super) fn retry_after(self, seconds: u32) -> Problem {
        self.header("retry-after", seconds.to_string())
    }

    /// How a credential would have to be given (RFC 6750).
    pub(super) fn challenge(self, value: &str) -> Problem {
        self.header("www-authenticate", value.to_owned())
    }

    /// `403 insufficient-scope`: what this scope is for.
    pub(super) fn lacks(scope: Scope, detail: &str) -> Problem {
        let problem = Problem::new(Code::InsufficientScope, format!("{detail} the scope {scope}"));
        problem.challenge(&format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\""))
    }

    /// How the caller stands with its requests.
    pub(super) fn standing(mut self, standing: Standing) -> Problem {
        self.headers.extend(standing.headers());
        self
    }

    /// The body, once the request's id is known.
    pub(super) fn body(&self, request_id: &str) -> String {
        let mut body = json!({
            "type": format!("urn:partita:problem:{}", self.code.name()),
            "title": self.code.title(),
            "status": self.code.status(),
            "code": self.code.name(),
            "detail": self.detail,
            "requestId": request_id,
        });
        if let Some(body) = body.as_object_mut() {
            body.extend(self.members.clone());
        }
        body.to_string()
    }

    /// Whatever the framework made of a request before it reached an operation.
    pub(super) fn from_framework(error: &poem::Error) -> Problem {
        if error.is::<NotFoundError>() {
            return Problem::new(Code::RouteNotFound, "there is nothing at this path");
        }
        if error.is::<MethodNotAllowedError>() {
            return Problem::new(Code::MethodNotAllowed, "this path does not take this method");
        }
        if let Some(error) = error.downcast_ref::<ParseParamError>() {
            return Problem::field(Code::InvalidRequest, error.name, "not a value of the right type");
        }
        if let Some(error) = error.downcast_ref::<ParsePathError>() {
            return Problem::field(Code::InvalidRequest, error.name, "not a value of the right type");
        }
        if error.is::<ContentTypeError>() {
            return Problem::new(Code::UnsupportedMediaType, "send application/json");
        }
        match error.status() {
            StatusCode::NOT_FOUND => Problem::new(Code::RouteNotFound, "there is nothing at this path"),
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge, "the body is too large"),
            status if status.is_client_error() => Problem::new(Code::InvalidRequest, "the request cannot be read"),
            _ => {
                tracing::error!(%error, "the framework failed");
                Problem::internal()
            }
        }
    }

    /// A fault of ours; the log tells which.
    pub(super) fn internal() -> Problem {
        Problem::new(Code::Internal, "the service failed; its log tells why under this request id")
    }
}

impl IntoResponse for Problem {
    /// The body is written when the answer leaves, for only then is the request's id at hand.
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers_mut().insert(*name, value);
            }
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Problem> for poem::Error {
    fn from(problem: Problem) -> Self {
        let mut error = poem::Error::from_response(problem.clone().into_response());
        // An error's own extensions take the place of its response's.
        error.set_data(problem);
        error
    }
}

impl From<Error> for poem::Error {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::Invalid(invalid) => invalid.into(),
            Error::UploadNotFound => Problem::new(Code::UploadNotFound, detail),
            Error::FileNotFound => Problem::new(Code::FileNotFound, detail),
            Error::QuotaOpenUploads => Problem::new(Code::QuotaOpenUploads, detail),
            Error::QuotaBytes => Problem::new(Code::QuotaBytes, detail),
            Error::OwnerOnly => Problem::new(Code::OwnerOnly, detail),
            Error::PresetNotFound => Problem::new(Code::PresetNotFound, detail),
            Error::NotOpen(state) => {
                let pause = if state == State::Completing { 2 } else { 1 };
                Problem::new(Code::UploadNotOpen, detail).with("state", state.name()).retry_after(pause)
            }
            Error::AlreadyCompleted => Problem::new(Code::AlreadyCompleted, detail),
            Error::Expired => Problem::new(Code::UploadExpired, detail),
            Error::Aborted => Problem::new(Code::UploadAborted, detail),
            Error::Failed => Problem::new(Code::UploadFailed, detail),
            Error::FileDeleted => Problem::new(Code::FileDeleted, detail),
            Error::NotCompleted => Problem::new(Code::NotCompleted, detail),
            Error::PartsMissing(parts) => {
                Problem::new(Code::PartsMissing, detail).with("missingParts", parts.to_string())
            }
            Error::PartsDiffer(parts) => Problem::new(Code::PartsDiffer, detail).with("parts", parts.to_string()),
            Error::KeyExists => Problem::new(Code::KeyExists, detail),
            Error::ChecksumMismatch => Problem::new(Code::ChecksumMismatch, detail),
            Error::IdempotencyInProgress => Problem::new(Code::IdempotencyInProgress, detail).retry_after(1),
            Error::IdempotencyKeyReused => Problem::new(Code::IdempotencyKeyReused, detail),
            Error::Bucket(bucket::Error::Unavailable(why)) => {
                tracing::warn!(why, "S3 is unavailable");
                Problem::new(Code::StorageUnavailable, "the storage does not answer; try again").retry_after(5)
            }
            Error::Bucket(error) => {
                tracing::error!(%error, "S3 refused");
                Problem::new(Code::StorageRefused, "the storage refused what the service asked of it")
            }
            Error::Store(store::Error::Unavailable(error)) => {
                tracing::warn!(%error, "the database is unavailable");
                Problem::new(Code::DatabaseUnavailable, "the database does not answer; try again").retry_after(5)
            }
            Error::Store(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "the ledger failed");
                Problem::internal()
            }
        }
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let detail = invalid.to_string();
        match invalid {
            Invalid::Filename(_) => Problem::new(Code::InvalidFilename, detail),
            Invalid::ContentType(_) => Problem::new(Code::InvalidContentType, detail),
            Invalid::ContentTypeNotAllowed => Problem::new(Code::ContentTypeNotAllowed, detail),
            Invalid::Size(_) => Problem::new(Code::InvalidSize, detail),
            Invalid::FileTooLarge { max_size } => Problem::new(Code::FileTooLarge, detail).with("maxSize", max_size),
            Invalid::PartSize(_) => Problem::new(Code::InvalidPartSize, detail),
            Invalid::PartNumber { part_count } => {
                Problem::new(Code::InvalidPartNumber, detail).with("partCount", part_count)
            }
            Invalid::ETag => Problem::new(Code::InvalidEtag, detail),
            Invalid::Checksum(_) => Problem::new(Code::InvalidChecksum, detail),
            Invalid::ChecksumRequired | Invalid::FileChecksumRequired => Problem::new(Code::ChecksumRequired, detail),
            Invalid::Metadata(_) => Problem::new(Code::InvalidMetadata, detail),
            Invalid::Fingerprint(_) => Problem::new(Code::InvalidFingerprint, detail),
            Invalid::SizeMismatch(_) => Problem::new(Code::SizeMismatch, detail),
            Invalid::BatchTooLarge(_) => Problem::new(Code::BatchTooLarge, detail),
            Invalid::Request { field, detail } => Problem::field(Code::InvalidRequest, &field, detail),
        }
    }
}
