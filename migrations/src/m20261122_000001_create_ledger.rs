//! The ledger: uploads, their parts, and the idempotency keys of their creation.
//!
//! Moments are milliseconds since 1970 as `bigint`: the same on both databases, and ordered as numbers, which SQLite's
//! texts of varying precision are not. Bytes are `bigint`.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (uuid, bytes, without_rowid) = match manager.get_database_backend() {
            sea_orm::DbBackend::Sqlite => ("blob", "blob", "WITHOUT ROWID"),
            _ => ("uuid", "bytea", ""),
        };
        for statement in STATEMENTS {
            let statement =
                statement.replace("{uuid}", uuid).replace("{bytes}", bytes).replace("{without_rowid}", without_rowid);
            manager.get_connection().execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: [&str; 6] = [
    // Rows whose columns contradict their state cannot exist.
    "CREATE TABLE uploads (
        id {uuid} PRIMARY KEY NOT NULL,
        owner text NOT NULL,
        preset text NOT NULL,
        state text NOT NULL,
        version bigint NOT NULL,

        filename text NOT NULL,
        content_type text NOT NULL,
        metadata text NOT NULL,
        size bigint CHECK (size >= 0),
        part_size bigint NOT NULL CHECK (part_size > 0),
        part_checksum text CHECK (part_checksum IN ('CRC64NVME', 'CRC32C', 'SHA256')),
        auto_complete boolean NOT NULL,
        checksum text,
        fingerprint text,

        bucket text NOT NULL,
        object_key text NOT NULL,
        s3_upload_id text,

        target_size bigint CHECK (target_size >= 0),
        target_checksum text,
        object_etag text,
        object_version_id text,
        object_checksum_algorithm text,
        object_checksum text,
        object_verified boolean,
        last_problem text CHECK (last_problem IN ('parts-missing', 'parts-differ')),
        last_problem_parts text,
        abort_reason text CHECK (abort_reason IN ('requested', 'expired')),
        failure text CHECK (failure IN ('create-refused', 'key-taken', 'upload-vanished', 'checksum-mismatch')),

        lease_until bigint,
        due_at bigint,
        attempts bigint NOT NULL DEFAULT 0,
        asked_at bigint,

        created_at bigint NOT NULL,
        updated_at bigint NOT NULL,
        expires_at bigint NOT NULL,
        hard_expires_at bigint NOT NULL,
        urls_expire_at bigint,
        completed_at bigint,
        ended_at bigint,

        CONSTRAINT uploads_last_problem CHECK ((last_problem IS NULL) = (last_problem_parts IS NULL)),
        CONSTRAINT uploads_object_checksum CHECK ((object_checksum IS NULL) = (object_checksum_algorithm IS NULL)),
        CONSTRAINT uploads_state_shape CHECK (CASE state
            WHEN 'creating' THEN lease_until IS NOT NULL AND target_size IS NULL
                AND object_etag IS NULL AND completed_at IS NULL
                AND abort_reason IS NULL AND failure IS NULL AND ended_at IS NULL
            WHEN 'open' THEN (s3_upload_id IS NOT NULL OR size = 0) AND target_size IS NULL
                AND object_etag IS NULL AND completed_at IS NULL
                AND abort_reason IS NULL AND failure IS NULL AND ended_at IS NULL
            WHEN 'completing' THEN lease_until IS NOT NULL AND (s3_upload_id IS NOT NULL OR size = 0)
                AND target_size IS NOT NULL AND object_etag IS NULL AND completed_at IS NULL
                AND abort_reason IS NULL AND failure IS NULL AND ended_at IS NULL
            WHEN 'completed' THEN lease_until IS NULL AND target_size IS NOT NULL
                AND object_etag IS NOT NULL AND completed_at IS NOT NULL
                AND abort_reason IS NULL AND failure IS NULL AND ended_at IS NULL
            WHEN 'deleting' THEN target_size IS NOT NULL
                AND object_etag IS NOT NULL AND completed_at IS NOT NULL
                AND abort_reason IS NULL AND failure IS NULL AND ended_at IS NULL
            WHEN 'deleted' THEN lease_until IS NULL AND target_size IS NOT NULL
                AND object_etag IS NOT NULL AND completed_at IS NOT NULL
                AND abort_reason IS NULL AND failure IS NULL AND ended_at IS NOT NULL
            WHEN 'aborting' THEN object_etag IS NULL AND completed_at IS NULL
                AND (abort_reason IS NULL) <> (failure IS NULL) AND ended_at IS NULL
            WHEN 'aborted' THEN lease_until IS NULL AND object_etag IS NULL AND completed_at IS NULL
                AND abort_reason IS NOT NULL AND failure IS NULL AND ended_at IS NOT NULL
            WHEN 'failed' THEN lease_until IS NULL AND object_etag IS NULL AND completed_at IS NULL
                AND abort_reason IS NULL AND failure IS NOT NULL AND ended_at IS NOT NULL
            ELSE false END)
    )",
    // Ids are sortable by creation, so this is also the order of lists.
    "CREATE INDEX uploads_by_owner ON uploads (owner, id)",
    "CREATE INDEX uploads_by_fingerprint ON uploads (owner, fingerprint) WHERE fingerprint IS NOT NULL",
    // What a sweep looks through: rows that still need something done.
    "CREATE INDEX uploads_by_due ON uploads (due_at) WHERE due_at IS NOT NULL",
    "CREATE TABLE parts (
        upload_id {uuid} NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
        part_number integer NOT NULL CHECK (part_number BETWEEN 1 AND 10000),
        etag text NOT NULL,
        size bigint CHECK (size > 0),
        checksum text,
        recorded_at bigint NOT NULL,
        PRIMARY KEY (upload_id, part_number)
    ) {without_rowid}",
    "CREATE TABLE idempotency_keys (
        owner text NOT NULL,
        idempotency_key text NOT NULL,
        request_hash {bytes} NOT NULL,
        upload_id {uuid} NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
        expires_at bigint NOT NULL,
        PRIMARY KEY (owner, idempotency_key)
    ) {without_rowid}",
];
