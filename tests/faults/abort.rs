//! AbortMultipartUpload: `aborted` only when it is proved that S3 holds nothing and nothing can land any more.

use serde_json::json;

use super::{HOUR, is_unclear, rows, scripts};
use crate::support::Service;
use crate::support::scripted_s3::Operation::{
    AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, HeadObject, ListParts,
};
use crate::support::scripted_s3::{Script, on};

scripts! {
    both {
        abort_fails
        abort_says_done_and_does_nothing
        abort_of_a_stray_says_done_and_does_nothing
        abort_of_what_was_completed
        abort_of_an_upload_that_rises_again
    }
    sqlite {
        abort_done_and_cut
        abort_cut
        abort_slow_down
        abort_forbidden
        abort_gateway
        abort_denies_an_upload_that_is_there
        abort_while_head_is_forbidden
        abort_while_head_fails
        abort_while_listing_is_forbidden
        abort_while_listing_fails
        abort_leaves_anothers_object
        abort_lost_over_a_restart
        abort_closes_the_upload_though_s3_is_away
    }
}

/// S3 does not make sure of it: the intent is kept, and done once S3 can.
async fn an_abort_that_is_not_proved(service: &mut Service, script: Script) {
    let upload = service.ready().await;
    let playing = service.s3().play(script);
    service.api.delete(&upload.path).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "aborting");
    // Long after any URL, and still not without proof.
    service.advance(HOUR * 30);
    service.api.delete(&upload.path).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "aborting", "never aborted without proof");
    assert!(playing.times() >= 2);
    service.completes(&upload).await.problem(410, "upload-aborted");
    playing.lift();
    service.advance(HOUR);
    service.api.delete(&upload.path).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "aborted");
    assert_eq!(service.s3().open_uploads().await, []);
}

rows! { an_abort_that_is_not_proved {
    abort_fails: on(AbortMultipartUpload).unapplied().refused(500, "InternalError");
    abort_cut: on(AbortMultipartUpload).unapplied().cut();
    abort_slow_down: on(AbortMultipartUpload).unapplied().refused(503, "SlowDown");
    abort_forbidden: on(AbortMultipartUpload).unapplied().refused(403, "AccessDenied");
    abort_gateway: on(AbortMultipartUpload).unapplied().gateway(502);
    abort_says_done_and_does_nothing: on(AbortMultipartUpload).unapplied().says(204, "");
    abort_denies_an_upload_that_is_there: on(AbortMultipartUpload).unapplied().refused(404, "NoSuchUpload");
    abort_while_head_is_forbidden: on(HeadObject).refused(403, "AccessDenied");
    abort_while_head_fails: on(HeadObject).refused(500, "InternalError");
    abort_while_listing_is_forbidden: on(ListParts).refused(403, "AccessDenied");
    abort_while_listing_fails: on(ListParts).refused(500, "InternalError");
} }

/// What only the listing of the bucket knows must be seen to be gone, however long ago it was begun.
async fn abort_of_a_stray_says_done_and_does_nothing(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).next(1).cut());
    is_unclear(service.api.post("/v1/uploads", json!({ "filename": "x", "size": 5 })).await);
    let path = format!("/v1/uploads/{}", service.uploads().await[0]["id"].as_str().expect("an id"));
    let lying = service.s3().play(on(AbortMultipartUpload).unapplied().says(204, ""));
    for _ in 0..2 {
        service.api.delete(&path).await.ok(204);
        assert_eq!(service.api.get(&path).await.ok(200)["state"], "aborting", "never aborted without proof");
        service.advance(HOUR * 30);
    }
    lying.lift();
    service.api.delete(&path).await.ok(204);
    assert_eq!(service.api.get(&path).await.ok(200)["state"], "aborted");
    assert_eq!(service.s3().open_uploads().await, []);
}

/// The answer is lost once: asking again is safe, and done by itself.
async fn abort_done_and_cut(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(AbortMultipartUpload).next(1).cut());
    service.api.delete(&upload.path).await.ok(204);
    assert_eq!(service.s3().open_uploads().await, []);
    assert_eq!(service.s3().count(AbortMultipartUpload), 2);
}

/// S3 answers 204 to the abort of an upload that was completed.
async fn abort_of_what_was_completed(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().complete_behind(&upload.key).await;
    service.s3().play(on(AbortMultipartUpload).unapplied().says(204, ""));
    service.api.delete(&upload.path).await.problem(409, "already-completed");
    assert_eq!(service.state_of(&upload).await, "completed");
    assert_eq!(service.completes(&upload).await.ok(200)["object"]["size"], json!(5));
}

/// S3 says that it is gone, and a part that lands late brings it back.
async fn abort_of_an_upload_that_rises_again(service: &mut Service) {
    let upload = service.ready().await;
    let lost = service.s3().play(on(AbortMultipartUpload).unapplied().says(204, ""));
    let hidden = service.s3().play(on(ListParts).unapplied().refused(404, "NoSuchUpload"));
    service.api.delete(&upload.path).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "aborting", "a transfer begun in time may still land");
    lost.lift();
    hidden.lift();
    assert_eq!(service.s3().open_uploads().await.len(), 1);
    service.completes(&upload).await.problem(410, "upload-aborted");
    service.advance(HOUR * 3);
    service.api.delete(&upload.path).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "aborted");
    assert_eq!(service.s3().open_uploads().await, []);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 0);
}

async fn abort_leaves_anothers_object(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().put_foreign_object(&upload.key).await;
    service.s3().begin_foreign_upload("uploads/another").await;
    service.api.delete(&upload.path).await.ok(204);
    service.advance(HOUR * 3);
    service.api.delete(&upload.path).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "aborted");
    service.s3().assert_others_untouched().await;
}

async fn abort_lost_over_a_restart(service: &mut Service) {
    let upload = service.ready().await;
    let away = service.s3().play(on(AbortMultipartUpload).unapplied().cut());
    service.api.delete(&upload.path).await.ok(204);
    service.restart().await;
    assert_eq!(service.state_of(&upload).await, "aborting");
    service.completes(&upload).await.problem(410, "upload-aborted");
    away.lift();
    service.advance(HOUR * 3);
    service.api.delete(&upload.path).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "aborted");
}

async fn abort_closes_the_upload_though_s3_is_away(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(AbortMultipartUpload).unapplied().cut());
    service.api.delete(&upload.path).await.ok(204);
    let sign = service.api.post(&format!("{}/part-urls", upload.path), json!({ "parts": "1" })).await;
    sign.problem(410, "upload-aborted");
    service.completes(&upload).await.problem(410, "upload-aborted");
    assert_eq!(service.s3().count(CompleteMultipartUpload), 0);
}
