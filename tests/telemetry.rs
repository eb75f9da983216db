//! What an operator sees, and what must never be seen: metrics, logs with ids, and neither signature nor key in any of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::{MIB, Service, file, on_both_databases};

on_both_databases! {
    metrics_tell_what_the_ledger_holds_and_what_was_done
}

impl Service {
    /// `/metrics`, by name and labels.
    async fn metrics(&self) -> BTreeMap<String, f64> {
        let answer = self.api.http.get(format!("{}/metrics", self.api.base)).send().await.expect("an answer");
        assert!(answer.headers()["content-type"].to_str().expect("text").starts_with("text/plain; version=0.0.4"));
        let text = answer.text().await.expect("text");
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect("a sample");
            (name.to_owned(), value.parse().expect("a number"))
        };
        text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(sample).collect()
    }
}

async fn metrics_tell_what_the_ledger_holds_and_what_was_done(service: Service) {
    let api = &service.api;
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
    api.put_parts(&urls, b"hello").await;
    api.complete(&id, None).await.ok(200);
    let (gone, ..) = api.create(json!({ "filename": "x", "size": 5 })).await;
    api.delete(&format!("/v1/uploads/{gone}")).await.ok(204);
    let metrics = service.metrics().await;
    assert_eq!(metrics["partita_uploads{state=\"completed\"}"], 1.0);
    assert_eq!(metrics["partita_uploads{state=\"aborting\"}"], 1.0);
    assert_eq!(metrics["partita_uploads{state=\"open\"}"], 0.0);
    assert_eq!(metrics["partita_overdue_abort_seconds"], 0.0);
    assert_eq!(metrics["partita_restored"], 0.0);
    assert_eq!(metrics["partita_s3_calls_total{operation=\"CompleteMultipartUpload\",result=\"ok\"}"], 1.0);
    assert_eq!(metrics["partita_http_requests_total{operation=\"createUpload\",status=\"201\"}"], 2.0);
    assert!(metrics["partita_http_request_seconds_count{operation=\"completeUpload\"}"] >= 1.0);
    let pools: &[&str] = if service.database_url.starts_with("sqlite") { &["write", "read"] } else { &["all"] };
    for pool in pools {
        assert!(metrics.contains_key(&format!("partita_database_connections{{pool=\"{pool}\",state=\"used\"}}")));
    }

    // An abort that is not proved an hour after it could have been.
    service.advance(Duration::from_secs(3 * 3600));
    assert!(service.metrics().await["partita_overdue_abort_seconds"] > 3600.0);
    service.app.as_ref().expect("running").sweep().await.expect("swept");
    let metrics = service.metrics().await;
    assert_eq!(metrics["partita_swept_total{from=\"aborting\",to=\"aborted\"}"], 1.0);
    assert_eq!(metrics["partita_overdue_abort_seconds"], 0.0);

    // However many uploads and paths there are, there are no more names.
    let names = metrics.len();
    for number in 0..5 {
        api.get(&format!("/v1/uploads/{number}")).await.problem(404, "upload-not-found");
        let nowhere = format!("{}/nowhere/{number}", api.base);
        assert_eq!(api.http.get(nowhere).send().await.expect("an answer").status(), 404);
    }
    let more = service.metrics().await.len() - names;
    assert!(more <= 2 * 16, "one operation with its buckets, and one for all that is none: {more}");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_uploads_that_nobody_knows_are_counted() {
    let mut service = Service::with(|_| {}).await;
    let (id, ..) = service.api.create(json!({ "filename": "x", "size": 5 })).await;
    let ours = service.ledger_upload(&id).await;
    for _ in 0..2 {
        let mut unknown = ours.clone();
        unknown.key = format!("uploads/{}/x", uuid::Uuid::now_v7());
        service.bucket().create(&unknown, &partita::config::Preset::default()).await.expect("begun");
    }
    service.settings.sweep_interval = Duration::from_millis(100);
    service.restart().await;
    for _ in 0..600 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Some(counted) = service.metrics().await.get("partita_unknown_uploads") {
            assert_eq!(*counted, 2.0);
            return;
        }
    }
    panic!("never counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_tell_which_request_and_upload_and_hold_no_secret_at_any_level() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let environment = [
        ("PARTITA_LISTEN", "127.0.0.1:0"),
        ("PARTITA_EMBEDDED_S3_LISTEN", "127.0.0.1:0"),
        ("PARTITA_LOG", "trace"),
        ("PARTITA_LOG_FORMAT", "json"),
        ("PARTITA_EMBEDDED_S3_ACCESS_KEY", "AKOFTHETEST"),
        ("PARTITA_EMBEDDED_S3_SECRET_KEY", "a-secret-of-the-test"),
    ];
    let running = crate::process::start_logging(folder.path(), &environment, &log).await;
    let api = &running.api;
    let bytes = file(9 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    let path = format!("/v1/uploads/{id}");
    let sent = api.put_parts(&urls, &bytes).await;
    let wrong = json!({ "parts": [{ "partNumber": 1, "etag": "wrong" }, sent[1]] });
    api.complete(&id, Some(wrong)).await.problem(409, "parts-differ");
    api.put(&format!("{path}/parts"), json!({ "parts": sent })).await.ok(200);
    let marked = api.http.post(format!("{}{path}/complete", api.base)).header("x-request-id", "the-request");
    api.send(marked).await.ok(200);
    api.download(&id).await;
    let (gone, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
    api.delete(&format!("/v1/uploads/{gone}")).await.ok(204);
    assert_eq!(api.put_part(&urls[0], b"hello").await.0, 404);
    running.kill().await;

    let text = std::fs::read_to_string(&log).expect("the log");
    assert!(text.lines().count() >= 8, "all that we say is logged");
    let of_the_request: Vec<&str> = text.lines().filter(|line| line.contains("the-request")).collect();
    assert!(of_the_request.iter().any(|line| line.contains(&id)), "by request and upload");
    let url = urls[0]["url"].as_str().expect("a URL");
    let signature = url.split("X-Amz-Signature=").nth(1).expect("a signature");
    for secret in [signature, "X-Amz-Signature", "a-secret-of-the-test", "Signature=", "AWS4-HMAC-SHA256 Credential"] {
        let leak = text.lines().find(|line| line.contains(secret));
        assert!(leak.is_none(), "{secret}: {}", leak.unwrap_or_default());
    }
}
