//! Completions: refused, repeated, raced, and of a key that is not free.

use serde_json::json;

use super::on_every_store;
use super::service::{LONG_PART, OnStore};
use crate::support::{MIB, file};

on_every_store! {
    a_refused_completion_names_the_parts_and_leaves_the_upload_open
    repeating_a_completion_gives_the_same_answer
    of_racing_completions_none_is_refused
    a_part_sent_again_during_the_completion_does_no_harm
    an_upload_completes_by_itself_once_the_store_holds_every_part
    an_object_of_another_is_never_called_ours
    an_upload_that_the_store_lost_fails
}

async fn a_refused_completion_names_the_parts_and_leaves_the_upload_open(service: OnStore) {
    let api = &service.api;
    let bytes = file(17 * MIB);
    let (_, foreign) = service.send(&file(18 * MIB)).await;
    let begun = service.begin(json!({ "filename": "x", "size": bytes.len() })).await;
    let mut sent = api.put_parts(&begun.urls[..2], &bytes).await;
    assert_eq!(api.complete(&begun.id, None).await.problem(409, "parts-missing")["missingParts"], "3");
    // Told of a part that S3 never got.
    let invented = json!({ "partNumber": 3, "etag": "\"00000000000000000000000000000000\"" });
    let told = json!({ "parts": [sent[0], sent[1], invented] });
    assert_eq!(api.complete(&begun.id, Some(told)).await.problem(409, "parts-missing")["missingParts"], "3");

    sent.extend(api.put_parts(&begun.urls[2..], &bytes).await);
    for (what, etag) in [
        ("an ETag that nobody ever gave", json!("\"00000000000000000000000000000000\"")),
        ("the ETag of another part", sent[0]["etag"].clone()),
        ("the ETag of another upload's part", foreign[2]["etag"].clone()),
    ] {
        let mut told = sent.clone();
        told[1]["etag"] = etag;
        let refused = api.complete(&begun.id, Some(json!({ "parts": told }))).await.problem(409, "parts-differ");
        assert_eq!(refused["parts"], "2", "{what}");
        let shown = api.get(&begun.path).await.ok(200);
        assert_eq!((&shown["state"], &shown["lastProblem"]["parts"]), (&json!("open"), &json!("2")), "{what}");
        assert!(service.listed(&begun).await.is_some_and(|parts| parts >= 3), "{what}: S3 holds every part still");
        assert!(service.object(&begun).await.is_none());
    }
    let completed = api.complete(&begun.id, Some(json!({ "parts": sent }))).await.ok(200);
    assert_eq!(completed.get("lastProblem"), None, "gone with the next completion");
    service.assert_completed(&begun, &bytes).await;
}

async fn repeating_a_completion_gives_the_same_answer(mut service: OnStore) {
    let bytes = file(9 * MIB);
    let (begun, sent) = service.send(&bytes).await;
    let told = json!({ "parts": sent });
    let completed = service.api.complete(&begun.id, Some(told.clone())).await.ok(200);
    assert_eq!(service.api.complete(&begun.id, Some(told.clone())).await.ok(200), completed);
    service.restart().await;
    assert_eq!(service.api.complete(&begun.id, Some(told)).await.ok(200), completed);
    assert_eq!(service.api.complete(&begun.id, None).await.ok(200), completed);
}

async fn of_racing_completions_none_is_refused(service: OnStore) {
    let bytes = file(17 * MIB);
    for recorded in [false, true] {
        let (begun, sent) = service.send(&bytes).await;
        let mut racing = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (api, path) = (service.api.clone(), format!("{}/complete", begun.path));
            let body = recorded.then(|| json!({ "parts": sent }));
            racing.spawn(async move { api.call("POST", &path, body).await });
        }
        for reply in racing.join_all().await {
            assert!(reply.status == 200 || reply.status == 202, "{}: {}", reply.status, reply.body);
        }
        service.api.complete(&begun.id, None).await.ok(200);
        service.assert_completed(&begun, &bytes).await;
    }
}

