//! The boundaries between the ledger and S3, by name. At each of them the tests kill the process: `FAILPOINTS="name=return"`
//! does it the first time, `FAILPOINTS="name=3*off->return"` the fourth. Outside the tests' build nothing of it is left.

/// A boundary between the ledger and S3.
macro_rules! boundary {
    ($name:literal) => {
        fail::fail_point!($name, |_| crate::failpoint::kill())
    };
}
pub(crate) use boundary;

/// Ends the process as `kill -9` does: nothing is cleaned up, nobody is told.
#[doc(hidden)]
pub fn kill() -> ! {
    use rustix::process::{Signal, getpid, kill_process};
    let _ = kill_process(getpid(), Signal::KILL);
    std::process::abort()
}
