//! The door: who is calling, whether it may, and how often.

use std::num::NonZeroU32;
use std::sync::Arc;

use poem::Request;
use poem::http::{HeaderMap, HeaderValue, header};

use super::problem::{Code, Problem};
use crate::access::{Caller, Gate, Rate, Refusal, Scope, Standing};
use crate::config::Limits;

/// Wrong credentials from one address in a minute; further ones are not even told what is wrong with them.
const GUESSES: NonZeroU32 = NonZeroU32::new(60).expect("more than none");

/// Lets requests in, or not. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Guard(Option<Arc<Door>>);

#[derive(Debug)]
struct Door {
    gate: Gate,
    rate: Option<Rate>,
    guesses: Rate,
}

/// A caller that was let in.
pub(super) struct Admitted {
    pub(super) caller: Caller,
    /// How it stands with its requests, if they are counted.
    pub(super) standing: Option<Standing>,
}

impl Guard {
    /// A door with this gate; without one it stands open, and nothing is counted.
    pub fn new(gate: Option<Gate>, limits: &Limits) -> Guard {
        let rate = NonZeroU32::new(limits.requests_per_minute).map(Rate::per_minute);
        Guard(gate.map(|gate| Arc::new(Door { gate, rate, guesses: Rate::per_minute(GUESSES) })))
    }

    /// Whether callers are asked who they are.
    pub(super) fn is_closed(&self) -> bool {
        self.0.is_some()
    }

    /// Lets the caller of this operation in.
    pub(super) async fn admit(&self, request: &Request, operation: &str) -> Result<Admitted, Problem> {
        let Some(door) = &self.0 else {
            return Ok(Admitted { caller: Caller::local(), standing: None });
        };
        let outcome = match credential(request.headers()) {
            Ok(credential) => door.gate.admit(credential).await,
            Err(refusal) => Err(refusal),
        };
        let caller = match outcome {
            Ok(caller) => caller,
            Err(refusal) => return Err(door.refuse(request, refusal)),
        };
        let standing = match door.rate.as_ref().map(|rate| rate.count(&caller.owner.0)).transpose() {
            Ok(standing) => standing,
            Err(standing) => {
                let problem = Problem::new(Code::RateLimited, "too many requests in a minute");
                return Err(problem.retry_after(standing.wait).standing(standing));
            }
        };
        let scope = scope_of(operation);
        if !caller.may(scope) {
            return Err(Problem::lacks(scope, "this needs"));
        }
        Ok(Admitted { caller, standing })
    }
}

impl Door {
    fn refuse(&self, request: &Request, refusal: Refusal) -> Problem {
        let problem = match &refusal {
            Refusal::Unauthenticated => {
                return Problem::new(Code::Unauthenticated, refusal.to_string()).challenge("Bearer");
            }
            Refusal::Invalid(_) => {
                Problem::new(Code::InvalidToken, refusal.to_string()).challenge("Bearer error=\"invalid_token\"")
            }
            Refusal::Unavailable => return Problem::new(Code::AuthUnavailable, refusal.to_string()).retry_after(10),
            Refusal::Store(error) => {
                tracing::error!(error = error as &dyn std::error::Error, "the ledger did not tell of an API key");
                return Problem::new(Code::DatabaseUnavailable, "the database does not answer").retry_after(2);
            }
        };
        let address = request.remote_addr().as_socket_addr().map(|address| address.ip().to_string());
        match self.guesses.count(&address.unwrap_or_default()) {
            Ok(_) => problem,
            Err(standing) => Problem::new(Code::RateLimited, "too many wrong credentials from this address")
                .retry_after(standing.wait),
        }
    }
}

/// What the request gives for a credential.
fn credential(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(Refusal::Unauthenticated);
    };
    let text = value.to_str().map_err(|_| Refusal::Invalid("not printable"))?;
    match text.split_once(' ') {
        Some((scheme, credential)) if scheme.eq_ignore_ascii_case("bearer") && !credential.trim().is_empty() => {
            Ok(credential.trim())
        }
        _ => Err(Refusal::Unauthenticated),
    }
}

/// The scope that an operation needs.
pub(super) fn scope_of(operation: &str) -> Scope {
    match operation {
        "createUpload" | "listUploads" | "getUpload" | "abortUpload" | "completeUpload" => Scope::UploadsWrite,
        "signParts" | "recordParts" | "recordPart" | "listParts" | "syncParts" => Scope::UploadsWrite,
        "listFiles" | "getFile" | "getDownloadUrl" | "getDownloadUrls" | "downloadFile" | "streamFile" => {
            Scope::FilesRead
        }
        "deleteFile" | "shareFile" | "unshareFile" => Scope::FilesWrite,
        // Nobody has forgotten one: the tests ask for each operation of the document.
        _ => Scope::Admin,
    }
}

/// Tells a caller how it stands (draft-ietf-httpapi-ratelimit-headers).
pub(super) fn tell(standing: Standing, headers: &mut HeaderMap) {
    for (name, value) in standing.headers() {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
