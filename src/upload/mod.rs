//! The upload itself: what it is, how it is planned, where it may go. Pure: no I/O, no clock; used by all, uses none.

mod checksum;
mod lifecycle;
pub mod metadata;
pub mod names;
mod plan;
mod ranges;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use uuid::Uuid;

pub use checksum::{Algorithm, Checksum, check_fingerprint};
pub use lifecycle::State;
pub use names::ETag;
pub use plan::{MAX_PARTS, MIB, Plan, Slice};
pub use ranges::{MalformedRanges, PartSet};

/// Whose an upload is. Every query starts from one; without auth it is `local`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner(pub String);

/// Whose uploads an operation may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// This owner's alone.
    Of(Owner),
    /// Every owner's: an administrator asks.
    Anyones,
}

impl Whose {
    /// Whether an upload of this owner is among them.
    pub fn includes(&self, owner: &Owner) -> bool {
        match self {
            Whose::Of(one) => one == owner,
            Whose::Anyones => true,
        }
    }
}

/// Who may have a file without a presigned URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Nobody.
    #[default]
    Private,
    /// Everybody, by its plain URL: the object has the ACL `public-read`.
    Public,
}

impl Visibility {
    /// The name in the database and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Visibility::Private => "private",
            Visibility::Public => "public",
        }
    }
}

/// One upload, as the ledger knows it.
#[derive(Debug, Clone)]
pub struct Upload {
    /// Random, sortable by creation (UUIDv7).
    pub id: Uuid,
    /// Whose it is.
    pub owner: Owner,
    /// The named rules it was made under.
    pub preset: String,
    /// The name its download will have.
    pub filename: String,
    /// The media type its download will have.
    pub content_type: String,
    /// What the client says about it.
    pub metadata: BTreeMap<String, String>,
    /// How it is cut into parts.
    pub plan: Plan,
    /// Every part must carry a checksum of this kind.
    pub part_checksum: Option<Algorithm>,
    /// The service completes it by itself once S3 holds every part.
    pub auto_complete: bool,
    /// The client's checksum of the whole file.
    pub checksum: Option<Checksum>,
    /// By which clients find it again.
    pub fingerprint: Option<String>,
    /// Who may have its file without a presigned URL.
    pub visibility: Visibility,
    /// Bytes that count against its owner's quota.
    pub reserved: i64,
    /// The bucket of its object.
    pub bucket: String,
    /// The key of its object.
    pub key: String,
    /// S3's own id for the multipart upload; an empty file has none.
    pub s3_upload_id: Option<String>,
    /// How often it may have been begun at S3. More than once: S3 may hold others of this key.
    pub creations: i64,
    /// When it was last sent to S3 to be begun.
    pub begun_at: DateTime<Utc>,
    /// Where it stands, with the facts that are true there.
    pub status: Status,
    /// Why its last completion was refused.
    pub last_problem: Option<LastProblem>,
    /// Counts every change of state: the fence against writers whose time has passed.
    pub version: i64,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// After this moment it is given up; moves with activity.
    pub expires_at: DateTime<Utc>,
    /// `expires_at` never moves past this.
    pub hard_expires_at: DateTime<Utc>,
    /// No part URL handed out so far is valid after this.
    pub urls_expire_at: Option<DateTime<Utc>>,
    /// The database's clock when this was read.
    pub seen_at: DateTime<Utc>,
}

impl Upload {
    /// Whether it takes parts: when it was read it was open, and not past its end.
    pub fn is_alive(&self) -> bool {
        matches!(self.status, Status::Open) && self.expires_at > self.seen_at
    }
}

/// Where an upload stands; every variant carries exactly what is true in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// See [`State::Creating`]; nobody else may drive it until the lease ends.
    Creating {
        /// When another may take over.
        lease_until: DateTime<Utc>,
    },
    /// See [`State::Open`].
    Open,
    /// See [`State::Completing`].
    Completing {
        /// When another may send a completion.
        lease_until: DateTime<Utc>,
        /// What the completion in flight is to prove.
        target: Target,
    },
    /// See [`State::Completed`].
    Completed(Object),
    /// See [`State::Deleting`].
    Deleting(Object),
    /// See [`State::Deleted`].
    Deleted(Object),
    /// See [`State::Aborting`].
    Aborting {
        /// How it will end.
        ending: Ending,
        /// What a completion was to prove, if one had begun: it may have succeeded after all.
        target: Option<Target>,
    },
    /// See [`State::Aborted`].
    Aborted(AbortReason),
    /// See [`State::Failed`].
    Failed(Failure),
}

