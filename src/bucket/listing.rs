//! What is in the bucket, page by page: what nobody was told about.

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

/// Where the next page begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marker {
    key: Option<String>,
    upload_id: Option<String>,
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
            .set_key_marker(from.key.clone())
            .set_upload_id_marker(from.upload_id.clone())
            .set_expected_bucket_owner(self.expected_owner.clone());
        let page = self.observed("ListMultipartUploads", request.send()).await?;
        let uploads = page.uploads().iter().filter_map(|upload| {
            let begun_at = upload.initiated().and_then(|at| DateTime::from_timestamp(at.secs(), at.subsec_nanos()));
            Some(OpenUpload { key: upload.key()?.to_owned(), s3_upload_id: upload.upload_id()?.to_owned(), begun_at })
        });
        let next = Marker {
            key: page.next_key_marker().map(str::to_owned),
            upload_id: page.next_upload_id_marker().map(str::to_owned),
        };
        let uploads = uploads.collect();
        if page.is_truncated() != Some(true) {
            return Ok((uploads, None));
        }
        // A listing that does not move on would go on for ever.
        if next.key.is_none() || next == from {
            return Err(Error::Unavailable("a listing of uploads that does not end".into()));
        }
        Ok((uploads, Some(next)))
    }

    /// ListObjectsV2: a page of the keys that begin with `prefix`, and where the next one begins.
    ///
    /// # Errors
    /// When S3 refused or did not answer.
    pub async fn keys_under(&self, prefix: &str, from: Option<String>) -> Result<(Vec<String>, Option<String>), Error> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .prefix(prefix)
            .set_continuation_token(from.clone())
            .set_expected_bucket_owner(self.expected_owner.clone());
        let page = self.observed("ListObjectsV2", request.send()).await?;
        let keys = page.contents().iter().filter_map(|object| object.key().map(str::to_owned)).collect();
        let next = page.next_continuation_token().filter(|_| page.is_truncated() == Some(true)).map(str::to_owned);
        if next.is_some() && next == from {
            return Err(Error::Unavailable("a listing of objects that does not end".into()));
        }
        Ok((keys, next))
    }
}
