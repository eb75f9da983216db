//! The real binary on one of the stores, and what looks and acts behind its back: a client of the store, SQL, a sweep.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use partita::config::{Capabilities, Settings};
use reqwest::Body;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::store::Store;
use crate::process::{self, Running};
use crate::support::{Api, crc64nvme, new_database, part_checksum};

pub(super) struct OnStore {
    pub(super) api: Api,
    pub(super) s3: Client,
    pub(super) store: Store,
    pub(super) capabilities: Capabilities,
    pub(super) prefix: String,
    running: Option<Running>,
    environment: Vec<(String, String)>,
    database_url: String,
    folder: TempDir,
}

/// An upload that has been begun.
pub(super) struct Begun {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) key: String,
    /// S3's id of it; empty for an empty file, which has none.
    pub(super) s3_upload_id: String,
    pub(super) urls: Vec<Value>,
}

impl Begun {
    /// The upload and its part URLs as creation told them.
    pub(super) fn of(upload: &Value, urls: &[Value]) -> Begun {
        let text = |name: &str| upload[name].as_str().expect("text").to_owned();
        let s3_upload_id = urls.first().map(|part| {
            let url = reqwest::Url::parse(part["url"].as_str().expect("a URL")).expect("a URL");
            url.query_pairs().find(|(name, _)| name == "uploadId").expect("S3's id").1.into_owned()
        });
        let (id, key) = (text("id"), text("key"));
        let path = format!("/v1/uploads/{id}");
        Begun { id, path, key, s3_upload_id: s3_upload_id.unwrap_or_default(), urls: urls.to_vec() }
    }
}

/// A part whose bytes are still on their way.
pub(super) struct InFlight {
    rest: mpsc::Sender<Vec<u8>>,
    last: Vec<u8>,
    answer: JoinHandle<Option<u16>>,
}

impl InFlight {
    /// Sends the rest. S3's answer, if it gave one.
    pub(super) async fn land(self) -> Option<u16> {
        // The store may have hung up.
        let _ = self.rest.send(self.last).await;
        drop(self.rest);
        self.answer.await.expect("no panic")
    }
}

/// A part that fits into no socket's buffers: once all but its end is on its way, the store has begun to take it.
pub(super) const LONG_PART: i64 = 24 << 20;
const CHUNK: usize = 64 << 10;

impl OnStore {
    pub(super) async fn embedded() -> OnStore {
        OnStore::on_sqlite(Store::embedded().await).await
    }

    pub(super) async fn seaweedfs() -> OnStore {
        OnStore::on_postgres(Store::seaweedfs()).await
    }

    pub(super) async fn of_unknown_kind() -> OnStore {
        OnStore::on_postgres(Store::of_unknown_kind()).await
    }

    pub(super) async fn ministack() -> OnStore {
        OnStore::on_postgres(Store::ministack()).await
    }

    pub(super) async fn garage() -> OnStore {
        OnStore::on_sqlite(Store::garage()).await
    }

