//! Wiring: from settings to a running service, and back to silence. Tests build the very same.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use embedded_s3::{CorsRule, Credentials};
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Gate;
use crate::bucket::{self, Bucket};
use crate::clock::Clock;
use crate::config::{self, S3, Settings};
use crate::coordinator::{self, Coordinator};
use crate::http::{self, Guard, Origins, Site};
use crate::store::{self, Store};
use crate::sweeper::{self, Swept};
use crate::telemetry::Metrics;

/// How long work in flight is given when the service stops; what is left then is gone on with by whoever sweeps next.
const DRAIN: Duration = Duration::from_secs(25);

/// The bucket of the embedded S3.
const EMBEDDED_BUCKET: &str = "partita";

/// Why the service did not start, in one line.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another program has the port.
    #[error("cannot listen on {address} (setting {setting}): {reason}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The setting that says so.
        setting: &'static str,
        /// Why not.
        reason: io::Error,
    },
    /// The folder cannot be used.
    #[error("cannot use the folder {} (setting data_dir): {reason}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why not.
        reason: io::Error,
    },
    /// Another process has the SQLite file, or the folder of the embedded S3.
    #[error("another partita is running on {}", .0.display())]
    Locked(PathBuf),
    /// The database cannot be used.
    #[error("cannot use the database: {0}")]
    Database(String),
    /// A secret or a key set that the settings name cannot be used.
    #[error(transparent)]
    Settings(#[from] config::Error),
    /// The database lacks a step that this version needs.
    #[error("the database is not up to date: run `partita migrate` first")]
    NotMigrated,
}

impl From<store::Error> for StartError {
    fn from(error: store::Error) -> Self {
        StartError::Database(bucket::in_one_line(&error))
    }
}

/// A running service. Dropping it does not stop it: [`App::stop`] does.
#[derive(Debug)]
pub struct App {
    /// Where the service listens.
    pub address: SocketAddr,
    /// Where the embedded S3 listens, if it is used.
    pub embedded_s3: Option<SocketAddr>,
    /// Moves its time, in tests.
    pub clock: Clock,
    store: Store,
    coordinator: Coordinator,
    draining: Arc<AtomicBool>,
    service: Running,
    /// Where `/metrics` has a listener of its own.
    metrics: Option<Running>,
    sweeper: Running,
    upkeep: Running,
    embedded: Option<EmbeddedS3>,
    _lock: Option<File>,
}

/// A server in a task of its own.
#[derive(Debug)]
struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    /// Runs what `serve` makes of a future that resolves when it is to stop.
    fn start<F>(serve: impl FnOnce(Stopped) -> F) -> Running
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, mut stopping) = watch::channel(false);
        let stopped = async move {
            // An error means that the sender is gone, which is as good as told.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        let task = tokio::spawn(serve(Box::pin(stopped)));
        Running { stop, task }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        if self.task.await.is_err() {
            tracing::error!("a server ended in a panic");
        }
    }
}

type Stopped = BoxFuture<'static, ()>;

/// The S3 inside this process.
#[derive(Debug)]
pub struct EmbeddedS3 {
    /// Where it listens.
    pub address: SocketAddr,
    running: Running,
}

impl EmbeddedS3 {
    /// Answers what is in flight and ends.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

impl App {
    /// Starts everything that the settings ask for; when it returns, requests are served.
    ///
    /// # Errors
    /// Each tells in one line what is wrong; then nothing runs.
    pub async fn start(settings: &Settings) -> Result<App, StartError> {
        App::start_on(settings, None).await
    }

    /// As [`App::start`], on a bucket that is reached already, whatever the settings say of it.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_with(settings: &Settings, bucket: Bucket) -> Result<App, StartError> {
        App::start_on(settings, Some(bucket)).await
    }

