//! Every setting: meaning, unit, default, danger. Read once, checked once.
//!
//! A TOML file, then the environment (`PARTITA_` and the setting's name, upper case, dots as underscores), then flags.
//! Unknown keys in the file are errors.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::builder::DefaultState;
use config::{ConfigBuilder, File, FileFormat, Value};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::upload::{MAX_PARTS, MIB};

/// What would end the path of a URL, or be taken for an escape.
const IN_PATH: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');

/// The file that is read when none is named and it is there.
pub const DEFAULT_FILE: &str = "partita.toml";

/// The longest life of a presigned URL that SigV4 allows.
pub const MAX_URL_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Every setting of the service. `Debug` shows no secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the service listens. Only loopback for now: nobody is asked who they are.
    pub listen: SocketAddr,
    /// Folder of the SQLite file and of the embedded S3. Losing it loses both.
    pub data_dir: PathBuf,
    /// `sqlite://…` or `postgres://…`; may hold a password. Default: `partita.sqlite` in `data_dir`.
    pub database_url: Option<SecretString>,
    /// The bucket. Default: the embedded S3.
    pub s3: S3,
    /// The S3 inside the process, used when no bucket is set. For a first run and for tests: one folder, one disk.
    pub embedded_s3: EmbeddedS3,
    /// Whether `/` serves the demo. Default: only when neither a bucket nor a database is set.
    pub web_demo: Option<bool>,
    /// Origins of pages that may call the API, such as `https://app.example.com`. Exact; `*` and `null` are refused.
    pub allowed_origins: Vec<String>,
    /// Values of `Host` (without port) that are served besides loopback. Danger: a name that others control lets their
    /// pages reach a service without auth (DNS rebinding).
    pub allowed_hosts: Vec<String>,
    /// Life of a part URL unless the caller asks for another; at most 7 days.
    #[serde(with = "humantime_serde")]
    pub part_url_ttl: Duration,
    /// Life of a download URL unless the caller asks for another; at most 7 days. Who has the URL has the file.
    #[serde(with = "humantime_serde")]
    pub download_url_ttl: Duration,
    /// For how long a cacheable download URL stays the same; such a link outlives an unsharing by up to this and its TTL.
    #[serde(with = "humantime_serde")]
    pub cacheable_window: Duration,
    /// An upload is given up this long after its last activity.
    #[serde(with = "humantime_serde")]
    pub upload_idle_ttl: Duration,
    /// An upload is given up this long after its creation, whatever happens. Must be below what the store itself allows.
    #[serde(with = "humantime_serde")]
    pub upload_max_ttl: Duration,
    /// How long `completeUpload` waits for S3 before it answers `202`.
    #[serde(with = "humantime_serde")]
    pub complete_wait: Duration,
    /// How often the sweeper looks for uploads whose time has come; 1 second to 1 day. Danger: what nobody finishes stays
    /// at S3, and is billed, for this much longer.
    #[serde(with = "humantime_serde")]
    pub sweep_interval: Duration,
}

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

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data_dir: PathBuf::from("./partita-data"),
            database_url: None,
            s3: S3::default(),
            embedded_s3: EmbeddedS3::default(),
            web_demo: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            part_url_ttl: Duration::from_secs(15 * 60),
            download_url_ttl: Duration::from_secs(60),
            cacheable_window: Duration::from_secs(24 * 60 * 60),
            upload_idle_ttl: Duration::from_secs(24 * 60 * 60),
            upload_max_ttl: Duration::from_secs(6 * 24 * 60 * 60),
            complete_wait: Duration::from_secs(5),
            sweep_interval: Duration::from_secs(60),
        }
    }
}

