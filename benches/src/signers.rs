//! Who signs UploadPart URLs in this process: Partita, and the crates that one would take instead. All sign the same: a key with a
//! blank, an upload id as long as AWS's, and the part's length.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use partita::bucket::Bucket;
use partita::clock::Clock;
use partita::config::S3;

use crate::Result;

/// The id of the key that signs.
pub const ACCESS_KEY: &str = "AKIDBENCHMARKEXAMPLE";
/// The key that signs.
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// Where the bucket is.
pub const REGION: &str = "eu-central-1";
/// The bucket.
pub const BUCKET: &str = "media";
/// The object.
pub const KEY: &str = "tenants/42/videos/2026/11/22/raw footage.mov";
/// S3's id of the upload.
pub const UPLOAD_ID: &str = "VXBsb2FkIElEIGZvciA2aWWpbmcncyBteS1tb3ZpZS5tMnRzIHVwbG9hZA.exampleTreeLaDG5eFaJ0yCZ.0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH--";
/// Bytes of each part.
pub const PART_SIZE: i64 = 8 << 20;

const LIFE: Duration = Duration::from_secs(900);

/// The bucket at AWS.
pub fn bucket() -> Bucket {
    let settings = S3 { region: Some(REGION.into()), ..S3::default() };
    Bucket::with_credentials(&settings, BUCKET, ACCESS_KEY, SECRET_KEY)
}

/// The bucket at another S3, as the service under measurement reaches it.
pub fn bucket_at(endpoint: &str) -> Bucket {
    let settings =
        S3 { region: Some(REGION.into()), endpoint: Some(endpoint.into()), path_style: true, ..S3::default() };
    Bucket::with_credentials(&settings, BUCKET, ACCESS_KEY, SECRET_KEY)
}

/// Ours: the URLs of parts 1 to `count` of one upload, one after the other in `urls`, by one signer that is made anew.
///
/// # Errors
/// When there are no credentials.
pub async fn ours(
    bucket: &Bucket,
    key: &str,
    upload_id: &str,
    part_size: i64,
    count: i32,
    urls: &mut String,
) -> Result<()> {
    let now = Clock::default().now();
    let signer = bucket.signer(now, now + LIFE, now).await?;
    let signer = signer.parts(key, upload_id, None);
    urls.clear();
    for number in 1..=count {
        signer.sign_into(urls, number, part_size, "");
    }
    Ok(())
}

/// The same by `aws-sdk-s3`: `upload_part().presigned()`.
#[derive(Debug, Clone)]
pub struct Sdk(aws_sdk_s3::Client);

impl Sdk {
    /// A client, which is kept.
    pub fn new() -> Sdk {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "benchmark"));
        Sdk(aws_sdk_s3::Client::from_conf(config.build()))
    }

    /// The URLs of parts 1 to `count`.
    ///
    /// # Errors
    /// When the SDK refuses.
    pub async fn sign(&self, count: i32) -> Result<()> {
        for number in 1..=count {
            let part = self.0.upload_part().bucket(BUCKET).key(KEY).upload_id(UPLOAD_ID).part_number(number);
            let part = part.content_length(PART_SIZE);
            std::hint::black_box(part.presigned(PresigningConfig::expires_in(LIFE)?).await?);
        }
        Ok(())
    }
}

impl Default for Sdk {
    fn default() -> Self {
        Sdk::new()
    }
}

/// The same by `aws-sigv4`, the crate below the SDK, which is given the URL without the signature's own parameters.
///
/// # Errors
/// When it refuses.
pub fn sigv4(count: i32) -> Result<()> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFE);
    settings.excluded_headers = None;
    let identity = Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "benchmark").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(SystemTime::from(Clock::default().now()))
        .settings(settings)
        .build()?
        .into();
    let key = KEY.replace(' ', "%20");
    let size = PART_SIZE.to_string();
    for number in 1..=count {
        let url = format!("https://{BUCKET}.s3.{REGION}.amazonaws.com/{key}?partNumber={number}&uploadId={UPLOAD_ID}");
        let headers = [("content-length", size.as_str())].into_iter();
        let signable = SignableRequest::new("PUT", url.as_str(), headers, SignableBody::UnsignedPayload)?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let mut request = http::Request::put(url).body(())?;
        instructions.apply_to_request_http1x(&mut request);
        std::hint::black_box(request.uri());
    }
    Ok(())
}
