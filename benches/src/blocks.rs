//! The floor of signing: how many SHA-256 blocks a signature needs when all that a batch shares is hashed once, and how long bare
//! blocks take.
//!
//! SHA-256 takes blocks of 64 bytes; a message is followed by at least 9 bytes of padding. The canonical request of a part
//! differs from the last one's from `partNumber=` on, so the whole blocks before that are shared. The string to sign differs in its
//! last 64 characters. HMAC hashes the key's inner pad and the string to sign, then the outer pad and that hash: both pads are
//! shared, and so are the whole blocks before the difference.

use hmac::{Hmac, KeyInit, Mac};
use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

use crate::Result;

const BLOCK: usize = 64;
const PADDING: usize = 9;

/// Blocks that one more URL of a batch needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// Of the canonical request.
    pub request: usize,
    /// Of the inner hash of the HMAC, over the string to sign.
    pub inner: usize,
    /// Of the outer hash.
    pub outer: usize,
}

impl Blocks {
    /// All of them.
    pub const fn total(self) -> usize {
        self.request + self.inner + self.outer
    }

    /// What a UploadPart URL with a signed length needs. The two strings are made here anew from the URL, and their signature
    /// must be the URL's, or else it was something else that was counted.
    ///
    /// # Errors
    /// When it is not such a URL, or was not signed with this key.
    pub fn of(url: &str, part_size: i64, secret_key: &str) -> Result<Blocks> {
        let strange = || format!("not a URL of a part: {url}");
        let (unsigned, signature) = url.split_once("&X-Amz-Signature=").ok_or_else(strange)?;
        let (place, query) = unsigned.split_once('?').ok_or_else(strange)?;
        let (host, path) = place.split_once("://").and_then(|(_, rest)| rest.split_once('/')).ok_or_else(strange)?;
        let parameter = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(known, value)| (known == name).then_some(value)).ok_or_else(strange)
        };
        let date = parameter("X-Amz-Date")?;
        let scope = parameter("X-Amz-Credential")?.replace("%2F", "/");
        let scope = scope.split_once('/').ok_or_else(strange)?.1;
        let request = format!(
            "PUT\n/{path}\n{query}\ncontent-length:{part_size}\nhost:{host}\n\ncontent-length;host\nUNSIGNED-PAYLOAD"
        );
        let request_shares = request.find("partNumber=").ok_or_else(strange)? + "partNumber=".len();
        let to_sign_shares = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n");
        let to_sign = format!("{to_sign_shares}{}", hex::encode(Sha256::digest(&request)));

        let mut key = format!("AWS4{secret_key}").into_bytes();
        for step in scope.split('/') {
            key = mac(&key, step.as_bytes())?;
        }
        if hex::encode(mac(&key, to_sign.as_bytes())?) != signature {
            return Err(strange().into());
        }
        let hashed = |shared: usize, all: usize| (all + PADDING).div_ceil(BLOCK) - shared / BLOCK;
        Ok(Blocks {
            request: hashed(request_shares, request.len()),
            inner: hashed(BLOCK + to_sign_shares.len(), BLOCK + to_sign.len()),
            outer: hashed(BLOCK, BLOCK + Sha256::output_size()),
        })
    }

    /// Hashes as many blocks as this many URLs need, in the same three chains, and nothing else.
    pub fn compress(self, urls: usize) {
        let blocks = vec![[0x5a_u8; BLOCK]; self.request.max(self.inner)];
        let mut state = [0x6a09_e667_u32; 8];
        for _ in 0..urls {
            for chain in [self.request, self.inner, self.outer] {
                compress256(&mut state, &blocks[..chain]);
            }
        }
        std::hint::black_box(state);
    }
}

fn mac(key: &[u8], message: &[u8]) -> Result<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key)?;
    mac.update(message);
    Ok(mac.finalize().into_bytes().to_vec())
}
