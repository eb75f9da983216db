//! What a URL costs, in instructions: unlike time they hardly change from run to run, so a change for the worse is noticed.

use std::process::Command;

/// Of one URL, built as the tests are: without optimization of our own code, and for a processor without instructions for
/// SHA-256, which Valgrind's is. Lower it when the signer gets better.
const MOST: u64 = 51_000;

/// Instructions of a run that signs so many URLs.
fn instructions(urls: u32) -> u64 {
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            env!("CARGO_BIN_EXE_instructions"),
            &urls.to_string(),
        ])
        .output()
        .expect("valgrind, which ./test installs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, number)| number.trim());
    collected.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{said}"))
}

#[test]
fn a_part_url_takes_no_more_instructions_than_it_did() {
    let each = (instructions(3_000) - instructions(1_000)) / 2_000;
    println!("{each} instructions for each URL");
    assert!(each <= MOST, "{each} instructions for each URL, more than {MOST}");
    assert!(each > MOST / 2, "{each} instructions for each URL: lower the bound, it guards nothing any more");
}
