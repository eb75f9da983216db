//! What the verbs have in common that ask one question, or say one thing, to the service.

use std::sync::Arc;

use clap::Args;

use super::connection::Connection;
use super::ending::{Failure, Format, tell};
use crate::client::Service;

#[derive(Debug, Args)]
pub(super) struct How {
    #[command(flatten)]
    connection: Connection,
    /// How results are printed on standard output
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub(super) output: Format,
}

impl How {
    /// The service: it is waited for a few seconds, and not in silence.
    pub(super) fn service(&self) -> Result<Service, Failure> {
        let on_retry = |error: &crate::client::Error, _| tell(&format!("partita: {error}; trying again"));
        self.connection.open(Arc::new(on_retry)).map(|(service, _)| service)
    }
}
