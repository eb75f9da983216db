//! The bucket: the only module that knows aws-sdk-s3.
//!
//! Every call has explicit timeouts. Only calls that change nothing, or whose repetition changes nothing more, are retried
//! by the SDK: a repeated CreateMultipartUpload would leak an upload, a repeated CompleteMultipartUpload could hide what
//! became of the first.
//!
//! The rights this needs: `s3:PutObject`, `s3:GetObject`, `s3:DeleteObject`, `s3:AbortMultipartUpload`,
//! `s3:ListMultipartUploadParts` on the objects under the prefix; `s3:ListBucket` (without it a missing object looks
//! forbidden) and `s3:ListBucketMultipartUploads` on the bucket.

mod begin;
mod error;
mod fault;
mod listing;
mod presign;
mod probe;
mod read;
mod rules;
mod sha256;
mod urls;
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_s3::config::{
    Builder, RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::head_object::HeadObjectError;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

pub use error::Error;
pub use fault::{Fault, in_one_line, innermost};
pub use listing::{Marker, OpenUpload};
use presign::Address;
pub use probe::{FoundCredentials, Guards, Opened, Probe, ProbedObject};
pub use read::Body;
pub use rules::{AbortRule, Cors, RULE_ID};
pub use urls::{Download, PartSigner, PresignedUrl, UrlSigner};
use urls::{LastSigner, NoCredentials, SigningCredentials};
use whole::WholeAnswers;

use crate::config::{Capabilities, FullObjectChecksum, S3};
use crate::upload::metadata::UPLOAD_ID_KEY;
use crate::upload::{Algorithm, Checksum, ETag, Part, Target, Upload};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// S3 may take minutes over a completion, and keeps the connection alive with white space meanwhile.
pub const COMPLETE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// One bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Bucket {
    name: String,
    client: Client,
    capabilities: Capabilities,
    expected_owner: Option<String>,
    /// Where clients find the bucket; not always where the service does.
    address: Arc<Address>,
    credentials: Arc<SigningCredentials>,
    last_signer: Arc<LastSigner>,
}

/// A part as S3 lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPart {
    /// 1 to 10,000.
    pub number: i32,
    /// Its ETag.
    pub etag: ETag,
    /// Bytes.
    pub size: i64,
    /// Its checksum in the upload's algorithm, where the store tells.
    pub checksum: Option<String>,
}

/// An object as S3 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundObject {
    /// The id of the upload it was made by, if it is one of ours.
    pub upload_id: Option<String>,
    /// Its ETag.
    pub etag: String,
    /// Bytes.
    pub size: i64,
    /// In a versioned bucket, the version.
    pub version_id: Option<String>,
    /// Its checksum, where the store tells and it covers the whole object or all parts.
    pub checksum: Option<Checksum>,
}

impl FoundObject {
    /// Whether its metadata says that it is this upload's. Clients cannot forge that: S3 refuses headers that were not signed.
    pub fn is_of(&self, upload: &Upload) -> bool {
        self.upload_id.as_deref() == Some(upload.id.to_string().as_str())
    }
}

impl Bucket {
    /// The bucket of these settings, with credentials by the AWS chain.
    pub async fn connect(settings: &S3, name: &str) -> Bucket {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let chain = loader.load().await;
        let region = chain.region().map_or("us-east-1", AsRef::as_ref).to_owned();
        let provider = chain.credentials_provider().unwrap_or_else(|| SharedCredentialsProvider::new(NoCredentials));
        Bucket::new(settings, name, &region, provider, aws_sdk_s3::config::Builder::from(&chain))
    }

    /// The bucket of these settings, with these credentials and nothing from the environment.
    pub fn with_credentials(settings: &S3, name: &str, access_key: &str, secret_key: &str) -> Bucket {
        let credentials = Credentials::new(access_key, secret_key, None, None, "settings");
        let region = settings.region.as_deref().unwrap_or("us-east-1");
        let builder = Builder::new().behavior_version(BehaviorVersion::latest());
        Bucket::new(settings, name, region, SharedCredentialsProvider::new(credentials), builder)
    }

    fn new(settings: &S3, name: &str, region: &str, provider: SharedCredentialsProvider, builder: Builder) -> Bucket {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(OPERATION_TIMEOUT)
            .build();
        let mut builder = builder
            .credentials_provider(provider.clone())
            // What is signed by hand and what the SDK signs are for one region.
            .region(Region::new(region.to_owned()))
            .force_path_style(settings.path_style)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .retry_partition(retry_budget())
            .interceptor(WholeAnswers)
            // Checksums are asked for by name where they are wanted; some stores know no others.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &settings.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        let public = settings.public_endpoint.as_deref().or(settings.endpoint.as_deref());
        Bucket {
            name: name.to_owned(),
            client: Client::from_conf(builder.build()),
            capabilities: settings.capabilities(),
            expected_owner: settings.expected_bucket_owner.clone(),
            address: Arc::new(Address::new(public, region, name, settings.path_style)),
            credentials: Arc::new(SigningCredentials::new(provider)),
            last_signer: Arc::default(),
        }
    }

