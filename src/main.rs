//! The binary: a menu.

use std::process::ExitCode;

use clap::Parser;
use partita::cli::{Arguments, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Empty outside the tests' build.
    let _failpoints = fail::FailScenario::setup();
    // They fill up with what is barely used: an idle service would take half as much again, and answer no faster.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
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
