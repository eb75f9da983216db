//! S3's checksums: of a part, and of an object from those of its parts.

mod fields;
mod plan;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use s3s::crypto::{self, Checksum as _};
use s3s::{S3Error, S3Result, s3_error};
use serde::{Deserialize, Serialize};

pub(crate) use fields::ChecksumFields;
pub(crate) use plan::{Kind, ObjectChecksum, Plan, multipart_etag};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// S3's name, such as `CRC32C`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// By S3's name, in either case.
    pub(crate) fn parse(name: &str) -> S3Result<Self> {
        let known = Self::ALL.into_iter().find(|known| known.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| s3_error!(InvalidRequest, "Checksum algorithm provided is unsupported."))
    }

    /// By the name of its header, such as `x-amz-checksum-crc32c`.
    pub(crate) fn from_header(name: &str) -> Option<Self> {
        Self::parse(name.trim().to_ascii_lowercase().strip_prefix("x-amz-checksum-")?).ok()
    }

    pub(crate) fn header(self) -> String {
        format!("x-amz-checksum-{}", self.name().to_ascii_lowercase())
    }

    fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// The checksum of some bytes; `value` is in base64.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checksum {
    pub(crate) algorithm: Algorithm,
    pub(crate) value: String,
}

impl Checksum {
    fn of(algorithm: Algorithm, digest: &[u8]) -> Self {
        Self { algorithm, value: BASE64.encode(digest) }
    }

    fn digest(&self) -> S3Result<Vec<u8>> {
        let digest = BASE64.decode(&self.value).ok().filter(|digest| digest.len() == self.algorithm.length());
        digest.ok_or_else(|| s3_error!(InvalidRequest, "Value for {} header is invalid.", self.algorithm.header()))
    }

    /// Checks what the client `claimed` about bytes that have this checksum.
    pub(crate) fn check(&self, claimed: &Self) -> S3Result<()> {
        claimed.digest()?;
        if self == claimed { Ok(()) } else { Err(bad_digest(claimed.algorithm)) }
    }
}

fn bad_digest(algorithm: Algorithm) -> S3Error {
    s3_error!(BadDigest, "The {} you specified did not match the calculated checksum.", algorithm.name())
}

/// Computes one checksum.
pub(crate) enum Hasher {
    Crc32(crypto::Crc32),
    Crc32c(crypto::Crc32c),
    Crc64Nvme(crypto::Crc64Nvme),
    Sha1(crypto::Sha1),
    Sha256(crypto::Sha256),
}

impl Hasher {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Crc32 => Self::Crc32(crypto::Crc32::new()),
            Algorithm::Crc32c => Self::Crc32c(crypto::Crc32c::new()),
            Algorithm::Crc64Nvme => Self::Crc64Nvme(crypto::Crc64Nvme::new()),
            Algorithm::Sha1 => Self::Sha1(crypto::Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(crypto::Sha256::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc32(hasher) => hasher.update(bytes),
            Self::Crc32c(hasher) => hasher.update(bytes),
            Self::Crc64Nvme(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Checksum {
        match self {
            Self::Crc32(hasher) => Checksum::of(Algorithm::Crc32, &hasher.finalize()),
            Self::Crc32c(hasher) => Checksum::of(Algorithm::Crc32c, &hasher.finalize()),
            Self::Crc64Nvme(hasher) => Checksum::of(Algorithm::Crc64Nvme, &hasher.finalize()),
            Self::Sha1(hasher) => Checksum::of(Algorithm::Sha1, &hasher.finalize()),
            Self::Sha256(hasher) => Checksum::of(Algorithm::Sha256, &hasher.finalize()),
        }
    }
}

/// The algorithm whose value follows the body, as `x-amz-trailer` announces it.
pub(crate) fn announced(headers: &http::HeaderMap) -> S3Result<Option<Algorithm>> {
    let trailers = headers.get_all("x-amz-trailer").iter().filter_map(|value| value.to_str().ok());
    let algorithms: BTreeSet<_> =
        trailers.flat_map(|list| list.split(',')).filter_map(Algorithm::from_header).collect();
    if algorithms.len() > 1 {
        return Err(s3_error!(InvalidRequest, "Multiple checksum Types are not allowed."));
    }
    Ok(algorithms.first().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_every_algorithm() {
        let of = |algorithm| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"1234");
            hasher.update(b"56789");
            hasher.finish().value
        };
        assert_eq!(of(Algorithm::Crc32), BASE64.encode(0xcbf4_3926_u32.to_be_bytes()));
        assert_eq!(of(Algorithm::Crc32c), BASE64.encode(0xe306_9283_u32.to_be_bytes()));
        assert_eq!(of(Algorithm::Crc64Nvme), BASE64.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes()));
        assert_eq!(
            of(Algorithm::Sha1),
            BASE64.encode(hex::decode("f7c3bc1d808e04732adf679965ccc34ca7ae3441").unwrap())
        );
        assert!(of(Algorithm::Sha256).starts_with("FeKw"));
    }
}
