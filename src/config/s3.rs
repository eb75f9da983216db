//! The bucket, and what its store can do.

use std::net::SocketAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::{Error, invalid};
use crate::upload::{MAX_PARTS, MIB};

/// The bucket and how to reach it. Credentials come by the AWS chain (`AWS_*`, profiles, roles).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3 {
    /// Name of the bucket. Without one, the embedded S3 is used.
    pub bucket: Option<String>,
    /// Region. Default: by the AWS chain, else `us-east-1`.
    pub region: Option<String>,
    /// URL of an S3 that is not AWS, as the service reaches it.
    pub endpoint: Option<String>,
    /// URL of the same S3 as browsers and scripts reach it; part and download URLs are signed for it. Default: `endpoint`.
    pub public_endpoint: Option<String>,
    /// `https://host/bucket/key` rather than `https://bucket.host/key`. Most stores that are not AWS need it.
    pub path_style: bool,
    /// Prefix of every object's key; ends with `/`. Default: `uploads/`.
    pub prefix: Option<String>,
    /// Account id that must own the bucket; guards against a bucket that a stranger made anew under the same name.
    pub expected_bucket_owner: Option<String>,
    /// What kind of store it is; stands for named capabilities. Default: `aws`.
    pub store: StoreKind,
    /// Capabilities that differ from those of `store`.
    pub capabilities: CapabilityOverrides,
}

/// Kinds of stores whose capabilities are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// Amazon S3.
    #[default]
    Aws,
    /// Cloudflare R2.
    R2,
    /// MinIO.
    Minio,
    /// SeaweedFS.
    Seaweedfs,
    /// Garage.
    Garage,
    /// Anything else: nothing is taken for granted.
    Other,
}

/// How a store comes to a CRC64NVME of a whole object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FullObjectChecksum {
    /// It computes one by itself.
    Computed,
    /// It computes one when the upload's creation asks for it, of parts that carry none as well.
    Told,
    /// It has none, or a wrong one: never compared.
    None,
}

/// What a store can do; the coordinator asks this, never what store it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Bytes of the largest object.
    pub max_object_size: i64,
    /// `If-None-Match: *` on CompleteMultipartUpload is obeyed.
    pub conditional_completion: bool,
    /// `x-amz-mp-object-size` on CompleteMultipartUpload is obeyed.
    pub object_size_check: bool,
    /// Where a CRC64NVME of the object comes from.
    pub full_object_checksum: FullObjectChecksum,
    /// After this the store itself drops an open upload.
    pub upload_life: Option<Duration>,
}

/// Single capabilities, set by hand.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CapabilityOverrides {
    /// Bytes of the largest object.
    pub max_object_size: Option<i64>,
    /// See [`Capabilities::conditional_completion`].
    pub conditional_completion: Option<bool>,
    /// See [`Capabilities::object_size_check`].
    pub object_size_check: Option<bool>,
    /// `computed`, `told` or `none`; see [`FullObjectChecksum`].
    pub full_object_checksum: Option<FullObjectChecksum>,
    /// See [`Capabilities::upload_life`].
    #[serde(with = "humantime_serde::option")]
    pub upload_life: Option<Duration>,
}

/// The S3 inside the process.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbeddedS3 {
    /// Where it listens; loopback only.
    pub listen: SocketAddr,
    /// Access key. Default: made at the first start and kept in `data_dir`, readable by its owner alone.
    pub access_key: Option<String>,
    /// Secret key; as `access_key`.
    pub secret_key: Option<SecretString>,
}

impl Default for EmbeddedS3 {
    fn default() -> Self {
        EmbeddedS3 { listen: SocketAddr::from(([127, 0, 0, 1], 9000)), access_key: None, secret_key: None }
    }
}

