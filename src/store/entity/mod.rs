//! The rows, private to the store. The schema itself is in the `migrations` crate.

pub(super) mod idempotency_key;
pub(super) mod part;
pub(super) mod upload;
