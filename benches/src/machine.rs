//! The machine that a run was made on: without it no figure means anything.

use std::fs;
use std::process::Command;

/// What the report says of it, line by line.
pub fn describe(postgres: &str) -> Vec<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let gibibytes = memory.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / (1024.0 * 1024.0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        format!("{cores} cores of {}, {gibibytes:.0} GiB of memory", model.trim_start_matches([' ', '\t', ':'])),
        format!("Linux {}", first_line("uname", &["-r"])),
        first_line("rustc", &["--version"]),
        postgres.to_owned(),
        format!("Node {}", first_line("node", &["--version"])),
        first_line("python3", &["--version"]),
    ]
}

/// Of the last minute, five, and fifteen: how many others wanted the cores.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The first line that a program prints; empty if there is none.
pub fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}
