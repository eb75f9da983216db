//! Calls to the service. Each is safe to repeat by the contract, so each is repeated until it is answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::retry::persist;
use super::wire::{Checksum, Created, LandedPart, Page, PartUrls, Problem, Told};
use super::{DownloadUrl, Error, FileEntry, Kind, Part, PartUrl, Upload};

/// The service answers a long completion with 202 after some seconds, so nothing takes longer than this.
const CALL: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(10);
/// Nobody is waited for longer than this because of a `Retry-After`.
const LONGEST_ASKED: Duration = Duration::from_secs(60);
/// Bytes. Ten thousand part URLs are seven million.
const LONGEST_ANSWER: usize = 64 << 20;
/// Entries of a list that are asked for at once.
const PAGE: usize = 1_000;

/// Is told of each failure that is tried again, and of the pause before it.
pub type OnRetry = Arc<dyn Fn(&Error, Duration) + Send + Sync>;

/// The service, as one caller meets it.
#[derive(Clone)]
pub struct Service {
    base: Url,
    http: reqwest::Client,
    /// How long a call is tried again in all.
    patience: Duration,
    on_retry: OnRetry,
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Service").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Which uploads a list shows.
#[derive(Debug, Clone, Default)]
pub struct UploadFilter {
    /// In this state only.
    pub state: Option<String>,
    /// With this fingerprint only.
    pub fingerprint: Option<String>,
}

/// A call that was answered without a problem.
struct Answer {
    status: StatusCode,
    retry_after: Option<Duration>,
    json: Value,
}

impl Service {
    /// The service at `base`, for whoever has the token.
    ///
    /// # Errors
    /// When `base` is no HTTP address, or the token cannot stand in a header.
    pub fn new(base: &str, token: Option<&SecretString>, on_retry: OnRetry) -> Result<Service, String> {
        let url = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let mut base = url.ok_or_else(|| format!("{base} is not the address of a service: http://HOST[:PORT]"))?;
        // It would be repeated in messages, and take the token's header.
        if !base.username().is_empty() || base.password().is_some() {
            return Err("a service's address has no name and password in it; give a token".to_owned());
        }
        // A service may stand under a path; without the slash the last piece of it would be replaced.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = format!("Bearer {}", token.expose_secret().trim());
            let mut value = HeaderValue::try_from(value).map_err(|_| "the token has characters that no token has")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let http = reqwest::Client::builder()
            .user_agent(concat!("partita/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT)
            .timeout(CALL)
            // What a page to sign in answers is not the service's word.
            .redirect(Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Service { base, http, patience: Duration::from_secs(3), on_retry })
    }

    /// The same, which tries for this long before it gives up: at least, for the last try is waited for.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Service {
        self.patience = patience;
        self
    }

    /// Begins an upload. `request` is the body of `createUpload`.
    ///
    /// # Errors
    /// The service's refusal, or that it does not answer; the same of all calls.
    pub async fn create(&self, request: &Value) -> Result<(Told<Upload>, Vec<PartUrl>), Error> {
        // A repeat of this very call takes over what the first began, should only its answer have been lost.
        let key = Uuid::new_v4().to_string();
        let answer = self.call(Method::POST, "v1/uploads", &[], Some(request), Some(&key)).await?;
        let Created { upload, part_urls } = read(answer.json)?;
        Ok((told(upload)?, part_urls))
    }

    /// An upload.
    pub async fn upload(&self, id: &str) -> Result<Told<Upload>, Error> {
        told(self.get(&["v1", "uploads", id], &[]).await?)
    }

    /// At most `limit` uploads, newest first; all when there is no limit.
    pub async fn uploads(&self, filter: &UploadFilter, limit: Option<usize>) -> Result<Vec<Told<Upload>>, Error> {
        let mut query = Vec::new();
        query.extend(filter.state.as_ref().map(|state| ("state", state.clone())));
        query.extend(filter.fingerprint.as_ref().map(|fingerprint| ("fingerprint", fingerprint.clone())));
        self.list(&["v1", "uploads"], &query, limit).await?.into_iter().map(told).collect()
    }

    /// The recorded parts of an upload, ascending.
    pub async fn parts(&self, id: &str, limit: Option<usize>) -> Result<Vec<Told<Part>>, Error> {
        self.list(&["v1", "uploads", id, "parts"], &[], limit).await?.into_iter().map(told).collect()
    }

    /// URLs for these parts, such as `1-100,205`.
    pub async fn sign(&self, id: Uuid, parts: &str) -> Result<Vec<PartUrl>, Error> {
        self.part_urls(id, &json!({ "parts": parts })).await
    }

    /// URLs for these parts, each with what its own URL is to say: its size, its checksum.
    pub async fn sign_items(&self, id: Uuid, items: &[Value]) -> Result<Vec<PartUrl>, Error> {
        self.part_urls(id, &json!({ "items": items })).await
    }

    async fn part_urls(&self, id: Uuid, body: &Value) -> Result<Vec<PartUrl>, Error> {
        let answer = self.post(id, "part-urls", Some(body)).await?;
        read(answer.json).map(|PartUrls { part_urls }| part_urls)
    }

    pub(super) async fn record(&self, id: Uuid, parts: &[LandedPart]) -> Result<(), Error> {
        let path = format!("v1/uploads/{id}/parts");
        let answer = self.call(Method::PUT, &path, &[], Some(&json!({ "parts": parts })), None).await?;
        read::<Upload>(answer.json).map(drop)
    }

    /// Has the service ask S3 which parts it holds.
    pub async fn sync(&self, id: Uuid) -> Result<Told<Upload>, Error> {
        told(self.post(id, "sync", None).await?.json)
    }

    /// Completes the upload, and waits until it is. `parts` are recorded first.
    pub(super) async fn complete(
        &self,
        id: Uuid,
        parts: &[LandedPart],
        size: Option<i64>,
        checksum: Option<&Checksum>,
    ) -> Result<Told<Upload>, Error> {
        let mut body = json!({});
        if !parts.is_empty() {
            body["parts"] = json!(parts);
        }
        if let Some(size) = size {
            body["size"] = json!(size);
        }
        if let Some(checksum) = checksum {
            body["checksum"] = json!(checksum);
        }
        let mut answer = self.post(id, "complete", Some(&body)).await?;
        // S3 may take minutes to put ten thousand parts together.
        while answer.status == StatusCode::ACCEPTED {
            let least = Duration::from_secs(1);
            tokio::time::sleep(answer.retry_after.unwrap_or(least).max(least)).await;
            answer = self.post(id, "complete", None).await?;
        }
        let upload: Told<Upload> = told(answer.json)?;
        match upload.known.state.as_str() {
            "completed" => Ok(upload),
            state => Err(unexpected(&format!("the upload is {state} after its completion"))),
        }
    }

    /// Gives an upload up.
    pub async fn abort(&self, id: &str) -> Result<(), Error> {
        self.done(Method::DELETE, &["v1", "uploads", id]).await
    }

    /// The caller's files and those shared with it, newest first.
    pub async fn files(&self, limit: Option<usize>) -> Result<Vec<Told<FileEntry>>, Error> {
        self.list(&["v1", "files"], &[], limit).await?.into_iter().map(told).collect()
    }

    /// A file.
    pub async fn file(&self, id: &str) -> Result<Told<FileEntry>, Error> {
        told(self.get(&["v1", "files", id], &[]).await?)
    }

    /// A link to a file, good for `ttl` or for as long as the service likes.
    pub async fn download_url(&self, id: &str, ttl: Option<Duration>) -> Result<Told<DownloadUrl>, Error> {
        let query: Vec<_> = ttl.iter().map(|ttl| ("ttlSeconds", ttl.as_secs().to_string())).collect();
        told(self.get(&["v1", "files", id, "download-url"], &query).await?)
    }

    /// Lets another have a file, or no longer.
    pub async fn share(&self, id: &str, subject: &str, is_shared: bool) -> Result<(), Error> {
        let method = if is_shared { Method::PUT } else { Method::DELETE };
        self.done(method, &["v1", "files", id, "shares", subject]).await
    }

    /// Deletes a file.
    pub async fn delete(&self, id: &str) -> Result<(), Error> {
        self.done(Method::DELETE, &["v1", "files", id]).await
    }

    /// A call that is answered by nothing but that it is done.
    async fn done(&self, method: Method, pieces: &[&str]) -> Result<(), Error> {
        match self.call(method, &path(pieces), &[], None, None).await?.status {
            StatusCode::NO_CONTENT => Ok(()),
            status => Err(unexpected(&format!("status {status}"))),
        }
    }

    async fn list(&self, pieces: &[&str], query: &[(&str, String)], limit: Option<usize>) -> Result<Vec<Value>, Error> {
        let (mut items, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let left = limit.map_or(PAGE, |limit| limit.saturating_sub(items.len()).min(PAGE));
            if left == 0 {
                return Ok(items);
            }
            let mut query = query.to_vec();
            query.push(("limit", left.to_string()));
            query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
            let page: Page = read(self.get(pieces, &query).await?)?;
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(items),
            }
        }
    }

