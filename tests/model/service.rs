//! The very service, made to live and die beside its S3: each life has a runtime of its own, and dies with it.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use partita::app::App;
use partita::bucket::{Bucket, Download};
use partita::config::Settings;
use partita::sweeper::Swept;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::support::scripted_s3::{Playing, Script, ScriptedS3};
use crate::support::{Api, MIB, Reply, Service};

/// The ETags that S3 gives to the parts that are sent, by parts of the plan, part and bytes.
static ETAGS: OnceLock<HashMap<(usize, usize, u8), String>> = OnceLock::new();
/// One that it gives to nothing.
const WRONG_ETAG: &str = "\"00000000000000000000000000000000\"";
/// Longer than any step takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The service, its S3 and its database.
pub(super) struct Mortal {
    outside: Runtime,
    life: Option<(App, Runtime)>,
    pub(super) s3: ScriptedS3,
    bucket: Bucket,
    settings: Settings,
    api: Api,
    /// How far its clock was moved.
    ahead: Duration,
    _folder: TempDir,
}

impl Mortal {
    pub(super) fn born(postgres: Option<&str>) -> Mortal {
        let outside = runtime();
        let folder = tempfile::tempdir().expect("a folder");
        let s3 = outside.block_on(ScriptedS3::start());
        let mut settings = Settings {
            listen: ([127, 0, 0, 1], 0).into(),
            data_dir: folder.path().into(),
            database_url: postgres.map(Into::into),
            insecure_no_auth: Some(true),
            // Nobody but the test sweeps, and no answer leaves before its end.
            sweep_interval: Duration::from_secs(24 * 3_600),
            complete_wait: PATIENCE,
            ..Settings::default()
        };
        s3.settings(&mut settings.s3);
        let bucket = s3.bucket(&settings.s3);
        let api = Api::new(String::new());
        let mut mortal =
            Mortal { outside, life: None, s3, bucket, settings, api, ahead: Duration::ZERO, _folder: folder };
        ETAGS.get_or_init(etags);
        mortal.rise();
        mortal
    }

    fn rise(&mut self) {
        let life = runtime();
        let bucket = self.s3.bucket(&self.settings.s3);
        let app = life.block_on(App::start_with(&self.settings, bucket)).expect("a service");
        app.clock.advance(self.ahead);
        self.api.base = format!("http://{}", app.address);
        self.life = Some((app, life));
    }

    /// Everything of it stops where it is, and a new one starts on the same database and S3.
    pub(super) fn die(&mut self) {
        let (app, life) = self.life.take().expect("alive");
        drop(app);
        life.shutdown_timeout(PATIENCE);
        self.rise();
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.ahead += by;
        self.life.as_ref().expect("alive").0.clock.advance(by);
    }

    pub(super) fn sweep(&self) -> Swept {
        let (app, life) = self.life.as_ref().expect("alive");
        life.block_on(app.sweep()).expect("a sweep")
    }

    /// Sweeps; dies where S3 meets the script. Whether nothing met it.
    pub(super) fn sweep_to_death(&mut self, script: Script) -> (Playing, bool) {
        let playing = self.s3.play(script.next(1));
        let (app, life) = self.life.as_ref().expect("alive");
        let survived = life.block_on(async {
            tokio::select! {
                biased;
                () = playing.met(1) => false,
                swept = app.sweep() => swept.map(|_| true).expect("a sweep"),
            }
        });
        playing.lift();
        if !survived {
            self.die();
        }
        (playing, survived)
    }

