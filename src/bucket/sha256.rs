//! SHA-256 of many messages that begin alike: what they share is hashed once, and each then costs its own blocks and next to
//! nothing beside them. The crates' hashers carry a buffer and its bookkeeping from call to call, which for a message of a few
//! blocks takes half as long as the blocks themselves. Blocks are the crate's, padding is FIPS 180-4, section 5.1.1.

use std::fmt;

use sha2::block_api::compress256;

const BLOCK: usize = 64;
/// FIPS 180-4, section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// A hash that has taken in the whole blocks of a beginning.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    state: [u32; 8],
    /// Bytes taken in: whole blocks.
    length: usize,
}

impl Begun {
    /// Takes in the whole blocks of `beginning`. What is left of it, less than a block, the caller puts in front of each end.
    pub(super) fn with(beginning: &[u8]) -> (Begun, &[u8]) {
        Begun { state: INITIAL, length: 0 }.and(beginning)
    }

    fn and(mut self, more: &[u8]) -> (Begun, &[u8]) {
        let (blocks, rest) = more.as_chunks::<BLOCK>();
        compress256(&mut self.state, blocks);
        self.length += more.len() - rest.len();
        (self, rest)
    }

    /// The hash of what was taken in and `end`.
    pub(super) fn finish(self, end: &[u8]) -> [u8; 32] {
        let (Begun { mut state, length }, rest) = self.and(end);
        let mut last = [[0; BLOCK]; 2];
        let bytes = last.as_flattened_mut();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        let count = if rest.len() + 1 + size_of::<u64>() <= BLOCK { 1 } else { 2 };
        let bits = (length + rest.len()) as u64 * 8;
        bytes[count * BLOCK - size_of::<u64>()..count * BLOCK].copy_from_slice(&bits.to_be_bytes());
        compress256(&mut state, &last[..count]);
        let mut hash = [0; 32];
        for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(state) {
            *bytes = word.to_be_bytes();
        }
        hash
    }
}

impl fmt::Debug for Begun {
    /// The state of a keyed hash is as good as its key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Begun").field("length", &self.length).finish_non_exhaustive()
    }
}

/// The two hashes of an HMAC (RFC 2104), each with its half of the key taken in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keyed {
    inner: Begun,
    outer: Begun,
}

impl Keyed {
    /// With a key of at most a block.
    pub(super) fn new(key: &[u8; 32]) -> Keyed {
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Begun::with(&block).0
        };
        Keyed { inner: padded(0x36), outer: padded(0x5c) }
    }

    /// As [`Begun::with`].
    pub(super) fn and(self, beginning: &[u8]) -> (Keyed, &[u8]) {
        let (inner, rest) = self.inner.and(beginning);
        (Keyed { inner, ..self }, rest)
    }

    /// The code of what was taken in and `end`.
    pub(super) fn finish(self, end: &[u8]) -> [u8; 32] {
        self.outer.finish(&self.inner.finish(end))
    }
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn hashes_and_codes_are_those_of_the_crates_wherever_the_message_is_cut() {
        let message: Vec<u8> = (0..300_u32).map(|number| (number * 7) as u8).collect();
        let key = [0xa5; 32];
        for length in 0..message.len() {
            let message = &message[..length];
            let hash: [u8; 32] = Sha256::digest(message).into();
            let code: [u8; 32] = Hmac::<Sha256>::new_from_slice(&key)
                .expect("a key")
                .chain_update(message)
                .finalize()
                .into_bytes()
                .into();
            for cut in 0..=length {
                let (beginning, end) = message.split_at(cut);
                let (begun, rest) = Begun::with(beginning);
                assert_eq!(begun.finish(&[rest, end].concat()), hash, "{cut} of {length}");
                let (keyed, rest) = Keyed::new(&key).and(beginning);
                assert_eq!(keyed.finish(&[rest, end].concat()), code, "{cut} of {length}");
            }
        }
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(format!("{:?}", Keyed::new(&[7; 32]).inner), "Begun { length: 64, .. }");
    }
}
