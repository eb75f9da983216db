//! How an upload ends: given up, and proved to be gone; and what the sweeper does for it.

use super::reference::{Done, Ending, LONGEST_TRANSFER, Run, State, Time, Upload};
use super::s3::Object;

const LONGEST_BACK_OFF: Time = 15 * 60;
/// Who writes that it is given up goes on with it; the sweeper looks later.
const LOOK_PAUSE: Time = 60;
const READABLE: Time = 30 * 24 * 3_600;

impl Upload {
    pub(super) fn give_up(&mut self, ending: Ending, run: &mut Run) -> Done<()> {
        let due = run.now + LOOK_PAUSE;
        self.enter(State::Aborting(ending), Some((due, due)));
        self.finish_abort(run)
    }

    /// Ended only when S3 holds nothing of it and nothing can land any more; completed if it had been after all.
    pub(super) fn finish_abort(&mut self, run: &mut Run) -> Done<()> {
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
        let unanswered = may_have_strays && !(ending == Ending::CreateRefused && self.creations == 1);
        let begun = unanswered.then_some((self.begun + LONGEST_TRANSFER, self.begun + LONGEST_TRANSFER));
        match begun.max(self.urls_landed().filter(|_| self.knows_id)) {
            Some(quiet) if !run.passed(quiet.0, quiet.1) => {
                self.due = Some(quiet);
                self.tried = None;
            }
            _ => self.enter(State::Ended(ending), Some((run.now + READABLE, run.now + READABLE))),
        }
        Ok(())
    }

    /// Whether S3 is seen to hold none of its creations that nobody was told of.
    fn abort_strays(&mut self, run: &mut Run) -> Done<bool> {
        let Ok((known, strays)) = self.s3_list_uploads(run)? else { return Ok(false) };
        for stray in (0..known).map(|_| false).chain((0..strays).map(|_| true)) {
            if !self.s3_abort(run, stray)? {
                return Ok(false);
            }
        }
        // A 204 is no proof.
        Ok(known + strays == 0 || self.s3_list_uploads(run)? == Ok((0, 0)))
    }

    // The sweeper.

    /// What is due is done. What was tried in vain is put off for up to a quarter of an hour.
    pub(super) fn sweep(&mut self, run: &mut Run) -> Done<()> {
        for turn in 0..3 {
            let by_itself = self.auto && self.state == State::Open;
            let Some((earliest, latest)) = self.due else { return Ok(()) };
            let is_due = run.passed(earliest, latest) || (by_itself && run.choices.either());
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
