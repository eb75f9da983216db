//! How much a caller may ask for, and an owner may have.

use serde_json::{Value, json};

use crate::support::{Api, MIB, Reply, Service, new_database, on_either_database};

on_either_database! {
    an_owner_has_no_more_open_uploads_than_it_may
    an_owner_holds_no_more_bytes_than_it_may
    declared_bytes_of_any_number_never_wrap_around
    what_a_stream_has_reserved_is_given_back_by_nothing_but_its_end
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

async fn declared_bytes_of_any_number_never_wrap_around(postgres: bool) {
    let largest = 48 * (1_i64 << 40);
    let service = Service::with_auth(postgres, |settings| {
        settings.limits.bytes = i64::MAX;
        settings.limits.open_uploads = 0;
    })
    .await;
    let alice = service.caller("alice", &[]).await;
    let create = async |size: i64| {
        alice.post("/v1/uploads", json!({ "filename": "x", "size": size, "partUrls": { "count": 0 } })).await
    };
    for size in [i64::MIN, i64::MIN + 1, -1] {
        create(size).await.problem(422, "invalid-size");
    }
    for size in [i64::MAX, i64::MAX - 1, i64::MAX / 2, 1 << 50] {
        create(size).await.problem(413, "file-too-large");
    }
    create(largest).await.ok(201);
    // As if there were hundreds of thousands of them.
    service.sql(&format!("UPDATE usages SET bytes = {} WHERE owner = 'alice'", i64::MAX - largest + 1)).await;
    let reply = create(largest).await;
    assert!(reply.status.as_u16() >= 400, "{}", reply.body);
    create(1).await.ok(201);
}

/// Two services on one database count together.
#[tokio::test(flavor = "multi_thread")]
async fn two_services_together_exceed_no_quota() {
    let url = new_database().await;
    let with_limits = |settings: &mut partita::config::Settings| {
        settings.insecure_no_auth = Some(false);
        settings.database_url = Some(url.clone().into());
        settings.limits.open_uploads = 5;
        settings.limits.bytes = 40 << 20;
    };
    let (one, other) = (Service::with(with_limits).await, Service::with(with_limits).await);
    let key = one.key("alice", &[], None).await.1;
    let callers = [one.api.with(&key), other.api.with(&key)];
    let (stream, ..) = callers[0].create(json!({ "filename": "s", "partSize": 5 << 20 })).await;
    let mut racing = tokio::task::JoinSet::new();
    for number in 0..24_usize {
        let (api, stream) = (callers[number % 2].clone(), stream.clone());
        racing.spawn(async move {
            let idempotency = format!("key-{}", number / 4);
            if number % 3 == 0 {
                let sign = json!({ "parts": format!("1-{}", 1 + number / 6) });
                let _ = api.post(&format!("/v1/uploads/{stream}/part-urls"), sign).await;
                return;
            }
            let body = json!({ "filename": "x", "size": 9 << 20 });
            let post = api.http.post(format!("{}/v1/uploads", api.base)).header("idempotency-key", idempotency);
            let reply = api.send(post.json(&body)).await;
            assert!(matches!(reply.status.as_u16(), 201 | 409 | 503), "{}", reply.body);
            // An abort gives nothing back before it is proved.
            if number % 4 == 1
                && let Some(id) = reply.body["upload"]["id"].as_str()
            {
                let _ = api.delete(&format!("/v1/uploads/{id}")).await;
            }
        });
    }
    racing.join_all().await;
    let listed = callers[0].get("/v1/uploads?limit=1000").await.ok(200);
    let held = listed["items"].as_array().expect("items").iter().filter(|upload| upload["state"] != "aborted");
    let sizes: Vec<i64> = held.map(|upload| upload["size"].as_i64().unwrap_or(0)).collect();
    assert!(sizes.len() <= 5, "{sizes:?}");
    assert!(sizes.iter().sum::<i64>() <= 40 << 20, "{sizes:?}");
    let usage = {
        use sea_orm::{ConnectionTrait, DbBackend, Statement};
        let query = "SELECT open_uploads, bytes, (SELECT sum(reserved)::bigint FROM uploads WHERE state <> 'aborted') AS held FROM usages";
        let row = one.database().await.query_one_raw(Statement::from_string(DbBackend::Postgres, query)).await;
        let row = row.expect("asked").expect("a row");
        let number = |name: &str| row.try_get::<i64>("", name).expect("a number");
        (number("open_uploads"), number("bytes"), number("held"))
    };
    assert!(usage.0 <= 5 && usage.1 <= 40 << 20, "{usage:?}");
    assert_eq!(usage.1, usage.2, "what is counted is what is there");
}

/// URLs that were signed stay good, so what they may bring stays reserved, whatever is asked of the upload afterwards.
async fn what_a_stream_has_reserved_is_given_back_by_nothing_but_its_end(postgres: bool) {
    let service = Service::with_auth(postgres, |settings| settings.limits.bytes = 20 * MIB).await;
    let alice = service.caller("alice", &[]).await;
    let (stream, ..) = alice.create(json!({ "filename": "s", "partSize": 5 * MIB })).await;
    let path = format!("/v1/uploads/{stream}");
    let signed = alice.post(&format!("{path}/part-urls"), json!({ "parts": "1-4" })).await.ok(200);
    let full = async || create(&alice, Some(1)).await.problem(409, "quota-bytes");
    full().await;
    let small = json!({ "items": [{ "partNumber": 1, "size": 1 }] });
    alice.post(&format!("{path}/part-urls"), small).await.ok(200);
    full().await;
    alice.put_bytes(&signed["partUrls"][0], crate::support::file(5 * MIB)).await;
    for body in [
        json!({ "size": 0 }),
        json!({ "size": 1 }),
        json!({ "size": 5 * MIB - 1 }),
        json!({ "size": 1, "parts": [{ "partNumber": 1, "etag": "x" }] }),
    ] {
        let refused = alice.complete(&stream, Some(body)).await;
        assert!(refused.status.is_client_error(), "{}", refused.body);
        full().await;
    }
    alice.put(&format!("{path}/parts/4"), json!({ "etag": "x", "size": 1 })).await.ok(200);
    full().await;
    alice.call("POST", &format!("{path}/sync"), None).await.ok(200);
    full().await;
    // Beyond its quota it gets no URL, in whatever order it asks.
    alice.post(&format!("{path}/part-urls"), json!({ "parts": "5" })).await.problem(409, "quota-bytes");
    let last = json!({ "items": [{ "partNumber": 10_000, "size": 1 }] });
    alice.post(&format!("{path}/part-urls"), last).await.problem(409, "quota-bytes");
    alice.delete(&path).await.ok(204);
    full().await;
    let late = alice.put_bytes(&signed["partUrls"][0], crate::support::file(5 * MIB)).await.0;
    assert!(late.is_client_error(), "{late}");
    service.advance(std::time::Duration::from_secs(2 * 3600));
    service.settle().await;
    create(&alice, Some(20 * MIB)).await.ok(201);
}
