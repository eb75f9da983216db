//! Parts in the ledger: what clients report and what S3 lists. Written in groups, all or nothing.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, DatabaseTransaction, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect,
};
use uuid::Uuid;

use super::bounded::Bounded;
use super::entity::part::{ActiveModel, Column, Entity};
use super::entity::upload;
use super::{Error, Store};
use crate::upload::{Owner, Part, State, Upload};

/// Rows in one statement; SQLite binds at most 32,766 values.
const CHUNK: usize = 1_000;

/// How much of an upload is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Parts.
    pub parts: i64,
    /// Bytes; a part of unknown size counts as a whole one.
    pub bytes: i64,
}

impl Store {
    /// Records parts, in the place of what was recorded for them before. Durable, all of them, when it returns.
    ///
    /// # Errors
    /// [`Error::Moved`] unless the upload is open and not yet expired; then none is recorded.
    pub async fn record_parts(&self, owner: &Owner, id: Uuid, parts: &[Part]) -> Result<(), Error> {
        let transaction = self.begin().await?;
        let upload = self.hold_open(&transaction, owner, id).await?;
        let mut replace = OnConflict::columns([Column::UploadId, Column::PartNumber]);
        replace.update_columns([Column::Etag, Column::Size, Column::Checksum, Column::RecordedAt]);
        insert(&transaction, &upload, parts, &replace).await?;
        Ok(transaction.commit().await?)
    }

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
        for numbers in lost.chunks(CHUNK) {
            Entity::delete_many()
                .filter(Column::UploadId.eq(id))
                .filter(Column::PartNumber.is_in(numbers.iter().copied()))
                .filter(Column::RecordedAt.lt(listed_from.timestamp_millis()))
                .exec(&transaction)
                .await?;
        }
        let mut keep = OnConflict::columns([Column::UploadId, Column::PartNumber]);
        keep.update_column(Column::Size)
            .value(Column::Checksum, Expr::cust("COALESCE(parts.checksum, excluded.checksum)"))
            .action_and_where(Expr::cust("parts.etag = excluded.etag"));
        insert(&transaction, &upload, found, &keep).await?;
        Ok(transaction.commit().await?)
    }

    /// The recorded parts after number `after`, ascending, at most `limit`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn parts(&self, id: Uuid, after: i32, limit: u64) -> Result<Vec<Part>, Error> {
        let rows = Entity::find()
            .filter(Column::UploadId.eq(id))
            .filter(Column::PartNumber.gt(after))
            .order_by_asc(Column::PartNumber)
            .limit(limit)
            .all(&self.read)
            .await?;
        rows.into_iter().map(Part::try_from).collect()
    }

    /// The numbers of the recorded parts, ascending.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn part_numbers(&self, id: Uuid) -> Result<Vec<i32>, Error> {
        let select = Entity::find().select_only().column(Column::PartNumber).filter(Column::UploadId.eq(id));
        Ok(select.order_by_asc(Column::PartNumber).into_tuple().all(&self.read).await?)
    }

    /// How much is recorded of each of these uploads, in one query; an upload without parts is left out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tallies(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Tally>, Error> {
        #[derive(FromQueryResult)]
        struct Row {
            upload_id: Uuid,
            parts: i64,
            bytes: i64,
        }
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
            .filter(Column::UploadId.is_in(ids.iter().copied()))
            .group_by(Column::UploadId)
            .into_model::<Row>()
            .all(&self.read)
            .await?;
        Ok(rows.into_iter().map(|row| (row.upload_id, Tally { parts: row.parts, bytes: row.bytes })).collect())
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

async fn insert(
    transaction: &Bounded<DatabaseTransaction>,
    upload: &Upload,
    parts: &[Part],
    conflict: &OnConflict,
) -> Result<(), Error> {
    // In one order always: two that write the same parts in different orders would wait for each other for ever.
    let mut parts: Vec<&Part> = parts.iter().collect();
    parts.sort_unstable_by_key(|part| part.number);
    for chunk in parts.chunks(CHUNK) {
        let rows = chunk.iter().map(|part| ActiveModel {
            upload_id: Set(upload.id),
            part_number: Set(part.number),
            etag: Set(part.etag.as_str().to_owned()),
            size: Set(part.size),
            checksum: Set(part.checksum.clone()),
            recorded_at: Set(upload.seen_at.timestamp_millis()),
        });
        Entity::insert_many(rows).on_conflict(conflict.clone()).exec_without_returning(transaction).await?;
    }
    Ok(())
}
