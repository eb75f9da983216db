//! GetObject: the bytes of an object, as they come.

use std::io;

use aws_sdk_s3::primitives::ByteStream;
use futures_util::stream::{self, BoxStream, StreamExt};

use super::{Bucket, Error};
use crate::upload::Object;

/// The bytes of an object, piece by piece: no more of them is in memory than was asked for. An error ends them.
pub type Body = BoxStream<'static, io::Result<bytes::Bytes>>;

impl Bucket {
    /// GetObject of exactly this object, in its version, from byte `first` to `last` if a range is given.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the object is not there, or another stands in its place.
    pub async fn read(&self, key: &str, object: &Object, range: Option<(i64, i64)>) -> Result<Body, Error> {
        let request = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .set_version_id(object.version_id.clone())
            .set_range(range.map(|(first, last)| format!("bytes={first}-{last}")))
            .if_match(&object.etag)
            .set_expected_bucket_owner(self.expected_owner.clone());
        let answer = self.observed("GetObject", request.send()).await.map_err(Error::from);
        let answer = answer.map_err(|error| match error.refusal() {
            Some("PreconditionFailed") => Error::NotFound { code: "PreconditionFailed".into() },
            _ => error,
        })?;
        let pieces = |body: ByteStream| async move {
            let mut body = body;
            let piece = body.next().await?;
            Some((piece.map_err(io::Error::other), body))
        };
        Ok(stream::unfold(answer.body, pieces).boxed())
    }
}
