//! URLs for clients, and the credentials that sign them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, PoisonError};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

use super::presign::{Address, Series, Signer, encoded};
use super::{Bucket, Error};
use crate::upload::Algorithm;

/// URLs end this long before the credentials that signed them, for clocks differ.
const CREDENTIALS_MARGIN: TimeDelta = TimeDelta::seconds(10);
/// Credentials with less life than this are asked for anew before they sign.
const CREDENTIALS_FRESH: TimeDelta = TimeDelta::minutes(20);
/// Whatever the provider says, it is asked no more often than this.
const CREDENTIALS_PAUSE: TimeDelta = TimeDelta::seconds(15);

/// A URL for one request, with all that must be sent along.
#[derive(Debug, Clone)]
pub struct PresignedUrl {
    /// The URL; who has it may make the request.
    pub url: String,
    /// Headers to send exactly so, besides `Host` and `Content-Length`.
    pub headers: BTreeMap<String, String>,
}

/// Signs any number of URLs with one set of credentials and one clock reading.
#[derive(Debug, Clone)]
pub struct UrlSigner {
    signer: Arc<Signer>,
    expires_at: DateTime<Utc>,
}

/// The signer that was made last. Whoever signs in the same second, for as long a life, needs the same; to make one takes as long
/// as to sign three URLs.
#[derive(Debug, Default)]
pub(super) struct LastSigner(std::sync::Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    by: Credentials,
    at: DateTime<Utc>,
    life: TimeDelta,
    signer: Arc<Signer>,
}

impl LastSigner {
    fn get(&self, address: &Arc<Address>, by: Credentials, at: DateTime<Utc>, life: TimeDelta) -> Arc<Signer> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = &*last
            && made.at == at
            && made.life == life
            && made.by == by
        {
            return made.signer.clone();
        }
        let signer = Arc::new(Signer::new(address.clone(), &by, at, life));
        *last = Some(Made { by, at, life, signer: signer.clone() });
        signer
    }
}

/// Signs UploadPart URLs of one upload. S3 refuses any other length than the signed one, and where a checksum is signed any
/// other bytes.
#[derive(Debug, Clone)]
pub struct PartSigner {
    series: Series,
    /// Of each part.
    checksum: Option<Algorithm>,
    /// Follows the part number.
    upload_id: String,
    /// Follows the length.
    host: String,
}

/// What a download URL is to tell the browser.
#[derive(Debug, Clone, Copy)]
pub struct Download<'a> {
    /// The object's key.
    pub key: &'a str,
    /// The version to serve, where the bucket has versions.
    pub version_id: Option<&'a str>,
    /// The value of `Content-Disposition`.
    pub disposition: &'a str,
    /// The value of `Content-Type`.
    pub content_type: &'a str,
    /// The value of `Cache-Control`.
    pub cache_control: Option<&'a str>,
}

impl Bucket {
    /// A signer of URLs that are good from `from` until `until`, or until the credentials end, whichever is sooner:
    /// [`UrlSigner::expires_at`] tells.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no credentials are to be had, or when `until` has come.
    pub async fn signer(
        &self,
        from: DateTime<Utc>,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<UrlSigner, Error> {
        let credentials = self.credentials.get(now).await?;
        let end = credentials.expiry().map(|expiry| DateTime::<Utc>::from(expiry) - CREDENTIALS_MARGIN);
        let until = end.map_or(until, |end| until.min(end));
        let life = TimeDelta::seconds((until - from).num_seconds());
        // X-Amz-Date has whole seconds.
        let signed_at = DateTime::from_timestamp(from.timestamp(), 0).unwrap_or(from);
        let expires_at = signed_at + life;
        if expires_at <= now {
            return Err(Error::Unavailable("the signing credentials are about to expire".into()));
        }
        Ok(UrlSigner { signer: self.last_signer.get(&self.address, credentials, signed_at, life), expires_at })
    }
}

impl UrlSigner {
    /// When the URLs end; true, whatever ends them.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }

    /// A signer of this upload's parts, each with its checksum if there is an algorithm.
    pub fn parts(&self, key: &str, s3_upload_id: &str, checksum: Option<Algorithm>) -> PartSigner {
        let signed_headers = match checksum {
            Some(algorithm) => format!("content-length;host;{}", algorithm.header()),
            None => "content-length;host".to_owned(),
        };
        PartSigner {
            series: self.signer.series("PUT", key, &signed_headers),
            checksum,
            upload_id: format!("&uploadId={}", encoded(s3_upload_id)),
            host: match checksum {
                Some(algorithm) => format!("\nhost:{}\n{}:", self.signer.host(), algorithm.header()),
                None => format!("\nhost:{}", self.signer.host()),
            },
        }
    }

