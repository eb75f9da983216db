//! What took a fault to learn: each of these once went wrong.

use serde_json::json;

use super::{is_running, is_unclear, scripts};
use crate::support::Service;
use crate::support::scripted_s3::Operation::{
    AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, HeadObject, ListMultipartUploads, ListParts,
};
use crate::support::scripted_s3::on;

scripts! {
    both {}
    sqlite {
        complete_conflict_is_the_end
        complete_goes_on_in_silence
        listing_cut_short
        uploads_listing_goes_in_circles
        empty_stream_whose_upload_stays
    }
}

/// AWS says that after this the upload has to be begun anew: sending the same again is refused for ever.
async fn complete_conflict_is_the_end(service: &mut Service) {
    let upload = service.ready().await;
    service.s3().play(on(CompleteMultipartUpload).unapplied().refused(409, "ConditionalRequestConflict"));
    service.completes(&upload).await;
    service.completes(&upload).await.problem(410, "upload-failed");
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
    assert_eq!(service.s3().open_uploads().await, []);
}

/// S3 says that the multipart upload of an empty stream is gone, and it is not: that leaks.
async fn empty_stream_whose_upload_stays(service: &mut Service) {
    let (id, ..) = service.api.create(json!({ "filename": "stream" })).await;
    let lying = service.s3().play(on(AbortMultipartUpload).next(1).unapplied().says(204, ""));
    is_running(service.api.post(&format!("/v1/uploads/{id}/complete"), json!({ "size": 0 })).await);
    service.advance(std::time::Duration::from_secs(120));
    service.api.complete(&id, Some(json!({ "size": 0 }))).await.ok(200);
    assert_eq!(lying.times(), 1);
}

/// S3 has begun to answer, and is at work for long without a word: the connection is not given up, for what would be found
/// then is an upload that is still open, and sent again it would be completed twice at once.
async fn complete_goes_on_in_silence(service: &mut Service) {
    service.in_haste().await;
    let upload = service.ready().await;
    let slow = service.s3().play(on(CompleteMultipartUpload).applied_late().trickles());
    let looks = service.s3().play(on(HeadObject));
    is_running(service.completes(&upload).await);
    tokio::select! {
        () = looks.met(1) => panic!("the completion was given up while S3 is at work on it"),
        // Longer than the SDK lets a stream stall, unless it is told otherwise.
        () = tokio::time::sleep(std::time::Duration::from_secs(12)) => {}
    }
    slow.release();
    service.api.complete(&upload.id, None).await.ok(200);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

/// A listing that ends in the middle of a part is no listing: what was acknowledged is kept.
async fn listing_cut_short(service: &mut Service) {
    let size = 6 * crate::support::MIB;
    let (id, _, urls) =
        service.api.create(json!({ "filename": "x", "size": size, "partSize": 5 * crate::support::MIB })).await;
    let parts = service.api.put_parts(&urls, &crate::support::file(size)).await;
    let path = format!("/v1/uploads/{id}");
    service.api.put(&format!("{path}/parts"), json!({ "parts": parts })).await.ok(200);
    service.s3().play(on(ListParts).edited(|_, _, body| body.truncate(body.rfind("<Part>").expect("a part"))));
    service.api.call("POST", &format!("{path}/sync"), None).await;
    assert_eq!(service.api.get(&path).await.ok(200)["recordedParts"], 2);
}

/// Markers that change and never come to an end.
async fn uploads_listing_goes_in_circles(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).next(1).cut());
    is_unclear(service.api.post("/v1/uploads", json!({ "filename": "x", "size": 5 })).await);
    let upload = service.uploads().await[0].clone();
    let circling = service.s3().play(on(ListMultipartUploads).next(50).edited(|call, _, body| {
        let next = if call.query.get("key-marker").is_some_and(|marker| marker == "a") { "b" } else { "a" };
        *body = body.replace("<IsTruncated>false</IsTruncated>", "");
        let end = body.rfind("</").expect("an end");
        body.insert_str(end, &format!("<IsTruncated>true</IsTruncated><NextKeyMarker>{next}</NextKeyMarker>"));
    }));
    service.api.delete(&format!("/v1/uploads/{}", upload["id"].as_str().expect("an id"))).await.ok(204);
    assert!(circling.times() < 10, "asked {} times", circling.times());
}
