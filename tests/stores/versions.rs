//! Buckets that keep versions: the version that completed is the one that is served, and the one that is deleted.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use serde_json::json;
use uuid::Uuid;

use super::service::OnStore;
use super::store::Store;
use crate::support::{MIB, file};

/// Stores of `./test` that keep versions; the embedded S3 does not.
macro_rules! on_stores_with_versions {
    ($($name:ident)+) => {
        mod seaweedfs {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::versioned(super::Store::seaweedfs()).await).await; })+
        }
        mod ministack {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::versioned(super::Store::ministack()).await).await; })+
        }
    };
}

on_stores_with_versions! { the_version_that_completed_is_served_and_deleted }

async fn versioned(mut store: Store) -> OnStore {
    store.bucket = format!("versions-{}", Uuid::now_v7());
    let s3 = store.client();
    s3.create_bucket().bucket(&store.bucket).send().await.expect("a bucket");
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = s3.put_bucket_versioning().bucket(&store.bucket).versioning_configuration(enabled);
    put.send().await.expect("versions");
    OnStore::on_sqlite(store).await
}

async fn the_version_that_completed_is_served_and_deleted(service: OnStore) {
    let api = &service.api;
    let bytes = file(6 * MIB);
    let (begun, sent) = service.send(&bytes).await;
    let object = api.complete(&begun.id, Some(json!({ "parts": sent }))).await.ok(200)["object"].clone();
    let version = object["versionId"].as_str().expect("a version").to_owned();

    // Another version on top, by somebody who has the bucket's keys.
    service.put_foreign(&begun, b"other bytes").await;
    service.assert_completed(&begun, &bytes).await;
    let link = api.get(&format!("/v1/files/{}/download-url", begun.id)).await.ok(200);
    assert!(link["url"].as_str().is_some_and(|url| url.contains("versionId=")), "{link}");
    let path = format!("/v1/files/{}/content", begun.id);
    let streamed = api.http.get(format!("{}{path}", api.base)).header("range", "bytes=0-9").send().await;
    let streamed = streamed.expect("an answer");
    assert_eq!(
        (streamed.status().as_u16(), streamed.bytes().await.expect("bytes").to_vec()),
        (206, bytes[..10].to_vec())
    );

    // A file is deleted with its own version, and the other's stays.
    api.delete(&format!("/v1/files/{}", begun.id)).await.ok(204);
    assert_eq!(api.get(&begun.path).await.ok(200)["state"], "deleted");
    let gone = service.s3.get_object().bucket(&service.store.bucket).key(&begun.key).version_id(&version);
    assert!(gone.send().await.is_err(), "the version that completed is gone");
    assert_eq!(service.object(&begun).await.map(|(bytes, _)| bytes), Some(b"other bytes".to_vec()));
}
