//! What browsers see: the demo and the API docs, embedded in the binary; they ask no other host for anything.

use poem::endpoint::make_sync;
use poem::http::{HeaderValue, StatusCode, header};
use poem::{Endpoint, IntoResponse, Request, Response, Route, get};
use rust_embed::{EmbeddedFile, RustEmbed};

use super::problem::{Code, Problem};

#[derive(RustEmbed)]
#[folder = "web-demo/"]
#[include = "*.html"]
#[include = "*.css"]
#[include = "*.js"]
#[include = "*.svg"]
#[exclude = "node_modules/*"]
#[exclude = "client/node_modules/*"]
struct Demo;

#[derive(RustEmbed)]
#[folder = "openapi/docs/"]
#[include = "*.html"]
#[include = "*.css"]
#[include = "*.js"]
struct Docs;

/// The API docs, at `/docs` and below.
pub(super) fn docs() -> impl Endpoint<Output = Response> {
    // Swagger UI writes style attributes, and its icons are data URLs.
    let policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";
    get(make_sync(move |request: Request| {
        if request.original_uri().path() == "/docs" {
            // The page's relative links lead from here.
            return Response::builder()
                .status(StatusCode::PERMANENT_REDIRECT)
                .header(header::LOCATION, "/docs/")
                .finish();
        }
        asset::<Docs>(&request, request.uri().path(), policy)
    }))
}

/// The demo at `/` and its files beside it.
pub(super) fn with_demo(mut routes: Route, storage_origin: &str) -> Route {
    let policy = format!(
        "default-src 'self'; connect-src 'self' {storage_origin}; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    let policy: &'static str = policy.leak();
    routes = routes.at("/", get(make_sync(move |request: Request| asset::<Demo>(&request, "", policy))));
    for path in Demo::iter() {
        let endpoint =
            make_sync(move |request: Request| asset::<Demo>(&request, request.original_uri().path(), policy));
        routes = routes.at(format!("/{path}"), get(endpoint));
    }
    routes
}

fn asset<Assets: RustEmbed>(request: &Request, path: &str, policy: &'static str) -> Response {
    let path = match path.trim_start_matches('/') {
        "" => "index.html",
        path => path,
    };
    let Some(file) = Assets::get(path) else {
        return Problem::new(Code::RouteNotFound, "there is nothing at this path").into_response();
    };
    let EmbeddedFile { data, metadata } = file;
    let etag = format!("\"{}\"", &hex::encode(metadata.sha256_hash())[..32]);
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mime = mime_guess::from_path(path).first_or_octet_stream();
        let charset = if mime.type_() == mime::TEXT { "; charset=utf-8" } else { "" };
        Response::builder().content_type(format!("{mime}{charset}")).body(data.into_owned())
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}
