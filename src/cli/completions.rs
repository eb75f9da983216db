//! `partita completions`: what a shell needs to complete commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Arguments;
use super::ending::print;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// For which shell; print it to where that looks for completions, such as ~/.local/share/bash-completion/completions/partita
    shell: Shell,
}

pub(super) fn run(flags: &Flags) {
    let mut script = Vec::new();
    clap_complete::generate(flags.shell, &mut Arguments::command(), "partita", &mut script);
    print(String::from_utf8_lossy(&script).trim_end());
}
