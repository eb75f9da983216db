//! Every way in which something may go, where the model leaves open which.

/// The choices made on one way through a procedure, and the time by which it judges.
pub(super) struct Choices {
    made: Vec<bool>,
    next: usize,
}

impl Choices {
    /// Goes one way first, the other way on another run.
    pub(super) fn either(&mut self) -> bool {
        if self.next == self.made.len() {
            self.made.push(true);
        }
        self.next += 1;
        self.made[self.next - 1]
    }

    /// What comes of every way through `procedure`.
    pub(super) fn all<T>(mut procedure: impl FnMut(&mut Choices) -> T) -> Vec<T> {
        let mut outcomes = Vec::new();
        let mut choices = Choices { made: Vec::new(), next: 0 };
        loop {
            choices.next = 0;
            outcomes.push(procedure(&mut choices));
            while choices.made.last() == Some(&false) {
                choices.made.pop();
            }
            match choices.made.last_mut() {
                Some(last) => *last = false,
                None => return outcomes,
            }
        }
    }
}
