//! The operations on files: completed uploads, and how they are had again, shared and deleted.

use std::collections::HashMap;

use poem::http::HeaderMap;
use poem::web::Data;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::{ApiResponse, OpenApi};
use uuid::Uuid;

use super::payload::{Answer, Body};
use super::problem::{Code, Problem};
use super::spec::Tag;
use super::stream::{StreamFileAnswer, stream};
use super::wire::{
    DownloadUrlPage, DownloadUrlsRequest, FilePage, WireDownloadUrl, WireFile, disposition, id, limit, listed_owner,
    page, position, subject, ttl,
};
use crate::access::Caller;
use crate::coordinator::{Coordinator, DownloadRequest, FileEntry};

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

#[derive(ApiResponse)]
pub(super) enum DoneAnswer {
    /// Done, now or before
    #[oai(status = 204)]
    Done,
}

#[OpenApi(prefix_path = "/v1", tag = "Tag::Files")]
impl FilesApi {
    /// List files
    ///
    /// The caller's files and those shared with it, newest first, with links to them if asked for.
    #[oai(path = "/files", method = "get", operation_id = "listFiles")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn list_files(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The most items of the page; 100 when absent
        limit: Query<Option<i64>>,
        /// The `nextCursor` of the page before
        cursor: Query<Option<String>>,
        /// Whether each file comes with a link
        #[oai(name = "downloadUrls")]
        download_urls: Query<Option<bool>>,
        /// How long the links live, in seconds; 60 when absent
        #[oai(name = "ttlSeconds")]
        ttl_seconds: Query<Option<i64>>,
        /// `attachment` to save it, `inline` to show it; ignored for types that could run script
        disposition: Query<Option<String>>,
        /// The same URL for every caller within a window, so that browsers can keep the file
        cacheable: Query<Option<bool>>,
        /// Whose files; of others only for administrators
        owner: Query<Option<String>>,
    ) -> poem::Result<Answer<FilePage>> {
        let owner = listed_owner(&caller, owner.0)?;
        let request = download_request(ttl_seconds.0, disposition.0.as_deref(), cacheable.0)?;
        let (limit, before) = (self::limit(limit.0)?, position::<Uuid>(cursor.0.as_deref())?);
        let files = coordinator.files(&owner, before, limit + 1).await?;
        let (files, next_cursor) = page(files, limit, |file| file.upload.id.to_string());
        let mut links = match download_urls.0 {
            Some(true) => coordinator.links_of(&files, request).await?,
            _ => HashMap::new(),
        };
        let with_link = |file: FileEntry| {
            let link = links.remove(&file.upload.id);
            WireFile::of(file, link)
        };
        Ok(Answer::Whole(FilePage { items: files.into_iter().map(with_link).collect(), next_cursor }))
    }

    /// Get a file
    ///
    /// What is known of a completed upload.
    #[oai(path = "/files/:file_id", method = "get", operation_id = "getFile")]
    async fn get_file(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The file: the id of its upload
        file_id: Path<String>,
    ) -> poem::Result<Answer<WireFile>> {
        Ok(Answer::Whole(WireFile::of(coordinator.file(&caller.whose(), id(&file_id)).await?, None)))
    }

    /// Delete a file
    ///
    /// For good; only its owner may. Links that were handed out end with the object. Repeating it is harmless.
    #[oai(path = "/files/:file_id", method = "delete", operation_id = "deleteFile")]
    async fn delete_file(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The file: the id of its upload
        file_id: Path<String>,
    ) -> poem::Result<DoneAnswer> {
        coordinator.delete_file(&caller.whose(), id(&file_id)).await?;
        Ok(DoneAnswer::Done)
    }

    /// Get a download URL
    ///
    /// A presigned GET, short-lived unless asked otherwise.
    #[oai(path = "/files/:file_id/download-url", method = "get", operation_id = "getDownloadUrl")]
    async fn get_download_url(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
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
        let request = download_request(ttl_seconds.0, disposition.0.as_deref(), cacheable.0)?;
        Ok(Answer::Whole(coordinator.download_link(&caller.whose(), id(&file_id), request).await?.into()))
    }

    /// Get download URLs
    ///
    /// Presigned GETs of many files at once. What is no file of the caller's, or not completed yet, is named as missing.
    #[oai(path = "/files/download-urls", method = "post", operation_id = "getDownloadUrls")]
    async fn get_download_urls(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        body: Body<DownloadUrlsRequest>,
    ) -> poem::Result<Answer<DownloadUrlPage>> {
        let asked = body.value;
        let request = download_request(asked.ttl_seconds, asked.disposition.as_deref(), asked.cacheable)?;
        if !(1..=1_000).contains(&asked.ids.len()) {
            return Err(Problem::field(Code::InvalidRequest, "ids", "1 to 1,000 ids").into());
        }
        let ids: Vec<Uuid> = asked.ids.iter().map(|text| id(text)).collect();
        let links = coordinator.download_links(&caller.whose(), &ids, request).await?;
        Ok(Answer::Whole(DownloadUrlPage::of(&asked.ids, &links)))
    }

    /// Download a file
    ///
    /// Redirects to a presigned GET: for links and `curl -L`.
    #[oai(path = "/files/:file_id/download", method = "get", operation_id = "downloadFile")]
    async fn download_file(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The file: the id of its upload
        file_id: Path<String>,
    ) -> poem::Result<DownloadFileAnswer> {
        let link = coordinator.download_link(&caller.whose(), id(&file_id), DownloadRequest::default()).await?;
        Ok(DownloadFileAnswer::Found(link.url))
    }

    /// Stream a file
    ///
    /// The bytes through the service, for callers that cannot reach S3. One range at a time; of several the whole file is
    /// sent. Types that could run script come as `application/octet-stream`, to be saved.
    #[oai(path = "/files/:file_id/content", method = "get", operation_id = "streamFile")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the operation")]
    async fn stream_file(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The file: the id of its upload
        file_id: Path<String>,
        /// `attachment` to save it, `inline` to show it; ignored for types that could run script
        disposition: Query<Option<String>>,
        /// The bytes wanted, such as `bytes=0-1023` (RFC 9110 section 14)
        #[oai(name = "Range")]
        _range: Header<Option<String>>,
        /// ETags of what the caller has; the file is sent only if it is none of them
        #[oai(name = "If-None-Match")]
        _if_none_match: Header<Option<String>>,
        headers: &HeaderMap,
    ) -> poem::Result<StreamFileAnswer> {
        let inline = self::disposition(disposition.0.as_deref())?;
        let file = coordinator.file(&caller.whose(), id(&file_id)).await?;
        stream(&coordinator, file, inline, headers).await
    }

    /// Share a file
    ///
    /// With another subject, which may then have it like its owner, but neither share nor delete it. Only its owner may.
    #[oai(path = "/files/:file_id/shares/:subject", method = "put", operation_id = "shareFile")]
    async fn share_file(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The file: the id of its upload
        file_id: Path<String>,
        /// The subject of keys and tokens, 1 to 255 bytes
        subject: Path<String>,
    ) -> poem::Result<DoneAnswer> {
        coordinator.share(&caller.whose(), id(&file_id), self::subject(&subject)?).await?;
        Ok(DoneAnswer::Done)
    }

    /// Take a share back
    ///
    /// Links that were handed out before live as long as they say. Only its owner may. Repeating it is harmless.
    #[oai(path = "/files/:file_id/shares/:subject", method = "delete", operation_id = "unshareFile")]
    async fn unshare_file(
        &self,
        coordinator: Data<&Coordinator>,
        caller: Data<&Caller>,
        /// The file: the id of its upload
        file_id: Path<String>,
        /// The subject of keys and tokens, 1 to 255 bytes
        subject: Path<String>,
    ) -> poem::Result<DoneAnswer> {
        coordinator.unshare(&caller.whose(), id(&file_id), self::subject(&subject)?).await?;
        Ok(DoneAnswer::Done)
    }
}

fn download_request(
    ttl_seconds: Option<i64>,
    disposition: Option<&str>,
    cacheable: Option<bool>,
) -> Result<DownloadRequest, Problem> {
    let inline = self::disposition(disposition)?;
    let ttl = ttl("ttlSeconds", ttl_seconds)?;
    Ok(DownloadRequest { ttl, inline, cacheable: cacheable.unwrap_or(false) })
}
