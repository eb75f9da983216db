//! `partita share`: who else may have a file, and links for those whom the service does not know.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::asking;
use super::ending::{Failure, moment, show, tell, word};

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("with").required(true).args(["subjects", "link"]))]
pub(super) struct Flags {
    /// The file's id
    id: String,
    /// Who may have it: owners as the service knows them
    #[arg(value_name = "SUBJECT")]
    subjects: Vec<String>,
    /// Take it back from them
    #[arg(long, requires = "subjects")]
    revoke: bool,
    /// Print a link instead: whoever has it has the file, for as long as it lives
    #[arg(long)]
    link: bool,
    /// How long the link lives, such as 1h [default: the service's, 60s]
    #[arg(long, value_name = "DURATION", requires = "link", value_parser = humantime_serde::re::humantime::parse_duration)]
    ttl: Option<Duration>,
    #[command(flatten)]
    asking: asking::How,
}

pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let Flags { id, subjects, revoke, ttl, asking, .. } = flags;
    let service = asking.service()?;
    if subjects.is_empty() {
        let link = service.download_url(&id, ttl).await?;
        show(asking.output, &link.json, || link.known.url.clone());
        tell(&format!("good until {}", moment(&link.known.expires_at)));
        return Ok(());
    }
    for subject in &subjects {
        service.share(&id, subject, !revoke).await?;
        let told = json!({ "id": id, "subject": subject, "shared": !revoke });
        let (how, name) = (if revoke { "no longer shared with" } else { "shared with" }, word(subject));
        show(asking.output, &told, || format!("{id}  {how} {name}"));
    }
    Ok(())
}
