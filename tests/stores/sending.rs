//! From create to download, whatever the file is like, and what the store refuses on the way.

use std::time::Duration;

use partita::config::FullObjectChecksum;
use serde_json::{Value, json};

use super::on_every_store;
use super::service::{OnStore, file_checksum};
use crate::support::{MIB, file, part_checksum};

on_every_store! {
    an_upload_goes_from_create_to_download
    a_file_checksum_is_compared_where_the_store_has_one
    part_checksums_are_enforced_by_the_store
    a_stream_is_completed_with_its_size
    an_empty_file_is_an_object
    a_client_that_lost_everything_but_the_id_resumes
    a_part_that_was_sent_again_counts_as_it_was_recorded
    the_store_refuses_whatever_was_not_signed
    a_part_url_copies_nothing_from_elsewhere_but_on_ministack
}

async fn an_upload_goes_from_create_to_download(service: OnStore) {
    let api = &service.api;
    let bytes = file(20 * MIB + 5);
    let body = json!({
        "filename": "Süd.mov", "size": bytes.len(), "contentType": "video/quicktime", "metadata": { "album": "Süd" },
    });
    let begun = service.begin(body).await;
    let sent = api.put_parts(&begun.urls, &bytes).await;
    api.put(&format!("{}/parts", begun.path), json!({ "parts": sent[..2] })).await.ok(200);
    assert!(service.object(&begun).await.is_none(), "nothing stands at the key before the completion");
    let completed = api.complete(&begun.id, Some(json!({ "parts": sent[2..] }))).await.ok(200);
    assert_eq!(completed["object"]["size"].as_u64(), Some(bytes.len() as u64));
    assert!(completed["object"]["etag"].as_str().is_some_and(|etag| etag.ends_with("-3\"")), "{completed}");
    let (headers, downloaded) = api.download(&begun.id).await;
    assert!(downloaded == bytes, "the bytes that were sent are the bytes that come back");
    assert_eq!(headers["content-type"], "video/quicktime");
    assert!(headers["content-disposition"].contains("filename*=UTF-8''S%C3%BCd.mov"));
    assert_eq!(headers["x-amz-meta-partita-upload-id"], begun.id);
    assert_eq!(headers["x-amz-meta-album"], "S%C3%BCd");
    assert_eq!(service.listed(&begun).await, None, "S3 holds the object, and no upload beside it");
}

async fn a_file_checksum_is_compared_where_the_store_has_one(service: OnStore) {
    let api = &service.api;
    let compares = service.capabilities.full_object_checksum != FullObjectChecksum::None;
    let bytes = file(9 * MIB + 1);
    let right = file_checksum(&bytes);
    let mut verified = right.clone();
    verified["verified"] = json!(true);
    let expected = compares.then_some(&verified);
    for at_creation in [true, false] {
        let mut create = json!({ "filename": "x", "size": bytes.len() });
        if at_creation {
            create["checksum"] = right.clone();
        }
        let begun = service.begin(create).await;
        api.put_parts(&begun.urls, &bytes).await;
        let body = (!at_creation).then(|| json!({ "checksum": right }));
        let completed = api.complete(&begun.id, body).await.ok(200);
        assert_eq!(completed["object"].get("checksum"), expected, "compared, or nothing is said");
    }
    let (id, ..) = api.create(json!({ "filename": "x", "size": 0, "checksum": file_checksum(b"") })).await;
    let completed = api.complete(&id, None).await.ok(200);
    assert_eq!(completed["object"].get("checksum").is_some_and(|checksum| checksum["verified"] == true), compares);

    let begun = service.begin(json!({ "filename": "x", "size": bytes.len(), "checksum": file_checksum(b"x") })).await;
    api.put_parts(&begun.urls, &bytes).await;
    let reply = api.complete(&begun.id, None).await;
    if !compares {
        assert_eq!(reply.ok(200)["object"].get("checksum"), None);
        return;
    }
    reply.problem(422, "checksum-mismatch");
    api.get(&format!("/v1/files/{}", begun.id)).await.problem(404, "file-not-found");
    service.assert_gone(&begun).await;
    assert_eq!(service.sweep_until(&begun, "failed").await["failure"], "checksum-mismatch");
}

