//! How an object begins: a multipart upload, or for an empty file the object itself, with all that its preset gives it.

use std::collections::HashMap;

use aws_sdk_s3::config::Builder;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, ObjectCannedAcl, ServerSideEncryption, StorageClass};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Bucket, Error, checksum_algorithm};
use crate::config::{Encryption, FullObjectChecksum, Preset};
use crate::upload::metadata::{self, UPLOAD_ID_KEY};
use crate::upload::names::{Disposition, content_disposition};
use crate::upload::{Algorithm, Upload, Visibility};

/// What every object of an upload gets, in whichever way it begins: its bucket and key, type, disposition and metadata, and
/// what its preset says. A macro, for the two builders have methods of the same names and no trait.
macro_rules! as_it_begins {
    ($request:expr, $bucket:expr, $upload:expr, $preset:expr) => {
        $request
            .bucket(&$bucket.name)
            .key(&$upload.key)
            .content_type(&$upload.content_type)
            .content_disposition(content_disposition(Disposition::Attachment, &$upload.filename))
            .set_metadata(Some(object_metadata($upload)))
            .set_storage_class($preset.storage_class.as_deref().map(StorageClass::from))
            .set_server_side_encryption($preset.encryption.map(server_side_encryption))
            .set_ssekms_key_id($preset.kms_key_id.clone())
            .set_tagging(tagging($preset))
            .set_cache_control($preset.cache_control.clone())
            .set_acl(($upload.visibility == Visibility::Public).then_some(ObjectCannedAcl::PublicRead))
            .set_expected_bucket_owner($bucket.expected_owner.clone())
    };
}

impl Bucket {
    /// CreateMultipartUpload, once: a repetition could leak an upload. Sets the object's type, disposition and
    /// metadata, and what its preset gives it. Returns S3's id of it.
    ///
    /// # Errors
    /// After [`Error::Unavailable`] S3 may hold an upload of this key.
    pub async fn create(&self, upload: &Upload, preset: &Preset) -> Result<String, Error> {
        let mut request = as_it_begins!(self.client.create_multipart_upload(), self, upload, preset);
        let told = self.capabilities.full_object_checksum == FullObjectChecksum::Told;
        if let Some(algorithm) = upload.part_checksum.or(told.then_some(Algorithm::Crc64Nvme)) {
            let kind = if algorithm.is_full_object() { ChecksumType::FullObject } else { ChecksumType::Composite };
            request = request.checksum_algorithm(checksum_algorithm(algorithm)).checksum_type(kind);
        }
        let once = Builder::new().retry_config(RetryConfig::disabled());
        let answer = self.observed("CreateMultipartUpload", request.customize().config_override(once).send()).await?;
        match answer.upload_id {
            Some(id) if !id.is_empty() => Ok(id),
            _ => Err(Error::Unavailable("an upload without an id".into())),
        }
    }

    /// PutObject of nothing, for an empty file.
    ///
    /// # Errors
    /// A refusal with `PreconditionFailed` when another object stands at the key.
    pub async fn put_empty(&self, upload: &Upload, preset: &Preset) -> Result<(), Error> {
        let condition = self.capabilities.conditional_completion.then(|| "*".to_owned());
        let told = self.capabilities.full_object_checksum != FullObjectChecksum::None;
        let request = as_it_begins!(self.client.put_object(), self, upload, preset)
            .body(ByteStream::from_static(b""))
            .content_length(0)
            .set_checksum_algorithm(told.then_some(ChecksumAlgorithm::Crc64Nvme))
            .set_if_none_match(condition);
        let once = Builder::new().retry_config(RetryConfig::disabled());
        self.observed("PutObject", request.customize().config_override(once).send()).await?;
        Ok(())
    }
}

/// What the object's metadata says: the client's, and whose upload it is.
fn object_metadata(upload: &Upload) -> HashMap<String, String> {
    let clients = upload.metadata.iter().map(|(key, value)| (key.clone(), metadata::encode(value)));
    clients.chain([(UPLOAD_ID_KEY.to_owned(), upload.id.to_string())]).collect()
}

fn server_side_encryption(encryption: Encryption) -> ServerSideEncryption {
    match encryption {
        Encryption::S3 => ServerSideEncryption::Aes256,
        Encryption::Kms => ServerSideEncryption::AwsKms,
    }
}

/// The tags as S3 takes them in a header: like the query of a URL.
fn tagging(preset: &Preset) -> Option<String> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let tags: Vec<_> = preset.tags.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
    (!tags.is_empty()).then(|| tags.join("&"))
}
