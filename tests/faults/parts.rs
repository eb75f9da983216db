//! Parts, and what S3 lists of them: a record that was acknowledged is kept unless S3 shows otherwise, and no listing makes
//! an upload complete that is not.

use serde_json::{Value, json};

use super::{PAST_LEASES, Ready, is_unclear, rows, scripts};
use crate::support::scripted_s3::Operation::{CompleteMultipartUpload, ListParts, UploadPart};
use crate::support::scripted_s3::{Call, Script, on};
use crate::support::{MIB, Service, file, part_checksum};

scripts! {
    both {
        part_stored_and_cut
        listing_forgets_a_part
        listing_in_small_pages
        part_sent_again_while_it_is_completed
    }
    sqlite {
        part_slow_down_and_sent_again
        part_late_after_the_abort
        part_late_after_the_completion
        listing_does_not_move_on
        listing_moves_back
        listing_goes_on_without_a_marker
        listing_without_an_etag
        listing_fails
        listing_says_ok_with_an_error
        listing_gateway
        listing_has_entities_that_grow
        listing_asks_for_a_file
        listing_is_nested_deeply
        listing_is_huge
        listing_forbidden
        listing_has_every_part_twice
        listing_has_two_versions_of_a_part
        listing_has_other_etags
        listing_has_another_size
        listing_denies_an_open_upload
        listing_without_checksums
        listing_is_down_while_it_completes_by_itself
    }
}

/// Three parts, the last of one MiB.
const SIZE: i64 = 11 * MIB;

async fn begin(service: &Service) -> (Ready, Vec<Value>, Vec<u8>) {
    let (id, upload, urls) = service.api.create(json!({ "filename": "x", "size": SIZE, "partSize": 5 * MIB })).await;
    let key = upload["key"].as_str().expect("a key").to_owned();
    (Ready { path: format!("/v1/uploads/{id}"), key, id }, urls, file(SIZE))
}

/// All parts sent, all recorded.
async fn all_recorded(service: &Service) -> (Ready, Vec<Value>, Vec<u8>) {
    let (upload, urls, bytes) = begin(service).await;
    let parts = service.api.put_parts(&urls, &bytes).await;
    service.api.put(&format!("{}/parts", upload.path), json!({ "parts": parts })).await.ok(200);
    (upload, urls, bytes)
}

async fn sync(service: &Service, upload: &Ready) -> crate::support::Reply {
    service.api.call("POST", &format!("{}/sync", upload.path), None).await
}

async fn completes_with(service: &Service, upload: &Ready, bytes: &[u8]) {
    service.api.complete(&upload.id, None).await.ok(200);
    assert!(service.api.download(&upload.id).await.1 == bytes);
}

async fn part_stored_and_cut(service: &mut Service) {
    let (upload, urls, bytes) = begin(service).await;
    service.api.put_parts(&urls[..2], &bytes).await;
    service.s3().play(on(UploadPart).next(1).cut());
    let request = service.api.http.put(urls[2]["url"].as_str().expect("a URL")).body(bytes[10 << 20..].to_vec());
    assert!(request.send().await.is_err(), "the client hears nothing");
    let synced = sync(service, &upload).await.ok(200);
    assert_eq!((synced["missingParts"].as_str(), synced["recordedParts"].as_i64()), (Some(""), Some(3)));
    completes_with(service, &upload, &bytes).await;
    assert_eq!(service.s3().count(UploadPart), 3, "it need not be sent again");
}

async fn part_slow_down_and_sent_again(service: &mut Service) {
    let (upload, urls, bytes) = begin(service).await;
    service.s3().play(on(UploadPart).next(2).unapplied().refused(503, "SlowDown"));
    for _ in 0..2 {
        assert_eq!(service.api.put_part(&urls[0], &bytes).await.0, 503);
    }
    service.api.put_parts(&urls, &bytes).await;
    completes_with(service, &upload, &bytes).await;
}

/// A transfer begun before the abort lands after it.
async fn part_late_after_the_abort(service: &mut Service) {
    let (upload, urls, bytes) = begin(service).await;
    let late = service.s3().play(on(UploadPart).next(1).held());
    let (api, url) = (service.api.clone(), urls[0].clone());
    let sending = tokio::spawn(async move { api.put_part(&url, &bytes).await });
    late.met(1).await;
    service.api.delete(&upload.path).await.ok(204);
    assert_eq!(service.state_of(&upload).await, "aborting", "something may still land");
    late.release();
    assert_eq!(sending.await.expect("an answer").0, 404);
}