impl Status {
    /// The bare state.
    pub const fn state(&self) -> State {
        match self {
            Status::Creating { .. } => State::Creating,
            Status::Open => State::Open,
            Status::Completing { .. } => State::Completing,
            Status::Completed(_) => State::Completed,
            Status::Deleting(_) => State::Deleting,
            Status::Deleted(_) => State::Deleted,
            Status::Aborting { .. } => State::Aborting,
            Status::Aborted(_) => State::Aborted,
            Status::Failed(_) => State::Failed,
        }
    }

    /// The finished object, which may be gone again.
    pub const fn object(&self) -> Option<&Object> {
        match self {
            Status::Completed(object) | Status::Deleting(object) | Status::Deleted(object) => Some(object),
            _ => None,
        }
    }
}

/// What a completion is to prove: fixed when it begins, so that whoever takes over proves the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Bytes of the object.
    pub size: i64,
    /// The client's checksum of it.
    pub checksum: Option<Checksum>,
}

/// The finished object, as S3 reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// S3's ETag, verbatim.
    pub etag: String,
    /// Bytes.
    pub size: i64,
    /// In a versioned bucket, the version that completed.
    pub version_id: Option<String>,
    /// The checksum that the store reports.
    pub checksum: Option<Checksum>,
    /// The store's checksum was compared with the client's, and was equal.
    pub verified: bool,
    /// When the proof was recorded.
    pub completed_at: DateTime<Utc>,
}

/// How an upload that must go will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// In [`State::Aborted`].
    Abort(AbortReason),
    /// In [`State::Failed`].
    Fail(Failure),
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The name in the database and on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value of this name, if there is one.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

named! {
    /// Why an upload was aborted.
    AbortReason {
        /// A client asked for it.
        Requested = "requested",
        /// Nobody finished it in time.
        Expired = "expired",
    }
}

named! {
    /// Why an upload failed.
    Failure {
        /// S3 refused to begin it.
        CreateRefused = "create-refused",
        /// Another object stands at its key.
        KeyTaken = "key-taken",
        /// S3 knows neither the upload nor its object.
        UploadVanished = "upload-vanished",
        /// S3 stored other bytes than the client's checksum tells.
        ChecksumMismatch = "checksum-mismatch",
    }
}

/// Why a completion was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastProblem {
    /// S3 does not hold these planned parts.
    PartsMissing(PartSet),
    /// S3 holds other bytes for these parts than were recorded.
    PartsDiffer(PartSet),
}

/// A part that S3 is said to hold. Recorded, never trusted: completion is proved by S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: i32,
    /// S3's ETag of it.
    pub etag: ETag,
    /// Bytes, where they are known.
    pub size: Option<i64>,
    /// Its checksum, base64, where the upload has part checksums.
    pub checksum: Option<String>,
    /// When the ledger took it in; of a completed upload that is not kept.
    pub recorded_at: Option<DateTime<Utc>>,
}

/// What the rules of the domain forbid, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not a file name.
    #[error("{0}")]
    Filename(&'static str),
    /// Not a media type.
    #[error("{0}")]
    ContentType(&'static str),
    /// A media type that the preset does not allow.
    #[error("files of this type may not be uploaded under this preset")]
    ContentTypeNotAllowed,
    /// Not a size, or one that is missing.
    #[error("{0}")]
    Size(&'static str),
    /// Larger than the store's largest object.
    #[error("the largest file here has {max_size} bytes")]
    FileTooLarge {
        /// Bytes.
        max_size: i64,
    },
    /// Not a part size.
    #[error("{0}")]
    PartSize(&'static str),
    /// Outside the plan.
    #[error("the parts of this upload are 1 to {part_count}")]
    PartNumber {
        /// Parts in the plan.
        part_count: i32,
    },
    /// Not an ETag.
    #[error("an ETag has up to 128 printable ASCII characters")]
    ETag,
    /// Not a checksum, or one that has no place here.
    #[error("{0}")]
    Checksum(&'static str),
    /// The upload has part checksums, and this part came without.
    #[error("each part of this upload has a checksum: give it with each part")]
    ChecksumRequired,
    /// The preset wants the file's checksum, and none was given.
    #[error("this preset wants the file's checksum: give it at creation or at completion")]
    FileChecksumRequired,
    /// Not metadata.
    #[error("{0}")]
    Metadata(&'static str),
    /// Not a fingerprint of this file.
    #[error("{0}")]
    Fingerprint(&'static str),
    /// Another size than the plan's.
    #[error("{0}")]
    SizeMismatch(&'static str),
    /// More than one call may carry.
    #[error("a call takes at most {0} parts")]
    BatchTooLarge(i64),
    /// Well-formed, but not a request: names the field.
    #[error("{field}: {detail}")]
    Request {
        /// Where, as a path such as `items[2].partNumber`.
        field: String,
        /// What is wrong with it.
        detail: &'static str,
    },
}
