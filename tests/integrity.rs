//! Checksums: of parts, signed and enforced by S3; of the whole file, compared at completion.

use serde_json::{Value, json};

use crate::support::{MIB, Service, crc64nvme, file, on_both_databases, part_checksum};

on_both_databases! {
    a_file_with_the_right_checksum_is_verified
    a_file_with_a_wrong_checksum_is_never_completed
    parts_with_checksums_are_enforced_by_s3
}

async fn a_file_with_the_right_checksum_is_verified(service: Service) {
    let api = &service.api;
    let bytes = file(17 * MIB + 3);
    let checksum = json!({ "algorithm": "CRC64NVME", "value": crc64nvme(&bytes) });
    for (at_creation, at_completion) in [(true, false), (false, true), (true, true)] {
        let mut create = json!({ "filename": "x", "size": bytes.len() });
        if at_creation {
            create["checksum"] = checksum.clone();
        }
        let (id, _, urls) = api.create(create).await;
        api.put_parts(&urls, &bytes).await;
        let body = at_completion.then(|| json!({ "size": bytes.len(), "checksum": checksum }));
        let completed = api.complete(&id, body).await.ok(200);
        let expected = json!({ "algorithm": "CRC64NVME", "value": crc64nvme(&bytes), "verified": true });
        assert_eq!(completed["object"]["checksum"], expected);
        assert_eq!(api.get(&format!("/v1/files/{id}")).await.ok(200)["checksum"], expected);
    }
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    api.put_parts(&urls, &bytes).await;
    let completed = api.complete(&id, None).await.ok(200);
    assert_eq!(
        completed["object"]["checksum"],
        json!({ "algorithm": "CRC64NVME", "value": crc64nvme(&bytes) }),
        "nothing was compared"
    );
    let (id, ..) = api
        .create(
            json!({ "filename": "x", "size": 0, "checksum": { "algorithm": "CRC64NVME", "value": crc64nvme(b"") } }),
        )
        .await;
    assert_eq!(api.complete(&id, None).await.ok(200)["object"]["checksum"]["verified"], true);
}

async fn a_file_with_a_wrong_checksum_is_never_completed(service: Service) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let wrong = json!({ "algorithm": "CRC64NVME", "value": crc64nvme(b"other bytes") });
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len(), "checksum": wrong })).await;
    api.put_parts(&urls, &bytes).await;
    let other = json!({ "checksum": { "algorithm": "CRC64NVME", "value": crc64nvme(&bytes) } });
    api.complete(&id, Some(other)).await.problem(422, "invalid-checksum");
    api.complete(&id, None).await.problem(422, "checksum-mismatch");
    api.complete(&id, None).await.problem(410, "upload-failed");
    api.get(&format!("/v1/files/{id}")).await.problem(404, "file-not-found");
    assert_eq!(api.put_part(&urls[0], &bytes).await.0, 404, "S3 holds nothing of it");
    service.advance(std::time::Duration::from_secs(2 * 3600));
    api.delete(&format!("/v1/uploads/{id}")).await.ok(204);
    let shown = api.get(&format!("/v1/uploads/{id}")).await.ok(200);
    assert_eq!((shown["state"].as_str(), shown["failure"].as_str()), (Some("failed"), Some("checksum-mismatch")));
}

async fn parts_with_checksums_are_enforced_by_s3(service: Service) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let halves = [&bytes[..8 * MIB as usize], &bytes[8 * MIB as usize..]];
    for algorithm in ["CRC64NVME", "CRC32C", "SHA256"] {
        let (id, upload, urls) =
            api.create(json!({ "filename": "x", "size": bytes.len(), "partChecksum": algorithm })).await;
        assert_eq!(
            (upload["partChecksum"].as_str(), urls.len()),
            (Some(algorithm), 0),
            "each part's URL needs its checksum"
        );
        let path = format!("/v1/uploads/{id}");
        let sign = async |body: Value| api.post(&format!("{path}/part-urls"), body).await;
        sign(json!({ "parts": "1" })).await.problem(422, "checksum-required");
        sign(json!({ "items": [{ "partNumber": 1 }] })).await.problem(422, "checksum-required");
        sign(json!({ "items": [{ "partNumber": 1, "checksum": "AAAA" }] })).await.problem(422, "invalid-checksum");
        let items: Vec<Value> = halves
            .iter()
            .enumerate()
            .map(|(index, half)| json!({ "partNumber": index + 1, "checksum": part_checksum(algorithm, half) }))
            .collect();
        let signed = sign(json!({ "items": items })).await.ok(200);
        let signed = signed["partUrls"].as_array().expect("part URLs");
        let header = format!("x-amz-checksum-{}", algorithm.to_lowercase());
        assert_eq!(signed[0]["headers"], json!({ header.clone(): items[0]["checksum"] }));

        let mut flipped = halves[0].to_vec();
        flipped[77] ^= 1;
        assert_eq!(api.put_bytes(&signed[0], flipped).await.0, 400, "other bytes");
        let mut bare = signed[0].clone();
        bare["headers"] = json!({});
        assert!(api.put_part(&bare, &bytes).await.0.is_client_error(), "no checksum");
        bare["headers"] = json!({ header: part_checksum(algorithm, b"forged") });
        assert!(api.put_part(&bare, &bytes).await.0.is_client_error(), "another checksum");
        let missing = api.call("POST", &format!("{path}/sync"), None).await.ok(200)["missingParts"].clone();
        assert_eq!(missing, "1-2", "none of these was stored");

        let mut reports = api.put_parts(signed, &bytes).await;
        reports[0]["checksum"] = items[0]["checksum"].clone();
        // The second part's checksum is not reported: S3 knows it.
        api.put(&format!("{path}/parts"), json!({ "parts": reports })).await.ok(200);
        let file_checksum = json!({ "algorithm": "CRC64NVME", "value": crc64nvme(&bytes) });
        let completed = api.complete(&id, Some(json!({ "checksum": file_checksum }))).await.ok(200);
        let stored = &completed["object"]["checksum"];
        assert_eq!(stored["algorithm"], algorithm);
        assert_eq!(stored["verified"] == true, algorithm == "CRC64NVME", "{stored}");
        assert_eq!(
            stored["value"].as_str().is_some_and(|value| value.ends_with("-2")),
            algorithm == "SHA256",
            "{stored}"
        );
        assert!(api.download(&id).await.1 == bytes);
    }
}
