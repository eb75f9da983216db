//! Durable writes, and files that live as long as somebody needs them.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use serde::Serialize;
use uuid::Uuid;

/// Ending of files that were being written; recovery removes them.
pub(crate) const UNFINISHED: &str = "tmp";

/// A record written in full and durable, but not in its place yet. Dropped, it goes again.
pub(crate) struct PreparedRecord {
    unfinished: Option<PathBuf>,
    path: PathBuf,
}

impl PreparedRecord {
    /// Writes `value` as JSON beside `path`. All that can fail for want of space fails here.
    pub(crate) fn write<T: Serialize>(path: PathBuf, value: &T) -> io::Result<Self> {
        let unfinished = parent(&path)?.join(format!("{}.{UNFINISHED}", Uuid::new_v4().simple()));
        let mut file = File::create_new(&unfinished)?;
        let prepared = Self { unfinished: Some(unfinished), path };
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        Ok(prepared)
    }

    /// Puts the record in its place.
    ///
    /// When this returns `Ok` the record survives a power cut. If the power goes before that, or this fails, `path`
    /// holds the whole old record (or none, if there was none) or the whole new one: never half of one.
    pub(crate) fn commit(mut self) -> io::Result<()> {
        if let Some(unfinished) = &self.unfinished {
            fs::rename(unfinished, &self.path)?;
        }
        self.unfinished = None;
        sync_folder(parent(&self.path)?)
    }
}

impl Drop for PreparedRecord {
    fn drop(&mut self) {
        if let Some(unfinished) = &self.unfinished {
            // Only tidiness: recovery would remove it too.
            let _ = fs::remove_file(unfinished);
        }
    }
}

/// Puts `value` at `path` as JSON, durably; see [`PreparedRecord::commit`].
pub(crate) fn write_record<T: Serialize>(path: PathBuf, value: &T) -> io::Result<()> {
    PreparedRecord::write(path, value)?.commit()
}

/// Removes the record at `path`. When this returns `Ok` it stays removed after a power cut.
pub(crate) fn remove_record(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_folder(parent(path)?)
}

/// Makes the folder, and those around it as need be, durably.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let around = folder.parent().filter(|around| !around.as_os_str().is_empty());
    let around = around.unwrap_or(Path::new("."));
    create_folder(around)?;
    fs::create_dir(folder)?;
    sync_folder(around)
}

/// Makes the names in `folder` durable: files created, renamed or removed in it so far.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Windows has no such call; there the file system's own journal must do.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a record needs a folder"))
}

/// Removes files on a thread of its own, since unlinking the parts of a large object takes seconds.
/// What it has not removed when the process ends, recovery removes.
///
/// It also holds the folder's lock: whoever may still touch the folder has a clone, so nobody else opens it before
/// the last commit is over, even one whose client and server are gone.
#[derive(Clone)]
pub(crate) struct Reaper {
    doomed: mpsc::Sender<PathBuf>,
    _lock: Arc<File>,
}

impl Reaper {
    pub(crate) fn start(lock: File) -> io::Result<Self> {
        let (sender, doomed) = mpsc::channel();
        std::thread::Builder::new()
            .name("embedded-s3-reaper".to_owned())
            .spawn(move || doomed.into_iter().for_each(|path: PathBuf| reap(&path)))?;
        Ok(Self { doomed: sender, _lock: Arc::new(lock) })
    }

    pub(crate) fn remove(&self, path: PathBuf) {
        // The thread outlives every sender, so this cannot fail before the process ends.
        let _ = self.doomed.send(path);
    }
}

fn reap(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a file nobody needs could not be removed");
    }
}

/// A path that is removed when the last user lets go of it, unless it was kept.
///
/// Readers of an object hold its files, so an object overwritten or deleted in the middle of a download
/// is still read to its end.
pub(crate) struct Claimed {
    path: PathBuf,
    kept: AtomicBool,
    reaper: Reaper,
    /// The folder around it, which must not go first.
    _within: Option<Arc<Claimed>>,
}

impl Claimed {
    /// A path something on disk refers to.
    pub(crate) fn kept(path: PathBuf, reaper: &Reaper, within: Option<Arc<Claimed>>) -> Arc<Self> {
        Arc::new(Self { path, kept: AtomicBool::new(true), reaper: reaper.clone(), _within: within })
    }

    /// A path nothing refers to yet.
    pub(crate) fn unclaimed(path: PathBuf, reaper: &Reaper, within: Option<Arc<Claimed>>) -> Arc<Self> {
        Arc::new(Self { path, kept: AtomicBool::new(false), reaper: reaper.clone(), _within: within })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Something on disk refers to it from here on.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Release);
    }

    /// Nothing on disk refers to it any more.
    pub(crate) fn discard(&self) {
        self.kept.store(false, Ordering::Release);
    }

    /// Discards those that are not among `kept`.
    pub(crate) fn discard_all_but<'a>(kept: &[Arc<Self>], all: impl IntoIterator<Item = &'a Arc<Self>>) {
        let kept: HashSet<_> = kept.iter().map(Arc::as_ptr).collect();
        for path in all.into_iter().filter(|path| !kept.contains(&Arc::as_ptr(path))) {
            path.discard();
        }
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if !*self.kept.get_mut() {
            self.reaper.remove(std::mem::take(&mut self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_replaced_whole_and_leaves_no_unfinished_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        write_record(path.clone(), &"first").unwrap();
        write_record(path.clone(), &"second").unwrap();
        drop(PreparedRecord::write(path.clone(), &"third").unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "\"second\"");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        remove_record(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_discarded_file_goes_with_its_last_reader_and_a_kept_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let reaper = Reaper::start(File::create(folder.path().join("lock")).unwrap()).unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "x").unwrap();
        let file = Claimed::unclaimed(path.clone(), &reaper, None);
        let reader = Arc::clone(&file);
        file.keep();
        file.discard();
        drop(file);
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(path.exists(), "a reader still has it");
        drop(reader);
        for _ in 0..100 {
            if !path.exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        assert!(!path.exists());

        fs::write(&path, "y").unwrap();
        drop(Claimed::kept(path.clone(), &reaper, None));
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(path.exists());
    }
}
