//! Presets: what one forbids is refused at once, and what it gives is found at S3.

use std::collections::BTreeMap;
use std::time::Duration;

use partita::config::{Encryption, Preset, Settings};
use partita::upload::names::KeyTemplate;
use partita::upload::{Algorithm, Visibility};
use serde_json::json;

use crate::access::tokens;
use crate::support::scripted_s3::Operation::{CreateMultipartUpload, PutObject};
use crate::support::{Api, MIB, Service, crc64nvme, file, on_either_database, part_checksum};

on_either_database! {
    a_preset_decides_what_may_be_uploaded_and_where_it_goes
    a_preset_makes_files_public_or_checked
    a_caller_may_be_bound_to_presets
    an_owner_of_any_name_stays_in_its_own_folder
    an_upload_ends_in_the_bucket_where_it_began
}

fn with_presets(settings: &mut Settings) {
    let pictures = Preset {
        max_size: Some(12 * MIB),
        content_types: vec!["image/png".into(), "video/*".into()],
        key: Some(KeyTemplate::new("{owner}/{date}/{id}.{ext}").expect("a template")),
        bucket: Some("pictures".into()),
        prefix: Some("media/".into()),
        tags: BTreeMap::from([("purpose".into(), "a b=c".into())]),
        cache_control: Some("private, max-age=60".into()),
        part_url_ttl: Some(Duration::from_secs(120)),
        download_url_ttl: Some(Duration::from_secs(30)),
        max_url_ttl: Some(Duration::from_secs(600)),
        upload_idle_ttl: Some(Duration::from_secs(3_600)),
        upload_max_ttl: Some(Duration::from_secs(7_200)),
        ..Preset::default()
    };
    let open = Preset { visibility: Visibility::Public, ..Preset::default() };
    let checked = Preset { part_checksum: Some(Algorithm::Crc32C), checksum_required: true, ..Preset::default() };
    settings.preset = [("pictures", pictures), ("open", open), ("checked", checked)]
        .map(|(name, preset)| (name.to_owned(), preset))
        .into();
}

async fn service(postgres: bool) -> Service {
    Service::with_auth(postgres, with_presets).await
}

