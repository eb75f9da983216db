//! What the bucket really holds, past every script; and what others do in it.

use std::net::SocketAddr;
use std::sync::Mutex;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};

use super::{ACCESS_KEY, BUCKET, SECRET_KEY, ScriptedS3};

/// An object as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredObject {
    /// The upload that made it, by its metadata.
    pub(crate) upload_id: Option<String>,
    pub(crate) size: i64,
    pub(crate) etag: String,
}

pub(super) struct Truth {
    client: Client,
    /// Open uploads that are others'; key and id.
    foreign_uploads: Mutex<Vec<(String, String)>>,
    /// Objects that are others'.
    foreign_objects: Mutex<Vec<(String, StoredObject)>>,
}

impl Truth {
    pub(super) fn new(address: SocketAddr) -> Truth {
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{address}"))
            .force_path_style(true)
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "tests"))
            .build();
        Truth {
            client: Client::from_conf(config),
            foreign_uploads: Mutex::default(),
            foreign_objects: Mutex::default(),
        }
    }
}

impl ScriptedS3 {
    /// Every open multipart upload: its key and id.
    pub(crate) async fn open_uploads(&self) -> Vec<(String, String)> {
        let listed = self.truth.client.list_multipart_uploads().bucket(BUCKET).send().await.expect("a list");
        assert_ne!(listed.is_truncated(), Some(true), "more than one page");
        let text = |text: Option<&str>| text.expect("told").to_owned();
        listed.uploads().iter().map(|upload| (text(upload.key()), text(upload.upload_id()))).collect()
    }

    /// Open uploads but those that are others'.
    pub(crate) async fn leaked(&self) -> Vec<(String, String)> {
        let foreign = self.truth.foreign_uploads.lock().expect("no panic").clone();
        self.open_uploads().await.into_iter().filter(|open| !foreign.contains(open)).collect()
    }

    /// What stands at this key.
    pub(crate) async fn object(&self, key: &str) -> Option<StoredObject> {
        let found = match self.truth.client.head_object().bucket(BUCKET).key(key).send().await {
            Ok(found) => found,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => return None,
            Err(error) => panic!("{error:?}"),
        };
        Some(StoredObject {
            upload_id: found.metadata().and_then(|metadata| metadata.get("partita-upload-id")).cloned(),
            size: found.content_length().expect("a size"),
            etag: found.e_tag().expect("an ETag").to_owned(),
        })
    }

    /// Another program puts an object at this key.
    pub(crate) async fn put_foreign_object(&self, key: &str) {
        let body = b"another's bytes".to_vec().into();
        self.truth.client.put_object().bucket(BUCKET).key(key).body(body).send().await.expect("put");
        let stored = self.object(key).await.expect("an object");
        self.truth.foreign_objects.lock().expect("no panic").push((key.to_owned(), stored));
    }

    /// Another program begins an upload at this key.
    pub(crate) async fn begin_foreign_upload(&self, key: &str) {
        let begun = self.truth.client.create_multipart_upload().bucket(BUCKET).key(key).send().await.expect("begun");
        let id = begun.upload_id().expect("an id").to_owned();
        self.truth.foreign_uploads.lock().expect("no panic").push((key.to_owned(), id));
    }

    /// Completes the one open upload of this key with the parts that S3 holds, behind everybody's back.
    pub(crate) async fn complete_behind(&self, key: &str) {
        let id = self.id_of(key).await;
        let client = &self.truth.client;
        let listed = client.list_parts().bucket(BUCKET).key(key).upload_id(&id).send().await.expect("a list");
        let part = |part: &aws_sdk_s3::types::Part| {
            let part = CompletedPart::builder().set_part_number(part.part_number()).set_e_tag(part.e_tag.clone());
            part.build()
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(listed.parts().iter().map(part).collect()));
        let request = client.complete_multipart_upload().bucket(BUCKET).key(key).upload_id(&id);
        request.multipart_upload(parts.build()).send().await.expect("completed");
    }

    /// Aborts the one open upload of this key, behind everybody's back: as a lifecycle rule does.
    pub(crate) async fn abort_behind(&self, key: &str) {
        let id = self.id_of(key).await;
        let request = self.truth.client.abort_multipart_upload().bucket(BUCKET).key(key).upload_id(&id);
        request.send().await.expect("aborted");
    }

    async fn id_of(&self, key: &str) -> String {
        let open: Vec<_> = self.open_uploads().await.into_iter().filter(|(of, _)| of == key).collect();
        let [(_, id)] = open.as_slice() else { panic!("not one upload of {key}: {open:?}") };
        id.clone()
    }

    /// Fails the test if anything of others' was touched.
    pub(crate) async fn assert_others_untouched(&self) {
        let (uploads, objects) = (
            self.truth.foreign_uploads.lock().expect("no panic").clone(),
            self.truth.foreign_objects.lock().expect("no panic").clone(),
        );
        let open = self.open_uploads().await;
        for upload in uploads {
            assert!(open.contains(&upload), "another's upload was aborted: {upload:?}");
        }
        for (key, stored) in objects {
            assert_eq!(self.object(&key).await.as_ref(), Some(&stored), "another's object at {key}");
        }
    }
}
