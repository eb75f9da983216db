//! What no sound client sends: paths that are almost those of operations, requests within requests, hosts that are almost
//! ours. `docs/security.md` lists all of it, and names the test of each.

use std::sync::Arc;
use std::time::Duration;

use partita::http::document;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Api, Service, on_both_databases, with_callers};

on_both_databases! {
    what_looks_like_sql_is_text
    what_fails_inside_is_not_told_outside
}

with_callers! {
    head_answers_who_may_have_it_as_get_does_without_the_body
    no_header_makes_a_request_another_one
    an_idempotency_key_is_its_owners_alone
}

/// Sends these bytes and reads until the service hangs up, or has been silent for a while after an answer.
async fn raw(api: &Api, request: impl AsRef<[u8]>) -> String {
    let address = api.base.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    // The service may hang up on what is too much while it is still sent.
    let _ = stream.write_all(request.as_ref()).await;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let patience = Duration::from_millis(if answer.is_empty() { 20_000 } else { 1_000 });
        match tokio::time::timeout(patience, stream.read(&mut buffer)).await {
            Ok(Ok(read)) if read > 0 => answer.extend_from_slice(&buffer[..read]),
            _ => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn code(answer: &str) -> String {
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    problem["code"].as_str().unwrap_or_default().to_owned()
}

/// A request without a body, after which the service hangs up.
fn request(method: &str, path: &str, headers: &str) -> String {
    let length = if method == "GET" || method == "HEAD" { "" } else { "content-length: 0\r\n" };
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{length}{headers}connection: close\r\n\r\n")
}

/// Every path of the document, with ids of what is there.
fn paths(upload: &str, file: &str) -> Vec<String> {
    let document = document();
    let paths = document["paths"].as_object().expect("paths").keys();
    let filled = |path: &String| {
        let path = path.replace("{uploadId}", upload).replace("{fileId}", file);
        path.replace("{partNumber}", "1").replace("{subject}", "mallory")
    };
    paths.map(filled).collect()
}

/// Spellings of a path that one reader may take for it and another not.
fn spellings(path: &str) -> Vec<String> {
    let mut spelled = vec![path.to_owned()];
    for end in [
        "/", "//", "/.", "/..", "/../", "?", "?x", ";x=y", "/;", "%20", "%00", "%2f", "%3f", "%23x", ".json", "\\",
        "/%2e", "*",
    ] {
        spelled.push(format!("{path}{end}"));
    }
    for start in
        ["/", "//", "/.", "/./", "/x/..", "/docs/..", "/docs/%2e%2e", "/%2e", "/%2e%2e", "/;x", "\\", "/v1", "/v1/.."]
    {
        spelled.push(format!("{start}{path}"));
    }
    spelled.push(format!("http://localhost{path}"));
    spelled.push(format!("http://localhost/{path}"));
    spelled.push(format!("HTTP://LOCALHOST{path}"));
    let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    for at in slashes {
        let (before, after) = (&path[..at], &path[at + 1..]);
        let next = after.chars().next().expect("a segment");
        for between in
            ["//", "/./", "/x/../", "%2f", "%2F", "/%2f", "%252f", "\\", "%5c", "/;/", ";x=y/", "/%20", "%20/", "/%00"]
        {
            spelled.push(format!("{before}{between}{after}"));
        }
        spelled.push(format!("{before}/%{:02x}{}", u32::from(next), &after[1..]));
        spelled.push(format!("{before}/%25{:02x}{}", u32::from(next), &after[1..]));
        spelled.push(format!("{before}/{}{}", next.to_ascii_uppercase(), &after[1..]));
    }
    spelled
}

const METHODS: [&str; 12] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "Post", "PROPFIND", "CONNECT"];

/// The guard goes by the document and the router by its own tree: whatever one of them takes for an operation the other
/// must take for the same, or for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_gets_around_the_guard() {
    let service = Service::with_auth(false, |settings| settings.limits.requests_per_minute = 0).await;
    let alice = service.caller("alice", &[]).await;
    let (upload, ..) = alice.create(json!({ "filename": "x", "size": 5 })).await;
    let file = alice.upload(json!({ "filename": "x" }), b"hello").await;
    // Alice herself, by a key that is good for nothing.
    let powerless = service.key("alice", &["none"], None).await.1;
    let powerless: Arc<str> = format!("authorization: Bearer {powerless}\r\n").into();
    let (mut asked, mut asking) = (0, tokio::task::JoinSet::new());
    for path in paths(&upload, &file) {
        let (api, powerless) = (service.api.clone(), powerless.clone());
        asking.spawn(async move {
            let mut asked = 0;
            for spelled in spellings(&path) {
                for method in METHODS {
                    for credential in ["", &*powerless] {
                        let answer = raw(&api, request(method, &spelled, credential)).await;
                        let refused = matches!(status(&answer), 400 | 401 | 403 | 404 | 405 | 415);
                        assert!(refused, "{method} {spelled}: {answer}");
                        asked += 1;
                    }
                }
            }
            asked
        });
    }
    while let Some(done) = asking.join_next().await {
        asked += done.expect("every spelling refused");
    }
    assert!(asked > 10_000, "{asked}");
    assert_eq!(alice.get(&format!("/v1/uploads/{upload}")).await.ok(200)["state"], "open");
    assert_eq!(alice.get(&format!("/v1/files/{file}")).await.ok(200)["sharedWith"], json!([]));
}

