//! How many parts are on their way at once: over all files, as many as pay.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// Parts on their way at first, and at the most.
const FIRST: usize = 4;
const MOST: usize = 16;
/// How long the bytes are counted before they are judged.
const SPAN: Duration = Duration::from_secs(1);
/// More connections have to bring this much more, or they are not worth it.
const WORTH: f64 = 1.05;
/// Spans to wait before more are tried again.
const REST: u32 = 10;

/// Lets parts through, so many at once. One gate for all files of a run.
#[derive(Debug)]
pub struct Gate {
    permits: Semaphore,
    pace: Mutex<Pace>,
    most: usize,
}

/// A part that is on its way.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    permit: Option<SemaphorePermit<'a>>,
}

#[derive(Debug)]
struct Pace {
    is_fixed: bool,
    width: usize,
    /// Permits that are out and are not to come back.
    surplus: usize,
    since: Instant,
    bytes: u64,
    /// Bytes in a second before the gate was widened for a try.
    before: Option<f64>,
    /// How much it was widened by.
    step: usize,
    rest: u32,
}

impl Gate {
    /// As wide as pays, up to 16.
    pub fn adaptive(now: Instant) -> Gate {
        Gate::new(FIRST, MOST, false, now)
    }

    /// Always so wide; at least 1.
    pub fn fixed(width: usize, now: Instant) -> Gate {
        Gate::new(width.max(1), width.max(1), true, now)
    }

    fn new(width: usize, most: usize, is_fixed: bool, now: Instant) -> Gate {
        let pace = Pace { is_fixed, width, surplus: 0, since: now, bytes: 0, before: None, step: width, rest: 0 };
        Gate { permits: Semaphore::new(width), pace: Mutex::new(pace), most }
    }

    /// How many it lets through at the most.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Waits until there is room.
    pub(super) async fn enter(&self) -> Pass<'_> {
        Pass { gate: self, permit: self.permits.acquire().await.ok() }
    }

    /// So many bytes have gone.
    pub(super) fn moved(&self, bytes: u64, now: Instant) {
        self.pace().bytes += bytes;
        self.adapt(now, |pace| pace.judge(now, self.most));
    }

    /// S3 asks for less, or something stalls.
    pub(super) fn struggling(&self, now: Instant) {
        self.adapt(now, Pace::shrink);
    }

    fn adapt(&self, now: Instant, change: impl FnOnce(&mut Pace)) {
        let mut pace = self.pace();
        if pace.is_fixed {
            return;
        }
        let before = pace.width;
        change(&mut pace);
        if pace.width != before {
            (pace.since, pace.bytes) = (now, 0);
        }
        if pace.width > before {
            // Those that were to go may as well stay.
            let more = pace.width - before;
            let kept = more.min(pace.surplus);
            pace.surplus -= kept;
            self.permits.add_permits(more - kept);
        } else {
            pace.surplus += before - pace.width;
            let surplus = pace.surplus;
            pace.surplus -= self.permits.forget_permits(surplus);
        }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut pace = self.gate.pace();
        if pace.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            pace.surplus -= 1;
            permit.forget();
        }
    }
}

impl Pace {
    /// Widens the gate while that pays: twice as wide until it first does not, then one at a time.
    fn judge(&mut self, now: Instant, most: usize) {
        let span = now.saturating_duration_since(self.since);
        if span < SPAN {
            return;
        }
        let rate = self.bytes as f64 / span.as_secs_f64();
        (self.since, self.bytes) = (now, 0);
        match self.before {
            Some(before) if rate < before * WORTH => {
                self.width = self.width.saturating_sub(self.step).max(1);
                (self.before, self.step, self.rest) = (None, 1, REST);
            }
            None if self.rest > 0 => self.rest -= 1,
            _ => {
                self.step = if self.step > 1 { self.width } else { 1 }.min(most - self.width);
                self.before = (self.step > 0).then_some(rate);
                self.width += self.step;
            }
        }
    }

    fn shrink(&mut self) {
        self.width = (self.width / 2).max(1);
        (self.before, self.step, self.rest) = (None, 1, REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How wide the gate is after each second, when a connection brings `rate(width)` in all.
    fn widths(gate: &Gate, start: Instant, seconds: u32, rate: impl Fn(usize) -> f64) -> Vec<usize> {
        (1..=seconds)
            .map(|second| {
                let width = gate.pace().width;
                gate.moved(rate(width) as u64, start + second * SPAN);
                gate.pace().width
            })
            .collect()
    }

    #[test]
    fn it_widens_as_long_as_that_pays_and_no_further() {
        let start = Instant::now();
        let gate = Gate::adaptive(start);
        assert_eq!(widths(&gate, start, 4, |width| width as f64 * 1e6), [8, 16, 16, 16], "each connection pays");
        let gate = Gate::adaptive(start);
        let seen = widths(&gate, start, 40, |width| width.min(8) as f64 * 1e6);
        assert_eq!(seen[..3], [8, 16, 8], "the last eight brought nothing");
        assert!(seen[3..].iter().all(|width| (8..=9).contains(width)), "{seen:?}");
        let gate = Gate::fixed(3, start);
        assert!(widths(&gate, start, 9, |width| width as f64 * 1e6).iter().all(|width| *width == 3));
    }

    #[test]
    fn it_narrows_when_the_other_side_struggles_and_recovers() {
        let start = Instant::now();
        let gate = Gate::adaptive(start);
        for expected in [2, 1, 1] {
            gate.struggling(start);
            assert_eq!(gate.pace().width, expected);
        }
        let last = widths(&gate, start, 60, |width| width as f64 * 1e6);
        assert_eq!(last.last(), Some(&16), "{last:?}");
    }

    #[tokio::test]
    async fn never_more_are_let_through_than_it_is_wide() {
        let start = Instant::now();
        let gate = Gate::adaptive(start);
        let mut passes = Vec::new();
        for _ in 0..4 {
            passes.push(gate.enter().await);
        }
        gate.struggling(start);
        passes.truncate(2);
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.enter()).await.is_err(), "two are on their way");
        passes.clear();
        let _first = gate.enter().await;
        let _second = gate.enter().await;
        assert!(tokio::time::timeout(Duration::from_millis(20), gate.enter()).await.is_err());
    }
}
