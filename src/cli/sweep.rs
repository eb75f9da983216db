//! `partita sweep`: one sweep, for cron, beside the service or instead of its own sweeper.

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use clap::Args;
use futures_util::TryStreamExt;

use crate::app;
use crate::config::{self, Settings};
use crate::coordinator::{Coordinator, Kind};
use crate::sweeper;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Abort open uploads of our form at S3 that the database does not know. Danger: of another database on the same
    /// bucket and prefix they may be alive
    #[arg(long)]
    abort_unknown: bool,
    /// Abort open uploads under the prefix whose keys are not of our form, too. Danger: they are somebody else's
    #[arg(long)]
    abort_foreign: bool,
    /// … but only those that began longer ago than this
    #[arg(long, value_name = "AGE", default_value = "24h", value_parser = humantime_serde::re::humantime::parse_duration)]
    older_than: Duration,
}

pub(super) async fn run(
    load: impl FnOnce(&[(&str, String)]) -> Result<Settings, config::Error>,
    flags: Flags,
) -> Result<(), Box<dyn Error>> {
    crate::telemetry::start();
    let settings = load(&[])?;
    let (coordinator, embedded) = app::open_coordinator(&settings).await?;
    let outcome = sweep(&coordinator, &flags).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    outcome
}

async fn sweep(coordinator: &Coordinator, flags: &Flags) -> Result<(), Box<dyn Error>> {
    let swept = sweeper::sweep(coordinator).await.map_err(super::cause)?;
    for ((from, to), uploads) in &swept {
        println!("{uploads:>8}  {from} → {to}");
    }
    println!("{:>8}  uploads swept", swept.values().sum::<usize>());
    let mut strangers = pin!(coordinator.strangers());
    while let Some(stranger) = strangers.try_next().await.map_err(super::cause)? {
        let asked = match stranger.kind {
            Kind::Stray => true,
            Kind::Unknown => flags.abort_unknown,
            Kind::Foreign => flags.abort_foreign,
        };
        let aborted = asked && coordinator.abort_stranger(&stranger, flags.older_than).await.map_err(super::cause)?;
        let done = if aborted { "aborted" } else { "left alone" };
        println!("{} open upload, {done}: {}", stranger.kind, stranger.open.key);
    }
    let errors: usize = swept.iter().filter(|((_, to), _)| *to == "error").map(|(_, uploads)| uploads).sum();
    if errors > 0 {
        return Err(format!("{errors} uploads could not be settled; they come again").into());
    }
    Ok(())
}
