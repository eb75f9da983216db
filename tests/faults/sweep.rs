//! What the sweeper does when S3 fails, without anybody asking.

use serde_json::json;

use super::{HOUR, PAST_LEASES, Ready, is_running, is_unclear, scripts};
use crate::support::Service;
use crate::support::scripted_s3::Operation::{
    AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, DeleteObject, HeadObject,
    ListMultipartUploads, ListParts,
};
use crate::support::scripted_s3::on;

scripts! {
    both {
        sweep_goes_on_with_a_lost_creation
        sweep_resolves_a_completion_that_was_done
        sweep_sends_a_completion_again_after_the_quiet_time
        sweeps_at_once_complete_once
        sweep_leaves_others_alone
    }
    sqlite {
        sweep_is_not_held_up_by_one_that_cannot_be_helped
        sweep_retries_an_abort_ever_less_often
        sweep_decides_nothing_without_proof
        sweep_tells_what_could_not_be_settled
        sweep_completes_what_completes_by_itself
        sweep_expires_while_s3_is_away
        sweep_calls_nothing_deleted_without_proof
        sweep_deletes_nothing_that_another_has_put_there
    }
}

async fn sweep_goes_on_with_a_lost_creation(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).next(1).cut());
    is_unclear(service.api.post("/v1/uploads", json!({ "filename": "x", "size": 5 })).await);
    service.settle().await;
    assert_eq!(service.uploads().await[0]["state"], "creating", "whoever creates it may still be at it");
    service.advance(PAST_LEASES);
    service.settle().await;
    assert_eq!(service.uploads().await[0]["state"], "open");
    assert_eq!((service.s3().count(CreateMultipartUpload), service.s3().open_uploads().await.len()), (1, 1));
}

async fn sweep_resolves_a_completion_that_was_done(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(CompleteMultipartUpload).cut());
    let away = service.s3().play(on(HeadObject).refused(503, "SlowDown"));
    is_running(service.completes(&upload).await);
    away.lift();
    service.advance(PAST_LEASES);
    service.settle().await;
    assert_eq!(service.state_of(&upload).await, "completed");
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

async fn sweep_sends_a_completion_again_after_the_quiet_time(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(CompleteMultipartUpload).next(1).unapplied().cut());
    is_running(service.completes(&upload).await);
    service.settle().await;
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1, "not within the quiet time");
    service.advance(PAST_LEASES);
    service.settle().await;
    assert_eq!(service.state_of(&upload).await, "completed");
    assert_eq!(service.s3().count(CompleteMultipartUpload), 2);
}

async fn sweeps_at_once_complete_once(service: &mut Service) {
    let mut uploads = Vec::new();
    for _ in 0..3 {
        let upload = service.ready().await;
        service.s3().play(on(CompleteMultipartUpload).of(&upload.key).next(1).unapplied().cut());
        is_running(service.completes(&upload).await);
        uploads.push(upload);
    }
    service.advance(PAST_LEASES);
    tokio::join!(service.settle(), service.settle(), service.settle());
    for upload in &uploads {
        assert_eq!(service.api.complete(&upload.id, None).await.ok(200)["state"], "completed");
    }
    assert_eq!(service.s3().count(CompleteMultipartUpload), 6, "each was sent twice in all");
    assert_eq!(service.s3().most_at_once(CompleteMultipartUpload), 1);
}

async fn sweep_leaves_others_alone(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().begin_foreign_upload("uploads/another").await;
    service.s3().begin_foreign_upload(&format!("{}.other", upload.key)).await;
    service.s3().begin_foreign_upload("elsewhere").await;
    for _ in 0..10 {
        service.advance(HOUR * 24);
        service.settle().await;
    }
    assert_eq!(service.s3().leaked().await, []);
    service.s3().assert_others_untouched().await;
}

async fn sweep_is_not_held_up_by_one_that_cannot_be_helped(service: &mut Service) {
    let (poisoned, other) = (service.ready().await, service.ready().await);
    let forbidden = on(AbortMultipartUpload).of(&poisoned.key).unapplied().refused(403, "AccessDenied");
    service.s3().play(forbidden);
    service.api.delete(&poisoned.path).await.ok(204);
    service.api.delete(&other.path).await.ok(204);
    service.advance(HOUR * 3);
    service.settle().await;
    assert_eq!(
        (service.state_of(&poisoned).await, service.state_of(&other).await),
        ("aborting".into(), "aborted".into())
    );
}

async fn sweep_retries_an_abort_ever_less_often(service: &mut Service) {
    let upload = service.ready().await;
    let away = service.s3().play(on(AbortMultipartUpload).unapplied().refused(403, "AccessDenied"));
    service.api.delete(&upload.path).await.ok(204);
    for _ in 0..6 * 60 {
        service.advance(std::time::Duration::from_secs(60));
        service.settle().await;
    }
    let asked = away.times();
    assert!((10..=60).contains(&asked), "for six hours S3 was asked {asked} times");
    away.lift();
    // Longer than the longest pause.
    service.advance(HOUR);
    service.settle().await;
    assert_eq!(service.state_of(&upload).await, "aborted");
}

