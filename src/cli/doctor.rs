//! `partita doctor`: is my bucket right? Exit code 0 when nothing failed.

use std::error::Error;
use std::fmt::Write as _;
use std::io::Write;

use clap::Args;
use serde::Serialize;

use crate::app;
use crate::bucket::Cors;
use crate::config::{self, Settings, is_origin};
use crate::doctor::{Advice, Check, Doctor, GROUPS, Lifecycle, Policy, Report, Verdict};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Origin of a page that is to upload; may be given again [default: setting allowed_origins]
    #[arg(long = "origin", value_name = "ORIGIN", value_parser = origin)]
    origins: Vec<String>,
    /// Put the CORS rule and the lifecycle rule on the bucket where they are wanting; rules of others stay
    #[arg(long)]
    fix: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn origin(text: &str) -> Result<String, String> {
    if is_origin(text) {
        Ok(text.to_owned())
    } else {
        Err("an exact origin such as https://app.example.com".to_owned())
    }
}

/// What is told without words: the report says which check failed.
#[derive(Debug, thiserror::Error)]
#[error("the bucket is not right: {0} failed")]
struct NotRight(String);

#[derive(Serialize)]
struct Document<'a> {
    ok: bool,
    checks: &'a [Check],
    policy: &'a Option<Policy>,
    cors: &'a Cors,
    lifecycle: &'a Lifecycle,
    fixed: &'a [&'static str],
}

pub(super) async fn run(
    load: impl FnOnce(&[(&str, String)]) -> Result<Settings, config::Error>,
    flags: Flags,
) -> Result<(), Box<dyn Error>> {
    let settings = load(&[])?;
    let (bucket, embedded) = app::open_bucket(&settings).await?;
    let doctor = Doctor::new(&bucket, &settings, flags.origins, embedded.is_some())?;
    let (report, fixed) = examine(&doctor, flags.fix).await;
    if let Some(embedded) = embedded {
        embedded.stop().await;
    }
    let advice = doctor.advice(&report);
    let text = if flags.json {
        let Advice { policy, cors, lifecycle } = &advice;
        let checks = report.checks();
        let document = Document { ok: report.is_ok(), checks, policy, cors, lifecycle, fixed: &fixed };
        format!("{}\n", serde_json::to_string_pretty(&document)?)
    } else {
        let place = format!("{} at {}, under {:?}", bucket.name(), bucket.public_origin(), settings.s3.prefix());
        format!("\n  Bucket {place}\n{}{}", checks(&report), texts(&advice, &fixed)?)
    };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    if report.is_ok() {
        return Ok(());
    }
    let failed = report.checks().iter().filter(|check| check.verdict == Verdict::Failed);
    let mut ids: Vec<_> = failed.map(|check| check.id).collect();
    ids.dedup();
    Err(NotRight(ids.join(", ")).into())
}

/// Whatever happens on the way, Ctrl-C too, what was made is removed.
async fn examine(doctor: &Doctor, fix: bool) -> (Report, Vec<&'static str>) {
    let mut report = Report::default();
    let mut fixed = Vec::new();
    let work = async {
        let in_time = doctor.examine(&mut report).await;
        if fix {
            fixed = doctor.fix(&mut report).await;
        }
        in_time
    };
    let in_time = tokio::select! {
        in_time = work => in_time,
        _ = tokio::signal::ctrl_c() => false,
    };
    doctor.finish(&mut report, in_time).await;
    (report, fixed)
}

fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "✓ ok     ",
        Verdict::Warning => "! warning",
        Verdict::Failed => "✗ failed ",
        Verdict::Skipped => "· skipped",
    }
}

fn checks(report: &Report) -> String {
    let mut text = String::new();
    let width = GROUPS.iter().flat_map(|(_, ids)| ids.iter()).map(|id| id.len()).max().unwrap_or_default();
    for (heading, ids) in GROUPS {
        let _ = writeln!(text, "\n  {heading}");
        let mut untold: Vec<&Check> = report.checks().iter().filter(|check| ids.contains(&check.id)).collect();
        while let Some(check) = untold.first().copied() {
            // Those that were skipped for one reason share a line.
            let alike =
                |other: &&Check| (check.verdict, &check.seen, &check.hint) == (other.verdict, &other.seen, &other.hint);
            let same: Vec<&Check> = untold.iter().copied().filter(alike).collect();
            if check.verdict == Verdict::Skipped && same.len() > 1 {
                let names = same.iter().map(|check| check.id).collect::<Vec<_>>().join(", ");
                let _ = writeln!(text, "  {}  {names}: {}", sign(check.verdict), check.seen);
                untold.retain(|check| !alike(check));
            } else {
                let _ = writeln!(text, "  {}  {:width$}  {}", sign(check.verdict), check.id, check.seen);
                untold.remove(0);
            }
            if let Some(hint) = &check.hint {
                let _ = writeln!(text, "{:13}→ {hint}", "");
            }
        }
    }
    let count = |verdict| report.checks().iter().filter(|check| check.verdict == verdict).count();
    let [ok, warnings, failed, skipped] = [Verdict::Ok, Verdict::Warning, Verdict::Failed, Verdict::Skipped].map(count);
    let s = if warnings == 1 { "" } else { "s" };
    let _ = writeln!(text, "\n  {ok} ok, {warnings} warning{s}, {failed} failed, {skipped} skipped");
    text
}

fn texts(advice: &Advice, fixed: &[&'static str]) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    if !fixed.is_empty() {
        let _ = writeln!(text, "  Put on the bucket: {}. Rules of others were kept.", fixed.join(", "));
    }
    if let Some(policy) = &advice.policy {
        let _ = writeln!(text, "\n  The least IAM policy\n\n{}", serde_json::to_string_pretty(policy)?);
    }
    let rules = [&advice.cors];
    let _ = writeln!(text, "\n  The bucket's CORS rule\n\n{}", serde_json::to_string_pretty(&rules)?);
    let _ = writeln!(text, "\n  The bucket's lifecycle rule\n\n{}\n", serde_json::to_string_pretty(&advice.lifecycle)?);
    Ok(text)
}
