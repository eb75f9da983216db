//! Parts in the ledger: what S3 lists, and what is known of them.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, Statement,
};
use uuid::Uuid;

use super::bounded::Bounded;
use super::entity::part::{Column, Entity};
use super::entity::upload;
use super::rows::Report;
use super::{Error, Store, packed};
use crate::upload::{Part, PartSet, Upload};

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
    /// checksum where the same part is recorded already, and forgets each of `lost` unless it, or another in its place, was
    /// recorded since.
    ///
    /// # Errors
    /// [`Error::Moved`] unless the upload is open and not yet expired; then nothing changes.
    pub async fn take_listing(
        &self,
        upload: &Upload,
        listed_from: DateTime<Utc>,
        found: &[Part],
        lost: &[Part],
    ) -> Result<(), Error> {
        let transaction = self.begin().await?;
        let upload = self.hold_open(&transaction, upload.id).await?;
        if !lost.is_empty() {
            Entity::delete_many()
                .filter(Column::UploadId.eq(upload.id))
                .filter(self.is_one_of(lost))
                .filter(Column::RecordedAt.lt(listed_from.timestamp_millis()))
                .exec(&transaction)
                .await?;
        }
        let keep = "UPDATE SET size = excluded.size, checksum = COALESCE(parts.checksum, excluded.checksum)
            WHERE parts.etag = excluded.etag";
        let report = Report { upload_id: upload.id, recorded_at: upload.seen_at, parts: found.into() };
        transaction.execute_raw(self.insert(&[&report], keep)).await?;
        Ok(transaction.commit().await?)
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

    /// The open upload, held so that it cannot be completed or aborted until the transaction ends.
    async fn hold_open(&self, transaction: &Bounded<DatabaseTransaction>, id: Uuid) -> Result<Upload, Error> {
        let upload = self.seen(transaction, upload::Entity::find_by_id(id).lock_shared()).await?;
        if upload.is_alive() { Ok(upload) } else { Err(Error::Moved(Box::new(upload))) }
    }
}
