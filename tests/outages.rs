//! S3 or the database refuses, is away, or holds what it should not: the right problem, nothing lost.

use std::process::Stdio;
use std::time::{Duration, Instant};

use partita::config::Preset;
use sea_orm::{ConnectionTrait, TransactionTrait};
use serde_json::json;
use uuid::Uuid;

use crate::process::{Running, partita, start, until_ready};
use crate::support::proxy::Proxy;
use crate::support::{Service, needed, new_database, on_both_databases};

on_both_databases! {
    a_key_taken_by_another_object_fails_the_upload_and_keeps_the_object
    an_object_that_vanished_is_never_called_completed
    an_upload_that_s3_forgot_ends_and_forgets_no_record_before
    a_row_that_contradicts_itself_is_never_acted_upon
}

async fn a_key_taken_by_another_object_fails_the_upload_and_keeps_the_object(service: Service) {
    let api = &service.api;
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
    api.put_parts(&urls, b"hello").await;
    let mut other = service.ledger_upload(&id).await;
    other.id = Uuid::now_v7();
    service.bucket().put_empty(&other, &Preset::default()).await.expect("another's object at the same key");
    api.complete(&id, None).await.problem(409, "key-exists");
    api.complete(&id, None).await.problem(410, "upload-failed");
    let found = service.bucket().head(&other).await.expect("an answer").expect("an object");
    assert_eq!((found.upload_id, found.size), (Some(other.id.to_string()), 0), "the other's object is as it was");
    service.advance(Duration::from_secs(2 * 3600));
    api.delete(&format!("/v1/uploads/{id}")).await.ok(204);
    let shown = api.get(&format!("/v1/uploads/{id}")).await.ok(200);
    assert_eq!((shown["state"].as_str(), shown["failure"].as_str()), (Some("failed"), Some("key-taken")));
}

async fn an_object_that_vanished_is_never_called_completed(service: Service) {
    let api = &service.api;
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
    let sent = api.put_parts(&urls, b"hello").await;
    let path = format!("/v1/uploads/{id}");
    api.put(&format!("{path}/parts"), json!({ "parts": sent })).await.ok(200);
    let upload = service.ledger_upload(&id).await;
    let s3_upload_id = upload.s3_upload_id.clone().expect("an id of S3's");
    service.bucket().abort(&upload, &s3_upload_id).await.expect("aborted behind the service's back");
    api.complete(&id, None).await.problem(410, "upload-failed");
    service.advance(Duration::from_secs(2 * 3600));
    api.delete(&path).await.ok(204);
    assert_eq!(api.get(&path).await.ok(200)["failure"], "upload-vanished");
}

async fn an_upload_that_s3_forgot_ends_and_forgets_no_record_before(service: Service) {
    let api = &service.api;
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": 9 << 20 })).await;
    let bytes = crate::support::file(9 << 20);
    let sent = api.put_parts(&urls[..1], &bytes).await;
    let path = format!("/v1/uploads/{id}");
    api.put(&format!("{path}/parts"), json!({ "parts": sent })).await.ok(200);
    let upload = service.ledger_upload(&id).await;
    let s3_upload_id = upload.s3_upload_id.clone().expect("an id of S3's");
    service.bucket().abort(&upload, &s3_upload_id).await.expect("aborted behind the service's back");
    let synced = api.call("POST", &format!("{path}/sync"), None).await.ok(200);
    assert_eq!(synced["recordedParts"], 1, "what S3 does not know of is no verdict on what it held");
    api.complete(&id, None).await.problem(410, "upload-failed");
}

