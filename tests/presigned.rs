//! What a part URL forbids, S3 itself refuses.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{MIB, Service, file};

#[tokio::test(flavor = "multi_thread")]
async fn s3_refuses_whatever_was_not_signed() {
    let service = Service::on_sqlite().await;
    let api = &service.api;
    let bytes = file(20 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    let part = &urls[0];
    let whole = &bytes[..8 * MIB as usize];
    let with_url = |change: &dyn Fn(&str) -> String| {
        let mut part: Value = part.clone();
        part["url"] = json!(change(part["url"].as_str().expect("a URL")));
        part
    };
    let refused = async |what: &str, part: &Value, bytes: &[u8]| {
        let (status, _) = api.put_bytes(part, bytes.to_vec()).await;
        assert!(status.is_client_error(), "{what}: {status}");
        let shown = api.call("POST", &format!("/v1/uploads/{id}/sync"), None).await.ok(200);
        assert_eq!(shown["recordedParts"].as_i64(), Some(0), "{what} was stored");
    };
    refused("a longer body", part, &bytes[..8 * MIB as usize + 1]).await;
    refused("a shorter body", part, &bytes[..8 * MIB as usize - 1]).await;
    refused("an empty body", part, &[]).await;
    refused("another part number", &with_url(&|url| url.replace("partNumber=1&", "partNumber=2&")), whole).await;
    refused("a part number beyond the plan", &with_url(&|url| url.replace("partNumber=1&", "partNumber=9&")), whole)
        .await;
    refused("another key", &with_url(&|url| url.replace("/x?", "/y?")), whole).await;
    refused("another upload", &with_url(&|url| url.replace("uploadId=", "uploadId=0")), whole).await;
    refused("a longer life", &with_url(&|url| url.replace("X-Amz-Expires=900", "X-Amz-Expires=9000")), whole).await;
    refused("fewer signed headers", &with_url(&|url| url.replace("content-length%3Bhost", "host")), whole).await;
    refused("no signature", &with_url(&|url| url.split("&X-Amz-Signature").next().expect("a URL").to_owned()), whole)
        .await;
    let mut extra = part.clone();
    extra["headers"]["x-amz-acl"] = json!("public-read");
    refused("a header that nobody signed", &extra, whole).await;
    let got = api.http.get(part["url"].as_str().expect("a URL")).send().await.expect("an answer");
    assert!(got.status().is_client_error(), "another method");

    let short = json!({ "parts": "1", "ttlSeconds": 1 });
    let signed = api.post(&format!("/v1/uploads/{id}/part-urls"), short).await.ok(200);
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    refused("an expired URL", &signed["partUrls"][0], whole).await;

    assert_eq!(api.put_part(part, &bytes).await.0, 200, "the right body at the right time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_part_needs_no_header_at_all() {
    let service = Service::on_sqlite().await;
    let (id, _, urls) = service.api.create(json!({ "filename": "x", "size": 5 })).await;
    assert_eq!(urls[0]["headers"], json!({}));
    let url = urls[0]["url"].as_str().expect("a URL");
    assert!(url.contains("X-Amz-SignedHeaders=content-length%3Bhost&"), "{url}");
    for word in ["checksum", "content-type", "x-id", "sdk"] {
        assert!(!url.to_lowercase().contains(word), "{url} holds {word}");
    }
    let source = service.folder().join("part");
    std::fs::write(&source, b"hello").expect("written");
    let curl =
        tokio::process::Command::new("curl").args(["-sSf", "-X", "PUT", "-T"]).arg(&source).arg(url).status().await;
    assert!(curl.expect("curl").success());
    service.api.complete(&id, None).await.ok(200);
    assert_eq!(service.api.download(&id).await.1, b"hello");
}
