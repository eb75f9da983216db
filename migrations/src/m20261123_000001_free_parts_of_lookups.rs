//! Parts are not held against the uploads one by one on SQLite either: whoever writes parts has looked for their upload, once for all
//! of them. A reference cannot be dropped there, so the table is made anew.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() != sea_orm::DbBackend::Sqlite {
            return Ok(());
        }
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: [&str; 4] = [
    "CREATE TABLE free_parts (
        upload_id blob NOT NULL,
        part_number integer NOT NULL CHECK (part_number BETWEEN 1 AND 10000),
        etag text NOT NULL,
        size bigint CHECK (size > 0),
        checksum text,
        recorded_at bigint NOT NULL,
        PRIMARY KEY (upload_id, part_number)
    ) WITHOUT ROWID",
    "INSERT INTO free_parts SELECT upload_id, part_number, etag, size, checksum, recorded_at FROM parts",
    "DROP TABLE parts",
    "ALTER TABLE free_parts RENAME TO parts",
];
