//! `partita token`: makes a short-lived token by the settings' own secret, for trying.

use std::error::Error;
use std::time::Duration;

use clap::Args;

use super::keys::Grant;
use crate::access::mint;
use crate::clock::Clock;
use crate::config::{self, Settings};

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(flatten)]
    grant: Grant,
    /// How long it lives
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime_serde::re::humantime::parse_duration)]
    ttl: Duration,
}

pub(super) fn run(
    load: impl FnOnce(&[(&str, String)]) -> Result<Settings, config::Error>,
    flags: Flags,
) -> Result<(), Box<dyn Error>> {
    let settings = load(&[])?;
    let caller = flags.grant.caller(&settings)?;
    println!("{}", mint(&settings.auth.jwt, &caller, flags.ttl, &Clock::default())?);
    Ok(())
}
