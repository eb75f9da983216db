//! Lists in statements: one JSON text each, so that a statement is the same for any number of items. Every other one would
//! be another statement to the database, to be prepared anew.

use sea_orm::sea_query::{Expr, SimpleExpr};
use sea_orm::{ColumnTrait, DbBackend};
use serde::Serialize;
use uuid::Uuid;

use super::Store;

impl Store {
    /// Whether the column's value is among these ids.
    pub(super) fn is_among(&self, column: impl ColumnTrait, ids: &[Uuid]) -> SimpleExpr {
        let ids: Vec<_> = ids.iter().map(Uuid::as_simple).collect();
        self.is_in(column, "unhex(value)", "CAST(value AS uuid)", &ids)
    }

    /// Whether the column's value is among these hashes.
    pub(super) fn is_a_hash_among(&self, column: impl ColumnTrait, hashes: &[[u8; 32]]) -> SimpleExpr {
        let hashes: Vec<_> = hashes.iter().map(hex::encode).collect();
        self.is_in(column, "unhex(value)", "decode(value, 'hex')", &hashes)
    }

    /// Whether the column's value is among these numbers.
    pub(super) fn is_one_of(&self, column: impl ColumnTrait, numbers: &[i32]) -> SimpleExpr {
        self.is_in(column, "value", "CAST(value AS integer)", &numbers)
    }

    fn is_in(&self, column: impl ColumnTrait, on_sqlite: &str, on_postgres: &str, list: &impl Serialize) -> SimpleExpr {
        let values = match self.backend() {
            DbBackend::Sqlite => format!("SELECT {on_sqlite} FROM json_each(?)"),
            _ => format!("SELECT {on_postgres} FROM jsonb_array_elements_text(CAST($1 AS jsonb))"),
        };
        let (table, column) = (column.entity_name().to_string(), column.to_string());
        Expr::cust_with_values(format!("{table}.{column} IN ({values})"), [json(list)])
    }
}

/// A list as JSON.
pub(super) fn json(list: &impl Serialize) -> String {
    // Texts and numbers always are.
    serde_json::to_string(list).unwrap_or_default()
}
