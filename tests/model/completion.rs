//! The procedures behind the answers: beginning an upload, bringing the ledger into line, completing with proof.

use super::reference::{
    Answer, Done, Ending, LEASE_OF_COMPLETION, LEASE_OF_CREATION, LONGEST_TRANSFER, MISSING, OK, Run, State, Time,
    Upload, failed,
};
use super::s3::{Down, Object, Said};

/// After an unclear outcome S3 may still be at work: nobody sends another completion for this long.
const QUIET: Time = 60;

impl Upload {
    pub(super) fn begin(&mut self, run: &mut Run) -> Done<Option<Answer>> {
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
        self.enter(State::Open, Some(self.expires));
        Ok(None)
    }

    fn adopt(&mut self) {
        self.s3.strays -= 1;
        self.s3.upload = Some([None; 2]);
        self.knows_id = true;
    }

    /// Its maker has died, or was not answered: S3 is asked before anything is begun again.
    pub(super) fn take_over_creation(&mut self, run: &mut Run) -> Done<Option<Answer>> {
        self.creations += 1;
        self.begun = run.now;
        self.hold(LEASE_OF_CREATION, run);
        if self.is_empty() {
            return self.begin(run);
        }
        match self.s3_list_uploads(run)? {
            Err(down) => return Ok(Some(failed(down))),
            Ok((_, 0)) => return self.begin(run),
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
        self.enter(State::Open, Some(self.expires));
        Ok(None)
    }

    // Parts.

    pub(super) fn has_all(&self) -> bool {
        self.recorded[..self.planned].iter().all(Option::is_some)
    }

    /// Brings the ledger into line with what S3 holds. Whether S3 knows the upload; if not, nothing is forgotten.
    pub(super) fn take_listing(&mut self, run: &mut Run) -> Done<Result<bool, Down>> {
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

    pub(super) fn send(&mut self, run: &mut Run) -> Done<Answer> {
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
    pub(super) fn resolve(&mut self, said: Option<Said>, run: &mut Run) -> Done<Answer> {
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
        self.enter(State::Open, Some(self.expires));
    }

    pub(super) fn completed(&mut self, run: &Run) {
        // Others of its key may be open at S3.
        let now = run.now + LONGEST_TRANSFER;
        let (earliest, latest) = self.urls_landed().unwrap_or_default();
        self.enter(State::Completed, (self.creations > 1).then_some((earliest.max(now), latest.max(now))));
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
    pub(super) fn go_on(&mut self, run: &mut Run) -> Done<Answer> {
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

    pub(super) fn complete_if_ready(&mut self, run: &mut Run) -> Done<()> {
        let waits = match self.state {
            State::Open => !self.is_expired(run),
            State::Completing => true,
            _ => false,
        };
        if self.auto && waits { self.try_complete(run) } else { Ok(()) }
    }

    /// S3 is asked at most once in two seconds.
    pub(super) fn try_complete(&mut self, run: &mut Run) -> Done<()> {
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
}
