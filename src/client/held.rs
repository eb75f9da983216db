//! What S3 holds of an upload already is looked at before it is believed: each part has to have the size of the plan and, where the
//! upload has checksums, the checksum of the file's own bytes; or the MD5 that most stores give for a part's ETag.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use md5::{Digest, Md5};

use super::ledger::Ledger;
use super::source::{Sums, reading};
use super::urls::Urls;
use super::{Error, Part};

/// Parts that are read at once.
const READERS: usize = 2;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Parts that are what the file says; they are put down in the ledger. All others have to be sent again.
    pub(super) good: BTreeSet<i32>,
    /// Whether there are parts of the right size with other bytes.
    pub(super) differs: bool,
}

/// Looks at the parts.
///
/// # Errors
/// When the file cannot be read.
pub(super) async fn look(parts: Vec<Part>, urls: &Urls<'_>, ledger: &Ledger<'_>) -> Result<Held, Error> {
    let count = urls.source.size().div_ceil(urls.part_size);
    let planned = parts.into_iter().filter(|part| (1..=count).contains(&(part.part_number as u64)));
    let checked = stream::iter(planned).map(|part| async move {
        let piece = urls.piece(part.part_number);
        if u64::try_from(part.size) != Ok(piece.length()) {
            return Ok(None);
        }
        let (number, bytes, algorithm) = (part.part_number, piece.length(), urls.checksum);
        let read = move || {
            let mut md5 = Md5::new();
            let sums = piece.sums(algorithm, |bytes| md5.update(bytes))?;
            Ok((sums, hex::encode(md5.finalize())))
        };
        let (Sums { crc64, checksum }, md5) = reading(&urls.source.name(), read).await?;
        let has_other_checksum = part.checksum.is_some() && checksum.is_some() && part.checksum != checksum;
        // Encrypted by a key of its owner's, a part has an ETag of the same form that is no MD5: then it is sent once more for nothing.
        let etag = part.etag.trim_matches('"');
        let is_md5 = etag.len() == md5.len() && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        if has_other_checksum || (is_md5 && part.checksum.is_none() && !etag.eq_ignore_ascii_case(&md5)) {
            return Ok(Some((number, false)));
        }
        ledger.landed(number, None, crc64, bytes).await?;
        Ok(Some((number, true)))
    });
    let found = checked.buffer_unordered(READERS).try_filter_map(|found| async move { Ok(found) });
    let take = |mut held: Held, (number, is_good)| async move {
        if is_good {
            held.good.insert(number);
        }
        held.differs |= !is_good;
        Ok(held)
    };
    found.try_fold(Held::default(), take).await
}