async fn a_part_sent_again_during_the_completion_does_no_harm(service: OnStore) {
    let bytes = file(LONG_PART + 5);
    let begun = service.begin(json!({ "filename": "x", "size": bytes.len(), "partSize": LONG_PART })).await;
    let sent = service.api.put_parts(&begun.urls, &bytes).await;
    let again = service.begin_part(&begun.urls[0], &bytes[..LONG_PART as usize]).await;
    let reply = service.api.complete(&begun.id, Some(json!({ "parts": sent }))).await;
    // Some stores refuse while a part is on its way; then it is no fault of the client's, and nothing is lost.
    if reply.status != 200 {
        reply.problem(503, "storage-unavailable");
        assert_eq!(service.api.get(&begun.path).await.ok(200)["state"], "open");
    }
    again.land().await;
    service.api.complete(&begun.id, None).await.ok(200);
    service.assert_completed(&begun, &bytes).await;
}

async fn an_upload_completes_by_itself_once_the_store_holds_every_part(service: OnStore) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let body = json!({ "filename": "x", "size": bytes.len(), "autoComplete": true });
    let begun = service.begin(body.clone()).await;
    api.put_parts(&begun.urls, &bytes).await;
    assert_eq!(api.get(&format!("/v1/files/{}", begun.id)).await.ok(200)["size"].as_i64(), Some(9 * MIB));
    service.assert_completed(&begun, &bytes).await;

    // Nobody asks for this one: a sweep finds it.
    let begun = service.begin(body).await;
    api.put_parts(&begun.urls, &bytes).await;
    service.set(&begun, "due_at = 1").await;
    service.sweep_until(&begun, "completed").await;
    service.assert_completed(&begun, &bytes).await;
}

/// Where the store obeys `If-None-Match: *` the other's object stays as it was. Where it does not, one of the two objects stays, and
/// the answer says which.
async fn an_object_of_another_is_never_called_ours(service: OnStore) {
    let api = &service.api;
    for bytes in [file(9 * MIB), Vec::new()] {
        let (begun, sent) = service.send(&bytes).await;
        service.put_foreign(&begun, b"another's").await;
        let told = (!sent.is_empty()).then(|| json!({ "parts": sent }));
        let reply = api.complete(&begun.id, told).await;
        if reply.status == 200 {
            assert!(!service.capabilities.conditional_completion, "another's object was overwritten");
            assert_eq!(service.object(&begun).await, Some((bytes.clone(), Some(begun.id.clone()))));
            service.assert_completed(&begun, &bytes).await;
            continue;
        }
        reply.problem(409, "key-exists");
        assert_eq!(service.object(&begun).await, Some((b"another's".to_vec(), None)), "as it was");
        api.complete(&begun.id, None).await.problem(410, "upload-failed");
        let shown = service.sweep_until(&begun, "failed").await;
        assert_eq!(shown["failure"], "key-taken");
        assert_eq!(service.object(&begun).await, Some((b"another's".to_vec(), None)), "as it was, to the end");
        if !begun.s3_upload_id.is_empty() {
            assert_eq!(service.listed(&begun).await, None, "nothing of ours is left");
        }
    }
}

async fn an_upload_that_the_store_lost_fails(service: OnStore) {
    let api = &service.api;
    let (begun, sent) = service.send(&file(9 * MIB)).await;
    let abort = service.s3.abort_multipart_upload().bucket(&service.store.bucket).key(&begun.key);
    abort.upload_id(&begun.s3_upload_id).send().await.expect("aborted behind the service's back");
    api.complete(&begun.id, Some(json!({ "parts": sent }))).await.problem(410, "upload-failed");
    api.get(&format!("/v1/files/{}", begun.id)).await.problem(404, "file-not-found");
    assert_eq!(service.sweep_until(&begun, "failed").await["failure"], "upload-vanished");
}
