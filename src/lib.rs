//! Partita coordinates large uploads to S3. The bytes go from the client straight to S3; Partita plans the parts, signs
//! their URLs, keeps the ledger, and guarantees how every upload ends.
//!
//! Data flows one way, and each outside world is known by exactly one module:
//!
//! ```text
//!  cli ──► app (wiring)          cli ──► client   a caller like any other, by HTTP
//!           │
//! http ──► coordinator ──► bucket   the only module that knows aws-sdk-s3
//!   │           └────────► store    the only module that knows sea-orm
//!   └────► access ───────────┘      who is calling, and what it may do
//! upload (pure): states, plan, names, ranges; used by all, uses none
//! ```
//!
//! `tests/architecture.rs` keeps these walls.

pub mod access;
pub mod app;
pub mod bucket;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod coordinator;
pub mod doctor;
pub mod failpoint;
pub mod http;
pub mod store;
pub mod sweeper;
pub mod telemetry;
pub mod upload;
