//! Every upload ends, without anybody asking: what is due is settled by whichever replica comes first, and by one only.

use std::collections::HashSet;
use std::time::Duration;

use partita::clock::Clock;
use partita::config::Preset;
use serde_json::json;

use crate::support::{MIB, Service, file, on_both_databases};

on_both_databases! {
    an_upload_that_nobody_finishes_is_aborted_and_in_the_end_forgotten
    an_upload_that_completes_by_itself_needs_nobody_to_ask
    a_creation_that_got_no_answer_is_gone_on_with
    an_abort_is_proved_when_nothing_can_land_any_more
    an_abort_waits_for_the_longest_lived_url
    strays_of_an_unclear_creation_do_not_outlive_the_upload
    a_completion_whose_process_died_is_gone_on_with
    a_completion_that_nobody_can_resolve_is_given_up_at_its_hard_cap
    a_deletion_is_finished
    a_row_that_cannot_be_helped_holds_up_nobody_and_comes_ever_more_seldom
    no_two_replicas_settle_the_same_upload
    a_database_from_a_backup_is_not_swept
    expired_idempotency_keys_are_forgotten
}

const HOUR: u64 = 3600;

impl Service {
    /// One sweep: how many uploads went from where to where.
    async fn sweep(&self) -> Vec<(String, usize)> {
        let swept = self.app.as_ref().expect("running").sweep().await.expect("a ledger");
        swept.into_iter().map(|((from, to), count)| (format!("{from} → {to}"), count)).collect()
    }

    async fn state(&self, id: &str) -> String {
        self.api.get(&format!("/v1/uploads/{id}")).await.ok(200)["state"].as_str().expect("a state").to_owned()
    }

    /// Sets columns of an upload's row, by SQL.
    async fn set(&self, id: &str, columns: &str) {
        self.sql(&format!("UPDATE uploads SET {columns} WHERE id = {}", self.literal(id))).await;
    }
}

fn went(path: &str) -> Vec<(String, usize)> {
    vec![(path.to_owned(), 1)]
}

async fn an_upload_that_nobody_finishes_is_aborted_and_in_the_end_forgotten(service: Service) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    let sent = api.put_parts(&urls[..1], &bytes).await;
    let path = format!("/v1/uploads/{id}");
    api.put(&format!("{path}/parts"), json!({ "parts": sent })).await.ok(200);
    let upload = service.ledger_upload(&id).await;
    let s3_upload_id = upload.s3_upload_id.clone().expect("an id of S3's");
    assert_eq!(service.sweep().await, vec![], "nothing is due yet");

    service.advance(Duration::from_secs(25 * HOUR));
    assert_eq!(service.sweep().await, went("open → aborted"));
    assert_eq!(api.get(&path).await.ok(200)["abortReason"], "expired");
    assert!(service.bucket().list_parts(&upload, &s3_upload_id).await.is_err(), "S3 holds nothing of it");
    service.advance(Duration::from_secs(29 * 24 * HOUR));
    assert_eq!(service.sweep().await, vec![]);
    api.get(&path).await.ok(200);
    service.advance(Duration::from_secs(2 * 24 * HOUR));
    assert_eq!(service.sweep().await, went("aborted → aborted"));
    api.get(&path).await.problem(404, "upload-not-found");
}

async fn an_upload_that_completes_by_itself_needs_nobody_to_ask(service: Service) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len(), "autoComplete": true })).await;
    api.put_parts(&urls[..1], &bytes).await;
    service.advance(Duration::from_secs(61));
    assert_eq!(service.sweep().await, went("open → open"), "a part is missing");
    api.put_parts(&urls[1..], &bytes).await;
    assert_eq!(service.sweep().await, vec![], "S3 is not asked all the time");
    service.advance(Duration::from_secs(61));
    assert_eq!(service.sweep().await, went("open → completed"));
    assert!(api.download(&id).await.1 == bytes);

    let (asked, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
    api.put_parts(&urls, b"hello").await;
    service.set(&asked, "due_at = 1").await;
    assert_eq!(service.sweep().await, went("open → open"), "one that is to be completed when it is asked for waits");
    api.delete(&format!("/v1/uploads/{asked}")).await.ok(204);

    let (late, _, _) = api.create(json!({ "filename": "x", "size": 5, "autoComplete": true })).await;
    service.advance(Duration::from_secs(25 * HOUR));
    service.sweep().await;
    assert_eq!(service.state(&late).await, "aborted", "one whose bytes never come ends like any other");
}