    async fn start_on(settings: &Settings, bucket: Option<Bucket>) -> Result<App, StartError> {
        let metrics = Metrics::start();
        let measured = metrics.clone();
        let clock = Clock::default();
        let listener = listen(settings.listen, "listen").await?;
        let address = local_address(&listener, settings.listen, "listen")?;
        let lock = lock(settings)?;
        let store = open_store(settings, clock.clone()).await?;
        if store.is_sqlite() {
            store.migrate().await?;
        } else if !store.is_ready().await? {
            return Err(StartError::NotMigrated);
        }
        let (bucket, embedded) = match (bucket, &settings.s3.bucket) {
            (Some(bucket), _) => (bucket, None),
            (None, Some(name)) => (Bucket::connect(&settings.s3, name).await, None),
            (None, None) => {
                let (bucket, embedded) =
                    start_embedded_s3(settings, settings.embedded_s3.listen, Some(address)).await?;
                (bucket, Some(embedded))
            }
        };
        let gate = Gate::of(settings, store.clone(), clock.clone()).await?;
        let storage_origin = bucket.public_origin().to_owned();
        let coordinator = Coordinator::new(store.clone(), bucket, clock.clone(), settings);
        let draining = Arc::new(AtomicBool::new(false));
        let site = Site {
            storage_origin,
            coordinator: coordinator.clone(),
            origins: Origins::from(settings),
            guard: Guard::new(gate, &settings.limits),
            demo: settings.serves_demo(),
            metrics: metrics.clone(),
            draining: draining.clone(),
        };
        let service = Running::start(|stopped| http::serve(listener, site, stopped));
        let apart = match settings.metrics_listen.filter(|_| !settings.is_without_auth()) {
            Some(address) => Some(start_metrics(address, coordinator.clone(), metrics).await?),
            None => None,
        };
        let (swept, interval) = (coordinator.clone(), settings.sweep_interval);
        let sweeper = Running::start(|stopped| sweeper::run(swept, interval, stopped));
        let upkeep = Running::start(|stopped| measured.keep_up(stopped));
        let embedded_s3 = embedded.as_ref().map(|embedded| embedded.address);
        Ok(App {
            address,
            embedded_s3,
            clock,
            store,
            coordinator,
            draining,
            service,
            metrics: apart,
            sweeper,
            upkeep,
            embedded,
            _lock: lock,
        })
    }

    /// Settles all that is due, at once rather than at the sweeper's next turn.
    ///
    /// # Errors
    /// When the ledger does not answer, or is not to be trusted.
    pub async fn sweep(&self) -> Result<Swept, coordinator::Error> {
        sweeper::sweep(&self.coordinator).await
    }

    /// Is not ready any more, takes no more requests, answers those in flight, finishes what they began, closes the
    /// database: within half a minute.
    pub async fn stop(self) {
        let deadline = Instant::now() + DRAIN;
        self.draining.store(true, Ordering::Relaxed);
        self.sweeper.stop().await;
        self.upkeep.stop().await;
        self.service.stop().await;
        if let Some(metrics) = self.metrics {
            metrics.stop().await;
        }
        if !self.coordinator.drain(deadline.saturating_duration_since(Instant::now())).await {
            tracing::warn!("work in flight is left to the next sweep");
        }
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
        self.store.close().await;
    }
}

/// The ledger that the settings name.
///
/// # Errors
/// [`StartError::Database`] when it does not answer.
pub async fn open_store(settings: &Settings, clock: Clock) -> Result<Store, StartError> {
    Ok(Store::connect(&settings.database_url(), settings.database_connections, clock).await?)
}

/// The same for a verb that runs beside the service or without it, and brings nothing up to date.
///
/// # Errors
/// [`StartError::Database`], and [`StartError::NotMigrated`] when it is not up to date.
pub async fn open_ready_store(settings: &Settings) -> Result<Store, StartError> {
    let store = open_store(settings, Clock::default()).await?;
    if store.is_ready().await? { Ok(store) } else { Err(StartError::NotMigrated) }
}

