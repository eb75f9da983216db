//! Browsers are told what the bucket's rules say, and nothing without rules.

use embedded_s3::CorsRule;

use crate::support::{Answer, BUCKET, Server};

const APP: &str = "http://app.example";

fn rule() -> CorsRule {
    CorsRule {
        allowed_origins: vec![APP.to_owned(), "http://*.wild.example".to_owned()],
        allowed_methods: vec!["PUT".to_owned(), "GET".to_owned()],
        allowed_headers: vec!["content-type".to_owned(), "x-amz-*".to_owned()],
        expose_headers: vec!["ETag".to_owned()],
        max_age_seconds: Some(600),
    }
}

fn with_rule() -> Server {
    let server = Server::start();
    server.store.set_cors(BUCKET, vec![rule()]).unwrap();
    server
}

fn preflight(server: &Server, origin: &str, method: &str, headers: &str) -> Answer {
    let url = server.client.part("k", "id", 1, b"").url();
    let request = server.client.request("OPTIONS", "k").header("origin", origin);
    let request = request.header("access-control-request-method", method);
    request.header("access-control-request-headers", headers).send_to(&url)
}

#[test]
fn a_preflight_is_answered_by_the_rule_that_fits() {
    let server = with_rule();
    for origin in [APP, "http://a.wild.example"] {
        let answer = preflight(&server, origin, "PUT", "Content-Type, x-amz-checksum-crc32c").expect_status(200);
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-methods"), "PUT, GET");
        assert_eq!(answer.header("access-control-allow-headers"), "content-type, x-amz-checksum-crc32c");
        assert_eq!(answer.header("access-control-max-age"), "600");
        assert!(answer.header("vary").contains("Origin"));
    }
}

#[test]
fn a_preflight_no_rule_fits_is_refused() {
    let server = with_rule();
    for (origin, method, headers) in [
        ("http://evil.example", "PUT", ""),
        (APP, "DELETE", ""),
        (APP, "PUT", "x-other"),
        ("http://a.wild.example.evil", "PUT", ""),
    ] {
        let answer = preflight(&server, origin, method, headers).expect(403, "AccessForbidden");
        assert_eq!(answer.find("access-control-allow-origin"), None, "{origin} {method} {headers}");
    }
}

#[test]
fn a_page_may_read_answers_and_errors_alike() {
    let server = with_rule();
    let id = server.client.create("k");
    let stored = server.client.part("k", &id, 1, b"x").header("origin", APP).send().expect_status(200);
    let mut wrong = server.client.part("k", &id, 1, b"x").header("origin", APP);
    wrong.secret = "another".to_owned();
    let refused = wrong.send().expect_status(403);
    for answer in [stored, refused] {
        assert_eq!(answer.header("access-control-allow-origin"), APP);
        assert_eq!(answer.header("access-control-expose-headers"), "ETag");
    }
    let other = server.client.part("k", &id, 1, b"x").header("origin", "http://evil.example").send();
    assert_eq!((other.status, other.find("access-control-allow-origin")), (200, None));
}

#[test]
fn a_bucket_without_rules_answers_no_other_origin() {
    let server = Server::start();
    let answer = preflight(&server, APP, "PUT", "").expect(403, "AccessForbidden");
    assert_eq!(answer.find("access-control-allow-origin"), None);
    let put = server.client.put("k", b"x").header("origin", APP).send().expect_status(200);
    assert_eq!(put.find("access-control-allow-origin"), None);
}

#[test]
fn rules_can_be_put_read_and_removed_over_http() {
    let server = Server::start();
    let get = || server.client.get("").query("cors", "").send();
    get().expect(404, "NoSuchCORSConfiguration");
    let put = |origin: &str| {
        let xml = format!(
            "<CORSConfiguration><CORSRule><AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
             </CORSRule></CORSConfiguration>"
        );
        server.client.put("", xml.as_bytes()).query("cors", "").send()
    };
    put("*.*").expect(400, "InvalidRequest");
    put("*").expect_status(200);
    assert_eq!(get().xml("AllowedOrigin"), "*");
    assert_eq!(preflight(&server, APP, "PUT", "").header("access-control-allow-origin"), "*");
    server.client.request("DELETE", "").query("cors", "").send().expect_status(204);
    get().expect(404, "NoSuchCORSConfiguration");
    preflight(&server, APP, "PUT", "").expect_status(403);
}

#[test]
fn rules_s3_would_refuse_are_refused_here() {
    let server = Server::start();
    let kind = |bucket: &str, rule: CorsRule| server.store.set_cors(bucket, vec![rule]).unwrap_err().kind();
    assert_eq!(kind("none", rule()), std::io::ErrorKind::NotFound);
    let odd = CorsRule { allowed_methods: vec!["PATCH".to_owned()], ..rule() };
    assert_eq!(kind(BUCKET, odd), std::io::ErrorKind::InvalidInput);
}