async fn a_creation_that_got_no_answer_is_gone_on_with(service: Service) {
    let api = &service.api;
    let lost = "state = 'creating', s3_upload_id = NULL, lease_until = 1, due_at = 1";
    let (id, ..) = api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
    let begun = service.ledger_upload(&id).await.s3_upload_id;
    service.set(&id, lost).await;
    assert_eq!(service.sweep().await, went("creating → open"));
    assert_eq!(service.ledger_upload(&id).await.s3_upload_id, begun, "what S3 had is adopted");

    let (other, ..) = api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
    let upload = service.ledger_upload(&other).await;
    service.bucket().abort(&upload, &upload.s3_upload_id.clone().expect("an id")).await.expect("gone");
    service.set(&other, lost).await;
    assert_eq!(service.sweep().await, went("creating → open"));
    let signed = api.post(&format!("/v1/uploads/{other}/part-urls"), json!({ "parts": "1" })).await.ok(200);
    api.put_parts(signed["partUrls"].as_array().expect("URLs"), b"hello").await;
    api.complete(&other, None).await.ok(200);

    let (past, ..) = api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
    service.set(&past, &format!("{lost}, expires_at = 1")).await;
    assert_eq!(service.sweep().await, went("creating → aborting"), "nobody waits for it any more");

    let (at_work, ..) = api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
    service.set(&at_work, "state = 'creating', s3_upload_id = NULL, lease_until = 99999999999999, due_at = 1").await;
    assert_eq!(service.sweep().await, went("creating → creating"), "whose lease lasts is not disturbed");
}

async fn an_abort_is_proved_when_nothing_can_land_any_more(service: Service) {
    let api = &service.api;
    let (id, ..) = api.create(json!({ "filename": "x", "size": 5 })).await;
    api.delete(&format!("/v1/uploads/{id}")).await.ok(204);
    service.advance(Duration::from_secs(HOUR));
    assert_eq!(service.sweep().await, vec![], "its URL may have begun a transfer a quarter of an hour ago");
    assert_eq!(service.state(&id).await, "aborting");
    service.advance(Duration::from_secs(HOUR));
    assert_eq!(service.sweep().await, went("aborting → aborted"));
}

async fn an_abort_waits_for_the_longest_lived_url(service: Service) {
    let api = &service.api;
    let (id, ..) = api.create(json!({ "filename": "x", "size": 5 })).await;
    let sign = async |seconds: u64| {
        let body = json!({ "parts": "1", "ttlSeconds": seconds });
        api.post(&format!("/v1/uploads/{id}/part-urls"), body).await.ok(200);
    };
    sign(6 * HOUR).await;
    sign(60).await;
    api.delete(&format!("/v1/uploads/{id}")).await.ok(204);
    service.advance(Duration::from_secs(6 * HOUR));
    service.sweep().await;
    assert_eq!(service.state(&id).await, "aborting", "a transfer begun by the first URL may still land");
    service.advance(Duration::from_secs(2 * HOUR));
    assert_eq!(service.sweep().await, went("aborting → aborted"));
}

