//! `partita rm`: deletes files.

use clap::Args;
use serde_json::json;

use super::asking;
use super::ending::{Failure, show};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The files' ids; only their owner may
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    asking: asking::How,
}

pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let service = flags.asking.service()?;
    for id in &flags.ids {
        service.delete(id).await?;
        show(flags.asking.output, &json!({ "id": id, "deleted": true }), || format!("{id}  deleted"));
    }
    Ok(())
}
