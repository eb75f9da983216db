//! The lifecycle of an upload as a specification that runs: what the service may answer, and where the upload may stand
//! then. Plain data, no I/O. It reads as `reference` to the code that is tested: every procedure is written down here once
//! more, from the contract and not from the code, with S3's failures as its only input.

use super::choices::Choices;
use super::s3::{Down, Faults, Object, Op, Parts, S3, Said, When};

/// Seconds by which the clock was moved. Real time passes beside it, but never as much as `DRIFT` in one sequence.
pub(super) type Time = u64;
pub(super) const DRIFT: Time = 55;
const LEASE_OF_CREATION: Time = 60;
const LEASE_OF_COMPLETION: Time = 80;
const QUIET: Time = 60;
const LIFE_OF_URLS: Time = 15 * 60;
const LONGEST_TRANSFER: Time = 3_600;
const LONGEST_BACK_OFF: Time = 15 * 60;
const IDLE: Time = 24 * 3_600;
const CAP: Time = 6 * 24 * 3_600;
const READABLE: Time = 30 * 24 * 3_600;

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
    Create { urls: bool },
    Sign,
    Record { part: usize, bytes: u8 },
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
const OK: Answer = (200, "");
const MISSING: Answer = (409, "parts-missing");

/// The service died.
#[derive(Debug)]
pub(super) struct Crashed;

/// One way through a procedure.
pub(super) struct Run<'a> {
    now: Time,
    choices: &'a mut Choices,
    death: Option<(Op, When)>,
}

impl Run<'_> {
    /// Whether this moment has come; either way where real time decides it.
    fn passed(&mut self, earliest: Time, latest: Time) -> bool {
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
    knows_id: bool,
    creations: u8,
    begun: Time,
    lease: Time,
    /// Between these two.
    expires: (Time, Time),
    cap: Time,
    urls_until: Option<Time>,
    /// When the sweeper is to look at it; whether it may have tried since, in vain, and when.
    due: Option<Time>,
    tried: Option<Time>,
    asked: Option<Time>,
    pub(super) s3: S3,
    pub(super) faults: Faults,
}

