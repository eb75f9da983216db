//! The bucket's last resort: that S3 drops open uploads which everybody forgot, and none that may still live.

use std::time::Duration;

use super::{Doctor, Report, Verdict, human};
use crate::bucket::{AbortRule, Fault};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const ID: &str = "lifecycle";

impl Doctor {
    pub(super) async fn lifecycle(&self, report: &mut Report) {
        let rules = match self.probe.abort_rules().await {
            Ok(rules) => rules,
            Err(fault) if fault.is_denial() => {
                let hint = "Allow s3:GetLifecycleConfiguration, or see for yourself that the rule below is there.";
                return report.warn(ID, "the bucket's lifecycle rules may not be read", hint);
            }
            Err(fault) if lacks_rules(&fault) => {
                return report.skip(ID, "this store keeps no lifecycle rules", None);
            }
            Err(fault) => {
                let hint = "See for yourself whether the bucket has the rule below.";
                return report.warn(ID, format!("the bucket's lifecycle rules: {fault}"), hint);
            }
        };
        judge(report, &rules, &self.abort_rule(), self.settings.max_upload_life());
    }

    /// Puts our rule where none is; whether it was put.
    pub(super) async fn put_lifecycle(&self, report: &mut Report) -> bool {
        if !matches!(report.verdict(ID), Some(Verdict::Warning | Verdict::Failed)) {
            return false;
        }
        if let Err(fault) = self.probe.put_abort_rule(&self.abort_rule()).await {
            let rights = "s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration";
            report.fault("lifecycle-fix", "the bucket's lifecycle rules", &fault, rights);
            return false;
        }
        self.lifecycle(report).await;
        true
    }
}

fn lacks_rules(fault: &Fault) -> bool {
    matches!(fault, Fault::Answered { status: 405 | 501, .. }) || fault.code() == "NotImplemented"
}

/// `life` is the longest that an upload may live, `ours` the rule that goes with it.
fn judge(report: &mut Report, rules: &[AbortRule], ours: &AbortRule, life: Duration) {
    let touches = |rule: &&AbortRule| rule.prefix.starts_with(&ours.prefix) || ours.prefix.starts_with(&rule.prefix);
    let covers = |rule: &&AbortRule| ours.prefix.starts_with(&rule.prefix);
    let days = |rule: &AbortRule| DAY * u32::try_from(rule.days).unwrap_or_default();
    let hasty = rules.iter().filter(touches).find(|rule| days(rule) < life);
    let within = |rule: &AbortRule| format!("S3 drops open uploads under {:?} after {} days", rule.prefix, rule.days);
    if let Some(rule) = hasty {
        let seen = format!("{}, but they may live {}", within(rule), human(life));
        let hint = format!("Set that rule to {} days at least, or upload_max_ttl to less.", ours.days);
        return report.fail(ID, seen, hint);
    }
    match rules.iter().filter(covers).min_by_key(|rule| rule.days) {
        Some(rule) if rule.days >= ours.days => report.ok(ID, within(rule)),
        Some(rule) => {
            let hint = format!("Give it {} days, so that none is dropped in its last hours.", ours.days);
            report.warn(ID, format!("{}, and they may live just as long", within(rule)), hint);
        }
        None => report.warn(
            ID,
            "no rule has S3 drop open uploads that everybody forgot",
            "Put the lifecycle rule below on the bucket, or run this again with --fix.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_right_when_it_covers_the_prefix_and_waits_long_enough() {
        let ours = AbortRule { prefix: "uploads/".into(), days: 7 };
        let rule = |prefix: &str, days| AbortRule { prefix: prefix.into(), days };
        let table = [
            (vec![], Verdict::Warning),
            (vec![rule("", 7)], Verdict::Ok),
            (vec![rule("uploads/", 8)], Verdict::Ok),
            (vec![rule("upl", 7)], Verdict::Ok),
            (vec![rule("uploads/", 6)], Verdict::Warning),
            (vec![rule("uploads/", 5)], Verdict::Failed),
            (vec![rule("uploads/", 7), rule("", 1)], Verdict::Failed),
            (vec![rule("uploads/", 7), rule("uploads/a", 1)], Verdict::Failed),
            (vec![rule("logs/", 1)], Verdict::Warning),
            (vec![rule("uploads/", 7), rule("logs/", 1)], Verdict::Ok),
            (vec![rule("uploads/a", 7)], Verdict::Warning),
        ];
        for (rules, verdict) in table {
            let mut report = Report::default();
            judge(&mut report, &rules, &ours, DAY * 6);
            assert_eq!(report.verdict(ID), Some(verdict), "{rules:?}");
        }
    }
}