async fn a_preset_decides_what_may_be_uploaded_and_where_it_goes(postgres: bool) {
    let service = service(postgres).await;
    let api = service.caller("alice@b.example", &[]).await;
    let create = async |body: serde_json::Value| api.post("/v1/uploads", body).await;
    let picture = json!({ "filename": "a.PNG", "preset": "pictures", "contentType": "image/png", "size": 5 });
    let with = |name: &str, value: serde_json::Value| {
        let mut body = picture.clone();
        body[name] = value;
        body
    };
    create(with("preset", json!("nothing"))).await.problem(404, "preset-not-found");
    create(with("preset", json!(""))).await.problem(404, "preset-not-found");
    for refused in [
        "image/svg+xml",
        "text/html",
        "image/pngx",
        "application/octet-stream",
        "videos/mp4",
        "text/html; x=image/png",
        "text/html;image/png",
        "video",
        "video/../text/html",
        "xvideo/mp4",
    ] {
        let reply = create(with("contentType", json!(refused))).await;
        assert!(
            matches!(reply.body["code"].as_str(), Some("content-type-not-allowed" | "invalid-content-type")),
            "{refused}"
        );
    }
    for refused in [
        "image/png, text/html",
        "image/png,text/html",
        "image/*",
        "video/*",
        "*/*",
        " image/png",
        "image/png\ttext/html",
        "image /png",
        "",
    ] {
        create(with("contentType", json!(refused))).await.problem(422, "invalid-content-type");
    }
    for refused in ["image/svg+xml", "text/html", "image/pngx", "application/octet-stream", "videos/mp4"] {
        create(with("contentType", json!(refused))).await.problem(422, "content-type-not-allowed");
    }
    let untyped = create(json!({ "filename": "a", "preset": "pictures", "size": 5 })).await;
    untyped.problem(422, "content-type-not-allowed");
    let large = create(with("size", json!(12 * MIB + 1))).await.problem(413, "file-too-large");
    assert_eq!(large["maxSize"], 12 * MIB);
    let long = create(with("partUrls", json!({ "count": 1, "ttlSeconds": 601 }))).await;
    long.problem(400, "invalid-request");
    create(with("contentType", json!("Video/MP4; codecs=x"))).await.ok(201);

    let id = api.upload(picture.clone(), b"hello").await;
    let upload = api.get(&format!("/v1/uploads/{id}")).await.ok(200);
    let date = service.clock().now().date_naive();
    assert_eq!(upload["bucket"], "pictures");
    assert_eq!(upload["key"], format!("media/alice@b.example/{date}/{id}.PNG"));
    assert_eq!(upload["preset"], "pictures");
    let link = api.get(&format!("/v1/files/{id}/download-url")).await.ok(200);
    let url = link["url"].as_str().expect("a URL");
    assert!(url.contains("/pictures/media/") && url.contains("X-Amz-Expires=30&"), "{url}");
    let (headers, bytes) = api.download(&id).await;
    assert_eq!((headers["cache-control"].as_str(), bytes.as_slice()), ("private, max-age=60", b"hello".as_slice()));
    api.get(&format!("/v1/files/{id}/download-url?ttlSeconds=601")).await.problem(400, "invalid-request");
    // Nor does a link that is the same for a while live longer, whenever it is asked for.
    for _ in 0..20 {
        let asked_at = service.clock().now();
        let link = api.get(&format!("/v1/files/{id}/download-url?cacheable=true&ttlSeconds=60")).await.ok(200);
        let until =
            chrono::DateTime::parse_from_rfc3339(link["expiresAt"].as_str().expect("a moment")).expect("a moment");
        let life = (until.to_utc() - asked_at).num_seconds();
        assert!((59..=600).contains(&life), "{life}");
        let url = link["url"].as_str().expect("a URL");
        assert!(url.contains("X-Amz-Expires=600&") && url.contains("max-age%3D540"), "{url}");
        service.advance(Duration::from_secs(97));
    }
    let longest = api.get(&format!("/v1/files/{id}/download-url?cacheable=true&ttlSeconds=600")).await.ok(200);
    let url = longest["url"].as_str().expect("a URL");
    assert!(url.contains("X-Amz-Expires=600&") && !url.contains("max-age%3D"), "nothing is left for a window: {url}");

    // Its lifetimes are its own.
    let (id, upload, urls) = api.create(picture.clone()).await;
    let lives = |from: &str, to: &str| {
        let moment = |text: &str| chrono::DateTime::parse_from_rfc3339(text).expect("a moment");
        (moment(to) - moment(from)).num_seconds()
    };
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    assert_eq!(lives(&text(&upload["createdAt"]), &text(&upload["expiresAt"])), 3_600);
    assert!((118..=120).contains(&urls[0]["expiresInSeconds"].as_i64().expect("seconds")), "{}", urls[0]);
    let sign = json!({ "parts": "1", "ttlSeconds": 601 });
    api.post(&format!("/v1/uploads/{id}/part-urls"), sign).await.problem(400, "invalid-request");
    service.advance(Duration::from_secs(3_700));
    api.get(&format!("/v1/files/{id}")).await.problem(404, "file-not-found");
    service.settle().await;
    assert_eq!(api.get(&format!("/v1/uploads/{id}")).await.ok(200)["abortReason"], "expired");

    // Of a stream, too, S3 cannot be made to take more.
    let stream = json!({ "filename": "s", "preset": "pictures", "contentType": "video/mp4", "partSize": 5 * MIB });
    let (id, ..) = api.create(stream.clone()).await;
    let sign = async |parts: serde_json::Value| api.post(&format!("/v1/uploads/{id}/part-urls"), parts).await;
    sign(json!({ "parts": "1-3" })).await.problem(413, "file-too-large");
    let items = json!({ "items": [{ "partNumber": 3, "size": 2 * MIB }] });
    let urls = sign(items).await.ok(200)["partUrls"].clone();
    let more = file(2 * MIB + 1);
    assert_eq!(api.put_bytes(&urls[0], more).await.0.as_u16(), 403, "its size is signed");
    let body = json!({ "size": 12 * MIB + 1 });
    api.call("POST", &format!("/v1/uploads/{id}/complete"), Some(body)).await.problem(413, "file-too-large");
    let mut first = stream;
    first["partUrls"] = json!({ "count": 3 });
    create(first).await.problem(413, "file-too-large");
}

