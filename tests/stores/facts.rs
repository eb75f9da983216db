//! What the README says each store does, measured: a cell that is not true any more fails.

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::complete_multipart_upload::builders::CompleteMultipartUploadFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart};
use serde_json::json;
use uuid::Uuid;

use super::on_every_store;
use super::service::{LONG_PART, OnStore};
use crate::support::{MIB, crc64nvme, file};

on_every_store! {
    the_readme_says_what_the_store_does
}

async fn the_readme_says_what_the_store_does(service: OnStore) {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README");
    let measured = [
        after_success(&service).await,
        with_the_key_taken(&service).await,
        of_parts_sent_again(&service).await,
        of_sizes_and_checksums(&service).await,
        of_aborts(&service).await,
    ];
    let measured: Vec<(&str, String)> = measured.into_iter().flatten().collect();
    let differ = |(label, answer): &&(&str, String)| cell(&readme, label, service.store.name) != Some(answer.as_str());
    let wrong: Vec<_> = measured.iter().filter(differ).collect();
    assert!(wrong.is_empty(), "the README says otherwise of {}: {wrong:#?}", service.store.name);
}

/// The cell of the README's table that has this row and this column.
fn cell<'a>(readme: &'a str, row: &str, column: &str) -> Option<&'a str> {
    let cells = |line: &'a str| line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect::<Vec<_>>();
    let table = readme.split("### What each store does differently").nth(1)?;
    let head = table.lines().find(|line| line.starts_with('|')).map(cells)?;
    let at = head.iter().position(|name| *name == column)?;
    table.lines().map(cells).find(|line| line[0] == row)?.get(at).copied()
}

/// `200`, or status and code.
fn answer<T, E: ProvideErrorMetadata + std::fmt::Debug>(outcome: &Result<T, SdkError<E>>) -> String {
    match outcome {
        Ok(_) => "200".to_owned(),
        Err(error) => {
            let status = error.raw_response().unwrap_or_else(|| panic!("no answer: {error:?}")).status();
            format!("{status} {}", error.code().unwrap_or_default()).trim_end().to_owned()
        }
    }
}

/// A multipart upload that the service knows nothing of.
struct Raw<'a> {
    service: &'a OnStore,
    key: String,
    id: String,
    etags: Vec<String>,
}

impl<'a> Raw<'a> {
    async fn begin(service: &'a OnStore, told: bool) -> Raw<'a> {
        let key = format!("{}facts/{}", service.prefix, Uuid::now_v7());
        let mut create = service.s3.create_multipart_upload().bucket(&service.store.bucket).key(&key);
        if told {
            create = create.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject);
        }
        let id = create.send().await.expect("begun").upload_id.expect("an id");
        Raw { service, key, id, etags: Vec::new() }
    }

    async fn sent(service: &'a OnStore) -> Raw<'a> {
        let mut raw = Raw::begin(service, false).await;
        raw.send(1, b"hello").await;
        raw
    }

    async fn send(&mut self, number: i32, bytes: &[u8]) {
        self.try_send(number, bytes, None).await.expect("sent");
    }

    /// Sends a part, or tells how it was refused.
    async fn try_send(&mut self, number: i32, bytes: &[u8], checksum: Option<String>) -> Result<(), String> {
        let part = self.service.s3.upload_part().bucket(&self.service.store.bucket).key(&self.key).upload_id(&self.id);
        let part = part.part_number(number).set_checksum_crc64_nvme(checksum);
        let sent = part.body(ByteStream::from(bytes.to_vec())).send().await;
        self.etags.push(sent.as_ref().map_err(|_| answer(&sent))?.e_tag.clone().expect("an ETag"));
        Ok(())
    }

    fn complete(&self, etags: &[String]) -> CompleteMultipartUploadFluentBuilder {
        let part = |(number, etag): (i32, &String)| CompletedPart::builder().part_number(number).e_tag(etag).build();
        let parts = (1..).zip(etags).map(part).collect();
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.service.s3.complete_multipart_upload().bucket(&self.service.store.bucket).key(&self.key);
        complete.upload_id(&self.id).multipart_upload(parts)
    }

    async fn put_object(&self) {
        let put = self.service.s3.put_object().bucket(&self.service.store.bucket).key(&self.key);
        put.body(ByteStream::from_static(b"another's")).send().await.expect("put");
    }

    async fn listed(&self) -> Option<Vec<String>> {
        let list = self.service.s3.list_parts().bucket(&self.service.store.bucket).key(&self.key).upload_id(&self.id);
        let listed = list.send().await.ok()?;
        Some(listed.parts().iter().filter_map(|part| part.e_tag().map(str::to_owned)).collect())
    }
}

async fn after_success(service: &OnStore) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    for (label, condition) in
        [("Complete again after success", None), ("… with `If-None-Match: *`", Some("*".to_owned()))]
    {
        let raw = Raw::sent(service).await;
        let complete = || raw.complete(&raw.etags).set_if_none_match(condition.clone()).send();
        let first = complete().await.expect("completed");
        let again = complete().await;
        let same = again.as_ref().is_ok_and(|again| again.e_tag == first.e_tag);
        facts.push((label, answer(&again) + if same { ", same ETag" } else { "" }));
    }
    let raw = Raw::sent(service).await;
    raw.complete(&raw.etags).send().await.expect("completed");
    let abort = service.s3.abort_multipart_upload().bucket(&service.store.bucket).key(&raw.key).upload_id(&raw.id);
    let aborted = abort.send().await;
    let aborted = if aborted.is_ok() { "accepted".to_owned() } else { answer(&aborted) };
    let head = service.s3.head_object().bucket(&service.store.bucket);
    let kept = head.clone().key(&raw.key).send().await.is_ok();
    facts.push(("Abort of a completed upload", aborted + if kept { ", object stays" } else { ", object gone" }));
    let missing = head.key(format!("{}-", raw.key)).send().await;
    let status = missing.as_ref().err().and_then(SdkError::raw_response).expect("a refusal").status();
    facts.push(("HEAD of a missing key", status.to_string()));
    facts
}

