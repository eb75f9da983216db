//! The binary: a menu.

use std::process::ExitCode;

use clap::Parser;
use partita::cli::{Arguments, run};

#[tokio::main]
async fn main() -> ExitCode {
    // Empty outside the tests' build.
    let _failpoints = fail::FailScenario::setup();
    run(Arguments::parse()).await
}
