//! Random sequences of client calls, sweeps, deaths, moves of the clock and failures of S3, held against a specification
//! that runs: `reference` says what may be answered and where an upload may stand then; whatever else is seen is a fault.
//!
//! `PARTITA_SEED` and `PARTITA_SEQUENCES` choose the sequences; a failure prints both, and the shortest that fails.

mod actions;
mod choices;
mod completion;
mod ending;
mod reference;
mod s3;
mod scripts;
mod seen;
mod service;
mod trial;

use std::cell::{Cell, RefCell};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use actions::Sequences;
use trial::Trial;

use crate::crashes::number;

/// Sequences in a run of all tests, and in a campaign, unless told otherwise; for each database.
const SEQUENCES: u64 = 200;
const CAMPAIGN: u64 = 5_000;
/// Steps of the longest.
const STEPS: usize = 40;
/// Sequences at a time: most of a sequence is waiting.
const AT_ONCE: usize = 4;

static STEPS_TAKEN: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether this thread is in a sequence: what fails there is told once, when it is at its shortest.
    static IN_SEQUENCE: Cell<bool> = const { Cell::new(false) };
    /// The database of the sequences of this thread; `None` for a new SQLite file each.
    static DATABASE: RefCell<Option<String>> = const { RefCell::new(None) };
}

#[test]
fn every_sequence_is_one_the_model_allows_on_sqlite() {
    sequences(false, SEQUENCES);
}

#[test]
fn every_sequence_is_one_the_model_allows_on_postgres() {
    sequences(true, SEQUENCES);
}

#[test]
#[ignore = "a campaign: ./test --full"]
fn a_campaign_of_sequences_on_sqlite() {
    sequences(false, CAMPAIGN);
}

#[test]
#[ignore = "a campaign: ./test --full"]
fn a_campaign_of_sequences_on_postgres() {
    sequences(true, CAMPAIGN);
}

fn sequences(postgres: bool, unless_told: u64) {
    let (cases, first) = (number("PARTITA_SEQUENCES", unless_told), number("PARTITA_SEED", 1));
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let loud = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !IN_SEQUENCE.get() {
                loud(panic)
            }
        }));
    });
    let (next, failed, began) = (AtomicU64::new(0), AtomicBool::new(false), Instant::now());
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                if postgres {
                    DATABASE.set(Some(trial::new_postgres()));
                }
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    if case >= cases || failed.load(Ordering::Relaxed) {
                        break;
                    }
                    if let Err(failure) = sequence(first + case) {
                        failed.store(true, Ordering::Relaxed);
                        panic!(
                            "PARTITA_SEED={} PARTITA_SEQUENCES=1, case {} of {cases}: {failure}",
                            first + case,
                            case + 1
                        );
                    }
                }
            });
        }
    });
    let steps = STEPS_TAKEN.load(Ordering::Relaxed);
    println!("{cases} sequences from seed {first}, {steps} steps, {:?}", began.elapsed());
}

/// One sequence. The shortest one that fails, if it does.
fn sequence(seed: u64) -> Result<(), String> {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 400,
        max_shrink_time: u32::try_from(Duration::from_secs(120).as_millis()).expect("a time"),
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config.clone(), rng);
    let strategy = Sequences::sequential_strategy(1..=STEPS);
    IN_SEQUENCE.set(true);
    let outcome = runner.run(&strategy, |(initial, steps, seen)| {
        Trial::test_sequential(config.clone(), initial, steps, seen);
        Ok(())
    });
    IN_SEQUENCE.set(false);
    outcome.map_err(|error| error.to_string())
}
