//! What is measured: a file for each claim.

mod batch;
mod calls;
mod client;
mod growth;
mod knee;
mod one_url;
mod record_batch;
mod record_one;
mod sign;
mod start;

use crate::Result;
use crate::bench::Bench;
use crate::measure::Series;
use crate::report::{Goal, Line, Section, mebibytes};
use crate::service::Service;

/// Every section, in the order of the report.
pub const NAMES: [&str; 10] =
    ["sign", "batch", "one-url", "record-one", "record-batch", "calls", "client", "growth", "start", "knee"];

/// Measures the section of this name.
///
/// # Errors
/// When there is no such section, or something in it failed.
pub async fn measure(bench: &Bench, name: &str) -> Result<Section> {
    match name {
        "sign" => sign::measure(bench).await,
        "batch" => batch::measure(bench).await,
        "one-url" => one_url::measure(bench).await,
        "record-one" => record_one::measure(bench).await,
        "record-batch" => record_batch::measure(bench).await,
        "calls" => Ok(calls::section()),
        "client" => client::measure(bench).await,
        "growth" => growth::measure(bench).await,
        "start" => start::measure(bench).await,
        "knee" => knee::measure(bench).await,
        _ => Err(format!("no section {name}: there are {}", NAMES.join(", ")).into()),
    }
}

/// What every load may take at the most.
fn peak_line(what: &str, service: &Service) -> Result<Line> {
    let peak = Series::from_iter([service.peak()?]);
    Ok(Line {
        what: format!("peak memory of the service, {what}"),
        goal: Goal::AtMost(150.0),
        ratio: peak.times(1.0 / f64::from(1 << 20)),
        unit: " MiB",
        ours: mebibytes(&peak),
        beside: "–".into(),
        by: "VmHWM at the end",
    })
}