/// Every setting that the environment may give: its name, and whether it is a list (separated by commas).
const NAMES: [(&str, bool); 29] = [
    ("listen", false),
    ("data_dir", false),
    ("database_url", false),
    ("s3.bucket", false),
    ("s3.region", false),
    ("s3.endpoint", false),
    ("s3.public_endpoint", false),
    ("s3.path_style", false),
    ("s3.prefix", false),
    ("s3.expected_bucket_owner", false),
    ("s3.store", false),
    ("s3.capabilities.max_object_size", false),
    ("s3.capabilities.conditional_completion", false),
    ("s3.capabilities.object_size_check", false),
    ("s3.capabilities.full_object_checksum", false),
    ("s3.capabilities.upload_life", false),
    ("embedded_s3.listen", false),
    ("embedded_s3.access_key", false),
    ("embedded_s3.secret_key", false),
    ("web_demo", false),
    ("allowed_origins", true),
    ("allowed_hosts", true),
    ("part_url_ttl", false),
    ("download_url_ttl", false),
    ("cacheable_window", false),
    ("upload_idle_ttl", false),
    ("upload_max_ttl", false),
    ("complete_wait", false),
    ("sweep_interval", false),
];

/// What is wrong with the settings, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file, the environment or a flag has something that is not a setting.
    #[error("cannot read the settings: {0}")]
    Unreadable(#[from] config::ConfigError),
    /// A setting has a value that cannot be.
    #[error("setting {name}: {reason}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// Why not.
        reason: String,
    },
}

impl Settings {
    /// Reads the settings: the file (`file`, else `./partita.toml` when it is there), then the variables of `environment`,
    /// then `flags` (names and values).
    ///
    /// # Errors
    /// On anything that is not a setting, or a value that cannot be.
    pub fn load(
        file: Option<&Path>,
        environment: impl Fn(&str) -> Option<String>,
        flags: &[(&str, String)],
    ) -> Result<Settings, Error> {
        let mut builder = ConfigBuilder::<DefaultState>::default();
        builder = match file {
            Some(path) => builder.add_source(File::from(path).format(FileFormat::Toml)),
            None => builder.add_source(File::new(DEFAULT_FILE, FileFormat::Toml).required(false)),
        };
        for (name, is_list) in NAMES {
            let Some(value) = environment(&variable(name)) else {
                continue;
            };
            let value: Value = if is_list {
                value
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
                    .into()
            } else {
                value.into()
            };
            builder = builder.set_override(name, value)?;
        }
        for (name, value) in flags {
            builder = builder.set_override(*name, value.clone())?;
        }
        let settings: Settings = builder.build()?.try_deserialize()?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), Error> {
        let invalid = |name, reason: &str| Err(Error::Invalid { name, reason: reason.to_owned() });
        if !self.listen.ip().is_loopback() {
            return invalid("listen", "only a loopback address, for the service does not yet ask who is calling");
        }
        let url = self.database_url();
        let known =
            ["sqlite://", "postgres://", "postgresql://"].into_iter().find_map(|scheme| url.strip_prefix(scheme));
        if known.is_none_or(|rest| rest.is_empty() || rest.starts_with(":memory:")) {
            return invalid("database_url", "sqlite:// and a file, or postgres:// and a server");
        }
        if !self.embedded_s3.listen.ip().is_loopback() {
            return invalid("embedded_s3.listen", "only a loopback address: the embedded S3 is for this machine alone");
        }
        if self.embedded_s3.access_key.is_some() != self.embedded_s3.secret_key.is_some() {
            return invalid("embedded_s3.access_key", "set both keys or neither");
        }
        for (name, ttl) in [("part_url_ttl", self.part_url_ttl), ("download_url_ttl", self.download_url_ttl)] {
            if ttl < Duration::from_secs(1) || ttl > MAX_URL_TTL {
                return invalid(name, "1 second to 7 days");
            }
        }
        if self.cacheable_window < Duration::from_secs(60) || self.cacheable_window > Duration::from_secs(6 * 24 * 3600)
        {
            return invalid("cacheable_window", "1 minute to 6 days");
        }
        if self.upload_idle_ttl < Duration::from_secs(60) {
            return invalid("upload_idle_ttl", "at least 1 minute");
        }
        if self.upload_max_ttl < self.upload_idle_ttl || self.upload_max_ttl > Duration::from_secs(365 * 24 * 3600) {
            return invalid("upload_max_ttl", "at least upload_idle_ttl, at most 365 days");
        }
        if self.sweep_interval < Duration::from_secs(1) || self.sweep_interval > Duration::from_secs(24 * 3600) {
            return invalid("sweep_interval", "1 second to 1 day");
        }
        if !self.allowed_origins.iter().all(|origin| is_origin(origin)) {
            return invalid("allowed_origins", "exact origins such as https://app.example.com");
        }
        if self.allowed_hosts.iter().any(|host| host.is_empty() || host.contains(['/', '*', ' ', ':', '@'])) {
            return invalid("allowed_hosts", "host names without scheme, port or wildcard");
        }
        self.s3.check()?;
        if self.max_upload_life() < self.upload_idle_ttl {
            return invalid("upload_idle_ttl", "longer than this store keeps an open upload");
        }
        Ok(())
    }

