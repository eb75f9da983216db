//! Credentials, bucket, region, clock, owner: without these nothing else can be tried.

use std::time::Duration;

use chrono::SecondsFormat;

use super::{Doctor, Report, human};
use crate::bucket::{Fault, FoundCredentials};

/// URLs end this long before the credentials that signed them.
const MARGIN: Duration = Duration::from_secs(10);
const SKEW_THAT_IS_ODD: u64 = 60;
/// S3 itself refuses what was signed a quarter of an hour ago; before that come the URLs that have not begun.
const SKEW_THAT_HURTS: u64 = 5 * 60;

/// Codes by which S3 says that it knows the key pair not, or no longer.
const BAD_CREDENTIALS: [&str; 8] = [
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "InvalidClientTokenId",
    "ExpiredToken",
    "ExpiredTokenException",
    "TokenRefreshRequired",
    "Unauthorized",
];
/// Codes by which S3 says that the bucket lies elsewhere.
const ELSEWHERE: [&str; 4] =
    ["PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"];

impl Doctor {
    /// Whether the bucket can be talked to.
    pub(super) async fn reach(&self, report: &mut Report) -> bool {
        match self.probe.credentials().await {
            Ok(found) => {
                if !self.life(report, found) {
                    return false;
                }
            }
            Err(reason) => {
                let hint = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile, or run with a role.";
                report.fail("credentials", format!("none found: {reason}"), hint);
                return false;
            }
        }
        let key = self.probe.key("probe");
        let owner = self.settings.s3.expected_bucket_owner.as_deref();
        let answer = self.probe.list_uploads(&key, owner).await;
        self.compare_clocks(report);
        let bucket = self.probe.bucket().name();
        match answer {
            Ok(_) => {
                report.ok("bucket", format!("{bucket} answers, region {}", self.probe.region()));
                self.prove_owner(report, &key).await;
                true
            }
            // Whose bucket it is, is told before what one may do there.
            Err(fault) if fault.is_denial() && owner.is_some() && self.probe.list_uploads(&key, None).await.is_ok() => {
                report.ok("bucket", format!("{bucket} answers, region {}", self.probe.region()));
                report.fail(
                    "owner",
                    "the bucket belongs to another account",
                    "Look whose bucket that is before anything is sent there; then correct s3.expected_bucket_owner.",
                );
                false
            }
            Err(fault) if fault.is_denial() => {
                report.ok("bucket", format!("{bucket} answers, region {}", self.probe.region()));
                true
            }
            Err(fault) => {
                self.unreachable(report, bucket, &fault);
                false
            }
        }
    }

    fn unreachable(&self, report: &mut Report, bucket: &str, fault: &Fault) {
        let endpoint = self.settings.s3.endpoint.as_deref().unwrap_or("AWS");
        let region = match fault {
            Fault::Answered { region, status, code }
                if ELSEWHERE.contains(&code.as_str())
                    || [301, 307].contains(status)
                    || region.as_deref().is_some_and(|region| region != self.probe.region()) =>
            {
                Some(region.as_deref().filter(|region| *region != self.probe.region()))
            }
            _ => None,
        };
        let (seen, hint) = match fault {
            _ if BAD_CREDENTIALS.contains(&fault.code()) => {
                let hint = "Correct or renew the keys: access key and secret must belong together, and to this store.";
                report.fail("credentials", format!("found, but S3 refuses them: {}", fault.code()), hint);
                return;
            }
            _ if region == Some(None) => (
                format!("S3 does not take region {} ({fault})", self.probe.region()),
                "Set s3.region to the region that the bucket was made in.".to_owned(),
            ),
            _ if region.is_some() => {
                let right = region.flatten().unwrap_or_default();
                let seen = format!("{bucket} lies in region {right}, not in {}", self.probe.region());
                (seen, format!("Set s3.region = \"{right}\"."))
            }
            Fault::Silent(reason) => (
                format!("no answer from {endpoint}: {reason}"),
                "See that s3.endpoint is right, and that this machine reaches it.".to_owned(),
            ),
            _ if fault.code() == "NoSuchBucket" => (
                format!("there is no bucket {bucket} at {endpoint}"),
                "Make the bucket, or correct s3.bucket (and s3.endpoint, if the bucket is elsewhere).".to_owned(),
            ),
            _ if fault.code() == "RequestTimeTooSkewed" => {
                (fault.to_string(), "Set this machine's clock, by NTP if you can.".to_owned())
            }
            Fault::Answered { status: 500.., .. } => {
                (fault.to_string(), "S3 has trouble of its own: try again later.".to_owned())
            }
            Fault::Answered { .. } => (
                format!("{fault} at {endpoint}"),
                "See that s3.endpoint leads to an S3, and whether it wants s3.path_style = true.".to_owned(),
            ),
        };
        report.fail("bucket", seen, hint);
    }

