//! How much a caller may ask for, and an owner may have.

use serde_json::{Value, json};

use crate::support::{Api, MIB, Reply, Service, on_either_database};

on_either_database! {
    an_owner_has_no_more_open_uploads_than_it_may
    an_owner_holds_no_more_bytes_than_it_may
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_has_so_many_requests_a_minute_and_is_told() {
    let service = Service::with_auth(false, |settings| settings.limits.requests_per_minute = 3).await;
    let (alice, bob) = (service.caller("alice", &[]).await, service.caller("bob", &[]).await);
    for left in [2, 1, 0] {
        let reply = alice.get("/v1/uploads").await;
        assert_eq!(reply.header("ratelimit-policy"), Some("\"requests\";q=3;w=60"));
        assert_eq!(reply.header("ratelimit"), Some(format!("\"requests\";r={left};t=0").as_str()));
        reply.ok(200);
    }
    let refused = alice.get("/v1/uploads").await;
    let wait: u32 = refused.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
    assert!((1..=60).contains(&wait) && refused.header("ratelimit").is_some_and(|limit| limit.contains("r=0;t=")));
    refused.problem(429, "rate-limited");
    // Another caller's are its own, and another key of the same owner has none of its own.
    bob.get("/v1/uploads").await.ok(200);
    service.caller("alice", &[]).await.get("/v1/uploads").await.problem(429, "rate-limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_soon_not_even_told_so() {
    let service = Service::with_auth(false, |_| {}).await;
    let alice = service.caller("alice", &[]).await;
    let guesser = service.api.with("partita_0000000000000000000000000000000000000000deadbeef");
    let mut refused = 0;
    for _ in 0..100 {
        let reply = guesser.get("/v1/uploads").await;
        refused += u32::from(reply.status == 429);
        assert!(reply.status == 401 || reply.status == 429, "{}", reply.body);
    }
    assert!(refused > 30);
    alice.get("/v1/uploads").await.ok(200);
}

async fn create(api: &Api, size: Option<i64>) -> Reply {
    let mut body = json!({ "filename": "x" });
    if let Some(size) = size {
        body["size"] = size.into();
    }
    api.post("/v1/uploads", body).await
}

fn id(reply: Value) -> String {
    reply["upload"]["id"].as_str().expect("an id").to_owned()
}

async fn an_owner_has_no_more_open_uploads_than_it_may(postgres: bool) {
    let service = Service::with_auth(postgres, |settings| settings.limits.open_uploads = 3).await;
    let (alice, bob) = (service.caller("alice", &[]).await, service.caller("bob", &[]).await);
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let alice = alice.clone();
        racing.spawn(async move { create(&alice, Some(5)).await });
    }
    let replies = racing.join_all().await;
    let (made, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 201);
    assert_eq!((made.len(), refused.len()), (3, 9), "of all that race no more than there is room for");
    for reply in refused {
        reply.problem(409, "quota-open-uploads");
    }
    create(&bob, Some(5)).await.ok(201);
    let mut ids: Vec<_> = made.into_iter().map(|reply| reply.body).collect();
    // One that is completed makes room, and so does one whose abort is proved; a refusal takes none.
    let first = ids.pop().expect("one");
    alice.put_parts(first["partUrls"].as_array().expect("URLs"), b"hello").await;
    alice.complete(&id(first), None).await.ok(200);
    create(&alice, Some(5)).await.ok(201);
    let second = id(ids.pop().expect("one"));
    alice.delete(&format!("/v1/uploads/{second}")).await.ok(204);
    assert_eq!(alice.get(&format!("/v1/uploads/{second}")).await.ok(200)["state"], "aborting");
    create(&alice, Some(5)).await.problem(409, "quota-open-uploads");
    service.advance(std::time::Duration::from_secs(2 * 3600));
    service.settle().await;
    create(&alice, Some(5)).await.ok(201);
}

async fn an_owner_holds_no_more_bytes_than_it_may(postgres: bool) {
    let service = Service::with_auth(postgres, |settings| settings.limits.bytes = 100 * MIB).await;
    let alice = service.caller("alice", &[]).await;
    create(&alice, Some(101 * MIB)).await.problem(409, "quota-bytes");
    let declared = id(create(&alice, Some(90 * MIB)).await.ok(201));
    create(&alice, Some(11 * MIB)).await.problem(409, "quota-bytes");
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let alice = alice.clone();
        racing.spawn(async move { create(&alice, Some(4 * MIB)).await.status });
    }
    assert_eq!(racing.join_all().await.into_iter().filter(|status| *status == 201).count(), 2);

    // A stream takes what is signed for it, and no more than there is.
    let body = json!({ "filename": "x", "partSize": 5 * MIB });
    let service2 = Service::with_auth(postgres, |settings| settings.limits.bytes = 12 * MIB).await;
    let bob = service2.caller("bob", &[]).await;
    let (stream, ..) = bob.create(body.clone()).await;
    let sign =
        async |parts: &str| bob.post(&format!("/v1/uploads/{stream}/part-urls"), json!({ "parts": parts })).await;
    sign("1").await.ok(200);
    sign("1-3").await.problem(409, "quota-bytes");
    sign("1-2").await.ok(200);
    sign("2").await.ok(200);
    bob.post("/v1/uploads", json!({ "filename": "x", "size": 3 * MIB })).await.problem(409, "quota-bytes");
    let mut with_urls = body;
    with_urls["partUrls"] = json!({ "count": 1 });
    bob.post("/v1/uploads", with_urls).await.problem(409, "quota-bytes");
    // What is known of its size when it is completed counts from then on.
    let urls = sign("1").await.ok(200)["partUrls"].clone();
    let item = json!({ "items": [{ "partNumber": 1, "size": 5 }] });
    let last = bob.post(&format!("/v1/uploads/{stream}/part-urls"), item).await.ok(200)["partUrls"].clone();
    assert_ne!(urls, last);
    bob.put_bytes(&last[0], b"hello".to_vec()).await;
    bob.complete(&stream, Some(json!({ "size": 5 }))).await.ok(200);
    let file = bob.upload(json!({ "filename": "x" }), b"world").await;
    create(&bob, Some(12 * MIB - 10)).await.ok(201);
    create(&bob, Some(1)).await.problem(409, "quota-bytes");
    // A deleted file gives its bytes back.
    bob.delete(&format!("/v1/files/{file}")).await.ok(204);
    create(&bob, Some(5)).await.ok(201);

    // Given back only when the abort is proved, for until then parts may land.
    alice.delete(&format!("/v1/uploads/{declared}")).await.ok(204);
    create(&alice, Some(11 * MIB)).await.problem(409, "quota-bytes");
    service.advance(std::time::Duration::from_secs(2 * 3600));
    service.settle().await;
    create(&alice, Some(11 * MIB)).await.ok(201);
}
