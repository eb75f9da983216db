//! Rows of parts, any number in one statement. The statement is the same for all, and few values go with it: on PostgreSQL an
//! array for each column. SQLite has no arrays, takes its time over JSON, and to hand it each value by itself costs more than to
//! write it; it gets two BLOBs of records of equal length, which it cuts by position.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{DbBackend, Statement, Value};
use uuid::Uuid;

use super::Store;
use crate::upload::{Part, State};

/// Parts of one upload, as they are to be recorded.
#[derive(Debug, Clone)]
pub(super) struct Report {
    pub(super) upload_id: Uuid,
    pub(super) recorded_at: DateTime<Utc>,
    /// None of them twice.
    pub(super) parts: Arc<[Part]>,
}

impl Store {
    /// The statement that writes the parts of those reports whose upload is open and not expired; `known` is what becomes of
    /// parts that are recorded already. Of the others it writes nothing, which shows in how many it has written. Until the end
    /// of its transaction none of the uploads can be completed or aborted.
    pub(super) fn insert(&self, reports: &[&Report], known: &str) -> Statement {
        let (open, now) = (State::Open.name(), self.now_sql());
        let is_alive = format!("state = '{open}' AND expires_at > {now}");
        let (before, source, values) = match self.backend() {
            DbBackend::Sqlite => {
                let (before, source) = on_sqlite(&is_alive);
                (before, source, records(reports))
            }
            _ => {
                let (before, source) = on_postgres(&is_alive);
                (before, source, arrays(reports))
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
fn arrays(reports: &[&Report]) -> Vec<Value> {
    fn column<T>(reports: &[&Report], value: impl Fn(&Report, &Part) -> T) -> Value
    where
        Vec<T>: Into<Value>,
    {
        let rows = reports.iter().flat_map(|report| report.parts.iter().map(|part| value(report, part)));
        rows.collect::<Vec<T>>().into()
    }
    vec![
        column(reports, |report, _| report.upload_id),
        column(reports, |_, part| part.number),
        column(reports, |_, part| part.etag.as_str().to_owned()),
        column(reports, |_, part| part.size.unwrap_or_default()),
        column(reports, |_, part| part.checksum.clone().unwrap_or_default()),
        column(reports, |report, _| report.recorded_at.timestamp_millis()),
    ]
}

/// See [`records`]. What is the same for all parts of a report is looked at once for it, and a checksum only where there are some:
/// each look costs as much as a tenth of the row. So does each step of a recursion twice over, which is why it goes by blocks.
fn on_sqlite(is_alive: &str) -> (String, &'static str) {
    let before = format!(
        "WITH RECURSIVE report(at) AS
                (SELECT 1 WHERE length(?1) > 0 UNION ALL SELECT at + 76 FROM report WHERE at + 76 < length(?1)),
            block(upload_id, recorded_at, at, stop) AS (SELECT
                    substr(?1, at, 16),
                    CAST(substr(?1, at + 16, 20) AS INTEGER),
                    CAST(substr(?1, at + 36, 20) AS INTEGER),
                    CAST(substr(?1, at + 56, 20) AS INTEGER)
                FROM report
                WHERE EXISTS (SELECT 1 FROM uploads WHERE id = substr(?1, at, 16) AND {is_alive})
                UNION ALL SELECT upload_id, recorded_at, at + ?5, stop FROM block WHERE at + ?5 < stop),
            place(within) AS (SELECT 0 UNION ALL SELECT within + ?3 FROM place WHERE within + ?3 < ?5),
            record AS (SELECT upload_id, recorded_at, block.at + within AS at
                FROM block CROSS JOIN place WHERE block.at + within < stop),
            new AS (SELECT
                upload_id,
                CAST(substr(?2, at, 20) AS INTEGER) AS part_number,
                CAST(substr(?2, at + 20, 20) AS INTEGER) AS size,
                CASE WHEN ?4 > 0 THEN rtrim(CAST(substr(?2, at + 40, ?4) AS TEXT)) END AS checksum,
                rtrim(CAST(substr(?2, at + 40 + ?4, ?3 - 40 - ?4) AS TEXT)) AS etag,
                recorded_at
            FROM record)"
    );
    let source =
        "SELECT upload_id, part_number, etag, NULLIF(size, 0), NULLIF(checksum, ''), recorded_at FROM new WHERE true";
    (before, source)
}

/// `?1`: a record for each report: its upload's id in 16 bytes; in 20 digits each the moment, and where in `?2` its parts begin and
/// end. `?2`: one for each part: number and size in 20 digits each; checksum and ETag, as long as the longest. All are filled up
/// with spaces, which none has. What is not known is 0 or empty. `?3`: the length of a part's record; `?4`: that of a checksum; `?5`:
/// that of a block of records, no more of them than the longest report has.
fn records(reports: &[&Report]) -> Vec<Value> {
    let all = || reports.iter().flat_map(|report| report.parts.iter());
    let checksum_length = all().map(|part| part.checksum.as_ref().map_or(0, String::len)).max().unwrap_or(0);
    let etag_length = all().map(|part| part.etag.as_str().len()).max().unwrap_or(0);
    let length = 40 + checksum_length + etag_length;
    let mut digits = itoa::Buffer::new();
    let (mut heads, mut records) = (Vec::with_capacity(reports.len() * 76), Vec::with_capacity(all().count() * length));
    for Report { upload_id, recorded_at, parts } in reports.iter().filter(|report| !report.parts.is_empty()) {
        // SQLite counts from one.
        let (at, stop) = (records.len() + 1, records.len() + 1 + parts.len() * length);
        heads.extend_from_slice(upload_id.as_bytes());
        fill(&mut heads, digits.format(recorded_at.timestamp_millis()), 20);
        fill(&mut heads, digits.format(at), 20);
        fill(&mut heads, digits.format(stop), 20);
        for part in parts.iter() {
            fill(&mut records, digits.format(part.number), 20);
            fill(&mut records, digits.format(part.size.unwrap_or_default()), 20);
            fill(&mut records, part.checksum.as_deref().unwrap_or_default(), checksum_length);
            fill(&mut records, part.etag.as_str(), etag_length);
        }
    }
    let block = length * reports.iter().map(|report| report.parts.len()).max().unwrap_or(0).clamp(1, 32);
    vec![heads.into(), records.into(), (length as i64).into(), (checksum_length as i64).into(), (block as i64).into()]
}

fn fill(record: &mut Vec<u8>, text: &str, length: usize) {
    record.extend_from_slice(text.as_bytes());
    record.resize(record.len() + length - text.len(), b' ');
}
