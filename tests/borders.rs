//! Plans at every border, and the largest plan there is.

use serde_json::json;

use crate::support::{MIB, Service, on_both_databases};

on_both_databases! {
    ten_thousand_parts_are_created_signed_recorded_and_listed
    sizes_at_every_border_have_the_right_plan_or_the_right_refusal
}

async fn ten_thousand_parts_are_created_signed_recorded_and_listed(service: Service) {
    let api = &service.api;
    let size = 10_000 * 5 * MIB;
    let (id, upload, urls) = api.create(json!({ "filename": "big", "size": size, "partSize": 5 * MIB })).await;
    assert_eq!((upload["partCount"].as_i64(), upload["missingParts"].as_str()), (Some(10_000), Some("1-10000")));
    assert_eq!(urls.len(), 100, "the first hundred come at once");
    let path = format!("/v1/uploads/{id}");
    let signed = api.post(&format!("{path}/part-urls"), json!({ "parts": "1-10000" })).await.ok(200);
    let signed = signed["partUrls"].as_array().expect("part URLs");
    assert_eq!(signed.len(), 10_000);
    let last = &signed[9_999];
    assert_eq!(
        (last["partNumber"].as_i64(), last["offset"].as_i64(), last["size"].as_i64()),
        (Some(10_000), Some(size - 5 * MIB), Some(5 * MIB))
    );
    let distinct: std::collections::HashSet<&str> = signed.iter().filter_map(|part| part["url"].as_str()).collect();
    assert_eq!(distinct.len(), 10_000);
    let too_many: Vec<_> = (0..10_001).map(|_| json!({ "partNumber": 1 })).collect();
    api.post(&format!("{path}/part-urls"), json!({ "items": too_many })).await.problem(422, "batch-too-large");

    let reports: Vec<_> = (1..=10_000).map(|n| json!({ "partNumber": n, "etag": format!("\"{n:032x}\"") })).collect();
    let recorded = api.put(&format!("{path}/parts"), json!({ "parts": reports })).await.ok(200);
    assert_eq!((recorded["recordedParts"].as_i64(), recorded["recordedBytes"].as_i64()), (Some(10_000), Some(size)));
    let too_many: Vec<_> = (1..=10_001).map(|n| json!({ "partNumber": n, "etag": "x" })).collect();
    api.put(&format!("{path}/parts"), json!({ "parts": too_many })).await.problem(422, "batch-too-large");

    let (mut seen, mut cursor) = (0, String::new());
    loop {
        let page = api.get(&format!("{path}/parts?limit=1000{cursor}")).await.ok(200);
        for part in page["items"].as_array().expect("items") {
            seen += 1;
            assert_eq!(part["partNumber"].as_i64(), Some(seen));
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, 10_000);
    assert_eq!(api.get(&path).await.ok(200)["missingParts"], "");
}

async fn sizes_at_every_border_have_the_right_plan_or_the_right_refusal(service: Service) {
    let api = &service.api;
    let largest = 53_687_091_200_000_i64;
    for (size, part_size, part_count) in [
        (0, 8 * MIB, 0),
        (1, 8 * MIB, 1),
        (5 * MIB - 1, 8 * MIB, 1),
        (5 * MIB, 8 * MIB, 1),
        (5 * MIB + 1, 8 * MIB, 1),
        (8 * MIB + 1, 8 * MIB, 2),
        (640_000 * MIB, 64 * MIB, 10_000),
        (640_000 * MIB + 1, 65 * MIB, 9_847),
        (largest, 5_120 * MIB, 10_000),
    ] {
        let (_, upload, urls) = api.create(json!({ "filename": "x", "size": size, "partUrls": { "count": 1 } })).await;
        assert_eq!(
            (upload["partSize"].as_i64(), upload["partCount"].as_i64()),
            (Some(part_size), Some(part_count)),
            "{size}"
        );
        assert_eq!(urls.len() as i64, part_count.min(1), "{size}");
    }
    let create = async |body| api.post("/v1/uploads", body).await;
    let refused = create(json!({ "filename": "x", "size": largest + 1 })).await.problem(413, "file-too-large");
    assert_eq!(refused["maxSize"].as_i64(), Some(largest));
    create(json!({ "filename": "x", "size": i64::MAX })).await.problem(413, "file-too-large");
    create(json!({ "filename": "x", "size": -1 })).await.problem(422, "invalid-size");
    for part_size in [0, -1, 5 * MIB - 1, 5 * MIB + 1, 5_120 * MIB + MIB] {
        create(json!({ "filename": "x", "size": 1, "partSize": part_size })).await.problem(422, "invalid-part-size");
    }
    let most = 10_000 * 5 * MIB;
    create(json!({ "filename": "x", "size": most + 1, "partSize": 5 * MIB })).await.problem(422, "invalid-part-size");
    assert_eq!(api.create(json!({ "filename": "x", "size": most, "partSize": 5 * MIB })).await.1["partCount"], 10_000);
    assert_eq!(
        api.get("/v1/uploads?limit=1000").await.ok(200)["items"].as_array().map(Vec::len),
        Some(10),
        "a refusal leaves nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_object_is_the_stores() {
    let service = Service::with(|settings| settings.s3.capabilities.max_object_size = Some(100 * MIB)).await;
    let api = &service.api;
    api.create(json!({ "filename": "x", "size": 100 * MIB })).await;
    let refused =
        api.post("/v1/uploads", json!({ "filename": "x", "size": 100 * MIB + 1 })).await.problem(413, "file-too-large");
    assert_eq!(refused["maxSize"].as_i64(), Some(100 * MIB));
    // A stream reserves whole parts, and its first URLs none that the store could not hold.
    let stream = |count: i32| json!({ "filename": "x", "partSize": 30 * MIB, "partUrls": { "count": count } });
    api.post("/v1/uploads", stream(4)).await.problem(413, "file-too-large");
    let exact = json!({ "filename": "x", "partSize": 25 * MIB, "partUrls": { "count": 4 } });
    assert_eq!((api.create(exact).await.2.len(), api.create(stream(3)).await.2.len()), (4, 3));
    // Of a file of known size no more are signed than it has parts, and where each needs its checksum none are.
    let urls = json!({ "count": 1_000 });
    api.create(json!({ "filename": "x", "size": 5, "partUrls": urls })).await;
    api.create(json!({ "filename": "x", "partChecksum": "SHA256", "partUrls": urls })).await;
    assert_eq!(
        api.get("/v1/uploads").await.ok(200)["items"].as_array().map(Vec::len),
        Some(5),
        "a refusal leaves nothing"
    );
    let (id, ..) = api.create(json!({ "filename": "x", "partSize": 30 * MIB })).await;
    let sign = async |parts: &str| api.post(&format!("/v1/uploads/{id}/part-urls"), json!({ "parts": parts })).await;
    assert_eq!(sign("1-3").await.ok(200)["partUrls"].as_array().map(Vec::len), Some(3));
    sign("4").await.problem(413, "file-too-large");
}
