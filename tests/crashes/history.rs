//! What clients were told, and whether it hangs together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Instant;

use partita::upload::State;
use serde_json::Value;

use super::plots::Plot;

/// Everything that was told to all clients.
#[derive(Default)]
pub(crate) struct Told {
    histories: Mutex<BTreeMap<String, History>>,
    /// By idempotency key, the uploads that answered to it.
    keys: Mutex<BTreeMap<String, BTreeSet<String>>>,
    violations: Mutex<Vec<String>>,
}

/// What was told of one upload.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) plot: Plot,
    seen: Vec<Seen>,
    /// Parts whose record was acknowledged.
    pub(crate) parts: BTreeMap<i64, String>,
    /// ETag and size of a completion that was acknowledged.
    pub(crate) object: Option<(String, i64)>,
    /// A `200` to a completion, rather than a look at it.
    pub(crate) acknowledged: bool,
    pub(crate) aborted: bool,
    /// A deletion was asked for, and may have come about though nobody was told.
    pub(crate) deletion_asked: bool,
    /// A deletion was acknowledged.
    pub(crate) deleted: bool,
}

/// A state, and between which moments it was seen.
#[derive(Debug, Clone, Copy)]
struct Seen {
    asked: Instant,
    answered: Instant,
    state: State,
}

impl Told {
    pub(crate) fn violation(&self, text: String) {
        eprintln!("VIOLATION {text}");
        self.violations.lock().expect("no panic").push(text);
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().expect("no panic").clone()
    }

    pub(crate) fn histories(&self) -> BTreeMap<String, History> {
        self.histories.lock().expect("no panic").clone()
    }

    /// An upload was created, under this idempotency key if there was one.
    pub(crate) fn created(&self, id: &str, plot: Plot, key: Option<&str>) {
        let new = || History {
            plot,
            seen: Vec::new(),
            parts: BTreeMap::new(),
            object: None,
            acknowledged: false,
            aborted: false,
            deletion_asked: false,
            deleted: false,
        };
        self.histories.lock().expect("no panic").entry(id.to_owned()).or_insert_with(new);
        if let Some(key) = key {
            let mut keys = self.keys.lock().expect("no panic");
            let ids = keys.entry(key.to_owned()).or_default();
            ids.insert(id.to_owned());
            if ids.len() > 1 {
                self.violation(format!("two uploads under the idempotency key {key}: {ids:?}"));
            }
        }
    }

    /// The upload as an answer showed it.
    pub(crate) fn shown(&self, upload: &Value, asked: Instant) {
        let (Some(id), Some(state)) = (upload["id"].as_str(), upload["state"].as_str().and_then(State::from_name))
        else {
            return;
        };
        self.with(id, |history| {
            history.seen.push(Seen { asked, answered: Instant::now(), state });
            let etag = upload["object"]["etag"].as_str()?;
            let object = (etag.to_owned(), upload["object"]["size"].as_i64().unwrap_or(-1));
            match history.object.replace(object.clone()) {
                Some(before) if before != object => Some(format!("{id} was {before:?}, and is {object:?}")),
                _ => None,
            }
        });
    }

    /// Changes what is known of an upload; a text that comes back is a violation.
    pub(crate) fn with(&self, id: &str, change: impl FnOnce(&mut History) -> Option<String>) {
        let violation = self.histories.lock().expect("no panic").get_mut(id).and_then(change);
        if let Some(violation) = violation {
            self.violation(violation);
        }
    }

    /// No upload was ever seen to go back.
    pub(crate) fn check_order(&self) {
        for (id, history) in self.histories() {
            for (earlier, later) in pairs(&history.seen) {
                if earlier.answered < later.asked && !leads_to(earlier.state, later.state) {
                    let plot = history.plot;
                    self.violation(format!("{id} ({plot:?}) was seen {}, and later {}", earlier.state, later.state));
                }
            }
            if history.aborted && history.acknowledged && history.plot != Plot::CompleteHidden {
                self.violation(format!("{id} was acknowledged as completed and as aborted"));
            }
        }
    }
}

fn pairs(seen: &[Seen]) -> impl Iterator<Item = (&Seen, &Seen)> {
    seen.iter().flat_map(move |earlier| seen.iter().map(move |later| (earlier, later)))
}

/// Whether an upload in the one state may be in the other later.
pub(super) fn leads_to(from: State, to: State) -> bool {
    let (mut reached, mut next) = (vec![from], 0);
    while let Some(state) = reached.get(next).copied() {
        for state in state.successors() {
            if !reached.contains(state) {
                reached.push(*state);
            }
        }
        next += 1;
    }
    reached.contains(&to)
}
