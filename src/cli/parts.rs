//! `partita parts`: the recorded parts of an upload.

use clap::Args;

use super::asking;
use super::ending::{Failure, printable, show};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The upload's id
    id: String,
    /// At most so many; 0 for all
    #[arg(long, value_name = "N", default_value = "0")]
    limit: usize,
    #[command(flatten)]
    asking: asking::How,
}

pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let limit = Some(flags.limit).filter(|limit| *limit > 0);
    for part in flags.asking.service()?.parts(&flags.id, limit).await? {
        show(flags.asking.output, &part.json, || {
            let known = &part.known;
            let checksum = known.checksum.as_deref().unwrap_or_default();
            printable(&format!("{:5}  {:>12}  {}  {checksum}", known.part_number, known.size, known.etag))
        });
    }
    Ok(())
}
