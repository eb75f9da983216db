//! Who may sign, and what S3 refuses though its signature is right and the protocol layer lets it through.

use http::{HeaderMap, Method, Uri, header};
use percent_encoding::percent_decode_str;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

/// A week: the longest a presigned URL may live, in seconds.
const LONGEST_EXPIRY: u64 = 604_800;

/// The one pair of keys.
pub(crate) struct OneKey {
    pub(crate) access_key: String,
    pub(crate) secret_key: SecretKey,
}

#[async_trait::async_trait]
impl S3Auth for OneKey {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            Ok(self.secret_key.clone())
        } else {
            Err(s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records."))
        }
    }
}

/// Runs after the signature is verified and before the body is read.
pub(crate) struct StrictAccess;

#[async_trait::async_trait]
impl S3Access for StrictAccess {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_none() {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        let takes_body = matches!(context.s3_op().name(), "PutObject" | "UploadPart");
        if takes_body && context.method() == Method::PUT && !context.headers().contains_key(header::CONTENT_LENGTH) {
            return Err(s3_error!(MissingContentLength, "You must provide the Content-Length HTTP header."));
        }
        check_signing(context.uri(), context.headers())
    }
}

fn check_signing(uri: &Uri, headers: &HeaderMap) -> S3Result<()> {
    let Some(signed) = signed_headers(uri, headers) else {
        return Err(s3_error!(
            InvalidRequest,
            "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256."
        ));
    };
    let expires = query(uri, "X-Amz-Expires").map(|seconds| seconds.parse::<u64>());
    if expires.is_some_and(|seconds| seconds.is_ok_and(|seconds| seconds > LONGEST_EXPIRY)) {
        return Err(s3_error!(
            AuthorizationQueryParametersError,
            "X-Amz-Expires must be less than a week (in seconds)"
        ));
    }
    // The one pair of credentials here is a lasting one, so any session token is made up.
    if query(uri, "X-Amz-Security-Token").is_some() || headers.contains_key("x-amz-security-token") {
        return Err(s3_error!(InvalidToken, "The provided token is malformed or otherwise invalid."));
    }
    let is_signed = |name: &str| signed.split(';').any(|signed| signed.eq_ignore_ascii_case(name));
    match headers.keys().find(|name| name.as_str().starts_with("x-amz-") && !is_signed(name.as_str())) {
        Some(name) => {
            Err(s3_error!(AccessDenied, "There were headers present in the request which were not signed: {name}"))
        }
        None => Ok(()),
    }
}

/// The names signed, separated by `;`. `None` for a request without a V4 signature.
fn signed_headers(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    if let Some(names) = query(uri, "X-Amz-SignedHeaders") {
        return Some(names);
    }
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("AWS4-HMAC-SHA256")?;
    let names = authorization.split_once("SignedHeaders=")?.1.split(',').next()?;
    Some(names.trim().to_owned())
}

fn query(uri: &Uri, name: &str) -> Option<String> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.into_iter().find_map(|(key, value)| (key == name).then_some(value))?;
    Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn refusal(query: &str, headers: &[(&'static str, &'static str)]) -> Option<String> {
        let uri: Uri = format!("/bucket/key?{query}").parse().unwrap();
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let refused = check_signing(&uri, &headers.collect()).err();
        refused.map(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn an_amz_header_must_be_among_the_signed_ones() {
        let checksum = ("x-amz-checksum-crc32c", "AAAAAA==");
        assert_eq!(refusal("X-Amz-SignedHeaders=host", &[]), None);
        assert_eq!(refusal("X-Amz-SignedHeaders=host", &[("content-type", "a/b")]), None);
        assert_eq!(refusal("X-Amz-SignedHeaders=host", &[checksum]).as_deref(), Some("AccessDenied"));
        assert_eq!(refusal("X-Amz-SignedHeaders=host%3Bx-amz-checksum-crc32c", &[checksum]), None);
        let header = ("authorization", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host;x-amz-date, Signature=c");
        assert_eq!(refusal("", &[header, ("x-amz-date", "d")]), None);
        assert_eq!(refusal("", &[header, checksum]).as_deref(), Some("AccessDenied"));
    }

    #[test]
    fn a_url_lives_a_week_at_most() {
        assert_eq!(refusal("X-Amz-SignedHeaders=host&X-Amz-Expires=604800", &[]), None);
        let refused = refusal("X-Amz-SignedHeaders=host&X-Amz-Expires=604801", &[]);
        assert_eq!(refused.as_deref(), Some("AuthorizationQueryParametersError"));
    }

    #[test]
    fn session_tokens_and_old_signatures_are_refused() {
        let token = refusal("X-Amz-SignedHeaders=host&X-Amz-Security-Token=t", &[]);
        assert_eq!(token.as_deref(), Some("InvalidToken"));
        assert_eq!(refusal("Signature=v2&AWSAccessKeyId=k", &[]).as_deref(), Some("InvalidRequest"));
        assert_eq!(refusal("", &[("authorization", "AWS key:v2")]).as_deref(), Some("InvalidRequest"));
    }
}
