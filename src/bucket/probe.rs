//! The calls with which a bucket is tried: each once, with short timeouts, and with S3's answer told as it was. What they
//! make lies in a folder of its own, and [`Probe::clean`] removes it again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use chrono::{DateTime, Utc};
use tokio_util::task::TaskTracker;

use super::{Bucket, Fault, ListedPart, checksum_algorithm, in_one_line};
use crate::upload::metadata::UPLOAD_ID_KEY;
use crate::upload::names::{Disposition, content_disposition};
use crate::upload::{Algorithm, ETag};

const CONNECT: Duration = Duration::from_secs(3);
const CALL: Duration = Duration::from_secs(10);

/// Credentials, without a secret of theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundCredentials {
    /// Whether they come with a session token or an end.
    pub temporary: bool,
    /// When they end, where that is known.
    pub expires_at: Option<DateTime<Utc>>,
}

/// An upload that the probe began.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The object's key.
    pub key: String,
    /// S3's id of it.
    pub s3_upload_id: String,
}

/// What is asked for at a completion besides the list of parts.
#[derive(Debug, Clone, Copy, Default)]
pub struct Guards<'a> {
    /// `If-None-Match: *`.
    pub if_none_match: bool,
    /// `x-amz-mp-object-size`.
    pub size: Option<i64>,
    /// The CRC64NVME of the whole object.
    pub crc64nvme: Option<&'a str>,
}

/// An object as a HEAD shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbedObject {
    /// The id that its metadata carries.
    pub upload_id: Option<String>,
    /// Bytes.
    pub size: Option<i64>,
    /// Its version, in a versioned bucket.
    pub version_id: Option<String>,
    /// The CRC64NVME of the whole object, where the store has one.
    pub crc64nvme: Option<String>,
}

/// What the probe made and has not seen go.
#[derive(Debug, Default)]
struct Made {
    uploads: Vec<Opened>,
    /// Keys and versions of objects.
    objects: Vec<(String, Option<String>)>,
    /// Keys of creations and completions whose outcome is open.
    unclear: Vec<String>,
}

/// Tries one bucket, in one folder of it. Cheap to clone; what clones make is cleaned up by each.
#[derive(Debug, Clone)]
pub struct Probe {
    pub(super) client: Client,
    pub(super) bucket: Bucket,
    folder: String,
    id: String,
    made: Arc<Mutex<Made>>,
    /// Calls that make something. They run to their end even if nobody waits any more: S3 would do what was asked all the
    /// same, and only after we had looked for it.
    asked: TaskTracker,
    dates: Dates,
}

impl Bucket {
    /// A probe of this bucket that works under `folder` (a prefix that ends with `/`, and that nobody else uses) and marks
    /// what it makes with `id`.
    pub fn probe(&self, folder: String, id: String) -> Probe {
        let dates = Dates::default();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .read_timeout(CALL)
            .operation_attempt_timeout(CALL)
            .operation_timeout(CALL)
            .build();
        let config = self.client.config().to_builder().interceptor(dates.clone()).timeout_config(timeouts);
        let client = Client::from_conf(config.retry_config(RetryConfig::disabled()).build());
        Probe { client, bucket: self.clone(), folder, id, made: Arc::default(), asked: TaskTracker::new(), dates }
    }
}

impl Probe {
    /// The bucket that is tried.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// The mark on everything that is made here, as an upload's id would be.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The region that requests are signed for.
    pub fn region(&self) -> &str {
        self.client.config().region().map_or("us-east-1", AsRef::as_ref)
    }

    /// The key of this name in the probe's folder.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    /// The `Date` of S3's latest answer, and how long ago it came.
    pub fn latest_date(&self) -> Option<(DateTime<Utc>, Duration)> {
        let (date, at) = self.dates.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some((DateTime::parse_from_rfc2822(&date).ok()?.to_utc(), at.elapsed()))
    }

    /// Asks the provider for credentials.
    ///
    /// # Errors
    /// Why there are none, in words that hold no secret.
    pub async fn credentials(&self) -> Result<FoundCredentials, String> {
        let found: Credentials = match tokio::time::timeout(CALL, self.bucket.credentials.ask()).await {
            Ok(found) => found.map_err(|error| in_one_line(&error))?,
            Err(_) => return Err("the provider took too long".into()),
        };
        let expires_at = found.expiry().map(DateTime::<Utc>::from);
        Ok(FoundCredentials { temporary: found.session_token().is_some() || expires_at.is_some(), expires_at })
    }

    /// ListMultipartUploads of exactly this key, the first page: S3's ids. `owner` is whom the bucket is said to belong to.
    ///
    /// # Errors
    /// S3's answer.
    pub async fn list_uploads(&self, key: &str, owner: Option<&str>) -> Result<Vec<String>, Fault> {
        let request = self.client.list_multipart_uploads().bucket(&self.bucket.name).prefix(key);
        let page = request.set_expected_bucket_owner(owner.map(str::to_owned)).send().await?;
        let uploads = page.uploads().iter().filter(|upload| upload.key() == Some(key));
        Ok(uploads.filter_map(|upload| upload.upload_id().map(str::to_owned)).collect())
    }

