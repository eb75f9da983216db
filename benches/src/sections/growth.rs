//! Whether a full ledger is slower than an empty one, and what a finished part takes on disk.

use std::sync::Arc;

use crate::bench::{Bench, DATABASES, Kind};
use crate::load::{self, Call, Until};
use crate::measure::Series;
use crate::report::{Goal, Line, Section, Table, figures, micros};
use crate::service::{Callers, Service, begin, record, sign, text};
use crate::{Result, ledger};

const IN_FLIGHT: usize = 16;
const PARTS: usize = ledger::PARTS as usize;
const PART_SIZE: i64 = 8 << 20;
/// What is done to each upload of a round, and last of all what a monitor asks.
const CALLS: [&str; 6] = ["create", "get", "sign", "record", "complete", "metrics"];

/// What one service spent on each of [`CALLS`]: its own CPU time, and PostgreSQL's.
type Spent = [(Series, Series); CALLS.len()];

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let (few, many) = bench.pick((1_000, 1_000_000), (100, 5_000));
    let owners = bench.pick(10_000, 100);
    let mut section = Section {
        title: "Growth",
        about: format!(
            "The same calls on a ledger of {many} completed uploads of {PARTS} parts each, by {owners} owners, and on one of {few}: server \
             CPU per call (`createUpload`, `getUpload`, `signParts` of all {PARTS} parts, `recordParts` of them, `completeUpload`), \
             {IN_FLIGHT} in flight, both services side by side, a few hundred uploads of each in turn. The ledgers are filled by SQL. \
             `/metrics`, which counts all uploads, is told as a note."
        ),
        ..Section::default()
    };
    let mut rows = Vec::new();
    for kind in DATABASES {
        let (small, large) = (filled(bench, kind, few, owners).await?, filled(bench, kind, many, owners).await?);
        let (mut at_small, mut at_large) = <(Spent, Spent)>::default();
        let count = bench.pick(600, 60);
        for round in 0..=bench.pick(7, 2) {
            for (service, spent) in [(&small, &mut at_small), (&large, &mut at_large)] {
                let figures = calls(bench, service, count).await?;
                // The first round finds nothing in any cache.
                if round > 0 {
                    for (index, (own, database)) in figures.into_iter().enumerate() {
                        spent[index].0.push(own);
                        spent[index].1.push(database);
                    }
                }
            }
        }
        for (index, name) in CALLS.into_iter().enumerate() {
            let ((small, small_database), (large, large_database)) = (&at_small[index], &at_large[index]);
            let monitored = name == "metrics";
            section.lines.push(Line {
                what: format!("{name}, {}", kind.name()),
                goal: if monitored { Goal::None } else { Goal::AtMost(1.3) },
                ratio: large.over(small),
                unit: " ×",
                ours: micros(large),
                beside: micros(small),
                by: "CPU time of the services",
            });
            if kind == Kind::Postgres {
                rows.push(vec![name.to_owned(), micros(large_database), micros(small_database)]);
            }
        }
    }
    section.tables.push(Table { columns: vec!["PostgreSQL's own CPU", "full", "nearly empty"], rows });
    for kind in DATABASES {
        section.lines.push(disk(bench, kind).await?);
    }
    Ok(section)
}

/// A service on a ledger that holds so many completed uploads.
async fn filled(bench: &Bench, kind: Kind, uploads: u64, owners: u64) -> Result<Service> {
    let url = bench.database(kind).await?;
    ledger::open(&url).await?.close().await;
    ledger::fill(&url, uploads, owners, true).await?;
    Service::start(bench, &url, Callers::Unasked).await
}

/// CPU seconds per call, the service's and PostgreSQL's, of so many uploads from their beginning to their end.
async fn calls(bench: &Bench, service: &Service, count: usize) -> Result<Vec<(f64, f64)>> {
    let mut spent = Vec::with_capacity(CALLS.len());
    let mut ids: Arc<[String]> = Arc::default();
    for name in CALLS {
        let known = ids.clone();
        let (cpu, database) = (service.cpu()?, bench.postgres.cpu()?);
        let mut made = count;
        match name {
            "create" => ids = begin_all(service, count).await?.into(),
            "metrics" => {
                made = 5;
                load::calls(service.address, None, 1, Until::Count(made), |_| Call::get("/metrics")).await?;
            }
            _ => {
                let call = move |index: usize| {
                    let id = &known[index];
                    match name {
                        "get" => Call::get(format!("/v1/uploads/{id}")),
                        "sign" => sign(id, &format!("1-{PARTS}")),
                        "record" => record(id, 1..=PARTS),
                        _ => Call::post(format!("/v1/uploads/{id}/complete")),
                    }
                };
                load::calls(service.address, None, IN_FLIGHT, Until::Count(count), call).await?;
            }
        }
        let (cpu, database) = (service.cpu()?.since(&cpu), bench.postgres.cpu()?.since(&database));
        spent.push((cpu / made as f64, database / made as f64));
    }
    Ok(spent)
}

async fn begin_all(service: &Service, count: usize) -> Result<Vec<String>> {
    let ids = Arc::new(std::sync::Mutex::new(Vec::with_capacity(count)));
    let mut connections = Vec::new();
    for _ in 0..IN_FLIGHT {
        connections.push((service.connect().await?, ids.clone()));
    }
    load::work(connections, Until::Count(count), |(connection, ids), _| {
        Box::pin(async move {
            let begun = connection.json(&begin(PARTS as i64, PART_SIZE)).await?;
            let id = text(&begun["upload"]["id"])?;
            ids.lock().map_err(|_| "a worker panicked")?.push(id);
            Ok(())
        })
    })
    .await?;
    let mut ids = ids.lock().map_err(|_| "a worker panicked")?;
    Ok(std::mem::take(&mut *ids))
}

/// Bytes per finished part: two ledgers of uploads that were brought to their end by the service itself, in one 100 parts each, in the
/// other one; what the first has more on disk, by the parts that it has more. After a vacuum, so that it is rows that are compared
/// and not what deleted ones left.
async fn disk(bench: &Bench, kind: Kind) -> Result<Line> {
    const LARGE: usize = 100;
    let uploads = bench.pick(1_000, 60);
    let mut bytes = Vec::new();
    for parts in [LARGE, 1] {
        let url = bench.database(kind).await?;
        let service = Service::start(bench, &url, Callers::Unasked).await?;
        let ids = service.begin_uploads(uploads, parts as i64, PART_SIZE).await?;
        let mut connection = service.connect().await?;
        for id in ids {
            connection.call(&record(&id, 1..=parts)).await?;
            connection.call(&Call::post(format!("/v1/uploads/{id}/complete"))).await?;
        }
        service.stop().await?;
        bytes.push(ledger::bytes_on_disk(&url).await?);
    }
    let each = Series::from_iter([(bytes[0] - bytes[1]) / (uploads * (LARGE - 1)) as f64]);
    Ok(Line {
        what: format!("bytes on disk per finished part, {}", kind.name()),
        goal: Goal::AtMost(40.0),
        ratio: each.clone(),
        unit: " bytes",
        ours: figures(&Series::from_iter([bytes[0]]), " bytes"),
        beside: figures(&Series::from_iter([bytes[1]]), " bytes"),
        by: if kind == Kind::Sqlite {
            "size of the file after VACUUM: uploads of 100 parts, less uploads of one"
        } else {
            "pg_total_relation_size of all tables after VACUUM FULL: uploads of 100 parts, less uploads of one"
        },
    })
}
