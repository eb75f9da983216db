//! The service each connection speaks to: cross-origin answers around the operations, and what the protocol layer
//! leaves to be put right.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming, SizeHint};
use percent_encoding::percent_decode_str;
use s3s::Body;
use s3s::service::S3ServiceBuilder;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::access::{OneKey, StrictAccess};
use crate::cors::{CorsRule, CrossOrigin};
use crate::operations::Operations;
use crate::store::Store;

/// The one pair of keys that may sign requests; it may do everything.
#[derive(Clone)]
pub struct Credentials {
    /// Public half, named in every signed URL.
    pub access_key: String,
    /// Private half; `Debug` does not show it.
    pub secret_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

/// S3 over a [`Store`], without the network: for a server or a test of your own. Cloning is cheap.
#[derive(Clone)]
pub struct S3Service {
    protocol: s3s::service::S3Service,
    store: Store,
}

/// The service that [`serve`](crate::serve) serves. To add faults of your own, wrap [`S3Service::handle`] in a
/// `hyper::service::Service` and give that to [`serve_service`](crate::serve_service).
pub fn service(store: Store, credentials: Credentials) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Operations { store: store.clone() });
    builder.set_auth(OneKey { access_key: credentials.access_key, secret_key: credentials.secret_key.into() });
    builder.set_access(StrictAccess);
    S3Service { protocol: builder.build(), store }
}

impl S3Service {
    /// Answers one request, addressed path-style (`/bucket/key`). Refusals are answers too.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let cross_origin = CrossOrigin::of(request.method(), request.headers());
        let Some(cross_origin) = cross_origin else {
            return self.answer(request).await;
        };
        let rules = self.cors_rules(request.uri().path());
        if let Some(answer) = cross_origin.answer_preflight(&rules) {
            return answer;
        }
        let mut answer = self.answer(request).await;
        cross_origin.mark(&rules, answer.headers_mut());
        answer
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        if request.method() == Method::OPTIONS {
            return plain(StatusCode::BAD_REQUEST);
        }
        let asks_head = request.method() == Method::HEAD;
        let asks_attributes = request.method() == Method::GET && asks_attributes(request.uri());
        let answered = self.protocol.call(request).await;
        let mut answer = answered.unwrap_or_else(|error| {
            let error: Box<dyn std::error::Error + Send + Sync> = error.into();
            tracing::error!(%error, "a request could not be answered");
            plain(StatusCode::INTERNAL_SERVER_ERROR)
        });
        // The protocol layer says so for GET only.
        if asks_head && answer.status() == StatusCode::OK && answer.headers().contains_key(CONTENT_RANGE) {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if asks_attributes {
            answer = bare_etag(answer).await;
        }
        if let Ok(id) = HeaderValue::try_from(Uuid::new_v4().simple().to_string()) {
            answer.headers_mut().insert(HeaderName::from_static("x-amz-request-id"), id);
        }
        answer
    }

    /// Of the bucket the path names.
    fn cors_rules(&self, path: &str) -> Vec<CorsRule> {
        let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let bucket = self.store.find_bucket(&percent_decode_str(name).decode_utf8_lossy());
        bucket.map(|bucket| bucket.record().cors.clone()).unwrap_or_default()
    }
}

fn asks_attributes(uri: &Uri) -> bool {
    uri.query().is_some_and(|query| query.split('&').any(|pair| pair.split('=').next() == Some("attributes")))
}

/// GetObjectAttributes is the one operation whose ETag S3 writes without quotes; the protocol layer writes it with.
async fn bare_etag(answer: Response<Body>) -> Response<Body> {
    let (mut head, body) = answer.into_parts();
    let Ok(body) = body.collect().await else {
        return plain(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let body = String::from_utf8_lossy(&body.to_bytes()).replace("&quot;", "\"");
    let body = body.replace("<ETag>\"", "<ETag>").replace("\"</ETag>", "</ETag>");
    head.headers.remove(CONTENT_LENGTH);
    Response::from_parts(head, Body::from(body))
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

impl hyper::service::Service<Request<Incoming>> for S3Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let (head, incoming) = request.into_parts();
            let (back, mut unread) = oneshot::channel();
            let body = LentBody { incoming: Some(incoming), back: Some(back) };
            let request = Request::from_parts(head, Body::http_body_unsync(body));
            let answer = service.handle(request).await;
            // A client that is still sending reads no answer: it sees a broken connection unless its body is taken in.
            if let Ok(unread) = unread.try_recv() {
                tokio::spawn(tokio::time::timeout(DRAIN, drain(unread)));
            }
            Ok(answer)
        })
    }
}

/// How long the rest of a refused body is taken in.
const DRAIN: Duration = Duration::from_secs(30);

/// A request's body that comes back when nobody read it to its end.
struct LentBody {
    incoming: Option<Incoming>,
    back: Option<oneshot::Sender<Incoming>>,
}

impl hyper::body::Body for LentBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.incoming {
            Some(incoming) => Pin::new(incoming).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(hyper::body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map(hyper::body::Body::size_hint).unwrap_or_default()
    }
}

impl Drop for LentBody {
    fn drop(&mut self) {
        if let (Some(incoming), Some(back)) = (self.incoming.take(), self.back.take())
            && !hyper::body::Body::is_end_stream(&incoming)
        {
            // Nobody waits for it when the connection is gone.
            let _ = back.send(incoming);
        }
    }
}

async fn drain(mut body: Incoming) {
    while let Some(Ok(_)) = body.frame().await {}
}
