//! Who may call, and how much.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Error, invalid};

/// The fewest bytes of an HS256 secret (RFC 7518 section 3.2).
const LEAST_SECRET: usize = 32;

/// How callers prove who they are. API keys are in the database (`partita keys`); tokens come from elsewhere.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Tokens that an application makes for its users. Default: API keys only.
    pub jwt: Jwt,
}

/// JSON Web Tokens (RFC 7519). With `algorithm` unset none is accepted.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    /// The one algorithm that is accepted, whatever a token says of itself.
    pub algorithm: Option<JwtAlgorithm>,
    /// The secret of HS256, at least 32 bytes. Who has it can be anyone. Better in `secret_file`, or in the environment.
    pub secret: Option<SecretString>,
    /// A file that holds the secret of HS256; white space at its end does not count.
    pub secret_file: Option<PathBuf>,
    /// A JSON Web Key Set (RFC 7517) in a file, for the other algorithms; read once, at the start.
    pub jwks_file: Option<PathBuf>,
    /// A JSON Web Key Set at a URL: `https://`, or `http://` on this machine. Asked again every ten minutes, and for an
    /// unknown key at most once a minute; the last good answer serves for 24 hours.
    pub jwks_url: Option<String>,
    /// The `iss` that tokens must have.
    pub issuer: Option<String>,
    /// The `aud` that tokens must have, alone or among others.
    pub audience: Option<String>,
    /// By how much the clocks of issuer and service may differ; at most 5 minutes. Danger: a token lives longer by this.
    #[serde(with = "humantime_serde")]
    pub leeway: Duration,
}

impl Default for Jwt {
    fn default() -> Self {
        Jwt {
            algorithm: None,
            secret: None,
            secret_file: None,
            jwks_file: None,
            jwks_url: None,
            issuer: None,
            audience: None,
            leeway: Duration::from_secs(30),
        }
    }
}

/// Algorithms of tokens (RFC 7518, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 and a shared secret.
    HS256,
    /// RSA with SHA-256.
    RS256,
    /// ECDSA on P-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// What one caller, or one owner, may ask for. Without auth there is one caller only, and no limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Requests of one caller in a minute, on each replica; `0` for no limit. They may come all at once.
    pub requests_per_minute: u32,
    /// Uploads of one owner that have not ended; `0` for no limit.
    pub open_uploads: i64,
    /// Bytes of one owner: its files, and what its uploads declared, until an abort is proved; `0` for no limit.
    pub bytes: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { requests_per_minute: 6_000, open_uploads: 10_000, bytes: 0 }
    }
}

impl Auth {
    pub(super) fn check(&self) -> Result<(), Error> {
        let jwt = &self.jwt;
        let (secrets, sets) = (
            usize::from(jwt.secret.is_some()) + usize::from(jwt.secret_file.is_some()),
            usize::from(jwt.jwks_file.is_some()) + usize::from(jwt.jwks_url.is_some()),
        );
        match jwt.algorithm {
            None if secrets + sets > 0 || jwt.issuer.is_some() || jwt.audience.is_some() => {
                return invalid("auth.jwt.algorithm", "HS256, RS256, ES256 or EdDSA; needed for tokens to be accepted");
            }
            None => return Ok(()),
            Some(JwtAlgorithm::HS256) if secrets != 1 || sets > 0 => {
                return invalid(
                    "auth.jwt.secret_file",
                    "HS256 needs secret_file or secret, one of them, and no key set",
                );
            }
            Some(algorithm) if algorithm != JwtAlgorithm::HS256 && (sets != 1 || secrets > 0) => {
                return invalid(
                    "auth.jwt.jwks_url",
                    "this algorithm needs jwks_url or jwks_file, one of them, and no secret",
                );
            }
            Some(_) => {}
        }
        if jwt.secret.as_ref().is_some_and(|secret| secret.expose_secret().trim_end().len() < LEAST_SECRET) {
            return invalid("auth.jwt.secret", "at least 32 bytes");
        }
        for (name, value) in [("auth.jwt.issuer", &jwt.issuer), ("auth.jwt.audience", &jwt.audience)] {
            if value.as_deref().is_none_or(str::is_empty) {
                return invalid(name, "needed, so that a token made for something else is not taken for one of ours");
            }
        }
        if jwt.leeway > Duration::from_secs(300) {
            return invalid("auth.jwt.leeway", "at most 5 minutes");
        }
        if let Some(url) = &jwt.jwks_url {
            let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|start| {
                url.strip_prefix(start).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
            });
            if !(url.starts_with("https://") || local) || url.contains(['@', ' ', '#']) {
                return invalid("auth.jwt.jwks_url", "https://, or http:// on this machine");
            }
        }
        Ok(())
    }
}

impl Jwt {
    /// The secret of HS256, from wherever it is.
    ///
    /// # Errors
    /// When its file cannot be read, may be read by everybody, or holds less than 32 bytes.
    pub fn hs256_secret(&self) -> Result<SecretString, Error> {
        let secret = match (&self.secret, &self.secret_file) {
            (Some(secret), _) => secret.expose_secret().trim_end().to_owned(),
            (None, Some(path)) => {
                let wrong = |reason: String| Error::Invalid { name: "auth.jwt.secret_file", reason };
                let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
                #[cfg(unix)]
                {
                    use std::os::unix::fs::PermissionsExt;
                    let mode = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.permissions().mode();
                    if mode & 0o007 != 0 {
                        return Err(wrong("everybody on this machine may read or write it; chmod o= it".into()));
                    }
                }
                text.trim_end().to_owned()
            }
            (None, None) => String::new(),
        };
        if secret.len() < LEAST_SECRET {
            let reason = "HS256 needs a secret of at least 32 bytes".into();
            return Err(Error::Invalid { name: "auth.jwt.secret_file", reason });
        }
        Ok(secret.into())
    }
}