/// The bucket that the settings name, for a verb that runs beside the service or without it. The embedded S3 is started
/// for it, unless a running service has it already; then that one is used.
///
/// # Errors
/// When the embedded S3 can be neither started nor found.
pub async fn open_bucket(settings: &Settings) -> Result<(Bucket, Option<EmbeddedS3>), StartError> {
    if let Some(name) = &settings.s3.bucket {
        return Ok((Bucket::connect(&settings.s3, name).await, None));
    }
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    match start_embedded_s3(settings, any_port, None).await {
        Ok((bucket, embedded)) => Ok((bucket, Some(embedded))),
        Err(StartError::Locked(_)) => {
            let unusable = |reason| StartError::Folder { folder: settings.data_dir.clone(), reason };
            let keys = Keys::of(settings).map_err(unusable)?;
            Ok((embedded_bucket(settings, settings.embedded_s3.listen, &keys), None))
        }
        Err(error) => Err(error),
    }
}

/// The coordinator that the settings make, without a service around it.
///
/// # Errors
/// When the database or the bucket cannot be opened, or the database is not up to date.
pub async fn open_coordinator(settings: &Settings) -> Result<(Coordinator, Option<EmbeddedS3>), StartError> {
    let store = open_ready_store(settings).await?;
    let (bucket, embedded) = open_bucket(settings).await?;
    Ok((Coordinator::new(store, bucket, Clock::default(), settings), embedded))
}

/// Takes the SQLite file for this process alone, until the returned file is dropped; `None` on PostgreSQL, which any number
/// of processes share.
///
/// # Errors
/// [`StartError::Locked`] while another process has it, [`StartError::Folder`] when its folder cannot be written.
pub fn lock(settings: &Settings) -> Result<Option<File>, StartError> {
    let Some(database) = settings.sqlite_file() else {
        return Ok(None);
    };
    // By whatever name it is called.
    let database = database.canonicalize().unwrap_or(database);
    let folder = database.parent().unwrap_or(Path::new(".")).to_owned();
    let unusable = |reason| StartError::Folder { folder: folder.clone(), reason };
    std::fs::create_dir_all(&folder).map_err(unusable)?;
    let mut path = database.clone().into_os_string();
    path.push(".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(StartError::Locked(database)),
        Err(TryLockError::Error(reason)) => Err(unusable(reason)),
    }
}

async fn start_metrics(address: SocketAddr, coordinator: Coordinator, metrics: Metrics) -> Result<Running, StartError> {
    let listener = listen(address, "metrics_listen").await?;
    Ok(Running::start(|stopped| http::serve_metrics(listener, coordinator, metrics, stopped)))
}

async fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|reason| StartError::Listen { address, setting, reason })
}

fn local_address(listener: &TcpListener, asked: SocketAddr, setting: &'static str) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|reason| StartError::Listen { address: asked, setting, reason })
}

/// Starts it at `wanted`; pages of `service` may talk to it from then on.
async fn start_embedded_s3(
    settings: &Settings,
    wanted: SocketAddr,
    service: Option<SocketAddr>,
) -> Result<(Bucket, EmbeddedS3), StartError> {
    let unusable = |reason| StartError::Folder { folder: settings.data_dir.clone(), reason };
    let listener = listen(wanted, "embedded_s3.listen").await?;
    let address = local_address(&listener, wanted, "embedded_s3.listen")?;
    std::fs::create_dir_all(&settings.data_dir).map_err(unusable)?;
    let keys = Keys::of(settings).map_err(unusable)?;
    let folder = settings.data_dir.join("s3");
    let origins = settings.allowed_origins.clone();
    let named = settings.preset.values().filter_map(|preset| preset.bucket.clone());
    let buckets: Vec<String> = std::iter::once(EMBEDDED_BUCKET.to_owned()).chain(named).collect();
    let s3 = tokio::task::spawn_blocking(move || {
        let s3 = embedded_s3::Store::open(folder)?;
        for bucket in buckets {
            s3.ensure_bucket(&bucket)?;
            if let Some(service) = service {
                s3.set_cors(&bucket, vec![cors(service, origins.clone())])?;
            }
        }
        Ok(s3)
    });
    let s3 = s3.await.map_err(io::Error::other).flatten().map_err(|reason| match reason.kind() {
        io::ErrorKind::WouldBlock => StartError::Locked(settings.data_dir.clone()),
        _ => unusable(reason),
    })?;
    let credentials =
        Credentials { access_key: keys.access_key.clone(), secret_key: keys.secret_key.expose_secret().to_owned() };
    let running = Running::start(|stopped| async {
        if let Err(error) = embedded_s3::serve(listener, s3, credentials, stopped).await {
            tracing::error!(%error, "the embedded S3 stopped");
        }
    });
    if service.is_some() {
        tracing::warn!(%address, "using the embedded S3: one folder on this machine, for trying and for tests");
    }
    Ok((embedded_bucket(settings, address, &keys), EmbeddedS3 { address, running }))
}

