//! `partita ls`: uploads, or files.

use clap::Args;
use indicatif::HumanBytes;

use super::asking;
use super::ending::{Failure, moment, show, word};
use crate::client::{FileEntry, Upload, UploadFilter};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Only uploads in this state: creating, open, completing, completed, aborting, aborted, failed, deleting or deleted
    #[arg(long, conflicts_with = "files")]
    state: Option<String>,
    /// Files instead: completed uploads of your own, and those that are shared with you
    #[arg(long)]
    files: bool,
    /// At most so many, the newest; 0 for all
    #[arg(long, value_name = "N", default_value = "100")]
    limit: usize,
    #[command(flatten)]
    asking: asking::How,
}

pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let (service, output) = (flags.asking.service()?, flags.asking.output);
    let limit = Some(flags.limit).filter(|limit| *limit > 0);
    if flags.files {
        for file in service.files(limit).await? {
            show(output, &file.json, || file_line(&file.known));
        }
        return Ok(());
    }
    let filter = UploadFilter { state: flags.state, fingerprint: None };
    for upload in service.uploads(&filter, limit).await? {
        show(output, &upload.json, || upload_line(&upload.known));
    }
    Ok(())
}

fn file_line(file: &FileEntry) -> String {
    let (size, owner) = (HumanBytes(file.size.unsigned_abs()).to_string(), word(&file.owner));
    format!("{}  {size:>11}  {}  {owner:10}  {}", file.id, moment(&file.created_at), word(&file.filename))
}

fn upload_line(upload: &Upload) -> String {
    let size = upload.size.map_or_else(|| "?".to_owned(), |size| HumanBytes(size.unsigned_abs()).to_string());
    let share = match (upload.state.as_str(), upload.size) {
        ("completed", _) => "100 %".to_owned(),
        ("open", Some(size)) if size > 0 => format!("{} %", 100 * upload.recorded_bytes.clamp(0, size) / size),
        _ => String::new(),
    };
    let (state, created, name) = (&upload.state, moment(&upload.created_at), word(&upload.filename));
    format!("{}  {state:10}  {size:>11}  {share:>5}  {created}  {name}", upload.id)
}
