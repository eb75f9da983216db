//! `partita resume`: goes on with an upload that was begun here or anywhere else.

use std::path::PathBuf;

use clap::Args;

use super::ending::Failure;
use super::sending::{self, Sending};
use super::upload::EXIT_CODES;
use crate::client::File;

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Flags {
    /// The upload's id; left out, the last upload that was begun of this very file is found by the file itself
    #[arg(value_name = "ID")]
    id_or_file: String,
    /// The file: the same one, or S3's copy of it, anywhere. Another is refused before a byte is sent
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    sending: sending::How,
}

pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let (id, path) = match flags.file {
        Some(file) => (Some(flags.id_or_file), file),
        None => (None, PathBuf::from(flags.id_or_file)),
    };
    let name = path.display().to_string();
    let file = File::open(&path).map_err(|error| {
        let is_id = id.is_none() && uuid::Uuid::parse_str(&name).is_ok();
        let hint = if is_id { ": give the file, too: partita resume ID FILE" } else { "" };
        Failure::usage(format!("{name} cannot be read: {error}{hint}"))
    })?;
    let sending = Sending::begin(flags.sending, 1, Some(file.size()))?;
    let progress = sending.progress.file(&name, Some(file.size()));
    let outcome = sending.of(&progress).resume(id.as_deref(), file).await;
    let outcome = sending.end(&progress, &path, false, outcome).await;
    sending.progress.end();
    outcome.map_err(|error| Failure::Some { failed: 1, of: 1, kind: Some(error.kind) })
}