async fn a_preset_makes_files_public_or_checked(postgres: bool) {
    let service = service(postgres).await;
    let api = service.caller("alice", &[]).await;
    let body = json!({ "filename": "a b.txt", "preset": "checked", "size": 5 });
    let (id, upload, urls) = api.create(body.clone()).await;
    assert_eq!((upload["partChecksum"].as_str(), urls.len()), (Some("CRC32C"), 0));
    let plain = api.post(&format!("/v1/uploads/{id}/part-urls"), json!({ "parts": "1" })).await;
    plain.problem(422, "checksum-required");
    let path = format!("/v1/uploads/{id}/complete");
    api.call("POST", &path, None).await.problem(422, "checksum-required");
    let mut by_itself = body.clone();
    by_itself["autoComplete"] = json!(true);
    api.post("/v1/uploads", by_itself.clone()).await.problem(422, "checksum-required");
    let checksum = json!({ "algorithm": "CRC64NVME", "value": crc64nvme(b"hello") });
    by_itself["checksum"] = checksum.clone();
    api.post("/v1/uploads", by_itself).await.ok(201);
    let items = json!({ "items": [{ "partNumber": 1, "checksum": part_checksum("CRC32C", b"hello") }] });
    let urls = api.post(&format!("/v1/uploads/{id}/part-urls"), items).await.ok(200)["partUrls"].clone();
    api.put_parts(urls.as_array().expect("URLs"), b"hello").await;
    let object = api.complete(&id, Some(json!({ "checksum": checksum }))).await.ok(200)["object"].clone();
    assert_eq!(object["checksum"]["algorithm"], "CRC32C", "{object}");

    let mut other = body;
    other["partChecksum"] = json!("SHA256");
    api.post("/v1/uploads", other).await.problem(422, "invalid-checksum");

    let id = api.upload(json!({ "filename": "a b.txt", "preset": "open" }), b"hello").await;
    let file = api.get(&format!("/v1/files/{id}")).await.ok(200);
    assert_eq!(file["visibility"], "public");
    let url = file["publicUrl"].as_str().expect("a URL");
    assert!(url.ends_with(&format!("/partita/uploads/{}/{id}/a-b.txt", &id[34..])), "{url}");
    let private = api.upload(json!({ "filename": "x" }), b"hello").await;
    let private = api.get(&format!("/v1/files/{private}")).await.ok(200);
    assert!(private["visibility"] == "private" && private.get("publicUrl").is_none());
}

async fn a_caller_may_be_bound_to_presets(postgres: bool) {
    let service = Service::with_auth(postgres, |settings| {
        with_presets(settings);
        settings.auth.jwt = tokens::hs256();
    })
    .await;
    let bound = |presets: serde_json::Value| {
        let mut claims = tokens::claims(&service);
        claims["partita_presets"] = presets;
        service.api.with(&tokens::by_secret(&claims))
    };
    let create = async |api: &Api, preset: Option<&str>| {
        let mut body = json!({ "filename": "x", "size": 5, "contentType": "image/png" });
        if let Some(preset) = preset {
            body["preset"] = preset.into();
        }
        api.post("/v1/uploads", body).await
    };
    let one = bound(json!(["pictures"]));
    assert_eq!(create(&one, None).await.ok(201)["upload"]["preset"], "pictures", "the only one there is for it");
    create(&one, Some("default")).await.problem(404, "preset-not-found");
    create(&one, Some("open")).await.problem(404, "preset-not-found");
    let two = bound(json!(["pictures", "open"]));
    create(&two, None).await.problem(404, "preset-not-found");
    assert_eq!(create(&two, Some("open")).await.ok(201)["upload"]["preset"], "open");
    create(&bound(json!([])), None).await.problem(404, "preset-not-found");
    bound(json!("pictures")).get("/v1/uploads").await.problem(401, "invalid-token");
    assert_eq!(create(&bound(json!(["default", "open"])), None).await.ok(201)["upload"]["preset"], "default");
}

