//! `partita show`: all about an upload.

use clap::Args;
use serde_json::Value;

use super::asking;
use super::ending::{Failure, printable, show};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// The upload's id, which is its file's, too
    id: String,
    #[command(flatten)]
    asking: asking::How,
}

pub(super) async fn run(flags: Flags) -> Result<(), Failure> {
    let upload = flags.asking.service()?.upload(&flags.id).await?;
    show(flags.asking.output, &upload.json, || {
        let mut lines = Vec::new();
        tell("", &upload.json, &mut lines);
        lines.join("\n")
    });
    Ok(())
}

/// A line for each value, named by the way to it.
fn tell(name: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(member, value)| {
            let name = if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
            tell(&name, value, lines);
        }),
        Value::String(text) => lines.push(format!("{name:24} {}", printable(text))),
        other => lines.push(format!("{name:24} {other}")),
    }
}
