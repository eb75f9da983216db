//! Uploads from beginning to end, and every operation in every state.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{MIB, Service, file, on_both_databases};

on_both_databases! {
    an_upload_goes_from_create_to_download
    a_small_file_costs_two_calls
    a_client_that_lost_its_state_resumes_by_sync
    an_upload_completes_without_a_recorded_etag
    an_empty_file_is_an_object
    a_file_of_unknown_size_is_completed_with_its_size
    a_wrong_size_of_a_stream_destroys_nothing
    what_s3_told_of_a_part_stays_when_the_part_is_reported_again
    racing_completions_are_told_how_far_it_is
    reports_of_the_same_parts_in_any_order_do_not_block_each_other
    an_upload_completes_by_itself
    uploads_are_listed_newest_first
    every_operation_answers_in_every_state_as_the_contract_says
    an_open_upload_past_its_time_answers_as_expired
    activity_keeps_an_upload_alive_up_to_the_hard_cap
    a_refused_completion_leaves_the_upload_open
    an_aborted_upload_leaves_nothing_at_s3
    what_was_acknowledged_is_there_after_a_restart
}

async fn an_upload_goes_from_create_to_download(service: Service) {
    let api = &service.api;
    let bytes = file(20 * MIB + 5);
    let body = json!({
        "filename": "Ferien – Süd.mov", "size": bytes.len(), "contentType": "video/quicktime", "metadata": { "album": "Süd 2026" },
    });
    let (id, upload, urls) = api.create(body).await;
    assert_eq!(upload["state"], "open");
    assert_eq!((upload["partCount"].as_i64(), urls.len()), (Some(3), 3));
    assert_eq!(upload["key"], format!("uploads/{}/{id}/Ferien-S-d.mov", &id[34..]));
    assert!(
        urls.iter()
            .all(|url| url["method"] == "PUT"
                && url["expiresInSeconds"].as_i64().is_some_and(|s| (1..=900).contains(&s)))
    );
    let reports = api.put_parts(&urls, &bytes).await;
    let path = format!("/v1/uploads/{id}");
    let recorded = api.put(&format!("{path}/parts"), json!({ "parts": &reports[..2] })).await.ok(200);
    assert_eq!(recorded["recordedBytes"].as_i64(), Some(16 * MIB));
    assert_eq!(api.get(&path).await.ok(200)["missingParts"], "3");
    let part =
        api.put(&format!("{path}/parts/3"), json!({ "etag": reports[2]["etag"], "size": 4 * MIB + 5 })).await.ok(200);
    assert_eq!((part["partNumber"].as_i64(), part["size"].as_i64()), (Some(3), Some(4 * MIB + 5)));

    let completed = api.complete(&id, None).await.ok(200);
    assert_eq!(completed["state"], "completed");
    assert_eq!(completed["object"]["size"].as_u64(), Some(bytes.len() as u64));
    assert!(completed["object"]["etag"].as_str().is_some_and(|etag| etag.ends_with("-3\"")), "{completed}");
    let again = api.complete(&id, None).await.ok(200);
    assert_eq!(again["object"], completed["object"], "repeating it gives the same");

    let (headers, downloaded) = api.download(&id).await;
    assert!(downloaded == bytes, "the bytes that were sent are the bytes that come back");
    assert_eq!(headers["content-type"], "video/quicktime");
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"Ferien _ S_d.mov\"; filename*=UTF-8''Ferien%20%E2%80%93%20S%C3%BCd.mov"
    );
    assert_eq!(headers["x-amz-meta-partita-upload-id"], id);
    assert_eq!(headers["x-amz-meta-album"], "S%C3%BCd%202026");
}

async fn a_small_file_costs_two_calls(service: Service) {
    let api = &service.api;
    let (id, _, urls) = api.create(json!({ "filename": "a.txt", "size": 5, "contentType": "text/plain" })).await;
    let reports = api.put_parts(&urls, b"hello").await;
    api.complete(&id, Some(json!({ "parts": reports }))).await.ok(200);
    assert_eq!(api.download(&id).await.1, b"hello");
}