fn embedded_bucket(settings: &Settings, address: SocketAddr, keys: &Keys) -> Bucket {
    let s3 = S3 {
        endpoint: Some(format!("http://{address}")),
        path_style: true,
        region: Some("us-east-1".into()),
        public_endpoint: None,
        ..settings.s3.clone()
    };
    Bucket::with_credentials(&s3, EMBEDDED_BUCKET, &keys.access_key, keys.secret_key.expose_secret())
}

/// Lets pages of the service itself, and of the allowed origins, talk to the embedded S3.
fn cors(service: SocketAddr, mut origins: Vec<String>) -> CorsRule {
    let port = service.port();
    origins.extend([
        format!("http://{service}"),
        format!("http://localhost:{port}"),
        format!("http://127.0.0.1:{port}"),
    ]);
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    CorsRule {
        allowed_origins: origins,
        allowed_methods: texts(&["PUT", "GET", "HEAD"]),
        allowed_headers: texts(&["content-type", "range", "x-amz-checksum-*"]),
        expose_headers: texts(&["ETag", "x-amz-checksum-crc64nvme", "x-amz-checksum-crc32c", "x-amz-checksum-sha256"]),
        max_age_seconds: Some(3600),
    }
}

/// The keys of the embedded S3.
#[derive(Debug)]
struct Keys {
    access_key: String,
    secret_key: SecretString,
}

#[derive(Serialize, Deserialize)]
struct StoredKeys {
    access_key: String,
    secret_key: String,
}

impl Keys {
    /// Those of the settings, else those of an earlier start, else new ones, kept in the folder for its owner alone.
    fn of(settings: &Settings) -> io::Result<Keys> {
        if let (Some(access_key), Some(secret_key)) =
            (&settings.embedded_s3.access_key, &settings.embedded_s3.secret_key)
        {
            return Ok(Keys { access_key: access_key.clone(), secret_key: secret_key.clone() });
        }
        let path = settings.data_dir.join("embedded-s3-keys.json");
        let stored = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let stored = StoredKeys { access_key: random(10)?, secret_key: random(20)? };
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true);
                #[cfg(unix)]
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
                // Written beside and renamed, so that a crash leaves no half a file.
                let draft = path.with_extension("draft");
                let mut file = options.open(&draft)?;
                file.write_all(&serde_json::to_vec(&stored)?)?;
                file.sync_all()?;
                std::fs::rename(draft, &path)?;
                stored
            }
            Err(error) => return Err(error),
        };
        Ok(Keys { access_key: stored.access_key, secret_key: stored.secret_key.into() })
    }
}

/// Hex digits of this many random bytes.
fn random(bytes: usize) -> io::Result<String> {
    let mut buffer = vec![0; bytes];
    getrandom::fill(&mut buffer).map_err(io::Error::other)?;
    Ok(hex::encode(buffer))
}
