//! What S3 said, in the few kinds that the coordinator acts upon. No text of S3 leaves this module but to the log.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// Why a call to S3 did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// S3 has no such object or upload.
    #[error("S3 has no such thing ({code})")]
    NotFound {
        /// S3's error code.
        code: String,
    },
    /// S3 understood and said no; asking again changes nothing.
    #[error("S3 refused: {status} {code}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// S3's error code.
        code: String,
    },
    /// No answer, half an answer, or one that says to come back later. What was asked may have been done.
    #[error("S3 is unavailable: {0}")]
    Unavailable(String),
}

impl Error {
    /// S3's error code where S3 refused cleanly.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Error::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

/// Codes that come with any status, 200 among them, and mean that the outcome is open.
const UNCLEAR: [&str; 6] =
    ["InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "RequestTimeTooSkewed"];

impl<E: ProvideErrorMetadata> From<SdkError<E, HttpResponse>> for Error {
    fn from(error: SdkError<E, HttpResponse>) -> Self {
        let service = match &error {
            SdkError::ServiceError(service) => service,
            SdkError::ConstructionFailure(_) => {
                return Error::Refused { status: 0, code: "ConstructionFailure".into() };
            }
            SdkError::TimeoutError(_) => return Error::Unavailable("timed out".into()),
            SdkError::DispatchFailure(_) => return Error::Unavailable("no connection".into()),
            _ => return Error::Unavailable("the answer made no sense".into()),
        };
        let status = service.raw().status().as_u16();
        let code = service.err().code().unwrap_or_default().to_owned();
        if UNCLEAR.contains(&code.as_str()) || status == 429 || (500..=599).contains(&status) {
            return Error::Unavailable(format!("{status} {code}"));
        }
        match code.as_str() {
            // Only a code makes it S3's own word: a gateway between, or half an answer, has none. (The SDK makes one up for a
            // 404 without a body.)
            "" | "NotFound" => Error::Unavailable(format!("{status} without a reason")),
            "NoSuchUpload" | "NoSuchKey" => Error::NotFound { code },
            _ => Error::Refused { status, code },
        }
    }
}
