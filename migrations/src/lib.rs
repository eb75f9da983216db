//! The schema of Partita's database, as an append-only history, for SQLite and PostgreSQL alike.
//!
//! Nothing here knows the service's types: history must not bend with the code. See `README.md` for the rules.

mod m20261122_000001_create_ledger;
mod m20261122_000002_keep_the_sweep;
mod m20261122_000003_know_the_callers;
mod m20261122_000004_pack_finished_parts;

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
