//! Who may call. Without auth a page of any other site must not reach the service, not even by a name that it made resolve
//! to this machine (DNS rebinding): `Host` must be loopback or allowed, `Origin` our own or allowed.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use poem::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use poem::{IntoResponse, Request, Response};

use super::problem::{Code, Problem};
use crate::config::Settings;

/// The origins and hosts that may call.
#[derive(Debug, Clone)]
pub struct Origins(Arc<Allowed>);

#[derive(Debug)]
struct Allowed {
    origins: Vec<String>,
    hosts: Vec<String>,
    /// With auth a name that leads here is no danger: a page has no credential that a browser would send by itself.
    any_host: bool,
}

impl From<&Settings> for Origins {
    fn from(settings: &Settings) -> Self {
        let lower = |names: &[String]| names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Origins(Arc::new(Allowed {
            origins: lower(&settings.allowed_origins),
            hosts: lower(&settings.allowed_hosts),
            any_host: !settings.is_without_auth(),
        }))
    }
}

/// What a page of an allowed origin is told.
pub(super) struct Cors(HeaderValue);

impl Origins {
    /// Whether this request may be served; `Some` if it comes from a page of another, allowed origin.
    pub(super) fn check(&self, request: &Request) -> Result<Option<Cors>, Problem> {
        let headers = request.headers();
        let text =
            |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_ascii_lowercase);
        let refuse = |detail: &str| Problem::new(Code::ForbiddenOrigin, detail);
        // HTTP/2 has no `Host`; there, and in a request to a proxy, the URL names the authority.
        let authority = request.uri().authority().map(|authority| authority.as_str().to_ascii_lowercase());
        let is_single = |name: HeaderName| headers.get_all(name).iter().count() <= 1;
        let known = authority.as_ref().is_none_or(|authority| self.serves(authority));
        let host = text(header::HOST).or(authority);
        let host = host.filter(|host| is_single(header::HOST) && known && self.serves(host));
        let Some(host) = host else {
            return Err(refuse("this service is not known by that Host; see the setting allowed_hosts"));
        };
        if !headers.contains_key(header::ORIGIN) {
            return Ok(None);
        }
        let origin = text(header::ORIGIN).filter(|_| is_single(header::ORIGIN)).unwrap_or_default();
        if origin == format!("http://{host}") || origin == format!("https://{host}") {
            return Ok(None);
        }
        match HeaderValue::from_str(&origin) {
            Ok(value) if self.0.origins.contains(&origin) => Ok(Some(Cors(value))),
            _ => Err(refuse("pages of that origin may not call this service; see the setting allowed_origins")),
        }
    }

    fn serves(&self, host: &str) -> bool {
        if self.0.any_host {
            return true;
        }
        let (name, rest) = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').unwrap_or_default(),
            None => host.split_at(host.find(':').unwrap_or(host.len())),
        };
        // Behind the name stands a port or nothing: `[::1].evil.example` is another name.
        let is_all =
            rest.is_empty() || rest.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
        let is_loopback = if host.starts_with('[') {
            name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback())
        } else {
            name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        };
        is_all && (is_loopback || self.0.hosts.iter().any(|allowed| allowed == name))
    }
}

impl Cors {
    /// The answer to a preflight, if this request is one.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if request.method() != Method::OPTIONS || !asks {
            return None;
        }
        let mut response = poem::http::StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, PUT, DELETE"));
        let allowed = HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key");
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
        Some(response)
    }

    /// Lets the page read the answer.
    pub(super) fn allow(&self, headers: &mut HeaderMap) {
        let exposed = "Location, Retry-After, X-Request-Id, Idempotency-Replayed, RateLimit, RateLimit-Policy";
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}
