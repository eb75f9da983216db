//! The raw driver's best at recording a batch of parts: no ORM, no service, no check. In a process of its own, for SQLite's caches
//! are shared within one.

use std::time::Instant;

use sqlx::PgPool;
use uuid::Uuid;

use crate::bench::Kind;
use crate::{Result, child, plain, service};

const TABLE: &str = "raw_parts";
const SET: &str = "ON CONFLICT (upload_id, part_number) DO UPDATE SET etag = excluded.etag, size = excluded.size, \
                   checksum = excluded.checksum, recorded_at = excluded.recorded_at";

/// Parts in a second, when so many batches of so many parts are recorded one after the other; the same parts every time.
///
/// # Errors
/// When the database refuses.
pub async fn rate(kind: Kind, url: &str, batches: usize, parts: usize) -> Result<f64> {
    let mut record = child::command(std::env::current_exe()?);
    record.args(["raw-batches", kind.name(), url, &batches.to_string(), &parts.to_string()]);
    let output = record.output().await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// What the process of [`rate`] does: it prints the rate.
///
/// # Errors
/// When the database refuses.
pub async fn record(kind: &str, url: &str, batches: &str, parts: &str) -> Result<()> {
    let (batches, parts): (u128, usize) = (batches.parse()?, parts.parse()?);
    let ids: Vec<Uuid> = (1..=batches).map(|id| Uuid::from_u128(id << 64)).collect();
    let etags: Vec<String> = (1..=parts).map(service::etag).collect();
    let seconds = if kind == Kind::Sqlite.name() {
        on_sqlite(url, &ids, &etags)?
    } else {
        on_postgres(url, &ids, &etags).await?
    };
    println!("{}", (ids.len() * parts) as f64 / seconds);
    Ok(())
}

fn on_sqlite(url: &str, ids: &[Uuid], etags: &[String]) -> Result<f64> {
    let mut db = rusqlite::Connection::open(url.trim_start_matches("sqlite://"))?;
    let table = plain::table(TABLE, true);
    db.execute_batch(&format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {table}"))?;
    let began = Instant::now();
    for id in ids {
        let transaction = db.transaction()?;
        let mut statement = transaction.prepare_cached(&format!(
            "INSERT INTO {TABLE} (upload_id, part_number, etag, size, recorded_at) VALUES (?, ?, ?, ?, ?) {SET}"
        ))?;
        for (index, etag) in etags.iter().enumerate() {
            statement.execute((id.as_bytes(), index as i64 + 1, etag, 8 << 20, 1_795_313_820_000_i64))?;
        }
        drop(statement);
        transaction.commit()?;
    }
    Ok(began.elapsed().as_secs_f64())
}

async fn on_postgres(url: &str, ids: &[Uuid], etags: &[String]) -> Result<f64> {
    let db = PgPool::connect(url).await?;
    sqlx::query(sqlx::AssertSqlSafe(plain::table(TABLE, false))).execute(&db).await?;
    let numbers: Vec<i32> = (1..).take(etags.len()).collect();
    let began = Instant::now();
    for id in ids {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "INSERT INTO {TABLE} (upload_id, part_number, etag, size, recorded_at) \
             SELECT $1, number, etag, 8388608, 1795313820000 FROM UNNEST($2::int[], $3::text[]) AS new (number, etag) {SET}"
        )))
        .bind(id)
        .bind(&numbers)
        .bind(etags)
        .execute(&db)
        .await?;
    }
    Ok(began.elapsed().as_secs_f64())
}
