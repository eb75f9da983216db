//! The least that the bucket must allow, as texts to paste: IAM policy, CORS rule, lifecycle rule.

use std::time::Duration;

use serde::Serialize;

use crate::bucket::{AbortRule, Cors, RULE_ID};

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
    resource: String,
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

/// The rights that the service needs, and apart from them those of `doctor` itself.
pub(super) fn policy(bucket: &str, prefix: &str, region: &str, versioned: bool) -> Policy {
    let partition = match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    };
    let whole = format!("arn:{partition}:s3:::{bucket}");
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
    let statement = |sid, action, resource| Statement { sid, effect: "Allow", action, resource };
    Policy {
        version: "2012-10-17",
        statement: vec![
            statement("UploadsUnderThePrefix", objects, format!("{whole}/{prefix}*")),
            // Without s3:ListBucket a missing object looks forbidden.
            statement("TellAbsentFromForbidden", vec!["s3:ListBucket", "s3:ListBucketMultipartUploads"], whole.clone()),
            statement("OnlyForDoctor", vec!["s3:GetLifecycleConfiguration"], whole.clone()),
            statement(
                "OnlyForDoctorFix",
                vec!["s3:GetBucketCORS", "s3:PutBucketCORS", "s3:PutLifecycleConfiguration"],
                whole,
            ),
        ],
    }
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
        let policy = to_value(policy("media", "uploads/", "eu-central-1", false)).expect("JSON");
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
            let policy = to_value(policy("media", prefix, region, true)).expect("JSON");
            assert_eq!(policy["Statement"][0]["Resource"], resource);
            let text = policy["Statement"][0]["Action"].to_string();
            assert!(text.contains("s3:GetObjectVersion") && text.contains("s3:DeleteObjectVersion"), "{text}");
        }
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
