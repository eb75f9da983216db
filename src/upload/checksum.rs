//! Checksums as S3 names and writes them, and the fingerprint by which clients find an upload again.

use base64::{Engine, engine::general_purpose::STANDARD};

use serde::Deserialize;

use super::Invalid;

/// A checksum algorithm of S3.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Algorithm {
    /// CRC-64/NVME over the whole object.
    Crc64Nvme,
    /// CRC-32C over the whole object.
    Crc32C,
    /// SHA-256 of each part; the object's value is a hash of those.
    Sha256,
}

impl TryFrom<String> for Algorithm {
    type Error = Invalid;

    fn try_from(name: String) -> Result<Self, Invalid> {
        Algorithm::from_name(&name)
    }
}

impl Algorithm {
    /// Every algorithm that part checksums may use.
    pub const ALL: [Algorithm; 3] = [Algorithm::Crc64Nvme, Algorithm::Crc32C, Algorithm::Sha256];

    /// The name in the API and in the database, which is S3's own.
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Crc64Nvme => "CRC64NVME",
            Algorithm::Crc32C => "CRC32C",
            Algorithm::Sha256 => "SHA256",
        }
    }

    /// The algorithm of this name.
    ///
    /// # Errors
    /// [`Invalid::Checksum`] if there is none.
    pub fn from_name(name: &str) -> Result<Algorithm, Invalid> {
        let found = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or(Invalid::Checksum("the algorithm is CRC64NVME, CRC32C or SHA256"))
    }

    /// The request header that carries a value, in lower case.
    pub const fn header(self) -> &'static str {
        match self {
            Algorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Algorithm::Crc32C => "x-amz-checksum-crc32c",
            Algorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// Whether the object's value covers its bytes as a whole, however they were cut into parts.
    pub const fn is_full_object(self) -> bool {
        !matches!(self, Algorithm::Sha256)
    }

    /// Bytes of a value.
    const fn length(self) -> usize {
        match self {
            Algorithm::Crc64Nvme => 8,
            Algorithm::Crc32C => 4,
            Algorithm::Sha256 => 32,
        }
    }

    /// Accepts the base64 form of a value of this algorithm.
    ///
    /// # Errors
    /// [`Invalid::Checksum`] for another length or alphabet.
    pub fn check(self, value: &str) -> Result<(), Invalid> {
        match STANDARD.decode(value) {
            Ok(bytes) if bytes.len() == self.length() => Ok(()),
            _ => Err(Invalid::Checksum("a value is the base64 form of exactly the algorithm's bytes")),
        }
    }
}

/// A checksum of a whole file or object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    /// How it was made.
    pub algorithm: Algorithm,
    /// Base64, as S3 writes it.
    pub value: String,
}

impl Checksum {
    /// Accepts the checksum of a file: CRC64NVME, which every AWS object has.
    ///
    /// # Errors
    /// [`Invalid::Checksum`].
    pub fn of_file(algorithm: &str, value: String) -> Result<Checksum, Invalid> {
        let algorithm = Algorithm::from_name(algorithm)?;
        if algorithm != Algorithm::Crc64Nvme {
            return Err(Invalid::Checksum("the checksum of a file is CRC64NVME"));
        }
        algorithm.check(&value)?;
        Ok(Checksum { algorithm, value })
    }
}

/// Accepts a fingerprint: `p1-<size>-<16 lower-case hex digits>`, of a file of this size.
///
/// # Errors
/// [`Invalid::Fingerprint`] for another form, or another size than `size` when that is known.
pub fn check_fingerprint(text: &str, size: Option<i64>) -> Result<(), Invalid> {
    let refuse = |reason| Err(Invalid::Fingerprint(reason));
    let mut fields = text.split('-');
    let (Some("p1"), Some(digits), Some(hash), None) = (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return refuse("not of the form p1-<size>-<16 hex digits>");
    };
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if hash.len() != 16 || !hash.bytes().all(hex) {
        return refuse("not of the form p1-<size>-<16 hex digits>");
    }
    // Written back, so that 007 and +7 are not other names for 7.
    match digits.parse::<i64>() {
        Ok(named) if named >= 0 && named.to_string() == digits => {
            if size.is_some_and(|size| size != named) {
                refuse("it names another size than the upload's")
            } else {
                Ok(())
            }
        }
        _ => refuse("not of the form p1-<size>-<16 hex digits>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_length_of_their_algorithm() {
        for algorithm in Algorithm::ALL {
            for bytes in 0..40 {
                let value = STANDARD.encode(vec![7; bytes]);
                assert_eq!(
                    algorithm.check(&value).is_ok(),
                    bytes == algorithm.length(),
                    "{} {bytes}",
                    algorithm.name()
                );
            }
            assert!(algorithm.check("not base64!").is_err());
            assert_eq!(Algorithm::from_name(algorithm.name()), Ok(algorithm));
        }
        assert!(Algorithm::from_name("MD5").is_err());
    }

    #[test]
    fn the_checksum_of_a_file_is_crc64nvme() {
        assert!(Checksum::of_file("CRC64NVME", "AAAAAAAAAAA=".into()).is_ok());
        assert!(Checksum::of_file("CRC32C", "AAAAAA==".into()).is_err());
    }

    #[test]
    fn fingerprints_name_the_size() {
        assert_eq!(check_fingerprint("p1-734003200-0123456789abcdef", Some(734_003_200)), Ok(()));
        assert_eq!(check_fingerprint("p1-0-0000000000000000", None), Ok(()));
        for bad in [
            "",
            "p1",
            "p2-5-0123456789abcdef",
            "p1-5-0123456789ABCDEF",
            "p1-5-0123",
            "p1--0123456789abcdef",
            "p1-05-0123456789abcdef",
            "p1-+5-0123456789abcdef",
            "p1-5-0123456789abcdef-",
            "p1-99999999999999999999-0123456789abcdef",
            "p1-6-0123456789abcdef",
        ] {
            assert!(check_fingerprint(bad, Some(5)).is_err(), "{bad}");
        }
    }
}
