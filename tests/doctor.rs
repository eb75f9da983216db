//! `partita doctor`, the real binary: on right buckets, on wrong ones, and on stores that lie in one point each.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use embedded_s3::{Body, S3Service, Store};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::Semaphore;

use crate::process::start;
use crate::support::needed;

/// Settings as the environment gives them.
type Settings<'a> = &'a [(&'a str, &'a str)];
type Words<'a> = &'a [&'a str];
/// Headers that pages may send, and that they may read.
type Cors<'a> = (Words<'a>, Words<'a>);

const ORIGIN: &str = "https://app.example";
const ACCESS: &str = "AKDOCTOR";
const SECRET: &str = "a secret that must not be shown";

/// What the doctor said.
struct Findings {
    code: Option<i32>,
    document: Value,
    errors: String,
}

impl Findings {
    fn check(&self, id: &str) -> &Value {
        let checks = self.document["checks"].as_array().expect("checks");
        checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id} in {}", self.document))
    }

    fn verdict(&self, id: &str) -> &str {
        self.check(id)["verdict"].as_str().expect("a verdict")
    }

    /// The checks with this verdict.
    fn with(&self, verdict: &str) -> Vec<&str> {
        let checks = self.document["checks"].as_array().expect("checks").iter();
        checks.filter(|check| check["verdict"] == verdict).filter_map(|check| check["id"].as_str()).collect()
    }

    fn says(&self, id: &str, words: &[&str]) {
        let text = self.check(id).to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} in {text}");
    }
}

/// The bucket `media` of a store at `endpoint`.
fn environment(endpoint: &str) -> Vec<(&str, &str)> {
    vec![
        ("PARTITA_S3_BUCKET", "media"),
        ("PARTITA_S3_ENDPOINT", endpoint),
        ("PARTITA_S3_REGION", "us-east-1"),
        ("PARTITA_S3_PATH_STYLE", "true"),
        ("AWS_ACCESS_KEY_ID", ACCESS),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ]
}

async fn run(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_partita"));
    command.env_clear().current_dir(folder).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env("AWS_EC2_METADATA_DISABLED", "true").envs(environment.iter().copied()).arg("doctor").args(arguments);
    let output = tokio::time::timeout(Duration::from_secs(150), command.output()).await.expect("it ends").expect("run");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let (shown, errors) = (text(output.stdout), text(output.stderr));
    for secret in ["X-Amz-Signature", "X-Amz-Credential", SECRET] {
        assert!(!shown.contains(secret) && !errors.contains(secret), "{secret} in {shown}{errors}");
    }
    (output.status.code(), shown, errors)
}

