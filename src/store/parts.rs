//! Parts in the ledger: what clients report and what S3 lists. Written in groups, all or nothing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, FromQueryResult, QueryFilter,
    QueryOrder, QuerySelect, Statement, Value,
};
use uuid::Uuid;

use super::bounded::Bounded;
use super::entity::part::{Column, Entity};
use super::entity::upload;
use super::list::json;
use super::{Error, Store, packed};
use crate::upload::{Owner, Part, PartSet, State, Upload};

/// Rows that go into one statement as values; SQLite binds at most 32,766.
const MANY: usize = 500;

/// The packed parts of a completed upload. Not a field of its row's type: they are read only where they are wanted.
pub(super) const FINISHED_PARTS: &str = "finished_parts";

/// How much is recorded of an upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Parts.
    pub parts: i64,
    /// Bytes; a part of unknown size counts as a whole one.
    pub bytes: i64,
}

/// What is recorded of an upload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The numbers of its parts.
    pub numbers: PartSet,
    /// Bytes; a part of unknown size counts as a whole one.
    pub bytes: i64,
    /// Parts without a checksum.
    pub without_checksum: i64,
}

impl Store {
    /// Takes in what S3 listed from `listed_from` on: records `found` where nothing is recorded by now, learns size and
    /// checksum where the same part is recorded already, and forgets each of `lost` unless it was recorded again since.
    ///
    /// # Errors
    /// [`Error::Moved`] unless the upload is open and not yet expired; then nothing changes.
    pub async fn take_listing(
        &self,
        owner: &Owner,
        id: Uuid,
        listed_from: DateTime<Utc>,
        found: &[Part],
        lost: &[i32],
    ) -> Result<(), Error> {
        let transaction = self.begin().await?;
        let upload = self.hold_open(&transaction, owner, id).await?;
        if !lost.is_empty() {
            Entity::delete_many()
                .filter(Column::UploadId.eq(id))
                .filter(self.is_one_of(Column::PartNumber, lost))
                .filter(Column::RecordedAt.lt(listed_from.timestamp_millis()))
                .exec(&transaction)
                .await?;
        }
        let keep = "UPDATE SET size = excluded.size, checksum = COALESCE(parts.checksum, excluded.checksum)
            WHERE parts.etag = excluded.etag";
        self.write_parts(&transaction, found.iter().map(|part| (&upload, part)).collect(), keep).await?;
        Ok(transaction.commit().await?)
    }

    /// Writes parts in the place of what was recorded for them before. Of the same part, what is known already stays: a
    /// completion may be about to go by it.
    pub(super) async fn replace_parts(
        &self,
        transaction: &Bounded<DatabaseTransaction>,
        parts: Vec<(&Upload, &Part)>,
    ) -> Result<(), Error> {
        let replace = "UPDATE SET etag = excluded.etag, recorded_at = excluded.recorded_at,
            size = CASE WHEN parts.etag = excluded.etag
                THEN COALESCE(excluded.size, parts.size) ELSE excluded.size END,
            checksum = CASE WHEN parts.etag = excluded.etag
                THEN COALESCE(excluded.checksum, parts.checksum) ELSE excluded.checksum END";
        self.write_parts(transaction, parts, replace).await
    }

    /// Any number of parts in few statements; `known` is what becomes of those that are recorded already.
    async fn write_parts(
        &self,
        transaction: &Bounded<DatabaseTransaction>,
        mut parts: Vec<(&Upload, &Part)>,
        known: &str,
    ) -> Result<(), Error> {
        // In one order always: two that write the same parts in different orders would wait for each other for ever.
        parts.sort_unstable_by_key(|(upload, part)| (upload.id, part.number));
        const INSERT: &str = "INSERT INTO parts (upload_id, part_number, etag, size, checksum, recorded_at)";
        let known = format!("ON CONFLICT (upload_id, part_number) DO {known}");
        let (id, rows_of) = match self.backend() {
            DbBackend::Sqlite => ("unhex(value ->> 0)", "json_each($1)"),
            _ => ("CAST(value ->> 0 AS uuid)", "jsonb_array_elements(CAST($1 AS jsonb))"),
        };
        // SQLite reads values faster than JSON, which shows where there are many.
        let many = if self.is_sqlite() { parts.len() / MANY * MANY } else { 0 };
        let (many, few) = parts.split_at(many);
        for rows in many.chunks_exact(MANY) {
            let insert =
                format!("{INSERT} VALUES (?, ?, ?, ?, ?, ?){} {known}", ", (?, ?, ?, ?, ?, ?)".repeat(MANY - 1));
            let values = rows.iter().flat_map(|(upload, part)| -> [Value; 6] {
                let (etag, checksum) = (part.etag.as_str().into(), part.checksum.as_deref().into());
                let at = upload.seen_at.timestamp_millis().into();
                [upload.id.into(), part.number.into(), etag, part.size.into(), checksum, at]
            });
            transaction.execute_raw(Statement::from_sql_and_values(self.backend(), insert, values)).await?;
        }
        if few.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = few
            .iter()
            .map(|(upload, part)| {
                let (etag, checksum) = (part.etag.as_str(), part.checksum.as_deref());
                (upload.id.simple(), part.number, etag, part.size, checksum, upload.seen_at.timestamp_millis())
            })
            .collect();
        let insert = format!(
            "{INSERT}
            SELECT {id}, CAST(value ->> 1 AS integer), value ->> 2, CAST(value ->> 3 AS bigint), value ->> 4,
                CAST(value ->> 5 AS bigint)
            FROM {rows_of} WHERE true
            {known}"
        );
        let statement = Statement::from_sql_and_values(self.backend(), insert, [json(&rows).into()]);
        transaction.execute_raw(statement).await?;
        Ok(())
    }

