//! The shapes on the wire, and how they come from the domain. Absent is absent, never `null`; numbers are signed.

mod files;
mod part_urls;
mod parts;
mod uploads;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

pub(super) use files::{DownloadUrlPage, DownloadUrlsRequest, FilePage, WireDownloadUrl, WireFile};
pub(super) use part_urls::PartUrlsAnswer;
pub(super) use parts::{
    PartPage, RecordPartRequest, RecordPartsRequest, SignPartsRequest, SignPartsResponse, WirePart,
};
pub(super) use uploads::{CompleteUploadRequest, CreateUploadRequest, CreateUploadResponse, UploadPage, WireUpload};

use super::problem::{Code, Problem};
use crate::access::{Caller, Scope, is_subject};
use crate::config::MAX_URL_TTL;
use crate::upload::{Invalid, Owner};

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
fn cursor(position: &str) -> String {
    URL_SAFE_NO_PAD.encode(position)
}

/// The items of a page, and the cursor of the next one if there is one: one item more than `limit` was asked for to tell.
pub(super) fn page<T>(mut found: Vec<T>, limit: u64, position: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
    let more = found.len() as u64 > limit;
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = found.last().filter(|_| more).map(|last| cursor(&position(last)));
    (found, next)
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

/// Whether a file is to be shown in place.
pub(super) fn disposition(asked: Option<&str>) -> Result<bool, Problem> {
    match asked {
        None | Some("attachment") => Ok(false),
        Some("inline") => Ok(true),
        Some(_) => Err(Problem::field(Code::InvalidRequest, "disposition", "attachment or inline")),
    }
}

/// The subject in a path.
pub(super) fn subject(text: &str) -> Result<&str, Problem> {
    if is_subject(text) {
        Ok(text)
    } else {
        Err(Problem::field(Code::InvalidRequest, "subject", "1 to 255 bytes of text, without control characters"))
    }
}

/// Whose uploads or files a list is to show.
pub(super) fn listed_owner(caller: &Caller, asked: Option<String>) -> Result<Owner, Problem> {
    match asked {
        None => Ok(caller.owner.clone()),
        Some(owner) if owner == caller.owner.0 || caller.is_admin() => Ok(Owner(owner)),
        Some(_) => Err(Problem::lacks(Scope::Admin, "to list what is another's needs")),
    }
}

impl From<Invalid> for poem::Error {
    fn from(invalid: Invalid) -> Self {
        Problem::from(invalid).into()
    }
}
