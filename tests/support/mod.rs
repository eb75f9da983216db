//! The harness: the very service, with a database and a folder of its own; a client that holds every answer against the
//! OpenAPI document.

mod contract;
pub(crate) mod observed_s3;
pub(crate) mod proxy;
pub(crate) mod rough;
pub(crate) mod scripted_s3;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use partita::app::App;
use partita::bucket::Bucket;
use partita::clock::Clock;
use partita::config::{S3, Settings};
use partita::upload::{Owner, Upload, Whose};
use reqwest::{Method, StatusCode};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) use contract::check;
use scripted_s3::ScriptedS3;

pub(crate) const MIB: i64 = 1 << 20;

/// Declares each test once for SQLite and once for PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::support::Service::on_sqlite().await).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::support::Service::on_postgres().await).await; })+
        }
    };
}
pub(crate) use on_both_databases;

/// The same, where callers are asked who they are.
macro_rules! with_callers {
    ($($name:ident)+) => {
        mod sqlite_with_callers {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::support::Service::with_auth(false, |_| {}).await).await; })+
        }
        mod postgres_with_callers {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::support::Service::with_auth(true, |_| {}).await).await; })+
        }
    };
}
pub(crate) use with_callers;

/// The same for tests that start a service of their own, and are told whether on PostgreSQL.
macro_rules! on_either_database {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(false).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(true).await; })+
        }
    };
}
pub(crate) use on_either_database;

/// A variable that `./test` sets. Without it a test fails: it is never skipped.
pub(crate) fn needed(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the tests by ./test, or start `./test services`"))
}

/// The service in this process, with the embedded S3 or one that is made to fail.
pub(crate) struct Service {
    pub(crate) api: Api,
    pub(crate) app: Option<App>,
    pub(crate) database_url: String,
    pub(crate) settings: Settings,
    scripted: Option<ScriptedS3>,
    folder: TempDir,
}

impl Service {
    pub(crate) async fn on_sqlite() -> Service {
        Service::with(|_| {}).await
    }

    pub(crate) async fn on_postgres() -> Service {
        let url = new_database().await;
        Service::with(move |settings| settings.database_url = Some(url.into())).await
    }

    /// On SQLite, with other settings than the tests' own.
    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Service {
        Service::against(None, change).await
    }

    /// On either database, where callers are asked who they are.
    pub(crate) async fn with_auth(postgres: bool, change: impl FnOnce(&mut Settings)) -> Service {
        let url = if postgres { Some(new_database().await) } else { None };
        let change = move |settings: &mut Settings| {
            settings.database_url = url.map(Into::into);
            settings.insecure_no_auth = Some(false);
            change(settings);
        };
        Service::against(None, change).await
    }

    /// A client with a new API key of this owner, with these scopes; no scopes are those of every user.
    pub(crate) async fn caller(&self, owner: &str, scopes: &[&str]) -> Api {
        self.api.with(&self.key(owner, scopes, None).await.1)
    }

    /// The service's clock.
    pub(crate) fn clock(&self) -> &Clock {
        &self.app.as_ref().expect("running").clock
    }

