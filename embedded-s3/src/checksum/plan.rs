//! Which checksum an object is to have, and how it follows from those of its parts.

use s3s::crypto::{Checksum as _, Md5};
use s3s::dto;
use s3s::{S3Error, S3Result, s3_error};
use serde::{Deserialize, Serialize};

use super::{Algorithm, Checksum, Hasher, bad_digest};
use crate::store::PartRecord;

/// How an object's checksum covers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// The checksum of the parts' checksums, then `-` and the number of parts.
    Composite,
    /// The checksum of all bytes.
    FullObject,
}

impl Kind {
    pub(crate) fn dto(self) -> dto::ChecksumType {
        dto::ChecksumType::from_static(match self {
            Self::Composite => dto::ChecksumType::COMPOSITE,
            Self::FullObject => dto::ChecksumType::FULL_OBJECT,
        })
    }
}

/// The checksum of an object, as S3 reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectChecksum {
    pub(crate) kind: Kind,
    pub(crate) checksum: Checksum,
}

impl ObjectChecksum {
    /// Of an object that was put whole.
    pub(crate) fn full(checksum: Checksum) -> Self {
        Self { kind: Kind::FullObject, checksum }
    }
}

/// The checksum an upload's object is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) algorithm: Algorithm,
    pub(crate) kind: Kind,
    /// Whether the creation named the algorithm. If not, S3 takes a full-object CRC64NVME by itself.
    pub(crate) named: bool,
}

impl Plan {
    /// What the creation of an upload asks for.
    pub(crate) fn of(algorithm: Option<&str>, kind: Option<&str>) -> S3Result<Self> {
        let Some(name) = algorithm else {
            return match kind {
                None => Ok(Self { algorithm: Algorithm::Crc64Nvme, kind: Kind::FullObject, named: false }),
                Some(_) => Err(s3_error!(
                    InvalidRequest,
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
                )),
            };
        };
        let algorithm = Algorithm::parse(name)?;
        let kind = match (algorithm, kind) {
            (Algorithm::Crc64Nvme, None | Some(dto::ChecksumType::FULL_OBJECT)) => Kind::FullObject,
            (Algorithm::Crc32 | Algorithm::Crc32c, Some(dto::ChecksumType::FULL_OBJECT)) => Kind::FullObject,
            (
                Algorithm::Crc32 | Algorithm::Crc32c | Algorithm::Sha1 | Algorithm::Sha256,
                None | Some(dto::ChecksumType::COMPOSITE),
            ) => Kind::Composite,
            (_, Some(kind)) => {
                let name = algorithm.name();
                return Err(s3_error!(
                    InvalidRequest,
                    "The {kind} checksum type cannot be used with the {name} checksum algorithm."
                ));
            }
        };
        Ok(Self { algorithm, kind, named: true })
    }

    /// Checks the algorithm a part comes with, as S3 does: it must be the upload's, and a composite object needs one.
    pub(crate) fn check_part(&self, claimed: Option<Algorithm>) -> S3Result<()> {
        let fits = match claimed {
            Some(algorithm) => algorithm == self.algorithm,
            None => !(self.named && self.kind == Kind::Composite),
        };
        if fits {
            return Ok(());
        }
        let expected = if self.named { self.algorithm.name() } else { "null" };
        let actual = claimed.map_or("null", Algorithm::name);
        Err(s3_error!(
            InvalidRequest,
            "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
        ))
    }

    /// The object's checksum from those of its parts.
    pub(crate) fn combine(&self, parts: &[PartRecord]) -> S3Result<ObjectChecksum> {
        let checksum = match self.kind {
            Kind::Composite => self.composite(parts)?,
            Kind::FullObject => self.full_object(parts)?,
        };
        Ok(ObjectChecksum { kind: self.kind, checksum })
    }

    fn composite(&self, parts: &[PartRecord]) -> S3Result<Checksum> {
        let mut hasher = Hasher::new(self.algorithm);
        for part in parts {
            hasher.update(&part.checksum.digest()?);
        }
        let Checksum { algorithm, value } = hasher.finish();
        Ok(Checksum { algorithm, value: format!("{value}-{}", parts.len()) })
    }

    fn full_object(&self, parts: &[PartRecord]) -> S3Result<Checksum> {
        let crc = match self.algorithm {
            Algorithm::Crc32 => crc_fast::CrcAlgorithm::Crc32IsoHdlc,
            Algorithm::Crc32c => crc_fast::CrcAlgorithm::Crc32Iscsi,
            Algorithm::Crc64Nvme => crc_fast::CrcAlgorithm::Crc64Nvme,
            Algorithm::Sha1 | Algorithm::Sha256 => {
                return Err(s3_error!(InternalError, "a hash of all bytes cannot be had from the parts"));
            }
        };
        let mut whole = None;
        for part in parts {
            let value = part.checksum.digest()?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
            whole = Some(whole.map_or(value, |so_far| crc_fast::checksum_combine(crc, so_far, value, part.size)));
        }
        let bytes = whole.unwrap_or_default().to_be_bytes();
        Ok(Checksum::of(self.algorithm, &bytes[bytes.len() - self.algorithm.length()..]))
    }
}

