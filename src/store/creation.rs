//! How an upload comes into the ledger: once, however often its creation is repeated, and taken over when its maker died.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, OnConflict};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, DatabaseTransaction, EntityTrait, QueryFilter,
};
use uuid::Uuid;

use super::bounded::Bounded;
use super::entity::upload::{ActiveModel, Column, Entity};
use super::entity::{idempotency_key, usage};
use super::uploads::Lease;
use super::{Error, Store, later, null};
use crate::upload::{Algorithm, Checksum, Ending, Failure, Owner, Plan, State, Status, Upload, Visibility};

/// How long an idempotency key is kept.
const KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// An upload that is about to be.
#[derive(Debug)]
pub struct NewUpload {
    /// See the fields of the same names in [`Upload`].
    pub id: Uuid,
    /// See [`Upload`].
    pub owner: Owner,
    /// See [`Upload`].
    pub preset: String,
    /// See [`Upload`].
    pub filename: String,
    /// See [`Upload`].
    pub content_type: String,
    /// See [`Upload`].
    pub metadata: BTreeMap<String, String>,
    /// See [`Upload`].
    pub plan: Plan,
    /// See [`Upload`].
    pub part_checksum: Option<Algorithm>,
    /// See [`Upload`].
    pub auto_complete: bool,
    /// See [`Upload`].
    pub checksum: Option<Checksum>,
    /// See [`Upload`].
    pub fingerprint: Option<String>,
    /// See [`Upload`].
    pub visibility: Visibility,
    /// See [`Upload`].
    pub bucket: String,
    /// See [`Upload`].
    pub key: String,
    /// Bytes of its owner's quota that it takes from the start.
    pub reserved: i64,
    /// From now, without activity.
    pub idle_ttl: Duration,
    /// From now, whatever happens.
    pub max_ttl: Duration,
    /// How long its maker has to begin it at S3 before another may take over.
    pub lease: Duration,
    /// What its owner may have, this one included.
    pub quota: Quota,
}

/// The most that one owner may have; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quota {
    /// Uploads that have not ended.
    pub open_uploads: Option<i64>,
    /// Bytes: of files, and declared or signed ones of uploads, until their abort is proved.
    pub bytes: Option<i64>,
}

/// A client's promise that two requests are one.
#[derive(Debug, Clone)]
pub struct IdempotencyKey {
    /// As the client sent it.
    pub key: String,
    /// Of the request's body, so that another body under the same key is noticed.
    pub request_hash: [u8; 32],
}

/// What became of a creation.
#[derive(Debug)]
pub enum Created {
    /// The row is written and ours to begin at S3.
    Fresh(Lease),
    /// An earlier request died while beginning it; it is ours now, and S3 may hold an upload of this key already.
    TakenOver(Lease),
    /// An earlier request under this key made it.
    Replayed(Box<Upload>),
    /// An earlier request under this key is at it.
    InProgress,
    /// This key was used for another request.
    Reused,
}

