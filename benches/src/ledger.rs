//! Our ledger, used without the service around it, and filled by SQL with more than clients could make in a day.

use std::sync::Arc;

use partita::clock::Clock;
use partita::store::Store;
use partita::upload::{ETag, Owner, Part, Upload, Whose};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, FromQueryResult, Statement};
use uuid::Uuid;

use crate::{Result, service};

/// Parts of each upload that [`fill`] completes.
pub const PARTS: i64 = 20;
/// As the service has them by default.
const CONNECTIONS: u32 = 16;
/// Bytes of each of them.
const PART_SIZE: i64 = 8 << 20;

/// The ledger, brought up to date.
///
/// # Errors
/// When the database does not answer.
pub async fn open(url: &str) -> Result<Store> {
    let store = Store::connect(url, CONNECTIONS, Clock::default()).await?;
    store.migrate().await?;
    Ok(store)
}

/// Finds an upload as the service does, which checks whose it is.
///
/// # Errors
/// When the ledger refuses.
pub async fn find(store: &Store, owner: &Owner, id: Uuid) -> Result<Upload> {
    Ok(store.find(&Whose::Of(owner.clone()), id).await?)
}

/// Records parts as the service does: finds their upload first.
///
/// # Errors
/// When the ledger refuses.
pub async fn record(store: &Store, owner: &Owner, id: Uuid, parts: Arc<[Part]>) -> Result<()> {
    let upload = store.find_shared(&Whose::Of(owner.clone()), id).await?;
    store.record(&upload, parts).await?;
    Ok(())
}

/// Forgets all recorded parts of this table, so that what is recorded next is new to it.
///
/// # Errors
/// When the database does not answer.
pub async fn empty(url: &str, table: &str) -> Result<()> {
    let db = connect(url).await?;
    let all = if url.starts_with("sqlite:") { "DELETE FROM" } else { "TRUNCATE" };
    db.execute_unprepared(&format!("{all} {table}")).await?;
    Ok(db.close().await?)
}

/// A part as a client reports it.
///
/// # Errors
/// Never, for the ETag is a sound one.
pub fn part(number: i32) -> Result<Part> {
    Ok(Part {
        number,
        etag: ETag::new(service::etag(number.unsigned_abs() as usize)).map_err(|_| "an ETag that is none")?,
        size: Some(PART_SIZE),
        checksum: None,
        recorded_at: None,
    })
}

/// A connection of the harness's own.
///
/// # Errors
/// When the database does not answer.
pub async fn connect(url: &str) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Ok(Database::connect(options).await?)
}

/// The words in which the two databases differ.
struct Dialect {
    numbers: &'static str,
    id: &'static str,
    digits: &'static str,
    packed: &'static str,
    now: &'static str,
}

/// `n.i` counts; ids are UUIDs of version 7 whose time is that of the row's creation.
const SQLITE: Dialect = Dialect {
    numbers: "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)",
    id: "unhex(printf('%012x', {created}) || '7' || printf('%03x', n.i % 4096) || '8' || substr(hex(randomblob(8)), 1, 15))",
    digits: "hex(randomblob(16))",
    packed: "randomblob({bytes})",
    now: "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
};
const POSTGRES: Dialect = Dialect {
    numbers: "generate_series(1::bigint, {count}) AS",
    id: "(lpad(to_hex({created}), 12, '0') || '7' || lpad(to_hex(n.i % 4096), 3, '0') || '8' || substr(md5(random()::text), 1, 15))::uuid",
    digits: "md5(random()::text)",
    packed: "substr(decode(repeat(md5(random()::text), {bytes} / 16 + 1), 'hex'), 1, {bytes})",
    now: "(extract(epoch FROM clock_timestamp()) * 1000)::bigint",
};

/// Fills an empty ledger with uploads of many owners, made over the last year: completed ones of [`PARTS`] parts each, or open ones
/// of 10,000 planned parts and none recorded. The triggers that keep what each owner has are put aside meanwhile, and that is
/// summed up by one statement in the end.
///
/// # Errors
/// When the database refuses.
pub async fn fill(url: &str, count: u64, owners: u64, completed: bool) -> Result<()> {
    let db = connect(url).await?;
    let is_sqlite = url.starts_with("sqlite:");
    let dialect = if is_sqlite { SQLITE } else { POSTGRES };
    let triggers = put_triggers_aside(&db, is_sqlite).await?;
    let packed = completed && has_column(&db, is_sqlite, "uploads", "finished_parts").await?;
    db.execute_unprepared(&uploads(&dialect, is_sqlite, count, owners, completed, packed)).await?;
    if completed && !packed {
        let numbers = dialect.numbers.replace("{count}", &PARTS.to_string());
        let number = if is_sqlite { "n" } else { "n(i)" };
        let statement = format!(
            "INSERT INTO parts (upload_id, part_number, etag, size, recorded_at)
             SELECT uploads.id, n.i, '\"' || {} || '\"', {PART_SIZE}, uploads.created_at
             FROM uploads CROSS JOIN {numbers} {number}",
            dialect.digits
        );
        db.execute_unprepared(&statement).await?;
    }
    db.execute_unprepared(
        "INSERT INTO usages (owner, open_uploads, bytes)
         SELECT owner, SUM(CASE WHEN state = 'open' THEN 1 ELSE 0 END), SUM(reserved) FROM uploads GROUP BY owner",
    )
    .await?;
    for statement in triggers {
        db.execute_unprepared(&statement).await?;
    }
    // What the database would do by itself, sooner or later.
    let tidy = if is_sqlite { "PRAGMA wal_checkpoint(TRUNCATE)" } else { "VACUUM (ANALYZE)" };
    db.execute_unprepared(tidy).await?;
    Ok(db.close().await?)
}

