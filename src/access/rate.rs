//! How many requests a caller may make, on this replica.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

/// The window of the rate, in seconds.
const WINDOW: u32 = 60;
/// Callers that have been quiet for a window are forgotten after so many requests.
const TIDY_AFTER: u32 = 10_000;

type Limiter = RateLimiter<String, DashMapStateStore<String>, DefaultClock, StateInformationMiddleware>;

/// Counts requests, each caller's by itself: GCRA, a burst of the whole minute's, refilled evenly. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rate(Arc<Counting>);

#[derive(Debug)]
struct Counting {
    limiter: Limiter,
    quota: u32,
    since_tidy: AtomicU32,
}

/// How a caller stands, as the `RateLimit` headers tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Requests in a window.
    pub quota: u32,
    /// Requests that are left.
    pub left: u32,
    /// Seconds until a refused request would be served; 0 for one that was.
    pub wait: u32,
}

impl Standing {
    /// `RateLimit-Policy` and `RateLimit`: names and values.
    pub fn headers(&self) -> [(&'static str, String); 2] {
        [
            ("ratelimit-policy", format!("\"requests\";q={};w={WINDOW}", self.quota)),
            ("ratelimit", format!("\"requests\";r={};t={}", self.left, self.wait)),
        ]
    }
}

impl Rate {
    /// So many requests a minute.
    pub fn per_minute(requests: NonZeroU32) -> Rate {
        let limiter = RateLimiter::dashmap(Quota::per_minute(requests)).with_middleware();
        Rate(Arc::new(Counting { limiter, quota: requests.get(), since_tidy: AtomicU32::new(0) }))
    }

    /// Counts a request. `Err` if it is one too many.
    pub fn count(&self, caller: &str) -> Result<Standing, Standing> {
        let counting = &*self.0;
        if counting.since_tidy.fetch_add(1, Ordering::Relaxed) == TIDY_AFTER {
            counting.since_tidy.store(0, Ordering::Relaxed);
            counting.limiter.retain_recent();
        }
        match counting.limiter.check_key(&caller.to_owned()) {
            Ok(state) => Ok(Standing {
                quota: counting.quota,
                left: state.remaining_burst_capacity().min(counting.quota),
                wait: 0,
            }),
            Err(refused) => {
                let wait: Duration = refused.wait_time_from(DefaultClock::default().now());
                let wait = u32::try_from(wait.as_secs()).unwrap_or(WINDOW).saturating_add(1).min(WINDOW);
                Err(Standing { quota: counting.quota, left: 0, wait })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_its_own_requests() {
        let rate = Rate::per_minute(NonZeroU32::new(3).expect("a number"));
        let left: Vec<_> = (0..3).map(|_| rate.count("a").map(|standing| standing.left)).collect();
        assert_eq!(left, [Ok(2), Ok(1), Ok(0)]);
        let refused = rate.count("a").expect_err("one too many");
        assert!((1..=21).contains(&refused.wait), "{refused:?}");
        assert!(rate.count("b").is_ok());
    }

    #[test]
    fn callers_that_went_away_are_forgotten() {
        let rate = Rate::per_minute(NonZeroU32::new(6_000_000).expect("a number"));
        for number in 0..5 * TIDY_AFTER {
            assert!(rate.count(&number.to_string()).is_ok());
        }
        let kept = rate.0.limiter.len();
        assert!(kept <= 2 * TIDY_AFTER as usize, "{kept}");
    }
}