async fn head_answers_who_may_have_it_as_get_does_without_the_body(service: Service) {
    let alice = service.caller("alice", &[]).await;
    let bob = service.caller("bob", &[]).await;
    let no_scope = service.caller("alice", &["uploads:write"]).await;
    let file = alice.upload(json!({ "filename": "x" }), b"hello").await;
    let head = async |api: &Api, path: &str| {
        let mut request = api.http.head(format!("{}{path}", api.base));
        if let Some(credential) = &api.credential {
            request = request.bearer_auth(credential);
        }
        let response = request.send().await.expect("an answer");
        let length = response.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
        let (status, length) = (response.status().as_u16(), length.unwrap_or(0));
        assert_eq!(response.bytes().await.expect("nothing").len(), 0);
        (status, length)
    };
    for path in ["", "/content", "/download-url", "/download"] {
        let path = format!("/v1/files/{file}{path}");
        let got = alice.get(&path).await.status.as_u16();
        assert_eq!(head(&alice, &path).await.0, got, "{path}");
        assert_eq!(head(&bob, &path).await.0, 404, "{path}");
        assert_eq!(head(&no_scope, &path).await.0, 403, "{path}");
        assert_eq!(head(&service.api, &path).await.0, 401, "{path}");
    }
    assert_eq!(head(&alice, &format!("/v1/files/{file}/content")).await, (200, 5), "the length of what GET would send");
    assert_eq!(head(&alice, "/v1/uploads").await.0, 200);
    assert_eq!(head(&service.api, "/v1/uploads").await.0, 401);
    assert_eq!(head(&alice, "/v1/files/download-urls").await.0, 405, "what has no GET has no HEAD");
}

