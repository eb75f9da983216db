//! How a verb of the client ends: what is printed where, and the exit code.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use serde_json::Value;

use crate::client::{Error, Kind};

/// How results are printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Why a verb came to nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was not asked for rightly.
    Usage(String),
    /// It went wrong.
    Of(Error),
    /// So many of several files; what happened to each is told already.
    Some { failed: usize, of: usize, kind: Option<Kind> },
}

impl Failure {
    pub(super) fn usage(message: impl Into<String>) -> Failure {
        Failure::Usage(message.into())
    }

    /// The table is part of the interface: see `partita help upload`.
    fn code(&self) -> u8 {
        let of = |kind: &Kind| match kind {
            Kind::Refused => 1,
            Kind::Access => 3,
            Kind::NotFound => 4,
            Kind::Passing => 5,
            Kind::Integrity => 6,
            Kind::Interrupted => 130,
        };
        match self {
            Failure::Usage(_) => 2,
            Failure::Of(error) => of(&error.kind),
            Failure::Some { kind, .. } => kind.as_ref().map_or(1, of),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Of(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) => formatter.write_str(message),
            Failure::Of(error) if error.is_passing() => write!(formatter, "{error}; run it again later"),
            Failure::Of(error) => error.fmt(formatter),
            Failure::Some { kind: Some(Kind::Interrupted), failed, of } => {
                let hint = "run it again with --skip-completed to upload only those";
                write!(formatter, "stopped; {failed} of {of} files are not uploaded: {hint}")
            }
            Failure::Some { failed, of, .. } => write!(formatter, "{failed} of {of} files were not uploaded"),
        }
    }
}

/// Tells what went wrong, and answers the exit code.
pub(super) fn end(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) if IS_LOST.load(Ordering::Relaxed) => {
            tell("partita: all is done, but the results could not be printed");
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Of a single file all is said.
            if !matches!(failure, Failure::Some { of: 1, .. }) {
                tell(&format!("partita: {failure}"));
            }
            ExitCode::from(failure.code())
        }
    }
}

/// Something on standard output could not be printed, and not because whoever reads it had seen enough.
static IS_LOST: AtomicBool = AtomicBool::new(false);

/// One line on standard error. If nobody takes it, work goes on.
pub(super) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{}", printable(line));
}

/// One line on standard output.
pub(super) fn print(line: &str) {
    match writeln!(std::io::stdout(), "{}", printable(line)) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => IS_LOST.store(true, Ordering::Relaxed),
        _ => {}
    }
}

/// A result: the service's JSON as it is, or as people like it.
pub(super) fn show(format: Format, json: &Value, text: impl FnOnce() -> String) {
    match format {
        Format::Json => print(&json.to_string()),
        Format::Text => print(&text()),
    }
}

/// Names come from others: what would move the cursor or colour the terminal is not passed on.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// The same, of a name that stands in a line with others.
pub(super) fn word(text: &str) -> String {
    printable(text).replace('\n', "\u{fffd}")
}

/// A moment as the service tells it, to the second.
pub(super) fn moment(text: &str) -> String {
    text.get(..19).map_or_else(|| text.to_owned(), |seconds| format!("{}Z", seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\r\u{7}ü"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}ü");
    }
}
