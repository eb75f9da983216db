//! The checksum fields of S3's inputs and outputs.

use s3s::dto;
use s3s::{S3Result, s3_error};

use super::{Algorithm, Checksum};

/// The five checksum fields that many of S3's inputs and outputs have.
pub(crate) trait ChecksumFields {
    fn slot(&mut self, algorithm: Algorithm) -> &mut Option<String>;

    /// Sets the field of the checksum's algorithm.
    fn set_checksum(&mut self, checksum: &Checksum) {
        *self.slot(checksum.algorithm) = Some(checksum.value.clone());
    }

    /// The one checksum given.
    fn take_checksum(&mut self) -> S3Result<Option<Checksum>> {
        let mut given = vec![];
        for algorithm in Algorithm::ALL {
            given.extend(self.slot(algorithm).take().map(|value| Checksum { algorithm, value }));
        }
        if given.len() > 1 {
            return Err(s3_error!(
                InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            ));
        }
        Ok(given.pop())
    }
}

macro_rules! checksum_fields {
    ($($dto:ident),+ $(,)?) => {$(
        impl ChecksumFields for dto::$dto {
            fn slot(&mut self, algorithm: Algorithm) -> &mut Option<String> {
                match algorithm {
                    Algorithm::Crc32 => &mut self.checksum_crc32,
                    Algorithm::Crc32c => &mut self.checksum_crc32c,
                    Algorithm::Crc64Nvme => &mut self.checksum_crc64nvme,
                    Algorithm::Sha1 => &mut self.checksum_sha1,
                    Algorithm::Sha256 => &mut self.checksum_sha256,
                }
            }
        }
    )+};
}

checksum_fields!(
    Checksum,
    CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput,
    CompletedPart,
    CopyObjectResult,
    CopyPartResult,
    GetObjectOutput,
    HeadObjectOutput,
    ObjectPart,
    Part,
    PutObjectInput,
    PutObjectOutput,
    UploadPartInput,
    UploadPartOutput,
);
