//! The binary: a menu.

use std::process::ExitCode;

use clap::Parser;
use partita::cli::{Arguments, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Arguments::parse()).await
}
