//! What a client may say about its file, and how that travels in S3's headers.

use std::collections::BTreeMap;

use super::Invalid;

/// The most bytes that all keys and encoded values have together. S3 allows 2 KB of user metadata; some of it is ours.
const MAX_ENCODED: usize = 1_536;
/// The longest key, in bytes.
const MAX_KEY: usize = 64;
/// Keys with this prefix are ours.
const RESERVED: &str = "partita-";
/// The key under which an object's metadata carries the id of its upload: the proof that it is ours.
pub const UPLOAD_ID_KEY: &str = "partita-upload-id";

/// Accepts user metadata: keys `[a-z0-9-]{1,64}` without our prefix, at most 1,536 bytes as encoded.
///
/// # Errors
/// [`Invalid::Metadata`].
pub fn check(metadata: &BTreeMap<String, String>) -> Result<(), Invalid> {
    let mut total = 0;
    for (key, value) in metadata {
        let sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(sound) {
            return Err(Invalid::Metadata("a key is 1 to 64 of a-z, 0-9 and -"));
        }
        if key.starts_with(RESERVED) {
            return Err(Invalid::Metadata("keys that begin with partita- are reserved"));
        }
        if value.chars().any(char::is_control) {
            return Err(Invalid::Metadata("a value has no control characters"));
        }
        total += key.len() + encode(value).len();
    }
    if total > MAX_ENCODED {
        return Err(Invalid::Metadata("all keys and values together have at most 1,536 bytes as encoded"));
    }
    Ok(())
}

/// A value as it stands in the object's metadata. Headers carry ASCII only, trim spaces at the ends and fold runs of them,
/// so a value that would not survive is percent-encoded; a plain one stays as it is.
pub fn encode(value: &str) -> String {
    let plain = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        && value.trim() == value
        && !value.contains("  ");
    if plain {
        return value.to_owned();
    }
    let mut encoded = String::with_capacity(value.len() * 3);
    for byte in value.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(key: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(key.to_owned(), value.to_owned())])
    }

    #[test]
    fn keys_and_values_are_checked() {
        assert_eq!(check(&one("album", "2026")), Ok(()));
        assert_eq!(check(&one("a-1", "Ferien – Süd")), Ok(()));
        for (key, value) in
            [("", "x"), ("Album", "x"), ("a_b", "x"), ("partita-upload-id", "x"), ("a", "x\ny"), ("a", "\u{0}")]
        {
            assert!(matches!(check(&one(key, value)), Err(Invalid::Metadata(_))), "{key:?} {value:?}");
        }
        assert!(check(&one(&"k".repeat(65), "x")).is_err());
    }

    #[test]
    fn the_limit_counts_encoded_bytes() {
        assert_eq!(check(&one("k", &"x".repeat(1_535))), Ok(()));
        assert!(check(&one("k", &"x".repeat(1_536))).is_err());
        assert!(check(&one("k", &"é".repeat(300))).is_err(), "each é takes six bytes");
    }

    #[test]
    fn values_that_headers_would_bend_are_encoded() {
        for (value, encoded) in [
            ("a b", "a b"),
            ("100%", "100%"),
            ("é", "%C3%A9"),
            (" a", "%20a"),
            ("a  b", "a%20%20b"),
            ("é 5%", "%C3%A9%205%25"),
        ] {
            assert_eq!(encode(value), encoded);
        }
    }
}
