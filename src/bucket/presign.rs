//! Presigned URLs by AWS Signature Version 4 in the query.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
//!
//! One signer for every kind of URL. It is our own because the SDK derives all anew for each URL, signs past the life of
//! its credentials, and adds parameters that browsers would have to repeat.

use std::fmt::Write;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use sha2::{Digest, Sha256};

/// RFC 3986's unreserved characters stay as they are, in names and values of the query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// In the path slashes stay as well.
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Where signed URLs lead: one bucket at one address.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// `https://host[:port]`, without a slash at the end.
    origin: String,
    /// `host[:port]`, without a port that is the scheme's own: what clients send as `Host`.
    host: String,
    /// What stands before the key: `/` or `/bucket/`, after whatever path the endpoint has.
    base: String,
    region: String,
    /// The store's, whatever the bucket.
    endpoint: String,
    path_style: bool,
}

impl Address {
    /// The bucket at `endpoint` (`scheme://host[:port][/path]`), or at AWS in `region` when there is none.
    pub(super) fn new(endpoint: Option<&str>, region: &str, bucket: &str, path_style: bool) -> Address {
        let aws = format!(
            "https://s3.{region}.{}",
            if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
        );
        let endpoint = endpoint.unwrap_or(&aws).trim_end_matches('/');
        let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let default_port = if scheme == "http" { ":80" } else { ":443" };
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        // A dot in the bucket's name would not fit the certificate of a virtual host.
        let (host, base) = if path_style || (scheme == "https" && bucket.contains('.')) {
            (authority.to_owned(), format!("{path}/{bucket}/"))
        } else {
            (format!("{bucket}.{authority}"), format!("{path}/"))
        };
        let (origin, endpoint) = (format!("{scheme}://{host}"), endpoint.to_owned());
        Address { origin, host, base, region: region.to_owned(), endpoint, path_style }
    }

    /// Another bucket of the same store.
    pub(super) fn of(&self, bucket: &str) -> Address {
        Address::new(Some(&self.endpoint), &self.region, bucket, self.path_style)
    }

    /// The URL of a key, and nothing else: for objects that everybody may have.
    pub(super) fn plain_url(&self, key: &str) -> String {
        format!("{}{}", self.origin, percent_encode(format!("{}{key}", self.base).as_bytes(), PATH))
    }

    /// `scheme://host[:port]` of every URL signed here.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

/// A request to be signed.
pub(super) struct Request<'a> {
    pub(super) method: &'static str,
    pub(super) key: &'a str,
    /// Unencoded, in any order.
    pub(super) query: &'a [(&'a str, &'a str)],
    /// Headers that the client must send exactly so, besides `Host`; lower-case names, in any order.
    pub(super) headers: &'a [(&'a str, &'a str)],
}

/// Signs for one address with one set of credentials at one moment.
pub(super) struct Signer<'a> {
    address: &'a Address,
    access_key: &'a str,
    session_token: Option<&'a str>,
    key: Hmac<Sha256>,
    date: String,
    scope: String,
    expires: i64,
}

impl<'a> Signer<'a> {
    /// URLs that are good from `at` for `life` (whole seconds count, at least one).
    pub(super) fn new(
        address: &'a Address,
        credentials: &'a aws_credential_types::Credentials,
        at: DateTime<Utc>,
        life: TimeDelta,
    ) -> Self {
        let date = at.format("%Y%m%dT%H%M%SZ").to_string();
        let day = &date[..8];
        let mut secret = mac(format!("AWS4{}", credentials.secret_access_key()).as_bytes());
        for step in [day, &address.region, "s3", "aws4_request"] {
            secret.update(step.as_bytes());
            secret = mac(&secret.finalize().into_bytes());
        }
        Signer {
            scope: format!("{day}/{}/s3/aws4_request", address.region),
            date,
            address,
            access_key: credentials.access_key_id(),
            session_token: credentials.session_token(),
            key: secret,
            expires: life.num_seconds().max(1),
        }
    }

    /// The URL of this request.
    pub(super) fn sign(&self, request: &Request<'_>) -> String {
        let path = format!("{}{}", self.address.base, request.key);
        let path = percent_encode(path.as_bytes(), PATH).to_string();
        let mut headers: Vec<(&str, &str)> = request.headers.to_vec();
        headers.push(("host", &self.address.host));
        headers.sort_unstable();
        let signed_headers = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let query = self.query(request, &signed_headers);

        let mut canonical = format!("{}\n{path}\n{query}\n", request.method);
        for (name, value) in headers {
            let _ = writeln!(canonical, "{name}:{value}");
        }
        let _ = write!(canonical, "\n{signed_headers}\nUNSIGNED-PAYLOAD");

        let mut signature = self.key.clone();
        let hash = hex::encode(Sha256::digest(canonical.as_bytes()));
        signature.update(format!("AWS4-HMAC-SHA256\n{}\n{}\n{hash}", self.date, self.scope).as_bytes());
        let signature = hex::encode(signature.finalize().into_bytes());
        format!("{}{path}?{query}&X-Amz-Signature={signature}", self.address.origin)
    }