/// Other bytes for a part land when the object is made: it stays as it was.
async fn part_late_after_the_completion(service: &mut Service) {
    let (upload, urls, bytes) = all_recorded(service).await;
    let late = service.s3().play(on(UploadPart).next(1).held());
    let (api, url) = (service.api.clone(), urls[0].clone());
    let sending = tokio::spawn(async move { api.put_bytes(&url, vec![0; 5 << 20]).await });
    late.met(1).await;
    service.api.complete(&upload.id, None).await.ok(200);
    late.release();
    assert_eq!(sending.await.expect("an answer").0, 404);
    assert!(service.api.download(&upload.id).await.1 == bytes);
}

/// Other bytes for a recorded part land just before S3 puts the parts together: what was acknowledged is not mixed with them.
async fn part_sent_again_while_it_is_completed(service: &mut Service) {
    let (upload, urls, bytes) = all_recorded(service).await;
    let slow = service.s3().play(on(CompleteMultipartUpload).next(1).held());
    let (api, path) = (service.api.clone(), format!("{}/complete", upload.path));
    let completing = tokio::spawn(async move { api.call("POST", &path, None).await });
    slow.met(1).await;
    let refused = service.api.post(&format!("{}/part-urls", upload.path), json!({ "parts": "1" })).await;
    refused.problem(409, "upload-not-open");
    assert_eq!(service.api.put_bytes(&urls[0], vec![0; 5 << 20]).await.0, 200, "an older URL still works");
    slow.release();
    completing.await.expect("an answer");
    let differ = service.api.complete(&upload.id, None).await;
    assert_eq!(differ.problem(409, "parts-differ")["parts"], "1");
    service.api.put_part(&urls[0], &bytes).await;
    completes_with(service, &upload, &bytes).await;
}

/// A listing that S3 does not get to its end: told as such, and nothing is forgotten.
async fn a_listing_that_does_not_end(service: &mut Service, script: Script) {
    let (upload, _, bytes) = all_recorded(service).await;
    let playing = service.s3().play(script);
    is_unclear(sync(service, &upload).await);
    assert!(playing.times() <= 3, "asked {} times", playing.times());
    let shown = service.api.get(&upload.path).await.ok(200);
    assert_eq!(shown["recordedParts"], 3, "what was acknowledged is kept");
    completes_with(service, &upload, &bytes).await;
}

fn truncated(body: &mut String, marker: &str) {
    *body = body.replace("<IsTruncated>false</IsTruncated>", "");
    let from = body.find("<Part>").unwrap_or_else(|| body.rfind("</").expect("an end"));
    body.insert_str(from, &format!("<IsTruncated>true</IsTruncated>{marker}"));
}

rows! { a_listing_that_does_not_end {
    listing_does_not_move_on: on(ListParts)
        .edited(|_, _, body| truncated(body, "<NextPartNumberMarker>3</NextPartNumberMarker>"));
    listing_moves_back: on(ListParts).edited(|call: &Call, _, body| {
        let first = !call.query.contains_key("part-number-marker");
        truncated(body, &format!("<NextPartNumberMarker>{}</NextPartNumberMarker>", if first { 2 } else { 1 }));
    });
    listing_goes_on_without_a_marker: on(ListParts).edited(|_, _, body| {
        truncated(body, "");
        *body = body.replace("NextPartNumberMarker", "Other");
    });
    listing_without_an_etag: on(ListParts).edited(|_, _, body| *body = body.replacen("ETag>", "Tag>", 2));
    listing_fails: on(ListParts).refused(500, "InternalError");
    listing_says_ok_with_an_error: on(ListParts).says(200, crate::support::scripted_s3::error("InternalError"));
    listing_gateway: on(ListParts).gateway(502);
} }

/// A document that no store makes: whatever is read of it, nothing is forgotten and nobody falls.
async fn an_odd_listing(service: &mut Service, script: Script) {
    let (upload, _, bytes) = all_recorded(service).await;
    let playing = service.s3().play(script);
    let reply = sync(service, &upload).await;
    assert!(matches!(reply.status.as_u16(), 200 | 502 | 503), "{}", reply.body);
    assert!(reply.body.to_string().len() < 10_000 && !reply.body.to_string().contains("root:"), "{}", reply.body);
    playing.lift();
    let shown = service.api.get(&upload.path).await.ok(200);
    assert_eq!(shown["recordedParts"], 3, "what was acknowledged is kept");
    completes_with(service, &upload, &bytes).await;
}

