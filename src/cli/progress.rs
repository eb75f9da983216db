//! What happens on the way, on standard error: bars on a terminal, plain lines elsewhere, or JSON lines for programs.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ending::{tell, word};
use crate::client::{Error, Event, Watch};

/// Between two plain lines, and between two JSON lines of one file.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);
const JSON_PAUSE: Duration = Duration::from_secs(1);
/// Of a file's name on a bar.
const NAME_WIDTH: usize = 24;

/// How progress is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// Bars on a terminal, plain lines elsewhere
    Auto,
    /// A bar for each file, and one for all
    Bar,
    /// A line every five seconds
    Plain,
    /// One JSON object a line, for programs
    Json,
    /// Nothing but what goes wrong
    None,
}

/// What is told.
#[derive(Debug, Args)]
pub(super) struct Telling {
    /// How progress is told on standard error
    #[arg(long, value_name = "HOW", value_enum, default_value = "auto")]
    progress: Mode,
    /// Tell nothing but results and what goes wrong: as `--progress none`
    #[arg(short, long, conflicts_with = "progress")]
    quiet: bool,
}

impl Telling {
    pub(super) fn mode(&self) -> Mode {
        if self.quiet { Mode::None } else { self.progress }
    }
}

/// Tells of any number of files.
pub(super) struct Progress {
    mode: Mode,
    bars: MultiProgress,
    /// Of all files, where they are several.
    total: Option<ProgressBar>,
    state: Mutex<State>,
}

struct State {
    files: BTreeMap<usize, Arc<FileProgress>>,
    finished: usize,
    /// Bytes of files that are at their end, and how much of all that was there before.
    done: u64,
    held: u64,
    told_at: Instant,
    begun_at: Instant,
}

/// One file's.
pub(super) struct FileProgress {
    all: Arc<Progress>,
    index: usize,
    name: String,
    size: Option<u64>,
    bar: ProgressBar,
    moved: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    id: Option<Uuid>,
    told_at: Option<Instant>,
}

impl Progress {
    /// Of so many files, and bytes where they are known.
    pub(super) fn new(mode: Mode, files: usize, size: Option<u64>) -> Arc<Progress> {
        let mode = match mode {
            Mode::Auto if std::io::stderr().is_terminal() => Mode::Bar,
            Mode::Auto => Mode::Plain,
            mode => mode,
        };
        let bars = MultiProgress::new();
        let total = (mode == Mode::Bar && files > 1).then(|| bars.add(bar(size)));
        total.iter().for_each(|total| total.set_prefix(column(&format!("{files} files"))));
        let now = Instant::now();
        let state = State { files: BTreeMap::new(), finished: 0, done: 0, held: 0, told_at: now, begun_at: now };
        Arc::new(Progress { mode, bars, total, state: Mutex::new(state) })
    }

    /// A file is begun with.
    pub(super) fn file(self: &Arc<Self>, name: &str, size: Option<u64>) -> Arc<FileProgress> {
        let mut state = self.state();
        let index = state.finished + state.files.len();
        let bar = match (self.mode, &self.total) {
            (Mode::Bar, Some(total)) => self.bars.insert_before(total, bar(size)),
            (Mode::Bar, None) => self.bars.add(bar(size)),
            _ => ProgressBar::hidden(),
        };
        bar.set_prefix(column(name));
        let (moved, known) = (AtomicU64::new(0), Mutex::default());
        let file = FileProgress { all: self.clone(), index, name: name.to_owned(), size, bar, moved, known };
        let file = Arc::new(file);
        state.files.insert(index, file.clone());
        file
    }

    /// A line for people, which does not break the bars.
    pub(super) fn note(&self, text: &str) {
        match self.mode {
            Mode::Bar => self.bars.suspend(|| tell(text)),
            Mode::Plain => tell(text),
            Mode::Auto | Mode::Json | Mode::None => {}
        }
    }

    /// The same, whatever the mode; a program gets it as `json`.
    pub(super) fn warn(&self, text: &str, json: Value) {
        match self.mode {
            Mode::Json => emit(&json),
            Mode::None => tell(text),
            _ => self.note(text),
        }
    }

    /// A result, which does not break the bars.
    pub(super) fn above(&self, print: impl FnOnce()) {
        self.bars.suspend(print);
    }

    /// A call to the service is made again.
    pub(super) fn retry(&self, error: &Error, pause: Duration) {
        let json = json!({ "event": "retry", "code": error.code, "detail": error.message, "pauseSeconds": pause.as_secs_f64() });
        match self.mode {
            Mode::Json => emit(&json),
            _ => self.note(&again(error, pause)),
        }
    }

    /// No more is to come.
    pub(super) fn end(&self) {
        self.total.iter().for_each(ProgressBar::finish_and_clear);
    }