async fn no_header_makes_a_request_another_one(service: Service) {
    let alice = service.caller("alice", &[]).await;
    let file = alice.upload(json!({ "filename": "x" }), b"hello").await;
    let (upload, ..) = alice.create(json!({ "filename": "x", "size": 5 })).await;
    for path in [format!("/v1/files/{file}"), format!("/v1/uploads/{upload}")] {
        for (name, value) in [
            ("x-http-method-override", "DELETE"),
            ("x-http-method", "DELETE"),
            ("x-method-override", "DELETE"),
            ("x-original-url", "/v1/uploads"),
            ("x-rewrite-url", "/v1/uploads"),
            ("x-forwarded-prefix", "/v1/uploads"),
            ("x-forwarded-user", "bob"),
            ("x-partita-owner", "bob"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "host=evil.example"),
        ] {
            let asked = alice.http.get(format!("{}{path}?_method=DELETE", alice.base)).header(name, value);
            assert_eq!(alice.send(asked).await.ok(200)["owner"], "alice", "{name}");
        }
        alice.get(&path).await.ok(200);
    }
    // Where an answer leads comes from no header.
    let body = json!({ "filename": "x", "size": 5 });
    let asked =
        alice.http.post(format!("{}/v1/uploads", alice.base)).json(&body).header("x-forwarded-host", "evil.example");
    let reply = alice.send(asked).await;
    assert!(reply.header("location").is_some_and(|location| location.starts_with("/v1/uploads/")));
    reply.ok(201);
}

/// Wrong credentials are counted by the address they really come from.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_address_gives_no_more_guesses() {
    let service = Service::with_auth(false, |_| {}).await;
    let mut refused = 0;
    for number in 0..100 {
        let address = format!("10.0.0.{number}");
        let asked =
            service.api.http.get(format!("{}/v1/uploads", service.api.base)).bearer_auth(format!("guess{number}"));
        let asked = asked.header("x-forwarded-for", &address).header("x-real-ip", &address);
        let asked = asked.header("forwarded", format!("for={address}"));
        refused += u32::from(service.api.send(asked).await.status == 429);
    }
    assert!(refused > 30, "{refused}");
}

