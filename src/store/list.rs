//! Lists in statements: one value each, so that a statement is the same for any number of items. Every other one would be
//! another statement to the database, to be prepared anew. An array on PostgreSQL; SQLite has none, and reads JSON.

use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{ColumnTrait, DbBackend, Value};
use serde::Serialize;
use uuid::Uuid;

use super::Store;
use crate::upload::Part;

impl Store {
    /// Whether the column's value is among these ids.
    pub(super) fn is_among(&self, column: impl ColumnTrait, ids: &[Uuid]) -> SimpleExpr {
        match self.backend() {
            DbBackend::Sqlite => {
                let ids: Vec<_> = ids.iter().map(Uuid::as_simple).collect();
                is_in_json(column, "unhex(value)", &ids)
            }
            _ => is_in_array(column, ids.to_vec()),
        }
    }

    /// Whether the column's value is among these hashes.
    pub(super) fn is_a_hash_among(&self, column: impl ColumnTrait, hashes: &[[u8; 32]]) -> SimpleExpr {
        match self.backend() {
            DbBackend::Sqlite => {
                let hashes: Vec<_> = hashes.iter().map(hex::encode).collect();
                is_in_json(column, "unhex(value)", &hashes)
            }
            _ => is_in_array(column, hashes.iter().map(|hash| hash.to_vec()).collect::<Vec<_>>()),
        }
    }

    /// Whether the part is one of these: the same number, and the same ETag.
    pub(super) fn is_one_of(&self, parts: &[Part]) -> SimpleExpr {
        let (numbers, etags): (Vec<i32>, Vec<String>) =
            parts.iter().map(|part| (part.number, part.etag.as_str().to_owned())).unzip();
        let (pairs, values): (_, Vec<Value>) = match self.backend() {
            DbBackend::Sqlite => {
                let pairs: Vec<_> = numbers.into_iter().zip(etags).collect();
                ("SELECT value ->> 0, value ->> 1 FROM json_each(?)", vec![json(&pairs).into()])
            }
            _ => ("SELECT * FROM UNNEST($1, $2)", vec![numbers.into(), etags.into()]),
        };
        Expr::cust_with_values(format!("(part_number, etag) IN ({pairs})"), values)
    }
}

fn is_in_array(column: impl ColumnTrait, list: impl Into<Value>) -> SimpleExpr {
    let (table, column) = (column.entity_name().to_string(), column.to_string());
    Expr::cust_with_values(format!("{table}.{column} = ANY ($1)"), [list])
}

fn is_in_json(column: impl ColumnTrait, item: &str, list: &impl Serialize) -> SimpleExpr {
    let (table, column) = (column.entity_name().to_string(), column.to_string());
    Expr::cust_with_values(format!("{table}.{column} IN (SELECT {item} FROM json_each(?))"), [json(list)])
}

fn json(list: &impl Serialize) -> String {
    // Texts and numbers always are.
    serde_json::to_string(list).unwrap_or_default()
}
