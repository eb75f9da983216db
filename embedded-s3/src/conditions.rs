//! If-Match, If-None-Match and their kin.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::store::{Object, ObjectRecord, timestamp};

fn holds(condition: &ETagCondition, etag: &str) -> bool {
    condition.is_any() || condition.as_etag().is_some_and(|asked| asked.value() == etag)
}

fn failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// Whether a write may replace, or delete, what is at the key now.
pub(crate) fn check_write(
    current: Option<&Object>,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let etag = current.map(|object| object.record.etag.as_str());
    match (if_match, etag) {
        (Some(_), None) => return Err(s3_error!(NoSuchKey)),
        (Some(condition), Some(etag)) if !holds(condition, etag) => return Err(failed()),
        _ => {}
    }
    match (if_none_match, etag) {
        (Some(condition), Some(etag)) if holds(condition, etag) => Err(failed()),
        _ => Ok(()),
    }
}

/// The conditions of a read. An ETag condition outweighs the date condition of the same sense, as HTTP has it.
#[derive(Default)]
pub(crate) struct ReadConditions {
    pub(crate) if_match: Option<ETagCondition>,
    pub(crate) if_none_match: Option<ETagCondition>,
    pub(crate) if_modified_since: Option<Timestamp>,
    pub(crate) if_unmodified_since: Option<Timestamp>,
}

impl ReadConditions {
    /// # Errors
    ///
    /// 412, or 304 for a reader who has the object already.
    pub(crate) fn check(&self, object: &ObjectRecord) -> S3Result<()> {
        let modified = whole_seconds(timestamp(object.modified_ms));
        let still_current = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => holds(condition, &object.etag),
            (None, Some(date)) => modified <= whole_seconds(date.clone()),
            (None, None) => true,
        };
        if !still_current {
            return Err(failed());
        }
        let news = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => !holds(condition, &object.etag),
            (None, Some(date)) => modified > whole_seconds(date.clone()),
            (None, None) => true,
        };
        if news { Ok(()) } else { Err(not_modified(object)) }
    }

    /// The same for the source of a copy, where every failure is a 412.
    pub(crate) fn check_source(&self, object: &ObjectRecord) -> S3Result<()> {
        self.check(object).map_err(|_| failed())
    }
}

/// HTTP dates have no fractions, so a date read from an answer must compare equal.
fn whole_seconds(time: Timestamp) -> i64 {
    time::OffsetDateTime::from(time).unix_timestamp()
}

fn not_modified(object: &ObjectRecord) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    error.set_status_code(StatusCode::NOT_MODIFIED);
    if let Ok(etag) = HeaderValue::try_from(format!("\"{}\"", object.etag)) {
        error.set_headers(HeaderMap::from_iter([(header::ETAG, etag)]));
    }
    error
}
