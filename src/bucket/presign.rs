//! Presigned URLs by AWS Signature Version 4 in the query.
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
//!
//! One signer for every kind of URL. It is our own because the SDK derives all anew for each URL, signs past the life of
//! its credentials, and adds parameters that browsers would have to repeat.

use std::borrow::Cow;
use std::fmt::Write;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use hex_simd::{AsciiCase, Out};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};
use sha2::Sha256;

use super::sha256::{Begun, Keyed};

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

/// Signs for one address with one set of credentials at one moment.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    address: Arc<Address>,
    /// Has taken in the string to sign as far as the hash of the canonical request, but for the rest that follows.
    mac: Keyed,
    mac_rest: Vec<u8>,
    /// The query as far as every URL has it, up to the names of the signed headers.
    query: String,
}

impl Signer {
    /// URLs that are good from `at` for `life` (whole seconds count, at least one).
    pub(super) fn new(
        address: Arc<Address>,
        credentials: &aws_credential_types::Credentials,
        at: DateTime<Utc>,
        life: TimeDelta,
    ) -> Self {
        let date = at.format("%Y%m%dT%H%M%SZ").to_string();
        let day = &date[..8];
        let mut key = hmac(format!("AWS4{}", credentials.secret_access_key()).as_bytes(), day);
        for step in [&address.region, "s3", "aws4_request"] {
            key = hmac(&key, step);
        }
        let scope = format!("{day}/{}/s3/aws4_request", address.region);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n");
        let (mac, mac_rest) = Keyed::new(&key).and(to_sign.as_bytes());
        let mac_rest = mac_rest.to_vec();
        let credential = format!("{}/{scope}", credentials.access_key_id());
        let (credential, expires) = (encoded(&credential), life.num_seconds().max(1));
        let mut query = format!("X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}");
        let _ = write!(query, "&X-Amz-Date={date}&X-Amz-Expires={expires}");
        if let Some(token) = credentials.session_token() {
            let _ = write!(query, "&X-Amz-Security-Token={}", encoded(token));
        }
        query.push_str("&X-Amz-SignedHeaders=");
        Signer { address, mac, mac_rest, query }
    }

    /// URLs for requests to one key. `signed_headers` are the names of the headers that clients must send as they were
    /// signed: lower-case, ascending, separated by `;`, `host` among them.
    pub(super) fn series(&self, method: &str, key: &str, signed_headers: &str) -> Series {
        let path = [&self.address.base, key].concat();
        let path = Cow::from(percent_encode(path.as_bytes(), PATH));
        let query = [&self.query, &*Cow::from(encoded(signed_headers))].concat();
        let url = [&self.address.origin, &*path, "?", &query].concat();
        let request = [method, "\n", &path, "\n", &query].concat();
        let (hash, rest) = Begun::with(request.as_bytes());
        let (hash_rest, mac_rest) = (rest.len(), self.mac_rest.clone());
        let end = ["\n\n", signed_headers, "\nUNSIGNED-PAYLOAD"].concat();
        Series { mac: self.mac, mac_rest, hash, hash_rest, url, end }
    }

    /// What clients send as `Host`.
    pub(super) fn host(&self) -> &str {
        &self.address.host
    }
}

/// URLs that differ only in what follows the `X-Amz-` parameters, which is where the canonical order puts every parameter of
/// S3's own that is used here. What they have in common is hashed once: of a dozen blocks and more, some eight remain.
#[derive(Debug, Clone)]
pub(super) struct Series {
    mac: Keyed,
    mac_rest: Vec<u8>,
    /// Has taken in the canonical request as far as all have it in common, but for the bytes that follow.
    hash: Begun,
    /// How many these are. Both the canonical request and the URL end with the query so far, which is longer.
    hash_rest: usize,
    /// The URL as far.
    url: String,
    /// What the canonical request of each ends with.
    end: String,
}

