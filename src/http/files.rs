//! The operations on files: completed uploads and how they are had again.

use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::{ApiResponse, OpenApi};

use super::caller;
use super::payload::Answer;
use super::problem::{Code, Problem};
use super::spec::Tag;
use super::wire::{WireDownloadUrl, WireFile, id, ttl};
use crate::coordinator::{Coordinator, DownloadRequest};

/// Has no state of its own, so that the document can be made without a database.
pub(super) struct FilesApi;

#[derive(ApiResponse)]
pub(super) enum DownloadFileAnswer {
    /// To a presigned GET
    #[oai(status = 302)]
    Found(
        /// The presigned GET
        #[oai(header = "Location")]
        String,
    ),
}

#[OpenApi(prefix_path = "/v1", tag = "Tag::Files")]
impl FilesApi {
    /// Get a file
    ///
    /// What is known of a completed upload.
    #[oai(path = "/files/:file_id", method = "get", operation_id = "getFile")]
    async fn get_file(
        &self,
        coordinator: Data<&Coordinator>,
        /// The file: the id of its upload
        file_id: Path<String>,
    ) -> poem::Result<Answer<WireFile>> {
        let (upload, object) = coordinator.file(&caller(), id(&file_id)).await?;
        Ok(Answer(WireFile::of(upload, &object)))
    }

    /// Get a download URL
    ///
    /// A presigned GET, short-lived unless asked otherwise.
    #[oai(path = "/files/:file_id/download-url", method = "get", operation_id = "getDownloadUrl")]
    async fn get_download_url(
        &self,
        coordinator: Data<&Coordinator>,
        /// The file: the id of its upload
        file_id: Path<String>,
        /// How long it lives, in seconds; 60 when absent
        #[oai(name = "ttlSeconds")]
        ttl_seconds: Query<Option<i64>>,
        /// `attachment` to save it, `inline` to show it; ignored for types that could run script
        disposition: Query<Option<String>>,
        /// The same URL for every caller within a window, so that browsers can keep the file
        cacheable: Query<Option<bool>>,
    ) -> poem::Result<Answer<WireDownloadUrl>> {
        let inline = match disposition.0.as_deref() {
            None | Some("attachment") => false,
            Some("inline") => true,
            Some(_) => return Err(Problem::field(Code::InvalidRequest, "disposition", "attachment or inline").into()),
        };
        let ttl = ttl("ttlSeconds", ttl_seconds.0)?;
        let request = DownloadRequest { ttl, inline, cacheable: cacheable.0.unwrap_or(false) };
        Ok(Answer(coordinator.download_link(&caller(), id(&file_id), request).await?.into()))
    }

    /// Download a file
    ///
    /// Redirects to a presigned GET: for links and `curl -L`.
    #[oai(path = "/files/:file_id/download", method = "get", operation_id = "downloadFile")]
    async fn download_file(
        &self,
        coordinator: Data<&Coordinator>,
        /// The file: the id of its upload
        file_id: Path<String>,
    ) -> poem::Result<DownloadFileAnswer> {
        let link = coordinator.download_link(&caller(), id(&file_id), DownloadRequest::default()).await?;
        Ok(DownloadFileAnswer::Found(link.url))
    }
}
