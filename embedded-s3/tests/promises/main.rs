//! What a coordinator of multipart uploads relies on, asked over real HTTP. Each test is named for a promise.

#![expect(clippy::unwrap_used, reason = "a test that panics has done its work")]

mod checksums;
mod completion;
mod cors;
mod crash;
mod objects;
mod parts;
mod reading;
mod serving;
mod signatures;
mod support;
