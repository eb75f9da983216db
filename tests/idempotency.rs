//! One key, one upload: however often, from wherever, and after whatever crash a creation is repeated.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Api, Reply, Service, on_both_databases};

on_both_databases! {
    a_repeated_creation_gives_the_same_upload
    a_hundred_racing_creations_make_one_upload
    a_creation_whose_process_died_is_taken_over
    a_key_is_kept_for_a_day
}

async fn create(api: &Api, key: &str, body: Value) -> Reply {
    api.send(api.http.post(format!("{}/v1/uploads", api.base)).header("idempotency-key", key).json(&body)).await
}

async fn a_repeated_creation_gives_the_same_upload(service: Service) {
    let api = &service.api;
    let first = create(api, "k", json!({ "filename": "x", "size": 5 })).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    let first = first.ok(201);
    let raw = api.http.post(format!("{}/v1/uploads", api.base)).header("idempotency-key", "k");
    let again =
        api.send(raw.header("content-type", "application/json").body("{ \"size\": 5,\n \"filename\": \"x\" }")).await;
    assert_eq!((again.header("idempotency-replayed"), again.header("location").is_some()), (Some("true"), true));
    let again = again.ok(201);
    assert_eq!(again["upload"]["id"], first["upload"]["id"]);
    assert_eq!(again["partUrls"].as_array().map(Vec::len), Some(1), "fresh part URLs, for it is open");
    create(api, "k", json!({ "filename": "x", "size": 6 })).await.problem(422, "idempotency-key-reused");
    assert_ne!(
        create(api, "other", json!({ "filename": "x", "size": 5 })).await.ok(201)["upload"]["id"],
        first["upload"]["id"]
    );

    let id = first["upload"]["id"].as_str().expect("an id");
    api.put_parts(first["partUrls"].as_array().expect("part URLs"), b"hello").await;
    api.complete(id, None).await.ok(200);
    let ended = create(api, "k", json!({ "filename": "x", "size": 5 })).await.ok(201);
    assert_eq!(
        (ended["upload"]["state"].as_str(), ended["partUrls"].as_array().map(Vec::len)),
        (Some("completed"), Some(0))
    );

    for bad in ["", "a b", "schlüssel", &"k".repeat(256)] {
        create(api, bad, json!({ "filename": "x", "size": 5 })).await.problem(400, "invalid-idempotency-key");
    }
    create(api, &"k".repeat(255), json!({ "filename": "x", "size": 5 })).await.ok(201);
    // Refusals are not kept.
    create(api, "refused", json!({ "filename": "", "size": 5 })).await.problem(422, "invalid-filename");
    create(api, "refused", json!({ "filename": "x", "size": 5 })).await.ok(201);
}

async fn a_hundred_racing_creations_make_one_upload(service: Service) {
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let api = service.api.clone();
        racing.spawn(async move {
            create(&api, "race", json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await
        });
    }
    let mut ids = std::collections::HashSet::new();
    for reply in racing.join_all().await {
        if reply.status == 409 {
            assert!(reply.header("retry-after").is_some());
            reply.problem(409, "idempotency-in-progress");
        } else {
            ids.insert(reply.ok(201)["upload"]["id"].as_str().expect("an id").to_owned());
        }
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(service.api.get("/v1/uploads").await.ok(200)["items"].as_array().map(Vec::len), Some(1));
}

async fn a_creation_whose_process_died_is_taken_over(service: Service) {
    let api = &service.api;
    let body = json!({ "filename": "x", "size": 5 });
    let first = create(api, "died", body.clone()).await.ok(201);
    let id = first["upload"]["id"].as_str().expect("an id").to_owned();
    // As a crash between S3's answer and the ledger leaves it: S3 has an upload that no row knows.
    let died = "UPDATE uploads SET state = 'creating', s3_upload_id = NULL, lease_until = 99999999999999 WHERE id = ";
    service.sql(&format!("{died}{}", service.literal(&id))).await;
    create(api, "died", body.clone()).await.problem(409, "idempotency-in-progress");
    service.sql(&format!("UPDATE uploads SET lease_until = 1 WHERE id = {}", service.literal(&id))).await;
    let taken = create(api, "died", body).await.ok(201);
    assert_eq!((&taken["upload"]["id"], taken["upload"]["state"].as_str()), (&first["upload"]["id"], Some("open")));
    // The URL of the first answer leads to the same upload at S3: it was adopted, not begun anew.
    let (status, _) = api.put_part(&first["partUrls"][0], b"hello").await;
    assert_eq!(status, 200);
    api.complete(&id, None).await.ok(200);
}

async fn a_key_is_kept_for_a_day(service: Service) {
    let api = &service.api;
    let body = json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } });
    let first = create(api, "k", body.clone()).await.ok(201);
    service.advance(Duration::from_secs(24 * 3600 - 60));
    assert_eq!(create(api, "k", body.clone()).await.ok(201)["upload"]["id"], first["upload"]["id"]);
    service.advance(Duration::from_secs(120));
    assert_ne!(create(api, "k", body).await.ok(201)["upload"]["id"], first["upload"]["id"]);
}
