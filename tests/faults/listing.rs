//! ListMultipartUploads, by which a lost creation is found again.

use serde_json::json;

use super::{HOUR, is_unclear, rows, scripts};
use crate::support::Service;
use crate::support::scripted_s3::Operation::{CreateMultipartUpload, ListMultipartUploads};
use crate::support::scripted_s3::{Script, on};

scripts! {
    both {
        uploads_listing_fails
        uploads_listing_has_longer_keys
        uploads_listing_has_only_a_longer_key
    }
    sqlite {
        uploads_listing_forbidden
        uploads_listing_cut
        uploads_listing_gateway
        uploads_listing_does_not_move_on
        uploads_listing_goes_on_without_a_marker
        uploads_listing_has_entries_twice
    }
}

/// A creation whose answer was lost; S3 has begun it.
async fn lost(service: &Service) -> String {
    service.s3().play(on(CreateMultipartUpload).next(1).cut());
    is_unclear(service.api.post("/v1/uploads", json!({ "filename": "x", "size": 5 })).await);
    let uploads = service.uploads().await;
    format!("/v1/uploads/{}", uploads[0]["id"].as_str().expect("an id"))
}

/// S3 does not tell what is open: the row stays until it does, however long.
async fn a_listing_that_tells_nothing(service: &mut Service, script: Script) {
    let path = lost(service).await;
    let playing = service.s3().play(script);
    for _ in 0..2 {
        service.api.delete(&path).await.ok(204);
        assert_eq!(service.api.get(&path).await.ok(200)["state"], "aborting");
        service.advance(HOUR * 30);
    }
    assert!((2..=6).contains(&playing.times()), "asked {} times", playing.times());
    playing.lift();
    service.api.delete(&path).await.ok(204);
    assert_eq!(service.api.get(&path).await.ok(200)["state"], "aborted");
    assert_eq!(service.s3().open_uploads().await, []);
}

fn truncated(body: &mut String, markers: &str) {
    *body = body.replace("<IsTruncated>false</IsTruncated>", "");
    let from = body.find("<Upload>").unwrap_or_else(|| body.rfind("</").expect("an end"));
    body.insert_str(from, &format!("<IsTruncated>true</IsTruncated>{markers}"));
}

rows! { a_listing_that_tells_nothing {
    uploads_listing_fails: on(ListMultipartUploads).refused(500, "InternalError");
    uploads_listing_forbidden: on(ListMultipartUploads).refused(403, "AccessDenied");
    uploads_listing_cut: on(ListMultipartUploads).cut();
    uploads_listing_gateway: on(ListMultipartUploads).gateway(502);
    uploads_listing_goes_on_without_a_marker: on(ListMultipartUploads).edited(|_, _, body| truncated(body, ""));
    uploads_listing_does_not_move_on: on(ListMultipartUploads).edited(
        |_, _, body| truncated(body, "<NextKeyMarker>k</NextKeyMarker><NextUploadIdMarker>u</NextUploadIdMarker>")
    );
} }

async fn uploads_listing_has_entries_twice(service: &mut Service) {
    let path = lost(service).await;
    service.s3().play(on(ListMultipartUploads).with_elements("Upload", |uploads| [uploads.clone(), uploads].concat()));
    service.api.delete(&path).await.ok(204);
    assert_eq!(service.s3().open_uploads().await, []);
}

/// A prefix is not a key: uploads of longer keys are others'.
async fn uploads_listing_has_longer_keys(service: &mut Service) {
    let path = lost(service).await;
    let key = service.api.get(&path).await.ok(200)["key"].as_str().expect("a key").to_owned();
    service.s3().begin_foreign_upload(&format!("{key}.other")).await;
    service.api.delete(&path).await.ok(204);
    assert_eq!(service.s3().leaked().await, []);
    service.s3().assert_others_untouched().await;
}

/// Nothing was begun, and what is open is another's: it is not taken for ours.
async fn uploads_listing_has_only_a_longer_key(service: &mut Service) {
    service.s3().play(on(CreateMultipartUpload).next(1).unapplied().cut());
    is_unclear(service.api.post("/v1/uploads", json!({ "filename": "x", "size": 5 })).await);
    let upload = service.uploads().await[0].clone();
    service.s3().begin_foreign_upload(&format!("{}.other", upload["key"].as_str().expect("a key"))).await;
    service.advance(HOUR);
    service.settle().await;
    assert_eq!(service.uploads().await[0]["state"], "open");
    assert_eq!(service.s3().count(CreateMultipartUpload), 2);
    assert_eq!(service.s3().leaked().await.len(), 1);
}