async fn a_client_that_lost_its_state_resumes_by_sync(service: Service) {
    let api = &service.api;
    let bytes = file(45 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    api.put_parts(&urls[1..3], &bytes).await;
    let path = format!("/v1/uploads/{id}");
    let synced = api.call("POST", &format!("{path}/sync"), None).await.ok(200);
    assert_eq!((synced["missingParts"].as_str(), synced["recordedParts"].as_i64()), (Some("1,4-6"), Some(2)));
    let missing = json!({ "parts": synced["missingParts"], "ttlSeconds": 60 });
    let signed = api.post(&format!("{path}/part-urls"), missing).await.ok(200);
    let signed = signed["partUrls"].as_array().expect("part URLs");
    assert!(signed.iter().all(|url| url["expiresInSeconds"].as_i64().is_some_and(|seconds| seconds <= 60)));
    api.put_parts(signed, &bytes).await;
    api.complete(&id, None).await.ok(200);
    assert!(api.download(&id).await.1 == bytes);
}

async fn an_upload_completes_without_a_recorded_etag(service: Service) {
    let api = &service.api;
    let bytes = file(17 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    api.put_parts(&urls, &bytes).await;
    let completed = api.complete(&id, None).await.ok(200);
    assert_eq!(completed["recordedParts"].as_i64(), Some(3), "S3 was asked for them");
}

async fn an_empty_file_is_an_object(service: Service) {
    let api = &service.api;
    let (id, upload, urls) =
        api.create(json!({ "filename": "empty.txt", "size": 0, "contentType": "text/plain" })).await;
    assert_eq!((upload["partCount"].as_i64(), urls.len(), upload["missingParts"].as_str()), (Some(0), 0, Some("")));
    let refused = api
        .post(&format!("/v1/uploads/{id}/part-urls"), json!({ "parts": "1" }))
        .await
        .problem(422, "invalid-part-number");
    assert_eq!(refused["partCount"], 0);
    api.call("POST", &format!("/v1/uploads/{id}/sync"), None).await.ok(200);
    let completed = api.complete(&id, None).await.ok(200);
    assert_eq!(completed["object"]["size"], 0);
    let (headers, bytes) = api.download(&id).await;
    assert_eq!((bytes.len(), headers["content-type"].as_str()), (0, "text/plain"));
    assert_eq!(headers["x-amz-meta-partita-upload-id"], id);
}

async fn a_file_of_unknown_size_is_completed_with_its_size(service: Service) {
    let api = &service.api;
    let bytes = file(12 * MIB + 7);
    let (id, upload, urls) = api.create(json!({ "filename": "stream", "partSize": 5 * MIB })).await;
    assert!(upload.get("size").is_none() && upload.get("partCount").is_none() && upload.get("missingParts").is_none());
    assert!(urls.is_empty(), "part URLs only on request");
    let path = format!("/v1/uploads/{id}");
    let items =
        json!({ "items": [{ "partNumber": 1 }, { "partNumber": 2 }, { "partNumber": 3, "size": 2 * MIB + 7 }] });
    let signed = api.post(&format!("{path}/part-urls"), items).await.ok(200);
    api.put_parts(signed["partUrls"].as_array().expect("part URLs"), &bytes).await;
    let too_long = json!({ "items": [{ "partNumber": 4, "size": 5 * MIB + 1 }] });
    api.post(&format!("{path}/part-urls"), too_long).await.problem(422, "size-mismatch");
    let complete = async |body| api.post(&format!("{path}/complete"), body).await;
    complete(json!({})).await.problem(422, "invalid-size");
    complete(json!({ "size": -5 })).await.problem(422, "invalid-size");
    complete(json!({ "size": 5 * MIB })).await.problem(422, "size-mismatch");
    let missing = complete(json!({ "size": 16 * MIB })).await.problem(409, "parts-missing");
    assert_eq!(missing["missingParts"], "4");
    let completed = api.complete(&id, Some(json!({ "size": bytes.len() }))).await.ok(200);
    assert_eq!((completed["size"].as_u64(), completed["partCount"].as_i64()), (Some(bytes.len() as u64), Some(3)));
    assert!(api.download(&id).await.1 == bytes);

    let (id, ..) = api.create(json!({ "filename": "nothing" })).await;
    api.complete(&id, Some(json!({ "size": 0 }))).await.ok(200);
    assert!(api.download(&id).await.1.is_empty(), "a stream may turn out to be empty");
}

async fn a_wrong_size_of_a_stream_destroys_nothing(service: Service) {
    let api = &service.api;
    let (id, ..) = api.create(json!({ "filename": "stream", "partSize": 5 * MIB })).await;
    let path = format!("/v1/uploads/{id}");
    let items = json!({ "items": [{ "partNumber": 1, "size": 1_000 }] });
    let signed = api.post(&format!("{path}/part-urls"), items).await.ok(200);
    let bytes = file(1_000);
    api.put_bytes(&signed["partUrls"][0], bytes.clone()).await;
    for size in [0, 1, 999, 1_001, 5 * MIB] {
        api.post(&format!("{path}/complete"), json!({ "size": size })).await.problem(422, "size-mismatch");
    }
    let too_large = json!({ "size": 53_687_091_200_001_i64 });
    api.post(&format!("{path}/complete"), too_large).await.problem(413, "file-too-large");
    api.post(&format!("{path}/complete"), json!({ "size": 50_001 * MIB })).await.problem(422, "invalid-size");
    api.complete(&id, Some(json!({ "size": 1_000 }))).await.ok(200);
    assert!(api.download(&id).await.1 == bytes);

    // A short part that is not the last one fits no size.
    let (id, ..) = api.create(json!({ "filename": "stream", "partSize": 5 * MIB })).await;
    let path = format!("/v1/uploads/{id}");
    let items = json!({ "items": [{ "partNumber": 1, "size": 5 }, { "partNumber": 2 }] });
    let signed = api.post(&format!("{path}/part-urls"), items).await.ok(200);
    api.put_bytes(&signed["partUrls"][0], file(5)).await;
    api.put_bytes(&signed["partUrls"][1], file(5 * MIB)).await;
    let refused = api.post(&format!("{path}/complete"), json!({ "size": 5 * MIB + 5 })).await;
    refused.problem(422, "size-mismatch");
    assert_eq!(api.get(&path).await.ok(200)["state"], "open");
}

async fn what_s3_told_of_a_part_stays_when_the_part_is_reported_again(service: Service) {
    let api = &service.api;
    let (id, ..) = api.create(json!({ "filename": "x" })).await;
    let path = format!("/v1/uploads/{id}");
    let part = json!({ "items": [{ "partNumber": 1, "size": 5 }] });
    let signed = api.post(&format!("{path}/part-urls"), part).await.ok(200);
    let (_, etag) = api.put_bytes(&signed["partUrls"][0], b"hello".to_vec()).await;
    let known = async || api.get(&format!("{path}/parts")).await.ok(200)["items"][0]["size"].as_i64();
    let report = async |etag: &str| api.put(&format!("{path}/parts/1"), json!({ "etag": etag })).await.ok(200);
    // One of unknown size counts as a whole one.
    let unknown = Some(64 * MIB);
    report(&etag).await;
    assert_eq!(known().await, unknown, "a client need not say it");
    api.call("POST", &format!("{path}/sync"), None).await.ok(200);
    assert_eq!(known().await, Some(5));
    report(&etag).await;
    assert_eq!(known().await, Some(5), "a completion that has just asked S3 may be about to go by it");
    report("other").await;
    assert_eq!(known().await, unknown, "of another part nothing is known");
}

async fn racing_completions_are_told_how_far_it_is(service: Service) {
    let bytes = file(17 * MIB);
    for recorded in [false, true] {
        let (id, _, urls) = service.api.create(json!({ "filename": "x", "size": bytes.len() })).await;
        let sent = service.api.put_parts(&urls, &bytes).await;
        let mut racing = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let (api, path) = (service.api.clone(), format!("/v1/uploads/{id}/complete"));
            let body = recorded.then(|| json!({ "parts": sent }));
            racing.spawn(async move { api.call("POST", &path, body).await });
        }
        for reply in racing.join_all().await {
            assert!(reply.status == 200 || reply.status == 202, "{}: {}", reply.status, reply.body);
        }
        service.api.complete(&id, None).await.ok(200);
    }
}

async fn reports_of_the_same_parts_in_any_order_do_not_block_each_other(service: Service) {
    let create = json!({ "filename": "x", "size": 2_000 * 5 * MIB, "partSize": 5 * MIB, "partUrls": { "count": 0 } });
    let (id, ..) = service.api.create(create).await;
    let mut reports: Vec<Value> =
        (1..=2_000).map(|n| json!({ "partNumber": n, "etag": format!("{n:032x}") })).collect();
    let mut racing = tokio::task::JoinSet::new();
    for _ in 0..6 {
        reports.reverse();
        let (api, path) = (service.api.clone(), format!("/v1/uploads/{id}/parts"));
        let body = json!({ "parts": reports });
        racing.spawn(async move { api.put(&path, body).await });
    }
    for reply in racing.join_all().await {
        reply.ok(200);
    }
}

async fn an_upload_completes_by_itself(service: Service) {
    let api = &service.api;
    let body = json!({ "filename": "x.bin", "size": 9 * MIB, "autoComplete": true });
    api.post("/v1/uploads", json!({ "filename": "x", "autoComplete": true })).await.problem(422, "invalid-size");
    let (id, _, urls) = api.create(body).await;
    let bytes = file(9 * MIB);
    api.put_parts(&urls[..1], &bytes).await;
    let path = format!("/v1/uploads/{id}");
    assert_eq!(api.get(&path).await.ok(200)["state"], "open");
    api.get(&format!("/v1/files/{id}")).await.problem(409, "not-completed");
    api.put_parts(&urls[1..], &bytes).await;
    assert_eq!(api.get(&path).await.ok(200)["state"], "open", "S3 is asked at most once in two seconds");
    service.advance(Duration::from_secs(3));
    assert_eq!(api.get(&format!("/v1/files/{id}")).await.ok(200)["size"].as_i64(), Some(9 * MIB));
    assert_eq!(api.get(&path).await.ok(200)["state"], "completed");
}

async fn uploads_are_listed_newest_first(service: Service) {
    let api = &service.api;
    let fingerprint = "p1-5-0123456789abcdef";
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(
            api.create(json!({ "filename": "x", "size": 5, "fingerprint": fingerprint, "partUrls": { "count": 0 } }))
                .await
                .0,
        );
    }
    api.create(json!({ "filename": "y", "size": 5 })).await;
    ids.reverse();
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = api.get(&format!("/v1/uploads?fingerprint={fingerprint}&limit=2{cursor}")).await.ok(200);
        let items = page["items"].as_array().expect("items");
        found.extend(items.iter().map(|upload| upload["id"].as_str().expect("an id").to_owned()));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(found, ids);
    api.delete(&format!("/v1/uploads/{}", ids[0])).await.ok(204);
    let count =
        async |query: &str| api.get(&format!("/v1/uploads?{query}")).await.ok(200)["items"].as_array().map(Vec::len);
    assert_eq!(
        (count("state=open").await, count("state=aborted").await, count("state=failed").await),
        (Some(5), Some(1), Some(0))
    );
    api.get("/v1/uploads?state=closed").await.problem(400, "invalid-request");
    api.get("/v1/uploads?fingerprint=%00").await.problem(400, "invalid-request");
    api.get("/v1/uploads?limit=0").await.problem(400, "invalid-request");
    api.get("/v1/uploads?limit=1001").await.problem(400, "invalid-request");
    api.get("/v1/uploads?cursor=x").await.problem(400, "invalid-cursor");
    api.get(&format!("/v1/uploads/{}/parts?cursor=!", ids[1])).await.problem(400, "invalid-cursor");
}