/// Puts this before the first part, and this before the document's root.
fn with_odd(body: &mut String, inner: &str, prolog: &str) {
    let at = body.find("<Part>").expect("a part");
    body.insert_str(at, inner);
    let at = body.find("<ListPartsResult").expect("the root");
    body.insert_str(at, prolog);
}

rows! { an_odd_listing {
    listing_has_entities_that_grow: on(ListParts).edited(|_, _, body| {
        let mut grows = "<!DOCTYPE r [<!ENTITY e0 \"0123456789\">".to_owned();
        for level in 1..10 {
            grows += &format!("<!ENTITY e{level} \"{}\">", format!("&e{};", level - 1).repeat(10));
        }
        with_odd(body, "<Owner>&e9;</Owner>", &(grows + "]>"));
    });
    listing_asks_for_a_file: on(ListParts)
        .edited(|_, _, body| with_odd(body, "<Owner>&e;</Owner>", "<!DOCTYPE r [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>"));
    listing_is_nested_deeply: on(ListParts)
        .edited(|_, _, body| with_odd(body, &format!("{}{}", "<a>".repeat(200_000), "</a>".repeat(200_000)), ""));
    listing_is_huge: on(ListParts).edited(|_, _, body| with_odd(body, &" ".repeat(16 << 20), ""));
} }

async fn listing_forbidden(service: &mut Service) {
    let (upload, _, bytes) = all_recorded(service).await;
    let forbidden = service.s3().play(on(ListParts).refused(403, "AccessDenied"));
    sync(service, &upload).await.problem(502, "storage-refused");
    assert_eq!(service.api.get(&upload.path).await.ok(200)["recordedParts"], 3);
    forbidden.lift();
    completes_with(service, &upload, &bytes).await;
}

/// Every page is asked for, however small the store makes them.
async fn listing_in_small_pages(service: &mut Service) {
    let (upload, urls, bytes) = begin(service).await;
    service.api.put_parts(&urls, &bytes).await;
    let playing = service.s3().play(on(ListParts).edited(|call, _, body| {
        let after: usize = call.query.get("part-number-marker").map_or(0, |marker| marker.parse().expect("a number"));
        if after < 2 {
            crate::support::scripted_s3::change_elements(body, "Part", |parts| parts[..1].to_vec());
            truncated(body, &format!("<NextPartNumberMarker>{}</NextPartNumberMarker>", after + 1));
        }
    }));
    assert_eq!(sync(service, &upload).await.ok(200)["recordedParts"], 3);
    assert_eq!(playing.times(), 3);
    completes_with(service, &upload, &bytes).await;
}

/// A part that a listing leaves out is missing, not more: it is there again with the next listing.
async fn listing_forgets_a_part(service: &mut Service) {
    let (upload, urls, bytes) = begin(service).await;
    service.api.put_parts(&urls, &bytes).await;
    let forgetful = service.s3().play(on(ListParts).with_elements("Part", |mut parts| {
        parts.remove(1);
        parts
    }));
    assert_eq!(service.completes(&upload).await.problem(409, "parts-missing")["missingParts"], "2");
    assert_eq!(service.state_of(&upload).await, "open");
    assert_eq!(service.s3().count(CompleteMultipartUpload), 0);
    forgetful.lift();
    completes_with(service, &upload, &bytes).await;
}

async fn listing_has_every_part_twice(service: &mut Service) {
    let (upload, urls, bytes) = begin(service).await;
    service.api.put_parts(&urls, &bytes).await;
    service.s3().play(on(ListParts).with_elements("Part", |parts| [parts.clone(), parts].concat()));
    assert_eq!(sync(service, &upload).await.ok(200)["recordedParts"], 3);
    completes_with(service, &upload, &bytes).await;
}

/// Which of two versions S3 would take is not known: only the client can say.
async fn listing_has_two_versions_of_a_part(service: &mut Service) {
    let (upload, urls, bytes) = begin(service).await;
    let parts = service.api.put_parts(&urls, &bytes).await;
    let doubtful = service.s3().play(on(ListParts).with_elements("Part", |mut parts| {
        let from = parts[0].find("<ETag>").expect("an ETag") + "<ETag>".len();
        let mut other = parts[0].clone();
        let to = other.find("</ETag>").expect("its end");
        other.replace_range(from..to, "\"00000000000000000000000000000000\"");
        parts.insert(0, other);
        parts
    }));
    assert_eq!(service.completes(&upload).await.problem(409, "parts-missing")["missingParts"], "1");
    service.api.put(&format!("{}/parts", upload.path), json!({ "parts": &parts[..1] })).await.ok(200);
    completes_with(service, &upload, &bytes).await;
    assert!(doubtful.times() >= 1);
}