impl Store {
    /// Writes the row of a new upload, in state `creating`, together with its idempotency key if there is one: both or
    /// neither, and of two requests under one key only one makes an upload, on whatever replica.
    ///
    /// # Errors
    /// [`Error::TooManyUploads`] and [`Error::TooManyBytes`] among others; then nothing is written.
    pub async fn create(&self, new: NewUpload, key: Option<&IdempotencyKey>) -> Result<Created, Error> {
        let (owner, lease, quota, asked_at) = (new.owner.clone(), new.lease, new.quota, Instant::now());
        let transaction = self.begin().await?;
        let now = self.now_in(&transaction).await?;
        let id = new.id;
        let row = row(new, now)?;
        Entity::insert(row).exec_without_returning(&transaction).await?;
        if let Some(key) = key {
            idempotency_key::Entity::delete_many()
                .filter(idempotency_key::Column::Owner.eq(owner.0.as_str()))
                .filter(idempotency_key::Column::IdempotencyKey.eq(key.key.as_str()))
                .filter(idempotency_key::Column::ExpiresAt.lte(now.timestamp_millis()))
                .exec(&transaction)
                .await?;
            let entry = idempotency_key::ActiveModel {
                owner: Set(owner.0.clone()),
                idempotency_key: Set(key.key.clone()),
                request_hash: Set(key.request_hash.to_vec()),
                upload_id: Set(id),
                expires_at: Set((now + KEY_LIFE).timestamp_millis()),
            };
            let mut taken =
                OnConflict::columns([idempotency_key::Column::Owner, idempotency_key::Column::IdempotencyKey]);
            let insert = idempotency_key::Entity::insert(entry).on_conflict(taken.do_nothing().to_owned());
            if insert.exec_without_returning(&transaction).await? == 0 {
                transaction.rollback().await?;
                return self.replay(&owner, key, lease).await;
            }
        }
        self.check_quota(&transaction, &owner, quota).await?;
        transaction.commit().await?;
        Ok(Created::Fresh(Lease::new(self.by_id(id).await?, asked_at)))
    }

    /// Whether the owner is within its quota now. What it has is kept by the database with every change of its uploads, and
    /// who has changed it in a transaction keeps others from changing it: so all replicas together never exceed a quota.
    pub(super) async fn check_quota(
        &self,
        transaction: &Bounded<DatabaseTransaction>,
        owner: &Owner,
        quota: Quota,
    ) -> Result<(), Error> {
        if quota == Quota::default() {
            return Ok(());
        }
        let Some(usage) = usage::Entity::find_by_id(owner.0.clone()).one(transaction).await? else {
            return Ok(());
        };
        if quota.open_uploads.is_some_and(|most| usage.open_uploads > most) {
            return Err(Error::TooManyUploads);
        }
        if quota.bytes.is_some_and(|most| usage.bytes > most) {
            return Err(Error::TooManyBytes);
        }
        Ok(())
    }

    /// What an earlier request under this key has come to.
    async fn replay(&self, owner: &Owner, key: &IdempotencyKey, lease: Duration) -> Result<Created, Error> {
        let entry = idempotency_key::Entity::find_by_id((owner.0.clone(), key.key.clone())).one(&self.write).await?;
        // The other request was refused and took its key away between our two statements: nothing of it is left to replay.
        let Some(entry) = entry else {
            return Ok(Created::InProgress);
        };
        if entry.request_hash != key.request_hash {
            return Ok(Created::Reused);
        }
        let found = self.by_id(entry.upload_id).await?;
        match found.status {
            Status::Creating { lease_until } if lease_until > found.seen_at => Ok(Created::InProgress),
            Status::Creating { .. } => match self.take_over_creation(&found, lease).await {
                Ok(lease) => Ok(Created::TakenOver(lease)),
                Err(Error::Moved(_)) => Ok(Created::InProgress),
                Err(error) => Err(error),
            },
            _ => Ok(Created::Replayed(Box::new(found))),
        }
    }

    /// Takes over a creation whose lease has ended; S3 may hold an upload of its key already, or get one yet.
    ///
    /// # Errors
    /// [`Error::Moved`] while the lease lasts, or when another was faster.
    pub async fn take_over_creation(&self, found: &Upload, lease: Duration) -> Result<Lease, Error> {
        let asked_at = Instant::now();
        let update = Entity::update_many()
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .col_expr(Column::UpdatedAt, self.now_expr())
            .col_expr(Column::Creations, Expr::col(Column::Creations).add(1))
            .col_expr(Column::BegunAt, self.now_expr())
            .col_expr(Column::LeaseUntil, self.in_expr(lease))
            .col_expr(Column::DueAt, later(Expr::col(Column::DueAt), self.in_expr(lease)))
            .filter(Column::Id.eq(found.id))
            .filter(Column::State.eq(State::Creating.name()))
            .filter(Column::Version.eq(found.version))
            .filter(Expr::col(Column::LeaseUntil).lt(self.now_expr()));
        Ok(Lease::new(self.decide(found.id, update).await?, asked_at))
    }