async fn sweep_decides_nothing_without_proof(service: &mut Service) {
    let (completing, aborting) = (service.ready().await, service.ready().await);
    for operation in [HeadObject, ListParts] {
        service.s3().play(on(operation).refused(403, "AccessDenied"));
    }
    service.s3().play(on(CompleteMultipartUpload).next(1).cut());
    is_running(service.completes(&completing).await);
    service.api.delete(&aborting.path).await.ok(204);
    for _ in 0..12 {
        service.advance(HOUR);
        service.settle().await;
    }
    let states = (service.state_of(&completing).await, service.state_of(&aborting).await);
    assert_eq!(states, ("completing".into(), "aborting".into()));
    service.s3().heal();
    service.advance(HOUR);
    service.settle().await;
    let states = (service.state_of(&completing).await, service.state_of(&aborting).await);
    assert_eq!(states, ("completed".into(), "aborted".into()));
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

async fn sweep_tells_what_could_not_be_settled(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).next(1).cut());
    is_unclear(service.api.post("/v1/uploads", json!({ "filename": "x", "size": 5 })).await);
    service.advance(PAST_LEASES);
    let away = service.s3().play(on(ListMultipartUploads).unapplied().refused(503, "SlowDown"));
    let sweep = async || service.app.as_ref().expect("running").sweep().await.expect("a sweep");
    assert_eq!(sweep().await, [(("creating", "error"), 1)].into());
    away.lift();
    service.advance(PAST_LEASES);
    assert_eq!(sweep().await, [(("creating", "open"), 1)].into());
}

async fn sweep_completes_what_completes_by_itself(service: &mut Service) {
    let (id, _, urls) = service.api.create(json!({ "filename": "x", "size": 5, "autoComplete": true })).await;
    service.api.put_parts(&urls, b"hello").await;
    let down = service.s3().play(on(ListParts).unapplied().refused(503, "SlowDown"));
    service.advance(HOUR);
    service.settle().await;
    assert!(down.times() >= 1);
    down.lift();
    service.advance(HOUR);
    service.settle().await;
    let listed = service.uploads().await;
    assert_eq!((listed[0]["id"].as_str(), listed[0]["state"].as_str()), (Some(id.as_str()), Some("completed")));
}

async fn sweep_expires_while_s3_is_away(service: &mut Service) {
    let upload = service.ready().await;
    for operation in [AbortMultipartUpload, HeadObject, ListParts] {
        service.s3().play(on(operation).unapplied().cut());
    }
    service.advance(HOUR * 25);
    service.settle().await;
    let shown = service.api.get(&upload.path).await.ok(200);
    assert_eq!((shown["state"].as_str(), shown["abortReason"].as_str()), (Some("aborting"), Some("expired")));
    service.completes(&upload).await.problem(410, "upload-expired");
    service.s3().heal();
    service.advance(HOUR * 2);
    service.settle().await;
    assert_eq!(service.state_of(&upload).await, "aborted");
    assert_eq!(service.s3().open_uploads().await, []);
}

/// A completed upload whose file somebody has asked to be deleted.
async fn deleting(service: &Service) -> Ready {
    let upload = service.ready().await;
    service.completes(&upload).await.ok(200);
    let id = service.literal(&upload.id);
    service.sql(&format!("UPDATE uploads SET state = 'deleting', due_at = 1 WHERE id = {id}")).await;
    upload
}

/// S3 says that the object is gone, and it is not.
async fn sweep_calls_nothing_deleted_without_proof(service: &mut Service) {
    let upload = deleting(service).await;
    let lying = service.s3().play(on(DeleteObject).unapplied().says(204, ""));
    service.settle().await;
    assert_eq!((service.state_of(&upload).await.as_str(), lying.times()), ("deleting", 1));
    lying.lift();
    service.advance(HOUR);
    service.settle().await;
    assert_eq!(service.state_of(&upload).await, "deleted");
    assert_eq!(service.s3().object(&upload.key).await, None);
}

/// Ours is gone, and before anybody looks another's object stands in its place.
async fn sweep_deletes_nothing_that_another_has_put_there(service: &mut Service) {
    let upload = deleting(service).await;
    let slow = service.s3().play(on(DeleteObject).held_after());
    tokio::join!(service.settle(), async {
        slow.met(1).await;
        while service.s3().object(&upload.key).await.is_some() {
            tokio::task::yield_now().await;
        }
        service.s3().put_foreign_object(&upload.key).await;
        slow.release();
    });
    assert_eq!((service.state_of(&upload).await.as_str(), slow.times()), ("deleted", 1));
}
