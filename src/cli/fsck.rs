//! `partita fsck`: holds the database and the bucket against each other, and mends what they disagree upon.

use std::collections::BTreeMap;
use std::error::Error;
use std::pin::pin;

use clap::Args;
use futures_util::TryStreamExt;
use serde_json::json;

use crate::app;
use crate::config::{self, Settings};
use crate::coordinator::{Coordinator, Disagreement, Finding, Kind};

/// So many files missing, and more than half of all, look like the wrong bucket.
const SUSPICIOUS: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Mend what can be mended without guessing; refused beside a running service on SQLite
    #[arg(long)]
    repair: bool,
    /// Say that the database came from a backup: nothing is swept until `partita fsck --repair` has gone through it
    #[arg(long, conflicts_with = "repair")]
    restored: bool,
    /// Mend even when most files are missing. Danger: with the wrong bucket configured every file would be given up
    #[arg(long, requires = "repair")]
    force: bool,
    /// JSON lines: one for each finding, then one with the numbers
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(
    load: impl FnOnce(&[(&str, String)]) -> Result<Settings, config::Error>,
    flags: Flags,
) -> Result<(), Box<dyn Error>> {
    crate::telemetry::start();
    let settings = load(&[])?;
    let _lock = if flags.repair { app::lock(&settings)? } else { None };
    let (coordinator, embedded) = app::open_coordinator(&settings).await?;
    let outcome = if flags.restored {
        coordinator.distrust_ledger().await.map_err(super::cause).map(|()| {
            println!(
                "marked as restored: nothing is swept until `partita fsck --repair` has gone through the database"
            );
        })
    } else {
        Check { coordinator: &coordinator, flags: &flags, numbers: BTreeMap::new() }.run().await
    };
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    outcome
}

struct Check<'a> {
    coordinator: &'a Coordinator,
    flags: &'a Flags,
    numbers: BTreeMap<String, usize>,
}

impl Check<'_> {
    async fn run(mut self) -> Result<(), Box<dyn Error>> {
        let (rows, completed, missing) = self.look().await?;
        let suspicious = missing >= SUSPICIOUS && missing * 2 > completed;
        if self.flags.repair && suspicious && !self.flags.force {
            let refusal =
                "nothing is mended: of {completed} files {missing} are missing. Is this the right bucket? Else --force";
            return Err(refusal
                .replace("{completed}", &completed.to_string())
                .replace("{missing}", &missing.to_string())
                .into());
        }
        let mut left = if self.flags.repair { self.mend().await? } else { self.numbers.values().sum() };
        left += self.strangers().await?;
        left += self.unknown_objects().await?;
        self.conclude(rows, completed, left).await
    }

    /// Looks at every row; what is found is told. Rows, completed ones, and those of them without object.
    async fn look(&mut self) -> Result<(usize, usize, usize), Box<dyn Error>> {
        let (mut rows, mut completed, mut missing) = (0, 0, 0);
        let mut after = None;
        loop {
            let page = self.coordinator.examine_rows(after).await.map_err(super::cause)?;
            rows += page.rows;
            completed += page.completed;
            for finding in &page.findings {
                missing += usize::from(finding.kind == Disagreement::ObjectMissing);
                self.tell(finding);
            }
            match page.next {
                Some(last) => after = Some(last),
                None => return Ok((rows, completed, missing)),
            }
        }
    }

    /// Goes through the rows once more and mends. How many findings are left.
    async fn mend(&mut self) -> Result<usize, Box<dyn Error>> {
        let (mut left, mut after) = (0, None);
        loop {
            let page = self.coordinator.examine_rows(after).await.map_err(super::cause)?;
            for finding in &page.findings {
                let mended = match self.coordinator.mend(finding).await {
                    Ok(upload) if finding.kind.is_mendable() => {
                        self.say(json!({ "mended": finding.id, "state": upload.status.state().name() }), || {
                            format!("  mended, now {}: {}", upload.status.state(), finding.id)
                        });
                        true
                    }
                    Ok(_) => false,
                    // A verdict: it ended, as what it is.
                    Err(error) if error.is_verdict() => true,
                    Err(error) => {
                        self.say(json!({ "notMended": finding.id }), || {
                            format!("  not mended: {}: {error}", finding.id)
                        });
                        false
                    }
                };
                left += usize::from(!mended);
            }
            match page.next {
                Some(last) => after = Some(last),
                None => return Ok(left),
            }
        }
    }

    /// Open uploads at S3 that the ledger does not answer for. Those of uploads that it has are mended; the others are told.
    async fn strangers(&mut self) -> Result<usize, Box<dyn Error>> {
        let mut left = 0;
        let coordinator = self.coordinator;
        let mut strangers = pin!(coordinator.strangers());
        while let Some(stranger) = strangers.try_next().await.map_err(super::cause)? {
            let mends = self.flags.repair && stranger.kind == Kind::Stray;
            let grace = std::time::Duration::from_secs(60 * 60);
            let mended = mends && coordinator.abort_stranger(&stranger, grace).await.map_err(super::cause)?;
            left += usize::from(!mended);
            let kind = format!("{} open upload", stranger.kind);
            *self.numbers.entry(kind.clone()).or_default() += 1;
            let key = &stranger.open.key;
            self.say(json!({ "finding": kind, "key": key, "mended": mended }), || {
                format!("{kind}{}: {key}", if mended { ", aborted" } else { "" })
            });
        }
        Ok(left)
    }

    async fn unknown_objects(&mut self) -> Result<usize, Box<dyn Error>> {
        let mut found = 0;
        let coordinator = self.coordinator;
        let mut unknown = pin!(coordinator.unknown_objects());
        while let Some(finding) = unknown.try_next().await.map_err(super::cause)? {
            self.tell(&finding);
            found += 1;
        }
        Ok(found)
    }

    async fn conclude(self, rows: usize, completed: usize, left: usize) -> Result<(), Box<dyn Error>> {
        let mut restored = self.coordinator.distrusts_ledger().await.map_err(super::cause)?;
        if restored && self.flags.repair {
            self.coordinator.trust_ledger().await.map_err(super::cause)?;
            restored = false;
        }
        let numbers =
            json!({ "rows": rows, "completed": completed, "found": self.numbers, "left": left, "restored": restored });
        self.say(numbers, || {
            let mut text = format!("{rows} uploads, {completed} of them completed");
            for (kind, count) in &self.numbers {
                text += &format!("\n{count:>8}  {kind}");
            }
            if restored {
                text += "\nthe database is marked as restored: nothing is swept until `partita fsck --repair`";
            }
            text
        });
        match left {
            0 => Ok(()),
            1 => Err("one finding is left as it is".into()),
            left => Err(format!("{left} findings are left as they are").into()),
        }
    }

    fn tell(&mut self, finding: &Finding) {
        *self.numbers.entry(finding.kind.to_string()).or_default() += 1;
        let state = finding.state.map(|state| state.name());
        let line = json!({ "finding": finding.kind.to_string(), "id": finding.id, "key": finding.key, "state": state });
        self.say(line, || format!("{}: {} ({}) {}", finding.kind, finding.id, state.unwrap_or("no row"), finding.key));
    }

    fn say(&self, line: serde_json::Value, text: impl FnOnce() -> String) {
        if self.flags.json {
            println!("{line}");
        } else {
            println!("{}", text());
        }
    }
}
