//! Whether pages may send parts: by a preflight and a PUT as a browser makes them. The commonest fault of a new bucket.

use std::time::Duration;

use reqwest::Method;

use super::client::Reply;
use super::{BODY, CORS_SETTLES_WITHIN, Check, Doctor, Report, Verdict, advice};
use crate::bucket::Opened;

/// What a page may have to send with a part: browsers add a type, checksums are asked for.
const CHECKSUMS: [&str; 3] = ["x-amz-checksum-crc32c", "x-amz-checksum-crc64nvme", "x-amz-checksum-sha256"];

impl Doctor {
    pub(super) async fn cors(&self, report: &mut Report) {
        if self.origins.is_empty() {
            let hint = "If pages are to upload, name theirs: --origin https://app.example.com, or set allowed_origins.";
            for id in ["cors-preflight", "cors-part"] {
                report.skip(id, "no origin to try", Some(hint));
            }
            return;
        }
        if self.alone {
            for id in ["cors-preflight", "cors-part"] {
                report.skip(id, "the service gives the embedded S3 its CORS rule when it starts", None);
            }
            return;
        }
        if report.verdict("public-endpoint") == Some(Verdict::Failed) {
            return;
        }
        let upload = match self.probe.create("cors", None).await {
            Ok(upload) => upload,
            Err(fault) => return report.fault("cors-part", "CreateMultipartUpload", &fault, "s3:PutObject"),
        };
        for origin in &self.origins {
            self.preflight(report, &upload, origin).await;
            self.cross_origin_part(report, &upload, origin).await;
        }
    }

    async fn preflight(&self, report: &mut Report, upload: &Opened, origin: &str) {
        let mut all = vec!["content-type"];
        all.extend(CHECKSUMS);
        let (verdict, seen, hint) = match self.ask(upload, origin, &all).await {
            Ok(true) => (Verdict::Ok, format!("{origin} may PUT, with a type and with checksums"), None),
            Ok(false) => match self.ask(upload, origin, &["content-type"]).await {
                Ok(true) => (
                    Verdict::Warning,
                    format!("{origin} may PUT, but not with checksums"),
                    Some("Add x-amz-checksum-* to AllowedHeaders, or pages cannot use partChecksum.".to_owned()),
                ),
                Ok(false) => match self.ask(upload, origin, &[]).await {
                    Ok(true) => (
                        Verdict::Failed,
                        format!("{origin} may PUT, but not with a content-type, which browsers add"),
                        Some("Add content-type to AllowedHeaders of the bucket's CORS rule.".to_owned()),
                    ),
                    Ok(false) => (Verdict::Failed, format!("{origin} may not PUT"), Some(self.remedy())),
                    Err(reason) => (Verdict::Failed, reason, Some("Try again.".to_owned())),
                },
                Err(reason) => (Verdict::Failed, reason, Some("Try again.".to_owned())),
            },
            Err(reason) => (Verdict::Failed, reason, Some("Try again.".to_owned())),
        };
        report.add(Check { id: "cors-preflight", verdict, seen, hint, origin: Some(origin.to_owned()) });
    }

    fn remedy(&self) -> String {
        if self.embedded {
            "Add it to allowed_origins, and start the service again: the embedded S3 allows what the settings say."
        } else {
            "Put the CORS rule below on the bucket, or run this again with --fix."
        }
        .to_owned()
    }

    /// Whether a browser would go on after this preflight.
    async fn ask(&self, upload: &Opened, origin: &str, headers: &[&str]) -> Result<bool, String> {
        let url = self.part_url(upload, 1, None).await?.url;
        let wanted = headers.join(",");
        let mut request = vec![("Origin", origin), ("Access-Control-Request-Method", "PUT")];
        if !headers.is_empty() {
            request.push(("Access-Control-Request-Headers", &wanted));
        }
        let reply = self.client.send(Method::OPTIONS, &url, &request, None).await?;
        let methods = reply.list("access-control-allow-methods");
        let allowed = reply.list("access-control-allow-headers");
        let within = |list: &[String], name: &str| list.iter().any(|item| item == name || item == "*");
        Ok(reply.status.is_success()
            && admits(&reply, origin)
            && within(&methods, "put")
            && headers.iter().all(|header| within(&allowed, header)))
    }

    async fn cross_origin_part(&self, report: &mut Report, upload: &Opened, origin: &str) {
        let sent = match self.part_url(upload, 1, None).await {
            Ok(url) => self.put(&url, &[("Origin", origin), ("Content-Type", "text/plain")], BODY).await,
            Err(reason) => Err(reason),
        };
        let (verdict, seen, hint) = match sent {
            Ok(reply) if !reply.status.is_success() => {
                (Verdict::Failed, format!("a part from {origin}: {}", reply.seen()), Some(self.remedy()))
            }
            Ok(reply) if !admits(&reply, origin) => {
                (Verdict::Failed, format!("the answer to a part is hidden from {origin}"), Some(self.remedy()))
            }
            Ok(reply) => {
                let exposed = reply.list("access-control-expose-headers");
                if exposed.iter().any(|name| name == "etag" || name == "*") {
                    (Verdict::Ok, format!("{origin} may send a part and read its ETag"), None)
                } else {
                    let hint = "Add ETag to ExposeHeaders of the bucket's CORS rule, or run this again with --fix.";
                    (Verdict::Failed, format!("the ETag of a part is hidden from {origin}"), Some(hint.to_owned()))
                }
            }
            Err(reason) => (Verdict::Failed, format!("a part from {origin}: {reason}"), Some("Try again.".to_owned())),
        };
        report.add(Check { id: "cors-part", verdict, seen, hint, origin: Some(origin.to_owned()) });
    }

    /// Puts our rule if a page is kept out; whether it was put.
    pub(super) async fn put_cors(&self, report: &mut Report) -> bool {
        let wanting = |report: &Report| {
            report.checks().iter().any(|check| {
                check.id.starts_with("cors-") && matches!(check.verdict, Verdict::Failed | Verdict::Warning)
            })
        };
        if self.embedded || self.origins.is_empty() || !wanting(report) {
            return false;
        }
        if let Err(fault) = self.probe.put_cors(&advice::cors(&self.origins)).await {
            report.fault("cors-fix", "the bucket's CORS rules", &fault, "s3:GetBucketCORS and s3:PutBucketCORS");
            return false;
        }
        // Stores may keep the old rules in mind for a moment.
        for _ in 0..CORS_SETTLES_WITHIN {
            self.cors(report).await;
            if !wanting(report) {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        true
    }
}

fn admits(reply: &Reply, origin: &str) -> bool {
    ["*", origin].contains(&reply.header("access-control-allow-origin"))
}
