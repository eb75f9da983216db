//! Bad input gets the contract's problem document and changes nothing.

use serde_json::{Value, json};

use crate::support::{MIB, Service, on_both_databases};

on_both_databases! {
    a_bad_creation_is_refused_and_leaves_nothing
    bad_parts_are_refused_and_nothing_is_recorded
    unknown_and_malformed_ids_are_the_same_answer
    the_frameworks_own_errors_are_problem_documents_too
}

async fn a_bad_creation_is_refused_and_leaves_nothing(service: Service) {
    let api = &service.api;
    let long_value = "v".repeat(1_600);
    #[rustfmt::skip]
    let table = [
        (json!({}), 400, "invalid-request"),
        (json!([]), 400, "invalid-request"),
        (json!("x"), 400, "invalid-request"),
        (json!({ "filename": null }), 400, "invalid-request"),
        (json!({ "filename": 5 }), 400, "invalid-request"),
        (json!({ "filename": "x", "size": "5" }), 400, "invalid-request"),
        (json!({ "filename": "x", "size": 1.5 }), 400, "invalid-request"),
        (json!({ "filename": "x", "size": 1e30 }), 400, "invalid-request"),
        (json!({ "filename": "x", "size": null }), 400, "invalid-request"),
        (json!({ "filename": "x", "size": 9_223_372_036_854_775_808_u64 }), 400, "invalid-request"),
        (json!({ "filename": "x", "partUrls": { "count": 1_001 } }), 400, "invalid-request"),
        (json!({ "filename": "x", "partUrls": { "count": -1 } }), 400, "invalid-request"),
        (json!({ "filename": "x", "partUrls": { "count": 1, "ttlSeconds": 604_801 } }), 400, "invalid-request"),
        (json!({ "filename": "x", "partUrls": { "count": 1, "ttlSeconds": 0 } }), 400, "invalid-request"),
        (json!(["x", 5]), 400, "invalid-request"),
        (json!({ "filename": "x", "partUrls": [5] }), 400, "invalid-request"),
        (json!({ "filename": "x", "checksum": ["CRC64NVME", "AAAAAAAAAAA="] }), 400, "invalid-request"),
        (json!({ "filename": "x", "autoComplete": "yes" }), 400, "invalid-request"),
        (json!({ "filename": "x", "metadata": { "a": 1 } }), 400, "invalid-request"),
        (json!({ "filename": "x", "owner": "me" }), 400, "unknown-field"),
        (json!({ "filename": "x", "key": "a" }), 400, "unknown-field"),
        (json!({ "filename": "x", "bucket": "a" }), 400, "unknown-field"),
        (json!({ "filename": "x", "state": "completed" }), 400, "unknown-field"),
        (json!({ "filename": "x", "acl": "public-read" }), 400, "unknown-field"),
        (json!({ "filename": "x", "endpoint": "http://169.254.169.254" }), 400, "unknown-field"),
        (json!({ "filename": "x", "partUrls": { "count": 1, "x": 1 } }), 400, "unknown-field"),
        (json!({ "filename": "x", "checksum": { "algorithm": "CRC64NVME", "value": "", "x": 1 } }), 400, "unknown-field"),
        (json!({ "filename": "x", "preset": "video" }), 404, "preset-not-found"),
        (json!({ "filename": "" }), 422, "invalid-filename"),
        (json!({ "filename": "../x" }), 422, "invalid-filename"),
        (json!({ "filename": "a\r\nb" }), 422, "invalid-filename"),
        (json!({ "filename": "é".repeat(128) }), 422, "invalid-filename"),
        (json!({ "filename": "x", "contentType": "text" }), 422, "invalid-content-type"),
        (json!({ "filename": "x", "contentType": "text/plain\r\nX: y" }), 422, "invalid-content-type"),
        (json!({ "filename": "x", "size": -1 }), 422, "invalid-size"),
        (json!({ "filename": "x", "size": 1, "partSize": 1 }), 422, "invalid-part-size"),
        (json!({ "filename": "x", "partChecksum": "MD5" }), 422, "invalid-checksum"),
        (json!({ "filename": "x", "checksum": { "algorithm": "SHA256", "value": "AAAA" } }), 422, "invalid-checksum"),
        (json!({ "filename": "x", "checksum": { "algorithm": "CRC64NVME", "value": "AAAA" } }), 422, "invalid-checksum"),
        (json!({ "filename": "x", "metadata": { "A": "x" } }), 422, "invalid-metadata"),
        (json!({ "filename": "x", "metadata": { "partita-upload-id": "x" } }), 422, "invalid-metadata"),
        (json!({ "filename": "x", "metadata": { "a": long_value } }), 422, "invalid-metadata"),
        (json!({ "filename": "x", "size": 5, "fingerprint": "p1-6-0123456789abcdef" }), 422, "invalid-fingerprint"),
        (json!({ "filename": "x", "fingerprint": "x" }), 422, "invalid-fingerprint"),
    ];
    for (body, status, code) in table {
        let problem = api.post("/v1/uploads", body.clone()).await.problem(status, code);
        if code == "invalid-request" || code == "unknown-field" {
            assert!(problem["errors"][0]["field"].is_string(), "{body} → {problem}");
        }
    }
    let named = api.post("/v1/uploads", json!({ "filename": "x", "partUrls": { "count": 1, "ttl": 1 } })).await.body;
    assert_eq!(named["errors"][0]["field"], "partUrls.ttl");
    let named = api.post("/v1/uploads", json!({ "filename": "x", "partUrls": { "count": "1" } })).await.body;
    assert_eq!(named["errors"][0], json!({ "field": "partUrls.count", "detail": "expected a whole number" }));

    let send = async |body: Vec<u8>, kind: &str| {
        let request = api.http.post(format!("{}/v1/uploads", api.base)).header("content-type", kind).body(body);
        api.send(request).await
    };
    let sound = || json!({ "filename": "x", "size": 5 }).to_string().into_bytes();
    for raw in
        ["", "{", "{\"filename\": \"x\"", "{\"filename\": \"\\ud800\"}", "nul", "{} {}", "{\"filename\": \"\u{1}\"}"]
    {
        let code = send(raw.into(), "application/json").await.body["code"].clone();
        assert!(code == "malformed-json" || raw == "{} {}", "{raw:?} → {code}");
    }
    send(vec![0xff, 0xfe], "application/json").await.problem(400, "malformed-json");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    send(format!("{{\"filename\":\"x\",\"metadata\":{deep}}}").into(), "application/json")
        .await
        .problem(400, "invalid-request");
    send(deep.into(), "application/json").await.problem(400, "invalid-request");
    send(b"{\"filename\":\"x\",\"filename\":\"y\"}".to_vec(), "application/json").await.problem(400, "invalid-request");
    send(sound(), "text/plain").await.problem(415, "unsupported-media-type");
    send(sound(), "application/json; charset=latin1").await.problem(415, "unsupported-media-type");
    send(sound(), "application/x-www-form-urlencoded").await.problem(415, "unsupported-media-type");
    let bare = api.http.post(format!("{}/v1/uploads", api.base)).body(sound());
    api.send(bare).await.problem(415, "unsupported-media-type");
    let large = json!({ "filename": "x".repeat(2 << 20) }).to_string();
    send(large.clone().into(), "application/json").await.problem(413, "body-too-large");
    // Without a Content-Length the service counts for itself.
    let chunks = futures_util::stream::iter(
        large.into_bytes().chunks(65_536).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
    );
    let chunked = api.http.post(format!("{}/v1/uploads", api.base)).header("content-type", "application/json");
    api.send(chunked.body(reqwest::Body::wrap_stream(chunks))).await.problem(413, "body-too-large");

    assert_eq!(api.get("/v1/uploads").await.ok(200)["items"], json!([]), "nothing was created");
    send(sound(), "application/json; charset=UTF-8").await.ok(201);
}

