//! What came to S3, and when.

use std::collections::HashMap;
use std::time::Instant;

use http::request::Parts;
use percent_encoding::percent_decode_str;

use super::script::Operation;

/// One call of S3.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    /// Empty where the call is of a bucket.
    pub(crate) key: String,
    pub(crate) query: HashMap<String, String>,
    pub(crate) headers: http::HeaderMap,
    pub(crate) started: Instant,
    /// When S3 was through with it, which may be after its client went away.
    pub(crate) ended: Option<Instant>,
    /// What was answered; nothing when the connection was cut.
    pub(crate) status: Option<u16>,
}

impl Call {
    pub(super) fn of(head: &Parts) -> Call {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        };
        let query: HashMap<String, String> =
            head.uri.query().unwrap_or_default().split('&').filter(|text| !text.is_empty()).map(pair).collect();
        let path = decoded(head.uri.path());
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key).to_owned();
        let operation = Operation::of(&head.method, !key.is_empty(), |name| query.contains_key(name));
        let headers = head.headers.clone();
        Call { operation, key, query, headers, started: Instant::now(), ended: None, status: None }
    }

    /// S3's id of the multipart upload, where the call names one.
    pub(crate) fn upload_id(&self) -> Option<&str> {
        self.query.get("uploadId").map(String::as_str)
    }
}

/// The most of these calls that were at work at the same moment.
pub(super) fn most_at_once<'a>(calls: impl Iterator<Item = &'a Call> + Clone) -> usize {
    let at = |moment: Instant| {
        calls.clone().filter(|call| call.started <= moment && call.ended.is_none_or(|ended| ended > moment)).count()
    };
    calls.clone().map(|call| at(call.started)).max().unwrap_or(0)
}