    /// A new API key: its id, and itself.
    pub(crate) async fn key(&self, owner: &str, scopes: &[&str], life: Option<Duration>) -> (Uuid, String) {
        let scopes = if scopes.is_empty() { &["uploads:write", "files:read", "files:write"] } else { scopes };
        let new = partita::access::NewKey::random().expect("randomness");
        let store = self.store().await;
        let holder = partita::store::Holder {
            owner: Owner(owner.to_owned()),
            name: String::new(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            presets: None,
        };
        let id = store.keep_key(new.hash, &holder, life).await.expect("kept");
        (id, secrecy::ExposeSecret::expose_secret(&new.text).to_owned())
    }

    /// The ledger, beside the service and with its clock.
    pub(crate) async fn store(&self) -> partita::store::Store {
        let clock = self.app.as_ref().expect("running").clock.clone();
        partita::app::open_store(&self.settings, clock).await.expect("the database")
    }

    /// With an S3 that plays scripts, and settings of the test's own.
    pub(crate) async fn scripted(postgres: bool, change: impl FnOnce(&mut Settings)) -> Service {
        let url = if postgres { Some(new_database().await) } else { None };
        let s3 = ScriptedS3::start().await;
        let mut told = partita::config::S3::default();
        s3.settings(&mut told);
        let change = move |settings: &mut Settings| {
            settings.database_url = url.map(Into::into);
            settings.s3 = told;
            change(settings);
        };
        Service::against(Some(s3), change).await
    }

    async fn against(scripted: Option<ScriptedS3>, change: impl FnOnce(&mut Settings)) -> Service {
        let folder = tempfile::tempdir().expect("a folder");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut settings = Settings { listen: any, data_dir: folder.path().into(), ..Settings::default() };
        settings.embedded_s3.listen = any;
        settings.embedded_s3.access_key = Some("AKTEST".into());
        settings.embedded_s3.secret_key = Some("a secret of the tests".into());
        settings.web_demo = Some(true);
        settings.insecure_no_auth = Some(true);
        // Tests sweep when they want to.
        settings.sweep_interval = Duration::from_secs(24 * 3600);
        change(&mut settings);
        let sqlite = format!("sqlite://{}", folder.path().join("partita.sqlite").display());
        let database_url =
            settings.database_url.as_ref().map_or(sqlite, |url| secrecy::ExposeSecret::expose_secret(url).to_owned());
        if database_url.starts_with("postgres") {
            let store =
                partita::app::open_store(&settings, partita::clock::Clock::default()).await.expect("a database");
            store.migrate().await.expect("migrated");
            store.close().await;
        }
        let app = start(&settings, scripted.as_ref()).await;
        let api = Api::new(format!("http://{}", app.address));
        Service { api, app: Some(app), database_url, settings, scripted, folder }
    }

    /// The S3 that plays scripts.
    pub(crate) fn s3(&self) -> &ScriptedS3 {
        self.scripted.as_ref().expect("a service with a scripted S3")
    }

    /// Stops the service and starts it again on the same data; ports may differ.
    pub(crate) async fn restart(&mut self) {
        self.app.take().expect("running").stop().await;
        let app = start(&self.settings, self.scripted.as_ref()).await;
        self.api = Api::new(format!("http://{}", app.address));
        self.app = Some(app);
    }

    /// Moves the clocks of the service and of its database forward.
    pub(crate) fn advance(&self, by: Duration) {
        self.app.as_ref().expect("running").clock.advance(by);
    }

    /// Settles all that is due, as the sweeper does.
    pub(crate) async fn settle(&self) {
        self.app.as_ref().expect("running").sweep().await.expect("a sweep");
    }

    /// Runs a statement behind the service's back.
    pub(crate) async fn sql(&self, statement: &str) {
        let db = self.database().await;
        db.execute_unprepared(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        db.close().await.expect("closed");
    }

    /// How many rows there are of a table, or of what follows its name.
    pub(crate) async fn count(&self, rows: &str) -> i64 {
        let db = self.database().await;
        let statement = Statement::from_string(db.get_database_backend(), format!("SELECT COUNT(*) AS n FROM {rows}"));
        let row = db.query_one_raw(statement).await.expect("an answer").expect("a row");
        db.close().await.expect("closed");
        row.try_get("", "n").expect("a number")
    }

    pub(crate) async fn database(&self) -> DatabaseConnection {
        Database::connect(&self.database_url).await.expect("the database")
    }

    /// An upload's id as the database writes it.
    pub(crate) fn literal(&self, id: &str) -> String {
        if self.database_url.starts_with("sqlite") { format!("x'{}'", id.replace('-', "")) } else { format!("'{id}'") }
    }

    /// The embedded S3's bucket, as whoever has its keys sees it.
    pub(crate) fn bucket(&self) -> Bucket {
        let address = self.app.as_ref().expect("running").embedded_s3.expect("the embedded S3");
        let settings = S3 { endpoint: Some(format!("http://{address}")), path_style: true, ..S3::default() };
        Bucket::with_credentials(&settings, "partita", "AKTEST", "a secret of the tests")
    }

    /// The upload as the ledger has it.
    pub(crate) async fn ledger_upload(&self, id: &str) -> Upload {
        let store = partita::app::open_store(&self.settings, Clock::default()).await.expect("the database");
        store.find(&Whose::Of(Owner("local".into())), id.parse().expect("an id")).await.expect("the upload")
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

async fn start(settings: &Settings, scripted: Option<&ScriptedS3>) -> App {
    let started = match scripted {
        Some(s3) => App::start_with(settings, s3.bucket(&settings.s3)).await,
        None => App::start(settings).await,
    };
    started.expect("a service")
}

/// A new database on the PostgreSQL that `./test` started; `partita migrate` is yet to be run on it.
pub(crate) async fn new_database() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let server = needed("PARTITA_TEST_POSTGRES");
    let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let admin = Database::connect(&server).await.expect("PostgreSQL");
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.expect("dropped");
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("created");
    admin.close().await.expect("closed");
    let base = server.rsplit_once('/').expect("a URL with a database").0;
    format!("{base}/{name}")
}

/// A client of the service.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) base: String,
    pub(crate) http: reqwest::Client,
    /// The API key or token that goes with each request.
    pub(crate) credential: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

impl Reply {
    #[track_caller]
    pub(crate) fn ok(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }

    /// The problem document of this status and code.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status.as_u16(), self.body["code"].as_str()), (status, Some(code)), "{}", self.body);
        self.body
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl Api {
    pub(crate) fn new(base: String) -> Api {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Api { base, http, credential: None }
    }

    /// The same service, asked with this API key or token.
    pub(crate) fn with(&self, credential: &str) -> Api {
        Api { credential: Some(credential.to_owned()), ..self.clone() }
    }

    /// Sends a request and holds the answer against the document.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        let mut request = request.build().expect("a request");
        if let Some(credential) = &self.credential {
            let value = format!("Bearer {credential}").parse().expect("a header");
            request.headers_mut().insert("authorization", value);
        }
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.http.execute(request).await.expect("an answer");
        let status = response.status();
        let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
            (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
        };
        let headers: HashMap<String, String> = response.headers().iter().map(header).collect();
        let bytes = response.bytes().await.expect("a body");
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let reply = Reply { status, headers, body };
        check(method.as_str(), &path, &reply);
        reply
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        self.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Reply {
        self.call("PUT", path, Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        self.call("DELETE", path, None).await
    }

    /// Uploads a file of these bytes; returns its id.
    pub(crate) async fn upload(&self, body: Value, bytes: &[u8]) -> String {
        let mut body = body;
        body["size"] = bytes.len().into();
        let (id, _, urls) = self.create(body).await;
        self.put_parts(&urls, bytes).await;
        self.complete(&id, None).await.ok(200);
        id
    }

    /// Creates an upload; returns `(id, upload, partUrls)`.
    pub(crate) async fn create(&self, body: Value) -> (String, Value, Vec<Value>) {
        let answer = self.post("/v1/uploads", body).await.ok(201);
        let id = answer["upload"]["id"].as_str().expect("an id").to_owned();
        (id, answer["upload"].clone(), answer["partUrls"].as_array().expect("part URLs").clone())
    }

    /// PUTs the part's bytes of `file`, with exactly the headers given; returns S3's status and ETag.
    pub(crate) async fn put_part(&self, part: &Value, file: &[u8]) -> (StatusCode, String) {
        let (offset, size) =
            (part["offset"].as_u64().expect("offset") as usize, part["size"].as_u64().expect("size") as usize);
        self.put_bytes(part, file[offset..offset + size].to_vec()).await
    }

    pub(crate) async fn put_bytes(&self, part: &Value, bytes: Vec<u8>) -> (StatusCode, String) {
        let mut request = self.http.put(part["url"].as_str().expect("a URL")).body(bytes);
        for (name, value) in part["headers"].as_object().expect("headers") {
            request = request.header(name, value.as_str().expect("text"));
        }
        let response = request.send().await.expect("an answer of S3");
        let etag = response.headers().get("etag").and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
        (response.status(), etag)
    }

    /// PUTs all these parts; returns what recordParts takes.
    pub(crate) async fn put_parts(&self, parts: &[Value], file: &[u8]) -> Vec<Value> {
        let mut reports = Vec::new();
        for part in parts {
            let (status, etag) = self.put_part(part, file).await;
            assert_eq!(status, 200, "part {}", part["partNumber"]);
            reports.push(json!({ "partNumber": part["partNumber"], "etag": etag }));
        }
        reports
    }

    /// Completes an upload, asking again while it is still running.
    pub(crate) async fn complete(&self, id: &str, body: Option<Value>) -> Reply {
        for _ in 0..100 {
            let reply = self.call("POST", &format!("/v1/uploads/{id}/complete"), body.clone()).await;
            if reply.status != 202 {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("a completion that does not end");
    }

    /// The bytes and headers of a completed upload's file, by way of its download link.
    pub(crate) async fn download(&self, id: &str) -> (HashMap<String, String>, Vec<u8>) {
        let link = self.get(&format!("/v1/files/{id}/download")).await;
        assert_eq!(link.status, 302, "{}", link.body);
        let response = self.http.get(link.header("location").expect("Location")).send().await.expect("the file");
        assert_eq!(response.status(), 200);
        let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = response.headers().iter().map(header).collect();
        (headers, response.bytes().await.expect("the file").to_vec())
    }
}

/// The CRC64NVME of these bytes, as S3 writes it.
pub(crate) fn crc64nvme(bytes: &[u8]) -> String {
    STANDARD.encode(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, bytes).to_be_bytes())
}

/// The checksum of these bytes in this algorithm of part checksums, as S3 writes it.
pub(crate) fn part_checksum(algorithm: &str, bytes: &[u8]) -> String {
    match algorithm {
        "CRC64NVME" => crc64nvme(bytes),
        "CRC32C" => {
            STANDARD.encode((crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes) as u32).to_be_bytes())
        }
        _ => STANDARD.encode(Sha256::digest(bytes)),
    }
}

/// Bytes that differ from part to part.
pub(crate) fn file(size: i64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(size as usize + 8);
    while (bytes.len() as i64) < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state >> 7).to_le_bytes());
    }
    bytes.truncate(size as usize);
    bytes
}