    /// The canonical query: encoded, then sorted.
    fn query(&self, request: &Request<'_>, signed_headers: &str) -> String {
        let credential = format!("{}/{}", self.access_key, self.scope);
        let expires = self.expires.to_string();
        let mut pairs = vec![
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &self.date),
            ("X-Amz-Expires", &expires),
            ("X-Amz-SignedHeaders", signed_headers),
        ];
        pairs.extend(self.session_token.map(|token| ("X-Amz-Security-Token", token)));
        pairs.extend_from_slice(request.query);
        let encode = |text: &str| percent_encode(text.as_bytes(), QUERY).to_string();
        let mut pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| (encode(name), encode(value))).collect();
        pairs.sort_unstable();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    Hmac::new_from_slice(key).expect("a key of any length")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    use aws_sigv4::sign::v4;

    use super::*;

    /// The signature that AWS's own crate gives the same request.
    fn oracle(
        url: &str,
        request: &Request<'_>,
        credentials: &Credentials,
        region: &str,
        at: DateTime<Utc>,
        life: u64,
    ) -> String {
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(life));
        settings.excluded_headers = None;
        let identity = credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("s3")
            .time(SystemTime::from(at))
            .settings(settings)
            .build()
            .expect("parameters")
            .into();
        let unsigned = url.split("X-Amz-").next().expect("a URL");
        let mut pairs = Vec::new();
        for (name, value) in request.query {
            pairs.push(format!(
                "{}={}",
                percent_encode(name.as_bytes(), QUERY),
                percent_encode(value.as_bytes(), QUERY)
            ));
        }
        let unsigned = format!("{unsigned}{}", pairs.join("&"));
        let signable = SignableRequest::new(
            request.method,
            unsigned.as_str(),
            request.headers.iter().copied(),
            SignableBody::UnsignedPayload,
        )
        .expect("a request");
        sign(signable, &params).expect("signed").signature().to_owned()
    }

    #[test]
    fn signatures_equal_those_of_aws() {
        let at = DateTime::from_timestamp(1_795_313_820, 0).expect("a moment");
        let plain = Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None, None, "test");
        let session = Credentials::new("ASIAEXAMPLE", "secret", Some("to/ken+with==signs".into()), None, "test");
        let addresses = [
            Address::new(None, "eu-central-1", "media", false),
            Address::new(None, "us-east-1", "media.with.dots", false),
            Address::new(Some("http://127.0.0.1:9000"), "us-east-1", "partita", true),
            Address::new(Some("https://s3.example.com:443/base/"), "auto", "media", false),
        ];
        let keys = ["a", "uploads/x/holiday.mov", "sp ace/+%&=?#ü😀'\"()*!~.txt", "a//b/./c", "日本/語"];
        let checksums =
            [("content-length", "8388608"), ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")];
        let disposition = [
            ("response-content-disposition", "attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%BC"),
            ("versionId", "3/L4"),
        ];
        for address in &addresses {
            for credentials in [&plain, &session] {
                let signer = Signer::new(address, credentials, at, TimeDelta::seconds(900));
                for key in keys {
                    for number in [1, 2, 9, 10, 99, 100, 999, 1_000, 9_999, 10_000] {
                        let number = number.to_string();
                        let query = [("partNumber", number.as_str()), ("uploadId", "VXBsb2Fk/SUQ+Zg==.~_-")];
                        for headers in [&checksums[..0], &checksums[..1], &checksums[..]] {
                            let request = Request { method: "PUT", key, query: &query, headers };
                            let url = signer.sign(&request);
                            let signature = oracle(&url, &request, credentials, &address.region, at, 900);
                            assert!(url.ends_with(&format!("&X-Amz-Signature={signature}")), "{url}");
                        }
                    }
                    let request = Request { method: "GET", key, query: &disposition, headers: &[] };
                    let url = signer.sign(&request);
                    let signature = oracle(&url, &request, credentials, &address.region, at, 900);
                    assert!(url.ends_with(&format!("&X-Amz-Signature={signature}")), "{url}");
                }
            }
        }
    }

    #[test]
    fn addresses_follow_the_style_of_the_store() {
        let table = [
            (Address::new(None, "eu-central-1", "media", false), "https://media.s3.eu-central-1.amazonaws.com", "/"),
            (Address::new(None, "eu-central-1", "me.dia", false), "https://s3.eu-central-1.amazonaws.com", "/me.dia/"),
            (Address::new(Some("http://127.0.0.1:9000/"), "x", "media", true), "http://127.0.0.1:9000", "/media/"),
            (Address::new(Some("https://s3.example:443"), "x", "media", false), "https://media.s3.example", "/"),
        ];
        for (address, origin, base) in table {
            assert_eq!((address.origin.as_str(), address.base.as_str()), (origin, base));
        }
    }
}
