//! The least that the bucket must allow, as texts to paste: IAM policy, CORS rule, lifecycle rule.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use crate::bucket::{AbortRule, Cors, RULE_ID};
use crate::config::{Encryption, Preset, Settings};
use crate::upload::Visibility;

/// An IAM policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: Resource,
}

/// One is written as itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Resource {
    One(String),
    Many(Vec<String>),
}

/// A bucket's lifecycle configuration with one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Lifecycle {
    rules: [LifecycleRule; 1],
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LifecycleRule {
    #[serde(rename = "ID")]
    id: &'static str,
    status: &'static str,
    filter: Filter,
    abort_incomplete_multipart_upload: Abort,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    prefix: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Abort {
    days_after_initiation: i32,
}

/// The rights that the service needs for what the settings say, and apart from them those of `doctor` itself. `bucket` is
/// where uploads go unless a preset says otherwise.
pub(super) fn policy(bucket: &str, settings: &Settings, region: &str, versioned: bool) -> Policy {
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    let arn = |bucket: &str| format!("arn:{partition}:s3:::{bucket}");
    let all = settings.presets();
    let presets = || all.values();
    let mut objects = vec![
        "s3:PutObject",
        "s3:GetObject",
        "s3:DeleteObject",
        "s3:AbortMultipartUpload",
        "s3:ListMultipartUploadParts",
    ];
    if versioned {
        objects.extend(["s3:GetObjectVersion", "s3:DeleteObjectVersion"]);
    }
    if presets().any(|preset| preset.visibility == Visibility::Public) {
        objects.push("s3:PutObjectAcl");
    }
    if presets().any(|preset| !preset.tags.is_empty()) {
        objects.push("s3:PutObjectTagging");
    }
    let bucket_of = |preset: &Preset| arn(preset.bucket.as_deref().unwrap_or(bucket));
    let prefix_of = |preset: &Preset| preset.prefix.clone().unwrap_or_else(|| settings.s3.prefix().to_owned());
    let places: BTreeSet<_> = presets().map(|preset| format!("{}/{}*", bucket_of(preset), prefix_of(preset))).collect();
    let buckets: BTreeSet<_> = presets().map(bucket_of).collect();
    let statement = |sid, action, resources: BTreeSet<String>| {
        let resource = resources.into_iter().collect::<Vec<_>>();
        let resource =
            if let [only] = resource.as_slice() { Resource::One(only.clone()) } else { Resource::Many(resource) };
        Statement { sid, effect: "Allow", action, resource }
    };
    let one = || BTreeSet::from([arn(bucket)]);
    let mut statements = vec![
        statement("UploadsUnderThePrefix", objects, places),
        // Without s3:ListBucket a missing object looks forbidden.
        statement("TellAbsentFromForbidden", vec!["s3:ListBucket", "s3:ListBucketMultipartUploads"], buckets),
        statement("OnlyForDoctor", vec!["s3:GetLifecycleConfiguration"], one()),
        statement(
            "OnlyForDoctorFix",
            vec!["s3:GetBucketCORS", "s3:PutBucketCORS", "s3:PutLifecycleConfiguration"],
            one(),
        ),
    ];
    let keys: BTreeSet<_> = presets()
        .filter(|preset| preset.encryption == Some(Encryption::Kms))
        .map(|preset| match &preset.kms_key_id {
            Some(key) if key.starts_with("arn:") => key.clone(),
            Some(key) => format!("arn:{partition}:kms:{region}:ACCOUNT:key/{key}"),
            None => format!("arn:{partition}:kms:{region}:ACCOUNT:key/KEY"),
        })
        .collect();
    if !keys.is_empty() {
        statements.push(statement("EncryptWithTheKey", vec!["kms:GenerateDataKey", "kms:Decrypt"], keys));
    }
    Policy { version: "2012-10-17", statement: statements }
}

/// Lets pages of these origins send parts and read the ETags.
pub(super) fn cors(origins: &[String]) -> Cors {
    let app = "https://app.example.com".to_owned();
    Cors {
        id: RULE_ID,
        allowed_origins: if origins.is_empty() { vec![app] } else { origins.to_vec() },
        allowed_methods: vec!["PUT"],
        allowed_headers: vec!["content-type", "x-amz-checksum-*"],
        expose_headers: vec!["ETag"],
        max_age_seconds: 3600,
    }
}

/// Days after which S3 may drop an upload that lives `life` at the most: a day more, for S3 counts in whole days.
pub(super) fn days(life: Duration) -> i32 {
    let days = life.as_secs().div_ceil(24 * 60 * 60) + 1;
    i32::try_from(days).unwrap_or(i32::MAX)
}

pub(super) fn lifecycle(rule: AbortRule) -> Lifecycle {
    Lifecycle {
        rules: [LifecycleRule {
            id: RULE_ID,
            status: "Enabled",
            filter: Filter { prefix: rule.prefix },
            abort_incomplete_multipart_upload: Abort { days_after_initiation: rule.days },
        }],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn the_policy_allows_what_the_service_does_and_nothing_else() {
        let policy = to_value(policy("media", &Settings::default(), "eu-central-1", false)).expect("JSON");
        let objects = &policy["Statement"][0];
        assert_eq!(objects["Resource"], "arn:aws:s3:::media/uploads/*");
        let mut actions: Vec<_> =
            objects["Action"].as_array().expect("actions").iter().filter_map(|action| action.as_str()).collect();
        actions.sort_unstable();
        let least = [
            "s3:AbortMultipartUpload",
            "s3:DeleteObject",
            "s3:GetObject",
            "s3:ListMultipartUploadParts",
            "s3:PutObject",
        ];
        assert_eq!(actions, least);
        assert_eq!(policy["Statement"][1]["Action"], json!(["s3:ListBucket", "s3:ListBucketMultipartUploads"]));
        assert_eq!(policy["Statement"][1]["Resource"], "arn:aws:s3:::media");
        assert!(!policy.to_string().contains("s3:*"), "{policy}");
    }

    #[test]
    fn the_policy_follows_prefix_partition_and_versioning() {
        let table = [
            ("", "cn-north-1", "arn:aws-cn:s3:::media/*"),
            ("a/b/", "us-gov-west-1", "arn:aws-us-gov:s3:::media/a/b/*"),
        ];
        for (prefix, region, resource) in table {
            let mut settings = Settings::default();
            settings.s3.prefix = Some(prefix.to_owned());
            let policy = to_value(policy("media", &settings, region, true)).expect("JSON");
            assert_eq!(policy["Statement"][0]["Resource"], resource);
            let text = policy["Statement"][0]["Action"].to_string();
            assert!(text.contains("s3:GetObjectVersion") && text.contains("s3:DeleteObjectVersion"), "{text}");
        }
    }

    #[test]
    fn the_policy_allows_what_presets_ask_for() {
        let open = Preset {
            bucket: Some("pictures".into()),
            prefix: Some("p/".into()),
            visibility: Visibility::Public,
            tags: [("a".to_owned(), "b".to_owned())].into(),
            ..Preset::default()
        };
        let key = Some("1234".into());
        let secret = Preset { encryption: Some(Encryption::Kms), kms_key_id: key, ..Preset::default() };
        let preset = [("open".to_owned(), open), ("secret".to_owned(), secret)].into();
        let policy = policy("media", &Settings { preset, ..Settings::default() }, "eu-central-1", false);
        let policy = to_value(policy).expect("JSON");
        let [objects, buckets] = [0, 1].map(|number| policy["Statement"][number].clone());
        assert_eq!(objects["Resource"], json!(["arn:aws:s3:::media/uploads/*", "arn:aws:s3:::pictures/p/*"]));
        assert_eq!(buckets["Resource"], json!(["arn:aws:s3:::media", "arn:aws:s3:::pictures"]));
        let text = objects["Action"].to_string();
        assert!(text.contains("s3:PutObjectAcl") && text.contains("s3:PutObjectTagging"), "{text}");
        assert_eq!(policy["Statement"][4]["Resource"], "arn:aws:kms:eu-central-1:ACCOUNT:key/1234");
    }

    #[test]
    fn the_cors_rule_names_origins_and_never_everybody() {
        let rule = to_value(cors(&["https://a.example".into()])).expect("JSON");
        let wanted = json!({
            "ID": "partita", "AllowedOrigins": ["https://a.example"], "AllowedMethods": ["PUT"],
            "AllowedHeaders": ["content-type", "x-amz-checksum-*"], "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 3600,
        });
        assert_eq!(rule, wanted);
        assert!(!to_value(cors(&[])).expect("JSON")["AllowedOrigins"].to_string().contains('*'));
    }

    #[test]
    fn s3_drops_no_upload_that_may_still_live() {
        const DAY: u64 = 24 * 60 * 60;
        for (life, wanted) in [(60, 2), (DAY, 2), (DAY + 1, 3), (6 * DAY, 7), (6 * DAY + 1, 8), (365 * DAY, 366)] {
            assert_eq!(days(Duration::from_secs(life)), wanted, "{life}");
        }
        let rule = to_value(lifecycle(AbortRule { prefix: "uploads/".into(), days: 7 })).expect("JSON");
        let wanted = json!({ "Rules": [{
            "ID": "partita", "Status": "Enabled", "Filter": { "Prefix": "uploads/" },
            "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 7 },
        }] });
        assert_eq!(rule, wanted);
    }
}
