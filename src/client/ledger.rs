//! What has landed: told to the service in groups, and summed up to the whole.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crc_fast::{CrcAlgorithm, checksum_combine};
use uuid::Uuid;

use super::wire::LandedPart;
use super::{Error, Service};

/// A part is told after this long at the latest, if another lands.
const LATE: Duration = Duration::from_secs(20);
/// An upload is told in so many groups, but none is smaller than this for its size alone.
const GROUPS: usize = 5;
const LEAST: usize = 64;

/// The parts of one upload as they land.
#[derive(Debug)]
pub(super) struct Ledger<'a> {
    service: &'a Service,
    id: Uuid,
    group: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Landed and not told yet.
    untold: Vec<LandedPart>,
    told_at: Instant,
    is_telling: bool,
    /// CRC64NVME and bytes of each part that S3 has.
    sums: BTreeMap<i32, (u64, u64)>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(service: &'a Service, id: Uuid, parts: usize) -> Ledger<'a> {
        let state = State { untold: Vec::new(), told_at: Instant::now(), is_telling: false, sums: BTreeMap::new() };
        Ledger { service, id, group: (parts / GROUPS).max(LEAST), state: Mutex::new(state) }
    }

    /// S3 has the part; where it did not say how it calls it, the service will ask.
    ///
    /// # Errors
    /// When the service says that the upload is none any more.
    pub(super) async fn landed(
        &self,
        number: i32,
        part: Option<LandedPart>,
        sum: u64,
        bytes: u64,
    ) -> Result<(), Error> {
        let group = {
            let mut state = self.state();
            state.sums.insert(number, (sum, bytes));
            state.untold.extend(part);
            let is_due = state.untold.len() >= self.group || state.told_at.elapsed() >= LATE;
            if !is_due || state.is_telling || state.untold.is_empty() {
                return Ok(());
            }
            state.is_telling = true;
            std::mem::take(&mut state.untold)
        };
        let telling = Telling { ledger: self, group: Some(group) };
        telling.tell().await
    }

    /// Tells what is left. That it cannot be told is no loss: S3 knows.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let group = self.take_untold();
        if group.is_empty() {
            return Ok(());
        }
        Telling { ledger: self, group: Some(group) }.tell().await
    }

    /// What was not told yet.
    pub(super) fn take_untold(&self) -> Vec<LandedPart> {
        std::mem::take(&mut self.state().untold)
    }

    /// These have to be sent again.
    pub(super) fn forget(&self, numbers: impl IntoIterator<Item = i32>) {
        let mut state = self.state();
        numbers.into_iter().for_each(|number| _ = state.sums.remove(&number));
    }

    /// CRC64NVME and bytes of the whole, if S3 has every part from the first on.
    pub(super) fn whole(&self) -> Option<(u64, u64)> {
        let state = self.state();
        let is_whole = state.sums.keys().copied().eq(1..=state.sums.len() as i32);
        let mut sums = state.sums.values().copied();
        let first = sums.next().unwrap_or_default();
        let combine =
            |(sum, bytes), (next, more)| (checksum_combine(CrcAlgorithm::Crc64Nvme, sum, next, more), bytes + more);
        is_whole.then(|| sums.fold(first, combine))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group on its way. However that ends, what was not told goes back.
struct Telling<'a, 'b> {
    ledger: &'b Ledger<'a>,
    group: Option<Vec<LandedPart>>,
}

impl Telling<'_, '_> {
    async fn tell(mut self) -> Result<(), Error> {
        let Some(group) = &self.group else { return Ok(()) };
        match self.ledger.service.record(self.ledger.id, group).await {
            Ok(()) => {
                self.group = None;
                Ok(())
            }
            // The completion tells them again.
            Err(error) if error.is_passing() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Telling<'_, '_> {
    fn drop(&mut self) {
        let mut state = self.ledger.state();
        (state.is_telling, state.told_at) = (false, Instant::now());
        state.untold.extend(self.group.take().into_iter().flatten());
    }
}