    pub(super) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.outside.block_on(async { tokio::time::timeout(PATIENCE, work).await.expect("in time") })
    }

    pub(super) fn call(&self, method: &str, path: &str, body: Option<Value>, key: Option<u8>) -> Reply {
        self.wait(send(self.api.clone(), method, path, body, key))
    }

    /// Makes a call that S3 never answers, for the service dies meanwhile; `None` when it did. Otherwise the answer.
    pub(super) fn call_to_death(
        &mut self,
        script: Script,
        method: &str,
        path: &str,
        body: Option<Value>,
        key: Option<u8>,
    ) -> (Playing, Option<Reply>) {
        let playing = self.s3.play(script.next(1));
        let call = send(self.api.clone(), method, path, body, key);
        let reply = self.wait(async {
            tokio::select! {
                biased;
                () = playing.met(1) => None,
                reply = call => Some(reply),
            }
        });
        playing.lift();
        if reply.is_none() {
            self.die();
        }
        (playing, reply)
    }

    /// Sends a part to the upload of which S3 has this id.
    pub(super) fn put(&self, key: &str, s3_upload_id: &str, number: usize, bytes: Vec<u8>) -> (StatusCode, String) {
        self.wait(async {
            let signer = self.signer().await;
            let number = i32::try_from(number).expect("a number");
            let size = i64::try_from(bytes.len()).expect("a size");
            let signed = signer.parts(key, s3_upload_id, None).sign(number, size, None);
            self.api.put_bytes(&json!({ "url": signed.url, "headers": signed.headers }), bytes).await
        })
    }

    pub(super) fn object_bytes(&self, key: &str) -> Vec<u8> {
        self.wait(async {
            let signer = self.signer().await;
            let (disposition, content_type) = ("attachment", "text/plain");
            let url =
                signer.download(&Download { key, version_id: None, disposition, content_type, cache_control: None });
            let response = self.api.http.get(url).send().await.expect("an answer of S3");
            response.bytes().await.expect("bytes").to_vec()
        })
    }

    /// S3's clock is the system's, whatever the service's is.
    async fn signer(&self) -> partita::bucket::UrlSigner {
        #[expect(clippy::disallowed_methods, reason = "S3's clock is the system's")]
        let now = Utc::now();
        self.bucket.signer(now, now + TimeDelta::minutes(10), now).await.expect("a signer")
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        if let Some((app, life)) = self.life.take() {
            drop(app);
            life.shutdown_background();
        }
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

async fn send(api: Api, method: &str, path: &str, body: Option<Value>, key: Option<u8>) -> Reply {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = api.http.request(method, format!("{}{path}", api.base));
    if let Some(body) = body {
        request = request.json(&body);
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", format!("key-{key}"));
    }
    api.send(request).await
}

/// Bytes in each part of a plan of so many parts.
pub(super) fn size_of(planned: usize, part: usize) -> usize {
    if planned == 2 && part == 0 { usize::try_from(5 * MIB).expect("a size") } else { 5 }
}

pub(super) fn bytes_of(planned: usize, part: usize, bytes: u8) -> Vec<u8> {
    vec![b'a' + bytes; size_of(planned, part)]
}

pub(super) fn etag_of(planned: usize, part: usize, bytes: u8) -> &'static str {
    ETAGS.get_or_init(etags).get(&(planned, part, bytes)).map_or(WRONG_ETAG, String::as_str)
}

/// What S3 says to each part when it is sent.
fn etags() -> HashMap<(usize, usize, u8), String> {
    let learn = async {
        let service = Service::scripted(false, |_| {}).await;
        let mut etags = HashMap::new();
        for planned in 1..3 {
            let size: usize = (0..planned).map(|part| size_of(planned, part)).sum();
            let body = json!({ "filename": "x", "size": size, "partSize": 5 * MIB });
            let (_, _, urls) = service.api.create(body).await;
            for (part, url) in urls.iter().enumerate() {
                for bytes in 0..2 {
                    let (status, etag) = service.api.put_bytes(url, bytes_of(planned, part, bytes)).await;
                    assert_eq!(status, 200);
                    etags.insert((planned, part, bytes), etag);
                }
            }
        }
        etags
    };
    std::thread::spawn(|| runtime().block_on(learn)).join().expect("ETags")
}
