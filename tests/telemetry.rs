//! What an operator sees, and what must never be seen: metrics, logs with ids, and neither signature nor key in any of them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::support::{Api, MIB, Reply, Service, file, new_database, on_both_databases};

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
        unknown.key = format!("uploads/00/{}/x", uuid::Uuid::now_v7());
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

/// The real binary, and all that it ever said to anybody but those who asked for it.
struct Overheard {
    api: Api,
    folder: tempfile::TempDir,
    child: tokio::process::Child,
    metrics: String,
    /// Answers that are nobody's secret: errors, and what was asked without a credential.
    told: std::sync::Mutex<String>,
}

const JWT_SECRET: &str = "the-secret-of-tokens-in-this-test-0123456789";
const S3_SECRET: &str = "the-secret-of-the-embedded-s3";
const PASSWORD: &str = "the-password-of-the-database";

impl Overheard {
    async fn start() -> Overheard {
        let folder = tempfile::tempdir().expect("a folder");
        // The server trusts this machine, and takes any password.
        let url = new_database().await.replacen("postgres@", &format!("postgres:{PASSWORD}@"), 1);
        assert!(url.contains(PASSWORD), "{url}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let metrics = free.to_string();
        let environment = [
            ("PARTITA_LISTEN", "127.0.0.1:0"),
            ("PARTITA_METRICS_LISTEN", metrics.as_str()),
            ("PARTITA_INSECURE_NO_AUTH", "false"),
            ("PARTITA_DATABASE_URL", url.as_str()),
            ("PARTITA_EMBEDDED_S3_LISTEN", "127.0.0.1:0"),
            ("PARTITA_EMBEDDED_S3_ACCESS_KEY", "AKOFTHETEST"),
            ("PARTITA_EMBEDDED_S3_SECRET_KEY", S3_SECRET),
            ("PARTITA_AUTH_JWT_ALGORITHM", "HS256"),
            ("PARTITA_AUTH_JWT_SECRET", JWT_SECRET),
            ("PARTITA_AUTH_JWT_ISSUER", "https://app.example"),
            ("PARTITA_AUTH_JWT_AUDIENCE", "partita"),
            ("PARTITA_LOG", "trace"),
            ("RUST_BACKTRACE", "1"),
        ];
        let run = |arguments: &[&str], to: &str| {
            let file = |name: String| std::fs::File::create(folder.path().join(name)).expect("a file");
            let mut command = crate::process::partita(folder.path(), &environment);
            command.args(arguments).stdout(file(format!("{to}.out"))).stderr(file(format!("{to}.log")));
            command
        };
        assert!(run(&["migrate"], "migrate").status().await.expect("run").success());
        let owner = ["--owner", "alice", "--scope", "uploads:write", "--scope", "files:read", "--scope", "files:write"];
        for (verb, to) in [(&["keys", "create"][..], "shown-key"), (&["token"], "shown-token")] {
            assert!(run(&[verb, &owner].concat(), to).status().await.expect("run").success());
        }
        let child = run(&[], "serve").spawn().expect("started");
        let mut base = String::new();
        for _ in 0..1_200 {
            let welcome = std::fs::read_to_string(folder.path().join("serve.out")).expect("what it printed");
            if welcome.contains("Callers ") {
                base =
                    welcome.split("API docs  ").nth(1).and_then(|rest| rest.split("/docs").next()).expect("it").into();
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(!base.is_empty(), "it did not start");
        Overheard { api: Api::new(base), folder, child, metrics, told: Default::default() }
    }

    /// What a verb printed for its caller alone.
    fn shown(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.folder.path().join(format!("{name}.out"))).expect("what it printed");
        text.trim().to_owned()
    }

    /// Keeps an error's body and headers.
    fn refused(&self, reply: Reply) {
        assert!(reply.status.as_u16() >= 400, "{}", reply.body);
        let mut told = self.told.lock().expect("no panic");
        told.push_str(&format!("{} {:?}\n", reply.body, reply.headers));
    }

    /// All that was said: logs, what was printed, metrics, errors.
    async fn all(mut self) -> Vec<(String, String)> {
        let metrics = self.api.http.get(format!("http://{}/metrics", self.metrics)).send().await.expect("an answer");
        let metrics = metrics.text().await.expect("text");
        assert!(metrics.contains("partita_http_requests_total"), "{metrics}");
        self.child.kill().await.expect("killed");
        let mut all =
            vec![("metrics".to_owned(), metrics), ("errors".into(), self.told.into_inner().expect("no panic"))];
        for entry in std::fs::read_dir(self.folder.path()).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if name.ends_with(".log") || name == "serve.out" {
                all.push((name, std::fs::read_to_string(path).expect("text")));
            }
        }
        all
    }
}

/// Everything that one can do, and much of what one cannot, at the most talkative level there is.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_to_anybody_but_its_owner() {
    let heard = Overheard::start().await;
    let (key, token) = (heard.shown("shown-key"), heard.shown("shown-token"));
    assert!(key.starts_with("partita_") && token.split('.').count() == 3);
    let (by_key, by_token) = (heard.api.with(&key), heard.api.with(&token));
    let mut signatures = Vec::new();
    let mut note = |url: &str| {
        signatures
            .push(url.split("X-Amz-Signature=").nth(1).expect("a signature").split('&').next().expect("it").to_owned());
    };
    let bytes = file(9 * MIB);
    for api in [&by_key, &by_token] {
        let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
        urls.iter().for_each(|part| note(part["url"].as_str().expect("a URL")));
        let path = format!("/v1/uploads/{id}");
        let signed = api.post(&format!("{path}/part-urls"), json!({ "parts": "1-2" })).await.ok(200);
        note(signed["partUrls"][0]["url"].as_str().expect("a URL"));
        heard.refused(api.post(&format!("{path}/part-urls"), json!({ "parts": "7" })).await);
        heard.refused(api.complete(&id, None).await);
        let (status, _) = api.put_bytes(&urls[0], b"another length".to_vec()).await;
        assert!(status.is_client_error());
        let sent = api.put_parts(&urls, &bytes).await;
        heard.refused(api.complete(&id, Some(json!({ "parts": [{ "partNumber": 1, "etag": "wrong" }] }))).await);
        api.put(&format!("{path}/parts"), json!({ "parts": sent })).await.ok(200);
        api.get(&format!("{path}/parts")).await.ok(200);
        api.complete(&id, None).await.ok(200);
        let listed = api.get("/v1/files?downloadUrls=true").await.ok(200);
        note(listed["items"][0]["downloadUrl"]["url"].as_str().expect("a URL"));
        let file = format!("/v1/files/{id}");
        let link = api.get(&format!("{file}/download-url?cacheable=true")).await.ok(200);
        note(link["url"].as_str().expect("a URL"));
        let links = api.post("/v1/files/download-urls", json!({ "ids": [id] })).await.ok(200);
        note(links["items"][0]["url"].as_str().expect("a URL"));
        let found = api.get(&format!("{file}/download")).await;
        note(found.header("location").expect("a URL"));
        let streamed =
            api.http.get(format!("{}{file}/content", api.base)).bearer_auth(api.credential.as_ref().expect("one"));
        assert_eq!(streamed.send().await.expect("an answer").bytes().await.expect("bytes").len(), bytes.len());
        api.call("PUT", &format!("{file}/shares/bob"), None).await.ok(204);
        api.call("DELETE", &format!("{file}/shares/bob"), None).await.ok(204);
        api.delete(&file).await.ok(204);
        heard.refused(api.get(&file).await);
        let (gone, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
        api.delete(&format!("/v1/uploads/{gone}")).await.ok(204);
        assert_eq!(api.put_part(&urls[0], b"hello").await.0, 404);
        heard.refused(api.post("/v1/uploads", json!({ "filename": "../x" })).await);
        // A credential where none belongs.
        let stray = api.credential.clone().expect("one");
        for place in [format!("/v1/uploads?access_token={stray}"), format!("/v1/uploads?limit={stray}")] {
            heard.refused(heard.api.get(&place).await);
        }
        for header in ["idempotency-key", "accept", "origin", "x-api-key", "cookie"] {
            let asked = api.http.get(format!("{}/v1/nothing", api.base)).header(header, &stray);
            heard.refused(heard.api.send(asked).await);
        }
        for forged in [format!("{stray}x"), stray.to_uppercase(), stray[..stray.len() - 1].to_owned()] {
            heard.refused(heard.api.with(&forged).get("/v1/uploads").await);
        }
    }
    heard.refused(heard.api.get("/v1/uploads").await);
    // A signature, a token's and a key's kinds, and each secret by itself.
    let mut secrets: Vec<String> =
        ["X-Amz-Signature", "Bearer ey", "Bearer partita_", "eyJ", S3_SECRET, JWT_SECRET, PASSWORD]
            .map(str::to_owned)
            .into();
    secrets.extend(signatures);
    secrets.extend([key[8..].to_owned(), token.rsplit('.').next().expect("a signature").to_owned()]);
    let all = heard.all().await;
    assert!(all.iter().any(|(name, text)| name == "serve.log" && text.contains("answered")), "it was talkative");
    for (name, text) in &all {
        for secret in &secrets {
            let leak = text.lines().find(|line| line.contains(secret.as_str()));
            assert!(leak.is_none(), "{name} has {secret}: {}", leak.unwrap_or_default());
        }
    }
}
