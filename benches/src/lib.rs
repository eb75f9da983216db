//! The benchmarks: Partita beside its rivals, measured in the same run, and told as ratios.
//!
//! `benches/run` is the one command. A section (`sections/`) measures one thing that is claimed; each round of it runs ours
//! and the rival's one after the other, so that what else happens on the machine happens to both. Of a figure the median, the
//! least and the greatest of all rounds are told, and where the claim is about CPU it is CPU time that is measured, which other
//! programs disturb much less than wall time.

pub mod bench;
pub mod blocks;
pub mod child;
pub mod ledger;
pub mod load;
pub mod machine;
pub mod measure;
pub mod null_s3;
pub mod plain;
pub mod postgres;
pub mod raw;
pub mod report;
pub mod rivals;
pub mod sections;
pub mod service;
pub mod signers;

/// Whatever went wrong: a benchmark that cannot be measured ends the run, and is told in one line.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
