//! `partita completions`: what a shell needs to complete commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Arguments;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// For which shell; print it to where that looks for completions, such as ~/.local/share/bash-completion/completions/partita
    shell: Shell,
}

pub(super) fn run(flags: &Flags) {
    clap_complete::generate(flags.shell, &mut Arguments::command(), "partita", &mut std::io::stdout());
}
