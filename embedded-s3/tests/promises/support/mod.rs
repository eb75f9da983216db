//! A server per test, and a client that signs what it is told to and sends what it is told to.

mod client;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use embedded_s3::{Credentials, Store, serve};
use s3s::crypto::{Checksum as _, Crc32c, Crc64Nvme, Md5, Sha256};
use tempfile::TempDir;
use tokio::sync::oneshot;

pub(crate) use client::{Answer, Client, Request, read_answer};

pub(crate) const BUCKET: &str = "bucket";
pub(crate) const ACCESS: &str = "AKTEST";
pub(crate) const SECRET: &str = "a secret of the tests";
/// The least a part has that is not the last.
pub(crate) const MIN_PART: usize = 5 << 20;

pub(crate) fn credentials() -> Credentials {
    Credentials { access_key: ACCESS.to_owned(), secret_key: SECRET.to_owned() }
}

/// A server in this process with a folder of its own.
pub(crate) struct Server {
    pub(crate) client: Client,
    pub(crate) store: Store,
    folder: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    pub(crate) fn start_in(folder: TempDir) -> Self {
        let store = Store::open(folder.path()).unwrap();
        store.ensure_bucket(BUCKET).unwrap();
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = mpsc::channel();
        let served = store.clone();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(
                async {
                    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                    tell.send(listener.local_addr().unwrap()).unwrap();
                    let stopped = async { drop(stopped.await) };
                    serve(listener, served, credentials(), stopped).await.unwrap();
                },
            );
        });
        let client = Client { address: told.recv().unwrap() };
        Self { client, store, folder, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the server and gives back its folder.
    pub(crate) fn stop(mut self) -> TempDir {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
        drop(self.store);
        self.folder
    }

    /// The server again, as after a restart.
    pub(crate) fn restart(self) -> Self {
        Self::start_in(self.stop())
    }
}

/// The files of bytes under a server's folder.
pub(crate) fn byte_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "bin") {
                found.push(path);
            }
        }
    }
    found
}

/// Waits for what happens in the background.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..300 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never came true: {what}");
}

/// `length` bytes that differ by `seed`.
pub(crate) fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

pub(crate) fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(Md5::checksum(bytes)))
}

pub(crate) fn multipart_etag(parts: &[&[u8]]) -> String {
    let md5s: Vec<u8> = parts.iter().flat_map(|part| Md5::checksum(part)).collect();
    format!("\"{}-{}\"", hex::encode(Md5::checksum(&md5s)), parts.len())
}

pub(crate) fn md5(bytes: &[u8]) -> String {
    BASE64.encode(Md5::checksum(bytes))
}

pub(crate) fn crc32c(bytes: &[u8]) -> String {
    BASE64.encode(Crc32c::checksum(bytes))
}

pub(crate) fn crc64(bytes: &[u8]) -> String {
    BASE64.encode(Crc64Nvme::checksum(bytes))
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    BASE64.encode(Sha256::checksum(bytes))
}
