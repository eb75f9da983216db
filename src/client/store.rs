//! Bytes to and from S3, by signed URLs and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Body, Response, StatusCode};

use super::source::{Piece, Reading};
use super::{Error, Kind, PartUrl};

const CONNECT: Duration = Duration::from_secs(10);
/// How much longer an answer may take than the next bytes.
const PATIENT: u32 = 4;
/// More of an error is not read.
const MOST_OF_ERROR: usize = 64 << 10;

/// The way to S3.
#[derive(Debug, Clone)]
pub struct Store {
    http: reqwest::Client,
    /// An exchange on which nothing moves for this long is given up.
    stall: Duration,
}

/// A part that S3 has taken.
#[derive(Debug)]
pub(super) struct Landed {
    /// What S3 calls it.
    pub(super) etag: Option<String>,
    /// CRC64NVME of the bytes that went.
    pub(super) sum: u64,
}

impl Store {
    /// `stall`: an exchange on which nothing moves for this long is given up, and tried again.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub fn new(stall: Duration) -> Result<Store, String> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("partita/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            // A signature is for one host.
            .redirect(Policy::none())
            // Parts side by side each need a connection of their own; one that they share would share its losses, too.
            .http1_only()
            .tcp_nodelay(true);
        Ok(Store { http: client.build().map_err(|error| error.to_string())?, stall })
    }

    /// Sends a part. `on_bytes` is told how many more are on their way.
    pub(super) async fn put(
        &self,
        to: &PartUrl,
        piece: &Piece,
        name: &str,
        on_bytes: impl Fn(u64) + Send + Sync + 'static,
    ) -> Result<Landed, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &to.headers {
            let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            let (name, value) = header.ok_or_else(|| Error::new(Kind::Refused, "unexpected", "no header for S3"))?;
            headers.insert(name, value);
        }
        headers.insert(CONTENT_LENGTH, piece.length().into());

        let moved = std::sync::Arc::new(AtomicU64::new(0));
        let Reading { chunks, mut sum } = piece.open();
        let count = moved.clone();
        let body = stream::unfold((chunks, count, on_bytes), |(mut chunks, count, on_bytes)| async move {
            let chunk: Bytes = chunks.recv().await?;
            count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            on_bytes(chunk.len() as u64);
            Some((Ok::<_, std::io::Error>(chunk), (chunks, count, on_bytes)))
        });
        let request = self.http.put(&to.url).headers(headers).body(Body::wrap_stream(body)).send();
        let stalls = self.nothing_moves(&moved, piece.length());
        tokio::pin!(stalls);
        let outcome = tokio::select! {
            outcome = request => outcome,
            () = &mut stalls => return Err(stalled()),
        };
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                // A file that cannot be read ends the request, too.
                if let Ok(Err(cause)) = (&mut sum).await
                    && cause.kind() != std::io::ErrorKind::BrokenPipe
                {
                    return Err(Error::unreadable(name, &cause));
                }
                return Err(Error::of_exchange("storage-unreachable", "S3", &error));
            }
        };
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        // What is left is read, so that the connection can be used again.
        let _ = self.text(response).await;
        let sum = tokio::select! {
            sum = &mut sum => sum,
            () = &mut stalls => return Err(stalled()),
        };
        match sum {
            Ok(Ok(sum)) => Ok(Landed { etag, sum }),
            Ok(Err(cause)) if cause.kind() == std::io::ErrorKind::BrokenPipe => {
                Err(Error::new(Kind::Passing, "storage-unreachable", "S3 answered before it had the part"))
            }
            Ok(Err(cause)) => Err(Error::unreadable(name, &cause)),
            Err(_) => Err(Error::new(Kind::Refused, "unexpected", "the reading of a part was broken off")),
        }
    }

    /// The bytes of an object from `at` on, if it is the one with this ETag still. Also, how many bytes come before those: all, of
    /// a store that sends objects whole only.
    pub(super) async fn get(&self, url: &str, at: u64, etag: &str) -> Result<(Response, u64), Error> {
        let mut request = self.http.get(url);
        if at > 0 {
            request = request.header(RANGE, format!("bytes={at}-")).header(IF_MATCH, etag);
        }
        let response = match tokio::time::timeout(self.stall, request.send()).await {
            Ok(outcome) => outcome.map_err(|error| Error::of_exchange("storage-unreachable", "S3", &error))?,
            Err(_) => return Err(stalled()),
        };
        match response.status() {
            // Whoever knows no ranges may know no conditions either.
            StatusCode::OK if at > 0 && response.headers().get(ETAG).is_some_and(|its| its != etag) => Err(changed()),
            StatusCode::OK => Ok((response, at)),
            StatusCode::PARTIAL_CONTENT if at > 0 => Ok((response, 0)),
            StatusCode::PRECONDITION_FAILED => Err(changed()),
            status if status.is_success() => {
                Err(Error::new(Kind::Refused, "storage-refused", format!("S3 answered {} to a GET", status.as_u16())))
            }
            _ => Err(self.refusal(response).await),
        }
    }

    /// The next bytes of an answer; `None` at its end.
    pub(super) async fn next(&self, response: &mut Response) -> Result<Option<Bytes>, Error> {
        match tokio::time::timeout(self.stall, response.chunk()).await {
            Ok(outcome) => outcome.map_err(|error| Error::of_exchange("storage-unreachable", "S3", &error)),
            Err(_) => Err(stalled()),
        }
    }

    /// Resolves once `moved` has stood still for too long. What has all been handed over may yet be in buffers on the way.
    async fn nothing_moves(&self, moved: &AtomicU64, length: u64) {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            tokio::time::sleep(self.stall / 8).await;
            let now = moved.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() >= if now < length { self.stall } else { self.stall * PATIENT } {
                return;
            }
        }
    }

    async fn text(&self, mut response: Response) -> String {
        let mut text = Vec::new();
        while let Ok(Some(chunk)) = self.next(&mut response).await {
            text.extend_from_slice(&chunk);
            if text.len() > MOST_OF_ERROR {
                break;
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// What an answer means that is no success.
    async fn refusal(&self, response: Response) -> Error {
        let (status, retry_after) = (response.status(), super::service::asked_pause(response.headers()));
        let text = self.text(response).await;
        let code = text.split("<Code>").nth(1).and_then(|rest| rest.split("</Code>").next()).unwrap_or_default();
        let is_code = code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let code = if is_code { code } else { "" };
        let said = format!("S3 answered {} {code}", status.as_u16());
        let error = |kind, own| Error::new(kind, own, said.trim_end());
        let error = match (status.as_u16(), code) {
            // AWS says "your bytes were damaged on the way" and "your connection was too slow" with status 400.
            (
                400,
                "BadDigest" | "XAmzContentChecksumMismatch" | "InvalidDigest" | "RequestTimeout" | "IncompleteBody",
            )
            | (409, "OperationAborted") => error(Kind::Passing, "storage-busy"),
            // Another URL may do. If the upload is gone, the service says so when it is asked for one.
            (403 | 404, _) | (400, "ExpiredToken") => error(Kind::Passing, "url-refused"),
            (408 | 429 | 500.., _) => error(Kind::Passing, "storage-busy"),
            _ => error(Kind::Refused, "storage-refused"),
        };
        Error { retry_after, ..error }
    }
}

fn changed() -> Error {
    Error::new(Kind::Integrity, "file-changed", "the file is not the one any more that was begun")
}

fn stalled() -> Error {
    Error::new(Kind::Passing, "stalled", "nothing moved between here and S3 for a while")
}
