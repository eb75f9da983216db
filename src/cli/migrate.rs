//! `partita migrate`: a step of each release on PostgreSQL; SQLite is brought up to date when the service starts.

use std::error::Error;

use crate::app;
use crate::clock::Clock;
use crate::config::{self, Settings};

pub(super) async fn run(
    load: impl FnOnce(&[(&str, String)]) -> Result<Settings, config::Error>,
) -> Result<(), Box<dyn Error>> {
    let settings = load(&[])?;
    // On SQLite nobody else may be at the file.
    let _lock = app::lock(&settings)?;
    let store = app::open_store(&settings, Clock::default()).await?;
    let outcome = store.migrate().await.map_err(app::StartError::from);
    store.close().await;
    outcome?;
    println!("the database is up to date");
    Ok(())
}
