//! Rows to uploads and back. A row is suspected until it is matched: state and facts together, or it is refused.

use std::sync::LazyLock;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{DbBackend, DbErr, FromQueryResult, IdenStatic, QueryResult};
use serde::Deserialize;
use uuid::Uuid;

use super::Error;
use super::entity::part;
use super::entity::upload::Column;
use crate::upload::{
    AbortReason, Algorithm, Checksum, ETag, Ending, Failure, LastProblem, Object, Owner, Part, PartSet, Plan, State,
    Status, Target, Upload, Visibility,
};

/// A moment, from milliseconds since 1970.
pub(super) fn moment(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

macro_rules! row {
    ($($field:ident: $type:ty = $column:ident,)*) => {
        /// What is read of an upload's row, with the database's clock at the time of reading.
        #[derive(Deserialize)]
        pub(super) struct Seen {
            $(pub(super) $field: $type,)*
            seen_at: i64,
        }

        const COLUMNS: &[Column] = &[$(Column::$column,)*];
    };
}

row! {
    id: Uuid = Id,
    owner: String = Owner,
    preset: String = Preset,
    state: String = State,
    version: i64 = Version,
    filename: String = Filename,
    content_type: String = ContentType,
    metadata: String = Metadata,
    size: Option<i64> = Size,
    part_size: i64 = PartSize,
    part_checksum: Option<String> = PartChecksum,
    auto_complete: u8 = AutoComplete,
    checksum: Option<String> = Checksum,
    fingerprint: Option<String> = Fingerprint,
    visibility: String = Visibility,
    reserved: i64 = Reserved,
    bucket: String = Bucket,
    object_key: String = ObjectKey,
    s3_upload_id: Option<String> = S3UploadId,
    target_size: Option<i64> = TargetSize,
    target_checksum: Option<String> = TargetChecksum,
    object_etag: Option<String> = ObjectEtag,
    object_version_id: Option<String> = ObjectVersionId,
    object_checksum_algorithm: Option<String> = ObjectChecksumAlgorithm,
    object_checksum: Option<String> = ObjectChecksum,
    object_verified: Option<u8> = ObjectVerified,
    last_problem: Option<String> = LastProblem,
    last_problem_parts: Option<String> = LastProblemParts,
    abort_reason: Option<String> = AbortReason,
    failure: Option<String> = Failure,
    lease_until: Option<i64> = LeaseUntil,
    creations: i64 = Creations,
    begun_at: Option<i64> = BegunAt,
    created_at: i64 = CreatedAt,
    updated_at: i64 = UpdatedAt,
    expires_at: i64 = ExpiresAt,
    hard_expires_at: i64 = HardExpiresAt,
    urls_expire_at: Option<i64> = UrlsExpireAt,
    completed_at: Option<i64> = CompletedAt,
}

/// A row as one value, a JSON array of these values (SQL): each value by itself takes longer on its way from the database, through
/// the driver and the ORM, than to be written and read as JSON.
pub(super) fn row_as_json(backend: DbBackend, values: &str) -> SimpleExpr {
    Expr::cust(as_text(backend, &array(backend, values)))
}

/// All rows as one value, an array of such arrays: each by itself would wake up whoever waits for them. Where there are none it may
/// be none.
pub(super) fn rows_as_json(backend: DbBackend, values: &str) -> SimpleExpr {
    let all = if backend == DbBackend::Sqlite { "json_group_array" } else { "json_agg" };
    Expr::cust(as_text(backend, &format!("{all}({})", array(backend, values))))
}

/// Reads the value of [`rows_as_json`].
pub(super) fn read_rows<T: for<'a> Deserialize<'a>>(rows: Option<&str>) -> Result<Vec<T>, Error> {
    let rows = rows.map(serde_json::from_str).transpose();
    Ok(rows.map_err(unreadable)?.unwrap_or_default())
}

fn array(backend: DbBackend, values: &str) -> String {
    let array = if backend == DbBackend::Sqlite { "json_array" } else { "json_build_array" };
    format!("{array}({values})")
}

fn as_text(backend: DbBackend, json: &str) -> String {
    // SQLite's is text already, and would be copied.
    if backend == DbBackend::Sqlite { json.to_owned() } else { format!("CAST({json} AS text)") }
}

fn unreadable(error: serde_json::Error) -> DbErr {
    DbErr::Type(format!("a row as JSON: {error}"))
}

impl Seen {
    /// What has to be selected, or returned, as JSON for a row of uploads to be read.
    pub(super) fn values(backend: DbBackend, seen_at: &str) -> String {
        static ON_SQLITE: LazyLock<String> = LazyLock::new(|| columns(DbBackend::Sqlite));
        static ON_POSTGRES: LazyLock<String> = LazyLock::new(|| columns(DbBackend::Postgres));
        [if backend == DbBackend::Sqlite { &ON_SQLITE } else { &ON_POSTGRES }, seen_at].concat()
    }
}

fn columns(backend: DbBackend) -> String {
    let value = |column: &Column| match column {
        // JSON has no bytes, and SQLite has no booleans.
        Column::Id if backend == DbBackend::Sqlite => "hex(uploads.id), ".to_owned(),
        Column::AutoComplete | Column::ObjectVerified => format!("CAST(uploads.{} AS integer), ", column.as_str()),
        column => format!("uploads.{}, ", column.as_str()),
    };
    COLUMNS.iter().map(value).collect()
}

impl FromQueryResult for Seen {
    fn from_query_result(result: &QueryResult, _: &str) -> Result<Seen, DbErr> {
        serde_json::from_str(&result.try_get_by_index::<String>(0)?).map_err(unreadable)
    }
}

impl TryFrom<Seen> for Upload {
    type Error = Error;

    fn try_from(row: Seen) -> Result<Upload, Error> {
        let id = row.id;
        let inconsistent = |what| Error::Inconsistent { id, what };
        let status = status(&row).ok_or_else(|| inconsistent("its columns contradict its state"))?;
        let metadata =
            serde_json::from_str(&row.metadata).map_err(|_| inconsistent("metadata is not a map of strings"))?;
        let part_checksum = match row.part_checksum.as_deref() {
            Some(name) => Some(Algorithm::from_name(name).map_err(|_| inconsistent("unknown algorithm"))?),
            None => None,
        };
        let last_problem = match (row.last_problem.as_deref(), row.last_problem_parts.as_deref()) {
            (None, None) => None,
            (Some(code), Some(parts)) => {
                let parts = PartSet::parse(parts).map_err(|_| inconsistent("malformed part numbers"))?;
                match code {
                    "parts-missing" => Some(LastProblem::PartsMissing(parts)),
                    "parts-differ" => Some(LastProblem::PartsDiffer(parts)),
                    _ => return Err(inconsistent("unknown problem")),
                }
            }
            _ => return Err(inconsistent("half a problem")),
        };
        Ok(Upload {
            id,
            owner: Owner(row.owner),
            preset: row.preset,
            filename: row.filename,
            content_type: row.content_type,
            metadata,
            plan: Plan::stored(row.size, row.part_size),
            part_checksum,
            auto_complete: row.auto_complete == 1,
            checksum: row.checksum.map(crc64nvme),
            fingerprint: row.fingerprint,
            visibility: match row.visibility.as_str() {
                "public" => Visibility::Public,
                _ => Visibility::Private,
            },
            reserved: row.reserved,
            bucket: row.bucket,
            key: row.object_key,
            s3_upload_id: row.s3_upload_id,
            creations: row.creations,
            begun_at: moment(row.begun_at.unwrap_or(row.created_at)),
            status,
            last_problem,
            version: row.version,
            created_at: moment(row.created_at),
            updated_at: moment(row.updated_at),
            expires_at: moment(row.expires_at),
            hard_expires_at: moment(row.hard_expires_at),
            urls_expire_at: row.urls_expire_at.map(moment),
            seen_at: moment(row.seen_at),
        })
    }
}

fn crc64nvme(value: String) -> Checksum {
    Checksum { algorithm: Algorithm::Crc64Nvme, value }
}

/// The facts that belong to the row's state; `None` when any is missing or does not belong there.
fn status(row: &Seen) -> Option<Status> {
    let state = State::from_name(&row.state)?;
    let lease = row.lease_until.map(moment);
    let object = || {
        Some(Object {
            etag: row.object_etag.clone()?,
            size: row.target_size?,
            version_id: row.object_version_id.clone(),
            checksum: match (&row.object_checksum_algorithm, &row.object_checksum) {
                (Some(algorithm), Some(value)) => {
                    Some(Checksum { algorithm: Algorithm::from_name(algorithm).ok()?, value: value.clone() })
                }
                _ => None,
            },
            verified: row.object_verified == Some(1),
            completed_at: moment(row.completed_at?),
        })
    };
    let target = || Some(Target { size: row.target_size?, checksum: row.target_checksum.clone().map(crc64nvme) });
    let reason = row.abort_reason.as_deref().map(AbortReason::from_name);
    let failure = row.failure.as_deref().map(Failure::from_name);
    match (state, row.object_etag.is_some(), reason, failure) {
        (State::Creating, false, None, None) => Some(Status::Creating { lease_until: lease? }),
        (State::Open, false, None, None) => Some(Status::Open),
        (State::Completing, false, None, None) => Some(Status::Completing { lease_until: lease?, target: target()? }),
        (State::Completed, true, None, None) => Some(Status::Completed(object()?)),
        (State::Deleting, true, None, None) => Some(Status::Deleting(object()?)),
        (State::Deleted, true, None, None) => Some(Status::Deleted(object()?)),
        (State::Aborting, false, Some(reason), None) => {
            Some(Status::Aborting { ending: Ending::Abort(reason?), target: target() })
        }
        (State::Aborting, false, None, Some(failure)) => {
            Some(Status::Aborting { ending: Ending::Fail(failure?), target: target() })
        }
        (State::Aborted, false, Some(reason), None) => Some(Status::Aborted(reason?)),
        (State::Failed, false, None, Some(failure)) => Some(Status::Failed(failure?)),
        _ => None,
    }
}

impl TryFrom<part::Model> for Part {
    type Error = Error;

    fn try_from(row: part::Model) -> Result<Part, Error> {
        let etag = ETag::new(row.etag).map_err(|_| Error::Inconsistent { id: row.upload_id, what: "not an ETag" })?;
        let (size, checksum, recorded_at) = (row.size, row.checksum, Some(moment(row.recorded_at)));
        Ok(Part { number: row.part_number, etag, size, checksum, recorded_at })
    }
}
