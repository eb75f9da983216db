//! Finds what is due and has the coordinator settle it; owns no logic of its own. Runs in every replica, and once as
//! `partita sweep`; no two of them get the same upload.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use tokio::task::JoinSet;

use crate::coordinator::{Coordinator, Due, Error};
use crate::store;

/// Uploads that are settled at the same time: one that takes long, or cannot be helped, holds up only its own place.
const AT_ONCE: usize = 16;
/// How often open uploads at S3 that nobody knows are counted.
const SURVEY_PAUSE: Duration = Duration::from_secs(60 * 60);

/// What a sweep did: how many uploads went from which state to which. One that could not be settled went to `error`.
pub type Swept = BTreeMap<(&'static str, &'static str), usize>;

/// Settles what is due, until nothing is.
///
/// # Errors
/// When the ledger does not answer, or is not to be trusted ([`store::Error::Restored`]).
pub async fn sweep(coordinator: &Coordinator) -> Result<Swept, Error> {
    let mut swept = Swept::new();
    let mut at_work = JoinSet::new();
    loop {
        let room = AT_ONCE - at_work.len();
        let claimed = if room == 0 { 0 } else { claim(coordinator, &mut at_work, room).await? };
        if at_work.is_empty() && claimed == 0 {
            break;
        }
        if claimed < room || room == 0 {
            count(&mut swept, at_work.join_next().await);
        }
    }
    coordinator.forget_keys().await?;
    Ok(swept)
}

/// Sweeps for as long as the process serves, every `interval` or a little sooner, so that replicas spread out. Returns once
/// `stopped` resolves; what is at work then is left to [`Coordinator::drain`].
pub async fn run(coordinator: Coordinator, interval: Duration, stopped: impl Future<Output = ()>) {
    let mut stopped = std::pin::pin!(stopped);
    let mut at_work = JoinSet::new();
    let mut surveyed: Option<Instant> = None;
    loop {
        let pause = tokio::time::sleep(jittered(interval));
        tokio::select! {
            () = &mut stopped => break,
            () = pause => {}
        }
        while at_work.try_join_next().is_some() {}
        // As long as all that there is room for is due, more may be.
        while let Some(room) = AT_ONCE.checked_sub(at_work.len()).filter(|room| *room > 0) {
            match claim(&coordinator, &mut at_work, room).await {
                Ok(claimed) if claimed == room => {
                    tokio::select! {
                        () = &mut stopped => return detach(at_work),
                        _ = at_work.join_next() => {}
                    }
                }
                Ok(_) => break,
                Err(Error::Store(error @ store::Error::Restored)) => {
                    tracing::error!(%error, "nothing is swept");
                    break;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a sweep found no ledger");
                    break;
                }
            }
        }
        if let Err(error) = coordinator.forget_keys().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "expired idempotency keys stay for now");
        }
        if surveyed.is_none_or(|at| at.elapsed() >= SURVEY_PAUSE) {
            surveyed = Some(Instant::now());
            survey(&coordinator).await;
        }
    }
    detach(at_work);
}

/// Claims what is due and settles each in a task of its own. How many rows were claimed.
async fn claim(
    coordinator: &Coordinator,
    at_work: &mut JoinSet<(&'static str, &'static str)>,
    room: usize,
) -> Result<usize, Error> {
    let (due, claimed) = coordinator.claim_due(room).await?;
    for due in due {
        at_work.spawn(settle(coordinator.clone(), due));
    }
    Ok(claimed)
}

async fn settle(coordinator: Coordinator, due: Due) -> (&'static str, &'static str) {
    let (id, from) = (due.upload().id, due.upload().status.state().name());
    let to = match coordinator.settle(due).await {
        Ok(upload) => upload.status.state().name(),
        // Somebody else was faster, or S3 said no and the upload is where it can be sent again: an end, not a failure.
        Err(error) if error.is_verdict() => "refused",
        Err(error) => {
            tracing::warn!(upload_id = %id, error = &error as &dyn std::error::Error, "an upload could not be settled");
            "error"
        }
    };
    if from != to {
        tracing::info!(upload_id = %id, from, to, "swept");
    }
    metrics::counter!("partita_swept_total", "from" => from, "to" => to).increment(1);
    (from, to)
}

fn count(swept: &mut Swept, joined: Option<Result<(&'static str, &'static str), tokio::task::JoinError>>) {
    match joined {
        Some(Ok(moved)) => *swept.entry(moved).or_default() += 1,
        Some(Err(error)) => tracing::error!(%error, "a sweep panicked"),
        None => {}
    }
}

/// The coordinator's own tasks do the work: these only wait for it.
fn detach(mut at_work: JoinSet<(&'static str, &'static str)>) {
    at_work.detach_all();
}

/// Counts what is open at S3 under our prefix and not in the ledger. It is told, and left alone.
async fn survey(coordinator: &Coordinator) {
    match coordinator.strangers().try_fold(0_usize, async |count, _| Ok(count + 1)).await {
        Ok(uploads) => {
            metrics::gauge!("partita_unknown_uploads").set(uploads as f64);
            if uploads > 0 {
                tracing::warn!(
                    uploads,
                    "S3 holds open uploads that nobody knows; `partita sweep --abort-unknown` aborts those of our form"
                );
            }
        }
        Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "open uploads could not be counted"),
    }
}

/// Somewhere between half the interval and all of it.
fn jittered(interval: Duration) -> Duration {
    let mut random = [0; 4];
    // Without randomness replicas sweep at the same moment, which is harmless.
    let _ = getrandom::fill(&mut random);
    interval.mul_f64(0.5 + 0.5 * f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX))
}
