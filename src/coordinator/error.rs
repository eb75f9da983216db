//! What a client may be told instead of what it asked for, before it is put into HTTP.

use crate::upload::{AbortReason, Ending, Invalid, PartSet, State, Status, Upload};
use crate::{bucket, store};

/// Why an operation was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule of the domain forbids it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// This caller has no such upload.
    #[error("no such upload")]
    UploadNotFound,
    /// This caller has no such file.
    #[error("no such file")]
    FileNotFound,
    /// There is no such preset.
    #[error("no such preset")]
    PresetNotFound,
    /// The owner has as many open uploads as it may.
    #[error("the owner has as many open uploads as it may; finish or abort some")]
    QuotaOpenUploads,
    /// The owner would hold more bytes than it may.
    #[error("the owner would hold more bytes than it may; delete files or abort uploads")]
    QuotaBytes,
    /// The file is another's, and only shared with the caller.
    #[error("only the file's owner may do this")]
    OwnerOnly,
    /// The upload is in a state in which this cannot be done now.
    #[error("the upload is {0}")]
    NotOpen(State),
    /// The upload is completed.
    #[error("the upload is completed")]
    AlreadyCompleted,
    /// Nobody finished it in time.
    #[error("the upload has expired")]
    Expired,
    /// A client aborted it.
    #[error("the upload was aborted")]
    Aborted,
    /// It failed.
    #[error("the upload failed")]
    Failed,
    /// The file was deleted.
    #[error("the file was deleted")]
    FileDeleted,
    /// The file is not there yet.
    #[error("the upload is not completed")]
    NotCompleted,
    /// S3 does not hold these parts.
    #[error("parts {0} are missing")]
    PartsMissing(PartSet),
    /// S3 holds other bytes for these parts than were recorded.
    #[error("parts {0} differ from what was recorded")]
    PartsDiffer(PartSet),
    /// Another object stands at the key.
    #[error("another object stands at the key")]
    KeyExists,
    /// S3 stored other bytes than the client's checksum tells.
    #[error("the stored bytes do not have the checksum that was given")]
    ChecksumMismatch,
    /// A request with this idempotency key is at work.
    #[error("a request with this idempotency key is at work")]
    IdempotencyInProgress,
    /// This idempotency key was used for another request.
    #[error("this idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// S3 refused, or did not answer.
    #[error("S3 failed")]
    Bucket(#[from] bucket::Error),
    /// The ledger failed, or did not answer.
    #[error("the ledger failed")]
    Store(#[source] store::Error),
}

impl Error {
    /// Whether this tells how things are, rather than that nobody knows.
    pub fn is_verdict(&self) -> bool {
        !matches!(self, Error::Bucket(_) | Error::Store(_))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NotFound => Error::UploadNotFound,
            store::Error::TooManyUploads => Error::QuotaOpenUploads,
            store::Error::TooManyBytes => Error::QuotaBytes,
            store::Error::Moved(upload) => refusal(&upload),
            error => Error::Store(error),
        }
    }
}

/// Why nothing can be signed, recorded, synced or completed on this upload.
pub(super) fn refusal(upload: &Upload) -> Error {
    match &upload.status {
        // An open upload refuses only past its time, swept or not; or it was moved away and back between two statements.
        Status::Open if !upload.is_alive() => Error::Expired,
        Status::Creating { .. } | Status::Open | Status::Completing { .. } => Error::NotOpen(upload.status.state()),
        Status::Completed(_) => Error::AlreadyCompleted,
        Status::Deleting(_) | Status::Deleted(_) => Error::FileDeleted,
        Status::Aborting { ending: Ending::Abort(reason), .. } | Status::Aborted(reason) => match reason {
            AbortReason::Requested => Error::Aborted,
            AbortReason::Expired => Error::Expired,
        },
        Status::Aborting { ending: Ending::Fail(_), .. } | Status::Failed(_) => Error::Failed,
    }
}
