//! What the sweep needs to know: how often and when an upload may have been begun at S3, by when an abort is to be proved, and
//! whether the database came from a backup and has not been checked against the bucket since.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: [&str; 7] = [
    // More than one: S3 may hold uploads of this key whose ids nobody was told.
    "ALTER TABLE uploads ADD COLUMN creations bigint NOT NULL DEFAULT 1",
    "ALTER TABLE uploads ADD COLUMN begun_at bigint",
    "ALTER TABLE uploads ADD COLUMN overdue_at bigint",
    // Ended uploads stay readable for thirty days.
    "UPDATE uploads SET due_at = ended_at + 2592000000 WHERE ended_at IS NOT NULL",
    // What metrics count.
    "CREATE INDEX uploads_by_state ON uploads (state)",
    "CREATE INDEX idempotency_keys_by_expiry ON idempotency_keys (expires_at)",
    // A row for each backup that was restored and not yet checked; while there is one, nothing is swept.
    "CREATE TABLE restorations (restored_at bigint PRIMARY KEY NOT NULL)",
];