impl S3 {
    pub(super) fn check(&self) -> Result<(), Error> {
        if let Some(bucket) = &self.bucket {
            if !is_bucket(bucket) {
                return invalid("s3.bucket", "not the name of a bucket");
            }
        } else if self.endpoint.is_some() || self.public_endpoint.is_some() {
            return invalid("s3.bucket", "needed when an endpoint is set");
        }
        for (name, url) in [("s3.endpoint", &self.endpoint), ("s3.public_endpoint", &self.public_endpoint)] {
            if let Some(url) = url {
                let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).unwrap_or_default();
                if host.is_empty() || host.starts_with('/') || host.contains(['?', '#', '@', ' ']) {
                    return invalid(name, "a URL such as https://s3.example.com");
                }
            }
        }
        if !is_prefix(self.prefix()) {
            return invalid("s3.prefix", A_PREFIX);
        }
        let largest = self.capabilities().max_object_size;
        if !(MIB..=LARGEST_ON_AWS).contains(&largest) {
            return invalid("s3.capabilities.max_object_size", "1 MiB to 48.8 TiB, in bytes");
        }
        Ok(())
    }

    /// The prefix of every object's key.
    pub fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("uploads/")
    }

    /// What the configured store can do.
    pub fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.store.capabilities();
        let set = &self.capabilities;
        capabilities.max_object_size = set.max_object_size.unwrap_or(capabilities.max_object_size);
        capabilities.conditional_completion = set.conditional_completion.unwrap_or(capabilities.conditional_completion);
        capabilities.object_size_check = set.object_size_check.unwrap_or(capabilities.object_size_check);
        capabilities.full_object_checksum = set.full_object_checksum.unwrap_or(capabilities.full_object_checksum);
        capabilities.upload_life = set.upload_life.or(capabilities.upload_life);
        capabilities
    }
}

/// 10,000 parts of 5 GiB: 48.8 TiB.
const LARGEST_ON_AWS: i64 = MAX_PARTS as i64 * (5 << 30);
/// What every other store allows, as far as known: 5 TiB.
const LARGEST_ELSEWHERE: i64 = 5 << 40;

impl StoreKind {
    /// What stores of this kind can do, as documented or measured.
    pub fn capabilities(self) -> Capabilities {
        const HOUR: Duration = Duration::from_secs(3600);
        let elsewhere = Capabilities {
            max_object_size: LARGEST_ELSEWHERE,
            conditional_completion: false,
            object_size_check: false,
            full_object_checksum: FullObjectChecksum::None,
            upload_life: None,
        };
        match self {
            StoreKind::Aws => Capabilities {
                max_object_size: LARGEST_ON_AWS,
                conditional_completion: true,
                object_size_check: true,
                full_object_checksum: FullObjectChecksum::Computed,
                upload_life: None,
            },
            StoreKind::R2 => {
                Capabilities { conditional_completion: true, upload_life: Some(6 * 24 * HOUR), ..elsewhere }
            }
            // Told of a checksum, MinIO and Garage refuse each part that does not carry one.
            StoreKind::Minio => Capabilities { upload_life: Some(23 * HOUR), ..elsewhere },
            StoreKind::Seaweedfs => Capabilities {
                conditional_completion: true,
                full_object_checksum: FullObjectChecksum::Told,
                ..elsewhere
            },
            StoreKind::Garage | StoreKind::Other => elsewhere,
        }
    }
}

/// What a prefix may be.
pub(super) const A_PREFIX: &str = "letters, digits and - . _ / only, ending with /, not beginning with it";

/// Whether this may be the prefix of keys.
pub(super) fn is_prefix(prefix: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
    let is_path =
        !prefix.starts_with('/') && !prefix.contains("//") && prefix.split('/').all(|part| part != "." && part != "..");
    prefix.is_empty() || (prefix.ends_with('/') && is_path && prefix.len() <= 256 && prefix.bytes().all(sound))
}

/// Whether this may be the name of a bucket.
pub(super) fn is_bucket(name: &str) -> bool {
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (3..=255).contains(&name.len()) && name.bytes().all(sound)
}