    async fn get(&self, pieces: &[&str], query: &[(&str, String)]) -> Result<Value, Error> {
        Ok(self.call(Method::GET, &path(pieces), query, None, None).await?.json)
    }

    async fn post(&self, id: Uuid, verb: &str, body: Option<&Value>) -> Result<Answer, Error> {
        self.call(Method::POST, &format!("v1/uploads/{id}/{verb}"), &[], body, None).await
    }

    /// One call, tried again while that may help.
    async fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Answer, Error> {
        let try_once = || async {
            let mut url = self.base.join(path).map_err(|error| unexpected(&error.to_string()))?;
            if !query.is_empty() {
                url.query_pairs_mut().extend_pairs(query);
            }
            let mut request = self.http.request(method.clone(), url);
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_string());
            }
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            let unreachable = |error| Error::of_exchange("service-unreachable", "the service", &error);
            let mut response = request.send().await.map_err(unreachable)?;
            let (status, retry_after) = (response.status(), asked_pause(response.headers()));
            let mut text = Vec::new();
            while let Some(bytes) = response.chunk().await.map_err(unreachable)? {
                text.extend_from_slice(&bytes);
                if text.len() > LONGEST_ANSWER {
                    return Err(unexpected("it does not end"));
                }
            }
            let text = String::from_utf8_lossy(&text);
            if status.is_success() {
                let read = if text.is_empty() { Ok(Value::Null) } else { serde_json::from_str(&text) };
                let json = read.map_err(|error| unexpected(&error.to_string()))?;
                return Ok(Answer { status, retry_after, json });
            }
            Err(problem(status, retry_after, &text))
        };
        persist(self.patience, try_once, |error, pause| (self.on_retry)(error, pause)).await
    }
}

