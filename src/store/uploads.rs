//! Uploads in the ledger: made once, found by their owner, moved by guarded statements.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, SelectModel, Selector, UpdateMany,
};
use uuid::Uuid;

use super::bounded::Bounded;
use super::entity::part;
use super::entity::upload::{Column, Entity};
use super::parts::FINISHED_PARTS;
use super::row::{Seen, row_as_json};
use super::{Error, Quota, Store, later, null, packed, sooner};
use crate::upload::{AbortReason, Ending, Failure, LastProblem, Object, Owner, State, Status, Target, Upload};

/// S3 judges a URL when a request begins: a transfer begun in time may land this long after its URL ended, and a creation
/// that got no answer this long after it was sent.
pub const MAX_TRANSFER: Duration = Duration::from_secs(60 * 60);
/// An abort that is not proved this long after it could have been is overdue.
const PROVED_WITHIN: Duration = Duration::from_secs(15 * 60);
/// Ended uploads stay readable for this long.
const ENDED_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Whoever writes an intent goes on with it. Should that come to nothing, the upload is looked at this long after; and so is one
/// that completes by itself, after each activity.
const LOOK_PAUSE: Duration = Duration::from_secs(60);

/// Which uploads a list shows.
#[derive(Debug, Default)]
pub struct Filter {
    /// In this state only.
    pub state: Option<State>,
    /// With this fingerprint only.
    pub fingerprint: Option<String>,
}

/// Proof that this process, and no other, may drive the upload at S3 until the lease ends: the row, as our statement left
/// it. Every exit is fenced by the row's version, so a holder whose lease was taken over can write nothing.
#[must_use = "a lease left unused blocks the upload until it ends"]
#[derive(Debug)]
pub struct Lease {
    pub(super) upload: Upload,
    /// Just before the statement that confirmed it; runs on while the process is stopped.
    asked_at: Instant,
}

impl Lease {
    pub(super) fn new(upload: Upload, asked_at: Instant) -> Lease {
        Lease { upload, asked_at }
    }

    /// The upload as it was when the lease was won.
    pub fn upload(&self) -> &Upload {
        &self.upload
    }

    /// How long ago the database confirmed it, at the most.
    pub fn age(&self) -> Duration {
        self.asked_at.elapsed()
    }
}

