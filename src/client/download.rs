//! A file from S3 to here, in one piece whatever happens on the way.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use crc_fast::{CrcAlgorithm, Digest};
use tokio_util::sync::CancellationToken;

use super::retry::{REFUSALS, persist};
use super::source::base64;
use super::{Error, Event, FileEntry, Kind, Service, Store, Watch};

/// Where the bytes go.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A file. Until it is whole it is called `.ID.partial`, and what is there of it need not be fetched again.
    File {
        /// Where it is to be.
        path: PathBuf,
        /// Whether it may take the place of another.
        may_replace: bool,
    },
    /// Standard output.
    Output,
}

/// Fetches a file, from where an earlier run left off. Answers whether its bytes were compared with its checksum.
///
/// # Errors
/// `checksum-mismatch` when the bytes are not those that were stored: then nothing is left at the destination.
pub async fn download(
    service: &Service,
    store: &Store,
    file: &FileEntry,
    to: &Destination,
    watch: &Arc<dyn Watch>,
    stop: &CancellationToken,
    patience: Duration,
) -> Result<bool, Error> {
    let mut sink = Sink::open(to, file).map_err(|cause| unwritable(to, &cause))?;
    watch.tell(Event::Begun { id: file.id, is_resumed: sink.length > 0, held: sink.length });
    let id = file.id.to_string();
    let size = file.size.unsigned_abs();
    while sink.length < size {
        // Each try goes on where the last one ended, so one that brought something counts as none.
        let (before, refusals) = (sink.length, Cell::new(0));
        let sink = tokio::sync::Mutex::new(&mut sink);
        let try_once = || async {
            let mut sink = sink.lock().await;
            let link = service.download_url(&id, None).await?.known;
            let got = store.get(&link.url, sink.length, &file.etag).await;
            let (mut response, mut before) = got.map_err(|mut error| {
                // A fresh URL that is refused again and again is refused for good.
                refusals.set(refusals.get() + u32::from(error.code == "url-refused"));
                if refusals.get() > REFUSALS {
                    error.kind = Kind::NotFound;
                }
                error
            })?;
            while let Some(mut bytes) = store.next(&mut response).await? {
                // Bytes that are here already.
                let known = before.min(bytes.len() as u64);
                bytes.advance(known as usize);
                before -= known;
                if sink.length + bytes.len() as u64 > size {
                    return Err(Error::new(
                        Kind::Integrity,
                        "checksum-mismatch",
                        "S3 sends more bytes than the file has",
                    ));
                }
                sink.write(&bytes).map_err(|cause| unwritable(to, &cause))?;
                watch.tell(Event::Moved(bytes.len() as u64));
            }
            Ok::<(), Error>(())
        };
        let fetching = persist(patience, try_once, |error, pause| watch.tell(Event::Retry { error, pause }));
        tokio::select! {
            outcome = fetching => outcome?,
            () = stop.cancelled() => return Err(Error::interrupted()),
        }
        if sink.into_inner().length == before {
            return Err(Error::new(Kind::Integrity, "file-changed", "S3 holds fewer bytes than the file has"));
        }
    }
    let stored = file.checksum.as_ref().filter(|stored| stored.algorithm == "CRC64NVME");
    let is_whole = sink.length == file.size.unsigned_abs();
    let differs = stored.is_some_and(|stored| stored.value != base64(sink.sum.finalize()));
    if differs || !is_whole {
        sink.discard();
        return Err(Error::new(
            Kind::Integrity,
            "checksum-mismatch",
            "the bytes that came are not those that were stored",
        ));
    }
    sink.finish().map_err(|cause| unwritable(to, &cause))?;
    Ok(stored.is_some())
}

/// What has come so far, and its CRC64NVME.
struct Sink {
    out: Out,
    length: u64,
    sum: Digest,
}

enum Out {
    File {
        file: std::fs::File,
        partial: PathBuf,
        path: PathBuf,
        may_replace: bool,
    },
    /// A pipe or a device, whose place no file is to take.
    Special(std::fs::File),
    Output(io::Stdout),
}