type Done<T> = Result<T, Crashed>;

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
            due: Some(now + LEASE_OF_CREATION),
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
    pub(super) fn outcomes(&self, call: Call, fresh: bool, now: Time, death: Option<(Op, When)>) -> Vec<(Answer, Upload)> {
        Choices::all(|choices| {
            let (mut upload, mut run) = (self.clone(), Run { now, choices, death });
            let answer = upload.answer(call, fresh, &mut run).unwrap_or(UNHEARD);
            (answer, upload)
        })
    }

    fn answer(&mut self, call: Call, fresh: bool, run: &mut Run) -> Done<Answer> {
        if self.state == State::Forgotten {
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

    fn complete(&mut self, parts: Option<u8>, run: &mut Run) -> Done<Answer> {
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
    fn refusal(&self) -> Answer {
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

    fn is_expired(&self, run: &mut Run) -> bool {
        run.passed(self.expires.0, self.expires.1)
    }

    /// Activity moves the end, up to the cap. It is written at most every ten minutes.
    fn keep_alive(&mut self, run: &Run) {
        let (earliest, latest) = self.expires;
        self.expires = (self.cap.min(earliest.max(run.now + IDLE - 600)), self.cap.min(latest.max(run.now + IDLE)));
        self.due = Some(self.expires.0);
        self.tried = None;
    }

    fn hand_out_urls(&mut self, run: &Run) {
        self.urls_until = Some(self.cap.min(run.now + LIFE_OF_URLS));
        self.keep_alive(run);
    }

    fn hold(&mut self, seconds: Time, run: &Run) {
        self.lease = run.now + seconds;
        self.due = Some(self.lease);
    }

    fn enter(&mut self, state: State, due: Option<Time>) {
        self.state = state;
        self.due = due;
        self.tried = None;
    }

    /// Whether a client that has URLs may send parts, or still be sending them.
    pub(super) fn may_be_sending(&self, now: Time) -> bool {
        self.urls_until.is_some_and(|until| now + DRIFT < until + LONGEST_TRANSFER)
    }

    // Creation.

    fn begin(&mut self, run: &mut Run) -> Done<Option<Answer>> {
        if !self.is_empty() {
            match self.s3_create(run)? {
                Said::Yes => self.adopt(),
                // The row stays: S3 may have begun it.
                Said::Unclear => return Ok(Some((503, "storage-unavailable"))),
                _ => {
                    self.give_up(Ending::CreateRefused, run)?;
                    return Ok(Some((502, "storage-refused")));
                }
            }
        }
        self.enter(State::Open, Some(self.expires.0));
        Ok(None)
    }

    fn adopt(&mut self) {
        self.s3.strays -= 1;
        self.s3.upload = Some([None; 2]);
        self.knows_id = true;
    }

    /// Its maker has died, or was not answered: S3 is asked before anything is begun again.
    fn take_over_creation(&mut self, run: &mut Run) -> Done<Option<Answer>> {
        self.creations += 1;
        self.begun = run.now;
        self.hold(LEASE_OF_CREATION, run);
        if self.is_empty() {
            return self.begin(run);
        }
        match self.s3_list_strays(run)? {
            Err(down) => return Ok(Some(failed(down))),
            Ok(0) => return self.begin(run),
            Ok(_) => {}
        }
        while self.s3.strays > 1 {
            if !self.s3_abort(run, true)? {
                return Ok(Some((502, "storage-refused")));
            }
            if self.faults.abort.is_some() {
                break;
            }
        }
        self.adopt();
        self.enter(State::Open, Some(self.expires.0));
        Ok(None)
    }

    // Parts.

    fn has_all(&self) -> bool {
        self.recorded[..self.planned].iter().all(Option::is_some)
    }

    /// Brings the ledger into line with what S3 holds. Whether S3 knows the upload; if not, nothing is forgotten.
    fn take_listing(&mut self, run: &mut Run) -> Done<Result<bool, Down>> {
        if self.is_empty() {
            return Ok(Ok(true));
        }
        Ok(match self.s3_list_parts(run)? {
            Ok(Some(held)) => {
                // Recorded as something else: lost. Not recorded: found.
                for (recorded, held) in self.recorded.iter_mut().zip(held) {
                    *recorded = if recorded.is_none() || *recorded == held { held } else { None };
                }
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(down) => Err(down),
        })
    }

    // Completion.

    fn send(&mut self, run: &mut Run) -> Done<Answer> {
        if !self.has_all() {
            self.reopen();
            return Ok(MISSING);
        }
        match self.s3_complete(run)? {
            Said::Yes => match self.s3_head(run)? {
                Ok(Some(object)) => self.conclude(object, run),
                _ => self.leave_unclear(run),
            },
            Said::BlamesParts => self.explain(false, run),
            said => self.resolve(Some(said), run),
        }
    }

    /// Looks for proof: the object, the upload, the object once more.
    fn resolve(&mut self, said: Option<Said>, run: &mut Run) -> Done<Answer> {
        match self.s3_head(run)? {
            Err(_) => return self.leave_unclear(run),
            Ok(Some(Object::Foreign)) if said == Some(Said::BlamesKey) => return self.fail(Ending::KeyTaken, run),
            Ok(Some(object @ Object::Ours(_))) => return self.conclude(object, run),
            Ok(_) => {}
        }
        let is_open = self.is_empty()
            || match self.s3_list_parts(run)? {
                Err(_) => return self.leave_unclear(run),
                Ok(listed) => listed.is_some(),
            };
        match said {
            // Nobody has heard anything for the quiet time.
            None if is_open => self.send(run),
            Some(Said::Forbidden | Said::BlamesKey) if is_open => {
                self.reopen();
                Ok((502, "storage-refused"))
            }
            Some(Said::NoSuchUpload) if is_open => self.explain(true, run),
            _ if is_open => self.leave_unclear(run),
            _ => match self.s3_head(run)? {
                Err(_) => self.leave_unclear(run),
                Ok(Some(object)) => self.conclude(object, run),
                Ok(None) => self.fail(Ending::Vanished, run),
            },
        }
    }

    fn conclude(&mut self, object: Object, run: &mut Run) -> Done<Answer> {
        match object {
            Object::Foreign => self.fail(Ending::KeyTaken, run),
            Object::Ours(_) => {
                self.completed(run);
                Ok(OK)
            }
        }
    }

    /// S3 blames the parts, or claims not to know what it lists: which of them?
    fn explain(&mut self, denied: bool, run: &mut Run) -> Done<Answer> {
        let Ok(Some(held)) = self.s3_list_parts(run)? else {
            return self.leave_unclear(run);
        };
        let is_missing = |part: usize| held[part].is_none();
        let differs = |part: usize| held[part] != self.recorded[part];
        let answer = match (0..self.planned).any(is_missing) {
            true => MISSING,
            false if (0..self.planned).any(differs) => (409, "parts-differ"),
            false if denied => return self.leave_unclear(run),
            false => (503, "storage-unavailable"),
        };
        self.reopen();
        Ok(answer)
    }

    fn reopen(&mut self) {
        self.enter(State::Open, Some(self.expires.0));
    }

    fn completed(&mut self, run: &Run) {
        // Others of its key may be open at S3.
        self.enter(State::Completed, (self.creations > 1).then_some(run.now + LONGEST_TRANSFER));
    }

    /// It stays as it is for the quiet time; past the cap it is given up.
    fn leave_unclear(&mut self, run: &mut Run) -> Done<Answer> {
        if run.passed(self.cap, self.cap) {
            self.give_up(Ending::Expired, run)?;
            return Ok(if self.state == State::Completed { OK } else { self.refusal() });
        }
        self.hold(QUIET, run);
        Ok((202, ""))
    }

    fn fail(&mut self, ending: Ending, run: &mut Run) -> Done<Answer> {
        self.give_up(ending, run)?;
        Ok(match (self.state, ending) {
            (State::Completed, _) => OK,
            (_, Ending::KeyTaken) => (409, "key-exists"),
            _ => (410, "upload-failed"),
        })
    }

    /// Somebody asks for, or the sweeper finds, a completion that is not resolved.
    fn go_on(&mut self, run: &mut Run) -> Done<Answer> {
        if run.passed(self.lease, self.lease) {
            self.hold(LEASE_OF_COMPLETION, run);
            return self.resolve(None, run);
        }
        if let Ok(Some(Object::Ours(_))) = self.s3_head(run)? {
            self.completed(run);
            return Ok(OK);
        }
        Ok((202, ""))
    }

    fn complete_if_ready(&mut self, run: &mut Run) -> Done<()> {
        let waits = match self.state {
            State::Open => !self.is_expired(run),
            State::Completing => true,
            _ => false,
        };
        if self.auto && waits { self.try_complete(run) } else { Ok(()) }
    }

    /// S3 is asked at most once in two seconds.
    fn try_complete(&mut self, run: &mut Run) -> Done<()> {
        let earliest = self.asked.map_or(0, |asked| asked + 2);
        if !run.passed(earliest, earliest) {
            return Ok(());
        }
        self.asked = Some(run.now);
        if self.state == State::Completing {
            self.go_on(run)?;
            return Ok(());
        }
        match self.take_listing(run)? {
            Err(_) => Ok(()),
            Ok(true) if !self.has_all() => Ok(()),
            Ok(_) => self.complete(None, run).map(drop),
        }
    }

    // The end.

    fn give_up(&mut self, ending: Ending, run: &mut Run) -> Done<()> {
        self.enter(State::Aborting(ending), Some(run.now));
        self.finish_abort(run)
    }

    /// Ended only when S3 holds nothing of it and nothing can land any more; completed if it had been after all.
    fn finish_abort(&mut self, run: &mut Run) -> Done<()> {
        let State::Aborting(ending) = self.state else { return Ok(()) };
        if self.knows_id && !self.s3_abort(run, false)? {
            return Ok(());
        }
        let may_have_strays = (!self.knows_id && !self.is_empty()) || self.creations > 1;
        if may_have_strays && !self.abort_strays(run)? {
            return Ok(());
        }
        match self.s3_head(run)? {
            Err(_) => return Ok(()),
            Ok(Some(Object::Ours(_))) => {
                self.completed(run);
                return Ok(());
            }
            Ok(_) => {}
        }
        if self.knows_id && !matches!(self.s3_list_parts(run)?, Ok(None)) {
            return Ok(());
        }
        let unanswered = (may_have_strays && ending != Ending::CreateRefused).then_some(self.begun);
        let quiet = unanswered.max(self.urls_until.filter(|_| self.knows_id)).map(|last| last + LONGEST_TRANSFER);
        match quiet {
            Some(quiet) if !run.passed(quiet, quiet) => {
                self.due = Some(quiet);
                self.tried = None;
            }
            _ => self.enter(State::Ended(ending), Some(run.now + READABLE)),
        }
        Ok(())
    }

    fn abort_strays(&mut self, run: &mut Run) -> Done<bool> {
        let Ok(strays) = self.s3_list_strays(run)? else { return Ok(false) };
        for _ in 0..strays {
            if !self.s3_abort(run, true)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    // The sweeper.

    /// What is due is done. What was tried in vain is put off for up to a quarter of an hour.
    fn sweep(&mut self, run: &mut Run) -> Done<()> {
        for turn in 0..3 {
            let by_itself = self.auto && self.state == State::Open;
            let Some(due) = self.due else { return Ok(()) };
            let latest = if self.state == State::Open { self.expires.1 } else { due };
            let is_due = run.passed(due, latest) || (by_itself && run.choices.either());
            let rested = self.tried.is_none_or(|tried| run.now >= tried + LONGEST_BACK_OFF);
            if !is_due || ((turn > 0 || !rested) && !run.choices.either()) {
                return Ok(());
            }
            self.tried = Some(run.now);
            self.settle(run)?;
        }
        Ok(())
    }

    fn settle(&mut self, run: &mut Run) -> Done<()> {
        match self.state {
            State::Creating if !run.passed(self.lease, self.lease) => {}
            State::Creating | State::Open if self.is_expired(run) => self.give_up(Ending::Expired, run)?,
            State::Creating => drop(self.take_over_creation(run)?),
            State::Open if self.auto => self.try_complete(run)?,
            State::Open | State::Forgotten => {}
            State::Completing => drop(self.go_on(run)?),
            State::Completed => {
                if self.abort_strays(run)? {
                    self.due = None;
                }
            }
            State::Aborting(_) => self.finish_abort(run)?,
            State::Ended(_) => self.enter(State::Forgotten, None),
        }
        Ok(())
    }
}

fn failed(down: Down) -> Answer {
    match down {
        Down::Forbidden => (502, "storage-refused"),
        Down::Unavailable | Down::Lies => (503, "storage-unavailable"),
    }
}