    pub(super) async fn on_sqlite(store: Store) -> OnStore {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("partita.sqlite").display());
        OnStore::start(store, folder, url).await
    }

    async fn on_postgres(store: Store) -> OnStore {
        OnStore::start(store, tempfile::tempdir().expect("a folder"), new_database().await).await
    }

    async fn start(store: Store, folder: TempDir, database_url: String) -> OnStore {
        // The bucket is shared with other tests; a prefix of its own keeps them apart.
        let prefix = format!("{}/", Uuid::now_v7());
        let mut environment = store.environment();
        for (name, value) in [
            ("PARTITA_LISTEN", "127.0.0.1:0"),
            ("PARTITA_DATABASE_URL", &database_url),
            ("PARTITA_INSECURE_NO_AUTH", "true"),
            ("PARTITA_S3_PREFIX", &prefix),
        ] {
            environment.push((name.to_owned(), value.to_owned()));
        }
        let find = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let capabilities = Settings::load(None, find, &[]).expect("settings").s3.capabilities();
        let migrated = run(&folder, &environment, "migrate").await;
        assert!(migrated.status.success(), "{migrated:?}");
        let running = process::start(folder.path(), &borrowed(&environment)).await;
        let (api, s3) = (running.api.clone(), store.client());
        OnStore { api, s3, store, capabilities, prefix, running: Some(running), environment, database_url, folder }
    }

    /// Kills the service, and starts it again.
    pub(super) async fn restart(&mut self) {
        self.running.take().expect("running").kill().await;
        let running = process::start(self.folder.path(), &borrowed(&self.environment)).await;
        self.api = running.api.clone();
        self.running = Some(running);
    }

    /// One `partita sweep`, beside the service.
    pub(super) async fn sweep(&self) {
        let swept = run(&self.folder, &self.environment, "sweep").await;
        assert!(swept.status.success(), "{swept:?}");
    }

    /// Sweeps, hours apart for this upload, until it has come to this state.
    pub(super) async fn sweep_until(&self, begun: &Begun, state: &str) -> Value {
        let mut shown = Value::Null;
        for _ in 0..8 {
            self.sweep().await;
            shown = self.api.get(&begun.path).await.ok(200);
            if shown["state"] == state {
                return shown;
            }
            self.age(begun, Duration::from_secs(2 * 3600)).await;
        }
        panic!("not {state} after eight sweeps: {shown}");
    }

    pub(super) async fn begin(&self, body: Value) -> Begun {
        let (id, upload, mut urls) = self.api.create(body).await;
        if urls.is_empty() && upload["size"] != 0 {
            let checksum = upload["partChecksum"].as_str().map(|algorithm| part_checksum(algorithm, b""));
            let mut part = json!({ "partNumber": 1 });
            if let Some(checksum) = checksum {
                part["checksum"] = json!(checksum);
            }
            let path = format!("/v1/uploads/{id}/part-urls");
            let signed = self.api.post(&path, json!({ "items": [part] })).await.ok(200);
            urls = signed["partUrls"].as_array().expect("part URLs").clone();
        }
        Begun::of(&upload, &urls)
    }

    /// Begins an upload that the service knows nothing of; S3's id of it.
    pub(super) async fn begin_foreign(&self, key: &str) -> String {
        let begun = self.s3.create_multipart_upload().bucket(&self.store.bucket).key(key).send().await.expect("begun");
        begun.upload_id.expect("an id")
    }

    /// Begins an upload of these bytes and sends all of them; what recordParts takes.
    pub(super) async fn send(&self, bytes: &[u8]) -> (Begun, Vec<Value>) {
        let begun = self.begin(json!({ "filename": "x", "size": bytes.len() })).await;
        let sent = self.api.put_parts(&begun.urls, bytes).await;
        (begun, sent)
    }

    /// Sends a part that may be refused: S3's status. A store may also hang up on a body that it will not have.
    pub(super) async fn try_part(&self, url: &Value, bytes: &[u8]) -> Option<u16> {
        let mut request = self.api.http.put(url["url"].as_str().expect("a URL")).body(bytes.to_vec());
        for (name, value) in url["headers"].as_object().expect("headers") {
            request = request.header(name, value.as_str().expect("text"));
        }
        request.send().await.ok().map(|answer| answer.status().as_u16())
    }

    /// Begins to send a part, all but its end. The store is at it if it is as long as [`LONG_PART`].
    pub(super) async fn begin_part(&self, url: &Value, bytes: &[u8]) -> InFlight {
        let (rest, chunks) = mpsc::channel::<Vec<u8>>(1);
        let stream = futures_util::stream::unfold(chunks, |mut chunks| async move {
            chunks.recv().await.map(|chunk| (Ok::<_, std::io::Error>(chunk), chunks))
        });
        let request = self.api.http.put(url["url"].as_str().expect("a URL")).header("content-length", bytes.len());
        let request = request.body(Body::wrap_stream(stream));
        let answer = tokio::spawn(async move { request.send().await.ok().map(|answer| answer.status().as_u16()) });
        let mut pieces = bytes.chunks(CHUNK).map(<[u8]>::to_vec);
        let last = pieces.next_back().expect("bytes");
        for piece in pieces {
            // Waits until the one before has been taken.
            if rest.send(piece).await.is_err() {
                break;
            }
        }
        InFlight { rest, last, answer }
    }

    /// Changes an upload's row behind the service's back.
    pub(super) async fn set(&self, begun: &Begun, assignments: &str) {
        let sqlite = self.database_url.starts_with("sqlite");
        let id = if sqlite { format!("x'{}'", begun.id.replace('-', "")) } else { format!("'{}'", begun.id) };
        let statement = format!("UPDATE uploads SET version = version + 1, {assignments} WHERE id = {id}");
        let db = Database::connect(&self.database_url).await.expect("the database");
        let done = db.execute_unprepared(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert_eq!(done.rows_affected(), 1, "{statement}");
        db.close().await.expect("closed");
    }

    /// Lets this time pass for the upload: every moment in its row moves back.
    pub(super) async fn age(&self, begun: &Begun, by: Duration) {
        let moments = [
            "created_at",
            "begun_at",
            "updated_at",
            "expires_at",
            "hard_expires_at",
            "urls_expire_at",
            "overdue_at",
            "lease_until",
            "due_at",
            "asked_at",
            "completed_at",
            "ended_at",
        ];
        let moved = moments.map(|moment| format!("{moment} = {moment} - {}", by.as_millis()));
        self.set(begun, &moved.join(", ")).await;
    }

    /// Another's object at the upload's key.
    pub(super) async fn put_foreign(&self, begun: &Begun, bytes: &'static [u8]) {
        let request = self.s3.put_object().bucket(&self.store.bucket).key(&begun.key);
        request.body(ByteStream::from_static(bytes)).send().await.expect("put");
    }

    /// The parts that the store lists for the upload; `None` if it does not know it.
    pub(super) async fn listed(&self, begun: &Begun) -> Option<usize> {
        let request = self.s3.list_parts().bucket(&self.store.bucket).key(&begun.key).upload_id(&begun.s3_upload_id);
        match request.send().await {
            Ok(listed) => Some(listed.parts().len()),
            Err(error) => {
                assert_eq!(error.code(), Some("NoSuchUpload"), "{error:?}");
                None
            }
        }
    }

    /// The store's ids of the multipart uploads that are open under this prefix.
    pub(super) async fn open_under(&self, prefix: &str) -> Vec<String> {
        let listed = self.s3.list_multipart_uploads().bucket(&self.store.bucket).prefix(prefix).send().await;
        let listed = listed.expect("a listing");
        listed.uploads().iter().filter_map(|upload| upload.upload_id().map(str::to_owned)).collect()
    }

    /// The object at the upload's key: its bytes, and whose it says it is.
    pub(super) async fn object(&self, begun: &Begun) -> Option<(Vec<u8>, Option<String>)> {
        match self.s3.get_object().bucket(&self.store.bucket).key(&begun.key).send().await {
            Ok(found) => {
                let owner = found.metadata().and_then(|metadata| metadata.get("partita-upload-id").cloned());
                Some((found.body.collect().await.expect("the bytes").to_vec(), owner))
            }
            Err(error) => {
                assert_eq!(error.code(), Some("NoSuchKey"), "{error:?}");
                None
            }
        }
    }

    /// Asserts that the store holds nothing of the upload: no parts, no multipart upload, no object.
    pub(super) async fn assert_gone(&self, begun: &Begun) {
        if !begun.s3_upload_id.is_empty() {
            assert_eq!(self.listed(begun).await, None, "S3 knows the upload still");
        }
        assert_eq!(self.open_under(&begun.key).await, Vec::<String>::new(), "S3 lists it as open");
        assert_eq!(self.object(begun).await.map(|(bytes, _)| bytes.len()), None, "S3 has an object");
    }

    /// Asserts that the upload is completed and these bytes are its file.
    pub(super) async fn assert_completed(&self, begun: &Begun, bytes: &[u8]) {
        assert_eq!(self.api.get(&begun.path).await.ok(200)["state"], "completed");
        assert!(self.api.download(&begun.id).await.1 == bytes, "other bytes come back");
    }
}

/// What creation and completion take as a file's checksum.
pub(super) fn file_checksum(bytes: &[u8]) -> Value {
    json!({ "algorithm": "CRC64NVME", "value": crc64nvme(bytes) })
}

async fn run(folder: &TempDir, environment: &[(String, String)], verb: &str) -> std::process::Output {
    let output = process::partita(folder.path(), &borrowed(environment)).arg(verb).output();
    tokio::time::timeout(Duration::from_secs(60), output).await.expect("it ends by itself").expect("run")
}

fn borrowed(environment: &[(String, String)]) -> Vec<(&str, &str)> {
    environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
