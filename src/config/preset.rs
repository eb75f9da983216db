//! Presets: named rules that a client chooses from when it begins an upload (`[preset.NAME]`).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::s3::{A_PREFIX, is_bucket, is_prefix};
use super::{Error, MAX_URL_TTL, invalid};
use crate::upload::names::KeyTemplate;
use crate::upload::{Algorithm, Visibility};

/// The preset of whoever names none; it is there whether the settings have it or not.
pub const DEFAULT_PRESET: &str = "default";

/// Named rules. What is not set is as the settings beside the presets say.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preset {
    /// The largest file, in bytes. Default: the store's largest object.
    pub max_size: Option<i64>,
    /// Media types that are allowed, such as `image/png` or `image/*`. Default: all.
    pub content_types: Vec<String>,
    /// How keys are made, after the prefix: of `{id}` (needed, for two uploads of one key destroy each other on some
    /// stores), `{shard}` (two digits that spread new keys over S3's partitions), `{name}`, `{ext}`, `{owner}` and `{date}`.
    /// Default: `{shard}/{id}/{name}`.
    pub key: Option<KeyTemplate>,
    /// Another bucket of the same store. Danger: `doctor` looks at the bucket of `s3.bucket` only.
    pub bucket: Option<String>,
    /// Another prefix than `s3.prefix`.
    pub prefix: Option<String>,
    /// The storage class of objects, such as `STANDARD_IA`. Default: the store's.
    pub storage_class: Option<String>,
    /// Server-side encryption: `s3` (SSE-S3) or `kms` (SSE-KMS). Default: the bucket's.
    pub encryption: Option<Encryption>,
    /// The KMS key, with `kms`. Default: the account's own key for S3.
    pub kms_key_id: Option<String>,
    /// Tags of objects: at most 10.
    pub tags: BTreeMap<String, String>,
    /// `Cache-Control` of objects.
    pub cache_control: Option<String>,
    /// `private`, or `public`: objects get the ACL `public-read`, and everybody has them by their plain URL, for ever.
    pub visibility: Visibility,
    /// Life of a part URL unless the caller asks for another.
    #[serde(with = "humantime_serde::option")]
    pub part_url_ttl: Option<Duration>,
    /// Life of a download URL unless the caller asks for another.
    #[serde(with = "humantime_serde::option")]
    pub download_url_ttl: Option<Duration>,
    /// The longest life of a part or download URL that a caller may ask for, of a cacheable one too. Default: 7 days.
    #[serde(with = "humantime_serde::option")]
    pub max_url_ttl: Option<Duration>,
    /// An upload is given up this long after its last activity.
    #[serde(with = "humantime_serde::option")]
    pub upload_idle_ttl: Option<Duration>,
    /// An upload is given up this long after its creation, whatever happens.
    #[serde(with = "humantime_serde::option")]
    pub upload_max_ttl: Option<Duration>,
    /// Every part must carry a checksum of this algorithm: `CRC64NVME`, `CRC32C` or `SHA256`. Default: the client chooses.
    pub part_checksum: Option<Algorithm>,
    /// Whether the file's checksum (CRC64NVME) must be given, at creation or at completion.
    pub checksum_required: bool,
}

/// Server-side encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encryption {
    /// With keys of S3's own (SSE-S3).
    S3,
    /// With a key of KMS (SSE-KMS).
    Kms,
}

impl Preset {
    pub(super) fn check(&self, name: &str) -> Result<(), Error> {
        let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(named) {
            return invalid("preset", "a preset's name is 1 to 64 of a-z, 0-9 and -");
        }
        if self.max_size.is_some_and(|size| size < 0) {
            return invalid("preset.max_size", "bytes, 0 or more");
        }
        if !self.content_types.iter().all(|allowed| is_type_pattern(allowed)) {
            return invalid("preset.content_types", "types such as image/png or image/*");
        }
        if self.bucket.as_deref().is_some_and(|bucket| !is_bucket(bucket)) {
            return invalid("preset.bucket", "not the name of a bucket");
        }
        if self.prefix.as_deref().is_some_and(|prefix| !is_prefix(prefix)) {
            return invalid("preset.prefix", A_PREFIX);
        }
        let shouted = |text: &String| {
            text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
                && (1..=64).contains(&text.len())
        };
        if !self.storage_class.as_ref().is_none_or(shouted) {
            return invalid("preset.storage_class", "a storage class such as STANDARD_IA");
        }
        if self.kms_key_id.is_some() && self.encryption != Some(Encryption::Kms) {
            return invalid("preset.kms_key_id", "only with encryption = \"kms\"");
        }
        let taggable = |text: &str, most: usize| {
            text.chars().count() <= most && text.chars().all(|c| c.is_alphanumeric() || " +-=._:/@".contains(c))
        };
        let sound = |(key, value): (&String, &String)| !key.is_empty() && taggable(key, 128) && taggable(value, 256);
        if self.tags.len() > 10 || !self.tags.iter().all(sound) {
            return invalid("preset.tags", "at most 10, of letters, digits, blanks and + - = . _ : / @");
        }
        let printable =
            |text: &String| text.len() <= 255 && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !self.cache_control.as_ref().is_none_or(printable) {
            return invalid("preset.cache_control", "printable ASCII, at most 255 bytes");
        }
        let ttls = [("preset.part_url_ttl", self.part_url_ttl), ("preset.download_url_ttl", self.download_url_ttl)];
        for (name, ttl) in ttls.into_iter().chain([("preset.max_url_ttl", self.max_url_ttl)]) {
            if ttl.is_some_and(|ttl| ttl < Duration::from_secs(1) || ttl > MAX_URL_TTL) {
                return invalid(name, "1 second to 7 days");
            }
        }
        Ok(())
    }

    /// Whether a file of this media type may be uploaded.
    pub fn allows(&self, content_type: &str) -> bool {
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let fits = |allowed: &String| match allowed.strip_suffix('*') {
            Some(start) => essence.starts_with(&start.to_ascii_lowercase()),
            None => essence == allowed.to_ascii_lowercase(),
        };
        self.content_types.is_empty() || self.content_types.iter().any(fits)
    }
}

fn is_type_pattern(text: &str) -> bool {
    let token = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text.split_once('/').is_some_and(|(kind, sub)| token(kind) && (sub == "*" || token(sub)))
}