/// What `Retry-After` asks, in seconds; a date is taken for none, for clocks differ.
pub(super) fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_ASKED))
}

/// Pieces of a path, each of which may hold any character.
fn path(pieces: &[&str]) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const PIECE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');
    pieces.iter().map(|piece| utf8_percent_encode(piece, PIECE).to_string()).collect::<Vec<_>>().join("/")
}

fn problem(status: StatusCode, retry_after: Option<Duration>, text: &str) -> Error {
    let problem = serde_json::from_str::<Problem>(text).ok();
    let code = problem.as_ref().map_or("unexpected", |problem| problem.code.as_str());
    let kind = match (status.as_u16(), code) {
        (_, "checksum-mismatch") => Kind::Integrity,
        // The service reaches S3, and S3 does not let it: that does not pass.
        (_, "storage-refused") => Kind::Refused,
        (401 | 403, _) => Kind::Access,
        (404, _) | (410, "file-deleted" | "upload-expired" | "upload-aborted") => Kind::NotFound,
        (408 | 429 | 500.., _) => Kind::Passing,
        // "Not yet": it is being created, or a repeat is at work.
        (409, _) if retry_after.is_some() => Kind::Passing,
        _ => Kind::Refused,
    };
    let message = match &problem {
        Some(Problem { detail: Some(detail), .. }) => detail.clone(),
        Some(Problem { title: Some(title), .. }) => title.clone(),
        _ => format!("the service answered {status}, and not as Partita does; is PARTITA_SERVER right?"),
    };
    let message = match (kind, status.as_u16()) {
        (Kind::Access, 401) => format!("{message}; give a token by PARTITA_TOKEN or --token-file"),
        _ => message,
    };
    let mut error = Error { retry_after, ..Error::new(kind, code, message) };
    if let Some(problem) = problem {
        (error.request_id, error.parts) = (problem.request_id, problem.missing_parts.or(problem.parts));
    }
    error
}

fn unexpected(what: &str) -> Error {
    Error::new(Kind::Refused, "unexpected", format!("the service's answer is not understood: {what}"))
}

fn read<T: DeserializeOwned>(json: Value) -> Result<T, Error> {
    T::deserialize(json).map_err(|error| unexpected(&error.to_string()))
}

fn told<T: DeserializeOwned>(json: Value) -> Result<Told<T>, Error> {
    let known = T::deserialize(&json).map_err(|error| unexpected(&error.to_string()))?;
    Ok(Told { known, json })
}
