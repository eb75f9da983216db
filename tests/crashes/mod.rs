//! The real binary, one process or several, among clients, an S3 that outlives it, and a database: what is needed to kill it,
//! to stop it, to cut it off, and to hold what it has told its clients against what is left in the end.

mod audit;
mod client;
mod history;
mod plots;
mod world;

pub(crate) use client::{Clients, Random};
pub(crate) use plots::Plot;
pub(crate) use world::{ALL_ENDS, LEASES_END, PATIENCE, Process, World};

/// A number that the environment may give.
pub(crate) fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}