    /// A GetObject URL.
    pub fn download(&self, download: &Download<'_>) -> String {
        let mut query = String::new();
        let parameters = [
            ("response-cache-control", download.cache_control),
            ("response-content-disposition", Some(download.disposition)),
            ("response-content-type", Some(download.content_type)),
            ("versionId", download.version_id),
        ];
        for (name, value) in parameters {
            if let Some(value) = value {
                let _ = write!(query, "&{name}={}", encoded(value));
            }
        }
        let mut url = String::new();
        let series = self.signer.series("GET", download.key, "host");
        series.sign_into(&mut url, &[&query], &["\nhost:", self.signer.host()]);
        url
    }
}

impl PartSigner {
    /// Appends the URL of a part to `url`: ASCII, without a quotation mark or a backslash. `checksum` is the base64 of the
    /// upload's algorithm, empty if there is none.
    pub fn sign_into(&self, url: &mut String, number: i32, size: i64, checksum: &str) {
        let (mut number_text, mut size_text) = (itoa::Buffer::new(), itoa::Buffer::new());
        let query = ["&partNumber=", number_text.format(number), &self.upload_id];
        let headers = ["\ncontent-length:", size_text.format(size), &self.host, checksum];
        self.series.sign_into(url, &query, &headers);
    }

    /// The header in which clients send the checksum. The length they set by themselves.
    pub fn header(&self) -> Option<&'static str> {
        self.checksum.map(Algorithm::header)
    }

    /// One URL, with all that must be sent along.
    pub fn sign(&self, number: i32, size: i64, checksum: Option<&str>) -> PresignedUrl {
        let mut url = String::new();
        self.sign_into(&mut url, number, size, checksum.unwrap_or_default());
        let headers = self.header().zip(checksum).map(|(name, value)| (name.to_owned(), value.to_owned()));
        PresignedUrl { url, headers: headers.into_iter().collect() }
    }
}

/// The credentials that sign URLs, kept so that not every signature asks the chain. The SDK's own cache renews them ten
/// seconds before they end, which would make URLs with ten seconds to live.
#[derive(Debug)]
pub(super) struct SigningCredentials {
    provider: SharedCredentialsProvider,
    cached: Mutex<Option<(Credentials, DateTime<Utc>)>>,
}

impl SigningCredentials {
    pub(super) fn new(provider: SharedCredentialsProvider) -> SigningCredentials {
        SigningCredentials { provider, cached: Mutex::default() }
    }

    /// What the provider has now.
    pub(super) async fn ask(&self) -> Result<Credentials, CredentialsError> {
        self.provider.provide_credentials().await
    }

    async fn get(&self, now: DateTime<Utc>) -> Result<Credentials, Error> {
        let mut cached = self.cached.lock().await;
        if let Some((credentials, asked_at)) = &*cached {
            let just_asked = now < *asked_at + CREDENTIALS_PAUSE;
            let fresh = !ends_by(credentials, now + CREDENTIALS_FRESH);
            if fresh || (just_asked && !ends_by(credentials, now + CREDENTIALS_MARGIN)) {
                return Ok(credentials.clone());
            }
        }
        match self.provider.provide_credentials().await {
            Ok(credentials) => {
                *cached = Some((credentials.clone(), now));
                Ok(credentials)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "no credentials to sign with");
                match &mut *cached {
                    Some((credentials, asked_at)) if !ends_by(credentials, now + CREDENTIALS_MARGIN) => {
                        *asked_at = now;
                        Ok(credentials.clone())
                    }
                    _ => Err(Error::Unavailable("no credentials".into())),
                }
            }
        }
    }
}

fn ends_by(credentials: &Credentials, moment: DateTime<Utc>) -> bool {
    credentials.expiry().is_some_and(|expiry| DateTime::<Utc>::from(expiry) < moment)
}

