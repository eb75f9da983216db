//! API keys in the ledger: by their hash alone.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, EntityTrait, QueryFilter, QueryOrder,
};
use uuid::Uuid;

use super::entity::api_key::{ActiveModel, Column, Entity, Model};
use super::row::moment;
use super::{Error, Store};
use crate::upload::Owner;

/// For whom a key is, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Whose uploads it reaches.
    pub owner: Owner,
    /// What it is for, in its maker's words.
    pub name: String,
    /// The names of its scopes.
    pub scopes: Vec<String>,
    /// The presets that it is bound to; `None` for all.
    pub presets: Option<Vec<String>>,
}

/// A key as the ledger has it. The key itself is not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// By which it is revoked.
    pub id: Uuid,
    /// For whom it is, and what for.
    pub holder: Holder,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it ends, if it does.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Keeps a new key, by its hash; good from now on, for `life` if that is given. Returns its id.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep_key(&self, hash: [u8; 32], holder: &Holder, life: Option<Duration>) -> Result<Uuid, Error> {
        let (id, now) = (Uuid::now_v7(), self.now().await?);
        let row = ActiveModel {
            id: Set(id),
            key_hash: Set(hash.to_vec()),
            owner: Set(holder.owner.0.clone()),
            name: Set(holder.name.clone()),
            scopes: Set(holder.scopes.join(" ")),
            presets: Set(holder.presets.as_ref().map(|presets| presets.join(" "))),
            created_at: Set(now.timestamp_millis()),
            expires_at: Set(life.map(|life| (now + life).timestamp_millis())),
            revoked_at: NotSet,
        };
        Entity::insert(row).exec_without_returning(&self.write).await?;
        Ok(id)
    }

    /// Every key there is or was, newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keys(&self) -> Result<Vec<ApiKey>, Error> {
        let rows = Entity::find().order_by_desc(Column::Id).all(&self.read).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Revokes a key: no request that begins after this is served with it. Whether there is such a key; repeating it
    /// changes nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revoke_key(&self, id: Uuid) -> Result<bool, Error> {
        let first = Expr::col(Column::RevokedAt).is_null();
        let revoked =
            sea_orm::sea_query::CaseStatement::new().case(first, self.now_expr()).finally(Expr::col(Column::RevokedAt));
        let update = Entity::update_many().col_expr(Column::RevokedAt, revoked.into()).filter(Column::Id.eq(id));
        Ok(update.exec(&self.write).await?.rows_affected == 1)
    }
}

impl Holder {
    pub(super) fn stored(owner: String, name: String, scopes: &str, presets: Option<&str>) -> Holder {
        let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Holder { owner: Owner(owner), name, scopes: words(scopes), presets: presets.map(words) }
    }
}

impl From<Model> for ApiKey {
    fn from(row: Model) -> Self {
        ApiKey {
            id: row.id,
            holder: Holder::stored(row.owner, row.name, &row.scopes, row.presets.as_deref()),
            created_at: moment(row.created_at),
            expires_at: row.expires_at.map(moment),
            revoked_at: row.revoked_at.map(moment),
        }
    }
}
