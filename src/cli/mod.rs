//! The command line: one file per verb.

mod doctor;
mod fsck;
mod keys;
mod migrate;
mod openapi;
mod serve;
mod sweep;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::bucket::in_one_line;
use crate::config::Settings;

/// Coordinates large uploads to S3: many parts, one piece
#[derive(Debug, Parser)]
#[command(name = "partita", version, propagate_version = true)]
pub struct Arguments {
    /// A TOML file with settings; else `./partita.toml`, if it is there
    #[arg(long, global = true, value_name = "FILE", env = "PARTITA_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    serve: serve::Flags,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the service (also without a verb)
    Serve(serve::Flags),
    /// Bring the database up to date
    Migrate,
    /// Settle every upload whose time has come, once: what the service's own sweeper does all the time
    Sweep(sweep::Flags),
    /// Hold the database and the bucket against each other
    Fsck(fsck::Flags),
    /// Prove that the bucket is right, with a throw-away upload
    Doctor(doctor::Flags),
    /// Make, list and revoke API keys
    Keys(keys::Flags),
    /// Make a short-lived token, for trying
    Token(token::Flags),
    /// Print the OpenAPI document
    Openapi,
}

/// Does what the command line asks for. Whatever goes wrong is told in one line, with exit code 1.
pub async fn run(arguments: Arguments) -> ExitCode {
    let load = |flags: &[(&str, String)]| {
        Settings::load(
            arguments.config.as_deref(),
            |name| std::env::var(name).ok().filter(|value| !value.is_empty()),
            flags,
        )
    };
    let outcome: Result<(), Box<dyn std::error::Error>> = match arguments.verb {
        None => serve::run(load, arguments.serve).await,
        Some(Verb::Serve(flags)) => serve::run(load, flags).await,
        Some(Verb::Migrate) => migrate::run(load).await,
        Some(Verb::Sweep(flags)) => sweep::run(load, flags).await,
        Some(Verb::Fsck(flags)) => fsck::run(load, flags).await,
        Some(Verb::Doctor(flags)) => doctor::run(load, flags).await,
        Some(Verb::Keys(flags)) => keys::run(load, flags).await,
        Some(Verb::Token(flags)) => token::run(load, flags),
        Some(Verb::Openapi) => openapi::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("partita: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong, in one line.
fn cause(error: impl std::error::Error + 'static) -> Box<dyn std::error::Error> {
    in_one_line(&error).into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Arguments::command().debug_assert();
    }
}