async fn doctor(folder: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Findings {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
    let (code, shown, errors) = run(folder, environment, &arguments).await;
    let document: Value = serde_json::from_str(&shown).unwrap_or_else(|_| panic!("{shown}{errors}"));
    let findings = Findings { code, document, errors };
    let ok = findings.with("failed").is_empty();
    assert_eq!(
        (findings.code, &findings.document["ok"]),
        (Some(i32::from(!ok)), &Value::from(ok)),
        "{}",
        findings.document
    );
    assert_eq!(findings.errors.is_empty(), ok, "a failure is told in a line: {}", findings.errors);
    findings
}

type Answer = Response<Body>;
/// What a store refuses without doing it.
type Deaf = fn(&Asked) -> bool;
/// How a store differs from S3: sees what was asked, and changes what is answered.
type Lie = fn(&Asked, &mut Answer);

struct Asked {
    method: Method,
    path: String,
    query: String,
    length: Option<u64>,
    headers: http::HeaderMap,
}

/// The embedded S3 as somebody else's store, in this process.
struct World {
    folder: tempfile::TempDir,
    endpoint: String,
    store: Store,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl World {
    async fn honest() -> World {
        World::lying(|_, _| {}).await
    }

    async fn lying(lie: Lie) -> World {
        World::with(|_| false, lie).await
    }

    async fn with(deaf: Deaf, lie: Lie) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path().join("s3")).expect("a store");
        store.ensure_bucket("media").expect("a bucket");
        let credentials = embedded_s3::Credentials { access_key: ACCESS.into(), secret_key: SECRET.into() };
        let service = Arc::new(embedded_s3::service(store.clone(), credentials));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let service = service_fn(move |request| answer(Arc::clone(&service), request, deaf, lie));
        tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            embedded_s3::serve_service(listener, service, stopped).await.expect("served");
        });
        World { folder, endpoint, store, _stop: stop }
    }

    /// With a CORS rule for [`ORIGIN`].
    fn allowing(self, headers: &[&str], expose: &[&str]) -> World {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let rule = embedded_s3::CorsRule {
            allowed_origins: texts(&[ORIGIN]),
            allowed_methods: texts(&["PUT"]),
            allowed_headers: texts(headers),
            expose_headers: texts(expose),
            max_age_seconds: None,
        };
        self.store.set_cors("media", vec![rule]).expect("rules");
        self
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        environment(&self.endpoint)
    }

    async fn doctor(&self, more: &[(&str, &str)], arguments: &[&str]) -> Findings {
        let environment: Vec<_> = self.environment().into_iter().chain(more.iter().copied()).collect();
        doctor(self.folder.path(), &environment, arguments).await
    }

    fn client(&self) -> Client {
        client(&self.endpoint, ACCESS, SECRET)
    }

    /// What is in the bucket: keys of objects and of open uploads.
    async fn contents(&self) -> Vec<String> {
        contents(&self.client(), "media", "").await
    }
}

async fn answer(
    service: Arc<S3Service>,
    request: Request<Incoming>,
    deaf: Deaf,
    lie: Lie,
) -> Result<Answer, std::convert::Infallible> {
    let header = |name: &str| request.headers().get(name)?.to_str().ok()?.parse().ok();
    let asked = Asked {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
        length: header("content-length"),
        headers: request.headers().clone(),
    };
    if deaf(&asked) {
        let mut answer = Response::new(Body::empty());
        refuse(&mut answer, StatusCode::FORBIDDEN, "AccessDenied");
        return Ok(answer);
    }
    let mut answer = service.handle(request.map(Body::from)).await;
    lie(&asked, &mut answer);
    Ok(answer)
}

fn client(endpoint: &str, access: &str, secret: &str) -> Client {
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new(access, secret, None, None, "test"));
    Client::from_conf(config.build())
}

async fn contents(client: &Client, bucket: &str, prefix: &str) -> Vec<String> {
    let objects = client.list_objects_v2().bucket(bucket).prefix(prefix).send().await.expect("a listing");
    let uploads = client.list_multipart_uploads().bucket(bucket).prefix(prefix).send().await.expect("a listing");
    let objects = objects.contents().iter().filter_map(|object| object.key()).map(str::to_owned);
    objects.chain(uploads.uploads().iter().filter_map(|upload| upload.key()).map(str::to_owned)).collect()
}

