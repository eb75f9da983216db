//! HTTP: the only module that knows poem. Routes, and what every request passes on its way in and out.

mod examples;
mod files;
mod guard;
mod idle;
mod origin;
mod payload;
mod problem;
mod serve;
mod spec;
mod stream;
mod uploads;
mod web;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, EndpointExt, IntoResponse, Request, Response, Route, get};
use poem_openapi::OpenApiService;
use tracing::Instrument;
use uuid::Uuid;

pub use guard::Guard;
pub use origin::Origins;
pub use serve::{serve, serve_metrics};
pub use spec::document;

use crate::coordinator::{Coordinator, Error};
use crate::telemetry::Metrics;
use crate::upload::State;
use files::FilesApi;
use problem::{Code, Problem};
use uploads::UploadsApi;

/// What the routes are made from.
#[derive(Debug, Clone)]
pub struct Site {
    /// Does what the operations ask for.
    pub coordinator: Coordinator,
    /// Who may call: which pages,
    pub origins: Origins,
    /// and which callers.
    pub guard: Guard,
    /// Whether `/` serves the demo.
    pub demo: bool,
    /// `scheme://host[:port]` of the bucket, the other origin that the demo talks to.
    pub storage_origin: String,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// Set when the service is about to stop: from then on it is not ready.
    pub draining: Arc<AtomicBool>,
}

/// Every route of the service, each answer with a request id, each error a problem document.
pub fn routes(site: Site) -> impl Endpoint<Output = Response> {
    let document = spec::document();
    let methods = spec::methods(&document);
    let text: &'static str = document.to_string().leak();
    let api = OpenApiService::new((UploadsApi, FilesApi), "Partita", env!("CARGO_PKG_VERSION"));
    let (coordinator, draining) = (site.coordinator.clone(), site.draining);
    let mut routes = Route::new()
        .nest_no_strip("/v1", api.data(site.coordinator.clone()))
        .at("/livez", get(poem::endpoint::make_sync(|_| json("{\"status\":\"alive\"}"))))
        .at("/readyz", get(poem::endpoint::make(move |_| ready(coordinator.clone(), draining.clone()))))
        .at("/openapi.json", get(poem::endpoint::make_sync(move |_| json(text))))
        .nest("/docs", web::docs());
    if site.demo {
        routes = web::with_demo(routes, &site.storage_origin);
    }
    if !site.guard.is_closed() {
        routes = routes.at("/metrics", metrics_endpoint(site.coordinator.clone(), site.metrics));
    }
    let (origins, guard) = (site.origins, site.guard);
    routes.catch_all_error(to_response).around(move |endpoint, request| {
        let (origins, guard) = (origins.clone(), guard.clone());
        async move { Ok(pass(&*endpoint, request, &origins, &guard, methods).await) }
    })
}

/// `/metrics` alone, for a listener of its own.
pub(super) fn metrics_route(coordinator: Coordinator, metrics: Metrics) -> impl Endpoint<Output = Response> {
    Route::new().at("/metrics", metrics_endpoint(coordinator, metrics)).catch_all_error(to_response)
}

fn metrics_endpoint(coordinator: Coordinator, metrics: Metrics) -> poem::RouteMethod {
    get(poem::endpoint::make(move |_| show_metrics(coordinator.clone(), metrics.clone())))
}

/// A problem of our own goes out as it is; what the framework made of a request becomes one.
async fn to_response(error: poem::Error) -> Response {
    if error.is_from_response() { error.into_response() } else { Problem::from_framework(&error).into_response() }
}

