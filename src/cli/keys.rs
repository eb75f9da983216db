//! `partita keys`: API keys are made, listed and revoked here. A key is shown once; only its hash is kept.

use std::error::Error;
use std::time::Duration;

use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;
use uuid::Uuid;

use crate::access::{NewKey, Scope, is_subject};
use crate::app;
use crate::clock::Clock;
use crate::config::{self, DEFAULT_PRESET, Settings};
use crate::store::{ApiKey, Store};
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
    /// Whose uploads the key makes and reaches
    #[arg(long, value_parser = subject)]
    owner: String,
    /// What it may do: uploads:write, files:read, files:write or admin; may be given several times
    #[arg(long = "scope", required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    /// A preset that it is bound to; may be given several times. Else it may use all
    #[arg(long = "preset", value_name = "NAME")]
    presets: Vec<String>,
    /// It ends after this long, such as 90d. Else only when it is revoked
    #[arg(long, value_name = "DURATION", value_parser = humantime_serde::re::humantime::parse_duration)]
    expires: Option<Duration>,
    /// What it is for, in your words
    #[arg(long, default_value = "")]
    name: String,
}

pub(super) fn scope(name: &str) -> Result<Scope, String> {
    let names = Scope::ALL.map(Scope::name).join(", ");
    Scope::from_name(name).ok_or_else(|| format!("one of {names}"))
}

pub(super) fn subject(text: &str) -> Result<String, String> {
    if is_subject(text) { Ok(text.to_owned()) } else { Err("1 to 255 bytes of text".into()) }
}

/// Whether the settings know these presets: a key bound to a mistyped one would be good for nothing.
pub(super) fn check_presets(settings: &Settings, presets: &[String]) -> Result<(), String> {
    match presets.iter().find(|name| *name != DEFAULT_PRESET && !settings.preset.contains_key(*name)) {
        Some(name) => Err(format!("the settings have no preset {name}")),
        None => Ok(()),
    }
}

pub(super) async fn run(
    load: impl FnOnce(&[(&str, String)]) -> Result<Settings, config::Error>,
    flags: Flags,
) -> Result<(), Box<dyn Error>> {
    crate::telemetry::start();
    let settings = load(&[])?;
    let store = app::open_store(&settings, Clock::default()).await?;
    if !store.is_ready().await? {
        return Err(app::StartError::NotMigrated.into());
    }
    let outcome = match flags.verb {
        Verb::Create(wanted) => create(&settings, &store, wanted).await,
        Verb::List { json } => list(&store, json).await,
        Verb::Revoke { id } => revoke(&store, id).await,
    };
    store.close().await;
    outcome
}

async fn create(settings: &Settings, store: &Store, wanted: Create) -> Result<(), Box<dyn Error>> {
    check_presets(settings, &wanted.presets)?;
    let new = NewKey::random()?;
    let key = ApiKey {
        id: Uuid::now_v7(),
        owner: Owner(wanted.owner),
        name: wanted.name,
        scopes: wanted.scopes.iter().map(|scope| scope.name().to_owned()).collect(),
        presets: (!wanted.presets.is_empty()).then_some(wanted.presets),
        created_at: store.now().await?,
        expires_at: None,
        revoked_at: None,
    };
    store.keep_key(new.hash, &key, wanted.expires).await.map_err(super::cause)?;
    eprintln!("key {} of {}, shown this once:", key.id, key.owner.0);
    println!("{}", new.text.expose_secret());
    Ok(())
}

async fn list(store: &Store, as_json: bool) -> Result<(), Box<dyn Error>> {
    let (keys, now) = (store.keys().await.map_err(super::cause)?, store.now().await.map_err(super::cause)?);
    for key in keys {
        let state = match (key.revoked_at, key.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            _ => "good",
        };
        if as_json {
            let line = json!({
                "id": key.id, "owner": key.owner.0, "name": key.name, "scopes": key.scopes, "presets": key.presets,
                "state": state, "createdAt": key.created_at, "expiresAt": key.expires_at, "revokedAt": key.revoked_at,
            });
            println!("{line}");
            continue;
        }
        let end = key.expires_at.map_or_else(|| "never ends".to_owned(), |end| format!("ends {end:.0?}"));
        let presets = key.presets.map(|presets| format!(" presets {}", presets.join(","))).unwrap_or_default();
        println!("{}  {state:7}  {}  {}{presets}  {end}  {}", key.id, key.owner.0, key.scopes.join(","), key.name);
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
