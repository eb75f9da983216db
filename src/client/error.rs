//! What can go wrong on the way, and whether to try again.

use std::fmt;
use std::time::Duration;

/// What a failure means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Who asks is not known, or may not do this.
    Access,
    /// There is no such upload or file, or no longer.
    NotFound,
    /// It may go well later, with nothing changed.
    Passing,
    /// Bytes are not what they were said to be.
    Integrity,
    /// Stopped on purpose; what was sent stays.
    Interrupted,
    /// It will not go well however often it is tried.
    Refused,
}

/// A failure, told for people.
#[derive(Debug, Clone)]
pub struct Error {
    /// What it means.
    pub kind: Kind,
    /// Stable, for machines: a problem code of the service, or one of the client's own: `service-unreachable`,
    /// `storage-unreachable`, `storage-busy`, `storage-refused`, `url-refused`, `stalled`, `file-differs`, `file-changed`,
    /// `file-unreadable`, `interrupted`, `unexpected`.
    pub code: String,
    /// What went wrong and, where there is something to do about it, what. Holds no URL.
    pub message: String,
    /// How long the other side asked to be left alone.
    pub retry_after: Option<Duration>,
    /// Parts that the problem names, such as `3,7-9`.
    pub parts: Option<String>,
    /// The service's own id of the request, by which its log tells more.
    pub request_id: Option<String>,
}

impl Error {
    pub(super) fn new(kind: Kind, code: &str, message: impl Into<String>) -> Error {
        let (code, message) = (code.to_owned(), message.into());
        Error { kind, code, message, retry_after: None, parts: None, request_id: None }
    }

    /// Whether the same step may go well later.
    pub fn is_passing(&self) -> bool {
        self.kind == Kind::Passing
    }

    /// Whoever asked has stopped it.
    pub fn interrupted() -> Error {
        Error::new(Kind::Interrupted, "interrupted", "stopped; what was sent is kept")
    }

    /// What was to be sent cannot be read.
    pub fn unreadable(name: &str, error: &std::io::Error) -> Error {
        Error::new(Kind::Refused, "file-unreadable", format!("{name} cannot be read: {error}"))
    }

    /// An exchange that came to nothing. The URL may be a secret, so it is not told.
    pub(super) fn of_exchange(code: &str, who: &str, error: &reqwest::Error) -> Error {
        let cause = if error.is_timeout() { "it took too long".to_owned() } else { innermost(error) };
        Error::new(Kind::Passing, code, format!("{who} does not answer: {cause}"))
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if cause.is::<reqwest::Error>() { "the connection failed".to_owned() } else { cause.to_string() }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.request_id {
            Some(id) => write!(formatter, " ({}, request {id})", self.code),
            None => write!(formatter, " ({})", self.code),
        }
    }
}

impl std::error::Error for Error {}