async fn bad_parts_are_refused_and_nothing_is_recorded(service: Service) {
    let api = &service.api;
    let (id, ..) = api.create(json!({ "filename": "x", "size": 20 * MIB, "partUrls": { "count": 0 } })).await;
    let path = format!("/v1/uploads/{id}");
    #[rustfmt::skip]
    let sign = [
        (json!({}), 400, "invalid-request"),
        (json!({ "parts": "1", "items": [{ "partNumber": 1 }] }), 400, "invalid-request"),
        (json!({ "items": [] }), 400, "invalid-request"),
        (json!({ "parts": "" }), 400, "invalid-request"),
        (json!({ "parts": "3-1" }), 400, "invalid-request"),
        (json!({ "parts": "1,x" }), 400, "invalid-request"),
        (json!({ "parts": [1] }), 400, "invalid-request"),
        (json!({ "parts": "1", "ttlSeconds": 604_801 }), 400, "invalid-request"),
        (json!({ "parts": "1", "ttlSeconds": 0 }), 400, "invalid-request"),
        (json!({ "parts": "1", "ttl": 5 }), 400, "unknown-field"),
        (json!({ "items": [{ "partNumber": 1, "x": 1 }] }), 400, "unknown-field"),
        (json!({ "items": [{ "partNumber": "1" }] }), 400, "invalid-request"),
        (json!({ "items": [{ "partNumber": 99_999_999_999_i64 }] }), 400, "invalid-request"),
        (json!({ "parts": "0" }), 422, "invalid-part-number"),
        (json!({ "parts": "1-4" }), 422, "invalid-part-number"),
        (json!({ "items": [{ "partNumber": -1 }] }), 422, "invalid-part-number"),
        (json!({ "parts": "1-10001" }), 422, "batch-too-large"),
        (json!({ "parts": "1-999999999" }), 422, "batch-too-large"),
        (json!({ "items": [{ "partNumber": 1, "size": 5 }] }), 422, "size-mismatch"),
        (json!({ "items": [{ "partNumber": 1, "checksum": "AAAAAAAAAAA=" }] }), 422, "invalid-checksum"),
    ];
    for (body, status, code) in sign {
        api.post(&format!("{path}/part-urls"), body).await.problem(status, code);
    }
    let refused =
        api.post(&format!("{path}/part-urls"), json!({ "parts": "4" })).await.problem(422, "invalid-part-number");
    assert_eq!(refused["partCount"], 3);

    let good = json!({ "partNumber": 1, "etag": "x" });
    #[rustfmt::skip]
    let record = [
        (json!({}), 400, "invalid-request"),
        (json!({ "parts": [] }), 400, "invalid-request"),
        (json!({ "parts": [good, good] }), 400, "invalid-request"),
        (json!({ "parts": [good, { "partNumber": 2 }] }), 400, "invalid-request"),
        (json!({ "parts": [good, [2, "x"]] }), 400, "invalid-request"),
        (json!({ "parts": [good, { "partNumber": 2, "etag": "x", "e": 1 }] }), 400, "unknown-field"),
        (json!({ "parts": [good, { "partNumber": 0, "etag": "x" }] }), 422, "invalid-part-number"),
        (json!({ "parts": [good, { "partNumber": 4, "etag": "x" }] }), 422, "invalid-part-number"),
        (json!({ "parts": [good, { "partNumber": 2, "etag": "" }] }), 422, "invalid-etag"),
        (json!({ "parts": [good, { "partNumber": 2, "etag": "</ETag><PartNumber>" }] }), 422, "invalid-etag"),
        (json!({ "parts": [good, { "partNumber": 2, "etag": "x".repeat(10_000) }] }), 422, "invalid-etag"),
        (json!({ "parts": [good, { "partNumber": 2, "etag": "x", "size": 1 }] }), 422, "size-mismatch"),
        (json!({ "parts": [good, { "partNumber": 2, "etag": "x", "checksum": "AAAA" }] }), 422, "invalid-checksum"),
    ];
    for (body, status, code) in record {
        api.put(&format!("{path}/parts"), body.clone()).await.problem(status, code);
        if body["parts"].is_array() && body["parts"] != json!([]) {
            api.post(&format!("{path}/complete"), body).await.problem(status, code);
        }
    }
    for (number, body, status, code) in [
        ("0", json!({ "etag": "x" }), 422, "invalid-part-number"),
        ("4", json!({ "etag": "x" }), 422, "invalid-part-number"),
        ("-1", json!({ "etag": "x" }), 422, "invalid-part-number"),
        ("1e3", json!({ "etag": "x" }), 422, "invalid-part-number"),
        ("99999999999", json!({ "etag": "x" }), 422, "invalid-part-number"),
        ("1", json!({ "etag": "" }), 422, "invalid-etag"),
        ("1", json!({ "etag": "x", "size": 1 }), 422, "size-mismatch"),
        ("1", json!({ "etag": 5 }), 400, "invalid-request"),
        ("1", json!({ "etag": "x", "partNumber": 1 }), 400, "unknown-field"),
    ] {
        api.put(&format!("{path}/parts/{number}"), body).await.problem(status, code);
    }
    let complete = async |body: Value| api.post(&format!("{path}/complete"), body).await;
    complete(json!({ "size": 5 })).await.problem(422, "size-mismatch");
    complete(json!({ "checksum": { "algorithm": "CRC64NVME", "value": "x" } })).await.problem(422, "invalid-checksum");
    complete(json!({ "sise": 5 })).await.problem(400, "unknown-field");
    let shown = api.get(&path).await.ok(200);
    assert_eq!((shown["state"].as_str(), shown["recordedParts"].as_i64()), (Some("open"), Some(0)), "all or nothing");
}