    /// The recorded parts after number `after`, ascending, at most `limit`. Of a completed upload no more is kept than was
    /// needed to complete it: neither the checksums, which S3 keeps with the object, nor when each part was recorded.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn parts(&self, upload: &Upload, after: i32, limit: u64) -> Result<Vec<Part>, Error> {
        if upload.status.object().is_some()
            && let Some(packed) = self.packed_parts(upload.id).await?
        {
            return packed::unpack(&packed, upload, after, limit);
        }
        let rows = Entity::find()
            .filter(Column::UploadId.eq(upload.id))
            .filter(Column::PartNumber.gt(after))
            .order_by_asc(Column::PartNumber)
            .limit(limit)
            .all(&self.read)
            .await?;
        rows.into_iter().map(Part::try_from).collect()
    }

    /// What is recorded of an upload that is not completed, in one query whose answer is as short as its gaps are few.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn recorded(&self, upload: &Upload) -> Result<Recorded, Error> {
        #[derive(FromQueryResult)]
        struct Run {
            first: i32,
            last: i32,
            bytes: i64,
            without_checksum: i64,
        }
        // Numbers without a gap between them are as far from their ranks as one another.
        const RUNS: &str =
            "SELECT CAST(MIN(part_number) AS integer) AS first, CAST(MAX(part_number) AS integer) AS last,
                CAST(SUM(COALESCE(size, $1)) AS bigint) AS bytes, COUNT(*) - COUNT(checksum) AS without_checksum
            FROM (SELECT part_number, size, checksum,
                    part_number - ROW_NUMBER() OVER (ORDER BY part_number) AS run
                FROM parts WHERE upload_id = $2) AS numbered
            GROUP BY run ORDER BY first";
        let values = [upload.plan.part_size().into(), upload.id.into()];
        let runs = Run::find_by_statement(Statement::from_sql_and_values(self.backend(), RUNS, values));
        let runs = runs.all(&self.read).await?;
        Ok(Recorded {
            bytes: runs.iter().map(|run| run.bytes).sum(),
            without_checksum: runs.iter().map(|run| run.without_checksum).sum(),
            numbers: PartSet::from_runs(runs.into_iter().map(|run| (run.first, run.last))),
        })
    }

    async fn packed_parts(&self, id: Uuid) -> Result<Option<Vec<u8>>, Error> {
        let select = upload::Entity::find_by_id(id).select_only().expr_as(Expr::col(FINISHED_PARTS), "packed");
        Ok(select.into_tuple::<Option<Vec<u8>>>().one(&self.read).await?.flatten())
    }

    /// How many parts and bytes are recorded of each of these uploads, in one query; an upload without parts is left out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tallies(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Tally>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = Entity::find()
            .select_only()
            .column(Column::UploadId)
            .expr_as(Expr::col((Entity, Column::PartNumber)).count(), "parts")
            .expr_as(Expr::cust("CAST(SUM(COALESCE(parts.size, uploads.part_size)) AS bigint)"), "bytes")
            .join(
                sea_orm::JoinType::InnerJoin,
                Entity::belongs_to(upload::Entity).from(Column::UploadId).to(upload::Column::Id).into(),
            )
            .filter(self.is_among(Column::UploadId, ids))
            .group_by(Column::UploadId)
            .into_tuple::<(Uuid, i64, i64)>()
            .all(&self.read)
            .await?;
        Ok(rows.into_iter().map(|(id, parts, bytes)| (id, Tally { parts, bytes })).collect())
    }

    /// The open upload, held so that it cannot be completed or aborted while its parts are written.
    async fn hold_open(
        &self,
        transaction: &Bounded<DatabaseTransaction>,
        owner: &Owner,
        id: Uuid,
    ) -> Result<Upload, Error> {
        let select = upload::Entity::find_by_id(id).filter(upload::Column::Owner.eq(owner.0.as_str())).lock_shared();
        let upload = self.seen(transaction, select).await?;
        if upload.status.state() != State::Open || upload.expires_at <= upload.seen_at {
            return Err(Error::Moved(Box::new(upload)));
        }
        Ok(upload)
    }
}
