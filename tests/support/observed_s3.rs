//! A real S3 over real HTTP (the embedded one) that outlives the processes under test and sees what each of them sends: they
//! reach it by doors of their own. What goes wrong is said by a file's name (`complete-unclear.7.bin`), so that it goes wrong
//! the same way whoever is killed when.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials as Keys, Region};
use bytes::Bytes;
use embedded_s3::{Body, Credentials, S3Service, Store};
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;

const BUCKET: &str = "observed";
const ACCESS_KEY: &str = "AKOBSERVED";
const SECRET_KEY: &str = "a secret of the observed S3";
/// How long S3 takes over what it is slow at.
const SLOW: Duration = Duration::from_millis(400);
/// How long it holds a completion before it begins: longer than clients are kept waiting.
const HELD: Duration = Duration::from_millis(1_500);

pub(crate) struct ObservedS3 {
    shared: Arc<Shared>,
    doors: Vec<SocketAddr>,
    truth: Client,
    _folder: TempDir,
}

/// A CompleteMultipartUpload as S3 saw it.
#[derive(Debug, Clone)]
pub(crate) struct Completion {
    /// Who sent it.
    pub(crate) door: usize,
    pub(crate) key: String,
    pub(crate) started: Instant,
    pub(crate) ended: Option<Instant>,
}

/// Called when a completion arrives, before S3 looks at it.
pub(crate) type Witness = Box<dyn Fn(Completion) -> BoxFuture<'static, ()> + Send + Sync>;

struct Shared {
    s3: S3Service,
    /// How often something has gone wrong for a key.
    faults: Mutex<HashMap<String, u32>>,
    at_work: watch::Sender<usize>,
    completions: Mutex<Vec<Completion>>,
    witness: OnceLock<Witness>,
}

/// What stands at a key: whose upload made it, by its metadata; its size and ETag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) upload_id: Option<String>,
    pub(crate) size: i64,
    pub(crate) etag: String,
}

impl ObservedS3 {
    pub(crate) async fn start(doors: usize) -> ObservedS3 {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path().join("s3")).expect("a store");
        store.ensure_bucket(BUCKET).expect("a bucket");
        let keys = Credentials { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into() };
        let s3 = embedded_s3::service(store, keys);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let direct = listener.local_addr().expect("an address");
        tokio::spawn(embedded_s3::serve_service(listener, s3.clone(), std::future::pending()));
        let shared = Arc::new(Shared {
            s3,
            faults: Mutex::default(),
            at_work: watch::Sender::new(0),
            completions: Mutex::default(),
            witness: OnceLock::new(),
        });
        let mut addresses = Vec::new();
        for number in 0..doors {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            addresses.push(listener.local_addr().expect("an address"));
            let door = Door { number, shared: shared.clone() };
            tokio::spawn(embedded_s3::serve_service(listener, door, std::future::pending()));
        }
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{direct}"))
            .force_path_style(true)
            .credentials_provider(Keys::new(ACCESS_KEY, SECRET_KEY, None, None, "tests"))
            .build();
        ObservedS3 { shared, doors: addresses, truth: Client::from_conf(config), _folder: folder }
    }

    /// What a process is told, to come in by this door.
    pub(crate) fn environment(&self, door: usize) -> Vec<(&'static str, String)> {
        vec![
            ("PARTITA_S3_BUCKET", BUCKET.into()),
            ("PARTITA_S3_ENDPOINT", format!("http://{}", self.doors[door])),
            ("PARTITA_S3_REGION", "us-east-1".into()),
            ("PARTITA_S3_PATH_STYLE", "true".into()),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.into()),
        ]
    }

    pub(crate) fn witness(&self, witness: Witness) {
        assert!(self.shared.witness.set(witness).is_ok(), "one witness");
    }

    /// Waits until it is at work on nothing: what a dead process had asked for is done.
    pub(crate) async fn idle(&self) {
        let idle = self.shared.at_work.subscribe();
        let waited =
            tokio::time::timeout(Duration::from_secs(60), { idle }.wait_for(|calls| *calls == 0)).await.is_ok();
        assert!(waited, "S3 does not come to rest");
    }

    /// Every completion that came, in order.
    pub(crate) fn completions(&self) -> Vec<Completion> {
        self.shared.completions.lock().expect("no panic").clone()
    }

    /// Key and id of every multipart upload that is open.
    pub(crate) async fn open_uploads(&self) -> Vec<(String, String)> {
        let (mut found, mut key, mut id) = (Vec::new(), None, None);
        loop {
            let request =
                self.truth.list_multipart_uploads().bucket(BUCKET).set_key_marker(key).set_upload_id_marker(id);
            let page = request.send().await.expect("a list");
            let text = |text: Option<&str>| text.expect("told").to_owned();
            found.extend(page.uploads().iter().map(|open| (text(open.key()), text(open.upload_id()))));
            if page.is_truncated() != Some(true) {
                return found;
            }
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    /// What stands in the bucket, by key.
    pub(crate) async fn objects(&self) -> HashMap<String, Standing> {
        let (mut found, mut token) = (HashMap::new(), None);
        loop {
            let request = self.truth.list_objects_v2().bucket(BUCKET).set_continuation_token(token);
            let page = request.send().await.expect("a list");
            for object in page.contents() {
                let key = object.key().expect("a key");
                let head = self.truth.head_object().bucket(BUCKET).key(key).send().await.expect("an object");
                let standing = Standing {
                    upload_id: head.metadata().and_then(|told| told.get("partita-upload-id")).cloned(),
                    size: head.content_length().expect("a size"),
                    etag: head.e_tag().expect("an ETag").to_owned(),
                };
                found.insert(key.to_owned(), standing);
            }
            token = page.next_continuation_token;
            if token.is_none() {
                return found;
            }
        }
    }

    /// Another program puts an object at this key, where nothing stands yet.
    pub(crate) async fn put_foreign(&self, key: &str) -> bool {
        let body = b"another's bytes".to_vec().into();
        self.truth.put_object().bucket(BUCKET).key(key).if_none_match("*").body(body).send().await.is_ok()
    }
}

#[derive(Clone)]
struct Door {
    number: usize,
    shared: Arc<Shared>,
}

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
struct Cut;

impl hyper::service::Service<Request<Incoming>> for Door {
    type Response = Response<Body>;
    type Error = Cut;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Cut>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (shared, door) = (self.shared.clone(), self.number);
        // A task of its own: a client that dies stops S3 no more than it would elsewhere.
        Box::pin(async move { tokio::spawn(shared.take(door, request)).await.unwrap_or(Err(Cut)) })
    }
}

