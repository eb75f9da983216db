//! The one transition table. Memory checks, SQL guards, tests and documents all read it from here.
//!
//! ```text
//! creating ─► open ⇄ completing ─► completed ─► deleting ─► deleted
//!     └─────────┴─────────┴─► aborting ─► aborted | failed | completed
//! ```

use std::fmt;

/// Where an upload stands. Stored and sent as its lower-case name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// The row is written; S3 has not yet answered with an upload of its own.
    Creating,
    /// Parts may be signed, sent and recorded.
    Open,
    /// A completion is in flight, or its outcome is not proved yet.
    Completing,
    /// The object is there, proved to be ours.
    Completed,
    /// The object is being removed.
    Deleting,
    /// The object is gone.
    Deleted,
    /// The upload must go; S3 may still hold something of it.
    Aborting,
    /// Ended by request or by expiry; S3 holds nothing of it.
    Aborted,
    /// Ended by a fault; S3 holds nothing of it.
    Failed,
}

impl State {
    /// Every state, in the order of the picture above.
    pub const ALL: [State; 9] = [
        State::Creating,
        State::Open,
        State::Completing,
        State::Completed,
        State::Deleting,
        State::Deleted,
        State::Aborting,
        State::Aborted,
        State::Failed,
    ];

    /// The states that may follow this one.
    pub const fn successors(self) -> &'static [State] {
        match self {
            State::Creating => &[State::Open, State::Aborting],
            State::Open => &[State::Completing, State::Aborting],
            State::Completing => &[State::Open, State::Completed, State::Aborting],
            State::Completed => &[State::Deleting],
            State::Deleting => &[State::Deleted],
            State::Aborting => &[State::Aborted, State::Failed, State::Completed],
            State::Deleted | State::Aborted | State::Failed => &[],
        }
    }

    /// The states a row may be in for this one to be entered; feeds the SQL guard.
    pub fn predecessors(self) -> impl Iterator<Item = State> {
        State::ALL.into_iter().filter(move |state| state.successors().contains(&self))
    }

    /// The name in the database and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            State::Creating => "creating",
            State::Open => "open",
            State::Completing => "completing",
            State::Completed => "completed",
            State::Deleting => "deleting",
            State::Deleted => "deleted",
            State::Aborting => "aborting",
            State::Aborted => "aborted",
            State::Failed => "failed",
        }
    }

    /// The state of this name, if there is one.
    pub fn from_name(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn names_lead_back_to_their_states() {
        for state in State::ALL {
            assert_eq!(State::from_name(state.name()), Some(state));
        }
        assert_eq!(State::from_name("Open"), None);
    }

    #[test]
    fn ended_uploads_never_move_again() {
        for state in [State::Deleted, State::Aborted, State::Failed] {
            assert!(state.successors().is_empty());
        }
        assert_eq!(State::Completed.successors(), [State::Deleting], "a completed upload is only ever deleted");
    }

    #[test]
    fn every_state_is_reached_from_creating_and_every_state_can_end() {
        let mut reached = vec![State::Creating];
        let mut next = 0;
        while next < reached.len() {
            for state in reached[next].successors() {
                if !reached.contains(state) {
                    reached.push(*state);
                }
            }
            next += 1;
        }
        assert_eq!(reached.len(), State::ALL.len());
    }

    #[test]
    fn predecessors_mirror_successors() {
        for from in State::ALL {
            for to in State::ALL {
                assert_eq!(to.predecessors().any(|s| s == from), from.successors().contains(&to));
            }
        }
    }
}
