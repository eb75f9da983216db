//! What can be seen of an upload, and what the model foresees of it.

use serde_json::Value;

use super::reference::{Ending, State, Upload};
use super::s3::Object;
use crate::support::scripted_s3::StoredObject;

/// What can be seen of an upload from outside.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    state: &'static str,
    /// Why it was aborted, or failed.
    reason: Option<&'static str>,
    recorded: u64,
    open_at_s3: usize,
    object: Option<bool>,
}

/// What must be seen of an upload that stands so.
pub(super) fn foreseen(upload: &Upload) -> Seen {
    let (state, ending) = match upload.state {
        State::Creating => ("creating", None),
        State::Open => ("open", None),
        State::Completing => ("completing", None),
        State::Completed => ("completed", None),
        State::Aborting(ending) => ("aborting", Some(ending)),
        State::Ended(ending @ (Ending::Requested | Ending::Expired)) => ("aborted", Some(ending)),
        State::Ended(ending) => ("failed", Some(ending)),
        State::Forgotten => ("forgotten", None),
    };
    let reason = ending.map(|ending| match ending {
        Ending::Requested => "requested",
        Ending::Expired => "expired",
        Ending::CreateRefused => "create-refused",
        Ending::KeyTaken => "key-taken",
        Ending::Vanished => "upload-vanished",
    });
    // Of a failure only the end is told.
    let reason = reason.filter(|_| !matches!(upload.state, State::Aborting(ending) if !is_abort(ending)));
    let recorded = if state == "forgotten" { 0 } else { upload.recorded.iter().flatten().count() as u64 };
    Seen {
        state,
        reason,
        recorded,
        open_at_s3: usize::from(upload.s3.upload.is_some()) + usize::from(upload.s3.strays),
        object: upload.s3.object.map(|object| matches!(object, Object::Ours(_))),
    }
}

fn is_abort(ending: Ending) -> bool {
    matches!(ending, Ending::Requested | Ending::Expired)
}

/// What is seen of it: as the service shows it, and as it is at S3.
pub(super) fn seen(
    row: Option<&Value>,
    open: &[(String, String)],
    stored: Option<&StoredObject>,
    id: &str,
    key: &str,
) -> Seen {
    let field = |name: &str| row.and_then(|row| row[name].as_str()).map(|text| &*String::leak(text.to_owned()));
    Seen {
        state: field("state").unwrap_or("forgotten"),
        reason: field("abortReason").or(field("failure")),
        recorded: row.map_or(0, |row| row["recordedParts"].as_u64().expect("a number")),
        open_at_s3: open.iter().filter(|(of, _)| of == key).count(),
        object: stored.map(|object| object.upload_id.as_deref() == Some(id)),
    }
}