impl Series {
    /// Appends a URL. `query` is what it adds to the query: encoded, sorted, each parameter with its `&` in front.
    /// `headers` are the values that are signed: each `\nname:value`, in the order of the names. Both come in pieces.
    pub(super) fn sign_into(&self, url: &mut String, query: &[&str], headers: &[&str]) {
        url.push_str(&self.url);
        let begin = url.len();
        query.iter().for_each(|piece| url.push_str(piece));
        let end = url.len();
        // What follows in the canonical request stands here only until it is hashed, in one go.
        headers.iter().for_each(|piece| url.push_str(piece));
        url.push_str(&self.end);
        let hash = self.hash.finish(&url.as_bytes()[begin - self.hash_rest..]);
        url.truncate(end);
        let mut to_sign = [0; 2 * 64];
        let (rest, digits) = to_sign.split_at_mut(self.mac_rest.len());
        rest.copy_from_slice(&self.mac_rest);
        let length = rest.len() + hex_simd::encode(&hash, Out::from_slice(digits), AsciiCase::Lower).len();
        url.push_str("&X-Amz-Signature=");
        hex_simd::encode_append(self.mac.finish(&to_sign[..length]), url, AsciiCase::Lower);
    }
}

/// A name or a value, as the query has it.
pub(super) fn encoded(text: &str) -> PercentEncode<'_> {
    percent_encode(text.as_bytes(), QUERY)
}