async fn strays_of_an_unclear_creation_do_not_outlive_the_upload(service: Service) {
    let api = &service.api;
    let lost = "state = 'creating', s3_upload_id = NULL, lease_until = 1, due_at = 1";
    for ends in ["completed", "aborted"] {
        let (id, ..) = api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
        service.set(&id, lost).await;
        service.sweep().await;
        // A first creation that was answered by nobody arrives at S3 after the second.
        let upload = service.ledger_upload(&id).await;
        let late = service.bucket().create(&upload, &Preset::default()).await.expect("begun");
        if ends == "completed" {
            let signed = api.post(&format!("/v1/uploads/{id}/part-urls"), json!({ "parts": "1" })).await.ok(200);
            api.put_parts(signed["partUrls"].as_array().expect("URLs"), b"hello").await;
            api.complete(&id, None).await.ok(200);
        } else {
            api.delete(&format!("/v1/uploads/{id}")).await.ok(204);
        }
        service.advance(Duration::from_secs(2 * HOUR));
        service.sweep().await;
        assert_eq!(service.state(&id).await, ends);
        assert!(service.bucket().list_parts(&upload, &late).await.is_err(), "{ends}: the stray is gone");
    }
}

async fn a_completion_whose_process_died_is_gone_on_with(service: Service) {
    let api = &service.api;
    let died = "state = 'completing', target_size = 5, lease_until = 1, due_at = 1";
    let create = async || {
        let (id, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
        let sent = api.put_parts(&urls, b"hello").await;
        api.put(&format!("/v1/uploads/{id}/parts"), json!({ "parts": sent })).await.ok(200);
        id
    };
    let before = create().await;
    service.set(&before, died).await;
    assert_eq!(service.sweep().await, went("completing → completed"), "it died before S3 was asked");
    assert!(api.download(&before).await.1 == b"hello");

    let after = create().await;
    let done = api.complete(&after, None).await.ok(200)["object"].clone();
    let forgotten = "object_etag = NULL, object_checksum = NULL, object_checksum_algorithm = NULL, completed_at = NULL";
    service.set(&after, &format!("{died}, {forgotten}")).await;
    assert_eq!(service.sweep().await, went("completing → completed"), "it died after S3 had answered");
    let again = api.complete(&after, None).await.ok(200)["object"].clone();
    assert_eq!((&again["etag"], &again["size"]), (&done["etag"], &done["size"]));

    let at_work = create().await;
    service.set(&at_work, "state = 'completing', target_size = 5, lease_until = 99999999999999, due_at = 1").await;
    assert_eq!(service.sweep().await, went("completing → completing"), "whose lease lasts is not disturbed");
}

async fn a_completion_that_nobody_can_resolve_is_given_up_at_its_hard_cap(service: Service) {
    let api = &service.api;
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
    let sent = api.put_parts(&urls, b"hello").await;
    api.put(&format!("/v1/uploads/{id}/parts"), json!({ "parts": sent })).await.ok(200);
    let upload = service.ledger_upload(&id).await;
    // S3 knows neither the upload nor an object, but says so of a bucket that it refuses to look into.
    service.set(&id, "state = 'completing', target_size = 5, lease_until = 1, due_at = 1, bucket = bucket").await;
    service.bucket().abort(&upload, &upload.s3_upload_id.clone().expect("an id")).await.expect("gone");
    service.advance(Duration::from_secs(7 * 24 * HOUR));
    assert_eq!(service.sweep().await, went("completing → refused"));
    let shown = api.get(&format!("/v1/uploads/{id}")).await.ok(200);
    assert_eq!((shown["state"].as_str(), shown["failure"].as_str()), (Some("failed"), Some("upload-vanished")));
}

async fn a_deletion_is_finished(service: Service) {
    let api = &service.api;
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": 5 })).await;
    api.put_parts(&urls, b"hello").await;
    api.complete(&id, None).await.ok(200);
    let upload = service.ledger_upload(&id).await;
    service.set(&id, "state = 'deleting', due_at = 1").await;
    assert_eq!(service.sweep().await, went("deleting → deleted"));
    assert_eq!(service.bucket().head(&upload).await.expect("an answer"), None);

    // Another's object at the same key stays.
    let mut other = upload.clone();
    other.id = uuid::Uuid::now_v7();
    service.bucket().put_empty(&other, &Preset::default()).await.expect("another's object");
    service.set(&id, "state = 'deleting', due_at = 1, ended_at = NULL").await;
    assert_eq!(service.sweep().await, went("deleting → deleted"));
    assert!(service.bucket().head(&other).await.expect("an answer").is_some());
}

async fn a_row_that_cannot_be_helped_holds_up_nobody_and_comes_ever_more_seldom(service: Service) {
    let api = &service.api;
    let (poisoned, ..) = api.create(json!({ "filename": "x", "size": 5 })).await;
    service.set(&poisoned, "metadata = 'x', due_at = 1").await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await.0);
    }
    service.advance(Duration::from_secs(25 * HOUR));
    assert_eq!(service.sweep().await, vec![("open → aborted".to_owned(), 20)]);

    let tried = async || {
        let db = service.database().await;
        let id = service.literal(&poisoned);
        let row = sea_orm::ConnectionTrait::query_one_raw(
            &db,
            sea_orm::Statement::from_string(
                sea_orm::ConnectionTrait::get_database_backend(&db),
                format!("SELECT attempts, due_at FROM uploads WHERE id = {id}"),
            ),
        );
        let row = row.await.expect("an answer").expect("the row");
        db.clone().close().await.expect("closed");
        (row.try_get::<i64>("", "attempts").expect("attempts"), row.try_get::<i64>("", "due_at").expect("due_at"))
    };
    let mut last = tried().await;
    let mut pauses = Vec::new();
    for _ in 0..5 {
        service.advance(Duration::from_secs(16 * 60));
        service.sweep().await;
        let now = tried().await;
        assert_eq!(now.0, last.0 + 1);
        // By how much this pause is longer than the one before.
        pauses.push((now.1 - last.1 + 30_000) / 60_000 - 16);
        last = now;
    }
    assert_eq!(pauses, [1, 2, 4, 7, 0], "1, 2, 4, 8, then 15 minutes, for ever");
}