fn refuse(answer: &mut Answer, status: StatusCode, code: &str) {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>No.</Message></Error>");
    *answer = Response::builder()
        .status(status)
        .header("content-type", "application/xml")
        .body(body.into())
        .expect("an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_bucket_is_found_right_and_left_empty() {
    let world = World::honest().await.allowing(&["content-type", "x-amz-checksum-*"], &["ETag"]);
    let findings = world.doctor(&[], &["--origin", ORIGIN]).await;
    assert_eq!(findings.with("failed"), [""; 0]);
    assert_eq!(findings.with("warning"), ["lifecycle"]);
    assert_eq!(findings.with("skipped"), ["owner"]);
    findings.says("full-object-checksum", &["computes"]);
    findings.says("object-size-check", &["refused"]);
    findings.says("conditional-completion", &["refused"]);
    findings.says("versioning", &["off"]);
    assert_eq!(world.contents().await, [""; 0], "nothing is left");
    assert_eq!(findings.document["policy"]["Statement"][0]["Resource"], "arn:aws:s3:::media/uploads/*");
    assert_eq!(findings.document["cors"]["AllowedOrigins"][0], ORIGIN);
    assert_eq!(findings.document["lifecycle"]["Rules"][0]["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 7);

    let (code, text, errors) = run(world.folder.path(), &world.environment(), &["--origin", ORIGIN]).await;
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    for line in [
        "✓ ok       credentials",
        "! warning  lifecycle",
        " 1 warning, 0 failed",
        "s3:AbortMultipartUpload",
        "\"ETag\"",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_s3_is_examined_alone_and_beside_the_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = [
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
    ];
    let [listen, s3] = ports.map(|port| port.local_addr().expect("an address").to_string());
    let environment = [("PARTITA_LISTEN", listen.as_str()), ("PARTITA_EMBEDDED_S3_LISTEN", s3.as_str())];
    for beside in [false, true] {
        let running = if beside { Some(start(folder.path(), &environment).await) } else { None };
        let findings = doctor(folder.path(), &environment, &[]).await;
        assert_eq!(findings.with("failed"), [""; 0], "{}", findings.document);
        let own_page = if beside { "ok" } else { "skipped" };
        assert_eq!(findings.verdict("cors-part"), own_page, "the service says who may, when it starts");
        assert_eq!(findings.document["policy"], Value::Null);
        if let Some(running) = running {
            let other = doctor(folder.path(), &environment, &["--origin", ORIGIN, "--fix"]).await;
            other.says("cors-preflight", &["failed", "allowed_origins"]);
            running.kill().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_settings_is_named() {
    let world = World::honest().await;
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    };
    #[rustfmt::skip]
    let table: [(Settings<'_>, &str, Words<'_>); 8] = [
        (&[("AWS_SESSION_TOKEN", "made-up")], "credentials", &["InvalidToken"]),
        (&[("AWS_SECRET_ACCESS_KEY", "another")], "credentials", &["SignatureDoesNotMatch"]),
        (&[("AWS_ACCESS_KEY_ID", "AKNOBODY")], "credentials", &["InvalidAccessKeyId"]),
        (&[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")], "credentials", &["none found", "AWS_ACCESS_KEY_ID"]),
        (&[("PARTITA_S3_BUCKET", "nobodys")], "bucket", &["no bucket nobodys", "s3.bucket"]),
        (&[("PARTITA_S3_ENDPOINT", &closed)], "bucket", &["no answer", "refused", "s3.endpoint"]),
        (&[("PARTITA_S3_PUBLIC_ENDPOINT", &closed)], "public-endpoint", &["no answer", "refused", "s3.public_endpoint"]),
        (&[("PARTITA_S3_PUBLIC_ENDPOINT", "http://wrong.invalid")], "public-endpoint", &["no answer"]),
    ];
    for (change, id, words) in table {
        let findings = world.doctor(change, &["--origin", ORIGIN]).await;
        assert_eq!(findings.with("failed"), [id], "{}", findings.document);
        findings.says(id, words);
        if id != "public-endpoint" {
            assert_eq!(findings.verdict("create"), "skipped", "{id}");
            findings.says("create", &[id]);
        } else {
            assert_eq!(findings.verdict("complete"), "ok", "the rest is proved all the same");
            assert_eq!(findings.verdict("cors-part"), "skipped");
        }
    }
    assert_eq!(world.contents().await, [""; 0]);
    let (code, _, errors) = run(world.folder.path(), &world.environment(), &["--origin", "*"]).await;
    assert!(code == Some(2) && errors.contains("exact origin"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_held_against_the_life_of_the_credentials() {
    let world = World::honest().await;
    let path = world.folder.path();
    let credentials = path.join("credentials.json");
    std::fs::write(path.join("config"), format!("[default]\ncredential_process = cat {}\n", credentials.display()))
        .expect("written");
    let config = path.join("config").display().to_string();
    // Minutes that the credentials live; what becomes of the URLs.
    let table = [
        (-1, "skipped", "because credentials failed"),
        (5, "warning", "part URLs of now live 4 minutes"),
        (60, "warning", "uploads may live 6 days"),
        (60 * 24 * 30, "ok", "part URLs live 15 minutes"),
    ];
    for (minutes, verdict, words) in table {
        let end = partita::clock::Clock::default().now() + chrono::TimeDelta::minutes(minutes);
        let found = serde_json::json!({
            "Version": 1, "AccessKeyId": ACCESS, "SecretAccessKey": SECRET, "Expiration": end.to_rfc3339(),
        });
        std::fs::write(&credentials, found.to_string()).expect("written");
        let path = std::env::var("PATH").expect("PATH");
        let change =
            [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_CONFIG_FILE", &config), ("PATH", &path)];
        let findings = world.doctor(&change, &[]).await;
        assert_eq!(findings.verdict("url-life"), verdict, "{minutes}: {}", findings.document);
        findings.says("url-life", &[words]);
        findings.says("credentials", &["temporary"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_somebody_else_is_left_alone() {
    fn owner(asked: &Asked) -> Option<&str> {
        asked.headers.get("x-amz-expected-bucket-owner").and_then(|owner| owner.to_str().ok())
    }
    let table: [(Deaf, &str, &str); 3] = [
        (|_| false, "warning", "takes any owner"),
        (|asked| owner(asked) == Some("000000000000"), "ok", "another is refused"),
        (|asked| owner(asked).is_some(), "failed", "belongs to another account"),
    ];
    for (deaf, verdict, words) in table {
        let world = World::with(deaf, |_, _| {}).await;
        let findings = world.doctor(&[("PARTITA_S3_EXPECTED_BUCKET_OWNER", "123456789012")], &[]).await;
        assert_eq!(findings.verdict("owner"), verdict, "{}", findings.document);
        findings.says("owner", &[words]);
        let next = if verdict == "failed" { "skipped" } else { "ok" };
        assert_eq!(findings.verdict("create"), next);
    }
}

/// One answer to whatever is asked.
async fn answering(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 8192];
                let _ = stream.read(&mut buffer).await;
                if answer.is_empty() {
                    // Silence, until the other side gives up.
                    let _ = stream.read(&mut buffer).await;
                }
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    endpoint
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_instead_of_the_bucket_is_named() {
    #[rustfmt::skip]
    let table: [(&str, &str, &[&str]); 6] = [
        ("HTTP/1.1 301 Moved\r\nx-amz-bucket-region: eu-central-1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
         "bucket", &["lies in region eu-central-1, not in us-east-1", "s3.region = \\\"eu-central-1\\\""]),
        ("HTTP/1.1 400 Bad Request\r\ncontent-type: application/xml\r\nconnection: close\r\n\r\n<Error><Code>AuthorizationHeaderMalformed\
          </Code><Message>the region 'us-east-1' is wrong; expecting 'eu-west-3'</Message></Error>",
         "bucket", &["lies in region eu-west-3", "s3.region"]),
        ("HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\ndate: Mon, 02 Jan 2006 15:04:05 GMT\r\nconnection: close\r\n\r\n\
          <Error><Code>RequestTimeTooSkewed</Code><Message>No.</Message></Error>",
         "clock", &["ahead of S3", "NTP"]),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>Welcome</html>", "bucket", &["s3.endpoint"]),
        ("HTTP/1.1 503 Slow\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", "bucket", &["503", "try again later"]),
        ("", "bucket", &["took too long"]),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    for (answer, id, words) in table {
        let endpoint = answering(answer).await;
        let environment = environment(&endpoint);
        let findings = doctor(folder.path(), &environment, &["--fix"]).await;
        assert_eq!(findings.verdict(id), "failed", "{}", findings.document);
        findings.says(id, words);
        assert_eq!(findings.verdict("create"), "skipped");
        assert_eq!(findings.document["fixed"], Value::Array(vec![]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_differs_from_s3_in_one_point_is_found_out() {
    fn is_object(asked: &Asked, name: &str) -> bool {
        asked.path.contains("/partita-doctor/") && asked.path.ends_with(name)
    }
    fn is_put_of(asked: &Asked, part: u8) -> bool {
        asked.method == Method::PUT && asked.query.contains(&format!("partNumber={part}&"))
    }
    fn taken(answer: &mut Answer) {
        *answer = Response::builder().header("etag", "\"e\"").body(Body::empty()).expect("an answer");
    }
    // Which check is to notice, and with what verdict; what the store does.
    #[rustfmt::skip]
    let table: [(&str, &str, Lie); 20] = [
        ("clock", "failed", |_, answer| {
            answer.headers_mut().insert("date", HeaderValue::from_static("Mon, 02 Jan 2006 15:04:05 GMT"));
        }),
        ("list-uploads", "failed", |asked, answer| if asked.method == Method::GET && asked.query.contains("uploads") {
            refuse(answer, StatusCode::FORBIDDEN, "AccessDenied");
        }),
        ("create", "failed", |asked, answer| if asked.method == Method::POST && asked.query.contains("uploads") {
            refuse(answer, StatusCode::FORBIDDEN, "AccessDenied");
        }),
        ("upload-part", "failed", |asked, answer| if is_put_of(asked, 1) && asked.query.contains("X-Amz-Signature") {
            refuse(answer, StatusCode::FORBIDDEN, "AccessDenied");
        }),
        ("public-endpoint", "failed", |asked, answer| if asked.query.contains("X-Amz-Signature") {
            refuse(answer, StatusCode::FORBIDDEN, "SignatureDoesNotMatch");
        }),
        ("list-parts", "failed", |asked, answer| if asked.method == Method::GET && asked.query.contains("uploadId") {
            refuse(answer, StatusCode::FORBIDDEN, "AccessDenied");
        }),
        ("complete", "failed", |asked, answer| if asked.method == Method::POST && asked.query.contains("uploadId") {
            refuse(answer, StatusCode::FORBIDDEN, "AccessDenied");
        }),
        ("head", "failed", |asked, answer| if asked.method == Method::HEAD {
            answer.headers_mut().remove("x-amz-meta-partita-upload-id");
        }),
        ("head-missing", "failed", |asked, answer| if asked.method == Method::HEAD && answer.status() == 404 {
            *answer.status_mut() = StatusCode::FORBIDDEN;
        }),
        ("get", "failed", |asked, answer| if asked.method == Method::GET && is_object(asked, "/probe") && !asked.query.contains("uploadId") {
            refuse(answer, StatusCode::FORBIDDEN, "AccessDenied");
        }),
        ("abort", "failed", |asked, answer| if asked.method == Method::GET && is_object(asked, "/checked") {
            refuse(answer, StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }),
        ("delete", "failed", |asked, answer| if asked.method == Method::DELETE && !asked.query.contains("uploadId") {
            refuse(answer, StatusCode::FORBIDDEN, "AccessDenied");
        }),
        ("part-length", "failed", |asked, answer| if is_put_of(asked, 2) && asked.length == Some(61) {
            taken(answer);
        }),
        ("expired-url", "failed", |asked, answer| if is_put_of(asked, 2) && asked.query.contains("X-Amz-Expires=1800") {
            taken(answer);
        }),
        ("unsigned-header", "warning", |asked, answer| if is_put_of(asked, 2) && asked.headers.contains_key("x-amz-meta-partita-upload-id") {
            taken(answer);
        }),
        ("part-checksum", "warning", |asked, answer| if is_object(asked, "/checked") && is_put_of(asked, 1) {
            taken(answer);
        }),
        ("conditional-completion", "failed", |asked, answer| if asked.headers.contains_key("if-none-match") {
            refuse(answer, StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }),
        ("full-object-checksum", "failed", |asked, answer| if asked.method == Method::HEAD {
            answer.headers_mut().remove("x-amz-checksum-crc64nvme");
        }),
        ("lifecycle", "warning", |asked, answer| if asked.query.contains("lifecycle") {
            refuse(answer, StatusCode::FORBIDDEN, "AccessDenied");
        }),
        ("lifecycle", "skipped", |asked, answer| if asked.query.contains("lifecycle") {
            refuse(answer, StatusCode::NOT_IMPLEMENTED, "NotImplemented");
        }),
    ];
    for (id, verdict, lie) in table {
        let world = World::lying(lie).await;
        let findings = world.doctor(&[], &[]).await;
        if id == "head-missing" {
            findings.says(id, &["answers 403", "s3:ListBucket on the bucket"]);
        }
        assert_eq!(findings.verdict(id), verdict, "{id}: {}", findings.document);
        if verdict != "skipped" {
            assert!(
                findings.check(id)["hint"].as_str().is_some_and(|hint| hint.ends_with('.')),
                "{id} says what to do"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_removed_is_named() {
    let table: [(Deaf, &str, &str, &str); 2] = [
        (
            |asked| asked.method == Method::DELETE && asked.query.contains("uploadId"),
            "abort",
            "s3:AbortMultipartUpload",
            "/checked",
        ),
        (
            |asked| asked.method == Method::DELETE && !asked.query.contains("uploadId"),
            "delete",
            "s3:DeleteObject",
            "/probe",
        ),
    ];
    for (deaf, id, right, name) in table {
        let world = World::with(deaf, |_, _| {}).await;
        let findings = world.doctor(&[], &[]).await;
        assert_eq!(findings.with("failed"), [id, "cleanup"], "{}", findings.document);
        findings.says(id, &[right]);
        let mut left = world.contents().await;
        left.retain(|key| key.ends_with(name));
        assert_eq!(left.len(), 1, "{left:?}");
        findings.says("cleanup", &[&left[0]]);
    }
}

fn drop_at_preflight(asked: &Asked, answer: &mut Answer, name: &str) {
    if asked.method == Method::OPTIONS {
        answer.headers_mut().remove(name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_when_it_is_broken_off_is_removed_too() {
    // Told that a creation has come, the store waits to be told to go on with it, and does so whether the other side is
    // still there or not.
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path().join("s3")).expect("a store");
    store.ensure_bucket("media").expect("a bucket");
    let credentials = embedded_s3::Credentials { access_key: ACCESS.into(), secret_key: SECRET.into() };
    let service = embedded_s3::service(store, credentials);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let (come, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (coming, going) = (Arc::clone(&come), Arc::clone(&go));
    let slow = service_fn(move |request: Request<Incoming>| {
        let (service, come, go) = (service.clone(), Arc::clone(&coming), Arc::clone(&going));
        async move {
            let held = request.method() == Method::POST && request.uri().path().ends_with("/checked");
            let answered = tokio::spawn(async move {
                if held {
                    come.add_permits(1);
                    go.acquire().await.expect("open").forget();
                }
                service.handle(request.map(Body::from)).await
            });
            answered.await
        }
    });
    tokio::spawn(embedded_s3::serve_service(listener, slow, std::future::pending()));
    let environment = environment(&endpoint);
    let mut command = Command::new(env!("CARGO_BIN_EXE_partita"));
    command.env_clear().current_dir(folder.path()).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    let doctor = command.envs(environment).args(["doctor", "--json"]).spawn().expect("started");
    come.acquire().await.expect("open").forget();
    let id = doctor.id().expect("running").to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().expect("kill").success());
    let s3 = client(&endpoint, ACCESS, SECRET);
    let mut ended = tokio::spawn(doctor.wait_with_output());
    let early = tokio::time::timeout(Duration::from_secs(1), &mut ended).await;
    assert!(early.is_err(), "it knows not yet what to remove");
    go.add_permits(1);
    let output = ended.await.expect("waited").expect("run");
    assert_eq!(output.status.code(), Some(1), "what was broken off is not right");
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(
        document.to_string().contains("broken off") && document.to_string().contains("nothing is left"),
        "{document}"
    );
    assert_eq!(contents(&s3, "media", "").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_kept_out_is_told_by_what() {
    #[rustfmt::skip]
    let table: [(Option<Cors<'_>>, &str, &str, &str); 4] = [
        (None, "failed", "failed", "may not PUT"),
        (Some((&["content-type", "x-amz-checksum-*"], &[])), "ok", "failed", "ETag of a part is hidden"),
        (Some((&["content-type"], &["ETag"])), "warning", "ok", "x-amz-checksum-*"),
        (Some((&["x-amz-checksum-*"], &["ETag"])), "failed", "ok", "content-type"),
    ];
    for (rule, preflight, part, words) in table {
        let mut world = World::honest().await;
        if let Some((headers, expose)) = rule {
            world = world.allowing(headers, expose);
        }
        let findings = world.doctor(&[("PARTITA_ALLOWED_ORIGINS", ORIGIN)], &[]).await;
        assert_eq!((findings.verdict("cors-preflight"), findings.verdict("cors-part")), (preflight, part), "{words}");
        let both = [findings.check("cors-preflight"), findings.check("cors-part")].map(Value::to_string).concat();
        assert!(both.contains(words) && both.contains(ORIGIN), "{words}: {both}");
        let elsewhere = world.doctor(&[], &["--origin", "https://other.example"]).await;
        assert_eq!(elsewhere.verdict("cors-part"), "failed", "another page stays out");
    }
    // What a store answers to a preflight is read as a browser reads it.
    let table: [(Lie, &str); 3] = [
        (|asked, answer| drop_at_preflight(asked, answer, "access-control-allow-headers"), "not with a content-type"),
        (|asked, answer| drop_at_preflight(asked, answer, "access-control-allow-methods"), "may not PUT"),
        (|asked, answer| drop_at_preflight(asked, answer, "access-control-allow-origin"), "may not PUT"),
    ];
    for (lie, words) in table {
        let world = World::lying(lie).await.allowing(&["content-type", "x-amz-checksum-*"], &["ETag"]);
        let findings = world.doctor(&[], &["--origin", ORIGIN]).await;
        assert_eq!(findings.verdict("cors-preflight"), "failed", "{words}");
        findings.says("cors-preflight", &[words]);
        assert_eq!(findings.verdict("cors-part"), "ok");
    }
    let findings = World::honest().await.doctor(&[], &[]).await;
    findings.says("cors-preflight", &["skipped", "--origin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fix_puts_what_is_wanting_and_keeps_the_rules_of_others() {
    let variable = |name: &str| needed(&format!("PARTITA_TEST_SEAWEEDFS{name}"));
    let (endpoint, access, secret) = (variable(""), variable("_ACCESS_KEY"), variable("_SECRET_KEY"));
    let s3 = client(&endpoint, &access, &secret);
    let bucket = format!("doctor-{}", std::process::id());
    s3.create_bucket().bucket(&bucket).send().await.expect("a bucket");
    let theirs = CorsRule::builder()
        .id("theirs")
        .allowed_origins("https://their.example")
        .allowed_methods("GET")
        .expose_headers("x-theirs")
        .build()
        .expect("a rule");
    let configuration = CorsConfiguration::builder().cors_rules(theirs).build().expect("rules");
    s3.put_bucket_cors().bucket(&bucket).cors_configuration(configuration).send().await.expect("put");
    let environment = [
        ("PARTITA_S3_BUCKET", bucket.as_str()),
        ("PARTITA_S3_ENDPOINT", &endpoint),
        ("PARTITA_S3_REGION", "us-east-1"),
        ("PARTITA_S3_PATH_STYLE", "true"),
        ("PARTITA_S3_STORE", "seaweedfs"),
        ("PARTITA_S3_PREFIX", "in/here/"),
        ("AWS_ACCESS_KEY_ID", &access),
        ("AWS_SECRET_ACCESS_KEY", &secret),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let examine = async |arguments: &[&str]| doctor(folder.path(), &environment, arguments).await;
    let rules = async || {
        let cors = s3.get_bucket_cors().bucket(&bucket).send().await.expect("rules");
        cors.cors_rules().iter().map(|rule| rule.allowed_origins().join(" ")).collect::<Vec<_>>()
    };

    let before = examine(&["--origin", ORIGIN]).await;
    assert_eq!(before.with("failed"), ["cors-preflight", "cors-part"], "{}", before.document);
    assert_eq!(rules().await, ["https://their.example"], "without --fix nothing is touched");
    let fixed = examine(&["--origin", ORIGIN, "--fix"]).await;
    assert_eq!(fixed.with("failed"), [""; 0], "{}", fixed.document);
    assert_eq!(fixed.verdict("lifecycle"), "ok", "{}", fixed.document);
    assert_eq!(fixed.document["fixed"], serde_json::json!(["cors", "lifecycle"]));
    assert_eq!(rules().await, [ORIGIN, "https://their.example"]);
    let after = examine(&["--origin", ORIGIN, "--fix"]).await;
    assert_eq!(after.document["fixed"], serde_json::json!([]), "what is right is left alone");
    let another = examine(&["--origin", "https://b.example", "--fix"]).await;
    assert_eq!(another.with("failed"), [""; 0], "{}", another.document);
    assert_eq!(rules().await, ["https://b.example https://app.example", "https://their.example"]);
    let theirs = s3.get_bucket_cors().bucket(&bucket).send().await.expect("rules").cors_rules()[1].clone();
    assert_eq!(theirs.expose_headers(), ["x-theirs"]);
    assert_eq!(contents(&s3, &bucket, "").await, [""; 0], "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_settings_say_of_a_store_is_measured_on_seaweedfs() {
    let variable = |name: &str| needed(&format!("PARTITA_TEST_SEAWEEDFS{name}"));
    let (endpoint, access, secret, bucket) =
        (variable(""), variable("_ACCESS_KEY"), variable("_SECRET_KEY"), variable("_BUCKET"));
    let prefix = format!("doctor-{}/", std::process::id());
    let folder = tempfile::tempdir().expect("a folder");
    let examine = async |more: &[(&str, &str)]| {
        let environment = [
            ("PARTITA_S3_BUCKET", bucket.as_str()),
            ("PARTITA_S3_ENDPOINT", &endpoint),
            ("PARTITA_S3_REGION", "us-east-1"),
            ("PARTITA_S3_PATH_STYLE", "true"),
            ("PARTITA_S3_PREFIX", &prefix),
            ("AWS_ACCESS_KEY_ID", &access),
            ("AWS_SECRET_ACCESS_KEY", &secret),
        ];
        let environment: Vec<_> = environment.into_iter().chain(more.iter().copied()).collect();
        doctor(folder.path(), &environment, &[]).await
    };
    let right = examine(&[("PARTITA_S3_STORE", "seaweedfs")]).await;
    assert_eq!(right.with("failed"), [""; 0], "{}", right.document);
    right.says("full-object-checksum", &["when the creation asks"]);
    let boasting = examine(&[("PARTITA_S3_STORE", "aws")]).await;
    assert_eq!(boasting.with("failed"), ["object-size-check", "full-object-checksum"], "{}", boasting.document);
    boasting.says("object-size-check", &["s3.capabilities.object_size_check = false"]);
    boasting.says("full-object-checksum", &["full_object_checksum = \\\"told\\\""]);
    let modest = examine(&[("PARTITA_S3_STORE", "other")]).await;
    assert_eq!(modest.with("failed"), [""; 0], "{}", modest.document);
    modest.says("conditional-completion", &["You may set", "conditional_completion = true"]);
    modest.says("full-object-checksum", &["You may set", "told"]);
    let s3 = client(&endpoint, &access, &secret);
    assert_eq!(contents(&s3, &bucket, &prefix).await, [""; 0], "nothing is left");
}
