//! Holds answers against the OpenAPI document: the status is documented, the problem's code is named there, the body has
//! the documented shape.

use std::sync::LazyLock;

use serde_json::Value;

use super::Reply;

static DOCUMENT: LazyLock<Value> = LazyLock::new(partita::http::document);

/// Fails the test when the answer is not as the document says.
pub(crate) fn check(method: &str, path: &str, reply: &Reply) {
    let place = format!("{method} {path} → {}: {}", reply.status, reply.body);
    assert!(reply.headers.contains_key("x-request-id"), "no request id: {place}");
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{place}");
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{place}");
    if reply.status.is_client_error() || reply.status.is_server_error() {
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{place}");
        let code = reply.body["code"].as_str().unwrap_or_else(|| panic!("no code: {place}"));
        assert_eq!(reply.body["type"], format!("urn:partita:problem:{code}"), "{place}");
        assert_eq!(reply.body["status"], reply.status.as_u16(), "{place}");
        assert_eq!(reply.body["requestId"].as_str(), reply.header("x-request-id"), "{place}");
        fits(&DOCUMENT["components"]["schemas"]["Problem"], &reply.body, &place);
    }
    if path.starts_with("/v1/") {
        let streamed = path.ends_with("/content") && reply.status.as_u16() < 400;
        let caching = if streamed { "private, no-cache" } else { "no-store" };
        assert_eq!(reply.header("cache-control"), Some(caching), "{place}");
    }
    let Some(operation) = operation(method, path) else {
        return;
    };
    let response = &operation["responses"][reply.status.as_str()];
    assert!(response.is_object(), "an undocumented status: {place}");
    let kind = reply.header("content-type").unwrap_or_default();
    if let Some(code) = reply.body["code"].as_str() {
        let named = response["description"].as_str().unwrap_or_default().contains(&format!("`{code}`"));
        assert!(named, "an undocumented code: {place}");
    } else if operation["operationId"] == "streamFile" {
        // Whatever the bytes are of.
    } else if let Some(schema) = response["content"].get(kind).map(|content| &content["schema"]) {
        fits(schema, &reply.body, &place);
    } else {
        assert!(response.get("content").is_none(), "an undocumented media type {kind}: {place}");
    }
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let segments: Vec<&str> = path.split('/').collect();
    let matches = |pattern: &str| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        pattern.len() == segments.len()
            && pattern.iter().zip(&segments).all(|(p, s)| (p.starts_with('{') && !s.is_empty()) || p == s)
    };
    let paths = DOCUMENT["paths"].as_object()?;
    let (_, item) = paths.iter().find(|(pattern, _)| matches(pattern))?;
    item.get(method.to_lowercase())
}

fn fits(schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().expect("a name");
        return fits(&DOCUMENT["components"]["schemas"][name], value, place);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fits(part, value, place);
    }
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{value} is none of {allowed:?}: {place}");
    }
    match schema["type"].as_str() {
        Some("object") => {
            let object = value.as_object().unwrap_or_else(|| panic!("{value} is no object: {place}"));
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(object.contains_key(name.as_str().expect("text")), "{name} is missing: {place}");
            }
            for (name, value) in object {
                match (schema["properties"].get(name), schema.get("additionalProperties")) {
                    (Some(schema), _) | (None, Some(schema)) => fits(schema, value, place),
                    (None, None) => panic!("{name} is not documented: {place}"),
                }
            }
        }
        Some("array") => {
            let items = value.as_array().unwrap_or_else(|| panic!("{value} is no array: {place}"));
            items.iter().for_each(|item| fits(&schema["items"], item, place));
        }
        Some("string") => assert!(value.is_string(), "{value} is no text: {place}"),
        Some("integer") => assert!(value.is_i64() || value.is_u64(), "{value} is no integer: {place}"),
        Some("boolean") => assert!(value.is_boolean(), "{value} is no boolean: {place}"),
        _ => {}
    }
}
