//! Where bytes come from.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::{Error, Kind};
use crate::upload::Algorithm;

/// Bytes that are read and sent in one go: enough for a system call to cost nothing, little enough to stay in the CPU's cache
/// between being read, summed and sent.
const CHUNK: u64 = 256 << 10;
/// Chunks of a part that wait to be sent.
const AHEAD: usize = 2;

/// A regular file, opened once: what is read is this file, whatever becomes of its name.
#[derive(Debug, Clone)]
pub struct File {
    file: Arc<std::fs::File>,
    path: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
}

impl File {
    /// # Errors
    /// When it cannot be opened, or is not a regular file.
    pub fn open(path: &Path) -> io::Result<File> {
        let file = std::fs::File::open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let (size, modified) = (about.len(), about.modified().ok());
        Ok(File { file: Arc::new(file), path: path.to_owned(), size, modified })
    }

    /// Bytes, when it was opened.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// As it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has the size and the time of change still that it was opened with.
    pub(super) fn is_unchanged(&self) -> io::Result<bool> {
        let about = self.file.metadata()?;
        Ok(about.len() == self.size && about.modified().ok() == self.modified)
    }

    /// Hands on `length` bytes from `at`, piece by piece.
    ///
    /// # Errors
    /// When they cannot be read, or are not there any more.
    pub fn read(&self, at: u64, length: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK.min(length) as usize];
        let end = at + length;
        let mut at = at;
        while at < end {
            let piece = &mut buffer[..CHUNK.min(end - at) as usize];
            read_exact_at(&self.file, piece, at)?;
            take(piece);
            at += piece.len() as u64;
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_exact_at(file: &std::fs::File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, at)
}

#[cfg(windows)]
fn read_exact_at(file: &std::fs::File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => (buffer, at) = (&mut buffer[count..], at + count as u64),
        }
    }
    Ok(())
}

/// Bytes that can be read as often as needed.
#[derive(Debug, Clone)]
pub(super) enum Source {
    File(File),
    Memory(Bytes),
}

