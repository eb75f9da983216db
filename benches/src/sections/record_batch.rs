//! A thousand parts in one call, at the ledger.

use std::time::Instant;

use partita::upload::{Owner, Part};
use sqlx::PgPool;
use uuid::Uuid;

use crate::bench::{Bench, DATABASES, Kind};
use crate::measure::Series;
use crate::report::{Goal, Line, Section, figures};
use crate::{Result, ledger, plain, service};

const PARTS: usize = 1_000;
const UPLOADS: usize = 64;

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let mut section = Section {
        title: "Record 1,000 parts in one call",
        about: format!(
            "At the ledger, one batch of {PARTS} parts after the other, each durable before the next, with the check that the upload \
             is open and its owner's. Beside the raw driver's best, which checks nothing: on SQLite rusqlite's prepared statement in \
             one transaction (WAL, synchronous FULL), on PostgreSQL one `INSERT … SELECT FROM UNNEST` by sqlx; both upsert into a table \
             of the same shape."
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
    let parts = (1..=PARTS as i32).map(ledger::part).collect::<Result<Vec<Part>>>()?;
    let mut raw = Raw::open(kind, &raw_url).await?;
    let (mut own, mut rival) = (Series::default(), Series::default());
    for round in 0..=bench.pick(9, 3) {
        let began = Instant::now();
        raw.record(&ids[..batches]).await?;
        let raw_rate = (batches * PARTS) as f64 / began.elapsed().as_secs_f64();
        let began = Instant::now();
        for id in &ids[..batches] {
            ledger::record(&store, &owner, *id, &parts).await?;
        }
        let own_rate = (batches * PARTS) as f64 / began.elapsed().as_secs_f64();
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

enum Raw {
    Sqlite(rusqlite::Connection),
    Postgres(PgPool),
}

impl Raw {
    async fn open(kind: Kind, url: &str) -> Result<Raw> {
        let table = plain::table("raw_parts", kind == Kind::Sqlite);
        Ok(match kind {
            Kind::Sqlite => {
                let db = rusqlite::Connection::open(url.trim_start_matches("sqlite://"))?;
                db.execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {table}"))?;
                Raw::Sqlite(db)
            }
            Kind::Postgres => {
                let pool = PgPool::connect(url).await?;
                sqlx::query(sqlx::AssertSqlSafe(table)).execute(&pool).await?;
                Raw::Postgres(pool)
            }
        })
    }

    /// A batch of parts for each of these uploads, one after the other.
    async fn record(&mut self, ids: &[Uuid]) -> Result<()> {
        const SET: &str = "ON CONFLICT (upload_id, part_number) DO UPDATE SET etag = excluded.etag, size = excluded.size, \
                           checksum = excluded.checksum, recorded_at = excluded.recorded_at";
        let etags: Vec<String> = (1..=PARTS).map(service::etag).collect();
        match self {
            Raw::Sqlite(db) => {
                for id in ids {
                    let transaction = db.transaction()?;
                    let mut statement = transaction.prepare_cached(&format!(
                        "INSERT INTO raw_parts (upload_id, part_number, etag, size, recorded_at) VALUES (?, ?, ?, ?, ?) {SET}"
                    ))?;
                    for (index, etag) in etags.iter().enumerate() {
                        statement.execute((id.as_bytes(), index as i64 + 1, etag, 8 << 20, 1_795_313_820_000_i64))?;
                    }
                    drop(statement);
                    transaction.commit()?;
                }
            }
            Raw::Postgres(pool) => {
                let numbers: Vec<i32> = (1..=PARTS as i32).collect();
                for id in ids {
                    sqlx::query(sqlx::AssertSqlSafe(format!(
                        "INSERT INTO raw_parts (upload_id, part_number, etag, size, recorded_at) \
                         SELECT $1, number, etag, 8388608, 1795313820000 FROM UNNEST($2::int[], $3::text[]) AS new (number, etag) {SET}"
                    )))
                    .bind(id)
                    .bind(&numbers)
                    .bind(&etags)
                    .execute(&*pool)
                    .await?;
                }
            }
        }
        Ok(())
    }
}
