//! Completed uploads as files, and the links by which they are had again.

use std::time::Duration;

use serde_json::json;

use crate::support::{Service, on_both_databases};

on_both_databases! { a_file_is_had_again_by_links_that_end }

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