fn hmac(key: &[u8], message: &str) -> [u8; 32] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.chain_update(message).finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use aws_credential_types::Credentials;
    use aws_sdk_s3::config::{BehaviorVersion, Region, RequestChecksumCalculation};
    use aws_sdk_s3::presigning::PresigningConfig;
    use aws_sigv4::http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
        UriPathNormalizationMode, sign,
    };
    use aws_sigv4::sign::v4;

    use super::*;

    const LIFE: Duration = Duration::from_secs(900);

    /// One request in all its parts, for those who sign it otherwise.
    struct Case<'a> {
        method: &'a str,
        key: &'a str,
        /// Unencoded, in the canonical order.
        query: &'a [(&'a str, &'a str)],
        /// Besides `host`; lower-case, in the canonical order.
        headers: &'a [(&'a str, &'a str)],
    }

    impl Case<'_> {
        /// Signed here.
        fn url(&self, signer: &Signer) -> String {
            let mut headers = self.headers.to_vec();
            headers.push(("host", signer.host()));
            headers.sort_unstable();
            let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
            let headers: String = headers.iter().map(|(name, value)| format!("\n{name}:{value}")).collect();
            let mut url = String::new();
            signer.series(self.method, self.key, &names.join(";")).sign_into(&mut url, &[&self.query()], &[&headers]);
            url
        }

        fn query(&self) -> String {
            self.query.iter().map(|(name, value)| format!("&{}={}", encoded(name), encoded(value))).collect()
        }

        /// The signature that AWS's own crate gives the same request.
        fn oracle(&self, url: &str, credentials: &Credentials, region: &str, at: DateTime<Utc>) -> String {
            let mut settings = SigningSettings::default();
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(LIFE);
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
            let bare = url.split("X-Amz-").next().expect("a URL");
            let unsigned = format!("{bare}{}", &self.query()[1..]);
            let headers = self.headers.iter().copied();
            let signable = SignableRequest::new(self.method, unsigned.as_str(), headers, SignableBody::UnsignedPayload);
            sign(signable.expect("a request"), &params).expect("signed").signature().to_owned()
        }
    }

    fn signature(url: &str) -> &str {
        url.split("X-Amz-Signature=").nth(1).and_then(|rest| rest.split('&').next()).expect("a signature")
    }

    fn credentials() -> [Credentials; 2] {
        [
            Credentials::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None, None, "test"),
            Credentials::new("ASIAEXAMPLE", "secret", Some("to/ken+with==signs".repeat(60)), None, "test"),
        ]
    }

    fn moments() -> [DateTime<Utc>; 3] {
        // One with a day and a month of one digit, and the last second of a year.
        [1_795_313_820, 1_767_600_000, 1_798_761_599].map(|at| DateTime::from_timestamp(at, 0).expect("a moment"))
    }

    fn addresses() -> [Address; 5] {
        [
            Address::new(None, "eu-central-1", "media", false),
            Address::new(None, "us-east-1", "media.with.dots", false),
            Address::new(None, "cn-north-1", "media", true),
            Address::new(Some("http://127.0.0.1:9000"), "us-east-1", "partita", true),
            Address::new(Some("https://s3.example.com:443/base/"), "auto", "media", false),
        ]
    }

    /// Every character that a path or a query treats in its own way, and some of each length in UTF-8.
    fn keys() -> Vec<String> {
        let ascii: String = (' '..='~').collect();
        let keys = ["a", "uploads/x/holiday.mov", "a//b/./../c", "\u{7f}\u{80}ü日本/語😀", "%2F%zz+ "];
        keys.into_iter().map(str::to_owned).chain([ascii]).collect()
    }

    const NUMBERS: [&str; 10] = ["1", "2", "9", "10", "99", "100", "999", "1000", "9999", "10000"];

    #[test]
    fn signatures_equal_those_of_aws_for_every_key_address_moment_and_credential() {
        let checksums =
            [("content-length", "8388608"), ("x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")];
        let download = [
            ("response-cache-control", "private, max-age=86400, immutable"),
            ("response-content-disposition", "attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%BC"),
            ("response-content-type", "text/plain; charset=utf-8"),
            ("versionId", "3/L4"),
        ];
        for (address, credentials) in addresses().iter().flat_map(|address| credentials().map(|one| (address, one))) {
            for at in moments() {
                let signer = Signer::new(Arc::new(address.clone()), &credentials, at, TimeDelta::seconds(900));
                let agree = |case: Case<'_>| {
                    let url = case.url(&signer);
                    assert_eq!(signature(&url), case.oracle(&url, &credentials, &address.region, at), "{url}");
                };
                for key in &keys() {
                    for number in NUMBERS {
                        let query = [("partNumber", number), ("uploadId", "VXBsb2Fk/SUQ+Zg==.~_-")];
                        for headers in [&checksums[..0], &checksums[..1], &checksums[..]] {
                            agree(Case { method: "PUT", key, query: &query, headers });
                        }
                    }
                    for query in [&download[1..3], &download[..3], &download[1..], &download[..]] {
                        agree(Case { method: "GET", key, query, headers: &[] });
                    }
                }
            }
        }
    }

    #[test]
    fn signatures_equal_those_of_aws_for_every_part_number() {
        let [credentials, _] = credentials();
        let (address, at) = (Address::new(None, "eu-central-1", "media", false), moments()[0]);
        let signer = Signer::new(Arc::new(address), &credentials, at, TimeDelta::seconds(900));
        for number in 1..=10_000 {
            let (number, size) = (number.to_string(), (5_242_880 + number).to_string());
            let query = [("partNumber", number.as_str()), ("uploadId", "an id")];
            let headers = [("content-length", size.as_str())];
            let case = Case { method: "PUT", key: "uploads/x/holiday.mov", query: &query, headers: &headers };
            let url = case.url(&signer);
            assert_eq!(signature(&url), case.oracle(&url, &credentials, "eu-central-1", at), "{url}");
        }
    }

    /// The SDK adds `x-id` and has another order in its URLs; the canonical order is one.
    #[tokio::test]
    async fn signatures_equal_those_of_the_sdk() {
        let (at, key) = (moments()[0], "uploads/sp ace/+%&=?#ü😀'\"()*!~.txt");
        for (credentials, path_style) in credentials().into_iter().zip([false, true]) {
            let config = aws_sdk_s3::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .region(Region::new("eu-central-1"))
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .force_path_style(path_style)
                .credentials_provider(credentials.clone());
            let client = aws_sdk_s3::Client::from_conf(config.build());
            let presigning = PresigningConfig::builder().start_time(SystemTime::from(at)).expires_in(LIFE);
            let presigning = presigning.build().expect("a life");
            // Where the SDK sends path-style requests to.
            let address = Address::new(None, "eu-central-1", "media", path_style);
            let signer = Signer::new(Arc::new(address), &credentials, at, TimeDelta::seconds(900));
            for number in [1, 17, 10_000] {
                let put = client.upload_part().bucket("media").key(key).upload_id("i/d+").part_number(number);
                let theirs = put.content_length(8_388_608).presigned(presigning.clone()).await.expect("signed");
                let number = number.to_string();
                let query = [("partNumber", number.as_str()), ("uploadId", "i/d+"), ("x-id", "UploadPart")];
                let headers = [("content-length", "8388608")];
                let ours = Case { method: "PUT", key, query: &query, headers: &headers }.url(&signer);
                assert_eq!(signature(&ours), signature(theirs.uri()), "{ours} {}", theirs.uri());
            }
            let get = client.get_object().bucket("media").key(key).response_content_type("text/plain");
            let theirs = get.version_id("3/L4").presigned(presigning).await.expect("signed");
            let query = [("response-content-type", "text/plain"), ("versionId", "3/L4"), ("x-id", "GetObject")];
            let ours = Case { method: "GET", key, query: &query, headers: &[] }.url(&signer);
            assert_eq!(signature(&ours), signature(theirs.uri()), "{ours} {}", theirs.uri());
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
