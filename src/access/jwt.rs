//! Tokens (RFC 7519) that an application makes for its users: checked by one pinned algorithm, whatever they say themselves.

use std::time::Duration;

use chrono::DateTime;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use secrecy::ExposeSecret;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Caller, KeySet, Refusal, Scope, is_subject};
use crate::clock::Clock;
use crate::config::{Error, Jwt, JwtAlgorithm};
use crate::upload::Owner;

/// The longest token that is looked at, in bytes.
const LONGEST: usize = 8 << 10;

/// What a token says. A time that is not a number makes it no token at all.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    sub: String,
    exp: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<f64>,
    /// Separated by blanks (RFC 8693 section 4.2).
    #[serde(default)]
    scope: String,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    partita_presets: Option<Vec<String>>,
}

/// For a claim that may be absent but not `null`: an application that lost its list must not thereby set its users free.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// Checks tokens. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tokens {
    algorithm: Algorithm,
    keys: Keys,
    issuer: String,
    audience: String,
    leeway: f64,
    clock: Clock,
}

#[derive(Clone)]
enum Keys {
    Secret(DecodingKey),
    Set(KeySet),
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Keys::Secret(_) => "Secret",
            Keys::Set(_) => "Set",
        })
    }
}

impl Tokens {
    /// What the settings accept; `None` if they accept no tokens.
    ///
    /// # Errors
    /// When the secret or the file of keys cannot be used.
    pub async fn of(settings: &Jwt, clock: Clock) -> Result<Option<Tokens>, Error> {
        let Some(named) = settings.algorithm else { return Ok(None) };
        let algorithm = algorithm(named);
        let keys = match (named, &settings.jwks_file, &settings.jwks_url) {
            (JwtAlgorithm::HS256, ..) => {
                Keys::Secret(DecodingKey::from_secret(settings.hs256_secret()?.expose_secret().as_bytes()))
            }
            (_, Some(path), _) => Keys::Set(
                KeySet::of_file(path, algorithm, clock.clone())
                    .map_err(|reason| Error::Invalid { name: "auth.jwt.jwks_file", reason })?,
            ),
            (_, None, url) => {
                Keys::Set(KeySet::of_url(url.as_deref().unwrap_or_default(), algorithm, clock.clone()).await)
            }
        };
        Ok(Some(Tokens {
            algorithm,
            keys,
            issuer: settings.issuer.clone().unwrap_or_default(),
            audience: settings.audience.clone().unwrap_or_default(),
            leeway: settings.leeway.as_secs_f64(),
            clock,
        }))
    }

    /// The caller that this token stands for.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for every token that is not certainly good now.
    pub async fn check(&self, token: &str) -> Result<Caller, Refusal> {
        if token.len() > LONGEST {
            return Err(Refusal::Invalid("longer than 8 KiB"));
        }
        let header = decode_header(token).map_err(|_| Refusal::Invalid("not a token"))?;
        if header.alg != self.algorithm {
            return Err(Refusal::Invalid("signed by an algorithm that is not accepted here"));
        }
        // Whoever does not understand what is critical must not accept the token (RFC 7515 section 4.1.11).
        if header.crit.is_some() {
            return Err(Refusal::Invalid("its header asks for what is not understood here"));
        }
        // What else the header points to (`jku`, `jwk`, `x5u`) is nobody's business.
        let key = match &self.keys {
            Keys::Secret(key) => key.clone(),
            Keys::Set(set) => set.find(header.kid.as_deref()).await?,
        };
        let mut validation = Validation::new(self.algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        // By our clock, below.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        let claims = decode::<Claims>(token, &key, &validation)
            .map_err(|_| Refusal::Invalid("its signature, issuer, audience or form is wrong"))?
            .claims;
        let now = self.clock.now().timestamp_millis() as f64 / 1e3;
        // What is not a number compares with nothing, and is refused.
        if claims.exp.partial_cmp(&(now - self.leeway)) != Some(std::cmp::Ordering::Greater) {
            return Err(Refusal::Invalid("it has expired"));
        }
        if claims.nbf.is_some_and(|from| from > now + self.leeway) {
            return Err(Refusal::Invalid("it is not good yet"));
        }
        if !is_subject(&claims.sub) {
            return Err(Refusal::Invalid("its subject is not 1 to 255 bytes of text"));
        }
        let scopes = claims.scope.split(' ').filter_map(Scope::from_name).collect();
        Ok(Caller { owner: Owner(claims.sub), scopes, presets: claims.partita_presets })
    }
}

fn algorithm(named: JwtAlgorithm) -> Algorithm {
    match named {
        JwtAlgorithm::HS256 => Algorithm::HS256,
        JwtAlgorithm::RS256 => Algorithm::RS256,
        JwtAlgorithm::ES256 => Algorithm::ES256,
        JwtAlgorithm::EdDSA => Algorithm::EdDSA,
    }
}

/// Makes a token by the settings' own secret: for trying, and for scripts on the service's machine.
///
/// # Errors
/// When the settings do not accept HS256, or have no secret.
pub fn mint(settings: &Jwt, caller: &Caller, life: Duration, clock: &Clock) -> Result<String, Error> {
    if settings.algorithm != Some(JwtAlgorithm::HS256) {
        let reason = "tokens can be made here only with HS256; others are made by whoever has the private key".into();
        return Err(Error::Invalid { name: "auth.jwt.algorithm", reason });
    }
    let scopes: Vec<_> = caller.scopes.iter().map(|scope| scope.name()).collect();
    let exp = clock.now().checked_add_signed(chrono::TimeDelta::from_std(life).unwrap_or(chrono::TimeDelta::MAX));
    let claims = Claims {
        iss: settings.issuer.clone().unwrap_or_default(),
        aud: Audience::One(settings.audience.clone().unwrap_or_default()),
        sub: caller.owner.0.clone(),
        exp: exp.unwrap_or(DateTime::<chrono::Utc>::MAX_UTC).timestamp() as f64,
        nbf: None,
        scope: scopes.join(" "),
        partita_presets: caller.presets.clone(),
    };
    let key = EncodingKey::from_secret(settings.hs256_secret()?.expose_secret().as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key)
        .map_err(|error| Error::Invalid { name: "auth.jwt.secret", reason: error.to_string() })
}