async fn part_checksums_are_enforced_by_the_store(service: OnStore) {
    let api = &service.api;
    let bytes = file(5 * MIB + 9);
    let (first, second) = bytes.split_at(5 * MIB as usize);
    for algorithm in ["CRC64NVME", "CRC32C", "SHA256"] {
        // Compared as well where it can be: a full-object checksum of the same algorithm.
        let body = json!({
            "filename": "x", "size": bytes.len(), "partSize": 5 * MIB, "partChecksum": algorithm,
            "checksum": file_checksum(&bytes),
        });
        let begun = service.begin(body).await;
        let values = [part_checksum(algorithm, first), part_checksum(algorithm, second)];
        let items = json!({ "items": [
            { "partNumber": 1, "checksum": values[0] }, { "partNumber": 2, "checksum": values[1] },
        ] });
        let signed = api.post(&format!("{}/part-urls", begun.path), items).await.ok(200);
        let urls = signed["partUrls"].as_array().expect("part URLs");

        let header = format!("x-amz-checksum-{}", algorithm.to_lowercase());
        let mut flipped = first.to_vec();
        flipped[77] ^= 1;
        let mut forged = urls[0].clone();
        forged["headers"] = json!({ header: part_checksum(algorithm, &flipped) });
        let mut bare = urls[0].clone();
        bare["headers"] = json!({});
        for (what, url, body) in [
            ("other bytes", &urls[0], flipped.as_slice()),
            ("other bytes with their checksum", &forged, &flipped),
            ("no checksum", &bare, first),
        ] {
            let status = service.try_part(url, body).await;
            assert!(status.is_none_or(|status| (400..500).contains(&status)), "{algorithm}, {what}: {status:?}");
        }
        assert_eq!(service.listed(&begun).await, Some(0), "{algorithm}: a refused part was stored");

        let mut sent = api.put_parts(urls, &bytes).await;
        for (report, value) in sent.iter_mut().zip(&values) {
            report["checksum"] = json!(value);
        }
        // Without the clients' word it completes where the store tells the checksums back; else it asks for them.
        let mut reply = api.complete(&begun.id, None).await;
        if reply.status == 422 {
            reply.problem(422, "checksum-required");
            reply = api.complete(&begun.id, Some(json!({ "parts": sent }))).await;
        }
        let completed = reply.ok(200);
        let verified = completed["object"]["checksum"]["verified"] == true;
        let compares = service.capabilities.full_object_checksum != FullObjectChecksum::None;
        assert_eq!(verified, compares && algorithm == "CRC64NVME", "{algorithm}: {completed}");
        service.assert_completed(&begun, &bytes).await;
    }
}

async fn a_stream_is_completed_with_its_size(service: OnStore) {
    let api = &service.api;
    let bytes = file(12 * MIB + 7);
    let begun = service.begin(json!({ "filename": "stream", "partSize": 5 * MIB })).await;
    let items =
        json!({ "items": [{ "partNumber": 1 }, { "partNumber": 2 }, { "partNumber": 3, "size": 2 * MIB + 7 }] });
    let signed = api.post(&format!("{}/part-urls", begun.path), items).await.ok(200);
    api.put_parts(signed["partUrls"].as_array().expect("part URLs"), &bytes).await;
    let complete = async |body| api.post(&format!("{}/complete", begun.path), body).await;
    complete(json!({})).await.problem(422, "invalid-size");
    complete(json!({ "size": bytes.len() - 1 })).await.problem(422, "size-mismatch");
    complete(json!({ "size": 10 * MIB })).await.problem(422, "size-mismatch");
    assert_eq!(complete(json!({ "size": 16 * MIB })).await.problem(409, "parts-missing")["missingParts"], "4");
    api.complete(&begun.id, Some(json!({ "size": bytes.len() }))).await.ok(200);
    service.assert_completed(&begun, &bytes).await;

    let begun = service.begin(json!({ "filename": "nothing" })).await;
    api.complete(&begun.id, Some(json!({ "size": 0 }))).await.ok(200);
    service.assert_completed(&begun, b"").await;
    assert_eq!(service.listed(&begun).await, None, "the multipart upload that nobody needs is gone");
}

async fn an_empty_file_is_an_object(service: OnStore) {
    let api = &service.api;
    let body = json!({ "filename": "empty.txt", "size": 0, "contentType": "text/plain" });
    let begun = service.begin(body).await;
    assert!(service.open_under(&begun.key).await.is_empty(), "no multipart upload is begun for it");
    let completed = api.complete(&begun.id, None).await.ok(200);
    assert_eq!(api.complete(&begun.id, None).await.ok(200)["object"], completed["object"]);
    let (headers, bytes) = api.download(&begun.id).await;
    assert_eq!((bytes.len(), headers["content-type"].as_str()), (0, "text/plain"));
    assert_eq!(headers["x-amz-meta-partita-upload-id"], begun.id);
}

async fn a_client_that_lost_everything_but_the_id_resumes(mut service: OnStore) {
    let bytes = file(29 * MIB);
    let begun = service.begin(json!({ "filename": "x", "size": bytes.len() })).await;
    service.api.put_parts(&begun.urls[1..3], &bytes).await;
    // Sent again because its answer was lost: the same bytes are no doubt.
    service.api.put_part(&begun.urls[2], &bytes).await;
    service.restart().await;
    let api = &service.api;
    let synced = api.call("POST", &format!("{}/sync", begun.path), None).await.ok(200);
    assert_eq!((synced["missingParts"].as_str(), synced["recordedParts"].as_i64()), (Some("1,4"), Some(2)));
    let missing = json!({ "parts": synced["missingParts"] });
    let signed = api.post(&format!("{}/part-urls", begun.path), missing).await.ok(200);
    api.put_parts(signed["partUrls"].as_array().expect("part URLs"), &bytes).await;
    api.complete(&begun.id, None).await.ok(200);
    service.assert_completed(&begun, &bytes).await;
}

