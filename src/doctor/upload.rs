//! One upload from its creation to the deletion of its object, and what its URLs forbid.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use reqwest::Method;
use sha2::{Digest, Sha256};

use super::client::Reply;
use super::{BODY, Doctor, Report, Verdict};
use crate::bucket::{Download, Guards, Opened, PresignedUrl, ProbedObject};
use crate::upload::Algorithm;

const PUT: &str = "s3:PutObject";
/// Codes by which S3 says that the URL is not as it was signed.
const BAD_SIGNATURE: [&str; 5] = [
    "SignatureDoesNotMatch",
    "AuthorizationQueryParametersError",
    "AuthorizationHeaderMalformed",
    "InvalidAccessKeyId",
    "RequestTimeTooSkewed",
];

impl Doctor {
    /// The whole way of an upload. Returns the object as it was before it was deleted.
    pub(super) async fn upload(&self, report: &mut Report) -> Option<ProbedObject> {
        let upload = match self.probe.create("probe", None).await {
            Ok(upload) => upload,
            Err(fault) => {
                report.fault("create", "CreateMultipartUpload", &fault, PUT);
                return None;
            }
        };
        report.ok("create", "CreateMultipartUpload");
        self.find_upload(report, &upload).await;
        let etag = match self.send_part(report, &upload).await {
            Some(etag) => {
                self.urls_forbid(report, &upload).await;
                Some(etag)
            }
            // The rest can be proved without the public endpoint.
            None => self.probe.put_part(&upload, 1, BODY).await.ok(),
        }?;
        match self.probe.list_parts(&upload).await {
            Ok(parts) if parts.iter().any(|part| part.number == 1 && part.size == BODY.len() as i64) => {
                report.ok("list-parts", "ListParts shows the part");
            }
            Ok(_) => report.fail(
                "list-parts",
                "ListParts does not show the part that was sent",
                "Partita cannot tell what S3 holds of an upload here: use another store.",
            ),
            Err(fault) => report.fault("list-parts", "ListParts", &fault, "s3:ListMultipartUploadParts"),
        }
        let completed = match self.probe.complete(&upload, &etag, Guards::default()).await {
            Ok(completed) => completed,
            Err(fault) => {
                report.fault("complete", "CompleteMultipartUpload", &fault, PUT);
                return None;
            }
        };
        report.ok("complete", "CompleteMultipartUpload");
        let again = match self.probe.complete(&upload, &etag, Guards::default()).await {
            Ok(again) if again == completed => "a second completion answers 200 with the same ETag".to_owned(),
            Ok(_) => "a second completion answers 200 with another ETag".to_owned(),
            Err(fault) => format!("a second completion answers otherwise ({fault})"),
        };
        report.ok("complete-again", format!("{again}; Partita relies on neither"));
        self.missing_object(report).await;
        let object = self.head(report, &upload).await?;
        self.download(report, &upload, &object).await;
        self.delete(report, &upload, &object).await;
        Some(object)
    }

    async fn find_upload(&self, report: &mut Report, upload: &Opened) {
        let owner = self.settings.s3.expected_bucket_owner.as_deref();
        match self.probe.list_uploads(&upload.key, owner).await {
            Ok(ids) if ids.contains(&upload.s3_upload_id) => {
                report.ok("list-uploads", "ListMultipartUploads finds the upload by its key");
            }
            Ok(_) => report.fail(
                "list-uploads",
                "ListMultipartUploads does not find an open upload by its key",
                "An upload whose creation was not answered would stay for ever: set the lifecycle rule below.",
            ),
            Err(fault) => {
                report.fault("list-uploads", "ListMultipartUploads", &fault, "s3:ListBucketMultipartUploads");
            }
        }
    }

