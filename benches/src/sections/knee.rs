//! Whole uploads under rising load.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::Result;
use crate::bench::{Bench, Kind};
use crate::load::{self, Call, Connection, Done, Until};
use crate::measure::{self, Cpu};
use crate::report::{Section, Table, short};
use crate::service::{Callers, Service, record, sign, text};

const PARTS: usize = 8;
const PART_SIZE: usize = 8 << 20;
const LEVELS: &[usize] = &[1, 2, 4, 8, 16, 32, 64, 128, 256];
const QUICK_LEVELS: &[usize] = &[1, 4, 64];
/// The load whose p99 is what others are held against: the machine is busy, and nobody waits yet.
const CALM: usize = 4;
/// Past the knee p99 is this much longer.
const TOO_LONG: f64 = 4.0;

/// What one level came to.
struct Level {
    in_flight: usize,
    done: Done,
    server: f64,
    database: f64,
    generator: f64,
    null_s3: f64,
}

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let mut section = Section {
        title: "Whole uploads, and where the knee is",
        about: format!(
            "An upload of {PARTS} parts of 8 MiB from its beginning to its end in five calls: `createUpload` with its part URLs, `signParts` \
             of all parts once more, `recordParts` twice with half of them, `completeUpload`; the parts go nowhere, for the S3 holds \
             nothing. So many at once, each as soon as the last has ended. \"Per core\" is uploads for each second of CPU that the service \
             had. The knee is the highest load up to which p99 stays below {TOO_LONG} times the p99 at {CALM} in flight. Generator, services, \
             PostgreSQL and S3 share the machine, so the knee is that of all together; it is the CPU columns that tell whose it is."
        ),
        ..Section::default()
    };
    let mut rows = Vec::new();
    for (name, kind, replicas) in [
        ("SQLite", Kind::Sqlite, 1),
        ("PostgreSQL", Kind::Postgres, 1),
        ("PostgreSQL, three replicas", Kind::Postgres, 3),
    ] {
        let url = bench.database(kind).await?;
        let mut services = Vec::new();
        for _ in 0..replicas {
            services.push(Service::start(bench, &url, Callers::Unasked).await?);
        }
        let services: Arc<[Service]> = services.into();
        let mut levels = Vec::new();
        for in_flight in bench.pick(LEVELS, QUICK_LEVELS) {
            levels.push(level(bench, &services, *in_flight).await?);
        }
        let calm = levels.iter().find(|level| level.in_flight == CALM).map_or(f64::NAN, Level::p99);
        let knee = levels.iter().take_while(|level| level.p99() < TOO_LONG * calm).last();
        if let Some(knee) = knee {
            section.notes.push(format!(
                "{name}: the knee is at {} in flight, {} uploads/s, p50 {} ms, p99 {} ms.",
                knee.in_flight,
                short(knee.done.rate()),
                short(knee.done.percentile(0.5) * 1e3),
                short(knee.p99() * 1e3),
            ));
        }
        rows.extend(levels.iter().map(|level| level.row(name)));
    }
    section.tables.push(Table {
        columns: vec![
            "",
            "in flight",
            "uploads/s",
            "per core",
            "p50 ms",
            "p99 ms",
            "service CPU",
            "PostgreSQL CPU",
            "generator CPU",
            "S3 CPU",
        ],
        rows,
    });
    section.notes.push("CPU in milliseconds per upload.".into());
    Ok(section)
}

async fn level(bench: &Bench, services: &Arc<[Service]>, in_flight: usize) -> Result<Level> {
    let mut connections = Vec::with_capacity(in_flight);
    for index in 0..in_flight {
        // Each replica has its share.
        connections.push(services[index % services.len()].connect().await?);
    }
    let ids: Vec<u32> = services.iter().map(|service| service.id).collect();
    let s3 = [bench.null_s3.id];
    let time = bench.pick(Duration::from_secs(10), Duration::from_millis(700));
    let (server, database, null_s3) = (Cpu::of(&ids)?, bench.postgres.cpu()?, Cpu::of(&s3)?);
    let generator = measure::own_cpu();
    let done =
        load::work(connections, Until::Elapsed(time), |connection, index| Box::pin(upload(connection, index))).await?;
    Ok(Level {
        in_flight,
        done,
        server: Cpu::of(&ids)?.since(&server),
        database: bench.postgres.cpu()?.since(&database),
        generator: measure::own_cpu() - generator,
        null_s3: Cpu::of(&s3)?.since(&null_s3),
    })
}

/// From its beginning to its end.
async fn upload(connection: &mut Connection, index: usize) -> Result<()> {
    let wanted = json!({
        "filename": format!("raw footage {index}.mov"), "contentType": "video/quicktime", "size": PARTS * PART_SIZE,
        "partUrls": {"count": PARTS},
    });
    let begun = connection.json(&Call::new(http::Method::POST, "/v1/uploads", &wanted)).await?;
    let id = text(&begun["upload"]["id"])?;
    connection.call(&sign(&id, &format!("1-{PARTS}"))).await?;
    connection.call(&record(&id, 1..=PARTS / 2)).await?;
    connection.call(&record(&id, PARTS / 2 + 1..=PARTS)).await?;
    let completed = connection.json(&Call::post(format!("/v1/uploads/{id}/complete"))).await?;
    match completed["state"].as_str() {
        Some("completed") => Ok(()),
        state => Err(format!("an upload is {state:?} after its completion").into()),
    }
}

impl Level {
    fn p99(&self) -> f64 {
        self.done.percentile(0.99)
    }

    fn row(&self, name: &str) -> Vec<String> {
        let count = self.done.latencies.len() as f64;
        let milliseconds = |spent: f64| short(spent / count * 1e3);
        vec![
            name.to_owned(),
            self.in_flight.to_string(),
            short(self.done.rate()),
            short(count / self.server),
            short(self.done.percentile(0.5) * 1e3),
            short(self.p99() * 1e3),
            milliseconds(self.server),
            milliseconds(self.database),
            milliseconds(self.generator),
            milliseconds(self.null_s3),
        ]
    }
}