impl Sink {
    fn open(to: &Destination, wanted: &FileEntry) -> io::Result<Sink> {
        let sum = Digest::new(CrcAlgorithm::Crc64Nvme);
        let (path, may_replace) = match to {
            Destination::Output => return Ok(Sink { out: Out::Output(io::stdout()), length: 0, sum }),
            Destination::File { path, may_replace } => (path.clone(), *may_replace),
        };
        if std::fs::metadata(&path).is_ok_and(|there| !there.is_file()) {
            let file = std::fs::OpenOptions::new().write(true).open(&path)?;
            return Ok(Sink { out: Out::Special(file), length: 0, sum });
        }
        let partial = partial_of(&path, wanted);
        let file = std::fs::OpenOptions::new().read(true).append(true).create(true).open(&partial)?;
        // Two that append to one file would make a third of it. The lock ends with the process.
        file.try_lock().map_err(|_| io::Error::other("another download of it is at work"))?;
        let mut sink = Sink { out: Out::File { file, partial, path, may_replace }, length: 0, sum };
        sink.take_in_what_is_there(wanted.size.unsigned_abs())?;
        Ok(sink)
    }

    fn take_in_what_is_there(&mut self, size: u64) -> io::Result<()> {
        let Out::File { file, .. } = &mut self.out else { return Ok(()) };
        if file.metadata()?.len() > size {
            file.set_len(0)?;
        }
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                count => {
                    self.sum.update(&buffer[..count]);
                    self.length += count as u64;
                }
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.out {
            Out::File { file, .. } | Out::Special(file) => file.write_all(bytes)?,
            Out::Output(output) => output.write_all(bytes)?,
        }
        self.sum.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        match self.out {
            Out::File { file, partial, path, may_replace } => {
                if file.metadata()?.len() != self.length {
                    return Err(io::Error::other("somebody else has written to it"));
                }
                file.sync_all()?;
                take_place(&partial, &path, may_replace)
            }
            Out::Special(mut file) => file.flush(),
            Out::Output(mut output) => output.flush(),
        }
    }

    fn discard(self) {
        if let Out::File { partial, .. } = self.out {
            let _ = std::fs::remove_file(partial);
        }
    }
}

/// Gives a file its name. What came to be there meanwhile is left alone unless it may be replaced.
fn take_place(partial: &Path, path: &Path, may_replace: bool) -> io::Result<()> {
    if may_replace {
        return std::fs::rename(partial, path);
    }
    match std::fs::hard_link(partial, path) {
        Ok(()) => std::fs::remove_file(partial),
        // Not every file system has links.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => std::fs::rename(partial, path),
        Err(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
    }
}

/// Named for the file's id alone, so that the beginning of one is never taken for that of another, and no name is too long.
fn partial_of(path: &Path, wanted: &FileEntry) -> PathBuf {
    path.with_file_name(format!(".{}.partial", wanted.id))
}

fn unwritable(to: &Destination, cause: &io::Error) -> Error {
    let name = match to {
        Destination::File { path, .. } => path.display().to_string(),
        Destination::Output => "standard output".to_owned(),
    };
    Error::new(Kind::Refused, "file-unwritable", format!("{name} cannot be written: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_to_be_there_meanwhile_is_replaced_only_if_it_may_be() {
        let folder = tempfile::tempdir().expect("a folder");
        let (partial, path) = (folder.path().join(".partial"), folder.path().join("film.mov"));
        let write = |path: &Path, text: &str| std::fs::write(path, text).expect("written");
        let read = || std::fs::read_to_string(&path).expect("read");
        write(&partial, "first");
        take_place(&partial, &path, false).expect("nothing is there");
        assert_eq!((read().as_str(), partial.exists()), ("first", false));
        write(&partial, "second");
        let error = take_place(&partial, &path, false).expect_err("something is there");
        assert_eq!((error.kind(), read().as_str()), (io::ErrorKind::AlreadyExists, "first"));
        take_place(&partial, &path, true).expect("it may be replaced");
        assert_eq!((read().as_str(), partial.exists()), ("second", false));
    }
}
