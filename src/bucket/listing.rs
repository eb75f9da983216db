//! What is in the bucket, page by page: what nobody was told about.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, Utc};

use super::{Bucket, Error};

/// A multipart upload that is open at S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenUpload {
    /// The key of its object.
    pub key: String,
    /// S3's id of it.
    pub s3_upload_id: String,
    /// When it began, where the store tells.
    pub begun_at: Option<DateTime<Utc>>,
}

/// Where the next page begins, and where others began: a listing that comes back to one of them would go on for ever.
#[derive(Debug, Clone, Default)]
pub struct Marker {
    token: Option<(String, Option<String>)>,
    seen: HashSet<u64>,
}

impl Marker {
    /// Goes on to where S3 says that the next page begins; `None` after the last one. An answer that does not say whether
    /// there is more was cut short.
    fn next(
        mut self,
        is_truncated: Option<bool>,
        token: Option<(String, Option<String>)>,
    ) -> Result<Option<Marker>, Error> {
        match is_truncated {
            Some(false) => Ok(None),
            None => Err(Error::Unavailable("half a listing".into())),
            Some(true) => {
                let mut hash = DefaultHasher::new();
                token.hash(&mut hash);
                if token.is_none() || !self.seen.insert(hash.finish()) {
                    return Err(Error::Unavailable("a listing that does not end".into()));
                }
                Ok(Some(Marker { token, ..self }))
            }
        }
    }

    fn key(&self) -> Option<String> {
        self.token.as_ref().map(|(key, _)| key.clone())
    }

    fn upload_id(&self) -> Option<String> {
        self.token.as_ref().and_then(|(_, upload_id)| upload_id.clone())
    }
}

impl Bucket {
    /// ListMultipartUploads of exactly this key, every page: S3's ids. Finds what an unanswered creation left behind.
    ///
    /// # Errors
    /// When S3 refused or did not answer.
    pub async fn open_uploads(&self, key: &str) -> Result<Vec<String>, Error> {
        let mut ids = Vec::new();
        let mut from = Some(Marker::default());
        while let Some(marker) = from {
            let (page, next) = self.open_uploads_under(key, marker).await?;
            ids.extend(page.into_iter().filter(|upload| upload.key == key).map(|upload| upload.s3_upload_id));
            from = next;
        }
        // Pages may overlap.
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// ListMultipartUploads: a page of those whose keys begin with `prefix`, and where the next one begins.
    ///
    /// # Errors
    /// When S3 refused or did not answer.
    pub async fn open_uploads_under(
        &self,
        prefix: &str,
        from: Marker,
    ) -> Result<(Vec<OpenUpload>, Option<Marker>), Error> {
        let request = self
            .client
            .list_multipart_uploads()
            .bucket(&self.name)
            .prefix(prefix)
            .set_key_marker(from.key())
            .set_upload_id_marker(from.upload_id())
            .set_expected_bucket_owner(self.expected_owner.clone());
        let page = self.observed("ListMultipartUploads", request.send()).await?;
        let uploads = page.uploads().iter().filter_map(|upload| {
            let begun_at = upload.initiated().and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()));
            Some(OpenUpload { key: upload.key()?.to_owned(), s3_upload_id: upload.upload_id()?.to_owned(), begun_at })
        });
        let token = page.next_key_marker().map(|key| (key.to_owned(), page.next_upload_id_marker().map(str::to_owned)));
        Ok((uploads.collect(), from.next(page.is_truncated(), token)?))
    }

    /// ListObjectsV2: a page of the keys that begin with `prefix`, and where the next one begins.
    ///
    /// # Errors
    /// When S3 refused or did not answer.
    pub async fn keys_under(&self, prefix: &str, from: Marker) -> Result<(Vec<String>, Option<Marker>), Error> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(prefix)
            .set_continuation_token(from.key())
            .set_expected_bucket_owner(self.expected_owner.clone());
        let page = self.observed("ListObjectsV2", request.send()).await?;
        let keys = page.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect();
        let token = page.next_continuation_token().map(|token| (token.to_owned(), None));
        Ok((keys, from.next(page.is_truncated(), token)?))
    }
}
