//! The service over real HTTP, on SQLite and on PostgreSQL, against a real S3. `./test` starts what these need.

mod support;

mod access;
mod architecture;
mod borders;
mod cli;
mod crashes;
mod doctor;
mod document;
mod faults;
mod files;
mod fsck;
mod hostile;
mod idempotency;
mod input;
mod integrity;
mod kills;
mod ledger;
mod lifecycle;
mod model;
mod origins;
mod outages;
mod presets;
mod presigned;
mod process;
mod replicas;
mod stores;
mod stream;
mod sweep;
mod telemetry;
