//! Work in groups: what is asked while one group is at work makes up the next one. A statement, and a transaction with the
//! disk's confirmation above all, cost much the same for one question as for hundreds; so the more are in flight, the less
//! each of them costs. None waits for others to come, and each is answered by a statement that began after it was asked.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sea_orm::{ConnAcquireErr, DbErr};
use tokio::sync::oneshot;

use super::Error;

/// What a group weighs at most, unless one question alone weighs more.
const HEAVIEST: usize = 1_000;

/// Large groups are cheaper than many, so one is at work at a time; but once a question has waited for this long, a connection
/// that does not answer is not to hold up everybody.
const LATE: Duration = Duration::from_millis(100);
const MOST_AT_WORK: usize = 4;

/// How many turns of all tasks a group is held open for, as long as each brings more questions.
const MOST_TURNS: usize = 8;

type Outcome<A> = Result<A, Error>;
/// Where the answers of a group go.
type Answers<A> = Vec<oneshot::Sender<Outcome<A>>>;

/// Questions of one kind that wait for their group.
pub(super) struct Groups<Q, A> {
    waiting: Mutex<Waiting<Q, A>>,
}

struct Waiting<Q, A> {
    questions: VecDeque<Asked<Q, A>>,
    at_work: usize,
}

struct Asked<Q, A> {
    question: Q,
    weight: usize,
    asked_at: Instant,
    answer: oneshot::Sender<Outcome<A>>,
}

impl<Q, A> fmt::Debug for Groups<Q, A> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.lock();
        let (questions, at_work) = (waiting.questions.len(), waiting.at_work);
        formatter.debug_struct("Groups").field("questions", &questions).field("at_work", &at_work).finish()
    }
}

impl<Q: Send + 'static, A: Send + 'static> Groups<Q, A> {
    pub(super) fn new() -> Arc<Groups<Q, A>> {
        Arc::new(Groups { waiting: Mutex::new(Waiting { questions: VecDeque::new(), at_work: 0 }) })
    }

    /// Asks, and waits for the answer. `work` answers a group with what `means` gives it, each question in its place;
    /// whichever question finds that nobody is at work lends its own, for all that come meanwhile.
    pub(super) async fn ask<M, W, F>(self: &Arc<Self>, question: Q, weight: usize, means: M, work: W) -> Outcome<A>
    where
        M: Clone + Send + 'static,
        W: Fn(M, Vec<Q>) -> F + Send + 'static,
        F: Future<Output = Vec<Outcome<A>>> + Send,
    {
        let (answer, answered) = oneshot::channel();
        if self.push(Asked { question, weight, asked_at: Instant::now(), answer }) {
            // In a task of its own: who asked may go away, and with it what others wait for.
            let worker = Worker(self.clone());
            tokio::spawn(async move {
                loop {
                    worker.0.gather().await;
                    let Some((questions, answers)) = worker.0.next() else { break };
                    for (answer, outcome) in answers.into_iter().zip(work(means.clone(), questions).await) {
                        // Nobody may want it any more.
                        let _ = answer.send(outcome);
                    }
                }
            });
        }
        answered.await.unwrap_or_else(|_| Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed).into()))
    }

    /// Whether whoever asked is to see to the work: when nobody does, or when those who do are held up.
    fn push(&self, asked: Asked<Q, A>) -> bool {
        let mut waiting = self.lock();
        waiting.questions.push_back(asked);
        let is_late = waiting.questions.front().is_some_and(|first| first.asked_at.elapsed() > LATE);
        let is_wanted = waiting.at_work == 0 || (is_late && waiting.at_work < MOST_AT_WORK);
        waiting.at_work += usize::from(is_wanted);
        is_wanted
    }

    /// Lets whoever is about to ask, now that it was answered, ask before the next group is closed: until a turn of all tasks
    /// brings no question more.
    async fn gather(&self) {
        let mut known = None;
        for _ in 0..MOST_TURNS {
            tokio::task::yield_now().await;
            let count = self.lock().questions.len();
            if known.replace(count) == Some(count) {
                break;
            }
        }
    }

    /// The next group; `None` when nothing waits, and one fewer is at work.
    fn next(&self) -> Option<(Vec<Q>, Answers<A>)> {
        let mut waiting = self.lock();
        let mut weight = 0;
        let fits = |asked: &&Asked<Q, A>| {
            let is_first = weight == 0;
            weight += asked.weight.max(1);
            is_first || weight <= HEAVIEST
        };
        let count = waiting.questions.iter().take_while(fits).count();
        if count == 0 {
            waiting.at_work -= 1;
            return None;
        }
        Some(waiting.questions.drain(..count).map(|asked| (asked.question, asked.answer)).unzip())
    }
}