async fn with_the_key_taken(service: &OnStore) -> Vec<(&'static str, String)> {
    let taken = Raw::sent(service).await;
    taken.complete(&taken.etags).send().await.expect("completed");
    let mut second = Raw::begin(service, false).await;
    // Another upload of the same key, begun before the object was there or after: it makes no difference to the condition.
    second.key.clone_from(&taken.key);
    let create = service.s3.create_multipart_upload().bucket(&service.store.bucket).key(&second.key);
    second.id = create.send().await.expect("begun").upload_id.expect("an id");
    second.send(1, b"other").await;
    let conditional = second.complete(&second.etags).if_none_match("*").send().await;
    let overwritten = if conditional.is_ok() { ", overwrites" } else { "" };

    let open = Raw::sent(service).await;
    open.put_object().await;
    let stays = if open.listed().await.is_some() { "it stays" } else { "it is gone" };
    vec![
        ("Complete with `If-None-Match: *`, key taken", answer(&conditional) + overwritten),
        ("open upload, when its key is written", stays.to_owned()),
    ]
}

async fn of_parts_sent_again(service: &OnStore) -> Vec<(&'static str, String)> {
    let mut raw = Raw::sent(service).await;
    raw.send(1, b"jello").await;
    let listed = raw.listed().await.expect("open");
    let listed = match listed.as_slice() {
        [only] if *only == raw.etags[1] => "the last",
        [_, _] => "both",
        _ => panic!("{listed:?}"),
    };
    let with_old = raw.complete(&raw.etags[..1]).send().await;

    let bytes = file(LONG_PART);
    let begun = service.begin(json!({ "filename": "x", "size": LONG_PART, "partSize": LONG_PART })).await;
    let sent = service.api.put_parts(&begun.urls, &bytes).await;
    let again = service.begin_part(&begun.urls[0], &bytes).await;
    let part = CompletedPart::builder().part_number(1).e_tag(sent[0]["etag"].as_str().expect("an ETag")).build();
    let complete = service.s3.complete_multipart_upload().bucket(&service.store.bucket).key(&begun.key);
    let parts = CompletedMultipartUpload::builder().parts(part).build();
    let during = complete.upload_id(&begun.s3_upload_id).multipart_upload(parts).send().await;
    again.land().await;
    vec![
        ("ListParts, of a part sent twice", listed.to_owned()),
        ("Complete with the first one's ETag", answer(&with_old)),
        ("Complete while a part is sent again", answer(&during)),
    ]
}

async fn of_sizes_and_checksums(service: &OnStore) -> Vec<(&'static str, String)> {
    let raw = Raw::sent(service).await;
    let sized = answer(&raw.complete(&raw.etags).mpu_object_size(6).send().await);
    let mut facts = vec![("wrong `x-amz-mp-object-size`", if sized == "200" { "ignored".into() } else { sized })];
    let bytes = file(5 * MIB + 9);
    let (first, second) = bytes.split_at(5 * MIB as usize);
    for (label, told) in [("CRC64NVME of the object", false), ("… asked for at creation", true)] {
        let mut raw = Raw::begin(service, told).await;
        if let Err(refused) = raw.try_send(1, first, None).await {
            facts.push((label, format!("part without one: {refused}")));
            continue;
        }
        raw.send(2, second).await;
        raw.complete(&raw.etags).send().await.expect("completed");
        let head = service.s3.head_object().bucket(&service.store.bucket).key(&raw.key);
        let found = head.checksum_mode(ChecksumMode::Enabled).send().await.expect("found");
        let verdict = match found.checksum_crc64_nvme() {
            None => "none",
            Some(value) if value == crc64nvme(&bytes) => "right",
            Some(_) => "wrong",
        };
        facts.push((label, verdict.to_owned()));
    }
    let mut raw = Raw::begin(service, true).await;
    raw.try_send(1, b"hello", Some(crc64nvme(b"hello"))).await.expect("sent");
    let complete = raw.complete(&raw.etags).checksum_crc64_nvme(crc64nvme(b"jello"));
    let wrong = answer(&complete.checksum_type(ChecksumType::FullObject).send().await);
    facts.push(("… a wrong one with Complete", if wrong == "200" { "ignored".into() } else { wrong }));
    facts
}

async fn of_aborts(service: &OnStore) -> Vec<(&'static str, String)> {
    let bytes = file(LONG_PART + 5);
    let begun = service.begin(json!({ "filename": "x", "size": bytes.len(), "partSize": LONG_PART })).await;
    let (long, short) = bytes.split_at(LONG_PART as usize);
    let flying = service.begin_part(&begun.urls[0], long).await;
    let abort = service.s3.abort_multipart_upload().bucket(&service.store.bucket).key(&begun.key);
    abort.upload_id(&begun.s3_upload_id).send().await.expect("aborted");
    let told = |status: Option<u16>| status.map_or("cut off".to_owned(), |status| status.to_string());
    let landed = told(flying.land().await);
    let left = if service.listed(&begun).await.is_none() { ", nothing left" } else { ", upload is back" };
    let late = service.try_part(&begun.urls[1], short).await;
    let back = if service.listed(&begun).await.is_none() { "" } else { ", upload is back" };
    vec![("part in flight during Abort", landed + left), ("part begun after Abort", told(late) + back)]
}