    /// `sqlite://…` or `postgres://…`; may hold a password.
    pub fn database_url(&self) -> String {
        match &self.database_url {
            Some(url) => url.expose_secret().to_owned(),
            None => {
                let path = self.data_dir.join("partita.sqlite");
                format!("sqlite://{}", utf8_percent_encode(&path.to_string_lossy(), IN_PATH))
            }
        }
    }

    /// The SQLite file, if that is the database.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        let url = self.database_url();
        let path = url.strip_prefix("sqlite://")?;
        let path = percent_decode_str(path.split('?').next().unwrap_or(path));
        Some(PathBuf::from(path.decode_utf8_lossy().into_owned()))
    }

    /// Whether nothing but the defaults decides where data goes: SQLite and the embedded S3.
    pub fn is_zero_setup(&self) -> bool {
        self.s3.bucket.is_none() && self.database_url.is_none()
    }

    /// Whether `/` serves the demo.
    pub fn serves_demo(&self) -> bool {
        self.web_demo.unwrap_or(self.is_zero_setup())
    }

    /// The hard cap on an upload's life: the setting, kept below what the store allows.
    pub fn max_upload_life(&self) -> Duration {
        let store = self.s3.capabilities().upload_life;
        store.map_or(self.upload_max_ttl, |life| life.min(self.upload_max_ttl))
    }
}

