//! Who is calling, and what it may do: API keys, tokens, scopes, and how many requests. Knows nothing of HTTP but the words
//! that a credential is made of.

mod jwks;
mod jwt;
mod key;
mod rate;

use std::fmt;

pub use jwks::KeySet;
pub use jwt::{Tokens, mint};
pub use key::{NewKey, hash_of, is_key};
pub use rate::{Rate, Standing};

use crate::clock::Clock;
use crate::config::{self, Settings};
use crate::store::{self, Store};
use crate::upload::{Owner, Whose};

/// The longest name of a subject, in bytes.
const MAX_SUBJECT: usize = 255;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Begin, inspect, complete and abort uploads.
    UploadsWrite,
    /// Have files, and links to them.
    FilesRead,
    /// Delete and share files.
    FilesWrite,
    /// All of it, for any owner.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Scope; 4] = [Scope::UploadsWrite, Scope::FilesRead, Scope::FilesWrite, Scope::Admin];

    /// The name in tokens and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::UploadsWrite => "uploads:write",
            Scope::FilesRead => "files:read",
            Scope::FilesWrite => "files:write",
            Scope::Admin => "admin",
        }
    }

    /// The scope of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who is calling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose uploads it makes.
    pub owner: Owner,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The presets that it is bound to; `None` for all.
    pub presets: Option<Vec<String>>,
}

impl Caller {
    /// Whoever calls a service without auth.
    pub fn local() -> Caller {
        let scopes = vec![Scope::UploadsWrite, Scope::FilesRead, Scope::FilesWrite];
        Caller { owner: Owner("local".to_owned()), scopes, presets: None }
    }

    /// Whether it may do what this scope is for.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.is_admin()
    }

    /// Whether it acts as any owner.
    pub fn is_admin(&self) -> bool {
        self.scopes.contains(&Scope::Admin)
    }

    /// Whose uploads it reaches.
    pub fn whose(&self) -> Whose {
        if self.is_admin() { Whose::Anyones } else { Whose::Of(self.owner.clone()) }
    }
}

/// Why a caller is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It did not say who it is.
    #[error("give an API key or a token: `Authorization: Bearer …`")]
    Unauthenticated,
    /// What it gave is not good, or not any more.
    #[error("the key or token is not good: {0}")]
    Invalid(&'static str),
    /// The keys by which tokens are checked cannot be had.
    #[error("tokens cannot be checked now")]
    Unavailable,
    /// The ledger, which has the API keys, did not answer.
    #[error("the ledger failed")]
    Store(#[source] store::Error),
}

/// Lets callers in, or not.
#[derive(Debug, Clone)]
pub struct Gate {
    store: Store,
    tokens: Option<Tokens>,
}

impl Gate {
    /// The gate that the settings ask for; `None` if nobody is to be asked who they are.
    ///
    /// # Errors
    /// When a secret or a key set cannot be read.
    pub async fn of(settings: &Settings, store: Store, clock: Clock) -> Result<Option<Gate>, config::Error> {
        if settings.is_without_auth() {
            return Ok(None);
        }
        let tokens = Tokens::of(&settings.auth.jwt, clock).await?;
        Ok(Some(Gate { store, tokens }))
    }

    /// The caller that this credential stands for. API keys are looked up each time: one that is revoked is refused from
    /// then on, on every replica.
    ///
    /// # Errors
    /// What is not certainly good is refused.
    pub async fn admit(&self, credential: &str) -> Result<Caller, Refusal> {
        if key::is_key(credential) {
            let hash = key::hash_of(credential).ok_or(Refusal::Invalid("not an API key of this service"))?;
            let known = self.store.holder(hash).await.map_err(Refusal::Store)?;
            let holder = known.ok_or(Refusal::Invalid("an unknown, ended or revoked API key"))?;
            let scopes = holder.scopes.iter().filter_map(|name| Scope::from_name(name)).collect();
            return Ok(Caller { owner: holder.owner.clone(), scopes, presets: holder.presets.clone() });
        }
        match &self.tokens {
            Some(tokens) => tokens.check(credential).await,
            None => Err(Refusal::Invalid("not an API key, and tokens are not accepted here")),
        }
    }
}

/// Whether this can be the name of an owner, or of one with whom a file is shared: 1 to 255 bytes, no control characters.
pub fn is_subject(text: &str) -> bool {
    (1..=MAX_SUBJECT).contains(&text.len()) && !text.chars().any(char::is_control) && text.trim() == text
}
