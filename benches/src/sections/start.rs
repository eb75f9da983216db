//! From the start of the process to readiness, and what memory it takes when nobody calls.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::Result;
use crate::bench::Bench;
use crate::child::free_port;
use crate::measure::{self, Series};
use crate::report::{Goal, Line, Section, figures};
use crate::service::{Callers, seconds_to_ready, set};

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let folder = tempfile::Builder::new().prefix("start.").tempdir_in(&bench.folder)?;
    // An empty folder and one that was started on before, each with the embedded S3 and with another.
    let mut seconds = <[Series; 4]>::default();
    let mut idle = <[Series; 2]>::default();
    let rounds = bench.pick(15, 3);
    for round in 0..rounds {
        for (column, embedded) in [true, false].into_iter().enumerate() {
            let data = folder.path().join(format!("{column}-{round}"));
            for (row, again) in [false, true].into_iter().enumerate() {
                let (ready, mut child) = seconds_to_ready(command(bench, &data, embedded)?).await?;
                seconds[2 * column + row].push(ready);
                // Once is enough: it does not change from start to start, but takes a while to settle.
                if again && round + 1 == rounds {
                    tokio::time::sleep(bench.pick(Duration::from_secs(10), Duration::from_secs(1))).await;
                    idle[column].push(measure::resident(child.id().ok_or("the service ended")?)?);
                }
                child.kill().await?;
            }
        }
    }
    let mut section = Section {
        title: "Start, and rest",
        about: "From the start of the process to the first `200` of `/readyz`, asked for every millisecond, on SQLite: in an empty folder, \
                and in one that has its tables already; with the embedded S3 (nothing set) and with another S3. Then the memory that is \
                resident after ten seconds without a call. The peaks under load are in the sections on signing and recording."
            .into(),
        ..Section::default()
    };
    let names = [
        "ready in an empty folder, embedded S3",
        "ready again, embedded S3",
        "ready in an empty folder, another S3",
        "ready again, another S3",
    ];
    for (name, series) in names.into_iter().zip(&seconds) {
        section.lines.push(Line {
            what: name.into(),
            goal: Goal::AtMost(0.3),
            ratio: series.clone(),
            unit: " s",
            ours: figures(series, " s"),
            beside: "–".into(),
            by: "wall",
        });
    }
    for (name, series) in ["embedded S3", "another S3"].into_iter().zip(&idle) {
        section.lines.push(Line {
            what: format!("idle memory, {name}"),
            goal: Goal::AtMost(40.0),
            ratio: series.times(1.0 / f64::from(1 << 20)),
            unit: " MiB",
            ours: "–".into(),
            beside: "–".into(),
            by: "VmRSS",
        });
    }
    Ok(section)
}

/// The service as it is started by hand.
fn command(bench: &Bench, data: &Path, embedded: bool) -> Result<Command> {
    let mut command = Command::new(&bench.partita);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    if embedded {
        let listen = format!("127.0.0.1:{}", free_port()?);
        command.env("PARTITA_DATA_DIR", data).env("PARTITA_EMBEDDED_S3_LISTEN", listen).current_dir(&bench.folder);
    } else {
        let url = format!("sqlite://{}", data.join("partita.sqlite").display());
        set(&mut command, bench, &url, Callers::Unasked, data);
    }
    Ok(command)
}
