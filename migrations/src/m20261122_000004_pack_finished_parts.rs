//! The parts of completed uploads, packed into one value of the upload's row. What was completed before keeps its rows. Those of
//! open uploads are no longer held against the uploads one by one.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let statements: &[&str] = match manager.get_database_backend() {
            sea_orm::DbBackend::Sqlite => &["ALTER TABLE uploads ADD COLUMN finished_parts blob"],
            // Digests do not compress.
            _ => &[
                "ALTER TABLE uploads ADD COLUMN finished_parts bytea",
                "ALTER TABLE uploads ALTER COLUMN finished_parts SET STORAGE EXTERNAL",
                // Whoever writes parts holds their upload; to look for it again cost as much as to write the part.
                "ALTER TABLE parts DROP CONSTRAINT parts_upload_id_fkey",
            ],
        };
        for statement in statements {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
