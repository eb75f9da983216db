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

/// A part URL with a source to copy from would be UploadPartCopy, with the service's own rights.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_url_copies_nothing_from_elsewhere() {
    let service = Service::on_sqlite().await;
    let api = &service.api;
    let secret = api.upload(json!({ "filename": "secret" }), b"s3cr3t").await;
    let key = api.get(&format!("/v1/uploads/{secret}")).await.ok(200)["key"].as_str().expect("a key").to_owned();
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": 6 })).await;
    for body in [Vec::new(), b"mine!!".to_vec()] {
        let mut copying = urls[0].clone();
        copying["headers"]["x-amz-copy-source"] = json!(format!("/partita/{key}"));
        let (status, _) = api.put_bytes(&copying, body).await;
        assert_eq!(status, 403);
    }
    let shown = api.call("POST", &format!("/v1/uploads/{id}/sync"), None).await.ok(200);
    assert_eq!(shown["recordedParts"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_link_opens_one_object_as_it_was_signed_and_nothing_else() {
    let service = Service::on_sqlite().await;
    let api = &service.api;
    let page = b"<script>alert(1)</script>";
    let id = api.upload(json!({ "filename": "a.html", "contentType": "text/html" }), page).await;
    let other = api.upload(json!({ "filename": "a.html" }), b"another's").await;
    let link = api.get(&format!("/v1/files/{id}/download-url?cacheable=true")).await.ok(200);
    let url = link["url"].as_str().expect("a URL").to_owned();
    let fetched = api.http.get(&url).send().await.expect("an answer");
    assert_eq!(fetched.status(), 200);
    assert_eq!(fetched.headers()["content-disposition"], "attachment; filename=\"a.html\"");
    let (signed, signature) = url.split_once("&X-Amz-Signature=").expect("a signature");
    let change = |from: &str, to: &str| {
        assert!(url.contains(from), "{from}: {url}");
        url.replace(from, to)
    };
    for (what, changed) in [
        ("another key", change(&id, &other)),
        ("the bucket itself", change(&format!("uploads/{}/{id}/a.html", &id[34..]), "")),
        (
            "another disposition",
            change("response-content-disposition=attachment", "response-content-disposition=inline"),
        ),
        ("no disposition", change("response-content-disposition=", "x-response-content-disposition=")),
        ("another type", change("response-content-type=text%2Fhtml", "response-content-type=text%2Fplain")),
        ("a type again", format!("{url}&response-content-type=text%2Fhtml")),
        ("a disposition again", format!("{url}&response-content-disposition=inline")),
        ("other caching", change("response-cache-control=private", "response-cache-control=public")),
        ("a version", format!("{url}&versionId=null")),
        ("its ACL", format!("{url}&acl")),
        ("its tags", format!("{url}&tagging")),
        ("its parts", format!("{url}&uploadId=x")),
        ("a part of it", format!("{url}&partNumber=1")),
        ("a longer life", change("X-Amz-Expires=86460", "X-Amz-Expires=604800")),
        ("another day", change("X-Amz-Date=2", "X-Amz-Date=3")),
        ("another signature", format!("{signed}&X-Amz-Signature={}", signature.replace(|_| true, "0"))),
        ("no signature", signed.to_owned()),
        ("an empty signature", format!("{signed}&X-Amz-Signature=")),
        ("nothing signed", url.split('?').next().expect("a URL").to_owned()),
    ] {
        let status = api.http.get(&changed).send().await.expect("an answer").status();
        assert!(status.is_client_error(), "{what}: {status} of {changed}");
    }
    for method in ["PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS"] {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let status = api.http.request(method.clone(), &url).body("mine").send().await.expect("an answer").status();
        assert!(status.is_client_error(), "{method}: {status}");
    }
    for header in ["x-amz-copy-source", "x-amz-expected-bucket-owner", "x-amz-security-token", "x-amz-checksum-mode"] {
        let status = api.http.get(&url).header(header, "x").send().await.expect("an answer").status();
        assert!(status.is_client_error(), "{header}: {status}");
    }
    assert_eq!(api.http.get(&url).send().await.expect("an answer").bytes().await.expect("bytes").as_ref(), page);
}