impl S3 {
    fn check(&self) -> Result<(), Error> {
        let invalid = |name, reason: &str| Err(Error::Invalid { name, reason: reason.to_owned() });
        if let Some(bucket) = &self.bucket {
            let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(sound) {
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
        let prefix = self.prefix();
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/".contains(&byte);
        let is_path =
            prefix.starts_with('/') || prefix.contains("//") || prefix.split('/').any(|s| s == "." || s == "..");
        if !prefix.is_empty() && (!prefix.ends_with('/') || is_path || prefix.len() > 256 || !prefix.bytes().all(sound))
        {
            return invalid("s3.prefix", "letters, digits and - . _ / only, ending with /, not beginning with it");
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

/// Whether this is the exact origin of a page, such as `https://app.example.com`.
pub fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    !host.is_empty() && !host.contains(['/', '*', ' ', '?', '#', '@'])
}

/// The environment variable of a setting.
fn variable(name: &str) -> String {
    format!("PARTITA_{}", name.replace('.', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Settings, Error> {
        let find = |name: &str| environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::load(None, find, &[])
    }

    fn file(text: &str) -> Result<Settings, Error> {
        let path = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
        std::fs::write(path.path(), text).expect("written");
        Settings::load(Some(path.path()), |_| None, &[])
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let settings = load(&[]).expect("defaults");
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.embedded_s3.listen.to_string(), "127.0.0.1:9000");
        assert_eq!(settings.part_url_ttl, Duration::from_secs(900));
        assert_eq!(settings.upload_max_ttl, Duration::from_secs(518_400));
        assert!(settings.is_zero_setup() && settings.serves_demo());
        assert_eq!(settings.s3.capabilities().max_object_size, 53_687_091_200_000);
    }

    #[test]
    fn the_environment_reaches_every_setting() {
        let samples = |name: &str| match name {
            "listen" | "embedded_s3.listen" => "127.0.0.1:1",
            "s3.path_style" | "web_demo" => "true",
            "s3.capabilities.conditional_completion" | "s3.capabilities.object_size_check" => "true",
            "s3.store" => "garage",
            "s3.endpoint" | "s3.public_endpoint" | "allowed_origins" => "https://a.example",
            "s3.prefix" => "a/",
            "database_url" => "postgres://db/x",
            "s3.capabilities.max_object_size" => "1073741824",
            "s3.capabilities.full_object_checksum" => "none",
            "upload_max_ttl" | "s3.capabilities.upload_life" => "5d",
            name if name.ends_with("ttl") || name.ends_with("window") || name.ends_with("wait") => "2h",
            "sweep_interval" => "2h",
            _ => "abc",
        };
        let settings = Settings::load(
            None,
            |variable| {
                NAMES
                    .iter()
                    .find(|(name, _)| super::variable(name) == variable)
                    .map(|(name, _)| samples(name).to_owned())
            },
            &[],
        )
        .expect("settings");
        assert_eq!(settings.s3.store, StoreKind::Garage);
        assert_eq!(settings.s3.capabilities().max_object_size, 1 << 30);
        assert_eq!(settings.allowed_origins, ["https://a.example"]);
        assert_eq!(settings.max_upload_life(), Duration::from_secs(5 * 24 * 3600));
        assert!(!settings.is_zero_setup() && settings.serves_demo());
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let path = tempfile::NamedTempFile::with_suffix(".toml").expect("a file");
        std::fs::write(path.path(), "part_url_ttl = '1m'\ndownload_url_ttl = '1m'\ncomplete_wait = '1m'")
            .expect("written");
        let environment = |name: &str| match name {
            "PARTITA_DOWNLOAD_URL_TTL" | "PARTITA_COMPLETE_WAIT" => Some("2m".to_owned()),
            _ => None,
        };
        let settings =
            Settings::load(Some(path.path()), environment, &[("complete_wait", "3m".into())]).expect("settings");
        let minutes =
            [settings.part_url_ttl, settings.download_url_ttl, settings.complete_wait].map(|ttl| ttl.as_secs() / 60);
        assert_eq!(minutes, [1, 2, 3]);
    }

    #[test]
    fn unknown_keys_and_impossible_values_are_refused() {
        for text in [
            "lisen = '127.0.0.1:1'",
            "s3.buket = 'abc'",
            "listen = '0.0.0.0:8080'",
            "listen = '8080'",
            "embedded_s3.listen = '0.0.0.0:9000'",
            "embedded_s3.access_key = 'abc'",
            "database_url = 'mysql://db/x'",
            "database_url = 'sqlite::memory:'",
            "database_url = 'sqlite://'",
            "part_url_ttl = '8d'",
            "part_url_ttl = '0s'",
            "part_url_ttl = 900",
            "upload_max_ttl = '1h'",
            "sweep_interval = '0s'",
            "sweep_interval = '2d'",
            "allowed_origins = ['*']",
            "allowed_origins = ['null']",
            "allowed_origins = ['https://a.example/']",
            "allowed_hosts = ['*']",
            "s3.endpoint = 'https://a.example'",
            "s3.bucket = 'a b'",
            "s3.store = 'ceph'",
            "s3.prefix = '/a/'",
            "s3.prefix = 'a'",
            "s3.prefix = 'a/../b/'",
        ] {
            assert!(file(text).is_err(), "{text}");
        }
        assert!(Settings::load(Some(Path::new("/nowhere.toml")), |_| None, &[]).is_err(), "a named file must be there");
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings = load(&[
            ("PARTITA_DATABASE_URL", "postgres://me:hunter2@db/x"),
            ("PARTITA_EMBEDDED_S3_ACCESS_KEY", "abc"),
            ("PARTITA_EMBEDDED_S3_SECRET_KEY", "hunter2"),
        ])
        .expect("settings");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
