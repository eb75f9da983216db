//! The lifecycle of an upload as a specification that runs: what the service may answer, and where the upload may stand
//! then. Plain data, no I/O. It reads as `reference` to the code that is tested: every procedure is written down here once
//! more, from the contract and not from the code, with S3's failures as its only input.

use super::choices::Choices;
use super::s3::{Down, Faults, Op, Parts, S3, When};

/// Seconds by which the clock was moved. Real time passes beside it, but never as much as `DRIFT` in one sequence.
pub(super) type Time = u64;
pub(super) const DRIFT: Time = 55;
pub(super) const LEASE_OF_CREATION: Time = 60;
pub(super) const LEASE_OF_COMPLETION: Time = 80;
const LIFE_OF_URLS: Time = 15 * 60;
pub(super) const LONGEST_TRANSFER: Time = 3_600;
const IDLE: Time = 24 * 3_600;
const CAP: Time = 6 * 24 * 3_600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Creating,
    Open,
    Completing,
    Completed,
    Aborting(Ending),
    Ended(Ending),
    /// The row is removed, its time has come.
    Forgotten,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ending {
    Requested,
    Expired,
    CreateRefused,
    KeyTaken,
    Vanished,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Create {
        urls: bool,
    },
    Sign,
    Record {
        part: usize,
        bytes: u8,
    },
    Sync,
    /// With parts of these bytes in the body, or without a body.
    Complete(Option<u8>),
    Abort,
    Get,
    File,
    /// Nobody asks: the sweeper comes by.
    Sweep,
}

/// Status and code; the code is empty where it is no problem.
pub(super) type Answer = (u16, &'static str);
pub(super) const UNHEARD: Answer = (0, "");
pub(super) const OK: Answer = (200, "");
pub(super) const MISSING: Answer = (409, "parts-missing");

/// The service died.
#[derive(Debug)]
pub(super) struct Crashed;

/// One way through a procedure.
pub(super) struct Run<'a> {
    pub(super) now: Time,
    pub(super) choices: &'a mut Choices,
    death: Option<(Op, When)>,
}

impl Run<'_> {
    /// Whether this moment has come; either way where real time decides it.
    pub(super) fn passed(&mut self, earliest: Time, latest: Time) -> bool {
        self.now >= latest || (self.now + DRIFT >= earliest && self.choices.either())
    }

    pub(super) fn dies_at(&mut self, op: Op) -> Option<When> {
        self.death.filter(|(at, _)| *at == op).map(|(_, when)| when)
    }
}

/// An upload: what the ledger says of it, and what S3 holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Upload {
    /// Parts of the plan: 0, 1 or 2.
    pub(super) planned: usize,
    pub(super) auto: bool,
    pub(super) state: State,
    pub(super) recorded: Parts,
    /// Whether the ledger has S3's id of it.
    pub(super) knows_id: bool,
    pub(super) creations: u8,
    pub(super) begun: Time,
    pub(super) lease: Time,
    /// Between these two.
    pub(super) expires: (Time, Time),
    pub(super) cap: Time,
    pub(super) urls_until: Option<Time>,
    /// When the sweeper is to look at it, between these two; whether it may have tried since, in vain, and when.
    pub(super) due: Option<(Time, Time)>,
    pub(super) tried: Option<Time>,
    pub(super) asked: Option<Time>,
    pub(super) s3: S3,
    pub(super) faults: Faults,
}

/// What comes of a procedure, unless the service dies in it.
pub(super) type Done<T> = Result<T, Crashed>;

