//! The schema of Partita's database, as an append-only history, for SQLite and PostgreSQL alike.
//!
//! Nothing here knows the service's types: history must not bend with the code. See `README.md` for the rules.

mod m20261122_000001_create_ledger;
mod m20261122_000002_keep_the_sweep;
mod m20261122_000003_know_the_callers;
mod m20261122_000004_pack_finished_parts;
mod m20261123_000001_free_parts_of_lookups;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use sea_orm_migration::{MigrationTrait, MigratorTrait};

/// Any number serves, as long as every version of Partita takes the same.
const ADVISORY_LOCK: i64 = 7_091_317_205;

struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_create_ledger::Migration),
            Box::new(m20261122_000002_keep_the_sweep::Migration),
            Box::new(m20261122_000003_know_the_callers::Migration),
            Box::new(m20261122_000004_pack_finished_parts::Migration),
            Box::new(m20261123_000001_free_parts_of_lookups::Migration),
        ]
    }
}

/// Brings the database up to date, all or nothing. Processes that start together wait for each other:
/// the migrator itself takes no lock, so the transaction does.
///
/// # Errors
/// Whatever the database says; then nothing has changed.
pub async fn run(db: &DatabaseConnection) -> Result<(), DbErr> {
    let options =
        TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..Default::default() };
    let transaction = db.begin_with_options(options).await?;
    if transaction.get_database_backend() == DbBackend::Postgres {
        transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")).await?;
    }
    Migrator::up(&transaction, None).await?;
    transaction.commit().await
}

/// Whether the database lacks a step that this version knows. Only reads.
///
/// # Errors
/// Whatever the database says, or that it holds a step that this version does not know.
pub async fn is_pending(db: &DatabaseConnection) -> Result<bool, DbErr> {
    Ok(!Migrator::get_pending_migrations_read_only(db).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use sea_orm::{Database, Statement, Value};

    use super::*;

    async fn texts(db: &DatabaseConnection, query: &str) -> Vec<String> {
        let rows = db.query_all_raw(Statement::from_string(DbBackend::Sqlite, query)).await.expect("answered");
        rows.iter().map(|row| row.try_get_by_index(0).expect("a text")).collect()
    }

    #[tokio::test]
    async fn parts_that_were_recorded_before_their_table_was_made_anew_are_all_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Database::connect(format!("sqlite://{}?mode=rwc", folder.path().join("ledger").display()));
        let db = db.await.expect("connected");
        Migrator::up(&db, Some(4)).await.expect("as it was before");
        let upload = "INSERT INTO uploads (id, owner, preset, state, version, filename, content_type, metadata, size, part_size,
                auto_complete, visibility, reserved, bucket, object_key, s3_upload_id, created_at, updated_at, expires_at,
                hard_expires_at) VALUES (?, 'o', 'default', 'open', 1, 'f', 't', '{}', 9, 5, false, 'private', 9, 'b', 'k', 'u',
                1, 1, 2, 3)";
        let id = Value::from(vec![7_u8; 16]);
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, upload, [id.clone()]);
        db.execute_raw(statement).await.expect("an upload");
        let parts = "INSERT INTO parts VALUES (?, 1, 'a', 5, 'c', 11), (?, 2, 'b', NULL, NULL, 12)";
        let statement = Statement::from_sql_and_values(DbBackend::Sqlite, parts, [id.clone(), id]);
        db.execute_raw(statement).await.expect("parts");
        let all = "SELECT hex(upload_id) || '|' || part_number || '|' || etag || '|' || ifnull(size, '-') || '|'
                || ifnull(checksum, '-') || '|' || recorded_at FROM parts ORDER BY part_number";
        let before = texts(&db, all).await;
        assert_eq!(before.len(), 2);
        run(&db).await.expect("up to date");
        assert_eq!(texts(&db, all).await, before);
        assert_eq!(texts(&db, "SELECT \"table\" FROM pragma_foreign_key_list('parts')").await, [""; 0]);
    }
}
