//! `partita download`: a file from S3 to here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::connection::Connection;
use super::ending::{Failure, Format, print, printable};
use super::progress::{Progress, Telling};
use super::sending::{Persistence, stopped_by_signals};
use crate::client::{Destination, Store, Watch, download};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The file's id
    id: String,
    /// Where to: a file, a folder, or `-` for standard output [default: its own name, here]
    #[arg(short = 'o', long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// Take the place of a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    persistence: Persistence,
    /// How the result is printed: on standard output, unless the file goes there
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    output: Format,
    #[command(flatten)]
    telling: Telling,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let progress = Progress::new(flags.telling.mode(), 1, None);
    let told = progress.clone();
    let (service, _) = flags.connection.open(Arc::new(move |error, pause| told.retry(error, pause)))?;
    let file = service.file(&flags.id).await?.known;
    let at = |path: PathBuf| Destination::File { path, may_replace: flags.force };
    let to = match flags.to.as_deref() {
        Some(path) if path == Path::new("-") => Destination::Output,
        Some(path) if path.is_dir() => at(path.join(own_name(&file.filename)?)),
        Some(path) => at(path.to_owned()),
        None => at(own_name(&file.filename)?.into()),
    };
    if let Destination::File { path, .. } = &to
        && path.is_file()
        && !flags.force
    {
        return Err(Failure::usage(format!("{} is there already; give --force to take its place", path.display())));
    }
    let Persistence { stall_timeout, patience } = flags.persistence;
    let store = Store::new(stall_timeout).map_err(Failure::usage)?;
    let service = service.with_patience(patience);
    let told = progress.file(&file.filename, Some(file.size.unsigned_abs()));
    let watch: Arc<dyn Watch> = told.clone();
    let outcome = download(&service, &store, &file, &to, &watch, &stopped_by_signals(&progress), patience).await;
    let event = match &outcome {
        Ok(is_verified) => json!({ "event": "completed", "id": file.id, "verified": is_verified }),
        Err(error) => json!({ "event": "failed", "id": file.id, "code": error.code, "detail": error.message }),
    };
    told.end(event);
    let is_verified = outcome?;
    let proof = if is_verified { "it has the checksum that S3 tells" } else { "nothing but the size was verified" };
    progress.note(&format!("{}: {proof}", file.filename));
    if let Destination::File { path, .. } = to {
        let path = path.display().to_string();
        match flags.output {
            Format::Text => print(&printable(&path)),
            Format::Json => print(&json!({ "id": file.id, "path": path, "verified": is_verified }).to_string()),
        }
    }
    Ok(())
}

/// The file's own name, which is not to lead anywhere else.
fn own_name(filename: &str) -> Result<&str, Failure> {
    let is_name = Path::new(filename).file_name().is_some_and(|name| name == filename);
    if is_name { Ok(filename) } else { Err(Failure::usage("the file's own name is none here; give one by --to")) }
}
