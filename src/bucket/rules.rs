//! The bucket's own rules, CORS and lifecycle: read, and written so that those of others stay as they are.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, CorsConfiguration, CorsRule, ExpirationStatus,
    LifecycleRule, LifecycleRuleFilter,
};
use serde::Serialize;

use super::Fault;
use super::probe::Probe;

/// The ID of the rules that are ours.
pub const RULE_ID: &str = "partita";

/// A CORS rule, as S3's own JSON has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Cors {
    /// Names the rule, so that it can be found again.
    #[serde(rename = "ID")]
    pub id: &'static str,
    /// Origins of pages.
    pub allowed_origins: Vec<String>,
    /// Methods that those pages may use.
    pub allowed_methods: Vec<&'static str>,
    /// Headers that they may send.
    pub allowed_headers: Vec<&'static str>,
    /// Headers of the answer that they may read.
    pub expose_headers: Vec<&'static str>,
    /// For how long a browser may remember.
    pub max_age_seconds: i32,
}

/// A lifecycle rule that has a word on uploads that were never completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortRule {
    /// Keys that it is about.
    pub prefix: String,
    /// Days after the creation at which S3 drops the upload.
    pub days: i32,
}

impl Probe {
    /// Puts this rule first, for the first that fits a request decides; replaces what was ours, keeps what was not.
    ///
    /// # Errors
    /// S3's answer; then nothing has changed.
    pub async fn put_cors(&self, ours: &Cors) -> Result<(), Fault> {
        let request = self.client.get_bucket_cors().bucket(&self.bucket.name);
        let present = request.set_expected_bucket_owner(self.bucket.expected_owner.clone()).send().await;
        let present = match present.map_err(Fault::from) {
            Ok(present) => present.cors_rules().to_vec(),
            Err(fault) if fault.code() == "NoSuchCORSConfiguration" => Vec::new(),
            Err(fault) => return Err(fault),
        };
        let rules = merge_cors(cors_rule(ours)?, present);
        let configuration = CorsConfiguration::builder().set_cors_rules(Some(rules)).build().map_err(unbuilt)?;
        let request = self.client.put_bucket_cors().bucket(&self.bucket.name).cors_configuration(configuration);
        request.set_expected_bucket_owner(self.bucket.expected_owner.clone()).send().await?;
        Ok(())
    }

    /// The enabled lifecycle rules that drop open uploads of every size.
    ///
    /// # Errors
    /// S3's answer.
    pub async fn abort_rules(&self) -> Result<Vec<AbortRule>, Fault> {
        Ok(self.lifecycle().await?.0.iter().filter_map(abort_rule).collect())
    }

    /// Has S3 drop uploads under this prefix that are still open after so many days; replaces what was ours, keeps what was
    /// not.
    ///
    /// # Errors
    /// S3's answer; then nothing has changed.
    pub async fn put_abort_rule(&self, ours: &AbortRule) -> Result<(), Fault> {
        let (present, smallest_to_move) = self.lifecycle().await?;
        let rules = merge_lifecycle(lifecycle_rule(ours)?, present);
        let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().map_err(unbuilt)?;
        self.client
            .put_bucket_lifecycle_configuration()
            .bucket(&self.bucket.name)
            .lifecycle_configuration(configuration)
            .set_transition_default_minimum_object_size(smallest_to_move)
            .set_expected_bucket_owner(self.bucket.expected_owner.clone())
            .send()
            .await?;
        Ok(())
    }

    /// All rules, and what S3 keeps beside them, which a put would reset.
    async fn lifecycle(
        &self,
    ) -> Result<(Vec<LifecycleRule>, Option<aws_sdk_s3::types::TransitionDefaultMinimumObjectSize>), Fault> {
        let request = self.client.get_bucket_lifecycle_configuration().bucket(&self.bucket.name);
        let present = request.set_expected_bucket_owner(self.bucket.expected_owner.clone()).send().await;
        match present.map_err(Fault::from) {
            Ok(present) => Ok((present.rules().to_vec(), present.transition_default_minimum_object_size().cloned())),
            Err(fault) if fault.code() == "NoSuchLifecycleConfiguration" => Ok((Vec::new(), None)),
            Err(fault) => Err(fault),
        }
    }
}

fn unbuilt(error: aws_sdk_s3::error::BuildError) -> Fault {
    Fault::Silent(error.to_string())
}

fn texts(texts: &[&'static str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn cors_rule(rule: &Cors) -> Result<CorsRule, Fault> {
    CorsRule::builder()
        .id(rule.id)
        .set_allowed_origins(Some(rule.allowed_origins.clone()))
        .set_allowed_methods(Some(texts(&rule.allowed_methods)))
        .set_allowed_headers(Some(texts(&rule.allowed_headers)))
        .set_expose_headers(Some(texts(&rule.expose_headers)))
        .max_age_seconds(rule.max_age_seconds)
        .build()
        .map_err(unbuilt)
}

fn lifecycle_rule(rule: &AbortRule) -> Result<LifecycleRule, Fault> {
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(rule.days).build();
    LifecycleRule::builder()
        .id(RULE_ID)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(&rule.prefix).build())
        .abort_incomplete_multipart_upload(abort)
        .build()
        .map_err(unbuilt)
}

