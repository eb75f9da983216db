//! The model's words in those of HTTP and of the scripted S3.

use serde_json::{Value, json};

use super::actions::Wish;
use super::reference::Call;
use super::s3::{Down, Op, Upset, When};
use super::service::{etag_of, size_of};
use crate::support::MIB;
use crate::support::scripted_s3::{Operation, Script, on};

pub(super) fn body_of(wish: Wish) -> Value {
    let size: usize = (0..wish.planned).map(|part| size_of(wish.planned, part)).sum();
    let count = if wish.urls { 100 } else { 0 };
    let urls = json!({ "count": count });
    json!({ "filename": "x", "size": size, "partSize": 5 * MIB, "autoComplete": wish.auto, "partUrls": urls })
}

pub(super) fn request(call: Call, planned: usize, path: &str, id: &str) -> (&'static str, String, Option<Value>) {
    let report = |part: usize, bytes: u8| json!({ "partNumber": part + 1, "etag": etag_of(planned, part, bytes) });
    match call {
        Call::Sign => {
            ("POST", format!("{path}/part-urls"), Some(json!({ "parts": if planned == 2 { "1-2" } else { "1" } })))
        }
        Call::Record { part, bytes } => {
            ("PUT", format!("{path}/parts"), Some(json!({ "parts": [report(part, bytes)] })))
        }
        Call::Sync => ("POST", format!("{path}/sync"), None),
        Call::Complete(None) => ("POST", format!("{path}/complete"), None),
        Call::Complete(Some(bytes)) => {
            let parts: Vec<Value> = (0..planned).map(|part| report(part, bytes)).collect();
            ("POST", format!("{path}/complete"), Some(json!({ "parts": parts })))
        }
        Call::Abort => ("DELETE", path.to_owned(), None),
        Call::Get => ("GET", path.to_owned(), None),
        Call::File => ("GET", format!("/v1/files/{id}"), None),
        Call::Create { .. } | Call::Sweep => unreachable!("no call of an upload"),
    }
}

pub(super) fn operation(op: Op, planned: usize) -> Operation {
    match op {
        Op::Create => Operation::CreateMultipartUpload,
        Op::Complete if planned == 0 => Operation::PutObject,
        Op::Complete => Operation::CompleteMultipartUpload,
        Op::Abort => Operation::AbortMultipartUpload,
        Op::Head => Operation::HeadObject,
        Op::ListParts => Operation::ListParts,
        Op::ListUploads => Operation::ListMultipartUploads,
    }
}

pub(super) fn upset_script(operation: Operation, upset: Upset) -> Script {
    let script = on(operation);
    match upset {
        Upset::Cut(When::Never) => script.unapplied().cut(),
        Upset::Cut(When::AtOnce) => script.cut(),
        Upset::Cut(When::Late) => script.applied_late().cut(),
        Upset::Unavailable => script.unapplied().refused(503, "SlowDown"),
        Upset::ErrorIn200 => script.unapplied().refused(200, "InternalError"),
        Upset::Truncated200 => script.says(200, ""),
        Upset::Forbidden => script.unapplied().refused(403, "AccessDenied"),
        Upset::DeniedAfter => script.refused(404, "NoSuchUpload"),
        Upset::ConditionAfter => script.refused(412, "PreconditionFailed"),
    }
}

pub(super) fn down_script(operation: Operation, down: Down) -> Script {
    let script = on(operation).unapplied();
    match (down, operation) {
        (Down::Forbidden, _) => script.refused(403, "AccessDenied"),
        (Down::Unavailable, _) => script.refused(500, "InternalError"),
        (Down::Lies, Operation::AbortMultipartUpload) => script.says(204, ""),
        (Down::Lies, _) => script.refused(404, "NoSuchUpload"),
    }
}

/// Never answered: before S3 does anything, after it, or before it does it after all.
pub(super) fn death_script(operation: Operation, when: When) -> Script {
    match when {
        When::Never => on(operation).unapplied().held().cut(),
        When::AtOnce => on(operation).held_after(),
        When::Late => on(operation).held(),
    }
}
