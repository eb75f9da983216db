//! How uploads end that are not completed: by abort, by time; and what nobody recorded is left alone.

use std::time::Duration;

use serde_json::json;

use super::on_every_store;
use super::service::{LONG_PART, OnStore};
use crate::support::{MIB, file};

on_every_store! {
    an_aborted_upload_leaves_nothing
    a_part_in_flight_during_the_abort_leaves_nothing
    what_was_completed_is_not_aborted
    an_upload_past_its_time_is_swept
    what_nobody_recorded_is_left_alone
    a_deleted_file_leaves_nothing
}

async fn an_aborted_upload_leaves_nothing(service: OnStore) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let begun = service.begin(json!({ "filename": "x", "size": bytes.len() })).await;
    api.put_parts(&begun.urls[..1], &bytes).await;
    api.delete(&begun.path).await.ok(204);
    service.assert_gone(&begun).await;
    let late = service.try_part(&begun.urls[1], &bytes[8 * MIB as usize..]).await;
    api.delete(&begun.path).await.ok(204);
    service.assert_gone(&begun).await;
    api.call("POST", &format!("{}/complete", begun.path), None).await.problem(410, "upload-aborted");
    let ended = service.sweep_until(&begun, "aborted").await;
    assert_eq!(ended["abortReason"], "requested", "a late part was answered {late:?}");
    service.assert_gone(&begun).await;
}

async fn a_part_in_flight_during_the_abort_leaves_nothing(service: OnStore) {
    let api = &service.api;
    let bytes = file(LONG_PART + 5);
    let begun = service.begin(json!({ "filename": "x", "size": bytes.len(), "partSize": LONG_PART })).await;
    api.put_parts(&begun.urls[1..], &bytes).await;
    let flying = service.begin_part(&begun.urls[0], &bytes[..LONG_PART as usize]).await;
    api.delete(&begun.path).await.ok(204);
    assert_eq!(
        api.get(&begun.path).await.ok(200)["state"],
        "aborting",
        "a transfer may land until its URL is long over"
    );
    let landed = flying.land().await;
    service.sweep_until(&begun, "aborted").await;
    service.assert_gone(&begun).await;
    // What landed late can be made an object by nobody.
    let part = aws_sdk_s3::types::CompletedPart::builder().part_number(1).e_tag("\"x\"").build();
    let parts = aws_sdk_s3::types::CompletedMultipartUpload::builder().parts(part).build();
    let complete = service.s3.complete_multipart_upload().bucket(&service.store.bucket).key(&begun.key);
    let refused = complete.upload_id(&begun.s3_upload_id).multipart_upload(parts).send().await;
    assert!(refused.is_err(), "the part was answered {landed:?}");
}

async fn what_was_completed_is_not_aborted(service: OnStore) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let (begun, sent) = service.send(&bytes).await;
    api.complete(&begun.id, Some(json!({ "parts": sent }))).await.ok(200);
    api.delete(&begun.path).await.problem(409, "already-completed");
    // Whoever has our S3 keys may ask S3 itself; it answers 204 or 404, and the object stays.
    let abort = service.s3.abort_multipart_upload().bucket(&service.store.bucket).key(&begun.key);
    let _ = abort.upload_id(&begun.s3_upload_id).send().await;
    service.assert_completed(&begun, &bytes).await;
}

async fn an_upload_past_its_time_is_swept(service: OnStore) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let begun = service.begin(json!({ "filename": "x", "size": bytes.len() })).await;
    api.put_parts(&begun.urls[..1], &bytes).await;
    service.sweep().await;
    assert_eq!(api.get(&begun.path).await.ok(200)["state"], "open", "not before its time");
    assert_eq!(service.listed(&begun).await, Some(1));
    service.age(&begun, Duration::from_secs(25 * 3600)).await;
    let ended = service.sweep_until(&begun, "aborted").await;
    assert_eq!(ended["abortReason"], "expired");
    service.assert_gone(&begun).await;
    api.call("POST", &format!("{}/complete", begun.path), None).await.problem(410, "upload-expired");
}

async fn what_nobody_recorded_is_left_alone(service: OnStore) {
    let bytes = file(9 * MIB);
    let foreign = service.begin_foreign(&format!("{}of-another/x", service.prefix)).await;
    let (begun, sent) = service.send(&bytes).await;
    service.api.complete(&begun.id, Some(json!({ "parts": sent }))).await.ok(200);
    let (kept, _) = service.send(&bytes).await;
    service.sweep().await;
    let mut open = service.open_under(&service.prefix).await;
    let mut expected = [foreign, kept.s3_upload_id];
    open.sort();
    expected.sort();
    assert_eq!(open, expected);
    service.assert_completed(&begun, &bytes).await;
}

async fn a_deleted_file_leaves_nothing(service: OnStore) {
    let bytes = file(9 * MIB);
    let (begun, sent) = service.send(&bytes).await;
    service.api.complete(&begun.id, Some(json!({ "parts": sent }))).await.ok(200);
    service.set(&begun, "state = 'deleting', due_at = 1").await;
    service.sweep_until(&begun, "deleted").await;
    service.assert_gone(&begun).await;

    let (begun, sent) = service.send(&bytes).await;
    service.api.complete(&begun.id, Some(json!({ "parts": sent }))).await.ok(200);
    service.api.delete(&format!("/v1/files/{}", begun.id)).await.ok(204);
    assert_eq!(service.api.get(&begun.path).await.ok(200)["state"], "deleted");
    service.assert_gone(&begun).await;
}
