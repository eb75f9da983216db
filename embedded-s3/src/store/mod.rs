//! The folder behind the server: every bucket, object, open upload and part.
//!
//! ```text
//! DIR/lock                                 held by the one process that has the folder open
//! DIR/buckets/<uuid>/bucket.json           a bucket: its name, CORS and lifecycle rules
//! DIR/buckets/<uuid>/objects/<hash>.json   an object; the hash is the SHA-256 of its key
//! DIR/buckets/<uuid>/uploads/<id>.json     an open multipart upload
//! DIR/buckets/<uuid>/parts/<id>.<n>.json   part n of upload <id>
//! DIR/buckets/<uuid>/parts/<uuid>.bin      the bytes of a part, or of an object that was put whole
//! ```
//!
//! A `.json` file is a record. Putting one in place (write, fsync, rename, fsync of the folder) is what commits
//! an operation; the bytes it speaks of are made durable before it. An object is a *list* of `.bin` files, so
//! completing an upload moves no bytes. Bucket names and keys never become paths.
//!
//! All records are also held in memory, rebuilt by [`Store::open`], which sweeps what no record speaks of.
//!
//! Methods here block on the disk; async callers go through [`blocking`]. That also means a commit once begun
//! runs to its end even if the client that asked for it has gone: disk and memory cannot part.

mod bucket;
mod disk;
mod locks;
mod records;
mod recovery;

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use s3s::{S3Error, S3Result, s3_error};

pub(crate) use bucket::{Bucket, Object, StoredPart, Upload};
pub(crate) use disk::Claimed;
pub(crate) use records::*;

use crate::cors::{self, CorsRule};
use disk::Reaper;

/// How long [`Store::open`] waits for a folder that another process, or an earlier store in this one, is letting go.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// A folder of buckets. Cloning is cheap and gives another handle to the same folder.
///
/// # Guarantees
///
/// Whatever was acknowledged (a bucket, an open upload, a part, an object, a deletion, CORS rules) is there again
/// when the folder is opened after the process was killed or the power failed. What was not acknowledged is
/// either there whole or not at all.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    folder: PathBuf,
    reaper: Reaper,
    buckets: RwLock<BTreeMap<String, Arc<Bucket>>>,
    /// Held while a bucket is made or removed, so that a name is never made twice.
    bucket_changes: Mutex<()>,
}

impl Store {
    /// Opens the folder, making it if need be, and reads all its records; files no record speaks of are removed.
    ///
    /// Blocks on the disk, and for up to three seconds while the folder is still open elsewhere.
    ///
    /// # Errors
    ///
    /// Fails if the folder cannot be read or written, if another process has it open
    /// ([`io::ErrorKind::WouldBlock`]), or if a record cannot be understood ([`io::ErrorKind::InvalidData`], naming
    /// the file): nothing is swept then.
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let folder = dir.into();
        disk::create_folder(&folder.join("buckets"))?;
        let reaper = Reaper::start(lock(&folder)?)?;
        let buckets = recovery::read_buckets(&folder.join("buckets"), &reaper)?;
        Ok(Self {
            inner: Arc::new(Inner { folder, reaper, buckets: RwLock::new(buckets), bucket_changes: Mutex::new(()) }),
        })
    }

    /// Makes the bucket unless it exists. It survives a power cut once this has returned.
    ///
    /// Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for a name S3 does not allow (3 to 63 lower-case letters, digits, dots and
    /// hyphens), or whatever writing the folder failed with.
    pub fn ensure_bucket(&self, name: &str) -> io::Result<()> {
        if !s3s::path::check_bucket_name(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("S3 allows no bucket named {name:?}")));
        }
        self.create_bucket(name).map(drop)
    }

    /// Replaces the bucket's CORS rules; an empty list means the bucket answers no cross-origin request.
    ///
    /// Blocks on the disk. The rules apply from the next request on and survive a power cut.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is no such bucket, [`io::ErrorKind::InvalidInput`] for rules S3 would
    /// refuse (see [`CorsRule`]), or whatever writing the folder failed with.
    pub fn set_cors(&self, bucket: &str, rules: Vec<CorsRule>) -> io::Result<()> {
        cors::validate(&rules).map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
        let Some(bucket) = self.find_bucket(bucket) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no bucket {bucket:?}")));
        };
        bucket.change_record(|record| record.cors = rules)
    }

    /// Makes the bucket; `false` if it was there already.
    pub(crate) fn create_bucket(&self, name: &str) -> io::Result<bool> {
        let _changing = self.inner.bucket_changes.lock().unwrap_or_else(PoisonError::into_inner);
        if self.find_bucket(name).is_some() {
            return Ok(false);
        }
        let bucket = Bucket::create(&self.inner.folder.join("buckets"), name, &self.inner.reaper)?;
        write(&self.inner.buckets).insert(name.to_owned(), Arc::new(bucket));
        Ok(true)
    }

    pub(crate) fn delete_bucket(&self, name: &str) -> S3Result<()> {
        let _changing = self.inner.bucket_changes.lock().unwrap_or_else(PoisonError::into_inner);
        self.bucket(name)?.remove_if_empty()?;
        write(&self.inner.buckets).remove(name);
        Ok(())
    }

    pub(crate) fn find_bucket(&self, name: &str) -> Option<Arc<Bucket>> {
        read(&self.inner.buckets).get(name).cloned()
    }

    pub(crate) fn bucket(&self, name: &str) -> S3Result<Arc<Bucket>> {
        self.find_bucket(name).ok_or_else(|| s3_error!(NoSuchBucket))
    }

    pub(crate) fn buckets(&self) -> Vec<Arc<Bucket>> {
        read(&self.inner.buckets).values().cloned().collect()
    }
}

/// Takes the folder's lock, which the system releases when the process ends, however it ends.
fn lock(folder: &Path) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => {
                let message = format!("{} is open in another process", folder.display());
                return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
            }
        }
    }
}

/// Runs disk work away from the async threads, to its end even if the caller is dropped.
pub(crate) async fn blocking<T, F>(work: F) -> S3Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> S3Result<T> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(S3Error::internal_error(error)),
    }
}

/// A failure of the disk, as the client sees it.
pub(crate) fn disk_error(error: io::Error) -> S3Error {
    S3Error::internal_error(error)
}

/// A panic elsewhere does not spoil what these locks guard: every change under them is a single insertion or removal.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
