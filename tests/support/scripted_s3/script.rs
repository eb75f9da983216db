//! What a script says: which calls of S3 it meets, and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use http::{HeaderValue, Method, header};

use super::call::Call;

/// The operations of S3 that scripts and records tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    CreateMultipartUpload,
    UploadPart,
    ListParts,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListMultipartUploads,
    HeadObject,
    GetObject,
    PutObject,
    DeleteObject,
    Other,
}

impl Operation {
    /// By method, whether the path names a key, and the query.
    pub(super) fn of(method: &Method, has_key: bool, has: impl Fn(&str) -> bool) -> Operation {
        use Operation::*;
        match (method.as_str(), has_key) {
            ("POST", true) if has("uploads") => CreateMultipartUpload,
            ("POST", true) if has("uploadId") => CompleteMultipartUpload,
            ("PUT", true) if has("uploadId") => UploadPart,
            ("GET", true) if has("uploadId") => ListParts,
            ("DELETE", true) if has("uploadId") => AbortMultipartUpload,
            ("GET", false) if has("uploads") => ListMultipartUploads,
            ("HEAD", true) => HeadObject,
            ("GET", true) => GetObject,
            ("PUT", true) => PutObject,
            ("DELETE", true) => DeleteObject,
            _ => Other,
        }
    }
}

/// Whether, and when, S3 does what it is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Apply {
    Now,
    Never,
    /// After its answer, when the test releases it: the store was still at work on a request whose connection was cut.
    Late,
}

/// Changes an answer of S3's own.
pub(super) type Edit = Arc<dyn Fn(&Call, &mut Parts, &mut String) + Send + Sync>;

/// What the client gets to see.
#[derive(Clone)]
pub(super) enum Answer {
    /// What S3 itself says.
    Own,
    /// The connection is closed without an answer.
    Cut,
    /// This, whatever S3 itself says.
    Says { status: u16, content_type: &'static str, body: String },
    /// What S3 itself says, changed.
    Edited(Edit),
    /// What S3 itself says, but only the first bytes of it: then the connection is closed.
    BreaksOff(usize),
    /// The head and white space at once; the rest of S3's own answer when the test releases it.
    Trickle,
}

/// One thing that goes wrong. Without more words it meets every call of its operation until it is lifted, lets S3 do what
/// it is asked to, and gives S3's own answer.
#[derive(Clone)]
pub(crate) struct Script {
    pub(super) operation: Operation,
    pub(super) key: Option<String>,
    pub(super) calls: u32,
    pub(super) held_before: bool,
    pub(super) delay: Duration,
    pub(super) apply: Apply,
    pub(super) held_after: bool,
    pub(super) answer: Answer,
}

/// A script of what becomes of calls of this operation.
pub(crate) fn on(operation: Operation) -> Script {
    Script {
        operation,
        key: None,
        calls: u32::MAX,
        held_before: false,
        delay: Duration::ZERO,
        apply: Apply::Now,
        held_after: false,
        answer: Answer::Own,
    }
}

impl Script {
    /// Meets the next `calls` calls only.
    pub(crate) fn next(self, calls: u32) -> Script {
        Script { calls, ..self }
    }

    /// Meets calls for this key only.
    pub(crate) fn of(self, key: &str) -> Script {
        Script { key: Some(key.to_owned()), ..self }
    }

    /// S3 does nothing.
    pub(crate) fn unapplied(self) -> Script {
        Script { apply: Apply::Never, ..self }
    }

    /// S3 does it after all, long after its answer: when the test releases it.
    pub(crate) fn applied_late(self) -> Script {
        Script { apply: Apply::Late, ..self }
    }

    /// Waits for the test before S3 does anything.
    pub(crate) fn held(self) -> Script {
        Script { held_before: true, ..self }
    }

    /// Waits for the test when S3 has done it, before it answers.
    pub(crate) fn held_after(self) -> Script {
        Script { held_after: true, ..self }
    }

    /// Waits this long before S3 does anything.
    pub(crate) fn delayed(self, delay: Duration) -> Script {
        Script { delay, ..self }
    }

    /// Closes the connection without an answer.
    pub(crate) fn cut(self) -> Script {
        Script { answer: Answer::Cut, ..self }
    }

    /// Answers so.
    pub(crate) fn says(self, status: u16, body: impl Into<String>) -> Script {
        Script { answer: Answer::Says { status, content_type: "application/xml", body: body.into() }, ..self }
    }

    /// Answers with an error as S3 writes it; a HEAD gets no body.
    pub(crate) fn refused(self, status: u16, code: &str) -> Script {
        self.says(status, error(code))
    }

    /// Answers with the page of a gateway between.
    pub(crate) fn gateway(self, status: u16) -> Script {
        let body = format!("<html><head><title>{status}</title></head><body>gateway</body></html>");
        Script { answer: Answer::Says { status, content_type: "text/html", body }, ..self }
    }

    /// Answers with the head and white space, and with the rest when the test releases it.
    pub(crate) fn trickles(self) -> Script {
        Script { answer: Answer::Trickle, ..self }
    }

    /// Closes the connection after so many bytes of the body.
    pub(crate) fn breaks_off(self, after: usize) -> Script {
        Script { answer: Answer::BreaksOff(after), ..self }
    }

    /// Changes S3's own answer.
    pub(crate) fn edited(self, edit: impl Fn(&Call, &mut Parts, &mut String) + Send + Sync + 'static) -> Script {
        Script { answer: Answer::Edited(Arc::new(edit)), ..self }
    }

    /// Changes one header of S3's own answer.
    pub(crate) fn with_header(self, name: &'static str, value: impl Into<String>) -> Script {
        let value = HeaderValue::try_from(value.into()).expect("a header's value");
        self.edited(move |_, head, _| {
            head.headers.insert(name, value.clone());
        })
    }

    /// Changes the elements of this name in S3's own answer, such as each `Part` of a listing.
    pub(crate) fn with_elements(
        self,
        name: &'static str,
        change: impl Fn(Vec<String>) -> Vec<String> + Send + Sync + 'static,
    ) -> Script {
        self.edited(move |_, _, body| change_elements(body, name, &change))
    }
}

/// An error as S3 writes it.
pub(crate) fn error(code: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>scripted</Message></Error>")
}

/// Puts what `change` makes of all elements of this name in their place.
pub(crate) fn change_elements(body: &mut String, name: &str, change: impl Fn(Vec<String>) -> Vec<String>) {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut elements = Vec::new();
    let mut rest = body.as_str();
    while let Some((from, to)) = rest.find(&open).zip(rest.find(&close)) {
        elements.push(rest[from..to + close.len()].to_owned());
        rest = &rest[to + close.len()..];
    }
    let place = body.find(&open).or_else(|| body.rfind("</")).expect("an element");
    let mut left = body.clone();
    for element in &elements {
        left = left.replacen(element.as_str(), "", 1);
    }
    left.insert_str(place, &change(elements).concat());
    *body = left;
}

/// The text of the first element of this name.
pub(crate) fn text_of<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let from = body.find(&format!("<{name}>"))? + name.len() + 2;
    let to = from + body[from..].find("</")?;
    Some(&body[from..to])
}

/// Takes the header away that would contradict a changed body.
pub(super) fn forget_length(head: &mut Parts) {
    head.headers.remove(header::CONTENT_LENGTH);
}