    /// The part as clients send it. Returns its ETag.
    async fn send_part(&self, report: &mut Report, upload: &Opened) -> Option<String> {
        let origin = self.probe.bucket().public_origin();
        let sent = match self.part_url(upload, 1, None).await {
            Ok(url) => self.put(&url, &[], BODY).await,
            Err(reason) => Err(reason),
        };
        let reply = match sent {
            Ok(reply) => reply,
            Err(reason) => {
                let hint = "Clients send parts there (s3.public_endpoint, else s3.endpoint): it must be reachable where \
                            they are. If only this machine does not reach it, run this where clients are.";
                report.fail("public-endpoint", format!("no answer from {origin}: {reason}"), hint);
                return None;
            }
        };
        if BAD_SIGNATURE.contains(&reply.code().as_str()) {
            let hint = "Whatever stands there must pass path, query and Host on as they come.";
            report.fail("public-endpoint", format!("{origin} refuses the signature: {}", reply.seen()), hint);
            return None;
        }
        if !reply.status.is_success() && reply.status != 403 {
            let hint = "s3.public_endpoint must lead to the same S3 as s3.endpoint.";
            report.fail("public-endpoint", format!("{origin} answers {}", reply.seen()), hint);
            return None;
        }
        report.ok("public-endpoint", format!("{origin} answers, and the signature is good there"));
        if !reply.status.is_success() {
            let hint = "These credentials may not put parts by URL: look for a bucket policy that forbids it.";
            report.fail("upload-part", format!("PUT of a part by its URL: {}", reply.seen()), hint);
            return None;
        }
        let etag = reply.header("etag");
        if etag.is_empty() {
            report.fail(
                "upload-part",
                "a part was taken, without an ETag",
                "Use a store that gives every part an ETag.",
            );
            return None;
        }
        report.ok("upload-part", "PUT of a part by its URL");
        Some(etag.to_owned())
    }