async fn unknown_and_malformed_ids_are_the_same_answer(service: Service) {
    let api = &service.api;
    let (id, ..) = api.create(json!({ "filename": "x", "size": 5 })).await;
    service.sql(&format!("UPDATE uploads SET owner = 'another' WHERE id = {}", service.literal(&id))).await;
    let mut answers = std::collections::HashSet::new();
    let unknown = "01998f4e-7a10-7cc3-98c4-dc0c0c07398f";
    for id in [
        &id,
        unknown,
        "00000000-0000-0000-0000-000000000000",
        "x",
        "1",
        "..",
        "%00",
        "%2f",
        "%ff",
        &id.to_uppercase(),
        &id.replace('-', ""),
    ] {
        let path = format!("/v1/uploads/{id}");
        let mut replies = vec![api.get(&path).await, api.delete(&path).await, api.get(&format!("{path}/parts")).await];
        replies.push(api.post(&format!("{path}/part-urls"), json!({ "parts": "1" })).await);
        replies.push(api.put(&format!("{path}/parts"), json!({ "parts": [{ "partNumber": 1, "etag": "x" }] })).await);
        replies.push(api.put(&format!("{path}/parts/1"), json!({ "etag": "x" })).await);
        replies.push(api.call("POST", &format!("{path}/sync"), None).await);
        replies.push(api.call("POST", &format!("{path}/complete"), None).await);
        for reply in replies {
            // A dot-dot is resolved by the client itself, and so is another path.
            if id == ".." {
                continue;
            }
            let mut body = reply.problem(404, "upload-not-found");
            body["requestId"].take();
            answers.insert(body.to_string());
        }
        if id != ".." {
            for path in ["", "/download-url", "/download"] {
                api.get(&format!("/v1/files/{id}{path}")).await.problem(404, "file-not-found");
            }
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(api.get("/v1/uploads").await.ok(200)["items"], json!([]), "another's is not listed");
}

async fn the_frameworks_own_errors_are_problem_documents_too(service: Service) {
    let api = &service.api;
    api.get("/v2/uploads").await.problem(404, "route-not-found");
    api.get("/v1").await.problem(404, "route-not-found");
    api.get("/v1/uploads/").await.problem(404, "route-not-found");
    let id = "01998f4e-7a10-7cc3-98c4-dc0c0c07398f";
    #[rustfmt::skip]
    let methods = [
        ("PATCH", "/v1/uploads".to_owned(), "GET, POST"), ("DELETE", "/v1/uploads".to_owned(), "GET, POST"),
        ("POST", format!("/v1/uploads/{id}"), "DELETE, GET"), ("GET", format!("/v1/uploads/{id}/complete"), "POST"),
        ("POST", format!("/v1/uploads/{id}/parts"), "GET, PUT"), ("GET", format!("/v1/uploads/{id}/parts/1"), "PUT"),
        ("PUT", format!("/v1/files/{id}"), "DELETE, GET"), ("POST", "/livez".to_owned(), "GET"), ("OPTIONS", "/v1/uploads".to_owned(), "GET, POST"),
        ("TRACE", "/v1/uploads".to_owned(), "GET, POST"),
    ];
    for (method, path, allow) in methods {
        let reply = api.call(method, &path, None).await;
        assert_eq!(reply.header("allow"), Some(allow), "{method} {path}");
        reply.problem(405, "method-not-allowed");
    }
    let accept =
        async |value: &str| api.send(api.http.get(format!("{}/v1/uploads", api.base)).header("accept", value)).await;
    accept("text/html").await.problem(406, "not-acceptable");
    accept("application/json;q=0, text/html").await.problem(406, "not-acceptable");
    for value in ["*/*", "application/*", "text/html, application/json;q=0.1", "application/problem+json"] {
        accept(value).await.ok(200);
    }
    let download = api.http.get(format!("{}/v1/files/{id}/download", api.base)).header("accept", "text/html");
    api.send(download).await.problem(404, "file-not-found");
    for query in ["limit=x", "limit=1.5", "limit=99999999999999999999"] {
        let problem = api.get(&format!("/v1/uploads?{query}")).await.problem(400, "invalid-request");
        assert_eq!(problem["errors"][0]["field"], "limit");
    }
    api.get(&format!("/v1/files/{id}/download-url?ttlSeconds=604801")).await.problem(400, "invalid-request");
    api.get(&format!("/v1/files/{id}/download-url?disposition=form-data")).await.problem(400, "invalid-request");
    api.get(&format!("/v1/files/{id}/download-url?cacheable=maybe")).await.problem(400, "invalid-request");
    let given = api.send(api.http.get(format!("{}/v1/uploads", api.base)).header("x-request-id", "mine-1")).await;
    assert_eq!(given.header("x-request-id"), Some("mine-1"));
    let forged = api.send(api.http.get(format!("{}/v1/uploads", api.base)).header("x-request-id", "a b")).await;
    assert_ne!(forged.header("x-request-id"), Some("a b"));
}