/// Origins that our rule had are kept: whoever tries another page must not lock out those that are at work.
fn merge_cors(mut ours: CorsRule, present: Vec<CorsRule>) -> Vec<CorsRule> {
    // Some stores keep no IDs; there a rule of ours is known by being the same.
    let is_ours = |rule: &CorsRule| {
        let mut named = rule.clone();
        named.id.clone_from(&ours.id);
        rule.id.as_deref() == Some(RULE_ID) || (rule.id.is_none() && named == ours)
    };
    let (had, others): (Vec<_>, Vec<_>) = present.into_iter().partition(is_ours);
    for origin in had.into_iter().flat_map(|rule| rule.allowed_origins) {
        if !ours.allowed_origins.contains(&origin) {
            ours.allowed_origins.push(origin);
        }
    }
    std::iter::once(ours).chain(others).collect()
}

fn merge_lifecycle(ours: LifecycleRule, present: Vec<LifecycleRule>) -> Vec<LifecycleRule> {
    let mut rules = present;
    rules.retain(|rule| rule.id() != Some(RULE_ID));
    rules.push(ours);
    rules
}

fn abort_rule(rule: &LifecycleRule) -> Option<AbortRule> {
    #[expect(deprecated, reason = "rules written long ago have their prefix there")]
    let old_prefix = rule.prefix.as_deref();
    let days = rule.abort_incomplete_multipart_upload()?.days_after_initiation()?;
    let narrow = rule.filter().is_some_and(|filter| {
        filter.and().is_some()
            || filter.tag().is_some()
            || filter.object_size_greater_than().is_some()
            || filter.object_size_less_than().is_some()
    });
    let prefix = rule.filter().and_then(|filter| filter.prefix()).or(old_prefix).unwrap_or_default();
    let enabled = rule.status() == &ExpirationStatus::Enabled;
    (enabled && !narrow).then(|| AbortRule { prefix: prefix.to_owned(), days })
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleExpiration, Tag};

    use super::*;

    fn ours() -> CorsRule {
        let rule = Cors {
            id: RULE_ID,
            allowed_origins: vec!["https://app.example".into()],
            allowed_methods: vec!["PUT"],
            allowed_headers: vec!["content-type"],
            expose_headers: vec!["ETag"],
            max_age_seconds: 3600,
        };
        cors_rule(&rule).expect("a rule")
    }

    fn other(id: Option<&str>) -> CorsRule {
        let rule = CorsRule::builder().allowed_origins("*").allowed_methods("GET").set_id(id.map(str::to_owned));
        rule.build().expect("a rule")
    }

    #[test]
    fn our_cors_rule_comes_first_and_the_rules_of_others_stay() {
        let named = |id: &str| Some(id.to_owned());
        let mut stale = ours();
        stale.allowed_origins = vec!["https://old.example".into()];
        stale.expose_headers = None;
        let mut both = ours();
        both.allowed_origins.push("https://old.example".into());
        let mut nameless = ours();
        nameless.id = None;
        let mut anothers = ours();
        anothers.id = named("theirs");
        let table = [
            (vec![], vec![ours()]),
            (vec![other(None), other(Some("a"))], vec![ours(), other(None), other(Some("a"))]),
            (vec![other(None), stale], vec![both, other(None)]),
            (vec![nameless, other(None)], vec![ours(), other(None)]),
            (vec![anothers.clone()], vec![ours(), anothers]),
        ];
        for (present, merged) in table {
            assert_eq!(merge_cors(ours(), present.clone()), merged, "{present:?}");
            assert_eq!(merge_cors(ours(), merged.clone()), merged, "a second time changes nothing");
        }
    }

    #[test]
    fn our_lifecycle_rule_replaces_itself_and_nothing_else() {
        let ours = lifecycle_rule(&AbortRule { prefix: "uploads/".into(), days: 7 }).expect("a rule");
        let stale = lifecycle_rule(&AbortRule { prefix: "old/".into(), days: 3 }).expect("a rule");
        let other = LifecycleRule::builder()
            .id("expire-logs")
            .status(ExpirationStatus::Disabled)
            .filter(
                LifecycleRuleFilter::builder().tag(Tag::builder().key("a").value("b").build().expect("a tag")).build(),
            )
            .expiration(LifecycleExpiration::builder().days(30).build())
            .build()
            .expect("a rule");
        let merged = merge_lifecycle(ours.clone(), vec![stale, other.clone()]);
        assert_eq!(merged, [other, ours.clone()]);
        assert_eq!(merge_lifecycle(ours, merged.clone()), merged);
    }

    #[test]
    fn only_enabled_rules_about_every_upload_under_a_prefix_count() {
        let rule = |status: ExpirationStatus, filter: Option<LifecycleRuleFilter>| {
            let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(7).build();
            let rule = LifecycleRule::builder().status(status).abort_incomplete_multipart_upload(abort);
            abort_rule(&rule.set_filter(filter).build().expect("a rule"))
        };
        let filter = LifecycleRuleFilter::builder;
        let found = |prefix: &str| Some(AbortRule { prefix: prefix.into(), days: 7 });
        assert_eq!(rule(ExpirationStatus::Enabled, Some(filter().prefix("a/").build())), found("a/"));
        assert_eq!(rule(ExpirationStatus::Enabled, None), found(""));
        assert_eq!(rule(ExpirationStatus::Disabled, None), None);
        assert_eq!(rule(ExpirationStatus::Enabled, Some(filter().object_size_less_than(5).build())), None);
    }
}
