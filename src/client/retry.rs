//! How often, and for how long, a step is tried.

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};

use super::Error;

/// First pauses between tries, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// Fresh URLs that S3 may refuse one after the other before it is believed.
pub(super) const REFUSALS: u32 = 3;

/// Tries a step until it is done, fails for good, or has been tried for `patience`: at least, for the last try is waited for. The
/// pauses grow, with jitter, and what the other side asks by `Retry-After` comes on top of them.
pub(super) async fn persist<T, F>(
    patience: Duration,
    step: impl FnMut() -> F,
    on_retry: impl Fn(&Error, Duration),
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let began = Instant::now();
    let policy = ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
        .with_total_delay(Some(patience));
    step.retry(policy)
        .when(|error| error.is_passing() && began.elapsed() < patience)
        .adjust(|error: &Error, pause| match error.code.as_str() {
            // Another URL, and no reason to wait for it.
            "url-refused" => Some(Duration::ZERO),
            _ => pause.map(|pause| pause + error.retry_after.unwrap_or_default()),
        })
        .notify(on_retry)
        .await
}
