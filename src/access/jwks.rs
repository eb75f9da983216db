//! The keys by which tokens are checked (RFC 7517): from a file once, or from a URL, kept and asked again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::{Mutex, RwLock};

use super::Refusal;
use crate::clock::Clock;

/// How long an answer serves before it is asked for again.
const FRESH: TimeDelta = TimeDelta::minutes(10);
/// How long the last good answer serves when no other can be had.
const LAST_GOOD: TimeDelta = TimeDelta::hours(24);
/// A URL is asked no more often than this, however many unknown keys tokens name.
const PAUSE: TimeDelta = TimeDelta::minutes(1);
/// The same as long as no answer was good.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(5);
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest answer, in bytes.
const LIMIT: usize = 1 << 20;

/// A set of keys. Cheap to clone.
#[derive(Debug, Clone)]
pub struct KeySet(Arc<Source>);

#[derive(Debug)]
struct Source {
    /// `None` for a file: what was read at the start is all there is.
    url: Option<String>,
    algorithm: Algorithm,
    clock: Clock,
    http: reqwest::Client,
    known: RwLock<Known>,
    /// Held by whoever asks the URL.
    asking: Mutex<()>,
}

#[derive(Default)]
struct Known {
    keys: Vec<(Option<String>, DecodingKey)>,
    good_at: Option<DateTime<Utc>>,
    asked_at: Option<DateTime<Utc>>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("keys", &self.keys.len()).field("good_at", &self.good_at).finish()
    }
}

impl KeySet {
    /// The keys of a file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn of_file(path: &Path, algorithm: Algorithm, clock: Clock) -> Result<KeySet, String> {
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        let keys = read(&text, algorithm)?;
        let known = Known { keys, ..Known::default() };
        Ok(KeySet::new(None, algorithm, clock, known))
    }

    /// The keys at a URL. That it does not answer now is no error: it is asked again.
    pub async fn of_url(url: &str, algorithm: Algorithm, clock: Clock) -> KeySet {
        let set = KeySet::new(Some(url.to_owned()), algorithm, clock, Known::default());
        set.ask().await;
        set
    }

    fn new(url: Option<String>, algorithm: Algorithm, clock: Clock, known: Known) -> KeySet {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE);
        // Without a client nothing can be asked, which is then told as that.
        let http = http.build().unwrap_or_default();
        KeySet(Arc::new(Source { url, algorithm, clock, http, known: RwLock::new(known), asking: Mutex::new(()) }))
    }

    /// The key of this id; without one, the only key there is.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when there is no such key, [`Refusal::Unavailable`] when no answer is recent enough to tell.
    pub async fn find(&self, kid: Option<&str>) -> Result<DecodingKey, Refusal> {
        let source = &*self.0;
        if source.url.is_none() {
            return source.known.read().await.find(kid).ok_or(UNKNOWN);
        }
        let now = source.clock.now();
        let (found, is_fresh, is_usable) = {
            let known = source.known.read().await;
            let age = known.good_at.map(|at| now - at);
            (known.find(kid), age.is_some_and(|age| age < FRESH), age.is_some_and(|age| age < LAST_GOOD))
        };
        match found {
            Some(key) if is_fresh => return Ok(key),
            // Served at once; the next ones go by what is asked meanwhile.
            Some(key) if is_usable => {
                let this = self.clone();
                tokio::spawn(async move { this.ask().await });
                return Ok(key);
            }
            _ => self.ask().await,
        }
        let known = source.known.read().await;
        if known.good_at.is_none_or(|at| now - at >= LAST_GOOD) {
            return Err(Refusal::Unavailable);
        }
        known.find(kid).ok_or(UNKNOWN)
    }

    /// Asks the URL, unless that was just done. What is no good answer changes nothing.
    async fn ask(&self) {
        let source = &*self.0;
        let Some(url) = &source.url else { return };
        let _asking = source.asking.lock().await;
        let now = source.clock.now();
        {
            let mut known = source.known.write().await;
            let pause = if known.good_at.is_some() { PAUSE } else { FIRST_PAUSE };
            if known.asked_at.is_some_and(|at| now - at < pause) {
                return;
            }
            known.asked_at = Some(now);
        }
        match fetch(&source.http, url).await.and_then(|text| read(&text, source.algorithm)) {
            Ok(keys) => {
                let mut known = source.known.write().await;
                known.keys = keys;
                known.good_at = Some(now);
            }
            Err(reason) => tracing::error!(reason, "the key set by which tokens are checked cannot be had"),
        }
    }
}

const UNKNOWN: Refusal = Refusal::Invalid("signed by a key that is not known here");

impl Known {
    fn find(&self, kid: Option<&str>) -> Option<DecodingKey> {
        let found = match kid {
            Some(kid) => self.keys.iter().find(|(known, _)| known.as_deref() == Some(kid)),
            None => self.keys.first().filter(|_| self.keys.len() == 1),
        };
        found.map(|(_, key)| key.clone())
    }
}

async fn fetch(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    // An error of the client's repeats the URL, which may hold a secret.
    let told = |error: reqwest::Error| error.without_url().to_string();
    let mut response = http.get(url).send().await.map_err(told)?;
    if response.status() != 200 {
        return Err(format!("answered {}", response.status()));
    }
    let mut text = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        text.extend_from_slice(&chunk);
        if text.len() > LIMIT {
            return Err("larger than 1 MiB".into());
        }
    }
    Ok(text)
}

/// The keys of a set that fit the algorithm; those for anything else are passed over.
fn read(text: &[u8], algorithm: Algorithm) -> Result<Vec<(Option<String>, DecodingKey)>, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(text).map_err(|error| format!("not a key set: {error}"))?;
    let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let fitting = keys.filter(|key| fits(key, algorithm));
    let keys: Vec<_> =
        fitting.filter_map(|key| Some((key.common.key_id.clone(), DecodingKey::from_jwk(&key).ok()?))).collect();
    if keys.is_empty() { Err(format!("no key for {algorithm:?} in it")) } else { Ok(keys) }
}

fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let is_for_signatures = key.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let named = key.common.key_algorithm.is_none_or(|named| named.to_string() == format!("{algorithm:?}"));
    let kind = match (&key.algorithm, algorithm) {
        (AlgorithmParameters::RSA(_), Algorithm::RS256) => true,
        (AlgorithmParameters::EllipticCurve(curve), Algorithm::ES256) => curve.curve == EllipticCurve::P256,
        (AlgorithmParameters::OctetKeyPair(pair), Algorithm::EdDSA) => pair.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    is_for_signatures && named && kind
}
