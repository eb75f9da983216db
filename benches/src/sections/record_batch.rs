//! A thousand parts in one call, at the ledger.

use std::sync::Arc;
use std::time::{Duration, Instant};

use partita::upload::{Owner, Part};
use tokio::task::JoinHandle;

use crate::bench::{Bench, DATABASES, Kind};
use crate::measure::Series;
use crate::report::{Goal, Line, Section, figures};
use crate::{Result, ledger, raw};

const PARTS: usize = 1_000;
const UPLOADS: usize = 64;

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let mut section = Section {
        title: "Record 1,000 parts in one call",
        about: format!(
            "At the ledger, one batch of {PARTS} parts after the other, each durable before the next, with the check that the upload \
             is open and its owner's. Beside the raw driver's best, which checks nothing: on SQLite rusqlite's prepared statement in \
             one transaction (WAL, synchronous FULL), on PostgreSQL one `INSERT … SELECT FROM UNNEST` by sqlx; both upsert into a table \
             of the same shape, in a process of its own."
        ),
        ..Section::default()
    };
    for kind in DATABASES {
        section.lines.push(on(bench, kind).await?);
    }
    Ok(section)
}

async fn on(bench: &Bench, kind: Kind) -> Result<Line> {
    let batches = bench.pick(UPLOADS, 8);
    let (url, raw_url) = (bench.database(kind).await?, bench.database(kind).await?);
    let store = ledger::open(&url).await?;
    ledger::fill(&url, UPLOADS as u64, 1, false).await?;
    let ids = ledger::ids(&url).await?;
    let owner = Owner("owner-0".into());
    let parts: Arc<[Part]> = (1..=PARTS as i32).map(ledger::part).collect::<Result<_>>()?;
    let (mut own, mut rival) = (Series::default(), Series::default());
    for round in 0..=bench.pick(9, 3) {
        let raw_rate = raw::rate(kind, &raw_url, batches, PARTS).await?;
        let (store, owner, ids, parts) = (store.clone(), owner.clone(), ids[..batches].to_vec(), parts.clone());
        // In a task, as requests are served.
        let task: JoinHandle<Result<Duration>> = tokio::spawn(async move {
            let began = Instant::now();
            for id in ids {
                ledger::record(&store, &owner, id, parts.clone()).await?;
            }
            Ok(began.elapsed())
        });
        let own_rate = (batches * PARTS) as f64 / task.await??.as_secs_f64();
        // The first round inserts, and lets the files grow; the others write the same parts again, as both do.
        if round > 0 {
            rival.push(raw_rate);
            own.push(own_rate);
        }
    }
    store.close().await;
    Ok(Line {
        what: format!("of the raw driver's best on {}", kind.name()),
        goal: Goal::AtLeast(0.5),
        ratio: own.over(&rival),
        unit: " ×",
        ours: figures(&own, "/s"),
        beside: figures(&rival, "/s"),
        by: "parts per second, wall",
    })
}
