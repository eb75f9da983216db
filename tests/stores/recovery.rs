//! After a crash between the ledger and the store: the row is put back to where it was before the answer came, and whoever goes on
//! finds out by asking the store.

use serde_json::{Value, json};

use super::on_every_store;
use super::service::{Begun, OnStore};
use crate::support::{MIB, Reply, file};

on_every_store! {
    a_completion_whose_answer_was_lost_is_found_done
    a_completion_that_never_reached_the_store_is_sent_again
    a_completion_that_the_ledger_forgot_is_found_done
    a_creation_whose_answer_was_lost_is_adopted_by_its_repetition
    a_creation_whose_answer_was_lost_is_swept
    an_abort_that_came_too_late_ends_as_completed
}

/// As it was before the object's facts were written.
const WITHOUT_OBJECT: &str = "object_etag = NULL, object_version_id = NULL, object_checksum_algorithm = NULL, \
    object_checksum = NULL, object_verified = NULL, completed_at = NULL";

async fn a_completion_whose_answer_was_lost_is_found_done(mut service: OnStore) {
    let bytes = file(9 * MIB);
    for by_sweep in [false, true] {
        let (begun, sent) = service.send(&bytes).await;
        let completed = service.api.complete(&begun.id, Some(json!({ "parts": sent }))).await.ok(200);
        let before = format!("state = 'completing', lease_until = 1, due_at = 1, {WITHOUT_OBJECT}");
        service.set(&begun, &before).await;
        service.restart().await;
        if by_sweep {
            service.sweep_until(&begun, "completed").await;
        }
        let found = service.api.complete(&begun.id, None).await.ok(200);
        for fact in ["etag", "size"] {
            assert_eq!(found["object"][fact], completed["object"][fact], "by a sweep: {by_sweep}");
        }
        service.assert_completed(&begun, &bytes).await;
    }
}

async fn a_completion_that_never_reached_the_store_is_sent_again(mut service: OnStore) {
    let bytes = file(9 * MIB);
    for by_sweep in [false, true] {
        let (begun, sent) = service.send(&bytes).await;
        service.api.put(&format!("{}/parts", begun.path), json!({ "parts": sent })).await.ok(200);
        let claimed = format!("state = 'completing', lease_until = 1, due_at = 1, target_size = {}", bytes.len());
        service.set(&begun, &claimed).await;
        service.restart().await;
        if by_sweep {
            service.sweep_until(&begun, "completed").await;
        }
        service.api.complete(&begun.id, None).await.ok(200);
        service.assert_completed(&begun, &bytes).await;
    }
}

/// As after a database that came from a backup: the upload looks open, and the store completed it long ago. Some stores answer
/// a second completion with the first one's answer, some know nothing of it any more, some say that the key is taken.
async fn a_completion_that_the_ledger_forgot_is_found_done(service: OnStore) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let (begun, sent) = service.send(&bytes).await;
    let completed = api.complete(&begun.id, Some(json!({ "parts": sent }))).await.ok(200);
    for recorded in [true, false] {
        service
            .set(&begun, &format!("state = 'open', target_size = NULL, target_checksum = NULL, {WITHOUT_OBJECT}"))
            .await;
        let told = recorded.then(|| json!({ "parts": sent }));
        let found = api.complete(&begun.id, told).await.ok(200);
        assert_eq!(found["object"]["etag"], completed["object"]["etag"]);
    }
    service.assert_completed(&begun, &bytes).await;
}

async fn create(service: &OnStore, body: &Value) -> Reply {
    let api = &service.api;
    api.send(api.http.post(format!("{}/v1/uploads", api.base)).header("idempotency-key", "k").json(body)).await
}

/// Puts a begun upload back to before S3's answer to its creation.
async fn forget_creation(service: &OnStore, begun: &Begun) {
    service.set(begun, "state = 'creating', s3_upload_id = NULL, lease_until = 1, due_at = 1").await;
}

async fn a_creation_whose_answer_was_lost_is_adopted_by_its_repetition(mut service: OnStore) {
    let bytes = file(9 * MIB);
    let body = json!({ "filename": "x", "size": bytes.len() });
    let first = create(&service, &body).await.ok(201);
    let begun = Begun::of(&first["upload"], first["partUrls"].as_array().expect("part URLs"));
    // Others' uploads, whose key only begins as ours does.
    let mut neighbours = Vec::new();
    for _ in 0..6 {
        neighbours.push(service.begin_foreign(&format!("{}y", begun.key)).await);
    }
    forget_creation(&service, &begun).await;
    service.restart().await;
    let again = create(&service, &body).await.ok(201);
    let again = Begun::of(&again["upload"], again["partUrls"].as_array().expect("part URLs"));
    assert_eq!((&again.id, &again.s3_upload_id), (&begun.id, &begun.s3_upload_id), "the one that S3 had begun");
    assert_eq!(service.open_under(&begun.key).await.len(), 7, "no second one was begun, no other touched");
    service.api.put_parts(&begun.urls[..1], &bytes).await;
    service.api.put_parts(&again.urls[1..], &bytes).await;
    service.api.complete(&begun.id, None).await.ok(200);
    service.assert_completed(&begun, &bytes).await;
    let mut left = service.open_under(&begun.key).await;
    left.sort();
    neighbours.sort();
    assert_eq!(left, neighbours);
}

async fn a_creation_whose_answer_was_lost_is_swept(mut service: OnStore) {
    let bytes = file(9 * MIB);
    let begun = service.begin(json!({ "filename": "x", "size": bytes.len() })).await;
    forget_creation(&service, &begun).await;
    service.restart().await;
    service.sweep_until(&begun, "open").await;
    // Adopted: the parts sent under its first URLs are its parts.
    service.api.put_parts(&begun.urls, &bytes).await;
    service.api.complete(&begun.id, None).await.ok(200);
    service.assert_completed(&begun, &bytes).await;
}

async fn an_abort_that_came_too_late_ends_as_completed(service: OnStore) {
    let bytes = file(9 * MIB);
    for by_sweep in [false, true] {
        let (begun, sent) = service.send(&bytes).await;
        service.api.complete(&begun.id, Some(json!({ "parts": sent }))).await.ok(200);
        // An abort began while nobody knew yet that the completion had been done.
        service
            .set(&begun, &format!("state = 'aborting', abort_reason = 'requested', due_at = 1, {WITHOUT_OBJECT}"))
            .await;
        if by_sweep {
            service.sweep_until(&begun, "completed").await;
        } else {
            service.api.delete(&begun.path).await.problem(409, "already-completed");
        }
        service.assert_completed(&begun, &bytes).await;
    }
}
