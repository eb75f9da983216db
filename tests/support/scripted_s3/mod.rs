//! A real S3 over real HTTP (the embedded one) that a test makes fail as it likes, and that records every call.
//!
//! It listens twice: where scripts are played, for the service and its clients; and where they are not, for the test to see
//! what the bucket really holds.

mod call;
mod script;
mod truth;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use embedded_s3::{Body, Credentials, S3Service, Store};
use futures_util::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use partita::bucket::Bucket;
use partita::config::S3;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

pub(crate) use call::Call;
use script::{Answer, Apply};
pub(crate) use script::{Operation, Script, change_elements, error, on, text_of};
pub(crate) use truth::StoredObject;

pub(crate) const BUCKET: &str = "scripted";
const ACCESS_KEY: &str = "AKSCRIPTED";
const SECRET_KEY: &str = "a secret of the scripted S3";
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

/// The S3 and its bucket.
pub(crate) struct ScriptedS3 {
    endpoint: SocketAddr,
    shared: Arc<Shared>,
    truth: truth::Truth,
    _folder: TempDir,
}

struct Shared {
    s3: S3Service,
    scripts: Mutex<Vec<Arc<Cue>>>,
    calls: Mutex<Vec<Call>>,
    /// Changes with every call that begins or ends.
    changed: watch::Sender<()>,
}

/// A script that is being played.
struct Cue {
    script: Script,
    left: Mutex<u32>,
    met: watch::Sender<u32>,
    released: watch::Sender<bool>,
}

/// The test's hold on a script that is being played. Dropping it changes nothing.
#[derive(Clone)]
pub(crate) struct Playing {
    cue: Arc<Cue>,
    shared: Arc<Shared>,
}

impl Playing {
    /// Meets no further call. What is held stays held.
    pub(crate) fn lift(&self) {
        self.shared.scripts.lock().expect("no panic").retain(|cue| !Arc::ptr_eq(cue, &self.cue));
    }

    /// Lets go on what is held, now and later.
    pub(crate) fn release(&self) {
        self.cue.released.send_replace(true);
    }

    /// Waits until this many calls have met it.
    pub(crate) async fn met(&self, calls: u32) {
        let mut met = self.cue.met.subscribe();
        let waited = tokio::time::timeout(PATIENCE, met.wait_for(|met| *met >= calls)).await;
        assert!(waited.is_ok(), "only {} of {calls} calls came", self.times());
    }

    /// How many calls have met it.
    pub(crate) fn times(&self) -> u32 {
        *self.cue.met.borrow()
    }
}