    /// CreateMultipartUpload as uploads are begun: with a type, a disposition and our mark in the metadata.
    ///
    /// # Errors
    /// S3's answer.
    pub async fn create(&self, name: &str, checksum: Option<Algorithm>) -> Result<Opened, Fault> {
        let key = self.key(name);
        let mut request = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket.name)
            .key(&key)
            .content_type("text/plain")
            .content_disposition(content_disposition(Disposition::Attachment, "probe.txt"))
            .set_metadata(Some([(UPLOAD_ID_KEY.to_owned(), self.id.clone())].into()))
            .set_expected_bucket_owner(self.owner());
        if let Some(algorithm) = checksum {
            let kind = if algorithm.is_full_object() { ChecksumType::FullObject } else { ChecksumType::Composite };
            request = request.checksum_algorithm(checksum_algorithm(algorithm)).checksum_type(kind);
        }
        let probe = self.clone();
        self.to_its_end(async move {
            let answer = request.send().await.map_err(|error| probe.outcome_of(&key, error.into()))?;
            let Some(s3_upload_id) = answer.upload_id().filter(|id| !id.is_empty()).map(str::to_owned) else {
                return Err(probe.outcome_of(&key, Fault::Silent("an upload without an id".into())));
            };
            let opened = Opened { key, s3_upload_id };
            probe.made().uploads.push(opened.clone());
            Ok(opened)
        })
        .await
    }

    /// Runs a call on, whoever stops waiting for it.
    async fn to_its_end<T: Send + 'static>(
        &self,
        call: impl Future<Output = Result<T, Fault>> + Send + 'static,
    ) -> Result<T, Fault> {
        self.asked.spawn(call).await.unwrap_or_else(|error| Err(Fault::Silent(error.to_string())))
    }

    /// UploadPart by ourselves, without a checksum. Returns the ETag.
    ///
    /// # Errors
    /// S3's answer.
    pub async fn put_part(&self, upload: &Opened, number: i32, bytes: &'static [u8]) -> Result<String, Fault> {
        let answer = self
            .client
            .upload_part()
            .bucket(&self.bucket.name)
            .key(&upload.key)
            .upload_id(&upload.s3_upload_id)
            .part_number(number)
            .body(ByteStream::from_static(bytes))
            .set_expected_bucket_owner(self.owner())
            .send()
            .await?;
        answer.e_tag().map(str::to_owned).ok_or_else(|| Fault::Silent("a part without an ETag".into()))
    }

    /// ListParts, the first page.
    ///
    /// # Errors
    /// S3's answer; its code is `NoSuchUpload` for an upload that is gone.
    pub async fn list_parts(&self, upload: &Opened) -> Result<Vec<ListedPart>, Fault> {
        let page = self
            .client
            .list_parts()
            .bucket(&self.bucket.name)
            .key(&upload.key)
            .upload_id(&upload.s3_upload_id)
            .set_expected_bucket_owner(self.owner())
            .send()
            .await?;
        let listed = page.parts().iter().map(|part| {
            let etag = part.e_tag().and_then(|etag| ETag::new(etag).ok())?;
            Some(ListedPart { number: part.part_number()?, etag, size: part.size()?, checksum: None })
        });
        let parts: Option<Vec<_>> = listed.collect();
        parts.ok_or_else(|| Fault::Silent("a part without number, size or ETag".into()))
    }

    /// CompleteMultipartUpload with one part, number 1. Returns the object's ETag.
    ///
    /// # Errors
    /// S3's answer.
    pub async fn complete(&self, upload: &Opened, etag: &str, guards: Guards<'_>) -> Result<String, Fault> {
        let part = CompletedPart::builder().part_number(1).e_tag(etag).build();
        let mut request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket.name)
            .key(&upload.key)
            .upload_id(&upload.s3_upload_id)
            .multipart_upload(CompletedMultipartUpload::builder().parts(part).build())
            .set_if_none_match(guards.if_none_match.then(|| "*".to_owned()))
            .set_mpu_object_size(guards.size)
            .set_expected_bucket_owner(self.owner());
        if let Some(value) = guards.crc64nvme {
            request = request.checksum_crc64_nvme(value).checksum_type(ChecksumType::FullObject);
        }
        let (probe, upload) = (self.clone(), upload.clone());
        self.to_its_end(async move {
            let answer = request.send().await.map_err(|error| probe.outcome_of(&upload.key, error.into()))?;
            // The SDK takes a truncated 200 for a success.
            let Some(etag) = answer.e_tag().filter(|etag| !etag.is_empty()) else {
                return Err(probe.outcome_of(&upload.key, Fault::Silent("a completion without an ETag".into())));
            };
            let version = answer.version_id().filter(|version| *version != "null").map(str::to_owned);
            let mut made = probe.made();
            made.uploads.retain(|open| open.s3_upload_id != upload.s3_upload_id);
            let object = (upload.key.clone(), version);
            if !made.objects.contains(&object) {
                made.objects.push(object);
            }
            Ok(etag.to_owned())
        })
        .await
    }

    /// HeadObject: `None` for a 404.
    ///
    /// # Errors
    /// S3's answer.
    pub async fn head(&self, key: &str) -> Result<Option<ProbedObject>, Fault> {
        let request = self
            .client
            .head_object()
            .bucket(&self.bucket.name)
            .key(key)
            .checksum_mode(ChecksumMode::Enabled)
            .set_expected_bucket_owner(self.owner());
        let found = match request.send().await {
            Ok(found) => found,
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A composite value is not the file's, whatever it is called.
        let whole = found.checksum_type() != Some(&ChecksumType::Composite);
        Ok(Some(ProbedObject {
            upload_id: found.metadata().and_then(|metadata| metadata.get(UPLOAD_ID_KEY)).cloned(),
            size: found.content_length(),
            version_id: found.version_id().filter(|version| *version != "null").map(str::to_owned),
            crc64nvme: found.checksum_crc64_nvme().filter(|_| whole).map(str::to_owned),
        }))
    }

    /// AbortMultipartUpload.
    ///
    /// # Errors
    /// S3's answer.
    pub async fn abort(&self, upload: &Opened) -> Result<(), Fault> {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket.name).key(&upload.key);
        request.upload_id(&upload.s3_upload_id).set_expected_bucket_owner(self.owner()).send().await?;
        Ok(())
    }

    /// DeleteObject.
    ///
    /// # Errors
    /// S3's answer.
    pub async fn delete(&self, key: &str, version_id: Option<&str>) -> Result<(), Fault> {
        let request = self.client.delete_object().bucket(&self.bucket.name).key(key);
        let request = request.set_version_id(version_id.map(str::to_owned));
        request.set_expected_bucket_owner(self.owner()).send().await?;
        Ok(())
    }

    /// Removes all that the probe made, and what is on its way. Returns what is still there, one line each.
    pub async fn clean(&self) -> Vec<String> {
        self.asked.close();
        self.asked.wait().await;
        let made = std::mem::take(&mut *self.made());
        let mut left = Vec::new();
        let mut uploads = made.uploads;
        for key in &made.unclear {
            let found = self.list_uploads(key, self.bucket.expected_owner.as_deref()).await.unwrap_or_default();
            uploads.extend(found.into_iter().map(|s3_upload_id| Opened { key: key.clone(), s3_upload_id }));
        }
        for upload in uploads {
            if !self.is_aborted(&upload).await {
                left.push(format!("an open upload of {}", upload.key));
            }
        }
        let unclear = made.unclear.into_iter().map(|key| (key, None));
        // Each version for itself, then whatever stands at the key.
        let mut keys = BTreeSet::new();
        for (key, version) in made.objects.into_iter().chain(unclear) {
            if version.is_some() && self.delete(&key, version.as_deref()).await.is_err() {
                left.push(format!("a version of {key}"));
            }
            keys.insert(key);
        }
        for key in keys {
            let mut gone = matches!(self.head(&key).await, Ok(None));
            if !gone {
                gone = self.delete(&key, None).await.is_ok() && matches!(self.head(&key).await, Ok(None));
            }
            if !gone {
                left.push(format!("the object {key}"));
            }
        }
        left
    }

    /// Aborts until S3 says that it holds nothing: a part that was on its way may land after the first.
    async fn is_aborted(&self, upload: &Opened) -> bool {
        for _ in 0..3 {
            let refused = self.abort(upload).await.err().is_some_and(|fault| fault.code() != "NoSuchUpload");
            match self.list_parts(upload).await {
                Err(fault) if fault.code() == "NoSuchUpload" => return true,
                // Without an answer, or without the right, a repetition would bring nothing but time.
                Err(_) => return !refused,
                Ok(_) if refused => return false,
                Ok(_) => {}
            }
        }
        false
    }

    /// A clean refusal leaves nothing behind; after anything else S3 may have done what was asked.
    fn outcome_of(&self, key: &str, fault: Fault) -> Fault {
        if !fault.is_refusal() {
            self.made().unclear.push(key.to_owned());
        }
        fault
    }

    fn owner(&self) -> Option<String> {
        self.bucket.expected_owner.clone()
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The `Date` of the latest answer: the SDK gives no headers of an answer that it understood.
#[derive(Debug, Clone, Default)]
struct Dates(Arc<Mutex<Option<(String, std::time::Instant)>>>);

impl Intercept for Dates {
    fn name(&self) -> &'static str {
        "Dates"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            let now = std::time::Instant::now();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((date.to_owned(), now));
        }
        Ok(())
    }
}