/// Of what two readers may take for one request or for two, no second is ever served.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_within_a_request_is_not_served() {
    let service = Service::on_sqlite().await;
    let api = &service.api;
    let (inner_id, ..) = api.create(json!({ "filename": "x", "size": 5 })).await;
    let inner = format!("DELETE /v1/uploads/{inner_id} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let chunked_inner = format!("0\r\n\r\n{inner}");
    let hidden =
        |headers: &str, body: &str| format!("GET /v1/uploads HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}");
    let (length, whole) = (inner.len(), chunked_inner.len());
    let table = [
        ("two lengths", hidden(&format!("content-length: 0\r\ncontent-length: {length}\r\n"), &inner)),
        ("two lengths in one", hidden(&format!("content-length: 0, {length}\r\n"), &inner)),
        ("a signed length", hidden("content-length: +0\r\n", &inner)),
        ("a negative length", hidden("content-length: -0\r\n", &inner)),
        ("a length beyond numbers", hidden("content-length: 18446744073709551616\r\n", &inner)),
        ("an unknown coding", hidden("transfer-encoding: xchunked\r\n", &chunked_inner)),
        ("chunked not last", hidden("transfer-encoding: chunked, identity\r\n", &chunked_inner)),
        ("a blank before the colon", hidden("transfer-encoding : chunked\r\n", &chunked_inner)),
        ("a folded header", hidden(&format!("x: y\r\n content-length: {length}\r\n"), "")),
        ("a chunk beyond numbers", hidden("transfer-encoding: chunked\r\n", &format!("ffffffffffffffff1\r\n{inner}"))),
        ("a chunk that is no number", hidden("transfer-encoding: chunked\r\n", &format!("0x0\r\n\r\n{inner}"))),
        ("a bare carriage return", hidden("x: y\rcontent-length: 0\r\n", "")),
        ("a NUL", hidden("x: \0\r\n", "")),
    ];
    for (what, request) in table {
        let answer = raw(api, request).await;
        // The framework takes what ends the first request as such, or refuses all of it; it never goes on to the second.
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{what}: {answer}");
        let shown = api.get(&format!("/v1/uploads/{inner_id}")).await.ok(200);
        assert_eq!(shown["state"], "open", "{what}: {answer}");
    }
    // Where both a length and a coding stand, the coding counts, and whoever goes by the length loses the rest.
    let both = hidden(&format!("content-length: {whole}\r\ntransfer-encoding: chunked\r\n"), &chunked_inner);
    let answer = raw(api, both).await;
    assert!(status(&answer) == 400 || answer.matches("HTTP/1.1 ").count() <= 1, "{answer}");
    assert_eq!(api.get(&format!("/v1/uploads/{inner_id}")).await.ok(200)["state"], "open", "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_or_too_long_headers_are_refused() {
    let service = Service::on_sqlite().await;
    let many: String = (0..1_000).map(|number| format!("x-{number}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    for headers in [many, long] {
        let answer = raw(&service.api, request("GET", "/v1/uploads", &headers)).await;
        assert!(matches!(status(&answer), 431 | 400) || answer.is_empty(), "{}", &answer[..answer.len().min(500)]);
    }
    let long = format!("/v1/uploads/{}", "x".repeat(100 << 10));
    let answer = raw(&service.api, request("GET", &long, "")).await;
    assert!(matches!(status(&answer), 414 | 404), "{answer}");
    service.api.get("/v1/uploads").await.ok(200);
}

/// Without auth the name by which a browser found the service is all that tells its page from another's.
#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_host_makes_a_foreign_page_ours() {
    let service = Service::on_sqlite().await;
    let api = &service.api;
    let ask =
        async |start: &str, headers: &str| raw(api, format!("{start}\r\n{headers}connection: close\r\n\r\n")).await;
    for host in [
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "evil.example@localhost",
        "user@127.0.0.1",
        "localhost.",
        "127.0.0.1.",
        "127.0.0.1.nip.io",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "127.1",
        "0.0.0.0",
        "0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::1].evil.example",
        "[::1]evil.example",
        "[::1",
        "::1",
        "[::1]:x",
        "[::1]:80:80",
        "localhost:x",
        "localhost:80:80",
        "localhost:-1",
        "localhost,evil.example",
        "localhost evil.example",
        "localhost/evil.example",
        "localhost#.evil.example",
        "localhost?",
        "localhost\\evil.example",
        "l\u{f6}calhost",
        "%6cocalhost",
        "localhost%00",
        "169.254.169.254",
        "",
    ] {
        let answer = ask("GET /v1/uploads HTTP/1.1", &format!("host: {host}\r\n")).await;
        assert!(matches!(status(&answer), 400 | 403), "{host:?}: {answer}");
    }
    for (what, start, headers) in [
        ("no Host", "GET /v1/uploads HTTP/1.1", ""),
        ("HTTP/1.0 without Host", "GET /v1/uploads HTTP/1.0", ""),
        ("two Hosts", "GET /v1/uploads HTTP/1.1", "host: localhost\r\nhost: evil.example\r\n"),
        ("two Hosts, ours last", "GET /v1/uploads HTTP/1.1", "host: evil.example\r\nhost: localhost\r\n"),
        ("twice the same Host", "GET /v1/uploads HTTP/1.1", "host: localhost\r\nhost: localhost\r\n"),
        ("another in the URL", "GET http://evil.example/v1/uploads HTTP/1.1", "host: localhost\r\n"),
        ("another in Host", "GET http://localhost/v1/uploads HTTP/1.1", "host: evil.example\r\n"),
        ("userinfo in the URL", "GET http://localhost@evil.example/v1/uploads HTTP/1.1", "host: localhost\r\n"),
        ("only forwarded", "GET /v1/uploads HTTP/1.1", "host: evil.example\r\nx-forwarded-host: localhost\r\n"),
        (
            "a foreign Origin",
            "POST /v1/uploads HTTP/1.1",
            "host: localhost\r\norigin: http://evil.example\r\ncontent-length: 0\r\n",
        ),
        ("an opaque Origin", "POST /v1/uploads HTTP/1.1", "host: localhost\r\norigin: null\r\ncontent-length: 0\r\n"),
        ("an empty Origin", "POST /v1/uploads HTTP/1.1", "host: localhost\r\norigin:\r\ncontent-length: 0\r\n"),
        ("another port", "GET /v1/uploads HTTP/1.1", "host: localhost:1\r\norigin: http://localhost:2\r\n"),
        ("another name of ours", "GET /v1/uploads HTTP/1.1", "host: localhost:1\r\norigin: http://127.0.0.1:1\r\n"),
        (
            "two Origins",
            "GET /v1/uploads HTTP/1.1",
            "host: localhost\r\norigin: http://localhost\r\norigin: http://evil.example\r\n",
        ),
        (
            "a list of Origins",
            "GET /v1/uploads HTTP/1.1",
            "host: localhost\r\norigin: http://localhost http://evil.example\r\n",
        ),
        ("another scheme", "GET /v1/uploads HTTP/1.1", "host: localhost\r\norigin: file://localhost\r\n"),
    ] {
        let answer = ask(start, headers).await;
        assert!(status(&answer) == 400 || code(&answer) == "forbidden-origin", "{what}: {answer}");
    }
    for (start, headers) in [
        ("GET http://localhost/v1/uploads HTTP/1.1", "host: localhost\r\n"),
        ("GET /v1/uploads HTTP/1.0", "host: localhost\r\n"),
        ("GET /v1/uploads HTTP/1.1", "host: [::1]:8080\r\n"),
        ("GET /v1/uploads HTTP/1.1", "host: [::1]\r\n"),
        ("GET /v1/uploads HTTP/1.1", "host: LocalHost:65535\r\n"),
    ] {
        assert_eq!(status(&ask(start, headers).await), 200, "{start} {headers}");
    }
}

/// What a page can send without asking first: forms and plain text, from any site.
#[tokio::test(flavor = "multi_thread")]
async fn a_form_of_another_site_changes_nothing() {
    let service = Service::on_sqlite().await;
    let api = &service.api;
    let body = json!({ "filename": "x", "size": 5 }).to_string();
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json"]
    {
        let post = api.http.post(format!("{}/v1/uploads", api.base)).header("content-type", kind).body(body.clone());
        let foreign = post.try_clone().expect("a copy").header("origin", "http://evil.example");
        api.send(foreign).await.problem(403, "forbidden-origin");
        if kind != "application/json" {
            api.send(post).await.problem(415, "unsupported-media-type");
        }
    }
    assert_eq!(api.get("/v1/uploads").await.ok(200)["items"], json!([]));
}

async fn what_looks_like_sql_is_text(service: Service) {
    let api = &service.api;
    let keep = api.upload(json!({ "filename": "keep" }), b"hello").await;
    for text in
        ["'; DROP TABLE uploads; --", "' OR '1'='1", "x' UNION SELECT 1 --", "%", "_", "$1", "?1", "'||(SELECT 1)||'"]
    {
        let id = api.upload(json!({ "filename": text, "metadata": { "a": text } }), b"hello").await;
        assert_eq!(api.get(&format!("/v1/files/{id}")).await.ok(200)["filename"], text);
        let mut share = reqwest::Url::parse(&format!("{}/v1/files/{id}/shares", api.base)).expect("a URL");
        share.path_segments_mut().expect("a path").push(text);
        api.send(api.http.put(share.clone())).await.ok(204);
        assert_eq!(api.get(&format!("/v1/files/{id}")).await.ok(200)["sharedWith"], json!([text]));
        api.send(api.http.delete(share)).await.ok(204);
        assert_eq!(api.get(&format!("/v1/files/{id}")).await.ok(200)["sharedWith"], json!([]));
        for name in ["state", "fingerprint", "cursor", "limit", "owner"] {
            let asked = api.http.get(format!("{}/v1/uploads", api.base)).query(&[(name, text)]);
            let reply = api.send(asked).await;
            assert!(matches!(reply.status.as_u16(), 400 | 403), "{name}={text}: {}", reply.body);
        }
        let key = text.replace(' ', "+");
        let body = json!({ "filename": "x", "size": 5 });
        let keyed = api.http.post(format!("{}/v1/uploads", api.base)).header("idempotency-key", key).json(&body);
        api.send(keyed).await.ok(201);
    }
    api.get(&format!("/v1/files/{keep}")).await.ok(200);
}

async fn what_fails_inside_is_not_told_outside(service: Service) {
    let api = &service.api;
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
    api.put_parts(&urls, b"hello").await;
    service.sql("ALTER TABLE parts RENAME TO elsewhere").await;
    service.sql("ALTER TABLE shares RENAME TO elsewhere_too").await;
    let path = format!("/v1/uploads/{id}");
    for (method, path, body) in [
        ("GET", format!("{path}/parts"), None),
        ("PUT", format!("{path}/parts/1"), Some(json!({ "etag": "x" }))),
        ("POST", format!("{path}/complete"), None),
        ("GET", "/v1/files".to_owned(), None),
        ("GET", format!("/v1/files/{id}"), None),
    ] {
        let reply = api.call(method, &path, body).await;
        assert!(reply.status.is_server_error(), "{method} {path}: {}", reply.body);
        let told = reply.body.to_string().to_lowercase();
        for inner in ["table", "relation", "sql", "select", "parts\"", "shares", "127.0.0.1", "partita.", "src/", ".rs"]
        {
            assert!(!told.contains(inner), "{method} {path} tells {inner}: {told}");
        }
    }
}

async fn an_idempotency_key_is_its_owners_alone(service: Service) {
    let (alice, bob) = (service.caller("alice", &[]).await, service.caller("bob", &[]).await);
    let create = async |api: &Api, filename: &str| {
        let post = api.http.post(format!("{}/v1/uploads", api.base)).header("idempotency-key", "the-key");
        api.send(post.json(&json!({ "filename": filename, "size": 5 }))).await
    };
    let hers = create(&alice, "x").await.ok(201);
    let his = create(&bob, "y").await;
    assert_eq!(his.header("idempotency-replayed"), None);
    let his = his.ok(201);
    assert_eq!((hers["upload"]["owner"].as_str(), his["upload"]["owner"].as_str()), (Some("alice"), Some("bob")));
    assert_ne!(hers["upload"]["id"], his["upload"]["id"]);
    create(&bob, "x").await.problem(422, "idempotency-key-reused");
}

/// The promises of `docs/security.md` are kept by tests that there are.
#[test]
fn the_security_page_names_only_tests_that_there_are() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/security.md")).expect("the page");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let number = |row: &&str| row[2..].split(' ').next().and_then(|number| number.parse::<u32>().ok());
    let numbers: Vec<u32> = rows.iter().filter_map(number).collect();
    assert_eq!(numbers, (1..=77).collect::<Vec<_>>(), "each input once");
    let is_name = |text: &&str| {
        text.contains("::") && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_:".contains(&b))
    };
    let mut named = 0;
    for row in rows {
        let names: Vec<&str> = row.split('`').filter(is_name).collect();
        assert!(
            number(&row).is_none() || !names.is_empty() || row.contains("| none: "),
            "no test, and no reason: {row}"
        );
        for name in names {
            let (module, test) = name.rsplit_once("::").expect("a module");
            let module = module.replace("::", "/");
            let places = ["tests", "src", "embedded-s3/src"];
            let files =
                places.iter().flat_map(|place| [format!("{place}/{module}.rs"), format!("{place}/{module}/mod.rs")]);
            let holds = |file: String| {
                let code = std::fs::read_to_string(root.join(file)).unwrap_or_default();
                // A row of a table of scripts is a test, too.
                code.contains(&format!("fn {test}(")) || code.contains(&format!("    {test}: on("))
            };
            assert!(files.into_iter().any(holds), "there is no test {name}");
            named += 1;
        }
    }
    assert!(named > 77, "{named}");
}