fn uploads(dialect: &Dialect, is_sqlite: bool, count: u64, owners: u64, completed: bool, packed: bool) -> String {
    let created = format!("({} - 31536000000 + n.i * {})", dialect.now, 31_536_000_000 / count);
    let created = if completed { created } else { dialect.now.to_owned() };
    let numbers = dialect.numbers.replace("{count}", &count.to_string());
    let number = if is_sqlite { "n" } else { "n(i)" };
    let id = dialect.id.replace("{created}", &created);
    let parts = if completed { PARTS } else { 10_000 };
    let size = parts * PART_SIZE;
    let (state, target, etag, ended) = if completed {
        ("completed", size.to_string(), format!("'\"' || {} || '-{PARTS}\"'", dialect.digits), created.clone())
    } else {
        (
            "open",
            "NULL".into(),
            "NULL".into(),
            format!("CAST(NULL AS {})", if is_sqlite { "INTEGER" } else { "bigint" }),
        )
    };
    // A byte for the format, and 17 for each ETag; read only by who lists the parts of a file.
    let blob = dialect.packed.replace("{bytes}", &(1 + 17 * PARTS).to_string());
    let (finished_column, finished) =
        if packed { (", finished_parts", format!(", {blob}")) } else { ("", String::new()) };
    let target = format!("CAST({target} AS {})", if is_sqlite { "INTEGER" } else { "bigint" });
    format!(
        "INSERT INTO uploads (id, owner, preset, state, version, filename, content_type, metadata, size, part_size,
            auto_complete, visibility, reserved, bucket, object_key, s3_upload_id, target_size, object_etag, object_verified,
            created_at, updated_at, expires_at, hard_expires_at, begun_at, urls_expire_at, completed_at{finished_column})
         SELECT {id}, 'owner-' || (n.i % {owners}), 'default', '{state}', 3, 'raw footage ' || n.i || '.mov',
            'video/quicktime', '{{\"album\":\"2026\"}}', {size}, {PART_SIZE}, false, 'private', {size}, 'media',
            'uploads/' || lower({digits}) || '/raw-footage-' || n.i || '.mov', {digits} || {digits} || {digits} || {digits},
            {target}, {etag}, {verified}, {created}, {created}, {created} + 86400000, {created} + 518400000, {created},
            {created} + 900000, {ended}{finished}
         FROM {numbers} {number}",
        digits = dialect.digits,
        verified = if completed { "false" } else { "CAST(NULL AS boolean)" },
    )
}

/// What fires with each row, and what looks up whom it refers to. Returns the statements that put them back.
async fn put_triggers_aside(db: &DatabaseConnection, is_sqlite: bool) -> Result<Vec<String>> {
    if !is_sqlite {
        // For this session alone, which is the only one of its pool.
        db.execute_unprepared("SET session_replication_role = replica").await?;
        return Ok(vec!["RESET session_replication_role".to_owned()]);
    }
    #[derive(FromQueryResult)]
    struct Trigger {
        name: String,
        sql: String,
    }
    db.execute_unprepared("PRAGMA foreign_keys = OFF").await?;
    let select = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'uploads'";
    let triggers =
        Trigger::find_by_statement(Statement::from_string(db.get_database_backend(), select)).all(db).await?;
    for Trigger { name, .. } in &triggers {
        db.execute_unprepared(&format!("DROP TRIGGER {name}")).await?;
    }
    Ok(triggers.into_iter().map(|trigger| trigger.sql).collect())
}

async fn has_column(db: &DatabaseConnection, is_sqlite: bool, table: &str, column: &str) -> Result<bool> {
    let select = if is_sqlite {
        format!("SELECT COUNT(*) AS figure FROM pragma_table_info('{table}') WHERE name = '{column}'")
    } else {
        format!(
            "SELECT COUNT(*) AS figure FROM information_schema.columns WHERE table_name = '{table}' AND column_name = '{column}'"
        )
    };
    Ok(figure(db, &select).await? > 0)
}

/// The ids of all uploads.
///
/// # Errors
/// When the database does not answer.
pub async fn ids(url: &str) -> Result<Vec<Uuid>> {
    #[derive(FromQueryResult)]
    struct Row {
        id: Uuid,
    }
    let db = connect(url).await?;
    let select = Statement::from_string(db.get_database_backend(), "SELECT id FROM uploads ORDER BY id");
    let rows = Row::find_by_statement(select).all(&db).await?;
    db.close().await?;
    Ok(rows.into_iter().map(|row| row.id).collect())
}

/// Bytes on disk of all tables and their indexes, after what was deleted has been given back.
///
/// # Errors
/// When the database does not answer.
pub async fn bytes_on_disk(url: &str) -> Result<f64> {
    let db = connect(url).await?;
    let select = if url.starts_with("sqlite:") {
        db.execute_unprepared("VACUUM").await?;
        "SELECT page_count * page_size AS figure FROM pragma_page_count(), pragma_page_size()"
    } else {
        db.execute_unprepared("VACUUM FULL").await?;
        "SELECT SUM(pg_total_relation_size(oid))::bigint AS figure FROM pg_class
         WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    };
    let bytes = figure(&db, select).await?;
    db.close().await?;
    Ok(bytes as f64)
}

async fn figure(db: &DatabaseConnection, select: &str) -> Result<i64> {
    #[derive(FromQueryResult)]
    struct Row {
        figure: i64,
    }
    let select = Statement::from_string(db.get_database_backend(), select);
    let row = Row::find_by_statement(select).one(db).await?;
    Ok(row.ok_or("SELECT without a row")?.figure)
}