impl Source {
    pub(super) fn size(&self) -> u64 {
        match self {
            Source::File(file) => file.size(),
            Source::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// To be told.
    pub(super) fn name(&self) -> String {
        match self {
            Source::File(file) => file.path().display().to_string(),
            Source::Memory(_) => "standard input".to_owned(),
        }
    }

    pub(super) fn piece(&self, at: u64, length: u64) -> Piece {
        match self {
            Source::File(file) => Piece::File { file: file.clone(), at, length },
            Source::Memory(bytes) => Piece::Memory(bytes.slice(at as usize..(at + length) as usize)),
        }
    }
}

/// The bytes of a part.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    File { file: File, at: u64, length: u64 },
    Memory(Bytes),
}

/// What a piece was found to be.
pub(super) struct Sums {
    /// Its CRC64NVME.
    pub(super) crc64: u64,
    /// Its checksum of the algorithm that was asked for, as S3 writes it.
    pub(super) checksum: Option<String>,
}

/// A piece that is being read.
pub(super) struct Reading {
    /// Its bytes, in order.
    pub(super) chunks: mpsc::Receiver<Bytes>,
    /// Once all are handed on: their CRC64NVME.
    pub(super) sum: tokio::task::JoinHandle<io::Result<u64>>,
}

impl Piece {
    pub(super) fn length(&self) -> u64 {
        match self {
            Piece::File { length, .. } => *length,
            Piece::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Hands on all of it.
    pub(super) fn read(&self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        match self {
            Piece::File { file, at, length } => file.read(*at, *length, take),
            Piece::Memory(bytes) => {
                bytes.chunks(CHUNK as usize).for_each(&mut take);
                Ok(())
            }
        }
    }

    /// Reads all of it once, and hands it on besides.
    pub(super) fn sums(&self, algorithm: Option<Algorithm>, mut also: impl FnMut(&[u8])) -> io::Result<Sums> {
        let mut sum = Crc::new(CrcAlgorithm::Crc64Nvme);
        let (mut crc32c, mut sha256) = (Crc::new(CrcAlgorithm::Crc32Iscsi), Sha256::new());
        self.read(|bytes| {
            sum.update(bytes);
            match algorithm {
                Some(Algorithm::Crc32C) => crc32c.update(bytes),
                Some(Algorithm::Sha256) => sha256.update(bytes),
                Some(Algorithm::Crc64Nvme) | None => {}
            }
            also(bytes);
        })?;
        let crc64 = sum.finalize();
        let checksum = algorithm.map(|algorithm| match algorithm {
            Algorithm::Crc64Nvme => base64(crc64),
            // Thirty-two of the sixty-four bits.
            Algorithm::Crc32C => BASE64_STANDARD.encode((crc32c.finalize() as u32).to_be_bytes()),
            Algorithm::Sha256 => BASE64_STANDARD.encode(sha256.finalize()),
        });
        Ok(Sums { crc64, checksum })
    }

    /// Begins to read, in a thread of its own, which ends when nobody takes the chunks any more.
    pub(super) fn open(&self) -> Reading {
        let (sender, chunks) = mpsc::channel(AHEAD);
        let piece = self.clone();
        let sum = tokio::task::spawn_blocking(move || {
            let mut digest = Crc::new(CrcAlgorithm::Crc64Nvme);
            let mut hand_on = |chunk: Bytes| {
                digest.update(&chunk);
                sender.blocking_send(chunk).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
            };
            match piece {
                Piece::Memory(bytes) => {
                    for at in (0..bytes.len()).step_by(CHUNK as usize) {
                        hand_on(bytes.slice(at..bytes.len().min(at + CHUNK as usize)))?;
                    }
                }
                Piece::File { file, mut at, length } => {
                    let end = at + length;
                    while at < end {
                        let mut chunk = vec![0; CHUNK.min(end - at) as usize];
                        read_exact_at(&file.file, &mut chunk, at)?;
                        at += chunk.len() as u64;
                        hand_on(chunk.into())?;
                    }
                }
            }
            Ok(digest.finalize())
        });
        Reading { chunks, sum }
    }
}

/// A CRC64NVME as S3 writes it.
pub(super) fn base64(sum: u64) -> String {
    BASE64_STANDARD.encode(sum.to_be_bytes())
}

/// Reads in a thread that may wait for the disk. `name`: what is read, to be told when it cannot be.
pub(super) async fn reading<T: Send + 'static>(
    name: &str,
    read: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(read).await {
        Ok(outcome) => outcome.map_err(|cause| Error::unreadable(name, &cause)),
        Err(_) => Err(Error::new(Kind::Refused, "unexpected", format!("the reading of {name} was broken off"))),
    }
}

/// Bytes that can be read once, such as standard input.
#[derive(Debug)]
pub struct Stream {
    parts: mpsc::Receiver<io::Result<Bytes>>,
}

impl Stream {
    /// Reads parts of `part_size` from what `open` gives, the last one shorter, each into memory: so each can be sent again. Opening
    /// a pipe waits for somebody who writes, so that is not done here.
    pub fn new<R: Read>(open: impl FnOnce() -> io::Result<R> + Send + 'static, part_size: u64) -> Stream {
        let (sender, parts) = mpsc::channel(1);
        // Not one of the runtime's threads: it waits for their end, and a terminal may say nothing for ever.
        std::thread::spawn(move || {
            let mut input = match open() {
                Ok(input) => input,
                Err(error) => {
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            };
            loop {
                let mut part = Vec::new();
                let outcome = input.by_ref().take(part_size).read_to_end(&mut part);
                let is_last = (part.len() as u64) < part_size;
                let part = outcome.map(|_| Bytes::from(part));
                let is_broken = part.is_err();
                if sender.blocking_send(part).is_err() || is_last || is_broken {
                    break;
                }
            }
        });
        Stream { parts }
    }

    /// The next part; shorter than the others, and perhaps empty, when it is the last one. `None` after that.
    pub(super) async fn next(&mut self) -> Option<io::Result<Bytes>> {
        self.parts.recv().await
    }
}
