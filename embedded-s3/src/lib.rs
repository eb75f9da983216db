//! A small S3 server inside your process: one folder, no setup, nothing acknowledged is ever lost.
//!
//! Made for first runs, demos and tests of programs that speak to S3. It checks signatures as S3 does,
//! answers multipart uploads as S3 does (part lists, checksums, conditions, refusals), and keeps what it has
//! acknowledged through a killed process or a power cut. It listens on the loopback interface only.
//!
//! Where to read:
//!
//! | idea | module |
//! |---|---|
//! | the HTTP loop | `server` |
//! | what each connection speaks to, and may be wrapped | `service` |
//! | who may sign, and what S3 refuses that the protocol layer lets through | `access` |
//! | cross-origin rules and answers | `cors` |
//! | one method per S3 operation, each a line or two | `operations` |
//! | buckets; reading, writing and copying objects; multipart uploads; lists | `buckets`, `read`, `write`, `multipart`, `listing` |
//! | taking a body in while hashing it | `receive` |
//! | checksums and how parts' checksums make the object's | `checksum` |
//! | the folder: records, commits, recovery | `store` |
//!
//! Signatures (SigV4), routing and XML are the work of the `s3s` crate. It logs every refused request as an error
//! under the target `s3s`; a filter such as `s3s=off` keeps ordinary 404s out of a log.
//!
//! Not here: versioning, ACLs and policies, encryption, POST forms, virtual-hosted addressing, and the execution
//! of lifecycle rules (they are kept and given back).

mod access;
mod buckets;
mod checksum;
mod conditions;
mod cors;
mod headers;
mod listing;
mod multipart;
mod operations;
mod read;
mod receive;
mod server;
mod service;
mod store;
mod write;

pub use cors::CorsRule;
pub use s3s::Body;
pub use server::{ServeError, serve, serve_service};
pub use service::{Credentials, S3Service, service};
pub use store::Store;
