//! Proves the bucket that is configured: does all that the service and its clients do, with throw-away uploads in a folder of
//! their own under the configured prefix, and says what is not as it should be.
//!
//! Safe beside a running service: no upload of anyone else is looked at, and all that was made is removed again.

mod advice;
mod capabilities;
mod client;
mod cors;
mod lifecycle;
mod reach;
mod report;
mod upload;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

pub use advice::{Lifecycle, Policy};
use client::Client;
pub use report::{Check, GROUPS, Report, Verdict};

use crate::bucket::{AbortRule, Bucket, Cors, Opened, PresignedUrl, Probe};
use crate::clock::Clock;
use crate::config::Settings;
use crate::upload::Algorithm;

/// What is uploaded; fixed, so that its checksums are known.
const BODY: &[u8] = b"partita doctor was here; it should have left nothing behind\n";
/// The CRC64NVME of [`BODY`], as S3 writes it.
const BODY_CRC64NVME: &str = "xe29UYcuM90=";

/// All checks together take no longer; each call has a limit of its own.
const LONGEST: Duration = Duration::from_secs(90);
const LONGEST_CLEANING: Duration = Duration::from_secs(60);
/// New CORS rules are seen within this time, or not at all.
const CORS_SETTLES_WITHIN: u32 = 10;

/// Examines one bucket.
#[derive(Debug)]
pub struct Doctor {
    probe: Probe,
    settings: Settings,
    clock: Clock,
    client: Client,
    /// The embedded S3 takes its CORS rule from the settings, when the service starts.
    embedded: bool,
    /// Whether the embedded S3 runs for this examination only.
    alone: bool,
    origins: Vec<String>,
}

/// Texts to paste.
#[derive(Debug)]
pub struct Advice {
    /// The least IAM policy; the embedded S3 has none.
    pub policy: Option<Policy>,
    /// The CORS rule for the origins that were tried.
    pub cors: Cors,
    /// The lifecycle rule.
    pub lifecycle: Lifecycle,
}

impl Doctor {
    /// For pages of these origins; when there are none, for those that the settings allow. `alone` says that the embedded S3
    /// runs without the service.
    ///
    /// # Errors
    /// In words, when no HTTPS can be spoken from here.
    pub fn new(bucket: &Bucket, settings: &Settings, origins: Vec<String>, alone: bool) -> Result<Doctor, String> {
        let id = Uuid::new_v4();
        let probe = bucket.probe(format!("{}partita-doctor/{id}/", settings.s3.prefix()), id.to_string());
        let embedded = settings.s3.bucket.is_none();
        let mut origins = if origins.is_empty() { settings.allowed_origins.clone() } else { origins };
        if origins.is_empty() && embedded && settings.listen.port() != 0 {
            origins.push(format!("http://{}", settings.listen));
        }
        let mut seen = std::collections::BTreeSet::new();
        origins.retain(|origin| seen.insert(origin.clone()));
        Ok(Doctor {
            probe,
            settings: settings.clone(),
            clock: Clock::default(),
            client: Client::new()?,
            embedded,
            alone,
            origins,
        })
    }

    /// Makes every check that can be made; none is missing from the report after [`Doctor::finish`]. False when it took too
    /// long.
    pub async fn examine(&self, report: &mut Report) -> bool {
        tokio::time::timeout(LONGEST, self.examine_all(report)).await.is_ok()
    }

    async fn examine_all(&self, report: &mut Report) {
        if !self.reach(report).await {
            return;
        }
        let proved = self.upload(report).await;
        if report.verdict("create") != Some(Verdict::Failed) {
            self.abort_one(report).await;
            self.capabilities(report, proved.as_ref()).await;
            self.cors(report).await;
        }
        self.lifecycle(report).await;
    }

    /// Puts the CORS rule and the lifecycle rule where the report says that they are wanting, and checks them again. Rules
    /// of others stay. Returns what was put: `cors`, `lifecycle`.
    pub async fn fix(&self, report: &mut Report) -> Vec<&'static str> {
        let mut fixed = Vec::new();
        if report.verdict("bucket") != Some(Verdict::Ok) {
            return fixed;
        }
        if self.put_cors(report).await {
            fixed.push("cors");
        }
        if self.put_lifecycle(report).await {
            fixed.push("lifecycle");
        }
        fixed
    }

    /// Removes all that was made, and completes the report. What was broken off, by time or by hand, is not right.
    pub async fn finish(&self, report: &mut Report, in_time: bool) {
        let left = match tokio::time::timeout(LONGEST_CLEANING, self.probe.clean()).await {
            Ok(left) => left,
            Err(_) => vec![format!("what lies under {} (cleaning up took too long)", self.probe.key(""))],
        };
        if left.is_empty() {
            report.ok("cleanup", "nothing is left behind");
        } else {
            let hint = "Remove it by hand, or leave the open uploads to the lifecycle rule.";
            report.fail("cleanup", format!("left behind: {}", left.join("; ")), hint);
        }
        report.finish(in_time);
    }

    /// What to paste, whatever was found.
    pub fn advice(&self, report: &Report) -> Advice {
        let versioned = report.checks().iter().any(|check| check.id == "versioning" && check.seen.starts_with("on"));
        let policy = || advice::policy(self.probe.bucket().name(), &self.settings, self.probe.region(), versioned);
        Advice {
            policy: (!self.embedded).then(policy),
            cors: advice::cors(&self.origins),
            lifecycle: advice::lifecycle(self.abort_rule()),
        }
    }

    fn abort_rule(&self) -> AbortRule {
        let days = advice::days(self.settings.max_upload_life());
        AbortRule { prefix: self.settings.s3.prefix().to_owned(), days }
    }

    fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The URL of a part, as clients get it.
    async fn part_url(
        &self,
        upload: &Opened,
        number: i32,
        checksum: Option<(Algorithm, &str)>,
    ) -> Result<PresignedUrl, String> {
        let life = TimeDelta::from_std(self.settings.part_url_ttl).unwrap_or(TimeDelta::minutes(15));
        self.part_url_of(upload, number, checksum, self.now(), life).await
    }

    /// The same as it would have been signed at this moment for this life.
    async fn part_url_of(
        &self,
        upload: &Opened,
        number: i32,
        checksum: Option<(Algorithm, &str)>,
        at: DateTime<Utc>,
        life: TimeDelta,
    ) -> Result<PresignedUrl, String> {
        let bucket = self.probe.bucket();
        let signer = bucket.signer(at, at + life, at).await.map_err(|error| error.to_string())?;
        let (algorithm, value) = checksum.unzip();
        Ok(signer.parts(&upload.key, &upload.s3_upload_id, algorithm).sign(number, BODY.len() as i64, value))
    }
}

/// `6 days`, `15 minutes`: the two largest units that count.
fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (name, size) in units {
        let count = rest / size;
        rest %= size;
        if count > 0 {
            words.push(format!("{count} {name}{}", if count == 1 { "" } else { "s" }));
        }
    }
    words.truncate(2);
    if words.is_empty() { "no time".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn the_checksum_of_the_probe_is_the_one_that_is_compared() {
        let checksum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc64Nvme, BODY);
        assert_eq!(STANDARD.encode(checksum.to_be_bytes()), BODY_CRC64NVME);
    }

    #[test]
    fn durations_read_as_people_say_them() {
        let table =
            [(0, "no time"), (1, "1 second"), (900, "15 minutes"), (518_400, "6 days"), (90_061, "1 day 1 hour")];
        for (seconds, words) in table {
            assert_eq!(human(Duration::from_secs(seconds)), words);
        }
    }
}