impl Store {
    /// The owner's uploads, newest first: at most `limit`, those before `before`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list(
        &self,
        owner: &Owner,
        filter: Filter,
        before: Option<Uuid>,
        limit: u64,
    ) -> Result<Vec<Upload>, Error> {
        let mut select = Entity::find().filter(Column::Owner.eq(owner.0.as_str()));
        if let Some(state) = filter.state {
            select = select.filter(Column::State.eq(state.name()));
        }
        if let Some(fingerprint) = filter.fingerprint {
            select = select.filter(Column::Fingerprint.eq(fingerprint));
        }
        if let Some(before) = before {
            select = select.filter(Column::Id.lt(before));
        }
        self.all_seen(&self.read, select.order_by_desc(Column::Id).limit(limit)).await?.into_iter().collect()
    }

    /// Moves the upload's end: to `idle_ttl` from now, and not before `urls_expire_at`, but never past its hard cap nor
    /// backwards. A URL that ends by `urls_expire_at` may be handed out once this has returned.
    ///
    /// Of a stream it reserves `bytes`, within the owner's quota.
    ///
    /// # Errors
    /// [`Error::Moved`] unless it is open and not yet expired; [`Error::TooManyBytes`].
    pub async fn touch(
        &self,
        owner: &Owner,
        id: Uuid,
        idle_ttl: Duration,
        urls_expire_at: Option<DateTime<Utc>>,
        reserve: Option<(i64, Quota)>,
    ) -> Result<Upload, Error> {
        let mut expires_at = later(Expr::col(Column::ExpiresAt), self.in_expr(idle_ttl));
        let mut update = Entity::update_many();
        if let Some(urls) = urls_expire_at {
            let urls: SimpleExpr = Expr::value(urls.timestamp_millis());
            expires_at = later(expires_at, urls.clone());
            let known: SimpleExpr = Expr::col(Column::UrlsExpireAt).if_null(0);
            update = update.col_expr(Column::UrlsExpireAt, later(known, urls));
        }
        let expires_at = sooner(expires_at, Expr::col(Column::HardExpiresAt));
        let update = update
            .col_expr(Column::ExpiresAt, expires_at.clone())
            .col_expr(Column::DueAt, self.due_while_open(expires_at))
            .col_expr(Column::Attempts, Expr::value(0))
            .col_expr(Column::UpdatedAt, self.now_expr())
            .filter(Column::Id.eq(id))
            .filter(self.is_alive(owner));
        let Some((bytes, quota)) = reserve else {
            return self.decide_for(owner, id, update).await;
        };
        let update = update.col_expr(Column::Reserved, later(Expr::col(Column::Reserved), Expr::value(bytes)));
        let transaction = self.begin().await?;
        let (transaction, touched) = self.decide_in(transaction, id, update).await?;
        self.check_quota(&transaction, owner, quota).await?;
        transaction.commit().await?;
        Ok(touched)
    }

    /// Whether S3 may be asked about this upload: at most once in `pause`, over all replicas.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn may_ask(&self, id: Uuid, pause: Duration) -> Result<bool, Error> {
        let earlier = self.now_expr().sub(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX));
        let update = Entity::update_many()
            .col_expr(Column::AskedAt, self.now_expr())
            .filter(Column::Id.eq(id))
            .filter(Column::AskedAt.is_null().or(Expr::col(Column::AskedAt).lt(earlier)));
        Ok(update.exec(&self.write).await?.rows_affected == 1)
    }

    /// Notes why a completion was refused; the upload stays open.
    ///
    /// # Errors
    /// [`Error::Moved`] unless it is open and not yet expired.
    pub async fn note_problem(&self, owner: &Owner, id: Uuid, problem: &LastProblem) -> Result<Upload, Error> {
        let update = with_problem(Entity::update_many(), Some(problem))
            .col_expr(Column::UpdatedAt, self.now_expr())
            .filter(Column::Id.eq(id))
            .filter(self.is_alive(owner));
        self.decide_for(owner, id, update).await
    }

    /// open → completing: of all that race for it, over all replicas, one wins.
    ///
    /// # Errors
    /// [`Error::Moved`] unless it is open and not yet expired.
    pub async fn claim_completion(
        &self,
        owner: &Owner,
        id: Uuid,
        target: &Target,
        lease: Duration,
    ) -> Result<Lease, Error> {
        let asked_at = Instant::now();
        let update = Entity::update_many()
            .col_expr(Column::State, Expr::value(State::Completing.name()))
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .col_expr(Column::Attempts, Expr::value(0))
            .col_expr(Column::UpdatedAt, self.now_expr())
            .col_expr(Column::LeaseUntil, self.in_expr(lease))
            .col_expr(Column::DueAt, self.in_expr(lease))
            .col_expr(Column::TargetSize, Expr::value(target.size))
            .col_expr(
                Column::TargetChecksum,
                Expr::value(target.checksum.as_ref().map(|checksum| checksum.value.clone())),
            );
        let update = with_problem(update, None)
            .filter(Column::Id.eq(id))
            .filter(Column::State.is_in(State::Completing.predecessors().map(State::name)))
            .filter(self.is_alive(owner));
        Ok(Lease::new(self.decide_for(owner, id, update).await?, asked_at))
    }

    /// Takes over a completion whose lease has ended.
    ///
    /// # Errors
    /// [`Error::Moved`] while the lease lasts, or when another was faster.
    pub async fn take_over_completion(&self, seen: &Upload, lease: Duration) -> Result<Lease, Error> {
        let asked_at = Instant::now();
        let update = Entity::update_many()
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .col_expr(Column::UpdatedAt, self.now_expr())
            .col_expr(Column::LeaseUntil, self.in_expr(lease))
            .col_expr(Column::DueAt, later(Expr::col(Column::DueAt), self.in_expr(lease)))
            .filter(Column::Id.eq(seen.id))
            .filter(Column::State.eq(State::Completing.name()))
            .filter(Column::Version.eq(seen.version))
            .filter(Expr::col(Column::LeaseUntil).lt(self.now_expr()));
        Ok(Lease::new(self.decide(seen.id, update).await?, asked_at))
    }

    /// Prolongs a lease that is still held; its holder and version stay.
    ///
    /// # Errors
    /// [`Error::Moved`] when the lease was taken over meanwhile.
    pub async fn prolong_completion(&self, lease: &Lease, ttl: Duration) -> Result<(), Error> {
        self.decide(lease.upload.id, self.hold_completion(lease, ttl)).await.map(drop)
    }

    /// Confirms the lease anew, just before something is sent under it.
    ///
    /// # Errors
    /// [`Error::Moved`] when the lease was taken over meanwhile.
    pub async fn confirm_completion(&self, lease: Lease, ttl: Duration) -> Result<Lease, Error> {
        let asked_at = Instant::now();
        Ok(Lease::new(self.decide(lease.upload.id, self.hold_completion(&lease, ttl)).await?, asked_at))
    }

    /// Leaves a completion whose outcome is unclear: it stays `completing`, and nobody sends another for `quiet`, since the
    /// store may still be at work on the last one. From then on the lease is nobody's.
    ///
    /// # Errors
    /// [`Error::Moved`] when the lease was taken over meanwhile.
    pub async fn leave_unclear(&self, lease: Lease, quiet: Duration) -> Result<Upload, Error> {
        let update = self.hold_completion(&lease, quiet).col_expr(Column::Version, Expr::col(Column::Version).add(1));
        self.decide(lease.upload.id, update).await
    }

    fn hold_completion(&self, lease: &Lease, ttl: Duration) -> UpdateMany<Entity> {
        Entity::update_many()
            .col_expr(Column::UpdatedAt, self.now_expr())
            .col_expr(Column::LeaseUntil, self.in_expr(ttl))
            // Whoever tries in vain is put off ever longer, and stays so.
            .col_expr(Column::DueAt, later(Expr::col(Column::DueAt), self.in_expr(ttl)))
            .filter(Column::Id.eq(lease.upload.id))
            .filter(Column::State.eq(State::Completing.name()))
            .filter(Column::Version.eq(lease.upload.version))
    }

    /// completing → open: S3 cleanly refused. `problem` says why, if it lies with the parts.
    ///
    /// # Errors
    /// [`Error::Moved`] when the lease was taken over meanwhile.
    pub async fn reopen(&self, lease: Lease, problem: Option<&LastProblem>) -> Result<Upload, Error> {
        let update = with_problem(self.enter(&lease.upload, State::Open), problem)
            .col_expr(Column::LeaseUntil, null())
            .col_expr(Column::DueAt, self.due_while_open(Expr::col(Column::ExpiresAt)))
            .col_expr(Column::TargetSize, null())
            .col_expr(Column::TargetChecksum, null());
        self.decide(lease.upload.id, update).await
    }

    /// completing or aborting → completed, its parts packed. The caller holds the proof: an object that carries our upload id
    /// and has the planned size.
    ///
    /// # Errors
    /// [`Error::Moved`] when the row is no longer as `seen`.
    pub async fn complete(&self, seen: &Upload, object: &Object) -> Result<Upload, Error> {
        let checksum = object.checksum.as_ref();
        let transaction = self.begin().await?;
        let parts = part::Entity::find()
            .select_only()
            .columns([part::Column::PartNumber, part::Column::Etag])
            .filter(part::Column::UploadId.eq(seen.id))
            .order_by_asc(part::Column::PartNumber);
        let parts = parts.into_tuple().all(&transaction).await?;
        let packed = packed::pack(&parts, seen.plan.of_size(object.size));
        let is_packed = packed.is_some();
        let update = self
            .enter(seen, State::Completed)
            .col_expr(Column::LeaseUntil, null())
            .col_expr(Column::DueAt, self.due_when_completed(object))
            .col_expr(Column::AbortReason, null())
            .col_expr(Column::Failure, null())
            .col_expr(Column::TargetSize, Expr::value(object.size))
            .col_expr(Column::Reserved, Expr::value(object.size))
            .col_expr(Column::ObjectEtag, Expr::value(object.etag.as_str()))
            .col_expr(Column::ObjectVersionId, Expr::value(object.version_id.clone()))
            .col_expr(Column::ObjectChecksumAlgorithm, Expr::value(checksum.map(|checksum| checksum.algorithm.name())))
            .col_expr(Column::ObjectChecksum, Expr::value(checksum.map(|checksum| checksum.value.clone())))
            .col_expr(Column::ObjectVerified, Expr::value(object.verified))
            .col_expr(Column::CompletedAt, Expr::value(object.completed_at.timestamp_millis()))
            .col_expr(FINISHED_PARTS, Expr::value(packed));
        let (transaction, completed) = self.decide_in(transaction, seen.id, update).await?;
        if is_packed {
            part::Entity::delete_many().filter(part::Column::UploadId.eq(seen.id)).exec(&transaction).await?;
        }
        transaction.commit().await?;
        Ok(completed)
    }

    /// creating, open or completing → aborting: from here on nothing is signed, recorded or completed.
    ///
    /// # Errors
    /// [`Error::Moved`] when the row is no longer as `seen`.
    pub async fn abort(&self, seen: &Upload, ending: Ending) -> Result<Upload, Error> {
        self.decide(seen.id, self.to_aborting(seen, ending)).await
    }

    /// open → aborting, if its time has come by the database's clock.
    ///
    /// # Errors
    /// [`Error::Moved`] when the row is no longer as `seen`, or was kept alive meanwhile.
    pub async fn expire(&self, seen: &Upload) -> Result<Upload, Error> {
        let update = self
            .to_aborting(seen, Ending::Abort(AbortReason::Expired))
            .filter(Expr::col(Column::ExpiresAt).lte(self.now_expr()));
        self.decide(seen.id, update).await
    }

    pub(super) fn to_aborting(&self, seen: &Upload, ending: Ending) -> UpdateMany<Entity> {
        let (reason, failure) = match ending {
            Ending::Abort(reason) => (Some(reason), None),
            Ending::Fail(failure) => (None, Some(failure)),
        };
        let landed = Expr::col(Column::UrlsExpireAt).if_null(0).add(super::milliseconds(MAX_TRANSFER));
        let overdue_at = later(landed, self.now_expr()).add(super::milliseconds(PROVED_WITHIN));
        self.enter(seen, State::Aborting)
            .col_expr(Column::LeaseUntil, null())
            .col_expr(Column::DueAt, self.in_expr(LOOK_PAUSE))
            .col_expr(Column::OverdueAt, overdue_at)
            .col_expr(Column::AbortReason, Expr::value(reason.map(AbortReason::name)))
            .col_expr(Column::Failure, Expr::value(failure.map(Failure::name)))
    }

    /// Puts off the next look at an upload of which S3 holds nothing, but might again until `due_at`.
    ///
    /// # Errors
    /// [`Error::Moved`] when the row is no longer as `seen`.
    pub async fn put_off(&self, seen: &Upload, due_at: DateTime<Utc>) -> Result<Upload, Error> {
        let update = Entity::update_many()
            .col_expr(Column::DueAt, Expr::value(due_at.timestamp_millis()))
            .col_expr(Column::UpdatedAt, self.now_expr())
            .col_expr(Column::Attempts, Expr::value(0))
            .filter(Column::Id.eq(seen.id))
            .filter(Column::State.eq(State::Aborting.name()))
            .filter(Column::Version.eq(seen.version));
        self.decide(seen.id, update).await
    }

    /// aborting → aborted or failed, whichever it was headed for; deleting → deleted. The caller has seen that S3 holds
    /// nothing of it.
    ///
    /// # Errors
    /// [`Error::Moved`] when the row is no longer as `seen`.
    pub async fn end(&self, seen: &Upload) -> Result<Upload, Error> {
        let state = match &seen.status {
            Status::Aborting { ending: Ending::Abort(_), .. } => State::Aborted,
            Status::Aborting { ending: Ending::Fail(_), .. } => State::Failed,
            Status::Deleting(_) => State::Deleted,
            _ => return Err(Error::Moved(Box::new(seen.clone()))),
        };
        let update = self
            .enter(seen, state)
            .col_expr(Column::LeaseUntil, null())
            .col_expr(Column::DueAt, self.in_expr(ENDED_LIFE))
            .col_expr(Column::EndedAt, self.now_expr());
        self.decide(seen.id, update).await
    }

    /// completed → deleting: from here on the file is nobody's.
    ///
    /// # Errors
    /// [`Error::Moved`] when the row is no longer as `seen`.
    pub async fn delete(&self, seen: &Upload) -> Result<Upload, Error> {
        let update = self.enter(seen, State::Deleting).col_expr(Column::DueAt, self.in_expr(LOOK_PAUSE));
        self.decide(seen.id, update).await
    }

    /// The guard of what clients do with an upload that is open: theirs, open, and not expired by the database's clock.
    fn is_alive(&self, owner: &Owner) -> SimpleExpr {
        Column::Owner
            .eq(owner.0.as_str())
            .and(Column::State.eq(State::Open.name()))
            .and(Expr::col(Column::ExpiresAt).gt(self.now_expr()))
    }

    /// The statement that enters `state`: from a predecessor only, and only from the row exactly as it was seen.
    pub(super) fn enter(&self, seen: &Upload, state: State) -> UpdateMany<Entity> {
        Entity::update_many()
            .col_expr(Column::State, Expr::value(state.name()))
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .col_expr(Column::Attempts, Expr::value(0))
            .col_expr(Column::UpdatedAt, self.now_expr())
            .filter(Column::Id.eq(seen.id))
            .filter(Column::State.is_in(state.predecessors().map(State::name)))
            .filter(Column::Version.eq(seen.version))
    }

    /// When an open upload needs a look: at its end, and one that completes by itself a little after each activity.
    pub(super) fn due_while_open(&self, expires_at: SimpleExpr) -> SimpleExpr {
        let by_itself = sooner(expires_at.clone(), self.in_expr(LOOK_PAUSE));
        CaseStatement::new().case(Expr::col(Column::AutoComplete), by_itself).finally(expires_at).into()
    }

    /// A completed upload needs a last look if S3 may hold open uploads of its key: those of an unclear creation, or what a
    /// late part makes of the one that an empty stream had no use for.
    fn due_when_completed(&self, object: &Object) -> SimpleExpr {
        let mut leaves_nothing = Expr::col(Column::Creations).lte(1);
        if object.size == 0 {
            leaves_nothing = leaves_nothing.and(Column::S3UploadId.is_null());
        }
        let landed = later(Expr::col(Column::UrlsExpireAt).if_null(0), self.now_expr());
        let landed = landed.add(super::milliseconds(MAX_TRANSFER));
        CaseStatement::new().case(leaves_nothing, null()).finally(landed).into()
    }

    /// Runs a guarded statement. It decides; when it changed nothing, the row as it is now tells why.
    pub(super) async fn decide(&self, id: Uuid, update: UpdateMany<Entity>) -> Result<Upload, Error> {
        match self.changed(&self.write, update).await? {
            Some(upload) => Ok(upload),
            None => Err(Error::Moved(Box::new(self.by_id(id).await?))),
        }
    }

    /// The same within a transaction, which goes on only if the statement did what it was for.
    pub(super) async fn decide_in(
        &self,
        transaction: Bounded<DatabaseTransaction>,
        id: Uuid,
        update: UpdateMany<Entity>,
    ) -> Result<(Bounded<DatabaseTransaction>, Upload), Error> {
        if let Some(upload) = self.changed(&transaction, update).await? {
            return Ok((transaction, upload));
        }
        transaction.rollback().await?;
        Err(Error::Moved(Box::new(self.by_id(id).await?)))
    }

    /// The upload as the statement left it, if there is one that it changed.
    async fn changed(&self, db: &impl ConnectionTrait, update: UpdateMany<Entity>) -> Result<Option<Upload>, Error> {
        let mut update = update.into_query();
        update.returning(
            Query::returning().expr(row_as_json(self.backend(), &Seen::values(self.backend(), "uploads.updated_at"))),
        );
        let changed = Seen::find_by_statement(self.backend().build(&update)).all(db).await?;
        changed.into_iter().next().map(Upload::try_from).transpose()
    }

    /// The same for a client: another owner's upload is not even told to be elsewhere.
    async fn decide_for(&self, owner: &Owner, id: Uuid, update: UpdateMany<Entity>) -> Result<Upload, Error> {
        match self.decide(id, update).await {
            Err(Error::Moved(upload)) if upload.owner != *owner => Err(Error::NotFound),
            outcome => outcome,
        }
    }

    pub(super) async fn by_id(&self, id: Uuid) -> Result<Upload, Error> {
        self.seen(&self.write, Entity::find_by_id(id)).await
    }

    pub(super) async fn seen(
        &self,
        db: &impl ConnectionTrait,
        select: sea_orm::Select<Entity>,
    ) -> Result<Upload, Error> {
        let found = self.looked_at(select).one(db).await?;
        found.ok_or(Error::NotFound)?.try_into()
    }

    /// Each row by itself: one that contradicts itself is an error, and spoils no other.
    pub(super) async fn all_seen(
        &self,
        db: &impl ConnectionTrait,
        select: sea_orm::Select<Entity>,
    ) -> Result<Vec<Result<Upload, Error>>, Error> {
        let rows = self.looked_at(select).all(db).await?;
        Ok(rows.into_iter().map(Upload::try_from).collect())
    }

    /// The rows of a query, as of now.
    pub(super) fn looked_at(&self, select: sea_orm::Select<Entity>) -> Selector<SelectModel<Seen>> {
        let row = row_as_json(self.backend(), &Seen::values(self.backend(), &self.now_sql()));
        select.select_only().expr_as(row, "row").into_model::<Seen>()
    }
}

fn with_problem(update: UpdateMany<Entity>, problem: Option<&LastProblem>) -> UpdateMany<Entity> {
    let (code, parts) = match problem {
        Some(LastProblem::PartsMissing(parts)) => (Some("parts-missing"), Some(parts.to_string())),
        Some(LastProblem::PartsDiffer(parts)) => (Some("parts-differ"), Some(parts.to_string())),
        None => (None, None),
    };
    update.col_expr(Column::LastProblem, Expr::value(code)).col_expr(Column::LastProblemParts, Expr::value(parts))
}
