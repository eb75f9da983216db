//! HeadObject is the proof: what it does not say is not known, and what it says wrongly is never `completed`.

use serde_json::json;

use super::{HOUR, PAST_LEASES, is_running, rows, scripts};
use crate::support::scripted_s3::Operation::{
    AbortMultipartUpload, CompleteMultipartUpload, DeleteObject, HeadObject, ListParts,
};
use crate::support::scripted_s3::{Script, on};
use crate::support::{Service, crc64nvme};

scripts! {
    both {
        head_forbidden
        head_denies_a_completed_object
        head_shows_another_size
        head_denies_it_while_the_upload_is_gone
    }
    sqlite {
        head_fails
        head_slow_down
        head_cut
        head_gateway
        head_shows_no_size
        head_unclear_after_an_unclear_completion
        head_shows_anothers_object_for_a_moment
        head_shows_anothers_object_once
        head_shows_another_checksum
        head_shows_a_checksum_of_another_algorithm
        foreign_object_and_an_unclear_completion
        foreign_object_where_the_store_has_no_conditions
        reads_lag_behind_a_completion
        reads_lag_and_the_second_completion_finds_nothing
        bucket_denied_after_an_unclear_completion
        everything_is_404_by_a_gateway
        listing_denies_the_upload_while_it_is_there
        listing_fails_after_an_unclear_completion
        listing_forbidden_after_an_unclear_completion
    }
}

/// S3 completed, but does not say what it holds: never `failed`, never `completed`, and completed once it says.
async fn a_proof_that_does_not_come(service: &mut Service, script: Script) {
    let upload = service.ready().await;
    let playing = service.s3().play(script);
    is_running(service.completes(&upload).await);
    service.advance(PAST_LEASES);
    is_running(service.completes(&upload).await);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1, "no other is sent before it is known what became of it");
    assert!(playing.times() >= 2);
    playing.lift();
    service.api.complete(&upload.id, None).await.ok(200);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

rows! { a_proof_that_does_not_come {
    head_forbidden: on(HeadObject).refused(403, "AccessDenied");
    head_fails: on(HeadObject).refused(500, "InternalError");
    head_slow_down: on(HeadObject).refused(503, "SlowDown");
    head_cut: on(HeadObject).cut();
    head_gateway: on(HeadObject).gateway(502);
    head_shows_no_size: on(HeadObject).edited(|_, head, _| {
        head.headers.remove("etag");
    });
} }

/// Neither the completion nor the proof says anything.
async fn head_unclear_after_an_unclear_completion(service: &mut Service) {
    let upload = service.ready().await;
    let cut = service.s3().play(on(CompleteMultipartUpload).next(1).unapplied().cut());
    let forbidden = service.s3().play(on(HeadObject).refused(403, "AccessDenied"));
    is_running(service.completes(&upload).await);
    service.advance(PAST_LEASES);
    is_running(service.completes(&upload).await);
    assert_eq!((cut.times(), service.s3().count(CompleteMultipartUpload)), (1, 1));
    forbidden.lift();
    service.advance(PAST_LEASES);
    service.api.complete(&upload.id, None).await.ok(200);
}

async fn head_denies_a_completed_object(service: &mut Service) {
    let upload = service.ready().await;
    let lying = service.s3().play(on(HeadObject).refused(404, "NoSuchKey"));
    is_running(service.completes(&upload).await);
    lying.lift();
    service.api.complete(&upload.id, None).await.ok(200);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

/// Object and upload are denied both: that looks like an upload that vanished, until the object is seen again.
async fn head_denies_it_while_the_upload_is_gone(service: &mut Service) {
    let upload = service.ready().await;
    let lying = service.s3().play(on(HeadObject).refused(404, "NoSuchKey"));
    is_running(service.completes(&upload).await);
    service.advance(PAST_LEASES);
    service.completes(&upload).await.problem(410, "upload-failed");
    assert_eq!(service.state_of(&upload).await, "aborting", "failed only when nothing can come any more");
    lying.lift();
    service.api.delete(&upload.path).await.problem(409, "already-completed");
    assert_eq!(service.state_of(&upload).await, "completed", "its object is there: it has not failed");
}

/// What is shown is ours, but not what was sent: never completed, and taken away.
async fn head_shows_another_size(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(HeadObject).next(1).with_header("content-length", "4"));
    service.completes(&upload).await.problem(422, "checksum-mismatch");
    assert_ne!(service.state_of(&upload).await, "completed");
    service.completes(&upload).await.problem(410, "upload-failed");
    assert_eq!(service.s3().count(DeleteObject), 1);
}

