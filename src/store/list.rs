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
        let column = format!("{}.{}", column.entity_name().to_string(), column.to_string());
        let list = match self.backend() {
            DbBackend::Sqlite => "SELECT unhex(value) FROM json_each(?)",
            _ => "SELECT CAST(value AS uuid) FROM jsonb_array_elements_text(CAST($1 AS jsonb))",
        };
        let ids: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
        Expr::cust_with_values(format!("{column} IN ({list})"), [json(&ids)])
    }

    /// Whether the column's value is among these numbers.
    pub(super) fn is_one_of(&self, column: impl ColumnTrait, numbers: &[i32]) -> SimpleExpr {
        let column = format!("{}.{}", column.entity_name().to_string(), column.to_string());
        let list = match self.backend() {
            DbBackend::Sqlite => "SELECT value FROM json_each(?)",
            _ => "SELECT CAST(value AS integer) FROM jsonb_array_elements_text(CAST($1 AS jsonb))",
        };
        Expr::cust_with_values(format!("{column} IN ({list})"), [json(&numbers)])
    }
}

/// A list as JSON.
pub(super) fn json(list: &impl Serialize) -> String {
    // Texts and numbers always are.
    serde_json::to_string(list).unwrap_or_default()
}
