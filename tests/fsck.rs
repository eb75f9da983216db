//! Ledger and bucket are held against each other, both ways, and mended without guessing: by the real binary, beside the
//! service where that is allowed.

use std::process::Output;

use partita::clock::Clock;
use partita::config::Preset;
use partita::coordinator::{Coordinator, Disagreement, Finding};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{Service, on_both_databases};

on_both_databases! {
    a_sound_ledger_has_no_findings
    each_disagreement_is_found_and_mended
    what_has_mended_itself_is_left_alone
    a_row_of_another_bucket_is_left_alone
    what_others_have_open_is_told_and_aborted_only_when_asked
    a_restored_database_is_checked_before_it_is_swept
    a_bucket_in_which_most_files_are_missing_is_not_believed
}

impl Service {
    /// Runs a verb of the binary with the service's own settings.
    async fn verb(&self, arguments: &[&str]) -> Output {
        let address = self.app.as_ref().expect("running").embedded_s3.expect("the embedded S3").to_string();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_partita"));
        command
            .env_clear()
            .current_dir(self.folder())
            .env("PARTITA_DATA_DIR", self.folder())
            .env("PARTITA_DATABASE_URL", &self.database_url)
            .env("PARTITA_EMBEDDED_S3_LISTEN", address)
            .env("PARTITA_EMBEDDED_S3_ACCESS_KEY", "AKTEST")
            .env("PARTITA_EMBEDDED_S3_SECRET_KEY", "a secret of the tests")
            .env("PARTITA_LOG", "off")
            .args(arguments);
        command.output().await.expect("run")
    }

    /// The findings of `partita fsck`, as kind and id, and whether it was content.
    async fn fsck(&self, arguments: &[&str]) -> (Vec<(String, String)>, bool) {
        let output = self.verb(&[&["fsck", "--json"], arguments].concat()).await;
        let text = String::from_utf8(output.stdout).expect("text");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let finding = |line: &Value| {
            let subject = line["id"].as_str().or(line["key"].as_str()).unwrap_or_default();
            Some((line["finding"].as_str()?.to_owned(), subject.to_owned()))
        };
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() || error.trim().lines().count() == 1, "{error}");
        (lines.iter().filter_map(finding).collect(), output.status.success())
    }

    /// Mending needs SQLite for itself: stops the service for it, and starts it again.
    async fn repair(&mut self) -> (Vec<(String, String)>, bool) {
        if !self.database_url.starts_with("sqlite") {
            return self.fsck(&["--repair"]).await;
        }
        let (found, content) = self.fsck(&["--repair"]).await;
        assert!(found.is_empty() && !content, "refused beside a running service");
        let address = self.app.as_ref().expect("running").embedded_s3.expect("the embedded S3");
        self.settings.embedded_s3.listen = address;
        self.app.take().expect("running").stop().await;
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_partita"));
        command
            .env_clear()
            .current_dir(self.folder())
            .env("PARTITA_DATA_DIR", self.folder())
            .env("PARTITA_LOG", "off")
            .args(["fsck", "--json", "--repair"]);
        for (name, value) in [
            ("PARTITA_DATABASE_URL", self.database_url.as_str()),
            ("PARTITA_EMBEDDED_S3_ACCESS_KEY", "AKTEST"),
            ("PARTITA_EMBEDDED_S3_SECRET_KEY", "a secret of the tests"),
        ] {
            command.env(name, value);
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("run").expect("run");
        let text = String::from_utf8(output.stdout).expect("text");
        let found = text.lines().filter_map(|line| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            Some((line["finding"].as_str()?.to_owned(), line["id"].as_str().unwrap_or_default().to_owned()))
        });
        let app = partita::app::App::start(&self.settings).await.expect("a service");
        self.api = crate::support::Api::new(format!("http://{}", app.address));
        self.app = Some(app);
        (found.collect(), output.status.success())
    }

    async fn completed(&self) -> String {
        let (id, _, urls) = self.api.create(json!({ "filename": "x", "size": 5 })).await;
        self.api.put_parts(&urls, b"hello").await;
        self.api.complete(&id, None).await.ok(200);
        id
    }

    async fn open(&self) -> String {
        self.api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await.0
    }

    async fn change(&self, id: &str, columns: &str) {
        self.sql(&format!("UPDATE uploads SET {columns} WHERE id = {}", self.literal(id))).await;
    }
}

const FORGOTTEN: &str = "object_etag = NULL, object_checksum = NULL, object_checksum_algorithm = NULL, object_verified = NULL, \
                         completed_at = NULL";

