//! The service over real HTTP, on SQLite and on PostgreSQL, against a real S3. `./test` starts what these need.

mod support;

mod architecture;
mod borders;
mod document;
mod faults;
mod files;
mod idempotency;
mod input;
mod integrity;
mod ledger;
mod lifecycle;
mod model;
mod origins;
mod outages;
mod presigned;
mod process;
mod stores;