/// Puts an upload into a state by hand, with the facts that belong there.
async fn put_into(service: &Service, id: &str, state: &str) {
    let target = "target_size = 5, object_etag = 'x', completed_at = 1";
    let facts = match state {
        "creating" => "lease_until = 99999999999999".to_owned(),
        "open" => "lease_until = NULL".to_owned(),
        "completing" => "lease_until = 99999999999999, target_size = 5".to_owned(),
        "completed" | "deleting" => target.to_owned(),
        "deleted" => format!("{target}, ended_at = 1"),
        "aborting" => "abort_reason = 'requested'".to_owned(),
        "aborted" => "abort_reason = 'requested', ended_at = 1".to_owned(),
        "expired" => "abort_reason = 'expired', ended_at = 1".to_owned(),
        "failed" => "failure = 'upload-vanished', ended_at = 1".to_owned(),
        _ => unreachable!("{state}"),
    };
    let state = if state == "expired" { "aborted" } else { state };
    service.sql(&format!("UPDATE uploads SET state = '{state}', {facts} WHERE id = {}", service.literal(id))).await;
}

async fn every_operation_answers_in_every_state_as_the_contract_says(service: Service) {
    let api = &service.api;
    #[rustfmt::skip]
    let table = [
        // state, sign record sync, complete, abort, file
        ("creating",   (409, "upload-not-open"),   (409, "upload-not-open"), (204, ""),                  (409, "not-completed")),
        ("open",       (200, ""),                  (409, "parts-missing"),   (204, ""),                  (409, "not-completed")),
        ("completing", (409, "upload-not-open"),   (202, ""),                (409, "upload-not-open"),   (409, "not-completed")),
        ("completed",  (409, "already-completed"), (200, ""),                (409, "already-completed"), (200, "")),
        ("deleting",   (410, "file-deleted"),      (410, "file-deleted"),    (409, "already-completed"), (404, "file-not-found")),
        ("deleted",    (410, "file-deleted"),      (410, "file-deleted"),    (409, "already-completed"), (404, "file-not-found")),
        ("aborting",   (410, "upload-aborted"),    (410, "upload-aborted"),  (204, ""),                  (404, "file-not-found")),
        ("aborted",    (410, "upload-aborted"),    (410, "upload-aborted"),  (204, ""),                  (404, "file-not-found")),
        ("expired",    (410, "upload-expired"),    (410, "upload-expired"),  (204, ""),                  (404, "file-not-found")),
        ("failed",     (410, "upload-failed"),     (410, "upload-failed"),   (204, ""),                  (404, "file-not-found")),
    ];
    let expect = |reply: crate::support::Reply, (status, code): (u16, &str), place: &str| {
        assert_eq!(reply.status.as_u16(), status, "{place}: {}", reply.body);
        assert_eq!(reply.body["code"].as_str().unwrap_or_default(), code, "{place}");
        if code == "upload-not-open" {
            assert!(reply.header("retry-after").is_some(), "{place}");
            assert_eq!(Some(reply.body["state"].as_str()), place.split(' ').next().map(Some), "{place}");
        }
    };
    for (state, open_only, complete, abort, file) in table {
        let (id, ..) = api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
        let path = format!("/v1/uploads/{id}");
        put_into(&service, &id, state).await;
        let shown = api.get(&path).await.ok(200);
        assert_eq!(shown["state"], if state == "expired" { "aborted" } else { state });
        assert_eq!(shown.get("object").is_some(), ["completed", "deleting", "deleted"].contains(&state), "{state}");
        assert_eq!(shown.get("abortReason").is_some(), ["aborting", "aborted", "expired"].contains(&state), "{state}");
        assert_eq!(shown.get("failure").is_some(), state == "failed");
        assert_eq!(shown.get("missingParts").is_some(), state == "open");
        api.get(&format!("{path}/parts")).await.ok(200);
        expect(
            api.post(&format!("{path}/part-urls"), json!({ "parts": "1" })).await,
            open_only,
            &format!("{state} sign"),
        );
        expect(api.call("POST", &format!("{path}/sync"), None).await, open_only, &format!("{state} sync"));
        expect(api.call("POST", &format!("{path}/complete"), None).await, complete, &format!("{state} complete"));
        // Generated clients say null where they leave a body out.
        expect(api.post(&format!("{path}/complete"), Value::Null).await, complete, &format!("{state} complete"));
        let report = json!({ "etag": "x" });
        expect(api.put(&format!("{path}/parts/1"), report).await, open_only, &format!("{state} record one"));
        let report = json!({ "parts": [{ "partNumber": 1, "etag": "x" }] });
        expect(api.put(&format!("{path}/parts"), report).await, open_only, &format!("{state} record"));
        expect(api.get(&format!("/v1/files/{id}")).await, file, &format!("{state} getFile"));
        expect(api.get(&format!("/v1/files/{id}/download-url")).await, file, &format!("{state} getDownloadUrl"));
        let redirect = if file.0 == 200 { (302, "") } else { file };
        expect(api.get(&format!("/v1/files/{id}/download")).await, redirect, &format!("{state} downloadFile"));
        expect(api.delete(&path).await, abort, &format!("{state} abort"));
    }
}