    /// Another bucket of the same store, reached in the same way with the same credentials.
    pub fn named(&self, name: &str) -> Bucket {
        let (address, last_signer) = (Arc::new(self.address.of(name)), Arc::default());
        Bucket { name: name.to_owned(), address, last_signer, ..self.clone() }
    }

    /// The URL of an object that everybody may have.
    pub fn public_url(&self, key: &str) -> String {
        self.address.plain_url(key)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its store can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// `scheme://host[:port]` of every URL that is handed out: the other origin that pages talk to.
    pub fn public_origin(&self) -> &str {
        self.address.origin()
    }

    /// Counts and times a call. What a HEAD did not find is an answer like any other.
    async fn observed<T, E>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, SdkError<E, HttpResponse>> {
        let began = Instant::now();
        // The SDK's futures are large, and calls to S3 stand at the end of long chains.
        let outcome = Box::pin(call).await;
        let result = match &outcome {
            Ok(_) => "ok",
            Err(SdkError::ServiceError(error)) => match error.raw().status().as_u16() {
                404 => "not_found",
                429 | 500.. => "unavailable",
                _ => "refused",
            },
            Err(SdkError::TimeoutError(_)) => "timed_out",
            Err(_) => "unavailable",
        };
        metrics::counter!("partita_s3_calls_total", "operation" => operation, "result" => result).increment(1);
        metrics::histogram!("partita_s3_call_seconds", "operation" => operation).record(began.elapsed());
        outcome
    }

    /// ListParts, every page. Some stores list a part that was sent again several times, in any order: all are returned.
    ///
    /// # Errors
    /// [`Error::NotFound`] when S3 has no such upload.
    pub async fn list_parts(&self, upload: &Upload, s3_upload_id: &str) -> Result<Vec<ListedPart>, Error> {
        let mut parts = Vec::new();
        let mut marker: Option<String> = None;
        loop {
            let request = self
                .client
                .list_parts()
                .bucket(&self.name)
                .key(&upload.key)
                .upload_id(s3_upload_id)
                .max_parts(1_000)
                .set_part_number_marker(marker.clone())
                .set_expected_bucket_owner(self.expected_owner.clone());
            let page = self.observed("ListParts", request.send()).await?;
            for part in page.parts() {
                let (Some(number), Some(size), Some(Ok(etag))) =
                    (part.part_number(), part.size(), part.e_tag().map(ETag::new))
                else {
                    return Err(Error::Unavailable("a part without number, size or ETag".into()));
                };
                let checksum = match upload.part_checksum {
                    Some(Algorithm::Crc64Nvme) => part.checksum_crc64_nvme(),
                    Some(Algorithm::Crc32C) => part.checksum_crc32_c(),
                    Some(Algorithm::Sha256) => part.checksum_sha256(),
                    None => None,
                };
                parts.push(ListedPart { number, etag, size, checksum: checksum.map(str::to_owned) });
            }
            let next = page.next_part_number_marker().map(str::to_owned);
            match page.is_truncated() {
                Some(false) => return Ok(parts),
                Some(true) => {}
                // Of a listing that was cut short nothing can be concluded.
                None => return Err(Error::Unavailable("half a listing of parts".into())),
            }
            // A listing that does not move on would go on for ever.
            let number = |marker: &Option<String>| marker.as_deref().and_then(|marker| marker.parse::<i32>().ok());
            if next.is_none() || number(&next) <= number(&marker) {
                return Err(Error::Unavailable("a listing of parts that does not end".into()));
            }
            marker = next;
        }
    }

    /// CompleteMultipartUpload, once, with every guard that the store has. `Ok` proves nothing yet: [`Bucket::head`] does.
    ///
    /// # Errors
    /// After [`Error::Unavailable`] it may have happened, or happen yet.
    pub async fn complete(
        &self,
        upload: &Upload,
        s3_upload_id: &str,
        parts: &[Part],
        target: &Target,
    ) -> Result<(), Error> {
        let list = parts.iter().map(|part| {
            let completed = CompletedPart::builder().part_number(part.number).e_tag(part.etag.as_str());
            match upload.part_checksum {
                Some(Algorithm::Crc64Nvme) => completed.set_checksum_crc64_nvme(part.checksum.clone()),
                Some(Algorithm::Crc32C) => completed.set_checksum_crc32_c(part.checksum.clone()),
                Some(Algorithm::Sha256) => completed.set_checksum_sha256(part.checksum.clone()),
                None => completed,
            }
            .build()
        });
        let condition = self.capabilities.conditional_completion.then(|| "*".to_owned());
        let size = self.capabilities.object_size_check.then_some(target.size);
        let mut request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.name)
            .key(&upload.key)
            .upload_id(s3_upload_id)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(list.collect())).build())
            .set_if_none_match(condition)
            .set_mpu_object_size(size)
            .set_expected_bucket_owner(self.expected_owner.clone());
        if let Some(checksum) = self.comparable(upload, target) {
            request = request.checksum_crc64_nvme(&checksum.value).checksum_type(ChecksumType::FullObject);
        }
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(COMPLETE_TIMEOUT)
            .operation_timeout(COMPLETE_TIMEOUT)
            .build();
        // S3 may be silent between two bytes for long: to hang up would leave it at work on what is then sent again.
        let patient = Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        let request = request.customize().config_override(patient);
        let answer = self.observed("CompleteMultipartUpload", request.send()).await?;
        match answer.e_tag() {
            Some(etag) if !etag.is_empty() => Ok(()),
            // The SDK takes a truncated 200 for a success.
            _ => Err(Error::Unavailable("a completion without an ETag".into())),
        }
    }

    /// The client's checksum of the file, where the store has one to compare it with.
    pub fn comparable<'a>(&self, upload: &Upload, target: &'a Target) -> Option<&'a Checksum> {
        let has_one = self.capabilities.full_object_checksum != FullObjectChecksum::None
            && upload.part_checksum.is_none_or(|algorithm| algorithm == Algorithm::Crc64Nvme);
        target.checksum.as_ref().filter(|_| has_one)
    }

    /// AbortMultipartUpload. An upload that S3 does not know is as good as aborted; neither answer proves that it is.
    ///
    /// # Errors
    /// When S3 refused or did not answer.
    pub async fn abort(&self, upload: &Upload, s3_upload_id: &str) -> Result<(), Error> {
        self.abort_at(&upload.key, s3_upload_id).await
    }

    async fn abort_at(&self, key: &str, s3_upload_id: &str) -> Result<(), Error> {
        let request = self
            .client
            .abort_multipart_upload()
            .bucket(&self.name)
            .key(key)
            .upload_id(s3_upload_id)
            .set_expected_bucket_owner(self.expected_owner.clone());
        match self.observed("AbortMultipartUpload", request.send()).await.map_err(Error::from) {
            Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// AbortMultipartUpload of one that is no upload of the ledger's.
    ///
    /// # Errors
    /// When S3 refused or did not answer.
    pub async fn abort_open(&self, open: &OpenUpload) -> Result<(), Error> {
        self.abort_at(&open.key, &open.s3_upload_id).await
    }

    /// HeadObject: what stands at the upload's key, `None` if S3 says that nothing does.
    ///
    /// # Errors
    /// A refusal (403 above all) says nothing about what is there.
    pub async fn head(&self, upload: &Upload) -> Result<Option<FoundObject>, Error> {
        self.head_version(upload, None).await
    }

    /// HeadObject of this version, where the bucket has versions.
    ///
    /// # Errors
    /// As [`Bucket::head`].
    pub async fn head_version(&self, upload: &Upload, version: Option<&str>) -> Result<Option<FoundObject>, Error> {
        let request = self
            .client
            .head_object()
            .bucket(&self.name)
            .key(&upload.key)
            .set_version_id(version.map(str::to_owned))
            .checksum_mode(ChecksumMode::Enabled)
            .set_expected_bucket_owner(self.expected_owner.clone());
        let found = match self.observed("HeadObject", request.send()).await {
            Ok(found) => found,
            // The answer to a HEAD has no body, and so no code: its 404 is all that S3 can say.
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (Some(etag), Some(size)) = (found.e_tag(), found.content_length()) else {
            return Err(Error::Unavailable("an object without ETag or size".into()));
        };
        let checksum = [
            (Algorithm::Crc64Nvme, found.checksum_crc64_nvme()),
            (Algorithm::Crc32C, found.checksum_crc32_c()),
            (Algorithm::Sha256, found.checksum_sha256()),
        ]
        .into_iter()
        .find_map(|(algorithm, value)| Some(Checksum { algorithm, value: value?.to_owned() }));
        Ok(Some(FoundObject {
            upload_id: found.metadata().and_then(|metadata| metadata.get(UPLOAD_ID_KEY)).cloned(),
            etag: etag.to_owned(),
            size,
            version_id: found.version_id().map(str::to_owned).filter(|version| version != "null"),
            checksum: checksum.filter(|_| self.capabilities.full_object_checksum != FullObjectChecksum::None),
        }))
    }

    /// DeleteObject: exactly this version, where the bucket has versions.
    ///
    /// # Errors
    /// When S3 refused or did not answer.
    pub async fn delete(&self, key: &str, version_id: Option<&str>) -> Result<(), Error> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.name)
            .key(key)
            .set_version_id(version_id.map(str::to_owned))
            .set_expected_bucket_owner(self.expected_owner.clone());
        self.observed("DeleteObject", request.send()).await?;
        Ok(())
    }
}

/// A store in trouble is not helped by being asked more often: after a burst of twenty, one call in ten may be a retry.
fn retry_budget() -> RetryPartition {
    let tokens = TokenBucket::builder().capacity(100).retry_cost(5).timeout_retry_cost(5).success_reward(0.5).build();
    RetryPartition::custom("partita").token_bucket(tokens).build()
}

fn checksum_algorithm(algorithm: Algorithm) -> ChecksumAlgorithm {
    match algorithm {
        Algorithm::Crc64Nvme => ChecksumAlgorithm::Crc64Nvme,
        Algorithm::Crc32C => ChecksumAlgorithm::Crc32C,
        Algorithm::Sha256 => ChecksumAlgorithm::Sha256,
    }
}