impl ScriptedS3 {
    pub(crate) async fn start() -> ScriptedS3 {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path().join("s3")).expect("a store");
        store.ensure_bucket(BUCKET).expect("a bucket");
        let keys = Credentials { access_key: ACCESS_KEY.into(), secret_key: SECRET_KEY.into() };
        let s3 = embedded_s3::service(store, keys);
        let direct = listen(s3.clone()).await;
        let shared = Arc::new(Shared {
            s3,
            scripts: Mutex::default(),
            calls: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let endpoint = listen(Scripted(shared.clone())).await;
        ScriptedS3 { endpoint, shared, truth: truth::Truth::new(direct), _folder: folder }
    }

    /// What the service is told of it.
    pub(crate) fn settings(&self, settings: &mut S3) {
        settings.bucket = Some(BUCKET.into());
        settings.endpoint = Some(format!("http://{}", self.endpoint));
        settings.path_style = true;
        settings.region = Some("us-east-1".into());
    }

    /// The bucket as the service reaches it.
    pub(crate) fn bucket(&self, settings: &S3) -> Bucket {
        Bucket::with_credentials(settings, BUCKET, ACCESS_KEY, SECRET_KEY)
    }

    /// Plays this script from now on. Of several that fit a call, the one that came last is played.
    pub(crate) fn play(&self, script: Script) -> Playing {
        let left = Mutex::new(script.calls);
        let cue = Arc::new(Cue { script, left, met: watch::Sender::new(0), released: watch::Sender::new(false) });
        self.shared.scripts.lock().expect("no panic").push(cue.clone());
        Playing { cue, shared: self.shared.clone() }
    }

    /// From now on it is an S3 without faults; what was held goes on.
    pub(crate) fn heal(&self) {
        for cue in self.shared.scripts.lock().expect("no panic").drain(..) {
            cue.released.send_replace(true);
        }
    }

    /// Waits until it is at work on nothing.
    pub(crate) async fn idle(&self) {
        let mut changed = self.shared.changed.subscribe();
        let idle = || self.shared.calls.lock().expect("no panic").iter().all(|call| call.ended.is_some());
        let waited = tokio::time::timeout(PATIENCE, changed.wait_for(|()| idle())).await;
        assert!(waited.is_ok(), "calls that do not end: {:?}", self.calls(None));
    }

    /// Every call of this operation, or of all, in the order in which they came.
    pub(crate) fn calls(&self, operation: Option<Operation>) -> Vec<Call> {
        let calls = self.shared.calls.lock().expect("no panic");
        calls.iter().filter(|call| operation.is_none_or(|operation| call.operation == operation)).cloned().collect()
    }

    /// How often it was called for this.
    pub(crate) fn count(&self, operation: Operation) -> usize {
        self.calls(Some(operation)).len()
    }

    /// The most calls of this operation that were at work on one upload at the same moment.
    pub(crate) fn most_at_once(&self, operation: Operation) -> usize {
        let calls = self.calls(Some(operation));
        let of_one = |call: &Call| {
            call::most_at_once(
                calls.iter().filter(|other| (&other.key, other.upload_id()) == (&call.key, call.upload_id())),
            )
        };
        calls.iter().map(of_one).max().unwrap_or(0)
    }

    /// The same, whatever they are for.
    pub(crate) fn most_at_once_in_all(&self, operation: Operation) -> usize {
        call::most_at_once(self.calls(Some(operation)).iter())
    }
}

async fn listen<S>(service: S) -> SocketAddr
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(embedded_s3::serve_service(listener, service, std::future::pending()));
    address
}

#[derive(Clone)]
struct Scripted(Arc<Shared>);

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the script cuts the connection")]
struct Cut;

impl hyper::service::Service<Request<Incoming>> for Scripted {
    type Response = Response<Body>;
    type Error = Cut;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Cut>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let shared = self.0.clone();
        // A task of its own: a client that goes away stops S3 no more than it would elsewhere.
        Box::pin(async move { tokio::spawn(shared.answer(request)).await.unwrap_or(Err(Cut)) })
    }
}