    /// What the credentials are, and what that means for URLs. False when they are of no use.
    fn life(&self, report: &mut Report, found: FoundCredentials) -> bool {
        let wanted = self.settings.part_url_ttl;
        if !found.temporary {
            report.ok("credentials", "found; static, they do not end");
            report.ok("url-life", format!("part URLs live {}, as part_url_ttl says", human(wanted)));
            return true;
        }
        let renew = "Those of a role are renewed by themselves; session keys in the environment are not: use a role, or keys that last.";
        let Some(end) = found.expires_at else {
            report.ok("credentials", "found; temporary, their end is not known");
            report.warn("url-life", "part URLs die with the credentials, whatever part_url_ttl says", renew);
            return true;
        };
        let shown = end.to_rfc3339_opts(SecondsFormat::Secs, true);
        let left = (end - self.now()).to_std().unwrap_or_default().saturating_sub(MARGIN);
        if left.is_zero() {
            report.fail("credentials", format!("found; temporary, ended at {shown}"), "Renew them.");
            return false;
        }
        report.ok("credentials", format!("found; temporary, until {shown} (for {})", human(left)));
        if left < wanted {
            let seen = format!("part URLs of now live {}, not {} as part_url_ttl says", human(left), human(wanted));
            report.warn("url-life", seen, renew);
        } else if left < self.settings.max_upload_life() {
            let uploads = human(self.settings.max_upload_life());
            let seen = format!("part URLs live {}; uploads may live {uploads}, the credentials do not", human(wanted));
            report.warn("url-life", seen, renew);
        } else {
            report.ok("url-life", format!("part URLs live {}, as part_url_ttl says", human(wanted)));
        }
        true
    }

    fn compare_clocks(&self, report: &mut Report) {
        let Some((theirs, ago)) = self.probe.latest_date() else {
            if report.verdict("clock").is_none() {
                report.skip("clock", "S3 told no time", None);
            }
            return;
        };
        let ahead = (self.now() - theirs).num_milliseconds() - i64::try_from(ago.as_millis()).unwrap_or_default();
        let off = ahead.unsigned_abs().div_ceil(1_000);
        let side = if ahead < 0 { "behind" } else { "ahead of" };
        let seen = format!("this machine is {} {side} S3", human(Duration::from_secs(off)));
        let hint = "Set this machine's clock, by NTP if you can: URLs are signed with its time.";
        match off {
            SKEW_THAT_HURTS.. => report.fail("clock", seen, hint),
            SKEW_THAT_IS_ODD.. => report.warn("clock", seen, hint),
            // `Date` has whole seconds.
            0..=2 => report.ok("clock", "as S3's"),
            _ => report.ok("clock", seen),
        }
    }

    /// Whether a wrong owner would be noticed.
    async fn prove_owner(&self, report: &mut Report, key: &str) {
        let Some(owner) = self.settings.s3.expected_bucket_owner.as_deref() else {
            let hint = "Set it to your account's id where the store has accounts: it guards against a stranger's bucket of the same name.";
            report.skip("owner", "s3.expected_bucket_owner is not set", Some(hint));
            return;
        };
        let stranger = if owner == "000000000000" { "111111111111" } else { "000000000000" };
        match self.probe.list_uploads(key, Some(stranger)).await {
            Ok(_) => report.warn(
                "owner",
                "the store takes any owner, so s3.expected_bucket_owner guards nothing",
                "Remove the setting, so that nobody relies on it.",
            ),
            Err(fault) if fault.is_refusal() => report.ok("owner", format!("{owner}; another is refused")),
            Err(fault) => report.fault("owner", "ListMultipartUploads", &fault, "s3:ListBucketMultipartUploads"),
        }
    }
}