impl Upload {
    /// The row that a creation writes before S3 hears of anything.
    pub(super) fn planned(planned: usize, auto: bool, now: Time, faults: Faults) -> Upload {
        Upload {
            planned,
            auto,
            state: State::Creating,
            recorded: [None; 2],
            knows_id: false,
            creations: 1,
            begun: now,
            lease: now + LEASE_OF_CREATION,
            expires: (now + IDLE, now + IDLE),
            cap: now + CAP,
            urls_until: None,
            due: Some((now + LEASE_OF_CREATION, now + LEASE_OF_CREATION)),
            tried: None,
            asked: None,
            s3: S3::default(),
            faults,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.planned == 0
    }

    /// All that the call may be answered with, and where the upload may be then; when the service dies at `death`, nothing.
    pub(super) fn outcomes(
        &self,
        call: Call,
        fresh: bool,
        now: Time,
        death: Option<(Op, When)>,
    ) -> Vec<(Answer, Upload)> {
        Choices::all(|choices| {
            let (mut upload, mut run) = (self.clone(), Run { now, choices, death });
            let answer = upload.answer(call, fresh, &mut run).unwrap_or(UNHEARD);
            (answer, upload)
        })
    }

    fn answer(&mut self, call: Call, fresh: bool, run: &mut Run) -> Done<Answer> {
        if self.state == State::Forgotten && call != Call::Sweep {
            return Ok((404, if call == Call::File { "file-not-found" } else { "upload-not-found" }));
        }
        match call {
            Call::Create { urls } => self.create(urls, fresh, run),
            Call::Sign | Call::Record { .. } | Call::Sync => self.change(call, run),
            Call::Complete(parts) => self.complete(parts, run),
            Call::Abort => self.abort(run),
            Call::Get => self.complete_if_ready(run).map(|()| OK),
            Call::File => self.file(run),
            Call::Sweep => self.sweep(run).map(|()| OK),
        }
    }

    // What clients ask for.

    /// A creation, and what its repetition under the same idempotency key finds.
    fn create(&mut self, urls: bool, fresh: bool, run: &mut Run) -> Done<Answer> {
        let refused = if fresh {
            self.begin(run)?
        } else if self.state == State::Creating && !run.passed(self.lease, self.lease) {
            return Ok((409, "idempotency-in-progress"));
        } else if self.state == State::Creating {
            self.take_over_creation(run)?
        } else {
            None
        };
        if let Some(answer) = refused {
            return Ok(answer);
        }
        let is_alive = self.state == State::Open && !self.is_expired(run);
        if is_alive && urls && !self.is_empty() {
            self.hand_out_urls(run);
        }
        Ok((201, ""))
    }

    fn change(&mut self, call: Call, run: &mut Run) -> Done<Answer> {
        if self.state != State::Open || self.is_expired(run) {
            return Ok(self.refusal());
        }
        match call {
            Call::Sign if self.is_empty() => return Ok((422, "invalid-part-number")),
            Call::Record { part, .. } if part >= self.planned => return Ok((422, "invalid-part-number")),
            Call::Sign => self.hand_out_urls(run),
            Call::Record { part, bytes } => self.recorded[part] = Some(bytes),
            _ => {
                if let Err(down) = self.take_listing(run)? {
                    return Ok(failed(down));
                }
            }
        }
        self.keep_alive(run);
        Ok(OK)
    }

    pub(super) fn complete(&mut self, parts: Option<u8>, run: &mut Run) -> Done<Answer> {
        match self.state {
            State::Completed => Ok(OK),
            State::Completing => self.go_on(run),
            State::Open if !self.is_expired(run) => {
                if let Some(bytes) = parts {
                    self.recorded[..self.planned].fill(Some(bytes));
                }
                // What the ledger lacks, S3 is asked for.
                let mut known = true;
                if !self.has_all() {
                    known = match self.take_listing(run)? {
                        Err(down) => return Ok(failed(down)),
                        Ok(known) => known,
                    };
                    if known && !self.has_all() {
                        return Ok(MISSING);
                    }
                }
                self.enter(State::Completing, None);
                self.hold(LEASE_OF_COMPLETION, run);
                if known { self.send(run) } else { self.resolve(None, run) }
            }
            _ => Ok(self.refusal()),
        }
    }

    fn abort(&mut self, run: &mut Run) -> Done<Answer> {
        match self.state {
            State::Creating | State::Open => self.give_up(Ending::Requested, run)?,
            State::Aborting(_) => self.finish_abort(run)?,
            State::Ended(_) => {}
            _ => return Ok(self.refusal()),
        }
        Ok(if self.state == State::Completed { self.refusal() } else { (204, "") })
    }

    fn file(&mut self, run: &mut Run) -> Done<Answer> {
        self.complete_if_ready(run)?;
        Ok(match self.state {
            State::Completed => OK,
            State::Open if self.is_expired(run) => (404, "file-not-found"),
            State::Creating | State::Open | State::Completing => (409, "not-completed"),
            _ => (404, "file-not-found"),
        })
    }

    /// Why nothing can be done to it.
    pub(super) fn refusal(&self) -> Answer {
        match self.state {
            State::Open => (410, "upload-expired"),
            State::Creating | State::Completing => (409, "upload-not-open"),
            State::Completed => (409, "already-completed"),
            State::Aborting(ending) | State::Ended(ending) => match ending {
                Ending::Requested => (410, "upload-aborted"),
                Ending::Expired => (410, "upload-expired"),
                _ => (410, "upload-failed"),
            },
            State::Forgotten => (404, "upload-not-found"),
        }
    }

    // Time.

    /// When nothing can be on its way any more by URLs that were handed out. They are taken to live up to ten minutes longer,
    /// so that not every one of them has to be written down.
    pub(super) fn urls_landed(&self) -> Option<(Time, Time)> {
        self.urls_until.map(|until| (until + LONGEST_TRANSFER, self.cap.min(until + 600) + LONGEST_TRANSFER))
    }

    pub(super) fn is_expired(&self, run: &mut Run) -> bool {
        run.passed(self.expires.0, self.expires.1)
    }

    /// Activity moves the end, up to the cap. It is written at most every ten minutes.
    fn keep_alive(&mut self, run: &Run) {
        let (earliest, latest) = self.expires;
        self.expires = (self.cap.min(earliest.max(run.now + IDLE - 600)), self.cap.min(latest.max(run.now + IDLE)));
        self.due = Some(self.expires);
        self.tried = None;
    }

    fn hand_out_urls(&mut self, run: &Run) {
        self.urls_until = Some(self.cap.min(run.now + LIFE_OF_URLS));
        self.keep_alive(run);
    }

    pub(super) fn hold(&mut self, seconds: Time, run: &Run) {
        self.lease = run.now + seconds;
        self.due = Some((self.lease, self.lease));
    }

    pub(super) fn enter(&mut self, state: State, due: Option<(Time, Time)>) {
        self.state = state;
        self.due = due;
        self.tried = None;
    }

    /// What S3 was still at work on comes to its end. Of a completion that is so within the quiet time, of a creation within
    /// the longest transfer.
    pub(super) fn land(&mut self, creates_too: bool) {
        let is_empty = self.is_empty();
        self.s3.land(is_empty, creates_too);
    }

    pub(super) fn creations_have_landed(&self, now: Time) -> bool {
        now >= self.begun + LONGEST_TRANSFER / 3
    }

    /// Whether nothing moves it any more but the time to forget it.
    pub(super) fn is_over(&self) -> bool {
        self.due.is_none() || matches!(self.state, State::Ended(_))
    }

    /// Whether a client that has URLs may send parts, or still be sending them.
    pub(super) fn may_be_sending(&self, now: Time) -> bool {
        self.urls_until.is_some_and(|until| now + DRIFT < until + LONGEST_TRANSFER)
    }
}

/// What a client hears when S3 would not tell what a call needs.
pub(super) fn failed(down: Down) -> Answer {
    match down {
        Down::Forbidden => (502, "storage-refused"),
        Down::Unavailable | Down::Lies => (503, "storage-unavailable"),
    }
}