    pub(super) async fn put(&self, url: &PresignedUrl, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, String> {
        let mut all: Vec<(&str, &str)> = url.headers.iter().map(|(name, value)| (&**name, &**value)).collect();
        all.extend_from_slice(headers);
        self.client.send(Method::PUT, &url.url, &all, Some(body.to_vec())).await
    }

    /// What was not signed, S3 must refuse.
    async fn urls_forbid(&self, report: &mut Report, upload: &Opened) {
        let mut longer = BODY.to_vec();
        longer.push(b'!');
        let live = self.part_url(upload, 2, None).await;
        let an_hour_ago = self.now() - TimeDelta::hours(1);
        let ended = self.part_url_of(upload, 2, None, an_hour_ago, TimeDelta::minutes(30)).await;
        let forged = [("x-amz-meta-partita-upload-id", "forged")];
        #[rustfmt::skip]
        let table = [
            ("part-length", "a longer body than was signed", &live, &forged[..0], longer.as_slice(), Verdict::Failed,
             "Clients could send more than they said: use a store that checks a signed Content-Length."),
            ("expired-url", "a URL that had ended", &ended, &forged[..0], BODY, Verdict::Failed,
             "URLs would be good for ever: use a store that checks X-Amz-Expires."),
            ("unsigned-header", "an x-amz- header that nobody signed", &live, &forged[..], BODY, Verdict::Warning,
             "S3 itself refuses those. With x-amz-copy-source who has a part URL may get at every object that these \
              credentials read: trust your clients with those, or use another store."),
        ];
        for (id, what, url, headers, body, accepted, hint) in table {
            let url = match url {
                Ok(url) => url,
                Err(reason) => {
                    report.fail(id, format!("no URL: {reason}"), "See the credentials.");
                    continue;
                }
            };
            let reply = self.put(url, headers, body).await;
            // A store may hang up on what it will not have, so what counts is that it holds nothing.
            let stored = match self.probe.list_parts(upload).await {
                Ok(parts) => parts.iter().any(|part| part.number == 2),
                Err(_) => false,
            };
            match reply {
                Ok(reply) if reply.status.is_client_error() && !stored => {
                    report.ok(id, format!("{what} is refused ({})", reply.seen()));
                }
                Err(_) if !stored => report.ok(id, format!("{what} is refused (the store hangs up)")),
                reply => {
                    let status = reply.map_or_else(|_| "no answer".to_owned(), |reply| reply.seen());
                    let seen = format!("{what} is taken ({status})");
                    if accepted == Verdict::Failed {
                        report.fail(id, seen, hint);
                    } else {
                        report.warn(id, seen, hint);
                    }
                }
            }
        }
    }

    async fn missing_object(&self, report: &mut Report) {
        match self.probe.head(&self.probe.key("nothing-here")).await {
            Ok(None) => report.ok("head-missing", "HEAD of a key without an object answers 404"),
            Ok(Some(_)) => report.fail(
                "head-missing",
                "HEAD shows an object at a key where there is none",
                "Partita could take any upload for completed here: use another store.",
            ),
            Err(fault) if fault.is_denial() => report.fail(
                "head-missing",
                "HEAD of a key without an object answers 403",
                "Allow s3:ListBucket on the bucket; without it a missing object looks forbidden, and no unclear \
                 completion can be resolved.",
            ),
            Err(fault) => report.fault("head-missing", "HEAD of a key without an object", &fault, "s3:ListBucket"),
        }
    }

    async fn head(&self, report: &mut Report, upload: &Opened) -> Option<ProbedObject> {
        let object = match self.probe.head(&upload.key).await {
            Ok(Some(object)) => object,
            Ok(None) => {
                let hint = "Partita needs a store where a completed object is there at once.";
                report.fail("head", "HEAD does not find the object that was just completed", hint);
                return None;
            }
            Err(fault) => {
                report.fault("head", "HeadObject", &fault, "s3:GetObject");
                return None;
            }
        };
        if object.upload_id.as_deref() != Some(self.probe.id()) {
            let hint =
                "That is how Partita knows its uploads: use a store that keeps the metadata of an upload's creation.";
            report.fail("head", "HEAD shows the object without the metadata of its upload", hint);
            return None;
        }
        if object.size != Some(BODY.len() as i64) {
            report.fail("head", "HEAD shows another size than was sent", "Use a store that tells sizes right.");
            return None;
        }
        report.ok("head", "HeadObject shows size and metadata of the upload");
        match &object.version_id {
            Some(_) => report.hint("versioning", "on", "Old versions cost until a lifecycle rule expires them."),
            None => report.ok("versioning", "off"),
        }
        Some(object)
    }

    async fn download(&self, report: &mut Report, upload: &Opened, object: &ProbedObject) {
        let until = self.now() + TimeDelta::from_std(self.settings.download_url_ttl).unwrap_or(TimeDelta::minutes(1));
        let url = self.probe.bucket().signer(self.now(), until, self.now()).await.map(|signer| {
            signer.download(&Download {
                key: &upload.key,
                version_id: object.version_id.as_deref(),
                disposition: "attachment",
                content_type: "text/plain",
                cache_control: None,
            })
        });
        let reply = match url {
            Ok(url) => self.client.send(Method::GET, &url, &[], None).await,
            Err(error) => Err(error.to_string()),
        };
        let hint = if object.version_id.is_some() {
            "Allow s3:GetObject and, in a bucket with versions, s3:GetObjectVersion."
        } else {
            "Allow s3:GetObject to these credentials, and look for a bucket policy that forbids it."
        };
        match reply {
            Ok(reply) if reply.status == 200 && reply.body == BODY => {
                report.ok("get", "GET by a URL gives the bytes that were sent");
            }
            Ok(reply) if reply.status == 200 => {
                report.fail("get", "GET by a URL gives other bytes than were sent", "Do not use this store.");
            }
            Ok(reply) => report.fail("get", format!("GET by a URL: {}", reply.seen()), hint),
            // The public endpoint has had its verdict.
            Err(_) if report.verdict("public-endpoint") == Some(Verdict::Failed) => {}
            Err(reason) => report.fail("get", format!("GET by a URL: {reason}"), "Try again."),
        }
    }

    async fn delete(&self, report: &mut Report, upload: &Opened, object: &ProbedObject) {
        let version = object.version_id.as_deref();
        let right = if version.is_some() { "s3:DeleteObject and s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
        if let Err(fault) = self.probe.delete(&upload.key, version).await {
            report.fault("delete", "DeleteObject", &fault, right);
            return;
        }
        match self.probe.head(&upload.key).await {
            Ok(None) => report.ok("delete", "DeleteObject, and the object is gone"),
            // Without s3:ListBucket nobody can say; that has had its verdict.
            Err(fault) if fault.is_denial() => report.ok("delete", "DeleteObject"),
            Ok(Some(_)) => {
                report.fail("delete", "the object is still there after its deletion", "Use a store that deletes.");
            }
            Err(fault) => report.fault("delete", "HeadObject", &fault, "s3:GetObject"),
        }
    }

    /// An upload with part checksums, which is then given up.
    pub(super) async fn abort_one(&self, report: &mut Report) {
        let upload = match self.probe.create("checked", Some(Algorithm::Sha256)).await {
            Ok(upload) => upload,
            Err(fault) => {
                report.fault("abort", "CreateMultipartUpload with checksums", &fault, PUT);
                return;
            }
        };
        if report.verdict("upload-part") == Some(Verdict::Ok) {
            self.part_checksum(report, &upload).await;
        }
        if let Err(fault) = self.probe.abort(&upload).await {
            report.fault("abort", "AbortMultipartUpload", &fault, "s3:AbortMultipartUpload");
            return;
        }
        let hint = "Partita could never be sure that an upload has ended here: use another store.";
        match self.probe.list_parts(&upload).await {
            Err(fault) if fault.code() == "NoSuchUpload" => {
                report.ok("abort", "AbortMultipartUpload, and the upload is gone");
            }
            Ok(_) => report.fail("abort", "ListParts still shows the upload after it was aborted", hint),
            Err(fault) if fault.is_denial() => report.ok("abort", "AbortMultipartUpload"),
            Err(fault) => {
                report.fail("abort", format!("ListParts of an aborted upload: {fault}, not NoSuchUpload"), hint)
            }
        }
    }

    async fn part_checksum(&self, report: &mut Report, upload: &Opened) {
        const ID: &str = "part-checksum";
        let value = STANDARD.encode(Sha256::digest(BODY));
        let url = match self.part_url(upload, 1, Some((Algorithm::Sha256, &value))).await {
            Ok(url) => url,
            Err(reason) => return report.fail(ID, format!("no URL: {reason}"), "See the credentials."),
        };
        let mut other = BODY.to_vec();
        other[0] ^= 1;
        let wrong = self.put(&url, &[], &other).await;
        let right = self.put(&url, &[], BODY).await;
        let hint = "Do not let clients ask for partChecksum here; the checksum of the whole file is another matter.";
        match (wrong, right) {
            (Ok(wrong), Ok(right)) if wrong.status.is_client_error() && right.status.is_success() => {
                report.ok(ID, format!("other bytes than the signed checksum's are refused ({})", wrong.seen()));
            }
            (Ok(wrong), _) if wrong.status.is_success() => {
                report.warn(ID, "other bytes than the signed checksum's are taken", hint);
            }
            (_, Ok(right)) if !right.status.is_success() => {
                report.warn(ID, format!("a part with its checksum is refused ({})", right.seen()), hint);
            }
            (wrong, right) => {
                let seen = [wrong, right].map(|reply| reply.map_or_else(|reason| reason, |reply| reply.seen()));
                report.warn(ID, format!("unclear: {}", seen.join("; ")), "Try again.");
            }
        }
    }
}
