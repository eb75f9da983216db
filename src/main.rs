//! The binary: a menu.

use std::process::ExitCode;

use clap::Parser;
use partita::cli::{Arguments, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Empty outside the tests' build.
    let _failpoints = fail::FailScenario::setup();
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("partita: no threads are to be had: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(arguments));
    // Whoever is reading a file still need not get to its end.
    runtime.shutdown_background();
    code
}
