//! Rows to uploads and back. A row is suspected until it is matched: state and facts together, or it is refused.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{DbBackend, DbErr, FromQueryResult, IdenStatic, QueryResult, TryGetable};
use serde::Deserialize;
use uuid::Uuid;

use super::Error;
use super::entity::part;
use super::entity::upload::{Column, Entity};
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
        /// What is read of an upload's row, with the database's clock at the time of reading. Every column of every row takes its
        /// time on the way, so those that nobody reads stay behind, and facts that an open upload has not come as one value.
        pub(super) struct Seen {
            $(pub(super) $field: $type,)*
            facts: Option<String>,
            seen_at: i64,
        }

        const COLUMNS: &[Column] = &[$(Column::$column,)*];

        impl FromQueryResult for Seen {
            fn from_query_result(row: &QueryResult, _: &str) -> Result<Seen, DbErr> {
                let mut values = Values { row, next: 0 };
                Ok(Seen { $($field: values.take()?,)* facts: values.take()?, seen_at: values.take()? })
            }
        }
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
    auto_complete: bool = AutoComplete,
    checksum: Option<String> = Checksum,
    fingerprint: Option<String> = Fingerprint,
    visibility: String = Visibility,
    reserved: i64 = Reserved,
    bucket: String = Bucket,
    object_key: String = ObjectKey,
    s3_upload_id: Option<String> = S3UploadId,
    creations: i64 = Creations,
    begun_at: Option<i64> = BegunAt,
    created_at: i64 = CreatedAt,
    updated_at: i64 = UpdatedAt,
    expires_at: i64 = ExpiresAt,
    hard_expires_at: i64 = HardExpiresAt,
    urls_expire_at: Option<i64> = UrlsExpireAt,
}

/// The values of a row, by their places: to look for each by its name takes longer than to read it.
struct Values<'a> {
    row: &'a QueryResult,
    next: usize,
}

impl Values<'_> {
    fn take<T: TryGetable>(&mut self) -> Result<T, DbErr> {
        self.next += 1;
        self.row.try_get_by_index(self.next - 1)
    }
}

/// What belongs to some states only, or is seldom there; in the order of [`FACTS`].
#[derive(Default, Deserialize)]
struct Facts {
    lease_until: Option<i64>,
    target_size: Option<i64>,
    target_checksum: Option<String>,
    object_etag: Option<String>,
    object_version_id: Option<String>,
    object_checksum_algorithm: Option<String>,
    object_checksum: Option<String>,
    completed_at: Option<i64>,
    abort_reason: Option<String>,
    failure: Option<String>,
    last_problem: Option<String>,
    last_problem_parts: Option<String>,
    object_verified: Option<u8>,
}

const FACTS: [Column; 12] = [
    Column::LeaseUntil,
    Column::TargetSize,
    Column::TargetChecksum,
    Column::ObjectEtag,
    Column::ObjectVersionId,
    Column::ObjectChecksumAlgorithm,
    Column::ObjectChecksum,
    Column::CompletedAt,
    Column::AbortReason,
    Column::Failure,
    Column::LastProblem,
    Column::LastProblemParts,
];

impl Seen {
    /// What a statement has to select, or to return, for a row to be read.
    pub(super) fn columns(backend: DbBackend, seen_at: SimpleExpr) -> impl Iterator<Item = SimpleExpr> {
        let columns = COLUMNS.iter().map(|column| Expr::col((Entity, *column)));
        columns.chain([facts(backend), seen_at])
    }
}

/// An open upload has facts only when its completion was refused.
fn facts(backend: DbBackend) -> SimpleExpr {
    let array = if backend == DbBackend::Sqlite { "json_array" } else { "json_build_array" };
    let columns: String = FACTS.iter().map(|column| format!("uploads.{}, ", column.as_str())).collect();
    Expr::cust(format!(
        "CASE WHEN uploads.state = 'open' AND uploads.last_problem IS NULL THEN NULL
            ELSE CAST({array}({columns} CAST(uploads.object_verified AS integer)) AS text) END"
    ))
}

impl TryFrom<Seen> for Upload {
    type Error = Error;

    fn try_from(row: Seen) -> Result<Upload, Error> {
        let id = row.id;
        let inconsistent = |what| Error::Inconsistent { id, what };
        let facts: Facts = match row.facts.as_deref().map(serde_json::from_str).transpose() {
            Ok(facts) => facts.unwrap_or_default(),
            Err(_) => return Err(inconsistent("its facts cannot be read")),
        };
        let status = status(&row.state, &facts).ok_or_else(|| inconsistent("its columns contradict its state"))?;
        let metadata =
            serde_json::from_str(&row.metadata).map_err(|_| inconsistent("metadata is not a map of strings"))?;
        let part_checksum = match row.part_checksum.as_deref() {
            Some(name) => Some(Algorithm::from_name(name).map_err(|_| inconsistent("unknown algorithm"))?),
            None => None,
        };
        let last_problem = match (facts.last_problem.as_deref(), facts.last_problem_parts.as_deref()) {
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
            auto_complete: row.auto_complete,
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
fn status(state: &str, facts: &Facts) -> Option<Status> {
    let state = State::from_name(state)?;
    let lease = facts.lease_until.map(moment);
    let object = || {
        Some(Object {
            etag: facts.object_etag.clone()?,
            size: facts.target_size?,
            version_id: facts.object_version_id.clone(),
            checksum: match (&facts.object_checksum_algorithm, &facts.object_checksum) {
                (Some(algorithm), Some(value)) => {
                    Some(Checksum { algorithm: Algorithm::from_name(algorithm).ok()?, value: value.clone() })
                }
                _ => None,
            },
            verified: facts.object_verified == Some(1),
            completed_at: moment(facts.completed_at?),
        })
    };
    let target = || Some(Target { size: facts.target_size?, checksum: facts.target_checksum.clone().map(crc64nvme) });
    let reason = facts.abort_reason.as_deref().map(AbortReason::from_name);
    let failure = facts.failure.as_deref().map(Failure::from_name);
    match (state, facts.object_etag.is_some(), reason, failure) {
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
