//! One part for each request, durable before the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use partita::store::Store;
use partita::upload::{Owner, Upload};
use sea_orm::DatabaseConnection;
use uuid::Uuid;

use super::peak_line;
use crate::bench::{Bench, DATABASES, Kind};
use crate::child::{self, Listening};
use crate::load::{self, Call, Done, Until};
use crate::measure::{Cpu, Series};
use crate::report::{Goal, Line, Section, Table, figures, micros};
use crate::service::{Callers, Service, record_one};
use crate::{Result, ledger, plain};

const UPLOADS: usize = 64;
/// Of each: more in all than can be recorded in one run, so that none is recorded twice.
const PARTS: usize = 10_000;
/// How many wait for their answers at once; and how many of them the plain way is given at its best.
const MANY: usize = 256;
const FEW: usize = 16;

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let mut section = Section {
        title: "Record one part for each request",
        about: format!(
            "Durable before the answer, over {UPLOADS} uploads of {PARTS} parts, none of them recorded before, {MANY} in flight and {FEW}: first at the ledger, then \
             through HTTP (`recordPart`). Beside it the plain way: sea-orm, one upsert for each part, each its own transaction, in a \
             table of the same shape on the same disk, with one connection on SQLite (WAL, synchronous FULL) and sixteen on PostgreSQL \
             (fsync on); through HTTP that statement alone behind a route of poem. It checks nothing. Ours sees to it in the same \
             statement that the upload is open still, and the goal is for that. A request also has to know whose the upload is, which \
             costs a lookup of it before: what is left of the ratio then stands below without a goal, for the rival does nothing like it."
        ),
        ..Section::default()
    };
    let time = Until::Elapsed(bench.pick(Duration::from_secs(3), Duration::from_millis(700)));
    let mut rows = Vec::new();
    for kind in DATABASES {
        section.lines.extend(at_the_ledger(bench, kind, time).await?);
    }
    for kind in DATABASES {
        let (row, peak) = through_http(bench, kind, time).await?;
        rows.extend(row);
        section.lines.push(peak);
    }
    section.tables.push(Table {
        columns: vec!["through HTTP", "parts/s, wall", "server CPU per part", "PostgreSQL's CPU per part"],
        rows,
    });
    Ok(section)
}

async fn at_the_ledger(bench: &Bench, kind: Kind, time: Until) -> Result<Vec<Line>> {
    let (url, plain_url) = (bench.database(kind).await?, bench.database(kind).await?);
    let store = ledger::open(&url).await?;
    ledger::fill(&url, UPLOADS as u64, 1, false).await?;
    let ids: Arc<[Uuid]> = ledger::ids(&url).await?.into();
    let db = plain::connect(&plain_url).await?;
    let (mut ours, mut rival) = (<[Series; 4]>::default(), Series::default());
    let ways = [(MANY, Check::No), (MANY, Check::Whose), (FEW, Check::No), (FEW, Check::Whose)];
    for _ in 0..bench.pick(7, 2) {
        for (series, (in_flight, check)) in ours.iter_mut().zip(ways) {
            ledger::empty(&url, "parts").await?;
            series.push(recorded(&store, &ids, in_flight, check, time).await?.rate());
        }
        ledger::empty(&plain_url, plain::TABLE).await?;
        rival.push(plainly(&db, &ids, FEW, time).await?.rate());
    }
    db.close().await?;
    store.close().await;
    let line = |what: String, goal, own: &Series| Line {
        what,
        goal,
        ratio: own.over(&rival),
        unit: " ×",
        ours: figures(own, "/s"),
        beside: figures(&rival, "/s"),
        by: "parts per second, wall",
    };
    let lines = ours.iter().zip(ways).map(|(own, (in_flight, check))| {
        let what = format!(
            "{}, {in_flight} in flight{}, beside one statement each by {FEW} tasks",
            kind.name(),
            check.words()
        );
        let is_held = in_flight == MANY && check == Check::No;
        line(what, if is_held { Goal::AtLeast(8.0) } else { Goal::None }, own)
    });
    Ok(lines.collect())
}

/// What is looked up before a part is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// Nothing: the upload is known.
    No,
    /// The upload, each time, and whose it is.
    Whose,
}

impl Check {
    fn words(self) -> &'static str {
        match self {
            Check::No => "",
            Check::Whose => ", with the check whose upload it is",
        }
    }
}

