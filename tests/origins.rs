//! Who may call: pages of other sites may not, by whatever name they reach this machine.

use serde_json::json;

use crate::support::{Service, on_both_databases};

on_both_databases! { a_foreign_host_or_origin_is_refused_everywhere }

async fn a_foreign_host_or_origin_is_refused_everywhere(service: Service) {
    let api = &service.api;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let mut request = api.http.get(format!("{}{path}", api.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        api.send(request).await
    };
    for path in ["/v1/uploads", "/", "/docs/", "/openapi.json", "/livez", "/nothing"] {
        for host in [
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "10.0.0.1",
            "",
        ] {
            get(path, &[("host", host)]).await.problem(403, "forbidden-origin");
        }
        for origin in ["http://evil.example", "null", "http://localhost:1", "http://127.0.0.1:1", "file://"] {
            get(path, &[("origin", origin)]).await.problem(403, "forbidden-origin");
        }
    }
    for host in ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1", "127.1.2.3:99", "[::1]", "[::1]:8080"] {
        get("/v1/uploads", &[("host", host)]).await.ok(200);
        get("/v1/uploads", &[("host", host), ("origin", &format!("http://{host}"))]).await.ok(200);
    }
    let cross = api.http.post(format!("{}/v1/uploads", api.base)).header("origin", "http://evil.example");
    api.send(cross.json(&json!({ "filename": "x", "size": 5 }))).await.problem(403, "forbidden-origin");
    assert_eq!(api.get("/v1/uploads").await.ok(200)["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_origin_may_call_and_read_what_it_needs() {
    let service = Service::with(|settings| {
        settings.allowed_origins = vec!["https://app.example".into()];
        settings.allowed_hosts = vec!["partita.internal".into()];
    })
    .await;
    let api = &service.api;
    let url = format!("{}/v1/uploads", api.base);
    let reply = api
        .send(api.http.get(&url).header("origin", "https://app.example").header("host", "partita.internal:8080"))
        .await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(
        reply.header("access-control-expose-headers"),
        Some("Location, Retry-After, X-Request-Id, Idempotency-Replayed, RateLimit, RateLimit-Policy")
    );
    assert!(reply.header("vary").is_some_and(|vary| vary.contains("Origin")));
    reply.ok(200);
    let preflight = api.http.request(reqwest::Method::OPTIONS, &url).header("origin", "https://app.example");
    let preflight = preflight.header("access-control-request-method", "POST").send().await.expect("an answer");
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-headers"], "Authorization, Content-Type, Idempotency-Key");
    let refused = api.send(api.http.get(&url).header("origin", "https://app.example.evil")).await;
    assert_eq!(refused.header("access-control-allow-origin"), None);
    refused.problem(403, "forbidden-origin");
    // A page can read why it was refused only where it may read at all.
    let missing = api.send(api.http.get(format!("{url}/x")).header("origin", "https://app.example")).await;
    assert_eq!(missing.header("access-control-allow-origin"), Some("https://app.example"));
    missing.problem(404, "upload-not-found");
}