async fn head_shows_another_checksum(service: &mut Service) {
    let checksum = json!({ "algorithm": "CRC64NVME", "value": crc64nvme(b"hello") });
    let (id, _, urls) = service.api.create(json!({ "filename": "x", "size": 5, "checksum": checksum })).await;
    service.api.put_parts(&urls, b"hello").await;
    service.s3().play(on(HeadObject).with_header("x-amz-checksum-crc64nvme", crc64nvme(b"jello")));
    service.api.complete(&id, None).await.problem(422, "checksum-mismatch");
    assert_eq!(service.s3().count(DeleteObject), 1, "what is wrong does not stay");
}

/// There is nothing to compare the client's checksum with: completed, and not called verified.
async fn head_shows_a_checksum_of_another_algorithm(service: &mut Service) {
    let checksum = json!({ "algorithm": "CRC64NVME", "value": crc64nvme(b"hello") });
    let (id, _, urls) = service.api.create(json!({ "filename": "x", "size": 5, "checksum": checksum })).await;
    service.api.put_parts(&urls, b"hello").await;
    service.s3().play(on(HeadObject).edited(|_, head, _| {
        head.headers.remove("x-amz-checksum-crc64nvme");
        head.headers.insert("x-amz-checksum-crc32c", "mnG7TA==".parse().expect("a header"));
    }));
    let stored = service.api.complete(&id, None).await.ok(200)["object"]["checksum"].clone();
    assert_eq!(stored, json!({ "algorithm": "CRC32C", "value": "mnG7TA==" }));
}

/// For a moment S3 shows the object as another's.
async fn head_shows_anothers_object_for_a_moment(service: &mut Service) {
    let upload = service.ready().await;
    let lying = service.s3().play(on(HeadObject).with_header("x-amz-meta-partita-upload-id", "another"));
    service.completes(&upload).await.problem(409, "key-exists");
    assert_eq!(service.state_of(&upload).await, "aborting", "failed only when nothing can come any more");
    lying.lift();
    service.api.delete(&upload.path).await.problem(409, "already-completed");
    assert_eq!(service.state_of(&upload).await, "completed");
}

/// Seen to be another's once, and ours when it is to be given up: completed after all, and told as such.
async fn head_shows_anothers_object_once(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(HeadObject).next(1).with_header("x-amz-meta-partita-upload-id", "another"));
    assert_eq!(service.completes(&upload).await.ok(200)["state"], "completed");
}

async fn foreign_object_and_an_unclear_completion(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().put_foreign_object(&upload.key).await;
    let cut = service.s3().play(on(CompleteMultipartUpload).unapplied().cut());
    is_running(service.completes(&upload).await);
    cut.lift();
    service.advance(PAST_LEASES);
    // Sent again, for the store checks the condition; and it says no.
    service.completes(&upload).await.problem(409, "key-exists");
    assert_eq!(service.s3().count(CompleteMultipartUpload), 2);
    assert_eq!(service.s3().open_uploads().await, [], "a failure leaves nothing at S3");
}

async fn foreign_object_where_the_store_has_no_conditions(service: &mut Service) {
    service.settings.s3.capabilities.conditional_completion = Some(false);
    service.restart().await;
    let upload = service.ready().await;
    service.s3().put_foreign_object(&upload.key).await;
    service.s3().play(on(CompleteMultipartUpload).unapplied().cut());
    service.completes(&upload).await.problem(409, "key-exists");
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1, "sent again it would replace another's object");
}

