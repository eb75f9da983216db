//! Rows to uploads and back. A row is suspected until it is matched: state and facts together, or it is refused.

use chrono::{DateTime, Utc};
use sea_orm::{DbErr, FromQueryResult, QueryResult};

use super::Error;
use super::entity::{part, upload};
use crate::upload::{
    AbortReason, Algorithm, Checksum, ETag, Ending, Failure, LastProblem, Object, Owner, Part, PartSet, Plan, State,
    Status, Target, Upload, Visibility,
};

/// A moment, from milliseconds since 1970.
pub(super) fn moment(milliseconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(milliseconds).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// An upload's row, with the database's clock at the time of reading.
pub(super) struct Seen {
    pub(super) model: upload::Model,
    pub(super) seen_at: i64,
}

impl FromQueryResult for Seen {
    fn from_query_result(result: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        let model = upload::Model::from_query_result(result, prefix)?;
        Ok(Seen { model, seen_at: result.try_get(prefix, "seen_at")? })
    }
}

impl TryFrom<Seen> for Upload {
    type Error = Error;

    fn try_from(Seen { model: row, seen_at }: Seen) -> Result<Upload, Error> {
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
            seen_at: moment(seen_at),
        })
    }
}

fn crc64nvme(value: String) -> Checksum {
    Checksum { algorithm: Algorithm::Crc64Nvme, value }
}

/// The facts that belong to the row's state; `None` when any is missing or does not belong there.
fn status(row: &upload::Model) -> Option<Status> {
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
            verified: row.object_verified.unwrap_or(false),
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
