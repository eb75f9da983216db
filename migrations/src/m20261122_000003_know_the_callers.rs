//! Who may do what: API keys, the subjects with whom files are shared, and what each owner has.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let is_sqlite = manager.get_database_backend() == sea_orm::DbBackend::Sqlite;
        let (uuid, bytes, without_rowid) =
            if is_sqlite { ("blob", "blob", "WITHOUT ROWID") } else { ("uuid", "bytea", "") };
        let triggers: &[&str] = if is_sqlite { &ON_SQLITE } else { &ON_POSTGRES };
        for statement in STATEMENTS.iter().chain(triggers) {
            let statement =
                statement.replace("{uuid}", uuid).replace("{bytes}", bytes).replace("{without_rowid}", without_rowid);
            manager.get_connection().execute_unprepared(&statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: [&str; 10] = [
    // A key itself is kept nowhere. Scopes and presets are separated by blanks.
    "CREATE TABLE api_keys (
        id {uuid} PRIMARY KEY NOT NULL,
        key_hash {bytes} NOT NULL UNIQUE,
        owner text NOT NULL,
        name text NOT NULL,
        scopes text NOT NULL,
        presets text,
        created_at bigint NOT NULL,
        expires_at bigint,
        revoked_at bigint
    )",
    "CREATE TABLE shares (
        upload_id {uuid} NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
        subject text NOT NULL,
        created_at bigint NOT NULL,
        PRIMARY KEY (upload_id, subject)
    ) {without_rowid}",
    "CREATE INDEX shares_by_subject ON shares (subject, upload_id)",
    // What lists of files look through.
    "CREATE INDEX uploads_files_by_owner ON uploads (owner, id) WHERE state = 'completed'",
    "ALTER TABLE uploads ADD COLUMN visibility text NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'public'))",
    // Bytes that count against the owner's quota: the planned ones, of a stream those that were signed, then the object's.
    "ALTER TABLE uploads ADD COLUMN reserved bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0)",
    "UPDATE uploads SET reserved = COALESCE(target_size, size, 0)",
    // Kept by triggers, so that no statement can forget it.
    "CREATE TABLE usages (
        owner text PRIMARY KEY NOT NULL,
        open_uploads bigint NOT NULL,
        bytes bigint NOT NULL
    ) {without_rowid}",
    "INSERT INTO usages (owner, open_uploads, bytes)
        SELECT owner, SUM(CASE WHEN state IN ('creating', 'open', 'completing', 'aborting') THEN 1 ELSE 0 END),
            SUM(CASE WHEN state IN ('aborted', 'failed', 'deleted') THEN 0 ELSE reserved END)
        FROM uploads GROUP BY owner",
    "CREATE INDEX api_keys_by_owner ON api_keys (owner)",
];

/// What a row counts for; a macro, for `concat!` takes literals only.
macro_rules! counts {
    ($row:literal) => {
        concat!("(CASE WHEN ", $row, ".state IN ('creating', 'open', 'completing', 'aborting') THEN 1 ELSE 0 END)")
    };
}

macro_rules! holds {
    ($row:literal) => {
        concat!("(CASE WHEN ", $row, ".state IN ('aborted', 'failed', 'deleted') THEN 0 ELSE ", $row, ".reserved END)")
    };
}

const ON_SQLITE: [&str; 3] = [
    concat!(
        "CREATE TRIGGER uploads_used_by_insert AFTER INSERT ON uploads BEGIN
            INSERT INTO usages (owner, open_uploads, bytes) VALUES (NEW.owner, ",
        counts!("NEW"),
        ", ",
        holds!("NEW"),
        ") ON CONFLICT (owner) DO UPDATE SET open_uploads = open_uploads + excluded.open_uploads,
                bytes = bytes + excluded.bytes;
        END"
    ),
    concat!(
        "CREATE TRIGGER uploads_used_by_update AFTER UPDATE OF state, reserved ON uploads
            WHEN ",
        counts!("NEW"),
        " <> ",
        counts!("OLD"),
        " OR ",
        holds!("NEW"),
        " <> ",
        holds!("OLD"),
        " BEGIN
            UPDATE usages SET open_uploads = open_uploads + ",
        counts!("NEW"),
        " - ",
        counts!("OLD"),
        ", bytes = bytes + ",
        holds!("NEW"),
        " - ",
        holds!("OLD"),
        " WHERE owner = NEW.owner;
        END"
    ),
    concat!(
        "CREATE TRIGGER uploads_used_by_delete AFTER DELETE ON uploads
            WHEN ",
        counts!("OLD"),
        " <> 0 OR ",
        holds!("OLD"),
        " <> 0 BEGIN
            UPDATE usages SET open_uploads = open_uploads - ",
        counts!("OLD"),
        ", bytes = bytes - ",
        holds!("OLD"),
        " WHERE owner = OLD.owner;
        END"
    ),
];

const ON_POSTGRES: [&str; 6] = [
    concat!(
        "CREATE FUNCTION count_new_upload() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO usages AS known (owner, open_uploads, bytes) VALUES (NEW.owner, ",
        counts!("NEW"),
        ", ",
        holds!("NEW"),
        ") ON CONFLICT (owner) DO UPDATE SET open_uploads = known.open_uploads + excluded.open_uploads,
                bytes = known.bytes + excluded.bytes;
            RETURN NULL;
        END $$"
    ),
    concat!(
        "CREATE FUNCTION count_moved_upload() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            UPDATE usages SET open_uploads = open_uploads + ",
        counts!("NEW"),
        " - ",
        counts!("OLD"),
        ", bytes = bytes + ",
        holds!("NEW"),
        " - ",
        holds!("OLD"),
        " WHERE owner = NEW.owner;
            RETURN NULL;
        END $$"
    ),
    concat!(
        "CREATE FUNCTION count_gone_upload() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            UPDATE usages SET open_uploads = open_uploads - ",
        counts!("OLD"),
        ", bytes = bytes - ",
        holds!("OLD"),
        " WHERE owner = OLD.owner;
            RETURN NULL;
        END $$"
    ),
    "CREATE TRIGGER uploads_used_by_insert AFTER INSERT ON uploads
        FOR EACH ROW EXECUTE FUNCTION count_new_upload()",
    concat!(
        "CREATE TRIGGER uploads_used_by_update AFTER UPDATE OF state, reserved ON uploads
        FOR EACH ROW WHEN (",
        counts!("NEW"),
        " <> ",
        counts!("OLD"),
        " OR ",
        holds!("NEW"),
        " <> ",
        holds!("OLD"),
        ") EXECUTE FUNCTION count_moved_upload()"
    ),
    concat!(
        "CREATE TRIGGER uploads_used_by_delete AFTER DELETE ON uploads
        FOR EACH ROW WHEN (",
        counts!("OLD"),
        " <> 0 OR ",
        holds!("OLD"),
        " <> 0) EXECUTE FUNCTION count_gone_upload()"
    ),
];
