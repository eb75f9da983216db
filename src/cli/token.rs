//! `partita token`: makes a short-lived token by the settings' own secret, for trying.

use std::error::Error;
use std::time::Duration;

use clap::Args;

use super::keys::{check_presets, scope, subject};
use crate::access::{Caller, Scope, mint};
use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::upload::Owner;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Whose uploads the token makes and reaches (its `sub`)
    #[arg(long, value_parser = subject)]
    owner: String,
    /// What it may do: uploads:write, files:read, files:write or admin; may be given several times
    #[arg(long = "scope", required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    /// A preset that it is bound to; may be given several times. Else it may use all
    #[arg(long = "preset", value_name = "NAME")]
    presets: Vec<String>,
    /// How long it lives
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime_serde::re::humantime::parse_duration)]
    ttl: Duration,
}

pub(super) fn run(
    load: impl FnOnce(&[(&str, String)]) -> Result<Settings, config::Error>,
    flags: Flags,
) -> Result<(), Box<dyn Error>> {
    let settings = load(&[])?;
    check_presets(&settings, &flags.presets)?;
    let presets = (!flags.presets.is_empty()).then_some(flags.presets);
    let caller = Caller { owner: Owner(flags.owner), scopes: flags.scopes, presets };
    println!("{}", mint(&settings.auth.jwt, &caller, flags.ttl, &Clock::default())?);
    Ok(())
}