impl<Q, A> Groups<Q, A> {
    fn lock(&self) -> MutexGuard<'_, Waiting<Q, A>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever is at work. Should that end in a panic, the next question finds that nobody is.
struct Worker<Q, A>(Arc<Groups<Q, A>>);

impl<Q, A> Drop for Worker<Q, A> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().at_work -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    /// Answers each number with itself and the size of its group.
    async fn echo(_: (), numbers: Vec<u32>) -> Vec<Outcome<(u32, usize)>> {
        tokio::task::yield_now().await;
        let size = numbers.len();
        numbers.into_iter().map(|number| Ok((number, size))).collect()
    }

    #[tokio::test]
    async fn what_is_asked_meanwhile_makes_up_the_next_group() {
        let groups = Groups::new();
        let answers = join_all((0..2_500).map(|number| groups.ask(number, 1, (), echo))).await;
        let sizes: Vec<usize> = answers
            .into_iter()
            .zip(0..)
            .map(|(answer, expected)| {
                let (number, size) = answer.expect("an answer");
                assert_eq!(number, expected, "each has its own answer");
                size
            })
            .collect();
        assert_eq!(sizes.iter().max(), Some(&HEAVIEST));
        assert_eq!(groups.lock().at_work, 0);
    }

    #[tokio::test]
    async fn what_is_heavy_goes_by_itself() {
        let groups = Groups::new();
        let answers = join_all([1, 5 * HEAVIEST, 1, 1].map(|weight| groups.ask(7, weight, (), echo))).await;
        let sizes: Vec<usize> = answers.into_iter().map(|answer| answer.expect("an answer").1).collect();
        assert_eq!(sizes, [1, 1, 2, 2]);
    }

    #[tokio::test]
    async fn a_group_that_does_not_end_holds_up_nobody_for_long() {
        static AT_WORK: AtomicUsize = AtomicUsize::new(0);
        async fn hanging(_: (), numbers: Vec<u32>) -> Vec<Outcome<(u32, usize)>> {
            assert!(AT_WORK.fetch_add(1, Ordering::Relaxed) < MOST_AT_WORK);
            if numbers.contains(&0) {
                std::future::pending::<()>().await;
            }
            AT_WORK.fetch_sub(1, Ordering::Relaxed);
            echo((), numbers).await
        }
        let groups = Groups::new();
        let ask = |number| {
            let groups = groups.clone();
            tokio::spawn(async move { groups.ask(number, HEAVIEST, (), hanging).await })
        };
        let held = ask(0);
        tokio::task::yield_now().await;
        let waits = ask(1);
        tokio::time::sleep(2 * LATE).await;
        let late: Vec<_> = (2..100).map(ask).collect();
        waits.await.expect("no panic").expect("an answer, though the first has none");
        for answer in late {
            answer.await.expect("no panic").expect("an answer");
        }
        assert!(!held.is_finished());
    }

    #[tokio::test]
    async fn a_panic_takes_its_own_group_and_no_other() {
        async fn fragile(_: (), numbers: Vec<u32>) -> Vec<Outcome<(u32, usize)>> {
            assert!(!numbers.contains(&13), "a fault of ours");
            echo((), numbers).await
        }
        let groups = Groups::new();
        assert!(matches!(groups.ask(13, 1, (), fragile).await, Err(Error::Unavailable(_))));
        assert_eq!(groups.ask(14, 1, (), fragile).await.expect("an answer"), (14, 1));
    }
}
