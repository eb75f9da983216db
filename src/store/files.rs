//! Files in the ledger: completed uploads, their owners', and those with whom they are shared.

use std::collections::HashMap;

use sea_orm::sea_query::{Expr, ExprTrait, OnConflict, Query, SelectStatement, SimpleExpr, UnionType};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};
use uuid::Uuid;

use super::entity::share;
use super::entity::upload::{Column, Entity};
use super::{Error, Store};
use crate::upload::{Owner, State, Upload, Whose};

impl Store {
    /// The upload of this id, if it is this caller's or shared with it.
    ///
    /// # Errors
    /// [`Error::NotFound`], the same for another's as for none.
    pub async fn find_readable(&self, whose: &Whose, id: Uuid) -> Result<Upload, Error> {
        self.seen(&self.read, Entity::find_by_id(id).filter(readable(whose))).await
    }

    /// The uploads of these ids that are this caller's or shared with it, in one query, in no order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_all_readable(&self, whose: &Whose, ids: &[Uuid]) -> Result<Vec<Upload>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let select = Entity::find().filter(self.is_among(Column::Id, ids)).filter(readable(whose));
        self.all_seen(&self.read, select).await?.into_iter().collect()
    }

    /// The files of the owner and those shared with it, newest first: at most `limit`, those before `before`. One query,
    /// which looks at no more rows than it returns, twice.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn files(&self, owner: &Owner, before: Option<Uuid>, limit: u64) -> Result<Vec<Upload>, Error> {
        let mut own = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::Owner.eq(owner.0.as_str()))
            .filter(Column::State.eq(State::Completed.name()));
        let mut shared = share::Entity::find()
            .select_only()
            .column_as(share::Column::UploadId, "id")
            .filter(share::Column::Subject.eq(owner.0.as_str()))
            .filter(share::Column::UploadId.in_subquery(completed()));
        if let Some(before) = before {
            own = own.filter(Column::Id.lt(before));
            shared = shared.filter(share::Column::UploadId.lt(before));
        }
        let own = own.order_by_desc(Column::Id).limit(limit).into_query();
        let shared = shared.order_by_desc(share::Column::UploadId).limit(limit).into_query();
        // A limit within a union needs a query of its own around it, on SQLite.
        let mut ids = ids_of(own);
        ids.union(UnionType::Distinct, ids_of(shared));
        let select = Entity::find().filter(Column::Id.in_subquery(ids)).order_by_desc(Column::Id).limit(limit);
        self.all_seen(&self.read, select).await?.into_iter().collect()
    }

    /// With whom each of these uploads is shared, in one query, in alphabetical order; one that is shared with nobody is
    /// left out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn shares(&self, ids: &[Uuid]) -> Result<HashMap<Uuid, Vec<String>>, Error> {
        let mut shares: HashMap<Uuid, Vec<String>> = HashMap::new();
        if ids.is_empty() {
            return Ok(shares);
        }
        let select = share::Entity::find().filter(self.is_among(share::Column::UploadId, ids));
        for row in select.order_by_asc(share::Column::Subject).all(&self.read).await? {
            shares.entry(row.upload_id).or_default().push(row.subject);
        }
        Ok(shares)
    }

    /// Shares a file with a subject; repeating it changes nothing. Whether fewer than `most` had it before, or it had it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn share(&self, id: Uuid, subject: &str, most: usize) -> Result<bool, Error> {
        let transaction = self.begin().await?;
        // Whoever shares the same file waits, so that together they exceed nothing.
        let held = Entity::find_by_id(id).select_only().column(Column::Id).lock_exclusive();
        held.into_tuple::<Uuid>().one(&transaction).await?;
        let now = self.now_in(&transaction).await?;
        let row = share::ActiveModel {
            upload_id: Set(id),
            subject: Set(subject.to_owned()),
            created_at: Set(now.timestamp_millis()),
        };
        let mut again = OnConflict::columns([share::Column::UploadId, share::Column::Subject]);
        let insert = share::Entity::insert(row).on_conflict(again.do_nothing().to_owned());
        let is_new = insert.exec_without_returning(&transaction).await? == 1;
        let rows = share::Entity::find().select_only().column(share::Column::Subject);
        let rows = rows.filter(share::Column::UploadId.eq(id)).limit(most as u64 + 1);
        if is_new && rows.into_tuple::<String>().all(&transaction).await?.len() > most {
            transaction.rollback().await?;
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Takes a share back; repeating it changes nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unshare(&self, id: Uuid, subject: &str) -> Result<(), Error> {
        share::Entity::delete_by_id((id, subject.to_owned())).exec(&self.write).await?;
        Ok(())
    }
}

/// The guard of whoever wants to read: the owner's, or shared with it.
fn readable(whose: &Whose) -> SimpleExpr {
    match whose {
        Whose::Anyones => Expr::cust("1 = 1"),
        Whose::Of(owner) => {
            let shared = share::Entity::find()
                .select_only()
                .column(share::Column::UploadId)
                .filter(share::Column::Subject.eq(owner.0.as_str()));
            Column::Owner.eq(owner.0.as_str()).or(Column::Id.in_subquery(shared.into_query()))
        }
    }
}

fn completed() -> SelectStatement {
    let select = Entity::find().select_only().column(Column::Id);
    select.filter(Column::State.eq(State::Completed.name())).into_query()
}

fn ids_of(select: SelectStatement) -> SelectStatement {
    Query::select().column("id").from_subquery(select, "page").to_owned()
}
