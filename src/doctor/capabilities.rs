//! What the store can do, against what the settings say that it can.

use super::{BODY, BODY_CRC64NVME, Doctor, Report};
use crate::bucket::{Fault, Guards, Opened, ProbedObject};
use crate::config::FullObjectChecksum;
use crate::upload::Algorithm;

/// A CRC64NVME that is not [`BODY`]'s.
const WRONG_CRC64NVME: &str = "AAAAAAAAAAA=";

/// What became of something that the store should refuse.
enum Outcome {
    Refused,
    Ignored,
}

impl Doctor {
    /// `proved` is an object made by an upload that asked for nothing.
    pub(super) async fn capabilities(&self, report: &mut Report, proved: Option<&ProbedObject>) {
        let promised = self.probe.bucket().capabilities().clone();
        let size = Guards { size: Some(BODY.len() as i64 + 1), ..Guards::default() };
        let seen = self.try_guard("size", None, size).await;
        judge(
            report,
            "object-size-check",
            "a wrong x-amz-mp-object-size on completion",
            "s3.capabilities.object_size_check",
            promised.object_size_check,
            seen,
        );
        let seen = self.try_condition().await;
        judge(
            report,
            "conditional-completion",
            "If-None-Match: * on a completion over another object",
            "s3.capabilities.conditional_completion",
            promised.conditional_completion,
            seen,
        );
        if let Some(proved) = proved {
            self.checksum(report, proved, promised.full_object_checksum).await;
        }
    }

    async fn filled(&self, name: &str, checksum: Option<Algorithm>) -> Result<(Opened, String), Fault> {
        let upload = self.probe.create(name, checksum).await?;
        let etag = self.probe.put_part(&upload, 1, BODY).await?;
        Ok((upload, etag))
    }

    /// A completion with a guard that does not hold.
    async fn try_guard(&self, name: &str, checksum: Option<Algorithm>, guards: Guards<'_>) -> Result<Outcome, Fault> {
        let (upload, etag) = self.filled(name, checksum).await?;
        match self.probe.complete(&upload, &etag, guards).await {
            Ok(_) => Ok(Outcome::Ignored),
            Err(fault) if fault.is_refusal() => Ok(Outcome::Refused),
            Err(fault) => Err(fault),
        }
    }

    /// A conditional completion where an object stands already.
    async fn try_condition(&self) -> Result<Outcome, Fault> {
        let (upload, etag) = self.filled("condition", None).await?;
        self.probe.complete(&upload, &etag, Guards::default()).await?;
        self.try_guard("condition", None, Guards { if_none_match: true, ..Guards::default() }).await
    }

    /// Whether the store has the right CRC64NVME of the object, by itself or when told, and holds a client's against it.
    async fn checksum(&self, report: &mut Report, proved: &ProbedObject, promised: FullObjectChecksum) {
        const ID: &str = "full-object-checksum";
        let kept = match self.measured(proved).await {
            Ok(kept) => kept,
            Err(fault) => return report.fault(ID, "CompleteMultipartUpload with a checksum", &fault, "s3:PutObject"),
        };
        let word = |checksum| match checksum {
            FullObjectChecksum::Computed => "computed",
            FullObjectChecksum::Told => "told",
            FullObjectChecksum::None => "none",
        };
        let what = match kept {
            FullObjectChecksum::Computed => "the store computes a CRC64NVME by itself and compares",
            FullObjectChecksum::Told => "the store computes a CRC64NVME when the creation asks for it, and compares",
            FullObjectChecksum::None => "the store has no right CRC64NVME of an object that it would compare",
        };
        let setting = format!("s3.capabilities.full_object_checksum = \"{}\"", word(kept));
        let rank = |checksum| match checksum {
            FullObjectChecksum::None => 0,
            FullObjectChecksum::Told => 1,
            FullObjectChecksum::Computed => 2,
        };
        if rank(promised) > rank(kept) {
            let seen = format!("{what}; the settings say {}", word(promised));
            report.fail(ID, seen, format!("Set {setting}, or the right s3.store."));
        } else if rank(promised) < rank(kept) {
            report.hint(ID, format!("{what}; the settings say {}", word(promised)), format!("You may set {setting}."));
        } else {
            report.ok(ID, what);
        }
    }

    async fn measured(&self, proved: &ProbedObject) -> Result<FullObjectChecksum, Fault> {
        let right = |object: &ProbedObject| object.crc64nvme.as_deref() == Some(BODY_CRC64NVME);
        let wrong = Guards { crc64nvme: Some(WRONG_CRC64NVME), ..Guards::default() };
        let good = Guards { crc64nvme: Some(BODY_CRC64NVME), ..Guards::default() };
        if right(proved) && matches!(self.try_guard("computed", None, wrong).await?, Outcome::Refused) {
            return Ok(FullObjectChecksum::Computed);
        }
        let told = Some(Algorithm::Crc64Nvme);
        let (upload, etag) = match self.filled("told", told).await {
            Ok(filled) => filled,
            // A store that knows the algorithm not says so.
            Err(fault) if fault.is_refusal() || fault.code() == "NotImplemented" => {
                return Ok(FullObjectChecksum::None);
            }
            Err(fault) => return Err(fault),
        };
        match self.probe.complete(&upload, &etag, good).await {
            Ok(_) => {}
            Err(fault) if fault.is_refusal() => return Ok(FullObjectChecksum::None),
            Err(fault) => return Err(fault),
        }
        if !self.probe.head(&upload.key).await?.is_some_and(|object| right(&object)) {
            return Ok(FullObjectChecksum::None);
        }
        Ok(match self.try_guard("told-wrong", told, wrong).await? {
            Outcome::Refused => FullObjectChecksum::Told,
            Outcome::Ignored => FullObjectChecksum::None,
        })
    }
}

fn judge(
    report: &mut Report,
    id: &'static str,
    what: &str,
    setting: &str,
    promised: bool,
    seen: Result<Outcome, Fault>,
) {
    match (seen, promised) {
        (Ok(Outcome::Refused), true) => report.ok(id, format!("{what} is refused")),
        (Ok(Outcome::Refused), false) => {
            report.hint(id, format!("{what} is refused"), format!("You may set {setting} = true."));
        }
        (Ok(Outcome::Ignored), false) => report.ok(id, format!("{what} is ignored, and not relied on")),
        (Ok(Outcome::Ignored), true) => report.fail(
            id,
            format!("{what} is ignored; the settings rely on it"),
            format!("Set {setting} = false, or the right s3.store."),
        ),
        (Err(fault), _) => report.fault(id, "an upload to measure it", &fault, "s3:PutObject"),
    }
}