async fn an_open_upload_past_its_time_answers_as_expired(service: Service) {
    let api = &service.api;
    let (id, ..) = api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
    service.advance(Duration::from_secs(24 * 3600 - 60));
    let path = format!("/v1/uploads/{id}");
    assert_eq!(api.get(&path).await.ok(200)["state"], "open");
    service.advance(Duration::from_secs(120));
    api.post(&format!("{path}/part-urls"), json!({ "parts": "1" })).await.problem(410, "upload-expired");
    api.put(&format!("{path}/parts/1"), json!({ "etag": "x" })).await.problem(410, "upload-expired");
    api.call("POST", &format!("{path}/complete"), None).await.problem(410, "upload-expired");
    api.call("POST", &format!("{path}/sync"), None).await.problem(410, "upload-expired");
    api.get(&format!("/v1/files/{id}")).await.problem(404, "file-not-found");
    // That it has expired is told first, whatever else is wrong.
    api.post(&format!("{path}/part-urls"), json!({ "parts": "2" })).await.problem(410, "upload-expired");
    api.post(&format!("{path}/complete"), json!({ "size": 6 })).await.problem(410, "upload-expired");
    assert_eq!(api.get(&path).await.ok(200)["state"], "open", "nothing has swept it yet");
    api.delete(&path).await.ok(204);
}

