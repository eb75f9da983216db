//! S3 as the model knows it, for one upload: what it holds, and how it fails.

use super::reference::{Crashed, Run, Upload};

/// The bytes of a part: which of several the client sent, or an ETag that nothing sent has.
pub(super) type Bytes = u8;
/// What is recorded, or held, of each of the (at most two) parts.
pub(super) type Parts = [Option<Bytes>; 2];

/// The operations that can be made to fail, and at which the service can be made to die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    Create,
    Complete,
    Abort,
    Head,
    ListParts,
    ListUploads,
}

/// When S3 does what it was asked to, though nobody hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum When {
    Never,
    AtOnce,
    /// When the request has been given up already.
    Late,
}

/// How a call that must not be repeated fails: once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Upset {
    /// The connection is cut.
    Cut(When),
    /// 503, and nothing done.
    Unavailable,
    /// 200 with an error in it, and nothing done.
    ErrorIn200,
    /// 200 without the one thing that matters (id, ETag), and all done.
    Truncated200,
    /// 403.
    Forbidden,
    /// 404 `NoSuchUpload`, and all done.
    DeniedAfter,
    /// 412, and all done: our own first success stands in the way.
    ConditionAfter,
}

/// How a call that may be repeated fails: until it is healed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Down {
    Forbidden,
    Unavailable,
    /// Says that it is done, or that nothing is there, against the truth.
    Lies,
}

/// What is wrong with S3 at present, for one upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Faults {
    pub(super) create: Option<Upset>,
    pub(super) complete: Option<Upset>,
    pub(super) abort: Option<Down>,
    pub(super) head: Option<Down>,
    pub(super) list_parts: Option<Down>,
    pub(super) list_uploads: Option<Down>,
}

/// What stands at the upload's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Object {
    Ours(Parts),
    Foreign,
}

/// What S3 holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct S3 {
    /// The open multipart upload that the service knows, with its parts.
    pub(super) upload: Option<Parts>,
    /// Open ones whose creation got no answer.
    pub(super) strays: u8,
    pub(super) object: Option<Object>,
    /// What S3 is still at work on, though nobody waits for it any more.
    pub(super) late_creates: u8,
    pub(super) late_complete: Option<Parts>,
}

/// A call that changes something for good.
#[derive(Debug, Clone, Copy)]
enum Change {
    Create,
    Complete(Parts),
}

/// What S3 says to a call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Yes,
    BlamesParts,
    BlamesKey,
    NoSuchUpload,
    Forbidden,
    /// Nothing that one could rely on.
    Unclear,
}

impl S3 {
    fn create(&mut self) -> Said {
        self.strays += 1;
        Said::Yes
    }

    fn complete(&mut self, parts: Parts, is_empty: bool) -> Said {
        match (self.upload, self.object) {
            (None, Some(Object::Ours(_))) if !is_empty => return Said::Yes,
            (None, _) if !is_empty => return Said::NoSuchUpload,
            (Some(held), _) if held != parts => return Said::BlamesParts,
            (_, Some(_)) => return Said::BlamesKey,
            _ => {}
        }
        self.object = Some(Object::Ours(parts));
        self.upload = None;
        Said::Yes
    }

    /// What was still at work comes to its end.
    pub(super) fn land(&mut self, is_empty: bool, creates_too: bool) {
        if let Some(parts) = self.late_complete.take() {
            self.complete(parts, is_empty);
        }
        if creates_too {
            self.strays += std::mem::take(&mut self.late_creates);
        }
    }

    fn perform(&mut self, call: Change, is_empty: bool) {
        match call {
            Change::Create => self.create(),
            Change::Complete(parts) => self.complete(parts, is_empty),
        };
    }
}

/// The service's calls of S3.
impl Upload {
    pub(super) fn s3_create(&mut self, run: &mut Run) -> Result<Said, Crashed> {
        if let Some(when) = run.dies_at(Op::Create) {
            self.do_unheard(when, Change::Create);
            return Err(Crashed);
        }
        Ok(match self.faults.create.take() {
            None => self.s3.create(),
            Some(upset) => self.do_upset(upset, Change::Create),
        })
    }

    pub(super) fn s3_complete(&mut self, run: &mut Run) -> Result<Said, Crashed> {
        let parts = self.recorded;
        if let Some(when) = run.dies_at(Op::Complete) {
            self.do_unheard(when, Change::Complete(parts));
            return Err(Crashed);
        }
        Ok(match self.faults.complete.take() {
            None => self.s3.complete(parts, self.is_empty()),
            Some(upset) => self.do_upset(upset, Change::Complete(parts)),
        })
    }

    fn do_upset(&mut self, upset: Upset, call: Change) -> Said {
        match upset {
            Upset::Cut(when) => self.do_unheard(when, call),
            Upset::Unavailable | Upset::ErrorIn200 | Upset::Forbidden => {}
            Upset::Truncated200 | Upset::DeniedAfter | Upset::ConditionAfter => self.do_unheard(When::AtOnce, call),
        }
        match upset {
            Upset::Forbidden => Said::Forbidden,
            Upset::DeniedAfter => Said::NoSuchUpload,
            Upset::ConditionAfter => Said::BlamesKey,
            _ => Said::Unclear,
        }
    }

    fn do_unheard(&mut self, when: When, call: Change) {
        match when {
            When::Never => {}
            When::AtOnce => self.s3.perform(call, self.is_empty()),
            When::Late => match call {
                Change::Create => self.s3.late_creates += 1,
                Change::Complete(parts) => self.s3.late_complete = Some(parts),
            },
        }
    }

    /// Whether S3 says that it has aborted.
    pub(super) fn s3_abort(&mut self, run: &mut Run, stray: bool) -> Result<bool, Crashed> {
        let dies = run.dies_at(Op::Abort);
        let does = match dies {
            Some(when) => when == When::AtOnce,
            None => self.faults.abort.is_none(),
        };
        if does && stray {
            self.s3.strays -= 1;
        } else if does {
            self.s3.upload = None;
        }
        if dies.is_some() { Err(Crashed) } else { Ok(matches!(self.faults.abort, None | Some(Down::Lies))) }
    }

    /// What stands at the key; `Err` of the inner result when S3 will not tell.
    pub(super) fn s3_head(&self, run: &mut Run) -> Result<Result<Option<Object>, Down>, Crashed> {
        run.dies_at(Op::Head).map_or(Ok(()), |_| Err(Crashed))?;
        Ok(self.faults.head.map_or(Ok(self.s3.object), Err))
    }

    /// The parts of the upload that the service knows; `None` when S3 does not know it.
    pub(super) fn s3_list_parts(&self, run: &mut Run) -> Result<Result<Option<Parts>, Down>, Crashed> {
        run.dies_at(Op::ListParts).map_or(Ok(()), |_| Err(Crashed))?;
        Ok(match self.faults.list_parts {
            None => Ok(self.s3.upload),
            Some(Down::Lies) => Ok(None),
            Some(down) => Err(down),
        })
    }

    /// How many uploads of the key are open: those that the service knows, and those that it does not.
    pub(super) fn s3_list_uploads(&self, run: &mut Run) -> Result<Result<(u8, u8), Down>, Crashed> {
        run.dies_at(Op::ListUploads).map_or(Ok(()), |_| Err(Crashed))?;
        let open = (u8::from(self.s3.upload.is_some()), self.s3.strays);
        Ok(self.faults.list_uploads.map_or(Ok(open), Err))
    }
}
