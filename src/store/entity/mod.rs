//! The rows, private to the store. The schema itself is in the `migrations` crate.

pub(super) mod api_key;
pub(super) mod idempotency_key;
pub(super) mod part;
pub(super) mod share;
pub(super) mod upload;
pub(super) mod usage;
