//! Rows of parts, any number in one statement. The statement is the same for all, and few values go with it: on PostgreSQL an
//! array for each column. SQLite has no arrays, takes its time over JSON, and to hand it each value by itself costs more than to
//! write it; it gets one BLOB of records of equal length, which it cuts by position.

use chrono::{DateTime, Utc};
use sea_orm::{DbBackend, Statement, Value};
use uuid::Uuid;

use super::Store;
use crate::upload::{Part, State};

/// A part as it is to be recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) upload_id: Uuid,
    pub(super) part: &'a Part,
    pub(super) recorded_at: DateTime<Utc>,
}

impl Store {
    /// The statement that writes those rows whose upload is open and not expired; `known` is what becomes of parts that are
    /// recorded already. Of the others it writes nothing, which shows in how many it has written. Until the end of its
    /// transaction none of the uploads can be completed or aborted.
    pub(super) fn insert(&self, rows: &[Row<'_>], known: &str) -> Statement {
        let (open, now) = (State::Open.name(), self.now_sql());
        let is_alive = format!("state = '{open}' AND expires_at > {now}");
        let (before, source, values) = match self.backend() {
            DbBackend::Sqlite => {
                let (before, source) = on_sqlite(&is_alive);
                (before, source, records(rows))
            }
            _ => {
                let (before, source) = on_postgres(&is_alive);
                (before, source, arrays(rows))
            }
        };
        let insert = format!(
            "{before}
            INSERT INTO parts (upload_id, part_number, etag, size, checksum, recorded_at)
            {source}
            ON CONFLICT (upload_id, part_number) DO {known}"
        );
        Statement::from_sql_and_values(self.backend(), insert, values)
    }
}

/// Both locks are taken in one order always: two that take the same in different orders would wait for each other for ever.
fn on_postgres(is_alive: &str) -> (String, &'static str) {
    let before = format!(
        "WITH held AS MATERIALIZED
            (SELECT id FROM uploads WHERE id = ANY ($1) AND {is_alive} ORDER BY id FOR SHARE)"
    );
    let source = "SELECT upload_id, part_number, etag, NULLIF(size, 0), NULLIF(checksum, ''), recorded_at
        FROM UNNEST($1, $2, $3, $4, $5, $6) AS new (upload_id, part_number, etag, size, checksum, recorded_at)
        JOIN held ON held.id = upload_id
        ORDER BY upload_id, part_number";
    (before, source)
}

/// These have no place for NULL, so 0 stands for an unknown size and an empty text for no checksum; neither is one.
fn arrays(rows: &[Row<'_>]) -> Vec<Value> {
    fn column<'a, T>(rows: &'a [Row<'a>], value: impl Fn(&'a Row<'a>) -> T) -> Value
    where
        Vec<T>: Into<Value>,
    {
        rows.iter().map(value).collect::<Vec<T>>().into()
    }
    vec![
        column(rows, |row| row.upload_id),
        column(rows, |row| row.part.number),
        column(rows, |row| row.part.etag.as_str().to_owned()),
        column(rows, |row| row.part.size.unwrap_or_default()),
        column(rows, |row| row.part.checksum.clone().unwrap_or_default()),
        column(rows, |row| row.recorded_at.timestamp_millis()),
    ]
}

/// See [`records`]; `?1` are they, `?2` is the length of each, `?3` that of all, `?4` that of a checksum.
fn on_sqlite(is_alive: &str) -> (String, &'static str) {
    let before = format!(
        "WITH RECURSIVE record(at) AS (SELECT 1 WHERE ?3 > 0 UNION ALL SELECT at + ?2 FROM record WHERE at + ?2 <= ?3),
            new AS (SELECT
                substr(?1, at, 16) AS upload_id,
                CAST(substr(?1, at + 16, 20) AS INTEGER) AS part_number,
                CAST(substr(?1, at + 36, 20) AS INTEGER) AS size,
                CAST(substr(?1, at + 56, 20) AS INTEGER) AS recorded_at,
                rtrim(CAST(substr(?1, at + 76, ?4) AS TEXT)) AS checksum,
                rtrim(CAST(substr(?1, at + 76 + ?4, ?2 - 76 - ?4) AS TEXT)) AS etag
            FROM record
            WHERE EXISTS (SELECT 1 FROM uploads WHERE id = substr(?1, at, 16) AND {is_alive}))"
    );
    let source =
        "SELECT upload_id, part_number, etag, NULLIF(size, 0), NULLIF(checksum, ''), recorded_at FROM new WHERE true";
    (before, source)
}

/// One record for each row: the id in 16 bytes; number, size and moment in 20 digits each; checksum and ETag, as long as the
/// longest. All are filled up with spaces, which none has. What is not known is 0 or empty.
fn records(rows: &[Row<'_>]) -> Vec<Value> {
    let checksum_of = |row: &Row<'_>| row.part.checksum.as_ref().map_or(0, String::len);
    let checksum_length = rows.iter().map(checksum_of).max().unwrap_or(0);
    let etag_length = rows.iter().map(|row| row.part.etag.as_str().len()).max().unwrap_or(0);
    let length = 76 + checksum_length + etag_length;
    let mut records = Vec::with_capacity(rows.len() * length);
    for Row { upload_id, part, recorded_at } in rows {
        records.extend_from_slice(upload_id.as_bytes());
        let mut fill = |text: &str, length: usize| {
            records.extend_from_slice(text.as_bytes());
            records.resize(records.len() + length - text.len(), b' ');
        };
        let mut digits = itoa::Buffer::new();
        fill(digits.format(part.number), 20);
        fill(digits.format(part.size.unwrap_or_default()), 20);
        fill(digits.format(recorded_at.timestamp_millis()), 20);
        fill(part.checksum.as_deref().unwrap_or_default(), checksum_length);
        fill(part.etag.as_str(), etag_length);
    }
    let lengths = [length, records.len(), checksum_length].map(|length| Value::from(length as i64));
    [Value::from(records)].into_iter().chain(lengths).collect()
}
