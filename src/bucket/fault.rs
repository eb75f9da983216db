//! What a bucket that is being tried answered, told as it was: the status and the code, which the coordinator has no use for.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// Why a call of the probe did not do what it should. Holds nothing secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Nothing came back, or nothing that made sense.
    #[error("no answer: {0}")]
    Silent(String),
    /// S3 said no, or that it could not.
    #[error("S3 answered {status}{}{code}", if code.is_empty() { "" } else { " " })]
    Answered {
        /// HTTP status.
        status: u16,
        /// S3's error code; empty where the answer had none, as to every HEAD.
        code: String,
        /// The region that S3 names as the right one.
        region: Option<String>,
    },
}

impl Fault {
    /// S3's error code; empty where there is none.
    pub fn code(&self) -> &str {
        match self {
            Fault::Answered { code, .. } => code,
            Fault::Silent(_) => "",
        }
    }

    /// Whether S3 understood and refused, which is what some calls are there for.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Fault::Answered { status: 400..=499, .. })
    }

    /// Whether a right is missing.
    pub fn is_denial(&self) -> bool {
        matches!(self, Fault::Answered { status: 403, code, .. } if code.is_empty() || code.starts_with("AccessDenied"))
    }
}

impl<E: ProvideErrorMetadata + std::error::Error + 'static> From<SdkError<E, HttpResponse>> for Fault {
    fn from(error: SdkError<E, HttpResponse>) -> Fault {
        match error {
            SdkError::ServiceError(service) => {
                let error = service.err();
                let named = service.raw().headers().get("x-amz-bucket-region").map(str::to_owned);
                Fault::Answered {
                    status: service.raw().status().as_u16(),
                    code: error.code().unwrap_or_default().to_owned(),
                    region: named.or_else(|| error.message().and_then(expected_region)),
                }
            }
            SdkError::ResponseError(response) => Fault::Answered {
                status: response.raw().status().as_u16(),
                code: "in a language that is not S3's".into(),
                region: None,
            },
            SdkError::TimeoutError(_) => Fault::Silent("it took too long".into()),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Fault::Silent("it took too long".into()),
            other => Fault::Silent(in_one_line(&other)),
        }
    }
}

/// `the region 'x' is wrong; expecting 'y'`: y.
fn expected_region(message: &str) -> Option<String> {
    let region = message.split("expecting '").nth(1)?.split('\'').next()?;
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (!region.is_empty() && region.bytes().all(sound)).then(|| region.to_owned())
}

/// The cause of all causes: it says what is wrong; those around it repeat it, or say only where.
pub fn innermost<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

/// The same as text, in one line.
pub fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    innermost(error).to_string().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_region_is_read_from_what_s3_says() {
        let message =
            "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'";
        assert_eq!(expected_region(message).as_deref(), Some("eu-central-1"));
        assert_eq!(expected_region("Access Denied"), None);
        assert_eq!(expected_region("expecting '<b>'"), None);
    }
}
