//! API keys: `partita_`, 40 hex digits of randomness, 8 of a checksum by which a scanner for lost secrets tells a key from
//! anything else, and by which mistyped ones are refused without a look into the database.

use std::io;

use secrecy::SecretString;
use sha2::{Digest, Sha256};

const PREFIX: &str = "partita_";
const RANDOM_BYTES: usize = 20;
const CHECK_DIGITS: usize = 8;

/// A key that was just made.
#[derive(Debug)]
pub struct NewKey {
    /// The key itself: shown once, kept nowhere.
    pub text: SecretString,
    /// What is kept of it.
    pub hash: [u8; 32],
}

impl NewKey {
    /// A new key, of 160 random bits.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn random() -> io::Result<NewKey> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let random = hex::encode(bytes);
        let text = format!("{PREFIX}{random}{}", check_digits(&random));
        let hash = Sha256::digest(&text).into();
        Ok(NewKey { text: text.into(), hash })
    }
}

/// Whether this looks like an API key rather than a token.
pub fn is_key(credential: &str) -> bool {
    credential.starts_with(PREFIX)
}

/// By what the key is known in the ledger; `None` for what cannot be a key. A hash of so much randomness needs no salt.
pub fn hash_of(key: &str) -> Option<[u8; 32]> {
    let rest = key.strip_prefix(PREFIX)?;
    let (random, check) = rest.split_at_checked(RANDOM_BYTES * 2)?;
    (check == check_digits(random)).then(|| Sha256::digest(key).into())
}

fn check_digits(random: &str) -> String {
    hex::encode(Sha256::digest(random))[..CHECK_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_key_is_recognised_and_a_mistyped_one_is_not() {
        let new = NewKey::random().expect("randomness");
        let text = new.text.expose_secret();
        assert!(is_key(text) && text.len() == 56 && !format!("{new:?}").contains(text));
        assert_eq!(hash_of(text), Some(new.hash));
        let other = if text.ends_with('0') { '1' } else { '0' };
        let mistyped = format!("{}{other}", &text[..text.len() - 1]);
        for bad in ["", "partita_", "partita_ä", &mistyped, &text[..55], &format!("{text}0"), &text.to_uppercase()] {
            assert_eq!(hash_of(bad), None, "{bad}");
        }
        assert_ne!(NewKey::random().expect("randomness").hash, new.hash);
    }
}
