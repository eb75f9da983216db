//! Taking a body in: bytes to a durable file, hashed on the way, checked against what the client claimed.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures::StreamExt as _;
use http::StatusCode;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};
use tokio::task::JoinHandle;

use crate::checksum::{Algorithm, Checksum, Hasher};
use crate::store::{Bucket, Claimed, PartRecord, StoredPart, blocking, disk_error, now_ms};

/// Bytes gathered before they are hashed and written, while the next are being gathered.
const BATCH: usize = 1 << 20;
/// S3's limit for one PUT.
const LARGEST_BODY: i64 = 5 << 30;
/// How long a client may send nothing before its request is given up.
const IDLE: Duration = Duration::from_secs(60);

/// What the client says about the body. What it says nothing about is not checked.
pub(crate) struct Claims {
    /// In bytes.
    pub(crate) length: Option<i64>,
    /// `Content-MD5`, in base64.
    pub(crate) md5: Option<String>,
    /// Which checksum to compute, whether or not one is claimed.
    pub(crate) algorithm: Algorithm,
    pub(crate) checksum: Option<Checksum>,
    /// Headers after the body, where the checksum may be too.
    pub(crate) trailers: Option<TrailingHeaders>,
}

impl Claims {
    /// None, for bytes from our own disk.
    pub(crate) fn none(algorithm: Algorithm) -> Self {
        Self { length: None, md5: None, algorithm, checksum: None, trailers: None }
    }
}

/// Takes the body in as part `number`.
///
/// The bytes are durable when this returns, but go again unless a record comes to speak of the part.
///
/// # Errors
///
/// As S3 answers: `IncompleteBody`, `BadDigest`, `InvalidDigest`, `XAmzContentSHA256Mismatch`, `EntityTooLarge`.
pub(crate) async fn receive(
    bucket: &Arc<Bucket>,
    number: i32,
    body: Option<StreamingBlob>,
    claims: Claims,
) -> S3Result<StoredPart> {
    if claims.length.is_some_and(|length| length > LARGEST_BODY) {
        return Err(s3_error!(EntityTooLarge));
    }
    let (bucket, algorithm) = (Arc::clone(bucket), claims.algorithm);
    let opening = tokio::task::spawn_blocking(move || Writer::create(&bucket, algorithm));
    let writer = fill(opening, body).await?;
    blocking(move || writer.finish(number, claims)).await
}

/// Gathers the next batch while the last one is hashed and written, or the file opened.
async fn fill(mut working: JoinHandle<S3Result<Writer>>, body: Option<StreamingBlob>) -> S3Result<Writer> {
    let Some(mut body) = body else {
        return finished(working).await;
    };
    let (mut batch, mut gathered) = (vec![], 0);
    loop {
        let chunk = match tokio::time::timeout(IDLE, body.next()).await {
            Err(_) => {
                return Err(s3_error!(
                    RequestTimeout,
                    "Your socket connection to the server was not read from or written to within the timeout period."
                ));
            }
            Ok(Some(Err(error))) => return Err(broken_body(error.as_ref())),
            Ok(Some(Ok(chunk))) => Some(chunk),
            Ok(None) => None,
        };
        let last = chunk.is_none();
        gathered += chunk.as_ref().map_or(0, Bytes::len);
        batch.extend(chunk);
        if last || gathered >= BATCH {
            let mut writer = finished(working).await?;
            let full = std::mem::take(&mut batch);
            gathered = 0;
            working = tokio::task::spawn_blocking(move || writer.append(&full).map(|()| writer));
        }
        if last {
            return finished(working).await;
        }
    }
}

async fn finished(working: JoinHandle<S3Result<Writer>>) -> S3Result<Writer> {
    working.await.map_err(S3Error::internal_error)?
}

/// The body broke off, or is not what was signed. The types of these errors are private to the protocol
/// layer, their texts are not.
fn broken_body(error: &(dyn std::error::Error + Send + Sync + 'static)) -> S3Error {
    let text = error.to_string();
    if text.contains("Sha256Mismatch") {
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        let mut error =
            S3Error::with_message(code, "The provided 'x-amz-content-sha256' header does not match what was computed.");
        error.set_status_code(StatusCode::BAD_REQUEST);
        error
    } else if text.contains("SignatureMismatch") {
        s3_error!(SignatureDoesNotMatch)
    } else {
        s3_error!(
            IncompleteBody,
            "You did not provide the number of bytes specified by the Content-Length HTTP header: {text}"
        )
    }
}

/// A file being filled. Dropped before it is finished, it takes its file with it.
struct Writer {
    name: String,
    file: File,
    claimed: Arc<Claimed>,
    md5: Md5,
    hasher: Hasher,
    size: u64,
}

impl Writer {
    fn create(bucket: &Bucket, algorithm: Algorithm) -> S3Result<Self> {
        let (name, file, claimed) = bucket.new_file().map_err(disk_error)?;
        Ok(Self { name, file, claimed, md5: Md5::new(), hasher: Hasher::new(algorithm), size: 0 })
    }

    fn append(&mut self, batch: &[Bytes]) -> S3Result<()> {
        for bytes in batch {
            self.md5.update(bytes);
            self.hasher.update(bytes);
            self.size += bytes.len() as u64;
            self.file.write_all(bytes).map_err(disk_error)?;
        }
        Ok(())
    }

    fn finish(self, number: i32, claims: Claims) -> S3Result<StoredPart> {
        if claims.length.is_some_and(|length| u64::try_from(length) != Ok(self.size)) {
            return Err(s3_error!(IncompleteBody));
        }
        let md5 = self.md5.finalize();
        if let Some(claimed) = claims.md5 {
            let claimed = BASE64.decode(&claimed).ok().filter(|digest| digest.len() == md5.len());
            let claimed =
                claimed.ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified was invalid."))?;
            if claimed != md5 {
                return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."));
            }
        }
        let checksum = self.hasher.finish();
        let trailing = trailing_checksum(claims.trailers.as_ref(), checksum.algorithm);
        for claimed in claims.checksum.iter().chain(&trailing) {
            checksum.check(claimed)?;
        }
        self.file.sync_all().map_err(disk_error)?;
        let record = PartRecord {
            number,
            file: self.name,
            size: self.size,
            md5: hex::encode(md5),
            modified_ms: now_ms(),
            checksum,
        };
        Ok(StoredPart { record, file: self.claimed })
    }
}

fn trailing_checksum(trailers: Option<&TrailingHeaders>, algorithm: Algorithm) -> Option<Checksum> {
    let value = trailers?.read(|headers| headers.get(algorithm.header())?.to_str().ok().map(str::to_owned))??;
    Some(Checksum { algorithm, value })
}
