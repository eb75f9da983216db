//! URLs for clients, and the credentials that sign them.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

use super::presign::{Request, Signer};
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

/// Signs many URLs with one set of credentials and one clock reading.
pub struct UrlSigner<'a> {
    bucket: &'a Bucket,
    credentials: Credentials,
    signed_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
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
    ) -> Result<UrlSigner<'_>, Error> {
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
        Ok(UrlSigner { bucket: self, credentials, signed_at, expires_at })
    }
}

impl UrlSigner<'_> {
    /// When the URLs end; true, whatever ends them.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }

    /// UploadPart URLs for an upload: a function from part number, bytes and checksum. S3 refuses any other length, and
    /// where a checksum is signed any other bytes.
    pub fn parts<'s>(
        &'s self,
        key: &'s str,
        s3_upload_id: &'s str,
    ) -> impl Fn(i32, i64, Option<(Algorithm, &str)>) -> PresignedUrl + 's {
        let signer = self.signer();
        move |number, size, checksum| {
            let (number, size) = (number.to_string(), size.to_string());
            let mut headers = vec![("content-length", size.as_str())];
            headers.extend(checksum.map(|(algorithm, value)| (algorithm.header(), value)));
            let query = [("partNumber", number.as_str()), ("uploadId", s3_upload_id)];
            let url = signer.sign(&Request { method: "PUT", key, query: &query, headers: &headers });
            // Clients set the length by themselves.
            let headers = headers[1..].iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            PresignedUrl { url, headers }
        }
    }

    /// GetObject URLs: a function from what is to be downloaded.
    pub fn downloads(&self) -> impl Fn(&Download<'_>) -> String {
        let signer = self.signer();
        move |download| {
            let mut query = vec![
                ("response-content-disposition", download.disposition),
                ("response-content-type", download.content_type),
            ];
            query.extend(download.version_id.map(|version| ("versionId", version)));
            query.extend(download.cache_control.map(|value| ("response-cache-control", value)));
            signer.sign(&Request { method: "GET", key: download.key, query: &query, headers: &[] })
        }
    }

    fn signer(&self) -> Signer<'_> {
        Signer::new(&self.bucket.address, &self.credentials, self.signed_at, self.expires_at - self.signed_at)
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
                    let url = signer.parts("k", "u")(1, 5, None).url;
                    let life: i64 = url
                        .split("X-Amz-Expires=")
                        .nth(1)
                        .and_then(|rest| rest.split('&').next()?.parse().ok())
                        .expect("a life");
                    assert_eq!(signer.signed_at + TimeDelta::seconds(life), signer.expires_at());
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

    #[tokio::test]
    async fn a_part_url_asks_for_no_header_but_the_checksum() {
        let now = DateTime::from_timestamp(1_795_313_820, 0).expect("a moment");
        let bucket = bucket(None);
        let signer = bucket.signer(now, now + TimeDelta::seconds(900), now).await.expect("a signer");
        let sign = signer.parts("a/b", "id");
        let plain = sign(7, 100, None);
        assert!(plain.headers.is_empty());
        assert!(plain.url.contains("X-Amz-SignedHeaders=content-length%3Bhost&"), "{}", plain.url);
        assert!(!plain.url.to_lowercase().contains("checksum") && !plain.url.to_lowercase().contains("content-type"));
        let checked = sign(7, 100, Some((Algorithm::Crc32C, "AAAAAA==")));
        assert_eq!(checked.headers, BTreeMap::from([("x-amz-checksum-crc32c".to_owned(), "AAAAAA==".to_owned())]));
        assert!(checked.url.contains("X-Amz-SignedHeaders=content-length%3Bhost%3Bx-amz-checksum-crc32c&"));
    }
}
