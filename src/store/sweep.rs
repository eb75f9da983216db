//! What needs doing, whoever's it is: the one place that looks at the uploads of all owners.

use std::collections::{BTreeMap, HashMap};

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, LockBehavior, LockType, SimpleExpr};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, Statement,
};
use uuid::Uuid;

use super::entity::upload::{Column, Entity};
use super::entity::{idempotency_key, part};
use super::{Error, Store, null, sooner};
use crate::upload::{State, Upload};

/// Minutes until a claimed row is claimed again, by how often it was claimed in vain; then a quarter of an hour, for ever.
const BACK_OFF: [i64; 4] = [1, 2, 4, 8];
const LONGEST_BACK_OFF: i64 = 15;
const MINUTE: i64 = 60_000;

/// What the ledger holds, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Uploads in each state that has any.
    pub uploads: BTreeMap<&'static str, i64>,
    /// Seconds by which the most overdue abort is overdue; zero when none is.
    pub overdue_abort_seconds: i64,
    /// The database came from a backup and was not yet checked against the bucket.
    pub restored: bool,
}

/// What the ledger knows of an id that turned up at S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Where the upload stands.
    pub state: State,
    /// S3's id of it.
    pub s3_upload_id: Option<String>,
}

impl Store {
    /// Claims at most `limit` uploads that need something done, the longest due first: no replica gets the same ones. A
    /// claim is nothing but the next try, put off ever longer, so that whatever happens to its holder the upload comes
    /// again, and one that cannot be helped holds up nobody. A row that contradicts itself is claimed as an error.
    ///
    /// # Errors
    /// [`Error::Restored`] while the database is not to be trusted.
    pub async fn claim_due(&self, limit: u64) -> Result<Vec<Result<Upload, Error>>, Error> {
        let transaction = self.begin().await?;
        if self.is_restored_in(&transaction).await? {
            transaction.rollback().await?;
            return Err(Error::Restored);
        }
        let due = Entity::find()
            .filter(Expr::col(Column::DueAt).lte(self.now_expr()))
            .order_by_asc(Column::DueAt)
            .limit(limit)
            .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
        let due = self.looked_at(due).all(&transaction).await?;
        if due.is_empty() {
            transaction.rollback().await?;
            return Ok(Vec::new());
        }
        Entity::update_many()
            .col_expr(Column::DueAt, self.next_try())
            .col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1))
            .filter(self.is_among(Column::Id, &due.iter().map(|seen| seen.id).collect::<Vec<_>>()))
            .exec(&transaction)
            .await?;
        transaction.commit().await?;
        Ok(due.into_iter().map(Upload::try_from).collect())
    }

    fn next_try(&self) -> SimpleExpr {
        let after = |minutes: i64| self.now_expr().add(minutes * MINUTE);
        let mut next = CaseStatement::new();
        for (attempts, minutes) in (0_i64..).zip(BACK_OFF) {
            next = next.case(Expr::col(Column::Attempts).eq(attempts), after(minutes));
        }
        let next: SimpleExpr = next.finally(after(LONGEST_BACK_OFF)).into();
        // However seldom an upload that completes by itself is looked at, its end is not missed.
        let alive = Column::State.eq(State::Open.name()).and(Expr::col(Column::ExpiresAt).gt(self.now_expr()));
        CaseStatement::new().case(alive, sooner(next.clone(), Expr::col(Column::ExpiresAt))).finally(next).into()
    }

    /// Nothing needs to be done for the upload any more.
    ///
    /// # Errors
    /// [`Error::Moved`] when the row is no longer as `seen`.
    pub async fn rest(&self, seen: &Upload) -> Result<Upload, Error> {
        let update = Entity::update_many()
            .col_expr(Column::DueAt, null())
            .col_expr(Column::Attempts, Expr::value(0))
            .col_expr(Column::UpdatedAt, self.now_expr())
            .filter(Column::Id.eq(seen.id))
            .filter(Column::Version.eq(seen.version));
        self.decide(seen.id, update).await
    }

    /// Removes the row of an upload that has ended, with its parts and its idempotency key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget(&self, ended: &Upload) -> Result<(), Error> {
        let states = [State::Aborted, State::Failed, State::Deleted].map(State::name);
        let transaction = self.begin().await?;
        let forgotten = Entity::delete_many()
            .filter(Column::Id.eq(ended.id))
            .filter(Column::Version.eq(ended.version))
            .filter(Column::State.is_in(states))
            .exec(&transaction)
            .await?;
        if forgotten.rows_affected == 1 {
            part::Entity::delete_many().filter(part::Column::UploadId.eq(ended.id)).exec(&transaction).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// Removes idempotency keys whose time has passed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_keys(&self) -> Result<u64, Error> {
        let expired = Expr::col(idempotency_key::Column::ExpiresAt).lte(self.now_expr());
        Ok(idempotency_key::Entity::delete_many().filter(expired).exec(&self.write).await?.rows_affected)
    }

    /// The uploads of every owner by id, at most `limit`, those after `after`. A row that contradicts itself is an error.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn all(&self, after: Option<Uuid>, limit: u64) -> Result<Vec<Result<Upload, Error>>, Error> {
        let mut select = Entity::find();
        if let Some(after) = after {
            select = select.filter(Column::Id.gt(after));
        }
        self.all_seen(&self.read, select.order_by_asc(Column::Id).limit(limit)).await
    }

    /// What is known of these ids, in one query; those that nobody knows are left out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn known(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Known>, Error> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows: Vec<(Uuid, String, Option<String>)> = Entity::find()
            .select_only()
            .columns([Column::Id, Column::State, Column::S3UploadId])
            .filter(self.is_among(Column::Id, ids))
            .into_tuple()
            .all(&self.read)
            .await?;
        let known = |(id, state, s3_upload_id): (Uuid, String, Option<String>)| {
            let state = State::from_name(&state).ok_or(Error::Inconsistent { id, what: "unknown state" })?;
            Ok((id, Known { state, s3_upload_id }))
        };
        rows.into_iter().map(known).collect()
    }

    /// The upload of this id, whoever's it is.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn any(&self, id: Uuid) -> Result<Upload, Error> {
        self.by_id(id).await
    }

    /// What the ledger holds, in numbers.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn counts(&self) -> Result<Counts, Error> {
        let rows: Vec<(String, i64)> = Entity::find()
            .select_only()
            .column(Column::State)
            .expr_as(Expr::col(Column::State).count(), "uploads")
            .group_by(Column::State)
            .into_tuple()
            .all(&self.read)
            .await?;
        let uploads = rows.into_iter().filter_map(|(state, count)| Some((State::from_name(&state)?.name(), count)));
        let overdue: Option<Option<i64>> = Entity::find()
            .select_only()
            .expr_as(self.now_expr().sub(Expr::col(Column::OverdueAt).min()), "overdue")
            .filter(Column::State.eq(State::Aborting.name()))
            .into_tuple()
            .one(&self.read)
            .await?;
        Ok(Counts {
            uploads: uploads.collect(),
            overdue_abort_seconds: std::cmp::max(0, overdue.flatten().unwrap_or_default()) / 1_000,
            restored: self.is_restored().await?,
        })
    }

    /// Whether the database came from a backup and was not yet checked against the bucket.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn is_restored(&self) -> Result<bool, Error> {
        self.is_restored_in(&self.read).await
    }

    async fn is_restored_in(&self, db: &impl ConnectionTrait) -> Result<bool, Error> {
        #[derive(FromQueryResult)]
        struct Mark {
            #[expect(dead_code, reason = "that there is one is all")]
            restored_at: i64,
        }
        let statement =
            Statement::from_string(db.get_database_backend(), "SELECT restored_at FROM restorations LIMIT 1");
        Ok(Mark::find_by_statement(statement).one(db).await?.is_some())
    }

    /// Marks the database as one that came from a backup: nothing is swept until [`Store::trust`].
    ///
    /// # Errors
    /// When the database does not answer; then it is not marked.
    pub async fn distrust(&self) -> Result<(), Error> {
        let statement =
            format!("INSERT INTO restorations (restored_at) VALUES ({}) ON CONFLICT DO NOTHING", self.now_sql());
        self.write.execute_unprepared(&statement).await?;
        Ok(())
    }

    /// The database was checked against the bucket: it is swept again.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn trust(&self) -> Result<(), Error> {
        self.write.execute_unprepared("DELETE FROM restorations").await?;
        Ok(())
    }
}