async fn a_sound_ledger_has_no_findings(service: Service) {
    service.completed().await;
    let aborted = service.open().await;
    service.api.delete(&format!("/v1/uploads/{aborted}")).await.ok(204);
    service.open().await;
    // S3 has begun them, and the ledger has not heard of it yet, or is about to have them aborted.
    let begun = service.open().await;
    service.change(&begun, "state = 'creating', s3_upload_id = NULL, lease_until = 99999999999999").await;
    let ending = service.open().await;
    service.change(&ending, "state = 'aborting', abort_reason = 'requested'").await;
    service.api.create(json!({ "filename": "empty", "size": 0 })).await;
    assert_eq!(service.fsck(&[]).await, (vec![], true));
    let text = String::from_utf8(service.verb(&["fsck"]).await.stdout).expect("text");
    assert_eq!(text.trim(), "6 uploads, 1 of them completed");
}

async fn each_disagreement_is_found_and_mended(mut service: Service) {
    let missing = service.completed().await;
    let upload = service.ledger_upload(&missing).await;
    service.bucket().delete(&upload.key, None).await.expect("deleted behind the service's back");

    let unfinished = service.completed().await;
    service.change(&unfinished, &format!("state = 'open', target_size = NULL, {FORGOTTEN}")).await;

    // The backup was made while one was being completed, and another aborted.
    let completing = service.completed().await;
    service.change(&completing, &format!("state = 'completing', lease_until = 1, {FORGOTTEN}")).await;
    let aborting = service.completed().await;
    service.change(&aborting, &format!("state = 'aborting', abort_reason = 'requested', {FORGOTTEN}")).await;

    let ended = service.completed().await;
    service.change(&ended, &format!("state = 'aborted', abort_reason = 'requested', ended_at = 1, {FORGOTTEN}")).await;

    let vanished = service.open().await;
    let upload = service.ledger_upload(&vanished).await;
    service.bucket().abort(&upload, &upload.s3_upload_id.clone().expect("an id")).await.expect("aborted");

    let unknown = service.completed().await;
    service.sql(&format!("DELETE FROM uploads WHERE id = {}", service.literal(&unknown))).await;
    let sound = service.completed().await;

    let expected = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
    let mut all = vec![
        expected("completed without object", &missing),
        expected("object of ours not completed", &unfinished),
        expected("object of ours not completed", &completing),
        expected("object of ours not completed", &aborting),
        expected("object of an ended upload", &ended),
        expected("open upload that S3 does not have", &vanished),
        expected("object of an unknown upload", &unknown),
    ];
    all.sort();
    for _ in 0..2 {
        let (mut found, content) = service.fsck(&[]).await;
        found.sort();
        assert_eq!((found, content), (all.clone(), false), "looking changes nothing");
    }

    let (mut found, content) = service.repair().await;
    found.sort();
    assert_eq!((found, content), (all.clone(), false), "somebody's data is left alone");
    let state = async |id: &str| service.api.get(&format!("/v1/uploads/{id}")).await.ok(200)["state"].clone();
    assert_eq!(state(&missing).await, "deleted");
    assert_eq!(state(&unfinished).await, "completed");
    assert_eq!(service.api.download(&unfinished).await.1, b"hello");
    assert_eq!((state(&completing).await, state(&aborting).await), ("completed".into(), "completed".into()));
    assert_eq!(state(&ended).await, "aborted");
    let upload = service.ledger_upload(&ended).await;
    assert_eq!(service.bucket().head(&upload).await.expect("an answer"), None);
    assert_eq!(service.api.get(&format!("/v1/uploads/{vanished}")).await.ok(200)["failure"], "upload-vanished");
    assert_eq!(service.api.download(&sound).await.1, b"hello");
    assert_eq!(service.fsck(&[]).await.0, [expected("object of an unknown upload", &unknown)]);
}

/// Between looking and mending somebody else may have mended it.
async fn what_has_mended_itself_is_left_alone(service: Service) {
    let (completed, open) = (service.completed().await, service.open().await);
    let store = partita::app::open_store(&service.settings, Clock::default()).await.expect("the database");
    let coordinator = Coordinator::new(store, service.bucket(), Clock::default(), &service.settings);
    for id in [&completed, &open] {
        let upload = service.ledger_upload(id).await;
        for kind in [
            Disagreement::ObjectMissing,
            Disagreement::NotCompleted,
            Disagreement::ObjectOfEnded,
            Disagreement::UploadVanished,
        ] {
            let finding = Finding { kind, id: upload.id, key: upload.key.clone(), state: None };
            let left = coordinator.mend(&finding).await.expect("an answer");
            assert_eq!(left.version, upload.version, "{kind} of {}", upload.status.state());
        }
    }
    assert_eq!(service.api.download(&completed).await.1, b"hello");
    assert_eq!(service.fsck(&[]).await, (vec![], true));
}

async fn a_row_of_another_bucket_is_left_alone(mut service: Service) {
    let id = service.completed().await;
    service.change(&id, "bucket = 'another'").await;
    let expected = (vec![("row of another bucket".to_owned(), id.clone())], false);
    assert_eq!(service.repair().await, expected, "told, and not called mended");
    assert_eq!(service.fsck(&[]).await, expected);
    assert_eq!(service.api.get(&format!("/v1/uploads/{id}")).await.ok(200)["state"], "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_the_ledger_is_looked_at() {
    let service = Service::on_sqlite().await;
    let mut creating = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let api = service.api.clone();
        creating.spawn(async move {
            for _ in 0..250 {
                api.create(json!({ "filename": "x", "size": 0 })).await;
            }
        });
    }
    creating.join_all().await;
    let last = service.completed().await;
    let upload = service.ledger_upload(&last).await;
    service.bucket().delete(&upload.key, None).await.expect("deleted behind the service's back");
    assert_eq!(service.fsck(&[]).await, (vec![("completed without object".to_owned(), last)], false));
}

