//! The bytes of a file through the service: ranges, conditions, constant memory, and clean ends.

use std::time::Duration;

use serde_json::json;

use crate::support::scripted_s3::Operation::GetObject;
use crate::support::scripted_s3::on;
use crate::support::{Api, MIB, Service, file, on_both_databases};

on_both_databases! { a_file_is_streamed_as_rfc_9110_says }

/// Status, some headers, and the bytes.
struct Streamed {
    status: u16,
    headers: reqwest::header::HeaderMap,
    bytes: Vec<u8>,
}

impl Streamed {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

async fn stream(api: &Api, id: &str, query: &str, headers: &[(&str, &str)]) -> Streamed {
    let mut request = api.http.get(format!("{}/v1/files/{id}/content{query}", api.base));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Streamed { status, headers, bytes: response.bytes().await.expect("the bytes").to_vec() }
}

async fn a_file_is_streamed_as_rfc_9110_says(service: Service) {
    let api = &service.api;
    let bytes = file(6 * MIB);
    let id = api.upload(json!({ "filename": "ä.png", "contentType": "image/png" }), &bytes).await;
    let etag = api.get(&format!("/v1/files/{id}")).await.ok(200)["etag"].as_str().expect("an ETag").to_owned();

    let whole = stream(api, &id, "", &[]).await;
    assert_eq!((whole.status, whole.bytes == bytes), (200, true));
    assert_eq!(whole.header("content-length"), bytes.len().to_string());
    assert_eq!((whole.header("etag"), whole.header("accept-ranges")), (etag.as_str(), "bytes"));
    assert_eq!(whole.header("content-type"), "image/png");
    assert_eq!(whole.header("content-disposition"), "attachment; filename=\"_.png\"; filename*=UTF-8''%C3%A4.png");
    assert_eq!(whole.header("cache-control"), "private, no-cache");
    assert_eq!(
        stream(api, &id, "?disposition=inline", &[]).await.header("content-disposition").split(';').next(),
        Some("inline")
    );

    let part = stream(api, &id, "", &[("range", "bytes=5242879-5242881")]).await;
    assert_eq!((part.status, part.bytes.as_slice()), (206, &bytes[5_242_879..=5_242_881]));
    assert_eq!(part.header("content-range"), format!("bytes 5242879-5242881/{}", bytes.len()));
    assert_eq!(part.header("content-length"), "3");
    let last = stream(api, &id, "", &[("range", "bytes=-2")]).await;
    assert_eq!((last.status, last.bytes.as_slice()), (206, &bytes[bytes.len() - 2..]));
    assert_eq!(stream(api, &id, "", &[("range", "bytes=0-1,5-6")]).await.status, 200, "of several the whole");
    let beyond = stream(api, &id, "", &[("range", "bytes=6291456-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */6291456"));
    assert_eq!(beyond.header("content-type"), "application/problem+json");

    // Conditions: what the caller has is not sent again; a range of another version is not sent at all.
    for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let unchanged = stream(api, &id, "", &[("if-none-match", &known)]).await;
        assert_eq!((unchanged.status, unchanged.bytes.len()), (304, 0), "{known}");
        assert_eq!(unchanged.header("etag"), etag);
    }
    assert_eq!(stream(api, &id, "", &[("if-none-match", "\"x\"")]).await.status, 200);
    assert_eq!(stream(api, &id, "", &[("range", "bytes=0-1"), ("if-range", &etag)]).await.status, 206);
    assert_eq!(stream(api, &id, "", &[("range", "bytes=0-1"), ("if-range", "\"x\"")]).await.status, 200);

    // Nothing that could run script runs in our origin.
    for kind in ["text/html", "image/svg+xml", "application/xml", "text/html; charset=utf-8"] {
        let id = api.upload(json!({ "filename": "x", "contentType": kind }), b"<script>alert(1)</script>").await;
        let hostile = stream(api, &id, "?disposition=inline", &[]).await;
        assert_eq!(hostile.header("content-type"), "application/octet-stream", "{kind}");
        assert!(hostile.header("content-disposition").starts_with("attachment"), "{kind}");
        assert_eq!(hostile.header("content-security-policy"), "sandbox; default-src 'none'");
        assert_eq!(hostile.header("x-content-type-options"), "nosniff");
    }

    let (empty, ..) = api.create(json!({ "filename": "empty", "size": 0 })).await;
    api.complete(&empty, None).await.ok(200);
    let nothing = stream(api, &empty, "", &[]).await;
    assert_eq!((nothing.status, nothing.header("content-length"), nothing.bytes.len()), (200, "0", 0));
    assert_eq!(stream(api, &empty, "", &[("range", "bytes=0-")]).await.status, 416);
}

/// S3's answer breaks off: the caller sees that it has less than was promised, rather than a short file.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_breaks_off_does_not_look_like_the_end_of_the_file() {
    let service = Service::scripted(false, |_| {}).await;
    let id = service.api.upload(json!({ "filename": "x" }), b"hello").await;
    let get = async || {
        let request = service.api.http.get(format!("{}/v1/files/{id}/content", service.api.base));
        request.send().await.expect("an answer")
    };
    let cut = service.s3().play(on(GetObject).breaks_off(2));
    let response = get().await;
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err(), "two of five bytes are no file");
    cut.lift();
    let away = service.s3().play(on(GetObject).unapplied().refused(503, "SlowDown"));
    service.api.get(&format!("/v1/files/{id}/content")).await.problem(503, "storage-unavailable");
    away.lift();
    // Another object in its place is not ours to hand out.
    let upload = service.ledger_upload(&id).await;
    service.s3().put_foreign_object(&upload.key).await;
    service.api.get(&format!("/v1/files/{id}/content")).await.problem(404, "file-not-found");
}

/// Who reads slowly, or goes away, costs no memory and holds up nobody.
#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_in_the_middle_leaves_nothing_behind() {
    let service = Service::on_sqlite().await;
    let bytes = file(40 * MIB);
    let id = service.api.upload(json!({ "filename": "x" }), &bytes).await;
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number")
    };
    let before = resident();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let request = service.api.http.get(format!("{}/v1/files/{id}/content", service.api.base));
        let mut response = request.send().await.expect("an answer");
        assert!(response.chunk().await.expect("bytes").is_some());
        slow.push(response);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let grown = resident().saturating_sub(before) / 1024;
    assert!(grown < 400, "twenty readers of 40 MiB that do not read took {grown} MiB");
    drop(slow);
    let whole = stream(&service.api, &id, "", &[]).await;
    assert!(whole.bytes == bytes);
}