impl Shared {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
        let call = Call::of(&head);
        let request = Request::from_parts(head, Body::from(body));
        let (number, cue) = self.begin(&call);
        let Some(cue) = cue else {
            let answer = self.s3.handle(request).await;
            self.end(number, Some(answer.status().as_u16()));
            return Ok(answer);
        };
        let answer = self.clone().perform(&call, cue.clone(), number, request).await;
        let status = answer.as_ref().ok().map(|answer| answer.status().as_u16());
        if cue.script.apply != Apply::Late {
            self.end(number, status);
        }
        answer
    }

    async fn perform(
        self: Arc<Self>,
        call: &Call,
        cue: Arc<Cue>,
        number: usize,
        request: Request<Body>,
    ) -> Result<Response<Body>, Cut> {
        let script = &cue.script;
        if script.held_before {
            cue.released().await;
        }
        tokio::time::sleep(script.delay).await;
        if let Answer::Trickle = script.answer {
            return Ok(self.trickle(cue, number, request).await);
        }
        let own = match script.apply {
            Apply::Now => Some(self.s3.handle(request).await),
            Apply::Never => None,
            Apply::Late => {
                let (shared, cue) = (self.clone(), cue.clone());
                tokio::spawn(async move {
                    cue.released().await;
                    let answer = shared.s3.handle(request).await;
                    shared.end(number, Some(answer.status().as_u16()));
                });
                None
            }
        };
        if script.held_after {
            cue.released().await;
        }
        match (&script.answer, own) {
            (Answer::Says { status, content_type, body }, _) => {
                let is_head = call.operation == Operation::HeadObject;
                let body = if is_head { Body::empty() } else { Body::from(body.clone()) };
                let answer = Response::builder().status(*status).header("content-type", *content_type).body(body);
                Ok(answer.expect("an answer"))
            }
            (Answer::Own, Some(own)) => Ok(own),
            (Answer::Edited(edit), Some(own)) => {
                let (mut head, body) = own.into_parts();
                let bytes = body.collect().await.map_err(|_| Cut)?.to_bytes();
                let mut text = String::from_utf8_lossy(&bytes).into_owned();
                if call.operation != Operation::HeadObject {
                    script::forget_length(&mut head);
                }
                edit(call, &mut head, &mut text);
                Ok(Response::from_parts(head, Body::from(text)))
            }
            (Answer::BreaksOff(after), Some(own)) => {
                let (head, body) = own.into_parts();
                let bytes = body.collect().await.map_err(|_| Cut)?.to_bytes();
                let first = Ok(Frame::data(bytes.slice(..*after)));
                let end = async {
                    // Else what was sent is thrown away with the connection.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    Err(std::io::Error::other("broken off"))
                };
                let steps = stream::StreamExt::chain(stream::iter([first]), stream::once(end));
                Ok(Response::from_parts(head, Body::http_body_unsync(StreamBody::new(steps))))
            }
            (Answer::Cut | Answer::Trickle, _) | (_, None) => Err(Cut),
        }
    }

    /// The head and white space now, as AWS does while it is at work; the rest when it is released. What is applied late is
    /// applied then, and what is not applied ends with the white space.
    async fn trickle(self: Arc<Self>, cue: Arc<Cue>, number: usize, request: Request<Body>) -> Response<Body> {
        let (tell, rest) = oneshot::channel();
        let (early, request) = match cue.script.apply {
            Apply::Now => (Some(self.s3.handle(request).await), None),
            Apply::Never => (None, None),
            Apply::Late => (None, Some(request)),
        };
        tokio::spawn(async move {
            cue.released().await;
            let own = match request {
                Some(request) => Some(self.s3.handle(request).await),
                None => early,
            };
            if cue.script.apply == Apply::Late {
                self.end(number, own.as_ref().map(|own| own.status().as_u16()));
            }
            let bytes = match own {
                Some(own) => own.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default(),
                None => Bytes::new(),
            };
            let declared = bytes.windows(2).position(|pair| pair == b"?>").map_or(0, |at| at + 2);
            // Nobody listens when the client has gone away.
            let _ = tell.send(bytes.slice(declared..));
        });
        let steps = stream::unfold((0, Some(rest)), |(step, rest)| async move {
            let (bytes, rest) = match (step, rest) {
                (0, rest) => (Bytes::from_static(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>"), rest),
                (1..4, rest) => (Bytes::from_static(b"  \n"), rest),
                (_, Some(rest)) => (rest.await.unwrap_or_default(), None),
                (_, None) => return None,
            };
            Some((Ok::<_, Infallible>(Frame::data(bytes)), (step + 1, rest)))
        });
        let answer = Response::builder().header("content-type", "application/xml");
        answer.body(Body::http_body_unsync(StreamBody::new(steps))).expect("an answer")
    }

    fn begin(&self, call: &Call) -> (usize, Option<Arc<Cue>>) {
        let mut calls = self.calls.lock().expect("no panic");
        calls.push(call.clone());
        let number = calls.len() - 1;
        drop(calls);
        let scripts = self.scripts.lock().expect("no panic");
        let cue = scripts.iter().rev().find(|cue| cue.meets(call)).cloned();
        (number, cue)
    }

    fn end(&self, number: usize, status: Option<u16>) {
        let mut calls = self.calls.lock().expect("no panic");
        calls[number].ended = Some(Instant::now());
        calls[number].status = status;
        drop(calls);
        self.changed.send_replace(());
    }
}

impl Cue {
    /// Whether this call is one of those that it is for; if so, it is one fewer now.
    fn meets(&self, call: &Call) -> bool {
        let mut left = self.left.lock().expect("no panic");
        let fits = self.script.operation == call.operation
            && self.script.key.as_ref().is_none_or(|key| *key == call.key)
            && *left > 0;
        if fits {
            *left -= 1;
            self.met.send_modify(|met| *met += 1);
        }
        fits
    }

    async fn released(&self) {
        // The sender lives as long as the cue.
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }
}
