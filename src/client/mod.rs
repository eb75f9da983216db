//! The client of the service: what the command line's verbs are made of. It knows the HTTP contract and nothing of the service's
//! inside, so that whatever it can do, any other client can.
//!
//! ```text
//! Transfer ──► Service   calls to Partita: plans, URLs, records, the end of an upload
//!    │  └────► Store     bytes to and from S3, by signed URLs
//!    └───────► Source    a file, or a part of a stream
//! ```
//!
//! The service is the truth about an upload and S3 about its bytes; nothing is kept here that is needed to go on.

mod download;
mod error;
mod fingerprint;
mod gate;
mod held;
mod ledger;
mod retry;
mod service;
mod source;
mod store;
mod transfer;
mod urls;
mod wire;

pub use download::{Destination, download};
pub use error::{Error, Kind};
pub use fingerprint::fingerprint;
pub use gate::Gate;
pub use service::{OnRetry, Service, UploadFilter};
pub use source::{File, Stream};
pub use store::Store;
pub use transfer::{Earlier, Event, STREAM_PART, Sent, Transfer, Wanted, Watch};
pub use wire::{Checksum, DownloadUrl, FileEntry, Part, PartUrl, Told, Upload};
