//! All of S3 is away, or slow, or of another time.

use std::time::Duration;

use serde_json::json;

use super::{PAST_LEASES, is_running, is_unclear, scripts};
use crate::support::Service;
use crate::support::scripted_s3::Operation::{
    self, AbortMultipartUpload, CompleteMultipartUpload, CreateMultipartUpload, HeadObject, ListMultipartUploads,
    ListParts, UploadPart,
};
use crate::support::scripted_s3::on;

scripts! {
    both {
        s3_is_away_for_a_while
        s3_is_slow_everywhere
    }
    sqlite {
        s3_refuses_everything_for_a_while
        s3_has_another_date_once
    }
}

const ALL: [Operation; 7] = [
    CreateMultipartUpload,
    UploadPart,
    ListParts,
    CompleteMultipartUpload,
    AbortMultipartUpload,
    ListMultipartUploads,
    HeadObject,
];

async fn s3_is_away_for_a_while(service: &mut Service) {
    let (open, completing, aborted) = (service.ready().await, service.ready().await, service.ready().await);
    for operation in ALL {
        service.s3().play(on(operation).unapplied().cut());
    }
    is_unclear(service.api.post("/v1/uploads", json!({ "filename": "y", "size": 5 })).await);
    is_unclear(service.api.call("POST", &format!("{}/sync", open.path), None).await);
    is_running(service.completes(&completing).await);
    service.api.delete(&aborted.path).await.ok(204);
    // What needs no S3 works: looking, recording, signing.
    assert_eq!(service.state_of(&open).await, "open");
    service.api.put(&format!("{}/parts/1", open.path), json!({ "etag": "\"x\"" })).await.ok(200);
    service.api.post(&format!("{}/part-urls", open.path), json!({ "parts": "1" })).await.ok(200);
    service.api.get("/livez").await.ok(200);
    service.api.get("/readyz").await.ok(200);
    service.s3().heal();
    service.advance(PAST_LEASES);
    service.api.complete(&completing.id, None).await.ok(200);
    service.api.call("POST", &format!("{}/sync", open.path), None).await.ok(200);
    service.api.complete(&open.id, None).await.ok(200);
}

async fn s3_refuses_everything_for_a_while(service: &mut Service) {
    let (open, completing) = (service.ready().await, service.ready().await);
    for operation in ALL {
        service.s3().play(on(operation).unapplied().refused(403, "AccessDenied"));
    }
    service.api.post("/v1/uploads", json!({ "filename": "y", "size": 5 })).await.problem(502, "storage-refused");
    service.api.call("POST", &format!("{}/sync", open.path), None).await.problem(502, "storage-refused");
    is_running(service.completes(&completing).await);
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
    service.s3().heal();
    service.advance(PAST_LEASES);
    service.api.complete(&completing.id, None).await.ok(200);
    service.api.complete(&open.id, None).await.ok(200);
}

async fn s3_is_slow_everywhere(service: &mut Service) {
    for operation in ALL {
        service.s3().play(on(operation).delayed(Duration::from_millis(100)));
    }
    let upload = service.ready().await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (api, id) = (service.api.clone(), upload.id.clone());
        asking.spawn(async move { api.complete(&id, None).await });
    }
    for reply in asking.join_all().await {
        reply.ok(200);
    }
    assert_eq!(service.s3().count(CompleteMultipartUpload), 1);
}

/// One answer came with the date of another time, which the SDK takes over for what it signs next.
async fn s3_has_another_date_once(service: &mut Service) {
    let upload = service.ready().await;
    let shifted = on(ListParts).next(1).with_header("date", "Thu, 01 Jan 2026 00:00:00 GMT");
    let shifted = service.s3().play(shifted);
    service.api.call("POST", &format!("{}/sync", upload.path), None).await.ok(200);
    assert_eq!(shifted.times(), 1);
    service.completes(&upload).await;
    service.advance(PAST_LEASES);
    service.api.complete(&upload.id, None).await.ok(200);
}
