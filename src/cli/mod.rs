//! The command line: one file per verb.

mod abort;
mod asking;
mod completions;
mod connection;
mod doctor;
mod download;
mod ending;
mod fsck;
mod keys;
mod ls;
mod migrate;
mod openapi;
mod parts;
mod progress;
mod resume;
mod rm;
mod sending;
mod serve;
mod share;
mod show;
mod sweep;
mod token;
mod upload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use ending::end;

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
    /// Upload files, folders or standard input
    Upload(upload::Flags),
    /// Go on with an upload that was begun here or anywhere else
    Resume(resume::Flags),
    /// List uploads, or files
    Ls(ls::Flags),
    /// Tell all about an upload
    Show(show::Flags),
    /// List the recorded parts of an upload
    Parts(parts::Flags),
    /// Give uploads up
    Abort(abort::Flags),
    /// Fetch a file
    Download(download::Flags),
    /// Let others have a file, or print a link to it
    Share(share::Flags),
    /// Delete files
    Rm(rm::Flags),
    /// Print what a shell needs to complete commands
    Completions(completions::Flags),
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

/// Does what the command line asks for. Whatever goes wrong is told in one line, with exit code 1; the client's verbs tell more by
/// theirs.
pub async fn run(arguments: Arguments) -> ExitCode {
    let load = |flags: &[(&str, String)]| {
        Settings::load(
            arguments.config.as_deref(),
            |name| std::env::var(name).ok().filter(|value| !value.is_empty()),
            flags,
        )
    };
    let outcome: Result<(), Box<dyn std::error::Error>> = match arguments.verb {
        Some(Verb::Upload(flags)) => return end(upload::run(flags).await),
        Some(Verb::Resume(flags)) => return end(resume::run(flags).await),
        Some(Verb::Ls(flags)) => return end(ls::run(flags).await),
        Some(Verb::Show(flags)) => return end(show::run(flags).await),
        Some(Verb::Parts(flags)) => return end(parts::run(flags).await),
        Some(Verb::Abort(flags)) => return end(abort::run(flags).await),
        Some(Verb::Download(flags)) => return end(download::run(flags).await),
        Some(Verb::Share(flags)) => return end(share::run(flags).await),
        Some(Verb::Rm(flags)) => return end(rm::run(flags).await),
        Some(Verb::Completions(flags)) => {
            completions::run(&flags);
            return ExitCode::SUCCESS;
        }
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