async fn recorded(store: &Store, ids: &Arc<[Uuid]>, in_flight: usize, check: Check, until: Until) -> Result<Done> {
    let owner = Owner("owner-0".into());
    let mut known = Vec::with_capacity(ids.len());
    for id in ids.iter() {
        known.push(ledger::find(store, &owner, *id).await?);
    }
    let workers = vec![(store.clone(), owner, Arc::<[Upload]>::from(known)); in_flight];
    load::work(workers, until, move |(store, owner, known), index| {
        Box::pin(async move {
            let upload = &known[index % known.len()];
            let part = ledger::part(number(index, known.len()))?;
            if check == Check::Whose {
                return ledger::record(store, owner, upload.id, Arc::new([part])).await;
            }
            store.record(upload, Arc::new([part])).await?;
            Ok(())
        })
    })
    .await
}

async fn plainly(db: &DatabaseConnection, ids: &Arc<[Uuid]>, in_flight: usize, until: Until) -> Result<Done> {
    load::work(vec![(db.clone(), ids.clone()); in_flight], until, |(db, ids), index| {
        Box::pin(async move { plain::record(db, ids[index % ids.len()], number(index, ids.len())).await })
    })
    .await
}

/// Which part comes next: the uploads take turns, as their clients do.
fn number(index: usize, uploads: usize) -> i32 {
    (index / uploads % PARTS) as i32 + 1
}

/// The rows of ours and of the plain route, with many and with few in flight.
async fn through_http(bench: &Bench, kind: Kind, time: Until) -> Result<(Vec<Vec<String>>, Line)> {
    let (url, plain_url) = (bench.database(kind).await?, bench.database(kind).await?);
    let service = Service::start(bench, &url, Callers::Unasked).await?;
    let uploads = service.begin_uploads(UPLOADS, PARTS as i64, 8 << 20).await?;
    let mut command = child::command(std::env::current_exe()?);
    command.args(["plain-route", &plain_url]);
    let route = Listening::start(command).await?;
    let call =
        |uploads: Vec<String>| move |index: usize| record_one(&uploads[index % UPLOADS], index / UPLOADS % PARTS + 1);
    let plain_call = |uploads: Vec<String>| {
        move |index: usize| {
            let path = format!("/{}/{}", uploads[index % UPLOADS], index / UPLOADS % PARTS + 1);
            Call::new(http::Method::PUT, path, &serde_json::json!({}))
        }
    };
    let route_address = SocketAddr::from(([127, 0, 0, 1], route.port));
    let mut rows = Vec::new();
    for in_flight in [MANY, FEW] {
        // Rate, CPU of the server, CPU of PostgreSQL.
        let (mut own, mut rival) = <([Series; 3], [Series; 3])>::default();
        for _ in 0..bench.pick(5, 2) {
            ledger::empty(&plain_url, plain::TABLE).await?;
            let cpu = (Cpu::of(&[route.id])?, bench.postgres.cpu()?);
            let done = load::calls(route_address, None, in_flight, time, plain_call(uploads.clone())).await?;
            push(&mut rival, &done, Cpu::of(&[route.id])?.since(&cpu.0), bench.postgres.cpu()?.since(&cpu.1));
            ledger::empty(&url, "parts").await?;
            let cpu = (service.cpu()?, bench.postgres.cpu()?);
            let done = load::calls(service.address, None, in_flight, time, call(uploads.clone())).await?;
            push(&mut own, &done, service.cpu()?.since(&cpu.0), bench.postgres.cpu()?.since(&cpu.1));
        }
        for (name, [rate, cpu, database]) in [("ours", &own), ("plain", &rival)] {
            rows.push(vec![
                format!("{}, {in_flight} in flight: {name}", kind.name()),
                figures(rate, ""),
                micros(cpu),
                if kind == Kind::Postgres { micros(database) } else { "in the server's".into() },
            ]);
        }
    }
    let peak = peak_line(&format!("one part a request, {}", kind.name()), &service)?;
    Ok((rows, peak))
}

fn push([rate, cpu, database]: &mut [Series; 3], done: &Done, spent: f64, spent_by_database: f64) {
    let count = done.latencies.len() as f64;
    rate.push(done.rate());
    cpu.push(spent / count);
    database.push(spent_by_database / count);
}