async fn a_part_that_was_sent_again_counts_as_it_was_recorded(service: OnStore) {
    let api = &service.api;
    let (old, new) = (file(9 * MIB), file(18 * MIB)[9 * MIB as usize..].to_vec());
    let begun = service.begin(json!({ "filename": "x", "size": 9 * MIB })).await;
    let sync = async || api.call("POST", &format!("{}/sync", begun.path), None).await.ok(200);
    api.put_parts(&begun.urls, &old).await;
    let sent = api.put_parts(&begun.urls, &new).await;
    // Where the store lists what was sent before as well, an unrecorded part is not taken on trust.
    sync().await;
    let doubtful = service.listed(&begun).await.is_some_and(|parts| parts > 2);
    let recorded = api.get(&format!("{}/parts", begun.path)).await.ok(200);
    let recorded = recorded["items"].as_array().expect("items");
    assert_eq!(recorded.len(), if doubtful { 0 } else { 2 });
    for (part, sent) in recorded.iter().zip(&sent) {
        assert_eq!(part["etag"], sent["etag"], "what was sent last");
    }
    api.put(&format!("{}/parts", begun.path), json!({ "parts": sent })).await.ok(200);
    assert_eq!(sync().await["missingParts"], "", "a recorded ETag that S3 lists stays");
    api.complete(&begun.id, None).await.ok(200);
    service.assert_completed(&begun, &new).await;
}

async fn the_store_refuses_whatever_was_not_signed(service: OnStore) {
    let api = &service.api;
    let bytes = file(5 * MIB);
    let begun = service.begin(json!({ "filename": "x", "size": bytes.len() })).await;
    let url = begun.urls[0]["url"].as_str().expect("a URL").to_owned();
    let refused = async |what: &str, url: &str, bytes: &[u8]| {
        let status = service.try_part(&json!({ "url": url, "headers": {} }), bytes).await;
        assert!(status.is_none_or(|status| (400..500).contains(&status)), "{what}: {status:?}");
        assert_eq!(service.listed(&begun).await, Some(0), "{what} was stored");
    };
    let changed = |from: &str, to: &str| {
        assert!(url.contains(from), "{url}");
        url.replace(from, to)
    };
    refused("a longer body", &url, &file(5 * MIB + 1)).await;
    refused("a shorter body", &url, &bytes[1..]).await;
    refused("another part number", &changed("partNumber=1&", "partNumber=2&"), &bytes).await;
    refused("another key", &changed("/x?", "/y?"), &bytes).await;
    refused("a longer life", &changed("X-Amz-Expires=900", "X-Amz-Expires=9000"), &bytes).await;
    let by_another_method = api.http.delete(&url).send().await.expect("an answer").status();
    assert!(by_another_method.is_client_error(), "{by_another_method}");

    let briefly = json!({ "parts": "1", "ttlSeconds": 1 });
    let signed = api.post(&format!("{}/part-urls", begun.path), briefly).await.ok(200);
    let brief = &signed["partUrls"][0];
    let left = brief["expiresInSeconds"].as_u64().expect("seconds");
    // Stores count whole seconds.
    tokio::time::sleep(Duration::from_secs(left + 1)).await;
    refused("a URL past its time", brief["url"].as_str().expect("a URL"), &bytes).await;
    assert_eq!(api.put_part(&begun.urls[0], &bytes).await.0, 200, "as it was signed");
}

/// With a source to copy from, a part URL would have anybody's bytes by the service's own rights (UploadPartCopy).
async fn a_part_url_copies_nothing_from_elsewhere_but_on_ministack(service: OnStore) {
    let api = &service.api;
    let secret = file(5 * MIB);
    let (theirs, _) = service.send(&secret).await;
    api.complete(&theirs.id, None).await.ok(200);
    let mut copied = false;
    for body in [Vec::new(), vec![0; secret.len()]] {
        let ours = service.begin(json!({ "filename": "x", "size": secret.len() })).await;
        let mut copying = ours.urls[0].clone();
        copying["headers"]["x-amz-copy-source"] = json!(format!("/{}/{}", service.store.bucket, theirs.key));
        // A store may hang up on what it will not have.
        let _ = service.try_part(&copying, &body).await;
        copied |= api.complete(&ours.id, None).await.status == 200 && api.download(&ours.id).await.1 == secret;
    }
    // It takes headers that nobody signed, of which the doctor warns.
    assert_eq!(copied, service.store.name.starts_with("ministack"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_unknown_kind_is_taken_at_its_least() {
    let service = OnStore::of_unknown_kind().await;
    let api = &service.api;
    let bytes = file(9 * MIB);
    let body: Value = json!({ "filename": "x", "size": bytes.len(), "checksum": file_checksum(b"other") });
    let (id, _, urls) = api.create(body).await;
    api.put_parts(&urls, &bytes).await;
    let completed = api.complete(&id, None).await.ok(200);
    assert_eq!(completed["object"].get("checksum"), None, "nothing is compared, and nothing is said to be");
}