impl ObjectChecksum {
    /// Checks what a Complete claimed about the whole object.
    pub(crate) fn check(&self, claimed: &Checksum) -> S3Result<()> {
        let ours = &self.checksum;
        if ours.algorithm != claimed.algorithm {
            let (expected, actual) = (ours.algorithm.name(), claimed.algorithm.name());
            return Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {expected}, actual checksum Type: {actual}"
            ));
        }
        // Clients may leave the number of parts out of a composite value.
        let bare = ours.value.split('-').next();
        let right = match self.kind {
            Kind::FullObject => ours.value == claimed.value,
            Kind::Composite => ours.value == claimed.value || bare == Some(&claimed.value),
        };
        if right { Ok(()) } else { Err(bad_digest(claimed.algorithm)) }
    }
}

/// The ETag of an object made of parts: the MD5 of their MD5s, then `-` and their number.
pub(crate) fn multipart_etag(parts: &[PartRecord]) -> S3Result<String> {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(&hex::decode(&part.md5).map_err(S3Error::internal_error)?);
    }
    Ok(format!("{}-{}", hex::encode(md5.finalize()), parts.len()))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use s3s::crypto::Sha256;

    use super::*;

    fn part(number: i32, bytes: &[u8], algorithm: Algorithm) -> PartRecord {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        PartRecord {
            number,
            file: String::new(),
            size: bytes.len() as u64,
            md5: hex::encode(Md5::checksum(bytes)),
            modified_ms: 0,
            checksum: hasher.finish(),
        }
    }

    #[test]
    fn a_full_object_checksum_is_that_of_all_bytes_whatever_the_parts() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let plan = Plan { algorithm, kind: Kind::FullObject, named: true };
            let whole = part(1, &bytes, algorithm).checksum;
            for cut in [0, 1, 4096, 99_999, 100_000] {
                let (head, tail) = bytes.split_at(cut);
                let parts = [part(1, head, algorithm), part(2, tail, algorithm)];
                assert_eq!(plan.combine(&parts).unwrap().checksum, whole, "{algorithm:?} cut at {cut}");
            }
            assert_eq!(plan.combine(&[part(1, &bytes, algorithm)]).unwrap().checksum, whole);
        }
    }

    #[test]
    fn a_composite_checksum_is_that_of_the_parts_checksums_and_their_number() {
        let plan = Plan { algorithm: Algorithm::Sha256, kind: Kind::Composite, named: true };
        let parts = [part(1, b"a", Algorithm::Sha256), part(2, b"b", Algorithm::Sha256)];
        let both = [Sha256::checksum(b"a"), Sha256::checksum(b"b")].concat();
        let combined = plan.combine(&parts).unwrap();
        assert_eq!(combined.checksum.value, format!("{}-2", BASE64.encode(Sha256::checksum(&both))));
        let bare = Checksum::of(Algorithm::Sha256, &Sha256::checksum(&both));
        combined.check(&bare).unwrap();
        combined.check(&Checksum::of(Algorithm::Sha256, &[0; 32])).unwrap_err();
    }

    #[test]
    fn only_the_pairs_of_algorithm_and_type_that_s3_knows() {
        let plan = |algorithm, kind| Plan::of(algorithm, kind).map(|plan| (plan.algorithm, plan.kind));
        assert_eq!(plan(None, None).unwrap(), (Algorithm::Crc64Nvme, Kind::FullObject));
        assert_eq!(plan(Some("CRC32C"), None).unwrap(), (Algorithm::Crc32c, Kind::Composite));
        assert_eq!(plan(Some("CRC32C"), Some("FULL_OBJECT")).unwrap(), (Algorithm::Crc32c, Kind::FullObject));
        assert_eq!(plan(Some("CRC64NVME"), None).unwrap(), (Algorithm::Crc64Nvme, Kind::FullObject));
        assert_eq!(plan(Some("SHA256"), Some("COMPOSITE")).unwrap(), (Algorithm::Sha256, Kind::Composite));
        for (algorithm, kind) in
            [("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("MD5", "COMPOSITE")]
        {
            assert!(plan(Some(algorithm), Some(kind)).is_err(), "{algorithm} {kind}");
        }
        assert!(plan(None, Some("FULL_OBJECT")).is_err());
    }

    #[test]
    fn a_part_must_come_with_the_algorithm_of_its_upload() {
        let unnamed = Plan::of(None, None).unwrap();
        let composite = Plan::of(Some("CRC32C"), None).unwrap();
        let full = Plan::of(Some("CRC32C"), Some("FULL_OBJECT")).unwrap();
        for (plan, claimed, allowed) in [
            (unnamed, None, true),
            (unnamed, Some(Algorithm::Crc64Nvme), true),
            (unnamed, Some(Algorithm::Crc32c), false),
            (composite, None, false),
            (composite, Some(Algorithm::Crc32c), true),
            (composite, Some(Algorithm::Sha256), false),
            (full, None, true),
            (full, Some(Algorithm::Crc32c), true),
            (full, Some(Algorithm::Crc32), false),
        ] {
            assert_eq!(plan.check_part(claimed).is_ok(), allowed, "{plan:?} {claimed:?}");
        }
    }
}
