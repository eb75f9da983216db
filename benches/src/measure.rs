//! Figures and their noise; CPU time and memory of processes.

use std::collections::HashMap;
use std::fs;
use std::io;

use rustix::time::{ClockId, clock_gettime};

/// One figure, measured once in each round.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// Takes in the figure of one more round.
    pub fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// This figure divided by another, round by round: what disturbed a round disturbed both.
    pub fn over(&self, other: &Series) -> Series {
        Series(self.0.iter().zip(&other.0).map(|(this, that)| this / that).collect())
    }

    /// One divided by every figure.
    pub fn reciprocal(&self) -> Series {
        Series(self.0.iter().map(|figure| 1.0 / figure).collect())
    }

    /// Every figure times the factor.
    pub fn times(&self, factor: f64) -> Series {
        Series(self.0.iter().map(|figure| figure * factor).collect())
    }

    /// The one in the middle; not a number if there is none.
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            len if len % 2 == 1 => sorted[len / 2],
            len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
        }
    }

    /// The least.
    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::min)
    }

    /// The greatest.
    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NAN, f64::max)
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<T: IntoIterator<Item = f64>>(figures: T) -> Self {
        Series(figures.into_iter().collect())
    }
}

/// CPU seconds that this thread has had.
pub fn thread_cpu() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

/// CPU seconds that this process has had: in the harness, what making load costs.
pub fn own_cpu() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The CPU time that the threads of some processes have had, by the scheduler's own account, in nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Cpu(HashMap<u32, u64>);

impl Cpu {
    /// Of all threads that these processes have now.
    ///
    /// # Errors
    /// When the kernel keeps no such account.
    pub fn of(processes: &[u32]) -> io::Result<Cpu> {
        let mut threads = HashMap::new();
        for process in processes {
            let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for task in tasks {
                let task = task?;
                let Some(id) = task.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                // It may have ended since it was listed.
                let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
                let time = text.split(' ').next().and_then(|time| time.parse().ok());
                threads.insert(id, time.ok_or_else(|| io::Error::other("schedstat without a time"))?);
            }
        }
        Ok(Cpu(threads))
    }

    /// Seconds since `before`. A thread that ended in between is not counted: those that do have been idle for long.
    pub fn since(&self, before: &Cpu) -> f64 {
        let spent = self.0.iter().map(|(thread, time)| time.saturating_sub(before.0.get(thread).copied().unwrap_or(0)));
        spent.sum::<u64>() as f64 * 1e-9
    }
}

/// The children of a process.
pub fn children_of(process: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Bytes of memory that are resident now.
///
/// # Errors
/// When the process has ended.
pub fn resident(process: u32) -> io::Result<f64> {
    status(process, "VmRSS:")
}

/// The most bytes of memory that were resident at once since the start, or since [`forget_peak`].
///
/// # Errors
/// When the process has ended.
pub fn peak_resident(process: u32) -> io::Result<f64> {
    status(process, "VmHWM:")
}

/// Lets [`peak_resident`] begin anew.
///
/// # Errors
/// When the process has ended, or is another user's.
pub fn forget_peak(process: u32) -> io::Result<()> {
    fs::write(format!("/proc/{process}/clear_refs"), "5")
}

fn status(process: u32, name: &str) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.map(|kilobytes| kilobytes * 1024.0).ok_or_else(|| io::Error::other(format!("no {name} in its status")))
}
