//! Part URLs, asked for many at a time and shortly before they are needed: they live for minutes, and an upload for hours.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::source::{Piece, Source, reading};
use super::{Error, Kind, PartUrl, Service};
use crate::upload::{Algorithm, PartSet};

/// Parts that are signed by one call: at first, and at the most.
const FIRST: usize = 200;
const MOST: usize = 1_000;
/// The same where every part has to be read for its checksum before it is signed; and bytes, so that the first part does not
/// wait for the reading of the whole file.
const CHECKED: usize = 32;
const CHECKED_BYTES: u64 = 256 << 20;
/// A URL with less life than a tenth of what it had, or than this, is not begun with.
const MARGIN: Duration = Duration::from_secs(10);

/// No presigned URL lives longer.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The URLs of one upload's parts.
#[derive(Debug)]
pub(super) struct Urls<'a> {
    pub(super) service: &'a Service,
    pub(super) id: Uuid,
    pub(super) source: &'a Source,
    pub(super) part_size: u64,
    /// Of each part, if it has to have one.
    pub(super) checksum: Option<Algorithm>,
    /// Whether the service knows how much there is; else it has to be told of the last part, and at the end.
    pub(super) is_sized: bool,
    pub(super) state: Mutex<Known>,
}

#[derive(Debug)]
pub(super) struct Known {
    urls: HashMap<i32, Signed>,
    /// Parts that no URL was asked for yet.
    waiting: BTreeSet<i32>,
    window: usize,
}

/// A URL, with the checksum that it asks for.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    pub(super) url: PartUrl,
    pub(super) checksum: Option<String>,
    good_until: Instant,
}

impl Signed {
    pub(super) fn new(url: PartUrl, checksum: Option<String>, asked_at: Instant) -> Signed {
        let life = Duration::from_secs(url.expires_in_seconds).min(LONGEST);
        Signed { good_until: asked_at + life.saturating_sub(MARGIN.max(life / 10)), url, checksum }
    }
}

impl Known {
    /// `given`: those that came with the upload, asked for at `asked_at`.
    pub(super) fn new(parts: impl IntoIterator<Item = i32>, given: Vec<PartUrl>, asked_at: Instant) -> Mutex<Known> {
        let mut waiting: BTreeSet<i32> = parts.into_iter().collect();
        let given = given.into_iter().filter(|url| waiting.remove(&url.part_number));
        let urls = given.map(|url| (url.part_number, Signed::new(url, None, asked_at))).collect();
        Mutex::new(Known { urls, waiting, window: FIRST })
    }
}

impl Urls<'_> {
    /// A URL for this part that has life left.
    pub(super) async fn get(&self, number: i32) -> Result<Signed, Error> {
        let mut known = self.state.lock().await;
        match known.urls.get(&number) {
            Some(signed) if Instant::now() < signed.good_until => return Ok(signed.clone()),
            // So many at once live too short a time.
            Some(_) => known.window = (known.window / 4).max(1),
            None => {}
        }
        let checked = || (CHECKED_BYTES / self.part_size).clamp(1, CHECKED as u64) as usize;
        let most = if self.checksum.is_some() { checked() } else { MOST };
        let window = known.window.min(most);
        let numbers: BTreeSet<i32> =
            [number].into_iter().chain(known.waiting.range(number + 1..).copied().take(window - 1)).collect();
        let asked_at = Instant::now();
        let checksums = self.checksums(&numbers).await?;
        let urls = if self.is_sized && self.checksum.is_none() {
            self.service.sign(self.id, &numbers.iter().copied().collect::<PartSet>().to_string()).await?
        } else {
            let item = |number: &i32| self.item(*number, self.piece(*number).length(), checksums.get(number));
            self.service.sign_items(self.id, &numbers.iter().map(item).collect::<Vec<Value>>()).await?
        };
        for url in urls {
            let number = url.part_number;
            known.waiting.remove(&number);
            known.urls.insert(number, Signed::new(url, checksums.get(&number).cloned(), asked_at));
        }
        known.window = (window * 2).min(MOST);
        let signed = known.urls.get(&number);
        signed.cloned().ok_or_else(|| Error::new(Kind::Refused, "unexpected", "the service signed other parts"))
    }

    /// S3 has refused it, or the part has landed: it is of no use any more.
    pub(super) async fn forget(&self, number: i32) {
        self.state.lock().await.urls.remove(&number);
    }

    /// The part's bytes.
    pub(super) fn piece(&self, number: i32) -> Piece {
        let at = (number as u64 - 1) * self.part_size;
        self.source.piece(at, self.part_size.min(self.source.size() - at))
    }

    /// A part, as it is to be signed.
    pub(super) fn item(&self, number: i32, size: u64, checksum: Option<&String>) -> Value {
        let mut item = json!({ "partNumber": number });
        if !self.is_sized {
            item["size"] = json!(size);
        }
        if let Some(checksum) = checksum {
            item["checksum"] = json!(checksum);
        }
        item
    }

    async fn checksums(&self, numbers: &BTreeSet<i32>) -> Result<HashMap<i32, String>, Error> {
        let Some(algorithm) = self.checksum else { return Ok(HashMap::new()) };
        let pieces: Vec<_> = numbers.iter().map(|number| (*number, self.piece(*number))).collect();
        let read = move || {
            let sums = |piece: &Piece| piece.sums(Some(algorithm), |_| {});
            pieces.iter().map(|(number, piece)| Ok((*number, sums(piece)?.checksum.unwrap_or_default()))).collect()
        };
        reading(&self.source.name(), read).await
    }
}
