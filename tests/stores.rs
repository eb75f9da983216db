//! The lifecycle on a store that is not ours: SeaweedFS, with PostgreSQL, through the real binary. What S3 guarantees is
//! asserted, not one server's wording.

use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Running, start};
use crate::support::{MIB, crc64nvme, file, needed, new_database, part_checksum};

struct OnSeaweedfs {
    running: Running,
    _folder: tempfile::TempDir,
}

async fn on_seaweedfs(store: &str) -> OnSeaweedfs {
    let folder = tempfile::tempdir().expect("a folder");
    let url = new_database().await;
    let variable = |name: &str| needed(&format!("PARTITA_TEST_SEAWEEDFS{name}"));
    let (endpoint, access, secret, bucket) =
        (variable(""), variable("_ACCESS_KEY"), variable("_SECRET_KEY"), variable("_BUCKET"));
    let prefix = format!("{}/", url.rsplit('/').next().expect("a name"));
    let environment = [
        ("PARTITA_LISTEN", "127.0.0.1:0"),
        ("PARTITA_DATABASE_URL", url.as_str()),
        ("PARTITA_S3_BUCKET", &bucket),
        ("PARTITA_S3_ENDPOINT", &endpoint),
        ("PARTITA_S3_REGION", "us-east-1"),
        ("PARTITA_S3_PATH_STYLE", "true"),
        ("PARTITA_S3_PREFIX", &prefix),
        ("PARTITA_S3_STORE", store),
        ("AWS_ACCESS_KEY_ID", &access),
        ("AWS_SECRET_ACCESS_KEY", &secret),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let migrated =
        tokio::process::Command::new(env!("CARGO_BIN_EXE_partita")).arg("migrate").envs(environment).output().await;
    assert!(migrated.expect("run").status.success());
    OnSeaweedfs { running: start(folder.path(), &environment).await, _folder: folder }
}

fn file_checksum(bytes: &[u8]) -> Value {
    json!({ "algorithm": "CRC64NVME", "value": crc64nvme(bytes) })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_from_create_to_download_on_seaweedfs() {
    let service = on_seaweedfs("seaweedfs").await;
    let api = &service.running.api;
    let bytes = file(20 * MIB + 5);
    let body = json!({
        "filename": "Süd.mov", "size": bytes.len(), "contentType": "video/quicktime", "metadata": { "album": "Süd" },
        "checksum": file_checksum(&bytes),
    });
    let (id, _, urls) = api.create(body).await;
    api.put_parts(&urls, &bytes).await;
    let completed = api.complete(&id, None).await.ok(200);
    assert_eq!(completed["object"]["checksum"]["verified"], true, "{completed}");
    assert_eq!(api.complete(&id, None).await.ok(200)["object"], completed["object"]);
    let (headers, downloaded) = api.download(&id).await;
    assert!(downloaded == bytes);
    assert_eq!(headers["content-type"], "video/quicktime");
    assert!(headers["content-disposition"].contains("filename*=UTF-8''S%C3%BCd.mov"));

    let wrong = json!({ "filename": "x", "size": bytes.len(), "checksum": file_checksum(b"other") });
    let (id, _, urls) = api.create(wrong).await;
    api.put_parts(&urls, &bytes).await;
    api.complete(&id, None).await.problem(422, "checksum-mismatch");
    api.get(&format!("/v1/files/{id}")).await.problem(404, "file-not-found");

    let (id, ..) = api.create(json!({ "filename": "empty", "size": 0 })).await;
    api.complete(&id, None).await.ok(200);
    assert!(api.download(&id).await.1.is_empty());

    let (id, ..) = api.create(json!({ "filename": "stream", "partSize": 5 * MIB })).await;
    let path = format!("/v1/uploads/{id}");
    let items = json!({ "items": [{ "partNumber": 1 }, { "partNumber": 2, "size": 7 }] });
    let signed = api.post(&format!("{path}/part-urls"), items).await.ok(200);
    api.put_parts(signed["partUrls"].as_array().expect("part URLs"), &bytes[..5 * MIB as usize + 7]).await;
    api.complete(&id, Some(json!({ "size": 5 * MIB + 7 }))).await.ok(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_was_sent_again_is_listed_several_times_and_the_recorded_one_counts() {
    let service = on_seaweedfs("seaweedfs").await;
    let api = &service.running.api;
    let (old, new) = (file(9 * MIB), file(18 * MIB)[9 * MIB as usize..].to_vec());
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": 9 * MIB })).await;
    let path = format!("/v1/uploads/{id}");
    let sync = async || api.call("POST", &format!("{path}/sync"), None).await.ok(200);
    api.put_parts(&urls, &old).await;
    let sent = api.put_parts(&urls, &new).await;
    // Whatever the store lists now, an unrecorded part with several ETags is not taken on trust.
    let missing = sync().await["missingParts"].clone();
    assert!(missing == "" || missing == "1-2" || missing == "1" || missing == "2", "{missing}");
    api.put(&format!("{path}/parts"), json!({ "parts": sent })).await.ok(200);
    let synced = sync().await;
    assert_eq!(synced["missingParts"], "", "a recorded ETag that S3 lists stays");
    api.complete(&id, None).await.ok(200);
    assert!(api.download(&id).await.1 == new, "the parts that were recorded are the parts of the object");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_completion_leaves_the_upload_open_on_seaweedfs() {
    let service = on_seaweedfs("seaweedfs").await;
    let api = &service.running.api;
    let bytes = file(17 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    let mut reports = api.put_parts(&urls[..2], &bytes).await;
    let refused = api.complete(&id, None).await.problem(409, "parts-missing");
    assert_eq!(refused["missingParts"], "3");
    reports.extend(api.put_parts(&urls[2..], &bytes).await);
    let right = reports[1]["etag"].clone();
    reports[1]["etag"] = json!("\"00000000000000000000000000000000\"");
    let refused = api.complete(&id, Some(json!({ "parts": reports }))).await.problem(409, "parts-differ");
    assert_eq!(refused["parts"], "2");
    reports[1]["etag"] = right;
    api.complete(&id, Some(json!({ "parts": reports }))).await.ok(200);
    assert!(api.download(&id).await.1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn seaweedfs_refuses_whatever_was_not_signed() {
    let service = on_seaweedfs("seaweedfs").await;
    let api = &service.running.api;
    let bytes = file(5 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    let refused = async |what: &str, change: &dyn Fn(&str) -> String, bytes: &[u8]| {
        let mut part = urls[0].clone();
        part["url"] = json!(change(part["url"].as_str().expect("a URL")));
        let mut request = api.http.put(part["url"].as_str().expect("a URL"));
        request = request.body(bytes.to_vec());
        // A store may hang up on a body that it will not have; that is a refusal too.
        let status = request.send().await.map(|response| response.status());
        assert!(status.as_ref().map_or(true, reqwest::StatusCode::is_client_error), "{what}: {status:?}");
        let shown = api.call("POST", &format!("/v1/uploads/{id}/sync"), None).await.ok(200);
        assert_eq!(shown["recordedParts"].as_i64(), Some(0), "{what} was stored");
    };
    refused("a longer body", &str::to_owned, &file(5 * MIB + 1)).await;
    refused("a shorter body", &str::to_owned, &bytes[1..]).await;
    refused("another part number", &|url| url.replace("partNumber=1&", "partNumber=2&"), &bytes).await;
    refused("another key", &|url| url.replace("/x?", "/y?"), &bytes).await;
    refused("a longer life", &|url| url.replace("X-Amz-Expires=900", "X-Amz-Expires=9000"), &bytes).await;
    let signed =
        api.post(&format!("/v1/uploads/{id}/part-urls"), json!({ "parts": "1", "ttlSeconds": 1 })).await.ok(200);
    let expired = signed["partUrls"][0]["url"].as_str().expect("a URL").to_owned();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    refused("an expired URL", &|_| expired.clone(), &bytes).await;

    for algorithm in ["CRC64NVME", "CRC32C", "SHA256"] {
        let (id, ..) = api.create(json!({ "filename": "x", "size": 5, "partChecksum": algorithm })).await;
        let value = part_checksum(algorithm, b"hello");
        let items = json!({ "items": [{ "partNumber": 1, "checksum": value }] });
        let signed = api.post(&format!("/v1/uploads/{id}/part-urls"), items).await.ok(200);
        assert!(
            api.put_bytes(&signed["partUrls"][0], b"jello".to_vec()).await.0.is_client_error(),
            "{algorithm}: other bytes"
        );
        let (status, etag) = api.put_bytes(&signed["partUrls"][0], b"hello".to_vec()).await;
        assert_eq!(status, 200, "{algorithm}");
        let report = json!({ "parts": [{ "partNumber": 1, "etag": etag, "checksum": value }] });
        api.complete(&id, Some(report)).await.ok(200);
        assert_eq!(api.download(&id).await.1, b"hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_upload_is_gone_from_seaweedfs() {
    let service = on_seaweedfs("seaweedfs").await;
    let api = &service.running.api;
    let bytes = file(9 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    api.put_parts(&urls[..1], &bytes).await;
    api.delete(&format!("/v1/uploads/{id}")).await.ok(204);
    assert_eq!(api.put_part(&urls[1], &bytes).await.0, 404);
    api.call("POST", &format!("/v1/uploads/{id}/complete"), None).await.problem(410, "upload-aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_unknown_kind_is_taken_at_its_least() {
    let service = on_seaweedfs("other").await;
    let api = &service.running.api;
    let bytes = file(9 * MIB);
    let (id, _, urls) =
        api.create(json!({ "filename": "x", "size": bytes.len(), "checksum": file_checksum(b"other") })).await;
    api.put_parts(&urls, &bytes).await;
    let completed = api.complete(&id, None).await.ok(200);
    assert!(
        completed["object"].get("checksum").is_none(),
        "nothing is compared, and nothing is said to be: {completed}"
    );
}
