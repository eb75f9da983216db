//! Cross-origin rules, and the headers and preflight answers that follow from them.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use s3s::Body;
use serde::{Deserialize, Serialize};

/// Which web pages may send which requests to a bucket, and what they may read of the answers.
///
/// The first rule of a bucket that fits a request decides. A bucket without rules answers no cross-origin request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorsRule {
    /// Origins such as `https://app.example`, compared exactly. One `*` in each may stand for anything; at least one.
    pub allowed_origins: Vec<String>,
    /// Out of `GET`, `PUT`, `HEAD`, `POST` and `DELETE`; at least one.
    pub allowed_methods: Vec<String>,
    /// Request headers a page may set, in any case. One `*` in each may stand for anything.
    pub allowed_headers: Vec<String>,
    /// Response headers a page may read, such as `ETag`.
    pub expose_headers: Vec<String>,
    /// For how many seconds a browser may remember a preflight answer; `None` leaves that to the browser.
    pub max_age_seconds: Option<i32>,
}

/// Says what S3 would refuse the rules for.
pub(crate) fn validate(rules: &[CorsRule]) -> Result<(), String> {
    for rule in rules {
        if rule.allowed_origins.is_empty() || rule.allowed_methods.is_empty() {
            return Err("A CORS rule needs at least one AllowedOrigin and one AllowedMethod.".to_owned());
        }
        if let Some(method) = rule.allowed_methods.iter().find(|method| !METHODS.contains(&method.as_str())) {
            return Err(format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}"));
        }
        let patterns = rule.allowed_origins.iter().chain(&rule.allowed_headers);
        if let Some(pattern) = patterns.into_iter().find(|pattern| pattern.matches('*').count() > 1) {
            return Err(format!("\"{pattern}\" can not have more than one wildcard."));
        }
    }
    Ok(())
}

const METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

impl CorsRule {
    fn fits(&self, origin: &str, method: &str, headers: &[String]) -> bool {
        let header_fits =
            |header: &String| self.allowed_headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), header));
        self.allowed_origins.iter().any(|pattern| matches(pattern, origin))
            && self.allowed_methods.iter().any(|allowed| allowed == method)
            && headers.iter().all(header_fits)
    }

    /// The headers every answer under this rule carries.
    fn write(&self, origin: &str, answer: &mut HeaderMap) {
        // As S3: a rule for everybody says so, another names the caller and lets it send credentials.
        if self.allowed_origins.iter().any(|pattern| pattern == "*") {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        } else {
            set(answer, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        set(answer, ACCESS_CONTROL_ALLOW_METHODS, &self.allowed_methods.join(", "));
        if !self.expose_headers.is_empty() {
            set(answer, ACCESS_CONTROL_EXPOSE_HEADERS, &self.expose_headers.join(", "));
        }
        if let Some(seconds) = self.max_age_seconds {
            set(answer, ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
        }
        let vary = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
        answer.append(VARY, HeaderValue::from_static(vary));
    }
}

/// Rules come from outside and may hold what no header can; such a value is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.len() >= head.len() + tail.len() && text.starts_with(head) && text.ends_with(tail),
    }
}

/// What a request says about where it comes from.
pub(crate) struct CrossOrigin {
    origin: String,
    method: String,
    preflight: Option<Preflight>,
}

struct Preflight {
    method: String,
    /// In lower case.
    headers: Vec<String>,
}

impl CrossOrigin {
    /// `None` for a request that names no origin.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let asked_headers = text(ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default().to_ascii_lowercase();
        let asked_headers = asked_headers.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let asked_method = text(ACCESS_CONTROL_REQUEST_METHOD).filter(|_| method == Method::OPTIONS);
        Some(Self {
            origin: text(ORIGIN)?.to_owned(),
            method: method.as_str().to_owned(),
            preflight: asked_method
                .map(|method| Preflight { method: method.to_owned(), headers: asked_headers.collect() }),
        })
    }

    /// The answer, if the request is a preflight.
    pub(crate) fn answer_preflight(&self, rules: &[CorsRule]) -> Option<Response<Body>> {
        let Preflight { method, headers } = self.preflight.as_ref()?;
        if rules.is_empty() {
            return Some(refuse("CORSResponse: CORS is not enabled for this bucket."));
        }
        let Some(rule) = rules.iter().find(|rule| rule.fits(&self.origin, method, headers)) else {
            return Some(refuse(
                "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request \
                 method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the resource's CORS spec.",
            ));
        };
        let mut answer = Response::new(Body::empty());
        rule.write(&self.origin, answer.headers_mut());
        if !headers.is_empty() {
            set(answer.headers_mut(), ACCESS_CONTROL_ALLOW_HEADERS, &headers.join(", "));
        }
        Some(answer)
    }

    /// Lets the page read the answer, an error too, if a rule fits.
    pub(crate) fn mark(&self, rules: &[CorsRule], answer: &mut HeaderMap) {
        if let Some(rule) = rules.iter().find(|rule| rule.fits(&self.origin, &self.method, &[])) {
            rule.write(&self.origin, answer);
        }
    }
}

fn refuse(message: &str) -> Response<Body> {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>AccessForbidden</Code><Message>{message}</Message></Error>"
    );
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = StatusCode::FORBIDDEN;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(origins: &[&str], methods: &[&str], headers: &[&str]) -> CorsRule {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        CorsRule {
            allowed_origins: list(origins),
            allowed_methods: list(methods),
            allowed_headers: list(headers),
            expose_headers: vec!["ETag".to_owned()],
            max_age_seconds: Some(600),
        }
    }

    #[test]
    fn one_star_stands_for_anything_inside_a_pattern() {
        for (pattern, text, fits) in [
            ("*", "http://a", true),
            ("http://*.example", "http://a.b.example", true),
            ("http://*.example", "http://.example", true),
            ("http://*.example", "https://a.example", false),
            ("http://*.example", "http://a.example.evil", false),
            ("ab*ba", "aba", false),
            ("http://a", "http://A", false),
            ("x-amz-*", "x-amz-checksum-crc32c", true),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn a_rule_needs_origin_method_and_every_header_to_fit() {
        let rule = rule(&["http://app.example"], &["PUT"], &["Content-*"]);
        let fits = |origin, method, headers: &[&str]| {
            rule.fits(origin, method, &headers.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert!(fits("http://app.example", "PUT", &[]));
        assert!(fits("http://app.example", "PUT", &["content-type", "content-md5"]));
        assert!(!fits("http://app.example", "PUT", &["content-type", "x-amz-acl"]));
        assert!(!fits("http://app.example", "GET", &[]));
        assert!(!fits("http://evil.example", "PUT", &[]));
    }

    #[test]
    fn rules_s3_would_refuse_are_refused() {
        assert!(validate(&[rule(&["*"], &["PUT"], &["*"])]).is_ok());
        assert!(validate(&[rule(&["*.*"], &["PUT"], &[])]).is_err());
        assert!(validate(&[rule(&["*"], &["PATCH"], &[])]).is_err());
        assert!(validate(&[rule(&["*"], &[], &[])]).is_err());
        assert!(validate(&[rule(&[], &["PUT"], &[])]).is_err());
    }
}
