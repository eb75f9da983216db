//! The binary: a menu.

use std::process::ExitCode;

use clap::Parser;
use partita::cli::{Arguments, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    // Empty outside the tests' build.
    let _failpoints = fail::FailScenario::setup();
    run(Arguments::parse()).await
}
