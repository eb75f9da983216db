//! Every setting: meaning, unit, default, danger. Read once, checked once.
//!
//! A TOML file, then the environment (`PARTITA_` and the setting's name, upper case, dots as underscores), then flags.
//! Unknown keys in the file are errors.

mod auth;
mod preset;
mod s3;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::builder::DefaultState;
use config::{ConfigBuilder, File, FileFormat, Value};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

pub use auth::{Auth, Jwt, JwtAlgorithm, Limits};
pub use preset::{DEFAULT_PRESET, Encryption, Preset};
pub use s3::{Capabilities, CapabilityOverrides, EmbeddedS3, FullObjectChecksum, S3, StoreKind};

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
    /// Where the service listens. TLS is for a proxy in front of it.
    pub listen: SocketAddr,
    /// Whether nobody is asked who they are: every caller is the one owner `local`, and may read, write and delete all
    /// there is. Default: only for the zero-setup start, on loopback, without tokens configured. Danger: with `true`, whoever
    /// reaches the port has everything.
    pub insecure_no_auth: Option<bool>,
    /// Who may call.
    pub auth: Auth,
    /// How much a caller, or an owner, may ask for.
    pub limits: Limits,
    /// Where `/metrics` is served when callers are asked who they are; then only there. Default: nowhere. Without auth it is
    /// on the service's own port.
    pub metrics_listen: Option<SocketAddr>,
    /// Named rules that clients choose from; `default` is for those who name none.
    pub preset: BTreeMap<String, Preset>,
    /// Folder of the SQLite file and of the embedded S3. Losing it loses both.
    pub data_dir: PathBuf,
    /// `sqlite://…` or `postgres://…`; may hold a password. Default: `partita.sqlite` in `data_dir`.
    pub database_url: Option<SecretString>,
    /// Connections to PostgreSQL that each replica opens at most; 2 to 1,000. Danger: all replicas together need them of the
    /// server, which refuses more than its `max_connections`. SQLite has one that writes and four that read.
    pub database_connections: u32,
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

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            insecure_no_auth: None,
            auth: Auth::default(),
            limits: Limits::default(),
            metrics_listen: None,
            preset: BTreeMap::new(),
            data_dir: PathBuf::from("./partita-data"),
            database_url: None,
            database_connections: 16,
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
const NAMES: [(&str, bool); 43] = [
    ("listen", false),
    ("insecure_no_auth", false),
    ("auth.jwt.algorithm", false),
    ("auth.jwt.secret", false),
    ("auth.jwt.secret_file", false),
    ("auth.jwt.jwks_file", false),
    ("auth.jwt.jwks_url", false),
    ("auth.jwt.issuer", false),
    ("auth.jwt.audience", false),
    ("auth.jwt.leeway", false),
    ("limits.requests_per_minute", false),
    ("limits.open_uploads", false),
    ("limits.bytes", false),
    ("metrics_listen", false),
    ("data_dir", false),
    ("database_url", false),
    ("database_connections", false),
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
        self.auth.check()?;
        if self.limits.open_uploads < 0 || self.limits.bytes < 0 {
            return invalid("limits", "0 for no limit, or more");
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
        if !(2..=1_000).contains(&self.database_connections) {
            return invalid("database_connections", "2 to 1,000");
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
        for (name, preset) in &self.preset {
            preset.check(name)?;
            let (idle, max) = (self.idle_ttl_of(preset), self.max_ttl_of(preset));
            if idle < Duration::from_secs(60) || max < idle {
                return invalid("preset.upload_max_ttl", "at least upload_idle_ttl, which is at least 1 minute");
            }
        }
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

    /// Whether nobody is asked who they are.
    pub fn is_without_auth(&self) -> bool {
        let by_default = self.is_zero_setup() && self.listen.ip().is_loopback() && self.auth.jwt.algorithm.is_none();
        self.insecure_no_auth.unwrap_or(by_default)
    }

    /// Whether `/` serves the demo.
    pub fn serves_demo(&self) -> bool {
        self.web_demo.unwrap_or(self.is_zero_setup())
    }

    /// Every preset by name; that of whoever names none is always among them.
    pub fn presets(&self) -> BTreeMap<String, Preset> {
        let mut presets = self.preset.clone();
        presets.entry(DEFAULT_PRESET.to_owned()).or_default();
        presets
    }

    /// The hard cap on an upload's life: the setting, kept below what the store allows.
    pub fn max_upload_life(&self) -> Duration {
        self.within_store(self.upload_max_ttl)
    }

    /// The same for uploads of this preset.
    pub fn max_ttl_of(&self, preset: &Preset) -> Duration {
        self.within_store(preset.upload_max_ttl.unwrap_or(self.upload_max_ttl))
    }

    /// How long uploads of this preset may be idle.
    pub fn idle_ttl_of(&self, preset: &Preset) -> Duration {
        preset.upload_idle_ttl.unwrap_or(self.upload_idle_ttl).min(self.max_ttl_of(preset))
    }

    fn within_store(&self, life: Duration) -> Duration {
        self.s3.capabilities().upload_life.map_or(life, |longest| longest.min(life))
    }
}

fn invalid<T>(name: &'static str, reason: &str) -> Result<T, Error> {
    Err(Error::Invalid { name, reason: reason.to_owned() })
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

    /// Settings that exclude one that is set.
    const EXCLUSIVE: [&str; 3] = ["auth.jwt.secret_file", "auth.jwt.jwks_file", "auth.jwt.jwks_url"];

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
            "insecure_no_auth" => "false",
            "auth.jwt.algorithm" => "HS256",
            "auth.jwt.secret" => "0123456789abcdef0123456789abcdef",
            "auth.jwt.leeway" => "1m",
            name if name.starts_with("limits.") || name == "database_connections" => "7",
            "metrics_listen" => "127.0.0.1:2",
            _ => "abc",
        };
        let settings = Settings::load(
            None,
            |variable| {
                NAMES
                    .iter()
                    .find(|(name, _)| super::variable(name) == variable && !EXCLUSIVE.contains(name))
                    .map(|(name, _)| samples(name).to_owned())
            },
            &[],
        )
        .expect("settings");
        assert_eq!((settings.limits.bytes, settings.is_without_auth()), (7, false));
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
            "limits.bytes = -1",
            "metrics_listen = 'x'",
            "auth.jwt.algorithm = 'none'",
            "auth.jwt.algorithm = 'HS256'",
            "auth.jwt = { algorithm = 'HS256', secret = 'short', issuer = 'a', audience = 'b' }",
            "auth.jwt = { algorithm = 'HS256', secret = '0123456789abcdef0123456789abcdef', issuer = 'a' }",
            "auth.jwt = { algorithm = 'HS256', jwks_file = 'x', issuer = 'a', audience = 'b' }",
            "auth.jwt = { algorithm = 'RS256', secret_file = 'x', issuer = 'a', audience = 'b' }",
            "auth.jwt = { algorithm = 'RS256', jwks_file = 'x', jwks_url = 'https://a', issuer = 'a', audience = 'b' }",
            "auth.jwt = { algorithm = 'ES256', jwks_url = 'http://a.example/', issuer = 'a', audience = 'b' }",
            "auth.jwt = { algorithm = 'ES256', jwks_url = 'http://localhost.evil.example/', issuer = 'a', audience = 'b' }",
            "auth.jwt = { algorithm = 'ES256', jwks_url = 'https://a', issuer = 'a', audience = 'b', leeway = '1h' }",
            "auth.jwt.issuer = 'a'",
            "preset.BIG.max_size = 1",
            "preset.a.max_size = -1",
            "preset.a.maxsize = 1",
            "preset.a.content_types = ['image']",
            "preset.a.content_types = ['*/*']",
            "preset.a.key = '{name}'",
            "preset.a.key = '{id}/{id}'",
            "preset.a.key = '{id}/{nmae}'",
            "preset.a.key = '{owner}-{id}'",
            "preset.a.key = '../{id}'",
            "preset.a.key = '/{id}'",
            "preset.a.bucket = 'a b'",
            "preset.a.prefix = 'a'",
            "preset.a.storage_class = 'standard'",
            "preset.a.encryption = 'aes'",
            "preset.a.kms_key_id = 'x'",
            "preset.a.tags = { a = '<' }",
            "preset.a.visibility = 'secret'",
            "preset.a.part_url_ttl = '8d'",
            "preset.a.part_checksum = 'MD5'",
            "preset.a = { upload_idle_ttl = '1s' }",
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
            "database_connections = 1",
            "database_connections = 1001",
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
    fn only_the_zero_setup_on_loopback_asks_nobody_who_they_are() {
        for (text, without_auth) in [
            ("", true),
            ("listen = '0.0.0.0:8080'", false),
            ("database_url = 'postgres://db/x'", false),
            ("s3.bucket = 'media'", false),
            ("auth.jwt = { algorithm = 'RS256', jwks_file = 'x', issuer = 'a', audience = 'b' }", false),
            ("insecure_no_auth = false", false),
            ("insecure_no_auth = true\nlisten = '0.0.0.0:8080'\ns3.bucket = 'media'", true),
        ] {
            assert_eq!(file(text).expect("settings").is_without_auth(), without_auth, "{text}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings = load(&[
            ("PARTITA_DATABASE_URL", "postgres://me:hunter2@db/x"),
            ("PARTITA_EMBEDDED_S3_ACCESS_KEY", "abc"),
            ("PARTITA_EMBEDDED_S3_SECRET_KEY", "hunter2"),
            ("PARTITA_AUTH_JWT_ALGORITHM", "HS256"),
            ("PARTITA_AUTH_JWT_SECRET", "hunter2hunter2hunter2hunter2hunter2"),
            ("PARTITA_AUTH_JWT_ISSUER", "a"),
            ("PARTITA_AUTH_JWT_AUDIENCE", "b"),
        ])
        .expect("settings");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