/// What is begun in a bucket ends there, whatever the settings say by then.
async fn an_upload_ends_in_the_bucket_where_it_began(postgres: bool) {
    let mut service = service(postgres).await;
    let api = service.caller("alice", &[]).await;
    let body = json!({ "filename": "x", "preset": "pictures", "contentType": "image/png", "size": 5 });
    let (left, ..) = api.create(body.clone()).await;
    let (finished, _, urls) = api.create(body).await;
    api.put_parts(&urls, b"hello").await;
    service.settings.preset.clear();
    service.restart().await;
    let api = service.api.with(api.credential.as_deref().expect("a key"));
    assert_eq!(api.complete(&finished, None).await.ok(200)["state"], "completed");
    assert_eq!(api.download(&finished).await.1, b"hello");
    service.advance(Duration::from_secs(3 * 3_600));
    service.settle().await;
    service.advance(Duration::from_secs(2 * 3_600));
    service.settle().await;
    assert_eq!(api.get(&format!("/v1/uploads/{left}")).await.ok(200)["state"], "aborted");
    let open = service.bucket().named("pictures").open_uploads_under("", Default::default()).await.expect("a listing");
    assert_eq!(open.0, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_get_what_their_preset_gives_them() {
    let rich = Preset {
        storage_class: Some("STANDARD_IA".into()),
        encryption: Some(Encryption::Kms),
        kms_key_id: Some("a-key".into()),
        tags: BTreeMap::from([("purpose".into(), "a b=c".into()), ("team".into(), String::new())]),
        cache_control: Some("private, max-age=60".into()),
        visibility: Visibility::Public,
        ..Preset::default()
    };
    let plain = Preset { encryption: Some(Encryption::S3), ..Preset::default() };
    let service = Service::scripted(false, |settings| {
        settings.preset = [("rich".to_owned(), rich), ("plain".to_owned(), plain)].into();
    })
    .await;
    let api = &service.api;
    let rich = [
        ("x-amz-storage-class", "STANDARD_IA"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "a-key"),
        ("x-amz-tagging", "purpose=a%20b%3Dc&team="),
        ("cache-control", "private, max-age=60"),
        ("x-amz-acl", "public-read"),
    ];
    for (preset, expected) in [("rich", &rich[..]), ("plain", &[("x-amz-server-side-encryption", "AES256")])] {
        // What a file gets when it is begun, an empty one gets when it is put.
        for (size, operation) in [(5, CreateMultipartUpload), (0, PutObject)] {
            let (id, ..) = api.create(json!({ "filename": "x", "preset": preset, "size": size })).await;
            if size == 0 {
                api.complete(&id, None).await.ok(200);
            }
            let call = service.s3().calls(Some(operation)).pop().expect("a call");
            let given = rich.iter().filter_map(|(name, _)| Some((*name, call.headers.get(*name)?.to_str().ok()?)));
            assert_eq!(given.collect::<Vec<_>>(), expected, "{preset}, {size} bytes");
        }
    }
}

async fn an_owner_of_any_name_stays_in_its_own_folder(postgres: bool) {
    let service = Service::with_auth(postgres, |settings| {
        with_presets(settings);
        settings.auth.jwt = tokens::hs256();
    })
    .await;
    let long = "x".repeat(255);
    let mut folders = std::collections::HashSet::new();
    let owners = [
        "alice", "Alice", "alice/", "../alice", ".", "..", "/", "a/../b", "a%2fb", "{id}", "{owner}", "=2F", "/=",
        "\u{e4}", "a\u{308}", &long,
    ];
    for owner in owners {
        let mut claims = tokens::claims(&service);
        claims["sub"] = owner.into();
        let api = service.api.with(&tokens::by_secret(&claims));
        let (id, upload, _) = api
            .create(json!({ "filename": "{owner}.png", "preset": "pictures", "contentType": "image/png", "size": 5 }))
            .await;
        let key = upload["key"].as_str().expect("a key");
        let segments: Vec<&str> = key.split('/').collect();
        assert!(segments.len() == 4 && segments[0] == "media" && segments[3].starts_with(&id), "{owner}: {key}");
        assert!(!segments.iter().any(|segment| ["", ".", ".."].contains(segment)), "{owner}: {key}");
        assert!(folders.insert(segments[1].to_owned()), "{owner} shares {key} with another");
        assert_eq!(upload["owner"], owner);
    }
}