async fn no_two_replicas_settle_the_same_upload(service: Service) {
    let api = &service.api;
    for _ in 0..40 {
        api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
    }
    service.sql("UPDATE uploads SET due_at = 1").await;
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(partita::app::open_store(&service.settings, Clock::default()).await.expect("the database"));
    }
    let mut racing = tokio::task::JoinSet::new();
    for store in replicas {
        racing.spawn(async move {
            let mut claimed = Vec::new();
            loop {
                let batch = store.claim_due(3).await.expect("claimed");
                if batch.is_empty() {
                    return claimed;
                }
                claimed.extend(batch.into_iter().map(|upload| upload.expect("a sound row").id));
            }
        });
    }
    let claimed: Vec<_> = racing.join_all().await.into_iter().flatten().collect();
    let distinct: HashSet<_> = claimed.iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (40, 40));
}

async fn a_database_from_a_backup_is_not_swept(service: Service) {
    let (id, ..) = service.api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
    let store = partita::app::open_store(&service.settings, Clock::default()).await.expect("the database");
    store.distrust().await.expect("marked");
    service.advance(Duration::from_secs(25 * HOUR));
    let refused = service.app.as_ref().expect("running").sweep().await.expect_err("nothing is swept");
    assert!(matches!(refused, partita::coordinator::Error::Store(partita::store::Error::Restored)), "{refused:?}");
    assert_eq!(service.state(&id).await, "open");
    store.trust().await.expect("trusted");
    assert_eq!(service.sweep().await, went("open → aborted"));
}

async fn expired_idempotency_keys_are_forgotten(service: Service) {
    let request = || service.api.http.post(format!("{}/v1/uploads", service.api.base)).header("idempotency-key", "k");
    let body = json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } });
    service.api.send(request().json(&body)).await.ok(201);
    service.sweep().await;
    let store = partita::app::open_store(&service.settings, Clock::default()).await.expect("the database");
    assert_eq!(store.forget_keys().await.expect("an answer"), 0, "kept for a day");
    service.advance(Duration::from_secs(25 * HOUR));
    service.sweep().await;
    let ahead = Clock::default();
    ahead.advance(Duration::from_secs(25 * HOUR));
    let store = partita::app::open_store(&service.settings, ahead).await.expect("the database");
    assert_eq!(store.forget_keys().await.expect("an answer"), 0, "the sweep has done it");
}
