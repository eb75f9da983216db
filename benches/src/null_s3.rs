//! An S3 that holds nothing: it answers as S3 would, and keeps of an object only that it was completed, its size as the
//! completion gave it (`x-amz-mp-object-size`), and the metadata it began with. Parts need never be sent. It checks no
//! signature. A process of its own, so that its CPU time is nobody else's.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Result;

const ETAG: &str = "\"9b2cf535f27731c974343645a3985328\"";

#[derive(Default)]
struct State {
    begun: u64,
    /// By S3's id: the headers that the object is to have.
    open: HashMap<String, HeaderMap>,
    /// By path.
    objects: HashMap<String, Object>,
}

#[derive(Clone)]
struct Object {
    size: String,
    headers: HeaderMap,
}

/// Listens at a free port, prints it, and answers for ever.
///
/// # Errors
/// When no port is free.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?.port());
    let state = Arc::new(Mutex::new(State::default()));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let state = state.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, &state));
            // Whoever hangs up has had what it wanted.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    state: &Mutex<State>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // To the end, or the connection could not be used again.
    let mut body = body;
    while let Some(Ok(_)) = body.frame().await {}
    let query = head.uri.query().unwrap_or_default();
    let parameter = |name: &str| {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.into_iter().find_map(|(known, value)| (known == name).then(|| value.to_owned()))
    };
    let path = head.uri.path().to_owned();
    let has_key = path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = match (&head.method, parameter("uploadId")) {
        (&Method::POST, None) if parameter("uploads").is_some() => state.begin(path, &head.headers),
        (&Method::POST, Some(id)) => state.complete(path, &id, &head.headers),
        (&Method::PUT, Some(_)) => found(&[("etag", ETAG)]),
        (&Method::GET, Some(id)) if state.open.contains_key(&id) => {
            xml(StatusCode::OK, "<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>")
        }
        (&Method::GET, Some(_)) => refused(StatusCode::NOT_FOUND, "NoSuchUpload"),
        (&Method::DELETE, id) => {
            match id {
                Some(id) => state.open.remove(&id).map(drop),
                None => state.objects.remove(&path).map(drop),
            };
            empty(StatusCode::NO_CONTENT)
        }
        (&Method::PUT, None) if has_key => {
            state.objects.insert(path, Object { size: "0".into(), headers: kept(&head.headers) });
            found(&[("etag", ETAG)])
        }
        (&Method::HEAD, None) if has_key => state.head(&path),
        (&Method::HEAD, None) => empty(StatusCode::OK),
        (&Method::GET, None) if parameter("uploads").is_some() => xml(
            StatusCode::OK,
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
        ),
        _ => refused(StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
    };
    Ok(answer)
}

impl State {
    fn begin(&mut self, path: String, headers: &HeaderMap) -> Response<Full<Bytes>> {
        self.begun += 1;
        // As long as AWS's, for it stands in every URL that is signed.
        let id = format!("{:032x}", self.begun).repeat(4);
        self.open.insert(id.clone(), kept(headers));
        let key = path.trim_start_matches('/').split_once('/').unwrap_or_default().1;
        xml(
            StatusCode::OK,
            &format!(
                "<InitiateMultipartUploadResult><Key>{key}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
            ),
        )
    }

    fn complete(&mut self, path: String, id: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if headers.contains_key("if-none-match") && self.objects.contains_key(&path) {
            return refused(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
        }
        let Some(begun) = self.open.remove(id) else {
            return refused(StatusCode::NOT_FOUND, "NoSuchUpload");
        };
        let size = headers.get("x-amz-mp-object-size").and_then(|size| size.to_str().ok()).unwrap_or("0").to_owned();
        self.objects.insert(path, Object { size, headers: begun });
        let etag = ETAG.trim_matches('"');
        xml(
            StatusCode::OK,
            &format!("<CompleteMultipartUploadResult><ETag>&quot;{etag}&quot;</ETag></CompleteMultipartUploadResult>"),
        )
    }

    fn head(&self, path: &str) -> Response<Full<Bytes>> {
        let Some(object) = self.objects.get(path) else { return empty(StatusCode::NOT_FOUND) };
        let mut answer = found(&[("etag", ETAG), ("content-length", &object.size)]);
        answer.headers_mut().extend(object.headers.clone());
        answer
    }
}

/// The headers of a beginning that the object will have.
fn kept(headers: &HeaderMap) -> HeaderMap {
    let of_object = |name: &HeaderName| name.as_str().starts_with("x-amz-meta-") || name == "content-type";
    headers.iter().filter(|(name, _)| of_object(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn found(headers: &[(&'static str, &str)]) -> Response<Full<Bytes>> {
    let mut answer = empty(StatusCode::OK);
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            answer.headers_mut().insert(*name, value);
        }
    }
    answer
}

fn refused(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    xml(status, &format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>"))
}

fn xml(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from(text.to_owned())));
    *answer.status_mut() = status;
    answer.headers_mut().insert("content-type", HeaderValue::from_static("application/xml"));
    answer
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}