/// What S3 holds is not what was recorded: told as missing, for the client to send again or to report.
async fn listing_has_other_etags(service: &mut Service) {
    let (upload, _, bytes) = all_recorded(service).await;
    let other = service.s3().play(on(ListParts).with_elements("Part", |parts| {
        let changed = |part: &String| {
            let (from, to) = (part.find("<ETag>").expect("an ETag"), part.find("</ETag>").expect("its end"));
            format!("{}<ETag>\"11111111111111111111111111111111\"{}", &part[..from], &part[to..])
        };
        parts.iter().map(changed).collect()
    }));
    sync(service, &upload).await.ok(200);
    assert_ne!(service.state_of(&upload).await, "completed");
    other.lift();
    completes_with(service, &upload, &bytes).await;
}

async fn listing_has_another_size(service: &mut Service) {
    let (upload, urls, bytes) = begin(service).await;
    service.api.put_parts(&urls, &bytes).await;
    let other = service.s3().play(on(ListParts).edited(|_, _, body| {
        *body = body.replace("<Size>5242880</Size>", "<Size>5242879</Size>");
    }));
    assert_eq!(service.completes(&upload).await.problem(409, "parts-missing")["missingParts"], "1-2");
    other.lift();
    completes_with(service, &upload, &bytes).await;
}

async fn listing_denies_an_open_upload(service: &mut Service) {
    let (upload, _, bytes) = all_recorded(service).await;
    let lying = service.s3().play(on(ListParts).unapplied().refused(404, "NoSuchUpload"));
    assert_eq!(sync(service, &upload).await.ok(200)["recordedParts"], 3, "nothing is forgotten upon a denial");
    assert_eq!(service.state_of(&upload).await, "open");
    completes_with(service, &upload, &bytes).await;
    assert!(lying.times() >= 1);
}

/// Not every store lists what each part's checksum is: only where S3 wants them repeated must the client tell.
async fn listing_without_checksums(service: &mut Service) {
    service.s3().play(on(ListParts).edited(|_, _, body| {
        *body = body.replace("ChecksumSHA256>", "Other>").replace("ChecksumCRC64NVME>", "Other>");
    }));
    for (algorithm, repeated) in [("SHA256", true), ("CRC64NVME", false)] {
        let create = json!({ "filename": "x", "size": 5, "partChecksum": algorithm });
        let (id, ..) = service.api.create(create).await;
        let path = format!("/v1/uploads/{id}");
        let checksum = part_checksum(algorithm, b"hello");
        let items = json!({ "items": [{ "partNumber": 1, "checksum": checksum }] });
        let signed = service.api.post(&format!("{path}/part-urls"), items).await.ok(200);
        let mut sent = service.api.put_parts(signed["partUrls"].as_array().expect("part URLs"), b"hello").await;
        if repeated {
            service.api.complete(&id, None).await.problem(422, "checksum-required");
            sent[0]["checksum"] = json!(checksum);
            service.api.put(&format!("{path}/parts"), json!({ "parts": sent })).await.ok(200);
        }
        service.api.complete(&id, None).await.ok(200);
    }
}

/// Whoever only looks is not told of S3's troubles.
async fn listing_is_down_while_it_completes_by_itself(service: &mut Service) {
    let (id, upload, urls) = service.api.create(json!({ "filename": "x", "size": 5, "autoComplete": true })).await;
    let key = upload["key"].as_str().expect("a key").to_owned();
    let upload = Ready { path: format!("/v1/uploads/{id}"), key, id };
    service.api.put_parts(&urls, b"hello").await;
    let down = service.s3().play(on(ListParts).unapplied().refused(503, "SlowDown"));
    assert_eq!(service.state_of(&upload).await, "open");
    service.api.get(&format!("/v1/files/{}", upload.id)).await.problem(409, "not-completed");
    down.lift();
    service.advance(PAST_LEASES);
    assert_eq!(service.state_of(&upload).await, "completed");
}