/// What S3 tells is older than what it did: the completion is sent again, and makes nothing worse.
async fn lagging_reads(service: &mut Service, second: Script) {
    let upload = service.ready().await;
    let cut = service.s3().play(on(CompleteMultipartUpload).cut());
    let denied = service.s3().play(on(HeadObject).unapplied().refused(404, "NoSuchKey"));
    let listed = "<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>";
    let open = service.s3().play(on(ListParts).unapplied().says(200, listed));
    is_running(service.completes(&upload).await);
    cut.lift();
    service.s3().play(second);
    service.advance(PAST_LEASES);
    assert_ne!(service.completes(&upload).await.status, 410, "that it is not there is not known");
    assert_eq!(service.s3().count(CompleteMultipartUpload), 2);
    denied.lift();
    open.lift();
    assert_eq!(service.api.complete(&upload.id, None).await.ok(200)["object"]["size"], 5);
}

rows! { lagging_reads {
    reads_lag_behind_a_completion: on(CompleteMultipartUpload);
    reads_lag_and_the_second_completion_finds_nothing: on(CompleteMultipartUpload).unapplied().refused(404, "NoSuchUpload");
} }

/// The whole bucket is denied: that is no word about the upload.
async fn bucket_denied_after_an_unclear_completion(service: &mut Service) {
    let upload = service.ready().await;
    for operation in [CompleteMultipartUpload, HeadObject, ListParts] {
        service.s3().play(on(operation).unapplied().refused(404, "NoSuchBucket"));
    }
    is_running(service.completes(&upload).await);
    service.advance(PAST_LEASES);
    is_running(service.completes(&upload).await);
    service.s3().heal();
    service.advance(PAST_LEASES);
    service.api.complete(&upload.id, None).await.ok(200);
}

/// A gateway that knows no route is not S3.
async fn everything_is_404_by_a_gateway(service: &mut Service) {
    let (upload, aborted) = (service.ready().await, service.ready().await);
    for operation in [CompleteMultipartUpload, HeadObject, ListParts, AbortMultipartUpload] {
        service.s3().play(on(operation).unapplied().gateway(404));
    }
    is_running(service.completes(&upload).await);
    service.api.delete(&aborted.path).await.ok(204);
    service.advance(HOUR * 3);
    is_running(service.completes(&upload).await);
    service.api.delete(&aborted.path).await.ok(204);
    assert_eq!(
        (service.state_of(&upload).await, service.state_of(&aborted).await),
        ("completing".into(), "aborting".into())
    );
    service.s3().heal();
    service.advance(PAST_LEASES);
    service.api.complete(&upload.id, None).await.ok(200);
}

/// Neither object nor upload, says S3, so the upload has failed; but it is there, and is not left there.
async fn listing_denies_the_upload_while_it_is_there(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(CompleteMultipartUpload).unapplied().cut());
    service.s3().play(on(ListParts).unapplied().refused(404, "NoSuchUpload"));
    service.completes(&upload).await.problem(410, "upload-failed");
    assert_eq!(
        service.s3().open_uploads().await,
        [],
        "what is given up is aborted, though S3 denied that it was there"
    );
    service.advance(HOUR * 3);
}

/// Whether the upload is still there is not known: nothing is decided.
async fn an_upload_that_cannot_be_seen(service: &mut Service, script: Script) {
    let upload = service.ready().await;
    let cut = service.s3().play(on(CompleteMultipartUpload).unapplied().cut());
    let playing = service.s3().play(script);
    is_running(service.completes(&upload).await);
    service.advance(PAST_LEASES);
    is_running(service.completes(&upload).await);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
    assert!(playing.times() >= 2);
    playing.lift();
    cut.lift();
    service.advance(PAST_LEASES);
    service.api.complete(&upload.id, None).await.ok(200);
}

rows! { an_upload_that_cannot_be_seen {
    listing_fails_after_an_unclear_completion: on(ListParts).refused(500, "InternalError");
    listing_forbidden_after_an_unclear_completion: on(ListParts).refused(403, "AccessDenied");
} }
