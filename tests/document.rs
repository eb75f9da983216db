//! The OpenAPI document: committed, complete, and fit for generators.

use partita::http::document;
use serde_json::Value;

#[test]
fn the_committed_document_is_what_the_code_says() {
    let committed =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/openapi.json")).expect("openapi.json");
    let generated = serde_json::to_string_pretty(&document()).expect("JSON") + "\n";
    assert!(committed == generated, "openapi/openapi.json is stale: cargo run -- openapi > openapi/openapi.json");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_serves_the_same_document() {
    let service = crate::support::Service::on_sqlite().await;
    assert_eq!(service.api.get("/openapi.json").await.ok(200), document());
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let items =
        paths.iter().flat_map(|(path, item)| item.as_object().expect("an item").iter().map(move |(m, o)| (path, m, o)));
    items.map(|(path, method, operation)| (format!("{method} {path}"), operation)).collect()
}

#[test]
fn every_operation_has_what_generators_need() {
    let document = document();
    let operations = operations(&document);
    assert_eq!(operations.len(), 19);
    for (place, operation) in operations {
        assert!(operation["operationId"].is_string(), "{place}");
        assert!(operation["tags"].as_array().is_some_and(|tags| tags.len() == 1), "{place}: {}", operation["tags"]);
        assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{place}");
        for (status, response) in operation["responses"].as_object().expect("responses") {
            assert!(status.len() == 3 && status.parse::<u16>().is_ok(), "{place} {status}");
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{place} {status}");
        }
        assert!(operation.get("parameters").is_none_or(Value::is_array), "{place}: {}", operation["parameters"]);
        let body = &operation["requestBody"];
        assert!(body.is_null() || !body["content"]["application/json"]["example"].is_null(), "{place} has no example");
    }
}

#[test]
fn nothing_stands_there_that_generators_stumble_over() {
    fn walk(value: &Value, place: &str) {
        match value {
            Value::Object(map) => {
                for word in ["oneOf", "anyOf", "discriminator", "nullable", "webhooks", "default"] {
                    assert!(!map.contains_key(word), "{word} at {place}");
                }
                let format = map.get("format").and_then(Value::as_str).unwrap_or_default();
                assert!(!format.starts_with("uint"), "{format} at {place}");
                for (name, value) in map {
                    assert!(!name.contains("charset"), "{name} at {place}");
                    walk(value, &format!("{place}/{name}"));
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, place)),
            _ => {}
        }
    }
    let mut document = document();
    // Examples hold data, not schemas.
    for item in document["paths"].as_object_mut().expect("paths").values_mut() {
        for operation in item.as_object_mut().expect("an item").values_mut() {
            operation["requestBody"] = operation["requestBody"]["content"]["application/json"]["schema"].take();
        }
    }
    walk(&document, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_docs_and_the_demo_work_without_any_other_host() {
    let service = crate::support::Service::on_sqlite().await;
    let get = async |path: &str| {
        let response = service.api.http.get(format!("{}{path}", service.api.base)).send().await.expect("an answer");
        let policy =
            response.headers().get("content-security-policy").map(|value| value.to_str().expect("text").to_owned());
        let etag = response.headers().get("etag").map(|value| value.to_str().expect("text").to_owned());
        (response.status().as_u16(), policy, etag, response.text().await.expect("text"))
    };
    assert_eq!(get("/docs").await.0, 308);
    for page in ["/docs/", "/"] {
        let (status, policy, etag, text) = get(page).await;
        assert_eq!(status, 200, "{page}");
        assert!(policy.expect("a policy").starts_with("default-src 'self'"), "{page}");
        assert!(!text.contains("http://") && !text.contains("https://"), "{page} asks another host");
        let etag = etag.expect("an ETag");
        let again =
            service.api.http.get(format!("{}{page}", service.api.base)).header("if-none-match", etag).send().await;
        assert_eq!(again.expect("an answer").status(), 304, "{page}");
        let links = text
            .split(['"', '\''])
            .filter(|link| link.ends_with(".js") || link.ends_with(".css") || link.ends_with(".svg"));
        for link in links {
            let path = format!("{page}{}", link.trim_start_matches("./").trim_start_matches('/'));
            let path = if link.starts_with('/') { link.to_owned() } else { path };
            assert_eq!(get(&path).await.0, 200, "{path}");
        }
    }
    assert_eq!(service.api.get("/docs/nothing.js").await.problem(404, "route-not-found")["status"], 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_is_served_only_where_it_is_wanted() {
    let service = crate::support::Service::with(|settings| settings.web_demo = Some(false)).await;
    service.api.get("/").await.problem(404, "route-not-found");
}