async fn activity_keeps_an_upload_alive_up_to_the_hard_cap(service: Service) {
    let api = &service.api;
    let (id, upload, _) = api.create(json!({ "filename": "x", "size": 5 * MIB, "partUrls": { "count": 0 } })).await;
    let path = format!("/v1/uploads/{id}");
    let moment =
        |value: &Value| chrono::DateTime::parse_from_rfc3339(value.as_str().expect("a moment")).expect("RFC 3339");
    let created = moment(&upload["createdAt"]);
    assert_eq!((moment(&upload["expiresAt"]) - created).num_hours(), 24);
    // A URL that lives for two days keeps its upload alive for as long.
    let signed = api.post(&format!("{path}/part-urls"), json!({ "parts": "1", "ttlSeconds": 172_800 })).await.ok(200);
    let url_end = moment(&signed["partUrls"][0]["expiresAt"]);
    assert!(moment(&api.get(&path).await.ok(200)["expiresAt"]) >= url_end);
    // Alive at 138 hours only because of the activity between.
    for hours in [46, 23, 23, 23] {
        service.advance(Duration::from_secs(hours * 3600));
        api.put(&format!("{path}/parts/1"), json!({ "etag": "x" })).await.ok(200);
    }
    service.advance(Duration::from_secs(23 * 3600));
    api.put(&format!("{path}/parts/1"), json!({ "etag": "x" })).await.ok(200);
    // Some hours are left until the cap of six days: neither the upload nor a URL lives longer, whatever is asked for.
    let shown = api.get(&path).await.ok(200);
    assert_eq!(moment(&shown["expiresAt"]), created + chrono::TimeDelta::days(6));
    let signed = api.post(&format!("{path}/part-urls"), json!({ "parts": "1", "ttlSeconds": 604_800 })).await.ok(200);
    let life = signed["partUrls"][0]["expiresInSeconds"].as_i64().expect("seconds");
    assert!(life < 48 * 3600, "no URL outlives the hard cap: {life}");
    service.advance(Duration::from_secs(u64::try_from(life).expect("seconds") + 60));
    api.put(&format!("{path}/parts/1"), json!({ "etag": "x" })).await.problem(410, "upload-expired");
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_keeps_an_upload_alive_however_short_its_life() {
    let service = Service::with(|settings| settings.upload_idle_ttl = Duration::from_secs(600)).await;
    let (id, ..) = service.api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
    for _ in 0..4 {
        service.advance(Duration::from_secs(360));
        service.api.put(&format!("/v1/uploads/{id}/parts/1"), json!({ "etag": "x" })).await.ok(200);
    }
}

async fn a_refused_completion_leaves_the_upload_open(service: Service) {
    let api = &service.api;
    let bytes = file(17 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    let path = format!("/v1/uploads/{id}");
    let mut reports = api.put_parts(&urls[..1], &bytes).await;
    let refused = api.complete(&id, Some(json!({ "parts": reports }))).await.problem(409, "parts-missing");
    assert_eq!(refused["missingParts"], "2-3");
    let shown = api.get(&path).await.ok(200);
    assert_eq!(
        (shown["state"].as_str(), &shown["lastProblem"]),
        (Some("open"), &json!({ "code": "parts-missing", "missingParts": "2-3" }))
    );

    reports.extend(api.put_parts(&urls[1..], &bytes).await);
    let right = reports[1]["etag"].clone();
    reports[1]["etag"] = json!("\"00000000000000000000000000000000\"");
    let refused = api.complete(&id, Some(json!({ "parts": reports }))).await.problem(409, "parts-differ");
    assert_eq!(refused["parts"], "2");
    assert_eq!(api.get(&path).await.ok(200)["lastProblem"], json!({ "code": "parts-differ", "parts": "2" }));

    // A part that S3 never got, though it was recorded.
    let (other, _, urls) = api.create(json!({ "filename": "y", "size": bytes.len() })).await;
    let sent = api.put_parts(&urls[..2], &bytes).await;
    let invented = json!({ "partNumber": 3, "etag": "\"00000000000000000000000000000000\"" });
    let refused = api
        .complete(&other, Some(json!({ "parts": [sent[0], sent[1], invented] })))
        .await
        .problem(409, "parts-missing");
    assert_eq!(refused["missingParts"], "3");

    reports[1]["etag"] = right;
    let completed = api.complete(&id, Some(json!({ "parts": reports }))).await.ok(200);
    assert!(completed.get("lastProblem").is_none(), "gone with the next completion");
    assert!(api.download(&id).await.1 == bytes);
}

async fn an_aborted_upload_leaves_nothing_at_s3(service: Service) {
    let api = &service.api;
    let bytes = file(9 * MIB);
    let (id, _, urls) = api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    api.put_parts(&urls[..1], &bytes).await;
    let path = format!("/v1/uploads/{id}");
    api.delete(&path).await.ok(204);
    assert_eq!(api.put_part(&urls[1], &bytes).await.0, 404, "S3 knows nothing of it");
    let shown = api.get(&path).await.ok(200);
    assert_eq!((shown["state"].as_str(), shown["abortReason"].as_str()), (Some("aborting"), Some("requested")));
    api.delete(&path).await.ok(204);
    // A transfer begun under the last URL may land until it cannot any more; only then is the abort proved.
    service.advance(Duration::from_secs(2 * 3600));
    api.delete(&path).await.ok(204);
    assert_eq!(api.get(&path).await.ok(200)["state"], "aborted");

    let (id, ..) = api.create(json!({ "filename": "x", "size": 5, "partUrls": { "count": 0 } })).await;
    api.delete(&format!("/v1/uploads/{id}")).await.ok(204);
    assert_eq!(api.get(&format!("/v1/uploads/{id}")).await.ok(200)["state"], "aborted", "nothing was ever signed");
}

async fn what_was_acknowledged_is_there_after_a_restart(mut service: Service) {
    let bytes = file(17 * MIB);
    let (id, _, urls) = service.api.create(json!({ "filename": "x", "size": bytes.len() })).await;
    let reports = service.api.put_parts(&urls[..2], &bytes).await;
    let path = format!("/v1/uploads/{id}");
    service.api.put(&format!("{path}/parts"), json!({ "parts": reports })).await.ok(200);
    service.restart().await;
    let api = &service.api;
    assert_eq!(api.get(&path).await.ok(200)["missingParts"], "3");
    let signed = api.post(&format!("{path}/part-urls"), json!({ "parts": "3" })).await.ok(200);
    api.put_parts(signed["partUrls"].as_array().expect("part URLs"), &bytes).await;
    api.complete(&id, None).await.ok(200);
    service.restart().await;
    assert!(service.api.download(&id).await.1 == bytes);
}
