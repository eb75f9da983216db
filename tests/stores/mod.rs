//! Every promise of the lifecycle, on every store: the real binary, a real database, a real S3. What S3 guarantees is asserted,
//! and what the store's capabilities say; never one server's wording.
//!
//! The stores of `./test` are the embedded S3, SeaweedFS and ministack. Garage is run by hand: see CONTRIBUTING.md.

mod completing;
mod ending;
mod facts;
mod recovery;
mod sending;
mod service;
mod store;
mod versions;

/// Declares each test once for every store. Those for Garage are built, and run only when they are asked for.
macro_rules! on_every_store {
    ($($name:ident)+) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::stores::service::OnStore::embedded().await).await; })+
        }
        mod seaweedfs {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::stores::service::OnStore::seaweedfs().await).await; })+
        }
        mod ministack {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(crate::stores::service::OnStore::ministack().await).await; })+
        }
        mod garage {
            $(#[tokio::test(flavor = "multi_thread")] #[ignore = "by hand: needs Garage"] async fn $name() { super::$name(crate::stores::service::OnStore::garage().await).await; })+
        }
    };
}
use on_every_store;
