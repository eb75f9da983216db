//! Signs as many part URLs as it is told and does nothing else: the instructions of one URL are what 3,000 take more than 1,000,
//! divided by 2,000, and they hardly change from run to run. Valgrind's processor has no instructions for SHA-256, so most of them
//! are the software's.
//!
//! ```sh
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/instructions 3000
//! ```

use benches::signers::{KEY, PART_SIZE, UPLOAD_ID, bucket, ours};

fn main() -> benches::Result<()> {
    let count = std::env::args().nth(1).ok_or("how many URLs?")?.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    // Room for all beforehand: how often a string grows does not go by the number of URLs.
    let mut urls = String::with_capacity(1_024 * 10_000);
    runtime.block_on(ours(&bucket(), KEY, UPLOAD_ID, PART_SIZE, count, &mut urls))?;
    std::hint::black_box(urls);
    Ok(())
}