    /// Plain lines are told by whatever moves.
    fn tell_plainly(&self) {
        let mut state = self.state();
        if self.mode != Mode::Plain || state.told_at.elapsed() < PLAIN_PAUSE {
            return;
        }
        state.told_at = Instant::now();
        let moved: u64 = state.files.values().map(|file| file.moved.load(Ordering::Relaxed)).sum();
        let (now, sizes) = (state.done + moved, state.files.values().map(|file| file.size));
        let all: Option<u64> = sizes.sum::<Option<u64>>().map(|size| size + state.done);
        let speed = (now - state.held.min(now)) as f64 / state.begun_at.elapsed().as_secs_f64();
        let what = match state.files.values().next() {
            Some(file) if state.files.len() == 1 && state.finished == 0 => file.name.clone(),
            _ => format!("{} files at work, {} done", state.files.len(), state.finished),
        };
        drop(state);
        let speed_told = HumanBytes(speed as u64);
        match all.filter(|all| *all > 0) {
            Some(all) => {
                let left = Duration::from_secs_f64(((all - now.min(all)) as f64 / speed.max(1.0)).min(1e8));
                let (percent, left) = (100 * now.min(all) / all, HumanDuration(left));
                let (now, all) = (HumanBytes(now), HumanBytes(all));
                self.note(&format!("{what}: {percent} % ({now} of {all}), {speed_told}/s, {left} left"));
            }
            None => self.note(&format!("{what}: {}, {speed_told}/s", HumanBytes(now))),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FileProgress {
    /// The upload's id, once there is one.
    pub(super) fn id(&self) -> Option<Uuid> {
        self.known().id
    }

    /// It is at its end, good or bad; `event` says which to programs.
    pub(super) fn end(&self, mut event: Value) {
        self.bar.finish_and_clear();
        if self.all.mode == Mode::Json {
            event["path"] = json!(self.name);
            emit(&event);
        }
        let mut state = self.all.state();
        state.files.remove(&self.index);
        state.finished += 1;
        state.done += self.moved.load(Ordering::Relaxed);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self) {
        let moved = self.moved.load(Ordering::Relaxed);
        self.bar.set_position(moved);
        self.all.tell_plainly();
        if self.all.mode != Mode::Json {
            return;
        }
        let mut known = self.known();
        if known.told_at.is_none_or(|told_at| told_at.elapsed() >= JSON_PAUSE) {
            known.told_at = Some(Instant::now());
            let id = known.id;
            drop(known);
            emit(&json!({ "event": "progress", "path": self.name, "id": id, "bytes": moved, "size": self.size }));
        }
    }
}

impl Watch for FileProgress {
    fn tell(&self, event: Event<'_>) {
        match event {
            Event::Begun { id, is_resumed, held } => {
                *self.known() = Known { id: Some(id), told_at: None };
                self.moved.store(held, Ordering::Relaxed);
                self.all.state().held += held;
                self.all.total.iter().for_each(|total| total.inc(held));
                // What was there already tells nothing of the speed.
                self.bar.set_position(held);
                self.bar.reset_eta();
                if self.all.mode == Mode::Json {
                    let begun = json!({
                        "event": "begun", "path": self.name, "id": id, "size": self.size, "resumed": is_resumed, "heldBytes": held,
                    });
                    emit(&begun);
                }
                if is_resumed {
                    self.all.note(&format!("{}: going on with {id}, {} are there", self.name, HumanBytes(held)));
                }
            }
            Event::Moved(bytes) => {
                self.moved.fetch_add(bytes, Ordering::Relaxed);
                self.all.total.iter().for_each(|total| total.inc(bytes));
                self.moved();
            }
            Event::Lost(bytes) => {
                let less = |moved: u64| Some(moved.saturating_sub(bytes));
                let _ = self.moved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
                self.all.total.iter().for_each(|total| total.dec(bytes));
                self.moved();
            }
            Event::Retry { error, pause } => self.all.retry(error, pause),
            Event::Completing => self.bar.set_message("completing"),
        }
    }
}

fn again(error: &Error, pause: Duration) -> String {
    format!("{error}; trying again in {:.1} s", pause.as_secs_f64())
}

fn bar(size: Option<u64>) -> ProgressBar {
    let (bar, template) = match size {
        Some(size) => (
            ProgressBar::new(size),
            "{prefix} {bar:24.cyan/dim} {percent:>3} %  {bytes:>10} of {total_bytes}  {bytes_per_sec}  {eta} left {msg}",
        ),
        None => (ProgressBar::no_length(), "{prefix} {spinner}  {bytes:>10}  {bytes_per_sec} {msg}"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style.progress_chars("━━─")),
        Err(_) => bar,
    }
}

/// A name as wide as the others: of a long one, its end.
fn column(name: &str) -> String {
    let name = word(name);
    let length = name.chars().count();
    if length <= NAME_WIDTH {
        return format!("{name:NAME_WIDTH$}");
    }
    let end: String = name.chars().skip(length - NAME_WIDTH + 1).collect();
    format!("…{end}")
}

fn emit(event: &Value) {
    let _ = writeln!(std::io::stderr(), "{event}");
}
