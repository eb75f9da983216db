//! What most requests begin with: whose the key is that they bring, and which upload they are about. All that is asked of both while
//! one statement is on its way makes up the next.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hex::FromHex;
use sea_orm::sea_query::{Expr, ExprTrait, Query, SelectStatement, SimpleExpr};
use sea_orm::{ConnectionTrait, DbBackend};
use uuid::Uuid;

use super::entity::{api_key, upload};
use super::keys::Holder;
use super::row::{Seen, read_rows, rows_as_json};
use super::{Error, Store, null};
use crate::upload::{Upload, Whose};

/// What is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lookup {
    key_hash: Option<[u8; 32]>,
    upload: Option<Uuid>,
}

/// What there is of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    holder: Option<Arc<Holder>>,
    upload: Option<Arc<Upload>>,
}

impl Store {
    /// The upload of this id, if it is one of theirs.
    ///
    /// # Errors
    /// [`Error::NotFound`], the same for another's as for none.
    pub async fn find(&self, whose: &Whose, id: Uuid) -> Result<Upload, Error> {
        Ok(Arc::unwrap_or_clone(self.find_shared(whose, id).await?))
    }

    /// The same for whoever only looks at it: all who ask for it at once share it.
    ///
    /// # Errors
    /// As [`Store::find`].
    pub async fn find_shared(&self, whose: &Whose, id: Uuid) -> Result<Arc<Upload>, Error> {
        let found = self.look_up(Lookup { upload: Some(id), ..Lookup::default() }).await?;
        found.upload.filter(|upload| whose.includes(&upload.owner)).ok_or(Error::NotFound)
    }

    /// Whose the key of this hash is, if it is good now, by the database's clock: neither ended nor revoked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn holder(&self, key_hash: [u8; 32]) -> Result<Option<Arc<Holder>>, Error> {
        Ok(self.look_up(Lookup { key_hash: Some(key_hash), ..Lookup::default() }).await?.holder)
    }

    async fn look_up(&self, lookup: Lookup) -> Result<Found, Error> {
        self.groups.lookups.ask(lookup, 1, self.clone(), Store::look_up_each).await
    }

    async fn look_up_each(self, wanted: Vec<Lookup>) -> Vec<Result<Found, Error>> {
        let (uploads, holders) = match self.look_up_all(&wanted).await {
            Ok(found) => found,
            Err(error) => return wanted.iter().map(|_| Err(error.clone())).collect(),
        };
        let found = |Lookup { key_hash, upload }: Lookup| {
            let holder = key_hash.and_then(|hash| holders.get(&hash).cloned());
            let upload = upload.and_then(|id| uploads.get(&id).cloned()).transpose()?;
            Ok(Found { holder, upload })
        };
        wanted.into_iter().map(found).collect()
    }

    async fn look_up_all(
        &self,
        wanted: &[Lookup],
    ) -> Result<(HashMap<Uuid, Result<Arc<Upload>, Error>>, HashMap<[u8; 32], Arc<Holder>>), Error> {
        // Many requests bring the same key, and are about the same upload.
        let ids: HashSet<Uuid> = wanted.iter().filter_map(|lookup| lookup.upload).collect();
        let hashes: HashSet<[u8; 32]> = wanted.iter().filter_map(|lookup| lookup.key_hash).collect();
        let (ids, hashes) = (Vec::from_iter(ids), Vec::from_iter(hashes));
        // What nobody asks for is left out.
        let uploads = (!ids.is_empty()).then(|| self.uploads_of(&ids));
        let holders = (!hashes.is_empty()).then(|| self.holders_of(&hashes));
        let either = |select: Option<SelectStatement>| select.map_or_else(null, subquery);
        let select = Query::select().expr(either(uploads)).expr(either(holders)).to_owned();
        // There is one row; to say so by a limit costs more than it saves.
        let Some(found) = self.read.query_all_raw(self.backend().build(&select)).await?.pop() else {
            return Ok(Default::default());
        };
        let uploads: Vec<Seen> = read_rows(found.try_get_by_index::<Option<String>>(0)?.as_deref())?;
        let holders: Vec<KeyRow> = read_rows(found.try_get_by_index::<Option<String>>(1)?.as_deref())?;
        // A row that contradicts itself is an error, and spoils no other.
        let uploads = uploads.into_iter().map(|row| (row.id, Upload::try_from(row).map(Arc::new))).collect();
        Ok((uploads, holders.into_iter().filter_map(key_and_holder).collect()))
    }

    fn uploads_of(&self, ids: &[Uuid]) -> SelectStatement {
        let rows = rows_as_json(self.backend(), &Seen::values(self.backend(), &self.now_sql()));
        let is_wanted = self.is_among(upload::Column::Id, ids);
        Query::select().expr(rows).from(upload::Entity).and_where(is_wanted).to_owned()
    }

    fn holders_of(&self, hashes: &[[u8; 32]]) -> SelectStatement {
        use api_key::Column::{ExpiresAt, KeyHash, RevokedAt};
        let is_wanted = self.is_a_hash_among(KeyHash, hashes);
        let lives = Expr::col(ExpiresAt).is_null().or(Expr::col(ExpiresAt).gt(self.now_expr()));
        let is_good = Expr::col(RevokedAt).is_null().and(lives);
        // JSON has no bytes.
        let hash = if self.backend() == DbBackend::Sqlite { "hex(key_hash)" } else { "encode(key_hash, 'hex')" };
        let rows = rows_as_json(self.backend(), &format!("{hash}, owner, name, scopes, presets"));
        Query::select().expr(rows).from(api_key::Entity).and_where(is_wanted).and_where(is_good).to_owned()
    }
}

/// The hash in hexadecimal digits, owner, name, scopes and presets.
type KeyRow = (String, String, String, String, Option<String>);

fn key_and_holder((hash, owner, name, scopes, presets): KeyRow) -> Option<([u8; 32], Arc<Holder>)> {
    let hash = <[u8; 32]>::from_hex(hash).ok()?;
    Some((hash, Arc::new(Holder::stored(owner, name, &scopes, presets.as_deref()))))
}

fn subquery(select: SelectStatement) -> SimpleExpr {
    SimpleExpr::SubQuery(None, Box::new(select.into()))
}