    /// creating → open: S3 has begun it (`s3_upload_id`), or it is empty and needs no multipart upload.
    ///
    /// # Errors
    /// [`Error::Moved`] when the lease was taken over meanwhile.
    pub async fn open(&self, lease: Lease, s3_upload_id: Option<&str>) -> Result<Upload, Error> {
        let update = self
            .enter(&lease.upload, State::Open)
            .col_expr(Column::S3UploadId, Expr::value(s3_upload_id))
            .col_expr(Column::LeaseUntil, null())
            .col_expr(Column::DueAt, self.due_while_open(Expr::col(Column::ExpiresAt)));
        self.decide(lease.upload.id, update).await
    }

    /// creating → aborting, because S3 refused: the idempotency key goes, for refusals are not kept.
    ///
    /// # Errors
    /// [`Error::Moved`] when the lease was taken over meanwhile.
    pub async fn refuse_creation(&self, lease: Lease) -> Result<Upload, Error> {
        let transaction = self.begin().await?;
        let update = self.to_aborting(&lease.upload, Ending::Fail(Failure::CreateRefused));
        let (transaction, refused) = self.decide_in(transaction, lease.upload.id, update).await?;
        idempotency_key::Entity::delete_many()
            .filter(idempotency_key::Column::UploadId.eq(lease.upload.id))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(refused)
    }
}

fn row(new: NewUpload, now: DateTime<Utc>) -> Result<ActiveModel, Error> {
    let hard_expires_at = now + new.max_ttl;
    let expires_at = std::cmp::min(hard_expires_at, now + new.idle_ttl);
    let lease_until = now + new.lease;
    let metadata = serde_json::to_string(&new.metadata);
    let metadata =
        metadata.map_err(|_| Error::Inconsistent { id: new.id, what: "metadata is not a map of strings" })?;
    Ok(ActiveModel {
        id: Set(new.id),
        owner: Set(new.owner.0),
        preset: Set(new.preset),
        state: Set(State::Creating.name().to_owned()),
        version: Set(0),
        filename: Set(new.filename),
        content_type: Set(new.content_type),
        metadata: Set(metadata),
        visibility: Set(new.visibility.name().to_owned()),
        reserved: Set(new.reserved),
        size: Set(new.plan.size()),
        part_size: Set(new.plan.part_size()),
        part_checksum: Set(new.part_checksum.map(|algorithm| algorithm.name().to_owned())),
        auto_complete: Set(new.auto_complete),
        checksum: Set(new.checksum.map(|checksum| checksum.value)),
        fingerprint: Set(new.fingerprint),
        bucket: Set(new.bucket),
        object_key: Set(new.key),
        lease_until: Set(Some(lease_until.timestamp_millis())),
        due_at: Set(Some(lease_until.timestamp_millis())),
        attempts: Set(0),
        creations: Set(1),
        begun_at: Set(Some(now.timestamp_millis())),
        overdue_at: NotSet,
        created_at: Set(now.timestamp_millis()),
        updated_at: Set(now.timestamp_millis()),
        expires_at: Set(expires_at.timestamp_millis()),
        hard_expires_at: Set(hard_expires_at.timestamp_millis()),
        s3_upload_id: NotSet,
        target_size: NotSet,
        target_checksum: NotSet,
        object_etag: NotSet,
        object_version_id: NotSet,
        object_checksum_algorithm: NotSet,
        object_checksum: NotSet,
        object_verified: NotSet,
        last_problem: NotSet,
        last_problem_parts: NotSet,
        abort_reason: NotSet,
        failure: NotSet,
        asked_at: NotSet,
        urls_expire_at: NotSet,
        completed_at: NotSet,
        ended_at: NotSet,
    })
}