/// Stands where the AWS chain found no way to credentials.
#[derive(Debug)]
pub(super) struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let error = CredentialsError::not_loaded("no credentials are configured");
        aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use aws_config::{BehaviorVersion, Region};
    use aws_sdk_s3::config::Builder;

    use super::*;
    use crate::config::S3;

    fn bucket(expiry: Option<DateTime<Utc>>) -> Bucket {
        let settings = S3 { endpoint: Some("http://127.0.0.1:1".into()), path_style: true, ..S3::default() };
        let credentials = Credentials::new("id", "secret", None, expiry.map(SystemTime::from), "test");
        Bucket::new(
            &settings,
            "media",
            "us-east-1",
            SharedCredentialsProvider::new(credentials),
            Builder::new().behavior_version(BehaviorVersion::latest()).region(Region::new("us-east-1")),
        )
    }

    #[tokio::test]
    async fn a_url_never_outlives_the_credentials_that_signed_it() {
        let now = DateTime::from_timestamp_millis(1_795_313_820_777).expect("a moment");
        for left in [1, 5, 11, 12, 60, 899, 911, 5_000] {
            let bucket = bucket(Some(now + TimeDelta::seconds(left)));
            match bucket.signer(now, now + TimeDelta::seconds(900), now).await {
                Ok(signer) => {
                    assert!(signer.expires_at() <= now + TimeDelta::seconds(left.min(900)), "{left}");
                    let url = signer.parts("k", "u", None).sign(1, 5, None).url;
                    let life: i64 = url
                        .split("X-Amz-Expires=")
                        .nth(1)
                        .and_then(|rest| rest.split('&').next()?.parse().ok())
                        .expect("a life");
                    let signed_at = DateTime::from_timestamp(now.timestamp(), 0).expect("a moment");
                    assert_eq!(signed_at + TimeDelta::seconds(life), signer.expires_at());
                }
                Err(error) => assert!(left <= 11, "{left}: {error}"),
            }
        }
        let signer = bucket(None);
        assert_eq!(
            signer.signer(now, now + TimeDelta::seconds(900), now).await.expect("a signer").expires_at().timestamp(),
            now.timestamp() + 900
        );
    }

    #[test]
    fn a_signer_is_used_again_only_for_the_same_credentials_moment_and_life() {
        let (address, last) = (Arc::new(Address::new(None, "eu-central-1", "media", false)), LastSigner::default());
        let url = |signer: &Signer| {
            let mut url = String::new();
            signer.series("GET", "k", "host").sign_into(&mut url, &[], &["\nhost:h"]);
            url
        };
        let credentials =
            |secret: &str, token: Option<&str>| Credentials::new("id", secret, token.map(str::to_owned), None, "test");
        let now = DateTime::from_timestamp(1_795_313_820, 0).expect("a moment");
        let (second, life) = (TimeDelta::seconds(1), TimeDelta::seconds(900));
        #[rustfmt::skip]
        let changes = [
            (credentials("a", None), now, life), (credentials("b", None), now, life), (credentials("b", Some("t")), now, life),
            (credentials("b", Some("t")), now + second, life), (credentials("b", Some("t")), now + second, life + second),
        ];
        let mut seen = std::collections::HashSet::new();
        for (by, at, life) in changes {
            let first = last.get(&address, by.clone(), at, life);
            let again = last.get(&address, by.clone(), at, life);
            assert!(Arc::ptr_eq(&first, &again));
            assert_eq!(url(&first), url(&Signer::new(address.clone(), &by, at, life)));
            assert!(seen.insert(url(&first)), "another URL than before");
        }
    }

    #[tokio::test]
    async fn a_part_url_asks_for_no_header_but_the_checksum() {
        let now = DateTime::from_timestamp(1_795_313_820, 0).expect("a moment");
        let bucket = bucket(None);
        let signer = bucket.signer(now, now + TimeDelta::seconds(900), now).await.expect("a signer");
        let plain = signer.parts("a/b", "id", None).sign(7, 100, None);
        assert!(plain.headers.is_empty());
        assert!(plain.url.contains("X-Amz-SignedHeaders=content-length%3Bhost&"), "{}", plain.url);
        assert!(!plain.url.to_lowercase().contains("checksum") && !plain.url.to_lowercase().contains("content-type"));
        let checked = signer.parts("a/b", "id", Some(Algorithm::Crc32C)).sign(7, 100, Some("AAAAAA=="));
        assert_eq!(checked.headers, BTreeMap::from([("x-amz-checksum-crc32c".to_owned(), "AAAAAA==".to_owned())]));
        assert!(checked.url.contains("X-Amz-SignedHeaders=content-length%3Bhost%3Bx-amz-checksum-crc32c&"));
    }
}
