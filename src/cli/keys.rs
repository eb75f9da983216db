//! `partita keys`: API keys are made, listed and revoked here. A key is shown once; only its hash is kept.

use std::error::Error;
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use crate::access::{Caller, NewKey, Scope, is_subject};
use crate::app;
use crate::config::{self, Settings};
use crate::store::{ApiKey, Holder, Store};
use crate::upload::Owner;

#[derive(Debug, Args)]
pub(super) struct Flags {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a key, and print it: this once
    Create(Create),
    /// List every key there is or was, without the keys themselves
    List {
        /// JSON lines
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key: no request that begins after this is served with it
    Revoke {
        /// Its id, from `partita keys list`
        id: Uuid,
    },
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    grant: Grant,
    /// It ends after this long, such as 90d. Else only when it is revoked
    #[arg(long, value_name = "DURATION", value_parser = humantime_serde::re::humantime::parse_duration)]
    expires: Option<Duration>,
    /// What it is for, in your words
    #[arg(long, default_value = "")]
    name: String,
}

/// What a key or a token gives whoever has it.
#[derive(Debug, Args)]
pub(super) struct Grant {
    /// Whose uploads it makes and reaches; of a token its `sub`
    #[arg(long, value_parser = subject)]
    owner: String,
    /// What it may do: uploads:write, files:read, files:write or admin; may be given several times
    #[arg(long = "scope", required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    /// A preset that it is bound to; may be given several times. Else it may use all
    #[arg(long = "preset", value_name = "NAME")]
    presets: Vec<String>,
}

impl Grant {
    /// The caller that it makes. One that is bound to a preset that the settings do not have would be good for nothing.
    pub(super) fn caller(self, settings: &Settings) -> Result<Caller, String> {
        let known = settings.presets();
        if let Some(name) = self.presets.iter().find(|name| !known.contains_key(*name)) {
            return Err(format!("the settings have no preset {name}"));
        }
        let presets = (!self.presets.is_empty()).then_some(self.presets);
        Ok(Caller { owner: Owner(self.owner), scopes: self.scopes, presets })
    }
}

fn scope(name: &str) -> Result<Scope, String> {
    let names = Scope::ALL.map(Scope::name).join(", ");
    Scope::from_name(name).ok_or_else(|| format!("one of {names}"))
}

fn subject(text: &str) -> Result<String, String> {
    if is_subject(text) { Ok(text.to_owned()) } else { Err("1 to 255 bytes of text".into()) }
}

pub(super) async fn run(
    load: impl FnOnce(&[(&str, String)]) -> Result<Settings, config::Error>,
    flags: Flags,
) -> Result<(), Box<dyn Error>> {
    crate::telemetry::start();
    let settings = load(&[])?;
    let store = app::open_ready_store(&settings).await?;
    let outcome = match flags.verb {
        Verb::Create(wanted) => create(&settings, &store, wanted).await,
        Verb::List { json } => list(&store, json).await,
        Verb::Revoke { id } => revoke(&store, id).await,
    };
    store.close().await;
    outcome
}

async fn create(settings: &Settings, store: &Store, wanted: Create) -> Result<(), Box<dyn Error>> {
    let caller = wanted.grant.caller(settings)?;
    let new = NewKey::random()?;
    let holder = Holder {
        owner: caller.owner,
        name: wanted.name,
        scopes: caller.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        presets: caller.presets,
    };
    let id = store.keep_key(new.hash, &holder, wanted.expires).await.map_err(super::cause)?;
    eprintln!("key {id} of {}, shown this once:", holder.owner.0);
    println!("{}", new.text.expose_secret());
    Ok(())
}

async fn list(store: &Store, as_json: bool) -> Result<(), Box<dyn Error>> {
    let (keys, now) = (store.keys().await.map_err(super::cause)?, store.now().await.map_err(super::cause)?);
    for ApiKey { id, holder, created_at, expires_at, revoked_at } in keys {
        let state = match (revoked_at, expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            _ => "good",
        };
        if as_json {
            let line = json!({
                "id": id, "owner": holder.owner.0, "name": holder.name, "scopes": holder.scopes, "presets": holder.presets,
                "state": state, "createdAt": created_at, "expiresAt": expires_at, "revokedAt": revoked_at,
            });
            println!("{line}");
            continue;
        }
        let end = expires_at.map_or_else(|| "never ends".to_owned(), |end| format!("ends {end:.0?}"));
        let presets = holder.presets.map(|presets| format!(" presets {}", presets.join(","))).unwrap_or_default();
        println!("{id}  {state:7}  {}  {}{presets}  {end}  {}", holder.owner.0, holder.scopes.join(","), holder.name);
    }
    Ok(())
}

async fn revoke(store: &Store, id: Uuid) -> Result<(), Box<dyn Error>> {
    if store.revoke_key(id).await.map_err(super::cause)? {
        println!("revoked: {id}");
        Ok(())
    } else {
        Err(format!("there is no key {id}; see `partita keys list`").into())
    }
}