async fn a_row_that_contradicts_itself_is_never_acted_upon(service: Service) {
    let api = &service.api;
    let (id, ..) = api.create(json!({ "filename": "x", "size": 5 })).await;
    service.sql(&format!("UPDATE uploads SET metadata = 'x' WHERE id = {}", service.literal(&id))).await;
    let path = format!("/v1/uploads/{id}");
    for problem in [
        api.get(&path).await.problem(500, "internal"),
        api.delete(&path).await.problem(500, "internal"),
        api.call("POST", &format!("{path}/complete"), None).await.problem(500, "internal"),
    ] {
        let text = problem.to_string();
        assert!(!text.contains("metadata") && !text.contains("uploads"), "nothing of the inside shows: {text}");
    }
    let literal = service.literal(&id);
    let contradiction = format!("UPDATE uploads SET state = 'completed' WHERE id = {literal}");
    let refused = service.database().await.execute_unprepared(&contradiction).await;
    assert!(refused.is_err(), "the database itself refuses a state without its facts");
}

/// The real binary with an S3 that is not as it should be.
async fn with_s3(postgres: bool, endpoint: &str, secret: &str) -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let bucket = needed("PARTITA_TEST_SEAWEEDFS_BUCKET");
    let access = needed("PARTITA_TEST_SEAWEEDFS_ACCESS_KEY");
    let url = if postgres { new_database().await } else { format!("sqlite://{}", folder.path().join("db").display()) };
    let environment = [
        ("PARTITA_LISTEN", "127.0.0.1:0"),
        ("PARTITA_DATABASE_URL", url.as_str()),
        ("PARTITA_INSECURE_NO_AUTH", "true"),
        ("PARTITA_S3_BUCKET", &bucket),
        ("PARTITA_S3_ENDPOINT", endpoint),
        ("PARTITA_S3_REGION", "us-east-1"),
        ("PARTITA_S3_PATH_STYLE", "true"),
        ("AWS_ACCESS_KEY_ID", &access),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ];
    let binary = env!("CARGO_BIN_EXE_partita");
    let migrated = tokio::process::Command::new(binary).arg("migrate").envs(environment).output().await.expect("run");
    assert!(migrated.status.success());
    (start(folder.path(), &environment).await, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_refuses_and_a_store_that_is_away_are_told_apart() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    for postgres in [false, true] {
        let (running, _folder) = with_s3(postgres, &needed("PARTITA_TEST_SEAWEEDFS"), "not the secret").await;
        let body = json!({ "filename": "x", "size": 5 });
        let refused = running.api.post("/v1/uploads", body.clone()).await.problem(502, "storage-refused");
        assert!(!refused.to_string().to_lowercase().contains("signature"), "no text of S3 reaches a client: {refused}");
        let listed = running.api.get("/v1/uploads").await.ok(200);
        let left = &listed["items"][0];
        assert_eq!((left["state"].as_str(), left["failure"].as_str()), (Some("aborting"), None), "{left}");

        let (running, _folder) = with_s3(postgres, &format!("http://{closed}"), "any").await;
        let away = running.api.post("/v1/uploads", body).await;
        assert!(away.header("retry-after").is_some());
        away.problem(503, "storage-unavailable");
        running.api.get("/readyz").await.ok(200);
        // An empty file is begun without S3, but not completed without it.
        let (id, ..) = running.api.create(json!({ "filename": "x", "size": 0 })).await;
        let path = format!("/v1/uploads/{id}/complete");
        assert_eq!(
            running.api.call("POST", &path, None).await.ok(202)["state"],
            "completing",
            "unclear, and not forgotten"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_told_and_comes_back() {
    let service = Service::on_postgres().await;
    let (id, ..) = service.api.create(json!({ "filename": "x", "size": 5 })).await;
    let name = service.database_url.rsplit('/').next().expect("a name").to_owned();
    let admin = sea_orm::Database::connect(needed("PARTITA_TEST_POSTGRES")).await.expect("PostgreSQL");
    let run = async |statement: String| admin.execute_unprepared(&statement).await.expect("done");
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
    run(format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
    let away = service.api.get(&format!("/v1/uploads/{id}")).await;
    assert!(away.header("retry-after").is_some());
    away.problem(503, "database-unavailable");
    service.api.get("/readyz").await.problem(503, "database-unavailable");
    service.api.get("/livez").await.ok(200);
    run(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
    service.api.get(&format!("/v1/uploads/{id}")).await.ok(200);

    let service = Service::on_sqlite().await;
    let (id, ..) = service.api.create(json!({ "filename": "x", "size": 5 })).await;
    let other = service.database().await;
    let holding = other.begin().await.expect("a transaction");
    holding.execute_unprepared("UPDATE uploads SET attempts = 1").await.expect("the write lock");
    service.api.get(&format!("/v1/uploads/{id}")).await.ok(200);
    let path = format!("/v1/uploads/{id}/parts/1");
    service.api.put(&path, json!({ "etag": "x" })).await.problem(503, "database-unavailable");
    holding.rollback().await.expect("given back");
    service.api.put(&path, json!({ "etag": "x" })).await.ok(200);
}

/// The network swallows everything: no answer, no end of a connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_falls_silent_holds_nobody_for_long() {
    let name = new_database().await.rsplit('/').next().expect("a name").to_owned();
    let (proxy, url) = Proxy::before_postgres(&name).await;
    let service = Service::with(|settings| settings.database_url = Some(url.into())).await;
    let (id, ..) = service.api.create(json!({ "filename": "x", "size": 5 })).await;
    let path = format!("/v1/uploads/{id}");
    proxy.silence(true);
    let began = Instant::now();
    let (part, report) = (format!("{path}/parts/1"), json!({ "etag": "x" }));
    let (looked, recorded, ready) =
        tokio::join!(service.api.get(&path), service.api.put(&part, report.clone()), service.api.get("/readyz"));
    for reply in [looked, recorded, ready] {
        assert!(reply.header("retry-after").is_some());
        reply.problem(503, "database-unavailable");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "bounded, though this machine may be busy");
    service.api.get("/livez").await.ok(200);
    proxy.silence(false);
    service.api.put(&part, report).await.ok(200);
    assert_eq!(service.api.get(&path).await.ok(200)["recordedParts"], 1);
}

/// A file may not grow beyond so many KiB, as if the disk were full; `prlimit` makes room again.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_loses_nothing_that_was_acknowledged() {
    const ROOM: u32 = 400;
    let folder = tempfile::tempdir().expect("a folder");
    let environment = [("PARTITA_LISTEN", "127.0.0.1:0"), ("PARTITA_EMBEDDED_S3_LISTEN", "127.0.0.1:0")];
    let mut limited = tokio::process::Command::new("bash");
    let line = format!("trap '' XFSZ; ulimit -S -f {ROOM}; exec \"$0\"");
    limited.args(["-c", &line]).arg(env!("CARGO_BIN_EXE_partita"));
    let plain = partita(folder.path(), &environment);
    limited.env_clear().envs(plain.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(folder.path()).kill_on_drop(true).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = until_ready(limited.spawn().expect("started")).await;

    let mut acknowledged = Vec::new();
    let body = json!({ "filename": "x".repeat(200), "size": 5 });
    let full = loop {
        let reply = running.api.post("/v1/uploads", body.clone()).await;
        match reply.status.as_u16() {
            201 => acknowledged.push(reply.body["upload"].clone()),
            _ => break reply,
        }
        assert!(acknowledged.len() < 5_000, "the disk is never full");
    };
    assert!(full.header("retry-after").is_some());
    full.problem(503, "database-unavailable");
    assert!(!acknowledged.is_empty());
    let listed = running.api.get("/v1/uploads?limit=1").await.ok(200);
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "what needs no room is answered");

    let process = running.child.id().expect("running").to_string();
    let raised = std::process::Command::new("prlimit").args(["--pid", &process, "--fsize=unlimited"]).status();
    assert!(raised.expect("prlimit").success());
    running.api.create(body).await;
    for upload in &acknowledged {
        let id = upload["id"].as_str().expect("an id");
        assert_eq!(running.api.get(&format!("/v1/uploads/{id}")).await.ok(200)["key"], upload["key"]);
    }
}
