//! How the client's verbs reach the service: by flags, else the environment, else a file of one's own.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use etcetera::BaseStrategy;
use secrecy::SecretString;
use serde::Deserialize;

use super::ending::Failure;
use crate::client::{OnRetry, Service};

const SERVER: &str = "http://127.0.0.1:8080";

/// Which service, and as whom.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The service's address [default: http://127.0.0.1:8080]
    #[arg(long, value_name = "URL", env = "PARTITA_SERVER", help_heading = "Connection")]
    server: Option<String>,
    /// A file with the API key or token; `-` is standard input. Else PARTITA_TOKEN is read. Never given as an argument, which every
    /// user of the machine could see
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    token_file: Option<PathBuf>,
}

/// `$XDG_CONFIG_HOME/partita/config.toml`: what need not be said each time.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Preferences {
    /// As `--server`.
    server: Option<String>,
    /// As `--token-file`; a relative path begins at the file's own folder.
    token_file: Option<PathBuf>,
    /// As `--parallel`.
    pub(super) parallel: Option<usize>,
    /// As `--part-size`.
    pub(super) part_size: Option<String>,
    /// As `--preset`.
    pub(super) preset: Option<String>,
}

impl Preferences {
    /// # Errors
    /// When the file is there and is not right.
    pub(super) fn load() -> Result<Preferences, Failure> {
        let Ok(base) = etcetera::choose_base_strategy() else { return Ok(Preferences::default()) };
        Preferences::read(&base.config_dir().join("partita/config.toml"))
    }

    fn read(path: &Path) -> Result<Preferences, Failure> {
        if !path.exists() {
            return Ok(Preferences::default());
        }
        let wrong = |error: config::ConfigError| Failure::usage(format!("{}: {error}", path.display()));
        let file = config::File::from(path).format(config::FileFormat::Toml);
        let read = config::Config::builder().add_source(file).build().map_err(wrong)?;
        let mut preferences: Preferences = read.try_deserialize().map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        preferences.token_file = preferences.token_file.map(|file| folder.join(file));
        Ok(preferences)
    }
}

impl Connection {
    /// The service, and what is preferred with it. `on_retry` is told of every call that is made again.
    ///
    /// # Errors
    /// When the address, the token's file or the file of preferences is not right.
    pub(super) fn open(&self, on_retry: OnRetry) -> Result<(Service, Preferences), Failure> {
        let preferences = Preferences::load()?;
        let server = self
            .server
            .as_deref()
            .filter(|server| !server.is_empty())
            .or(preferences.server.as_deref())
            .unwrap_or(SERVER);
        let token = match (&self.token_file, std::env::var("PARTITA_TOKEN"), &preferences.token_file) {
            (Some(file), _, _) => Some(token(file)?),
            (None, Ok(token), _) if !token.trim().is_empty() => Some(token.into()),
            (None, _, Some(file)) => Some(token(file)?),
            (None, _, None) => None,
        };
        let service = Service::new(server, token.as_ref(), on_retry).map_err(Failure::usage)?;
        Ok((service, preferences))
    }

    /// Whether the token comes from standard input, which is then nobody else's.
    pub(super) fn reads_stdin(&self) -> bool {
        self.token_file.as_deref() == Some(Path::new("-"))
    }

    /// The flags with which another run reaches the same service; the environment is not repeated.
    pub(super) fn as_flags(&self) -> String {
        let server = self.server.as_deref().filter(|server| std::env::var("PARTITA_SERVER").as_deref() != Ok(*server));
        let server = server.map(|server| format!(" --server {}", quoted(server)));
        let file = self.token_file.as_ref().map(|file| format!(" --token-file {}", quoted(file)));
        [server, file].into_iter().flatten().collect()
    }
}

fn token(file: &Path) -> Result<SecretString, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.map_err(|error| Failure::usage(format!("the token in {} cannot be read: {error}", file.display())))?;
    Ok(text.trim().into())
}

/// As a shell takes it for one word. What a terminal would not show as it is, is spelt out.
pub(super) fn quoted(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    match text.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(is_plain) => text.to_owned(),
        Some(text) if !text.chars().any(char::is_control) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            let bytes = text.as_encoded_bytes().iter();
            let spell = |byte: &u8| match byte {
                byte if byte.is_ascii_alphanumeric() || b"_./".contains(byte) => char::from(*byte).to_string(),
                byte => format!("\\{byte:03o}"),
            };
            let spelt: String = bytes.map(spell).collect();
            format!("\"$(printf '{spelt}')\"")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_word_is_one_word_to_a_shell() {
        let words = ["a b", "it's", "", "$HOME", "`x`", "a;b", "--x", "ü", "a\nb", "*", "\u{1b}[2J%d\\1'\"é"];
        for word in words.map(str::as_bytes).into_iter().chain([&b"caf\xe9 \xff"[..], b"-\xff"]) {
            let quoted = quoted(OsStr::from_bytes(word));
            assert!(!quoted.contains(char::is_control), "{quoted:?}");
            let shell = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {quoted}")).output();
            assert_eq!(shell.expect("a shell").stdout, word, "{quoted}");
        }
        assert_eq!(quoted("a/b.c-d"), "a/b.c-d");
    }

    #[test]
    fn preferences_are_read_strictly_and_beside_their_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("config.toml");
        assert!(Preferences::read(&path).expect("none").server.is_none());
        std::fs::write(&path, "server = 'http://x'\ntoken_file = 'token'\nparallel = 3\npart_size = '8MiB'")
            .expect("written");
        let read = Preferences::read(&path).expect("preferences");
        assert_eq!((read.server.as_deref(), read.parallel), (Some("http://x"), Some(3)));
        assert_eq!(read.token_file, Some(folder.path().join("token")));
        std::fs::write(&path, "servr = 'http://x'").expect("written");
        assert!(Preferences::read(&path).expect_err("refused").to_string().contains("servr"));
    }
}