/// What every request passes.
async fn pass(
    endpoint: &impl Endpoint<Output = Response>,
    mut request: Request,
    origins: &Origins,
    guard: &Guard,
    methods: spec::Methods,
) -> Response {
    let (began, request_id) = (Instant::now(), request_id(&request));
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let cors = match origins.check(&request) {
        Ok(cors) => cors,
        Err(problem) => return finish(problem.into_response(), &request_id, &method, &path, methods),
    };
    let operation = methods.operation(&method, &path);
    let mut standing = None;
    let response = if let Some(preflight) = cors.as_ref().and_then(|cors| cors.preflight(&request)) {
        preflight
    } else if percent_decode_str(&path).decode_utf8().is_err() {
        unreadable(&path).into_response()
    } else {
        // What is logged on the way, here and in tasks that go on without us, tells of which request.
        let span = tracing::info_span!("request", request_id, %method, path);
        let work = async {
            if let Some(operation) = operation {
                match guard.admit(&request, operation).await {
                    Ok(admitted) => {
                        standing = admitted.standing;
                        request.extensions_mut().insert(admitted.caller);
                    }
                    Err(problem) => return problem.into_response(),
                }
                if !matches!(operation, "downloadFile" | "streamFile") && !accepts_json(&request) {
                    let detail = "answers are application/json and application/problem+json";
                    return Problem::new(Code::NotAcceptable, detail).into_response();
                }
            }
            endpoint.get_response(request).await
        };
        // A panic is a fault of ours, and one request's alone.
        match std::panic::AssertUnwindSafe(work.instrument(span)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                tracing::error!(request_id, "an operation panicked");
                Problem::internal().into_response()
            }
        }
    };
    let mut response = finish(response, &request_id, &method, &path, methods);
    if let Some(standing) = standing {
        guard::tell(standing, response.headers_mut());
    }
    let operation = operation.unwrap_or("other");
    let status = response.status().as_str().to_owned();
    metrics::counter!("partita_http_requests_total", "operation" => operation, "status" => status).increment(1);
    metrics::histogram!("partita_http_request_seconds", "operation" => operation).record(began.elapsed());
    if let Some(cors) = cors {
        cors.allow(response.headers_mut());
    }
    response
}

fn finish(mut response: Response, request_id: &str, method: &Method, path: &str, methods: spec::Methods) -> Response {
    if let Some(problem) = response.extensions().get::<Problem>() {
        let body = problem.body(request_id);
        response.set_body(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let allow = methods.of(path).parse().unwrap_or(HeaderValue::from_static("GET"));
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let status = response.status();
    tracing::debug!(request_id, %method, path, status = status.as_u16(), "answered");
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("x-request-id", value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if path.starts_with("/v1/") && !headers.contains_key(header::CACHE_CONTROL) {
        // Answers hold presigned URLs, or change at any moment.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// What is not text names nothing: the same answer as for an id that nobody gave.
fn unreadable(path: &str) -> Problem {
    if path.starts_with("/v1/uploads/") {
        Error::UploadNotFound.into()
    } else if path.starts_with("/v1/files/") {
        Error::FileNotFound.into()
    } else {
        Problem::new(Code::RouteNotFound, "there is nothing at this path")
    }
}

/// The client's own id for the request, if it is a sound one, so that logs on both sides meet.
fn request_id(request: &Request) -> String {
    let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
    let sound = |id: &&str| {
        !id.is_empty() && id.len() <= 128 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    given.filter(sound).map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

/// Whether the client takes one of the two types that there are.
fn accepts_json(request: &Request) -> bool {
    let mut values = request.headers().get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let mut fields = range.split(';').map(str::trim);
        let kind = fields.next().unwrap_or_default().to_ascii_lowercase();
        let refused = fields.any(|field| {
            field.strip_prefix("q=").is_some_and(|quality| quality.parse::<f32>().is_ok_and(|quality| quality <= 0.0))
        });
        !refused && matches!(kind.as_str(), "*/*" | "application/*" | "application/json" | "application/problem+json")
    })
}

/// Counters as they stand; what the ledger holds is asked now. Without its answer the rest is shown all the same.
async fn show_metrics(coordinator: Coordinator, metrics: Metrics) -> Response {
    match coordinator.counts().await {
        Ok(counts) => {
            for state in State::ALL {
                let uploads = counts.uploads.get(state.name()).copied().unwrap_or_default();
                metrics::gauge!("partita_uploads", "state" => state.name()).set(uploads as f64);
            }
            metrics::gauge!("partita_overdue_abort_seconds").set(counts.overdue_abort_seconds as f64);
            metrics::gauge!("partita_restored").set(f64::from(u8::from(counts.restored)));
        }
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "the ledger could not be counted"),
    }
    for (pool, used, idle) in coordinator.connections() {
        metrics::gauge!("partita_database_connections", "pool" => pool, "state" => "used").set(f64::from(used));
        metrics::gauge!("partita_database_connections", "pool" => pool, "state" => "idle").set(f64::from(idle));
    }
    Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8").body(metrics.render())
}

fn json(text: &'static str) -> Response {
    Response::builder().content_type("application/json").body(text)
}

async fn ready(coordinator: Coordinator, draining: Arc<AtomicBool>) -> poem::Result<Response> {
    if draining.load(Ordering::Relaxed) {
        Ok(Problem::new(Code::Overloaded, "the service is stopping").retry_after(5).into_response())
    } else if coordinator.is_ready().await {
        Ok(json("{\"status\":\"ready\"}"))
    } else {
        Ok(Problem::new(Code::DatabaseUnavailable, "the database does not answer, or lacks a migration")
            .retry_after(5)
            .into_response())
    }
}
