//! Wiring: from settings to a running service, and back to silence. Tests build the very same.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use embedded_s3::{CorsRule, Credentials};
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::bucket::Bucket;
use crate::clock::Clock;
use crate::config::{S3, Settings};
use crate::coordinator::{Coordinator, Rules};
use crate::http::{self, Origins, Site};
use crate::store::{self, Store};

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
    /// The database lacks a step that this version needs.
    #[error("the database is not up to date: run `partita migrate` first")]
    NotMigrated,
}

impl From<store::Error> for StartError {
    fn from(error: store::Error) -> Self {
        // The innermost cause says what is wrong; those around it repeat it.
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        StartError::Database(cause.to_string().replace('\n', " "))
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
    /// In the order in which they stop: requests in flight may still need S3, so the service goes first.
    running: Vec<Running>,
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
    fn start<E>(serve: impl FnOnce(Stopped) -> Result<BoxFuture<'static, ()>, E>) -> Result<Running, E> {
        let (stop, mut stopping) = watch::channel(false);
        let stopped = async move {
            // An error means that the sender is gone, which is as good as told.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        let task = tokio::spawn(serve(Box::pin(stopped))?);
        Ok(Running { stop, task })
    }
}

type Stopped = BoxFuture<'static, ()>;

impl App {
    /// Starts everything that the settings ask for; when it returns, requests are served.
    ///
    /// # Errors
    /// Each tells in one line what is wrong; then nothing runs.
    pub async fn start(settings: &Settings) -> Result<App, StartError> {
        App::start_on(settings, None).await
    }

    /// The same with a bucket that is ready, whatever the settings and the environment say of it.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_with(settings: &Settings, bucket: Bucket) -> Result<App, StartError> {
        App::start_on(settings, Some(bucket)).await
    }

    async fn start_on(settings: &Settings, bucket: Option<Bucket>) -> Result<App, StartError> {
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
                let (bucket, address, running) = start_embedded_s3(settings, address).await?;
                (bucket, Some((address, running)))
            }
        };
        let site = Site {
            storage_origin: bucket.public_origin().to_owned(),
            coordinator: Coordinator::new(store.clone(), bucket, clock.clone(), Rules::from(settings)),
            origins: Origins::from(settings),
            demo: settings.serves_demo(),
        };
        let service = Running::start(|stopped| -> Result<_, StartError> {
            let unheard = |reason| StartError::Listen { address, setting: "listen", reason };
            let service = http::serve(listener, site, stopped).map_err(unheard)?;
            Ok(Box::pin(async move {
                if let Err(error) = service.await {
                    tracing::error!(%error, "the service stopped listening");
                }
            }))
        })?;
        let embedded_s3 = embedded.as_ref().map(|(address, _)| *address);
        let running = std::iter::once(service).chain(embedded.map(|(_, running)| running)).collect();
        Ok(App { address, embedded_s3, clock, store, running, _lock: lock })
    }

    /// Takes no more requests, answers those in flight, closes the database.
    pub async fn stop(self) {
        for Running { stop, task } in self.running {
            stop.send_replace(true);
            if task.await.is_err() {
                tracing::error!("a server ended in a panic");
            }
        }
        self.store.close().await;
    }
}

/// The ledger that the settings name.
///
/// # Errors
/// [`StartError::Database`] when it does not answer.
pub async fn open_store(settings: &Settings, clock: Clock) -> Result<Store, StartError> {
    Ok(Store::connect(&settings.database_url(), clock).await?)
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

async fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|reason| StartError::Listen { address, setting, reason })
}

fn local_address(listener: &TcpListener, asked: SocketAddr, setting: &'static str) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|reason| StartError::Listen { address: asked, setting, reason })
}

async fn start_embedded_s3(
    settings: &Settings,
    service: SocketAddr,
) -> Result<(Bucket, SocketAddr, Running), StartError> {
    let unusable = |reason| StartError::Folder { folder: settings.data_dir.clone(), reason };
    let listener = listen(settings.embedded_s3.listen, "embedded_s3.listen").await?;
    let address = local_address(&listener, settings.embedded_s3.listen, "embedded_s3.listen")?;
    std::fs::create_dir_all(&settings.data_dir).map_err(unusable)?;
    let keys = Keys::of(settings).map_err(unusable)?;
    let folder = settings.data_dir.join("s3");
    let origins = settings.allowed_origins.clone();
    let s3 = tokio::task::spawn_blocking(move || {
        let s3 = embedded_s3::Store::open(folder)?;
        s3.ensure_bucket(EMBEDDED_BUCKET)?;
        s3.set_cors(EMBEDDED_BUCKET, vec![cors(service, origins)])?;
        Ok(s3)
    });
    let s3 = s3.await.map_err(io::Error::other).flatten().map_err(|reason| match reason.kind() {
        io::ErrorKind::WouldBlock => StartError::Locked(settings.data_dir.clone()),
        _ => unusable(reason),
    })?;
    let credentials =
        Credentials { access_key: keys.access_key.clone(), secret_key: keys.secret_key.expose_secret().to_owned() };
    let running = Running::start(|stopped| -> Result<_, StartError> {
        Ok(Box::pin(async move {
            if let Err(error) = embedded_s3::serve(listener, s3, credentials, stopped).await {
                tracing::error!(%error, "the embedded S3 stopped");
            }
        }))
    })?;
    tracing::warn!(%address, "using the embedded S3: one folder on this machine, for trying and for tests");
    let s3 = S3 {
        endpoint: Some(format!("http://{address}")),
        path_style: true,
        region: Some("us-east-1".into()),
        public_endpoint: None,
        ..settings.s3.clone()
    };
    let bucket = Bucket::with_credentials(&s3, EMBEDDED_BUCKET, &keys.access_key, keys.secret_key.expose_secret());
    Ok((bucket, address, running))
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
