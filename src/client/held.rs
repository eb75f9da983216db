//! What S3 holds of an upload already is looked at before it is believed: each part has to have the size of the plan and, where the
//! upload has checksums, the checksum of the file's own bytes.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::ledger::Ledger;
use super::urls::{Urls, sums};
use super::{Error, Kind, Part};

/// Parts that are read at once.
const READERS: usize = 2;

/// Those of the parts that are what the file says; they are put down in the ledger. All others have to be sent again.
///
/// # Errors
/// When the file cannot be read.
pub(super) async fn good(parts: Vec<Part>, urls: &Urls<'_>, ledger: &Ledger<'_>) -> Result<BTreeSet<i32>, Error> {
    let count = urls.source.size().div_ceil(urls.part_size);
    let planned = parts.into_iter().filter(|part| (1..=count).contains(&(part.part_number as u64)));
    let checked = stream::iter(planned).map(|part| async move {
        let piece = urls.piece(part.part_number);
        if u64::try_from(part.size) != Ok(piece.length()) {
            return Ok(None);
        }
        let (number, bytes, algorithm) = (part.part_number, piece.length(), urls.checksum);
        let read = tokio::task::spawn_blocking(move || sums(&piece, algorithm));
        let (sum, checksum) = match read.await {
            Ok(outcome) => outcome.map_err(|cause| Error::unreadable(&urls.source.name(), &cause))?,
            Err(_) => return Err(Error::new(Kind::Refused, "unexpected", "the reading of a part was broken off")),
        };
        if part.checksum.is_some() && checksum.is_some() && part.checksum != checksum {
            return Ok(None);
        }
        ledger.landed(number, None, sum, bytes).await?;
        Ok(Some(number))
    });
    checked.buffer_unordered(READERS).try_filter_map(|number| async move { Ok(number) }).try_collect().await
}