async fn what_others_have_open_is_told_and_aborted_only_when_asked(service: Service) {
    let id = service.open().await;
    let ours = service.ledger_upload(&id).await;
    let mut foreign = ours.clone();
    foreign.key = "uploads/somebody/else's".into();
    let mut unknown = ours.clone();
    unknown.key = format!("uploads/00/{}/x", Uuid::now_v7());
    let stray = service.bucket().create(&ours, &Preset::default()).await.expect("begun");
    let begun = [
        service.bucket().create(&foreign, &Preset::default()).await.expect("begun"),
        service.bucket().create(&unknown, &Preset::default()).await.expect("begun"),
    ];
    let mut expected = vec![
        ("stray open upload".to_owned(), ours.key.clone()),
        ("unknown open upload".to_owned(), unknown.key.clone()),
        ("foreign open upload".to_owned(), foreign.key.clone()),
    ];
    // In the order of their keys, which begin with digits of their ids.
    expected.sort_by(|left, right| left.1.cmp(&right.1));
    let (found, content) = service.fsck(&[]).await;
    assert_eq!((found, content), (expected.clone(), false));

    let open = async |upload: &partita::upload::Upload, id: &str| service.bucket().list_parts(upload, id).await.is_ok();
    let told = String::from_utf8(service.verb(&["sweep"]).await.stdout).expect("text");
    assert!(
        told.contains("left alone: uploads/somebody") && told.contains("unknown open upload, left alone"),
        "{told}"
    );
    service.verb(&["sweep", "--abort-unknown", "--abort-foreign"]).await;
    assert!(open(&foreign, &begun[0]).await && open(&unknown, &begun[1]).await, "they may be alive: not a day old");
    assert!(open(&ours, &stray).await, "and so may be a stray of ours");
    service.verb(&["sweep", "--abort-unknown", "--older-than", "0s"]).await;
    assert!(open(&foreign, &begun[0]).await && !open(&unknown, &begun[1]).await, "only of our form, unless asked");
    assert!(!open(&ours, &stray).await, "what the ledger knows by another id is nobody's");
    expected.drain(..2);
    assert_eq!(service.fsck(&[]).await.0, expected);
    service.verb(&["sweep", "--abort-foreign", "--older-than", "0s"]).await;
    assert!(!open(&foreign, &begun[0]).await);
    assert!(open(&ours, &ours.s3_upload_id.clone().expect("an id")).await, "and ours was never touched");
}

async fn a_restored_database_is_checked_before_it_is_swept(mut service: Service) {
    // The backup was made while this upload was open; since then it was completed.
    let id = service.completed().await;
    service.change(&id, &format!("state = 'open', target_size = NULL, expires_at = 1, due_at = 1, {FORGOTTEN}")).await;
    assert!(service.verb(&["fsck", "--restored"]).await.status.success(), "may run beside the service");
    let refused = service.verb(&["sweep"]).await;
    let error = String::from_utf8(refused.stderr).expect("text");
    assert!(!refused.status.success() && error.contains("fsck --repair"), "{error}");
    let (found, _) = service.fsck(&[]).await;
    assert_eq!(found.len(), 1);
    assert!(!service.verb(&["sweep"]).await.status.success(), "looking is not mending");
    let (_, content) = service.repair().await;
    assert!(content);
    assert!(service.verb(&["sweep"]).await.status.success());
    assert_eq!(service.api.get(&format!("/v1/uploads/{id}")).await.ok(200)["state"], "completed");
}

async fn a_bucket_in_which_most_files_are_missing_is_not_believed(service: Service) {
    for _ in 0..11 {
        let id = service.completed().await;
        let upload = service.ledger_upload(&id).await;
        service.bucket().delete(&upload.key, None).await.expect("deleted");
    }
    let check = partita::app::open_store(&service.settings, Clock::default()).await.expect("the database");
    let before = check.counts().await.expect("counts").uploads;
    if !service.database_url.starts_with("sqlite") {
        let output = service.verb(&["fsck", "--repair"]).await;
        assert!(String::from_utf8_lossy(&output.stderr).contains("Is this the right bucket?"), "{output:?}");
        assert_eq!(check.counts().await.expect("counts").uploads, before, "nothing was mended");
        assert!(service.verb(&["fsck", "--repair", "--force"]).await.status.success());
        assert_eq!(check.counts().await.expect("counts").uploads.get("deleted"), Some(&11));
    }
    assert_eq!(before.get("completed"), Some(&11));
}
