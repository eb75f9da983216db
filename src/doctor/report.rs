//! What was found: one check, one verdict, one sentence what to do.

use serde::Serialize;

use crate::bucket::Fault;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Uploads work, but not all that might be expected of them.
    Warning,
    /// Uploads would fail, or a promise would be broken.
    Failed,
    /// Not tried.
    Skipped,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its stable name, out of [`GROUPS`].
    pub id: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen.
    pub seen: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The page's origin that was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

/// Every check in the order of the report, under the heading that it stands under.
pub const GROUPS: [(&str, &[&str]); 6] = [
    ("Reaching the bucket", &["credentials", "bucket", "clock", "owner"]),
    (
        "Each right, by using it",
        &[
            "create",
            "list-uploads",
            "upload-part",
            "list-parts",
            "complete",
            "complete-again",
            "head",
            "head-missing",
            "get",
            "abort",
            "delete",
        ],
    ),
    (
        "URLs for clients",
        &["public-endpoint", "url-life", "part-length", "part-checksum", "unsigned-header", "expired-url"],
    ),
    ("What the store can do", &["conditional-completion", "object-size-check", "full-object-checksum", "versioning"]),
    ("Pages in browsers", &["cors-preflight", "cors-part", "cors-fix"]),
    ("Housekeeping", &["lifecycle", "lifecycle-fix", "cleanup"]),
];

/// Checks that stand in the report only when they have something to say.
const OCCASIONAL: [&str; 2] = ["cors-fix", "lifecycle-fix"];

/// Checks without which others cannot be made, in the order in which they are made.
const BLOCKING: [&str; 8] =
    ["credentials", "bucket", "owner", "create", "public-endpoint", "upload-part", "complete", "head"];

/// All checks so far.
#[derive(Debug, Default)]
pub struct Report {
    checks: Vec<Check>,
}

impl Report {
    /// The checks; in the order of [`GROUPS`] once the report is finished.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Whether nothing failed.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Failed)
    }

    /// The verdict of the first check of this name.
    pub fn verdict(&self, id: &str) -> Option<Verdict> {
        self.checks.iter().find(|check| check.id == id).map(|check| check.verdict)
    }

    /// Adds a check; one of the same name (and origin) is replaced.
    pub(super) fn add(&mut self, check: Check) {
        self.checks.retain(|old| old.id != check.id || old.origin != check.origin);
        self.checks.push(check);
    }

    pub(super) fn ok(&mut self, id: &'static str, seen: impl Into<String>) {
        self.add(Check { id, verdict: Verdict::Ok, seen: seen.into(), hint: None, origin: None });
    }

    pub(super) fn hint(&mut self, id: &'static str, seen: impl Into<String>, hint: impl Into<String>) {
        self.add(Check { id, verdict: Verdict::Ok, seen: seen.into(), hint: Some(hint.into()), origin: None });
    }

    pub(super) fn warn(&mut self, id: &'static str, seen: impl Into<String>, hint: impl Into<String>) {
        self.add(Check { id, verdict: Verdict::Warning, seen: seen.into(), hint: Some(hint.into()), origin: None });
    }

    pub(super) fn fail(&mut self, id: &'static str, seen: impl Into<String>, hint: impl Into<String>) {
        self.add(Check { id, verdict: Verdict::Failed, seen: seen.into(), hint: Some(hint.into()), origin: None });
    }

    pub(super) fn skip(&mut self, id: &'static str, seen: impl Into<String>, hint: Option<&str>) {
        let hint = hint.map(str::to_owned);
        self.add(Check { id, verdict: Verdict::Skipped, seen: seen.into(), hint, origin: None });
    }

    /// A call that needs this right did not do what it should.
    pub(super) fn fault(&mut self, id: &'static str, call: &str, fault: &Fault, right: &str) {
        let hint = if fault.is_denial() {
            format!("Allow {right} to these credentials; the policy below holds all that is needed.")
        } else {
            match fault {
                Fault::Silent(_) => "Try again; if it stays so, look at the store and the network between.".to_owned(),
                Fault::Answered { status: 500.., .. } => {
                    "Try again later; if it stays so, the store's own log says more.".to_owned()
                }
                Fault::Answered { .. } => format!("Partita needs {call}; look up this answer in the store's manual."),
            }
        };
        self.fail(id, format!("{call}: {fault}"), hint);
    }

    /// Adds what was not tried, and brings all into order.
    pub(super) fn finish(&mut self, in_time: bool) {
        let order: Vec<&'static str> = GROUPS.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        let failed = |id: &&&str| self.verdict(id) == Some(Verdict::Failed);
        let blocking = BLOCKING.iter().find(failed);
        let reason = match blocking {
            Some(id) => format!("not tried, because {id} failed"),
            None if !in_time => "not tried".to_owned(),
            None => "not tried, because an earlier check failed".to_owned(),
        };
        let untried = order.iter().filter(|id| !OCCASIONAL.contains(id) && self.verdict(id).is_none());
        for (place, id) in untried.copied().collect::<Vec<_>>().into_iter().enumerate() {
            if place == 0 && !in_time {
                self.fail(id, "broken off here, by hand or because it took too long", "Run it again.");
            } else {
                self.skip(id, reason.clone(), None);
            }
        }
        self.checks.sort_by_key(|check| order.iter().position(|id| *id == check.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_tried_names_the_check_that_stood_in_the_way() {
        let mut report = Report::default();
        report.ok("credentials", "");
        report.fail("bucket", "", "");
        report.finish(true);
        assert!(!report.is_ok());
        let known = GROUPS.iter().map(|(_, ids)| ids.len()).sum::<usize>() - OCCASIONAL.len();
        assert_eq!(report.checks().len(), known);
        let first: Vec<_> = report.checks()[..3].iter().map(|check| check.id).collect();
        assert_eq!(first, ["credentials", "bucket", "clock"]);
        let skipped = report.checks().iter().filter(|check| check.verdict == Verdict::Skipped);
        assert!(skipped.clone().count() == known - 2);
        assert!(skipped.clone().all(|check| check.seen.contains("because bucket failed")));
    }

    #[test]
    fn what_was_broken_off_is_not_right() {
        let mut report = Report::default();
        report.ok("credentials", "");
        report.finish(false);
        assert_eq!(report.verdict("bucket"), Some(Verdict::Failed));
        assert_eq!(report.verdict("clock"), Some(Verdict::Skipped));
    }

    #[test]
    fn a_later_verdict_on_the_same_check_replaces_the_earlier() {
        let mut report = Report::default();
        report.fail("lifecycle", "", "");
        report.ok("lifecycle", "");
        assert!(report.is_ok() && report.checks().len() == 1);
    }

    #[test]
    fn every_blocking_and_occasional_check_stands_in_a_group() {
        for id in BLOCKING.iter().chain(&OCCASIONAL) {
            assert!(GROUPS.iter().any(|(_, ids)| ids.contains(id)), "{id}");
        }
    }
}
