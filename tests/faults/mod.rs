//! S3 fails in every way that is known: each test is one script of what goes wrong, and states what is kept all the same.
//! After each of them S3 is healed, every upload comes to its end, and what the service says is held against what the
//! bucket holds.

mod abort;
mod complete;
mod create;
mod delete;
mod hard_won;
mod listing;
mod outage;
mod parts;
mod proof;
mod sweep;

use std::time::Duration;

use partita::config::Settings;
use serde_json::{Value, json};

use crate::support::scripted_s3::Operation::{AbortMultipartUpload, CompleteMultipartUpload};
use crate::support::scripted_s3::StoredObject;
use crate::support::{Reply, Service};

/// Declares each test on SQLite, and those of `both` on PostgreSQL too.
macro_rules! scripts {
    (both { $($both:ident)* } sqlite { $($lite:ident)* }) => {
        mod sqlite {
            $(crate::faults::scripts!(@ false $both);)*
            $(crate::faults::scripts!(@ false $lite);)*
        }
        mod postgres {
            $(crate::faults::scripts!(@ true $both);)*
        }
    };
    (@ $postgres:literal $name:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let mut service = crate::support::Service::scripted($postgres, crate::faults::patient).await;
            super::$name(&mut service).await;
            crate::faults::every_end_is_true(&mut service).await;
        }
    };
}
use scripts;

/// Rows of one table: each a test that hands its script to the same body.
macro_rules! rows {
    ($body:ident { $($name:ident: $script:expr;)* }) => {
        $(async fn $name(service: &mut crate::support::Service) { $body(service, $script).await; })*
    };
}
use rows;

const HOUR: Duration = Duration::from_secs(3600);
/// Longer than a lease, or the quiet time after an unclear completion.
const PAST_LEASES: Duration = Duration::from_secs(15 * 60);

/// A busy machine changes no answer: `202` is for completions whose outcome is open, or where the test asks for haste.
fn patient(settings: &mut Settings) {
    settings.complete_wait = Duration::from_secs(30);
}

/// An upload of which S3 holds every part, all of them recorded.
struct Ready {
    id: String,
    path: String,
    key: String,
}

impl Service {
    /// Creates an upload of five bytes, sends them, records them.
    async fn ready(&self) -> Ready {
        let ready = self.sent().await;
        self.api.call("POST", &format!("{}/sync", ready.path), None).await.ok(200);
        ready
    }

    /// The same, but recorded nowhere.
    async fn sent(&self) -> Ready {
        let (id, upload, urls) = self.api.create(json!({ "filename": "x", "size": 5 })).await;
        self.api.put_parts(&urls, b"hello").await;
        Ready { path: format!("/v1/uploads/{id}"), key: upload["key"].as_str().expect("a key").to_owned(), id }
    }

    /// From now on nobody waits long for S3.
    async fn in_haste(&mut self) {
        self.settings.complete_wait = Duration::from_millis(300);
        self.restart().await;
    }

    async fn completes(&self, upload: &Ready) -> Reply {
        self.api.call("POST", &format!("{}/complete", upload.path), None).await
    }

    async fn state_of(&self, upload: &Ready) -> String {
        self.api.get(&upload.path).await.ok(200)["state"].as_str().expect("a state").to_owned()
    }

    /// Every upload there is, as the API shows it.
    async fn uploads(&self) -> Vec<Value> {
        let page = self.api.get("/v1/uploads?limit=1000").await.ok(200);
        page["items"].as_array().expect("items").clone()
    }
}

/// S3 did not say what happened: the client is told to come back.
#[track_caller]
fn is_unclear(reply: Reply) {
    assert!(reply.header("retry-after").is_some(), "no Retry-After: {}", reply.body);
    reply.problem(503, "storage-unavailable");
}

/// A completion whose outcome is open.
#[track_caller]
fn is_running(reply: Reply) {
    assert_eq!(reply.ok(202)["state"], "completing");
}

/// Heals S3, lets time pass and the sweeper work, and holds what the service says against what the bucket holds: nobody
/// asks for anything any more, and yet every upload comes to its end.
async fn every_end_is_true(service: &mut Service) {
    service.s3().heal();
    service.s3().idle().await;
    for _ in 0..8 {
        service.advance(HOUR * 20);
        service.settle().await;
    }
    let s3 = service.s3();
    for upload in service.uploads().await {
        let (id, key) = (upload["id"].as_str().expect("an id"), upload["key"].as_str().expect("a key"));
        let stored = s3.object(key).await;
        let ours = stored.as_ref().is_some_and(|object| object.upload_id.as_deref() == Some(id));
        match upload["state"].as_str().expect("a state") {
            "completed" => {
                let told = StoredObject {
                    upload_id: Some(id.to_owned()),
                    size: upload["object"]["size"].as_i64().expect("a size"),
                    etag: upload["object"]["etag"].as_str().expect("an ETag").to_owned(),
                };
                assert_eq!(stored, Some(told), "completed: {upload}");
            }
            "aborted" | "failed" | "deleted" => assert!(!ours, "it is there, and said not to be: {upload}"),
            state => panic!("without an end ({state}): {upload}"),
        }
    }
    assert_eq!(s3.leaked().await, [], "open at S3 for ever");
    s3.assert_others_untouched().await;
    assert!(s3.most_at_once(CompleteMultipartUpload) <= 1, "two completions of one upload at once");
    let completions = s3.calls(Some(CompleteMultipartUpload));
    for abort in s3.calls(Some(AbortMultipartUpload)) {
        let late = completions.iter().find(|complete| {
            complete.upload_id() == abort.upload_id() && complete.key == abort.key && complete.started > abort.started
        });
        assert!(late.is_none(), "completed after it was aborted: {late:?}");
    }
}