impl Shared {
    async fn take(self: Arc<Self>, door: usize, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        self.at_work.send_modify(|calls| *calls += 1);
        let shared = self.clone();
        let answer = tokio::spawn(async move { shared.answer(door, head, body).await }).await.unwrap_or(Err(Cut));
        self.at_work.send_modify(|calls| *calls -= 1);
        answer
    }

    async fn answer(&self, door: usize, head: Parts, body: Bytes) -> Result<Response<Body>, Cut> {
        let path = percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned();
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key).to_owned();
        let has = |name: &str| {
            head.uri.query().unwrap_or_default().split('&').any(|pair| pair.split('=').next() == Some(name))
        };
        let operation = match head.method.as_str() {
            "POST" if has("uploads") => "create",
            "POST" if has("uploadId") => "complete",
            "DELETE" if has("uploadId") => "abort",
            "HEAD" => "head",
            _ => "other",
        };
        if operation != "complete" {
            return self.answer_as_named(operation, &key, &head, body).await;
        }
        let arrived = Completion { door, key: key.clone(), started: Instant::now(), ended: None };
        let number = {
            let mut completions = self.completions.lock().expect("no panic");
            completions.push(arrived.clone());
            completions.len() - 1
        };
        if let Some(witness) = self.witness.get() {
            witness(arrived).await;
        }
        let answer = self.answer_as_named(operation, &key, &head, body).await;
        self.completions.lock().expect("no panic")[number].ended = Some(Instant::now());
        answer
    }

    async fn answer_as_named(
        &self,
        operation: &str,
        key: &str,
        head: &Parts,
        body: Bytes,
    ) -> Result<Response<Body>, Cut> {
        let handle = || self.s3.handle(Request::from_parts(head.clone(), Body::from(body.clone())));
        let fault = key.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or_default();
        match (operation, fault) {
            ("create", "create-refused") => Ok(refusal(403, "AccessDenied")),
            ("create", "create-lost") if self.nth(key) == 1 => {
                handle().await;
                Err(Cut)
            }
            ("create", "create-doubled") if self.nth(key) == 1 => {
                handle().await;
                handle().await;
                Err(Cut)
            }
            ("complete", "complete-refused") if self.nth(key) == 1 => Ok(refusal(403, "AccessDenied")),
            ("complete", "complete-unclear") if self.nth(key) == 1 => Ok(refusal(503, "SlowDown")),
            ("complete", "complete-hidden") => {
                let answer = handle().await;
                // From here on the object is there; nobody may look until the upload is given up.
                Ok(if answer.status() == 200 { refusal(503, "SlowDown") } else { answer })
            }
            ("head", "complete-hidden") => {
                let answer = handle().await;
                let given_up = self.faults.lock().expect("no panic").contains_key(key);
                let hidden = answer.status() == 200 && !given_up;
                Ok(if hidden {
                    Response::builder().status(403).body(Body::empty()).expect("an answer")
                } else {
                    answer
                })
            }
            ("abort", "complete-hidden") => {
                self.nth(key);
                Ok(handle().await)
            }
            ("complete", "complete-held") => {
                tokio::time::sleep(HELD).await;
                Ok(handle().await)
            }
            ("complete", "complete-slow") => {
                let answer = handle().await;
                tokio::time::sleep(SLOW).await;
                Ok(answer)
            }
            ("head", "sum-wrong") => {
                let mut answer = handle().await;
                if answer.headers().contains_key("x-amz-checksum-crc64nvme") {
                    answer.headers_mut().insert("x-amz-checksum-crc64nvme", HeaderValue::from_static("AAAAAAAAAAA="));
                }
                Ok(answer)
            }
            _ => Ok(handle().await),
        }
    }

    fn nth(&self, key: &str) -> u32 {
        let mut faults = self.faults.lock().expect("no panic");
        let nth = faults.entry(key.to_owned()).or_default();
        *nth += 1;
        *nth
    }
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    let body =
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>no</Message></Error>");
    let answer = Response::builder().status(status).header("content-type", "application/xml");
    answer.body(Body::from(body)).expect("an answer")
}
