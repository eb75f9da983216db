//! Removing a completed upload's object.

use super::{Coordinator, Error};
use crate::bucket;
use crate::failpoint::boundary;
use crate::store;
use crate::upload::{Status, Upload};

impl Coordinator {
    /// deleting → deleted, once S3 is seen to hold the object no more. Until then it stays `deleting`. Another's object at
    /// the key is left alone.
    pub(super) async fn finish_delete(&self, upload: Upload) -> Result<Upload, Error> {
        if let Err(error) = self.remove_object(&upload).await {
            tracing::warn!(upload_id = %upload.id, %error, "a deletion is not proved yet");
            return Ok(upload);
        }
        boundary!("delete-proved");
        match self.0.store.end(&upload).await {
            Err(store::Error::Moved(moved)) => Ok(*moved),
            outcome => Ok(outcome?),
        }
    }

    async fn remove_object(&self, upload: &Upload) -> Result<(), bucket::Error> {
        let bucket = &*self.bucket(upload);
        let Status::Deleting(object) = &upload.status else {
            return Ok(());
        };
        // In a bucket with versions exactly the version that completed, whatever stands before it now.
        let version = object.version_id.as_deref();
        if version.is_none() && !bucket.head(upload).await?.is_some_and(|found| found.is_of(upload)) {
            return Ok(());
        }
        boundary!("delete-before-s3");
        bucket.delete(&upload.key, version).await?;
        boundary!("delete-after-s3");
        match bucket.head(upload).await? {
            Some(found) if found.is_of(upload) && found.version_id == object.version_id => {
                Err(bucket::Error::Unavailable("a deleted object is still there".into()))
            }
            _ => Ok(()),
        }
    }
}
