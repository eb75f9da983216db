//! Completed uploads as files, and the links by which they are had again.

use std::time::Duration;

use serde_json::json;

use crate::support::proxy::Proxy;
use crate::support::{Service, new_database, on_both_databases, with_callers};

on_both_databases! { a_file_is_had_again_by_links_that_end }

with_callers! {
    files_are_listed_with_their_links_and_shared
    many_links_come_at_once_and_those_that_are_none_are_named
    a_deleted_file_is_gone_and_stays_gone
}

async fn a_file_is_had_again_by_links_that_end(service: Service) {
    let api = &service.api;
    let mut ids = Vec::new();
    for (name, kind) in [("a.png", "image/png"), ("a.html", "text/html")] {
        let (id, _, urls) = api.create(json!({ "filename": name, "size": 5, "contentType": kind })).await;
        api.put_parts(&urls, b"hello").await;
        api.complete(&id, None).await.ok(200);
        ids.push(id);
    }
    let file = api.get(&format!("/v1/files/{}", ids[0])).await.ok(200);
    assert_eq!(
        (file["id"].as_str(), file["visibility"].as_str(), file["owner"].as_str()),
        (Some(ids[0].as_str()), Some("private"), Some("local"))
    );
    assert_eq!(file["sharedWith"], json!([]));

    let link = async |id: &str, query: &str| api.get(&format!("/v1/files/{id}/download-url?{query}")).await.ok(200);
    let fetch = async |link: &serde_json::Value| {
        let url = link["url"].as_str().expect("a URL");
        let response = api.http.get(url).send().await.expect("an answer");
        let header = |name: &str| {
            response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        (response.status().as_u16(), header("content-disposition"), header("cache-control"))
    };
    let short = link(&ids[0], "").await;
    assert!(short["url"].as_str().is_some_and(|url| url.contains("X-Amz-Expires=60&")), "short by default");
    assert_eq!(fetch(&short).await, (200, "attachment; filename=\"a.png\"".into(), String::new()));
    assert!(
        link(&ids[0], "ttlSeconds=3600").await["url"].as_str().is_some_and(|url| url.contains("X-Amz-Expires=3600&"))
    );
    assert_eq!(fetch(&link(&ids[0], "disposition=inline").await).await.1, "inline; filename=\"a.png\"");
    assert_eq!(
        fetch(&link(&ids[1], "disposition=inline").await).await.1,
        "attachment; filename=\"a.html\"",
        "it could run script"
    );

    let cacheable = link(&ids[0], "cacheable=true").await;
    assert_eq!(
        fetch(&cacheable).await,
        (200, "attachment; filename=\"a.png\"".into(), "private, max-age=86400, immutable".into())
    );
    assert!(
        cacheable["url"].as_str().is_some_and(|url| url.contains("X-Amz-Expires=86460&")),
        "had at the very end of the window, it lives as long as any other"
    );
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(link(&ids[0], "cacheable=true").await["url"], cacheable["url"], "the same URL within the window");
    assert_ne!(link(&ids[0], "").await["url"], short["url"]);
    service.advance(Duration::from_secs(25 * 3600));
    assert_ne!(link(&ids[0], "cacheable=true").await["url"], cacheable["url"], "another one in the next");

    let ended = link(&ids[0], "ttlSeconds=1").await;
    let moment = ended["expiresAt"].as_str().expect("a moment");
    assert!(chrono::DateTime::parse_from_rfc3339(moment).is_ok());
}

async fn files_are_listed_with_their_links_and_shared(service: Service) {
    let (alice, carol) = (service.caller("alice", &[]).await, service.caller("carol", &[]).await);
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(alice.upload(json!({ "filename": format!("{number}.txt") }), b"hello").await);
        carol.upload(json!({ "filename": "carol's" }), b"world").await;
    }
    // Neither what is open nor what is deleted is a file.
    alice.create(json!({ "filename": "open", "size": 5 })).await;
    let gone = alice.upload(json!({ "filename": "gone" }), b"hello").await;
    alice.delete(&format!("/v1/files/{gone}")).await.ok(204);
    ids.reverse();

    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = alice.get(&format!("/v1/files?limit=3&downloadUrls=true&ttlSeconds=90{cursor}")).await.ok(200);
        for item in page["items"].as_array().expect("items") {
            let url = item["downloadUrl"]["url"].as_str().expect("a link");
            assert!(url.contains("X-Amz-Expires=90&"));
            assert_eq!(alice.http.get(url).send().await.expect("an answer").bytes().await.expect("bytes"), "hello");
            seen.push(item["id"].as_str().expect("an id").to_owned());
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ids, "newest first, each once");
    let plain = alice.get("/v1/files").await.ok(200);
    assert!(plain["items"][0].get("downloadUrl").is_none(), "links only when asked for");

    // Shared ones are among one's own, in their order.
    for id in [&ids[0], &ids[6]] {
        alice.call("PUT", &format!("/v1/files/{id}/shares/carol"), None).await.ok(204);
        alice.call("PUT", &format!("/v1/files/{id}/shares/carol"), None).await.ok(204);
    }
    let all = carol.get("/v1/files?downloadUrls=true").await.ok(200);
    let all = all["items"].as_array().expect("items").clone();
    let shown: Vec<_> = all.iter().map(|item| item["id"].as_str().expect("an id").to_owned()).collect();
    assert_eq!(shown.len(), 9);
    assert!(shown.is_sorted_by(|a, b| a > b), "{shown:?}");
    let shared: Vec<_> = all.iter().filter(|item| item["owner"] == "alice").collect();
    assert_eq!(shared.len(), 2);
    assert!(
        shared.iter().all(|item| item["sharedWith"] == json!([])),
        "whom else it is shared with is the owner's to know"
    );
    assert_eq!(alice.get(&format!("/v1/files/{}", ids[0])).await.ok(200)["sharedWith"], json!(["carol"]));
    for page in [1, 2, 5, 8] {
        let mut paged = Vec::new();
        let mut cursor = String::new();
        loop {
            let reply = carol.get(&format!("/v1/files?limit={page}{cursor}")).await.ok(200);
            let items = reply["items"].as_array().expect("items").clone();
            paged.extend(items.iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
            match reply["nextCursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(paged, shown, "pages of {page}");
    }
    carol.call("GET", &format!("/v1/files/{}/download", ids[0]), None).await.ok(302);

    // Taken back, it is as if it had never been there.
    alice.delete(&format!("/v1/files/{}/shares/carol", ids[0])).await.ok(204);
    alice.delete(&format!("/v1/files/{}/shares/carol", ids[0])).await.ok(204);
    carol.get(&format!("/v1/files/{}", ids[0])).await.problem(404, "file-not-found");
    assert_eq!(carol.get("/v1/files").await.ok(200)["items"].as_array().map(Vec::len), Some(8));
    carol.delete(&format!("/v1/files/{}", ids[6])).await.problem(403, "owner-only");
    alice.delete(&format!("/v1/files/{}", ids[6])).await.ok(204);
    carol.get(&format!("/v1/files/{}", ids[6])).await.problem(404, "file-not-found");
    carol.delete(&format!("/v1/files/{}", ids[6])).await.problem(404, "file-not-found");

    let subject =
        async |subject: &str| alice.call("PUT", &format!("/v1/files/{}/shares/{subject}", ids[1]), None).await;
    subject("a%2Fb%7C%C3%A4").await.ok(204);
    assert_eq!(alice.get(&format!("/v1/files/{}", ids[1])).await.ok(200)["sharedWith"], json!(["a/b|ä"]));
    subject("alice").await.ok(204);
    subject("a%00b").await.problem(400, "invalid-request");
    subject("%20").await.problem(400, "invalid-request");
    subject(&"x".repeat(256)).await.problem(400, "invalid-request");
}

async fn many_links_come_at_once_and_those_that_are_none_are_named(service: Service) {
    let (alice, bob) = (service.caller("alice", &[]).await, service.caller("bob", &[]).await);
    let (mine, other) = (
        alice.upload(json!({ "filename": "x" }), b"hello").await,
        bob.upload(json!({ "filename": "y" }), b"hello").await,
    );
    let (open, ..) = alice.create(json!({ "filename": "open", "size": 5 })).await;
    let ask = async |body: serde_json::Value| alice.post("/v1/files/download-urls", body).await;
    let answer = ask(json!({ "ids": [open, mine, other, "nothing", mine], "ttlSeconds": 77 })).await.ok(200);
    assert_eq!(answer["missing"], json!([open, other, "nothing"]));
    let items = answer["items"].as_array().expect("items");
    assert_eq!((items.len(), items[0]["id"].as_str()), (1, Some(mine.as_str())), "each once");
    assert!(items[0]["url"].as_str().is_some_and(|url| url.contains("X-Amz-Expires=77&")));
    ask(json!({ "ids": [] })).await.problem(400, "invalid-request");
    ask(json!({ "ids": vec!["x"; 1_001] })).await.problem(400, "invalid-request");
    ask(json!({ "ids": [7] })).await.problem(400, "invalid-request");
    ask(json!({ "ids": [mine], "disposition": "x" })).await.problem(400, "invalid-request");
    ask(json!({ "ids": [mine], "ttlSeconds": 604_801 })).await.problem(400, "invalid-request");
    assert_eq!(ask(json!({ "ids": vec!["x"; 1_000] })).await.ok(200)["missing"], json!(["x"]));
}

async fn a_deleted_file_is_gone_and_stays_gone(service: Service) {
    let api = service.caller("alice", &[]).await;
    let id = api.upload(json!({ "filename": "x" }), b"hello").await;
    let (path, upload) = (format!("/v1/files/{id}"), format!("/v1/uploads/{id}"));
    let link = api.get(&format!("{path}/download-url?ttlSeconds=600")).await.ok(200);
    api.delete(&path).await.ok(204);
    api.delete(&path).await.ok(204);
    assert_eq!(api.get(&upload).await.ok(200)["state"], "deleted");
    for gone in ["", "/download", "/download-url", "/content"] {
        api.get(&format!("{path}{gone}")).await.problem(404, "file-not-found");
    }
    api.call("PUT", &format!("{path}/shares/bob"), None).await.problem(404, "file-not-found");
    api.call("POST", &format!("{upload}/complete"), None).await.problem(410, "file-deleted");
    api.delete(&upload).await.problem(409, "already-completed");
    let url = link["url"].as_str().expect("a URL");
    assert_eq!(api.http.get(url).send().await.expect("an answer").status(), 404, "a link ends with the object");

    let (open, ..) = api.create(json!({ "filename": "x", "size": 5 })).await;
    api.delete(&format!("/v1/files/{open}")).await.problem(409, "not-completed");
    api.get(&format!("/v1/files/{open}/content")).await.problem(409, "not-completed");
    api.delete(&format!("/v1/uploads/{open}")).await.ok(204);
    api.delete(&format!("/v1/files/{open}")).await.problem(404, "file-not-found");
}

/// A thousand files cost no more statements than one does.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_files_is_one_question_however_long_it_is() {
    let name = new_database().await.rsplit('/').next().expect("a name").to_owned();
    let (proxy, url) = Proxy::before_postgres(&name).await;
    let service = Service::with(|settings| settings.database_url = Some(url.into())).await;
    let api = &service.api;
    let id = api.upload(json!({ "filename": "x" }), b"hello").await;
    let ask = async |request: &str, body: Option<serde_json::Value>, expected: usize| {
        let method = if body.is_some() { "POST" } else { "GET" };
        let before = proxy.sent();
        let answer = api.call(method, request, body).await.ok(200);
        let items = answer["items"].as_array().expect("items");
        assert_eq!(items.len(), expected);
        assert!(items.iter().all(|item| item["url"].is_string() || item["downloadUrl"]["url"].is_string()));
        proxy.sent() - before
    };
    let list = "/v1/files?limit=1000&downloadUrls=true";
    // Once to prepare the statements.
    ask(list, None, 1).await;
    ask("/v1/files/download-urls", Some(json!({ "ids": [id] })), 1).await;
    let (one, one_link) =
        (ask(list, None, 1).await, ask("/v1/files/download-urls", Some(json!({ "ids": [id] })), 1).await);
    service
        .sql(
            "DO $$ DECLARE model uploads; BEGIN
                SELECT * INTO model FROM uploads;
                FOR number IN 1..999 LOOP
                    model.id = gen_random_uuid();
                    model.object_key = 'uploads/' || model.id || '/x';
                    INSERT INTO uploads SELECT model.*;
                END LOOP;
            END $$",
        )
        .await;
    // The values of a question of a thousand ids fill more than one piece.
    let many = ask(list, None, 1_000).await;
    assert!(many <= one + 4, "{many} pieces for 1,000 files, {one} for one");
    let page = api.get("/v1/files?limit=1000").await.ok(200);
    let ids: Vec<_> = page["items"].as_array().expect("items").iter().map(|item| item["id"].clone()).collect();
    let many_links = ask("/v1/files/download-urls", Some(json!({ "ids": ids })), 1_000).await;
    assert!(many_links <= one_link + 4, "{many_links} pieces for 1,000 links, {one_link} for one");
}
