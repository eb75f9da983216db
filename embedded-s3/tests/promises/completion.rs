//! Complete makes exactly the object asked for, once, or changes nothing.

use crate::support::{MIN_PART, Request, Server, bytes, multipart_etag};

#[test]
fn the_object_is_its_parts_and_keeps_what_its_creation_said() {
    let server = Server::start();
    let id = server.client.create_with(
        "k",
        &[
            ("content-type", "video/mp4"),
            ("cache-control", "max-age=60"),
            ("content-disposition", "attachment; filename=\"a.mp4\""),
            ("x-amz-meta-owner", "u-1"),
            ("x-amz-tagging", "state=pending"),
        ],
    );
    let bodies = [bytes(MIN_PART, 1), bytes(MIN_PART + 1, 2), bytes(77, 3)];
    let parts = [1, 4, 9].into_iter().zip(&bodies);
    let parts: Vec<_> = parts.map(|(number, body)| (number, server.client.put_part("k", &id, number, body))).collect();
    server.client.get("k").send().expect(404, "NoSuchKey");
    let done = server.client.complete("k", &id, &parts).send().expect_status(200);
    let expected = multipart_etag(&[&bodies[0], &bodies[1], &bodies[2]]);
    assert_eq!(done.xml("ETag"), expected);
    let object = server.client.get("k").send().expect_status(200);
    assert!(object.body == bodies.concat());
    assert_eq!(object.header("etag"), expected);
    assert_eq!(object.header("content-type"), "video/mp4");
    assert_eq!(object.header("cache-control"), "max-age=60");
    assert_eq!(object.header("content-disposition"), "attachment; filename=\"a.mp4\"");
    assert_eq!(object.header("x-amz-meta-owner"), "u-1");
    assert_eq!(server.client.get("k").query("tagging", "").send().xml("Value"), "pending");
    server.client.list_parts("k", &id).send().expect(404, "NoSuchUpload");
}

#[test]
fn a_refused_complete_leaves_the_upload_intact() {
    let server = Server::start();
    let bodies = [bytes(MIN_PART, 1), bytes(100, 2), bytes(9, 3)];
    let (id, parts) = server.client.upload("k", &[&bodies[0], &bodies[1], &bodies[2]]);
    server.client.put("k", b"earlier").send().expect_status(200);
    let [first, second, third] = parts.clone().try_into().unwrap();
    let wrong = (2, first.1.clone());
    let complete = |parts: &[(i32, String)]| server.client.complete("k", &id, parts);
    let right = || complete(&[first.clone(), second.clone()]);
    let refused: [(&str, Request, u16, &str); 11] = [
        ("a part never put", complete(&[first.clone(), (7, second.1.clone())]), 400, "InvalidPart"),
        ("a wrong ETag", complete(&[first.clone(), wrong]), 400, "InvalidPart"),
        ("a small part before the last", complete(&[first.clone(), second.clone(), third]), 400, "EntityTooSmall"),
        ("wrong order", complete(&[second.clone(), first.clone()]), 400, "InvalidPartOrder"),
        ("a part twice", complete(&[first.clone(), first.clone()]), 400, "InvalidPartOrder"),
        ("no parts", complete(&[]), 400, "MalformedXML"),
        ("a wrong object size", right().sign_and_send("x-amz-mp-object-size", "1"), 400, "InvalidRequest"),
        ("a wrong checksum", right().sign_and_send("x-amz-checksum-crc64nvme", "AAAAAAAAAAA="), 400, "BadDigest"),
        ("another checksum", right().sign_and_send("x-amz-checksum-crc32c", "AAAAAA=="), 400, "InvalidRequest"),
        ("If-None-Match and an object", right().header("if-none-match", "*"), 412, "PreconditionFailed"),
        ("If-Match and another object", right().header("if-match", "\"0123\""), 412, "PreconditionFailed"),
    ];
    for (what, request, status, code) in refused {
        let answer = request.send();
        assert_eq!((answer.status, answer.xml("Code").as_str()), (status, code), "{what}");
        assert_eq!(server.client.parts("k", &id), parts, "after {what}");
        assert_eq!(server.client.read("k"), b"earlier", "after {what}");
    }
    let size = (MIN_PART + 100).to_string();
    right().sign_and_send("x-amz-mp-object-size", &size).send().expect_status(200);
    assert!(server.client.read("k") == bodies[..2].concat());
}

#[test]
fn a_complete_sent_again_gets_the_same_answer_also_after_a_restart() {
    let server = Server::start();
    let (id, parts) = server.client.upload("k", &[b"a"]);
    let first = server.client.complete("k", &id, &parts).send().expect_status(200);
    let again = |server: &Server| {
        let answer = server.client.complete("k", &id, &parts).header("if-none-match", "*").send().expect_status(200);
        assert_eq!(answer.xml("ETag"), first.xml("ETag"));
        assert_eq!(answer.xml("ChecksumCRC64NVME"), first.xml("ChecksumCRC64NVME"));
    };
    again(&server);
    let server = server.restart();
    again(&server);
    server.client.put("k", b"later").send().expect_status(200);
    server.client.complete("k", &id, &parts).send().expect(404, "NoSuchUpload");
    server.client.abort("k", &id).send().expect(404, "NoSuchUpload");
    assert_eq!(server.client.read("k"), b"later");
}

#[test]
fn of_racing_completes_that_want_no_object_there_one_wins() {
    let server = Server::start();
    for round in 0..8 {
        let key = format!("k{round}");
        let uploads: Vec<_> = (0..4).map(|n| server.client.upload(&key, &[format!("body {n}").as_bytes()])).collect();
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let race = |(id, parts): &(String, Vec<_>)| {
                let request = server.client.complete(&key, id, parts).header("if-none-match", "*");
                scope.spawn(move || request.send().status)
            };
            let racers: Vec<_> = uploads.iter().map(race).collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winners: Vec<_> = (0..4).filter(|n| statuses[*n] == 200).collect();
        assert_eq!(winners.len(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 412].contains(status)), "{statuses:?}");
        assert_eq!(server.client.read(&key), format!("body {}", winners[0]).into_bytes());
        for loser in (0..4).filter(|n| *n != winners[0]) {
            assert_eq!(server.client.parts(&key, &uploads[loser].0).len(), 1, "a loser's upload stays open");
        }
    }
}

#[test]
fn racing_completes_of_one_upload_all_tell_of_the_same_object() {
    let server = Server::start();
    let (id, parts) = server.client.upload("k", &[b"a"]);
    let request = server.client.complete("k", &id, &parts);
    let etags: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..6).map(|_| scope.spawn(|| request.send().expect_status(200).xml("ETag"))).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    assert!(etags.iter().all(|etag| *etag == multipart_etag(&[b"a"])), "{etags:?}");
    assert_eq!(server.client.read("k"), b"a");
}

#[test]
fn uploads_of_one_key_do_not_disturb_each_other_nor_do_puts_and_deletions() {
    let server = Server::start();
    let (older, older_parts) = server.client.upload("k", &[b"older"]);
    let (younger, younger_parts) = server.client.upload("k", &[b"younger"]);
    server.client.complete("k", &younger, &younger_parts).send().expect_status(200);
    assert_eq!(server.client.read("k"), b"younger");
    server.client.put("k", b"put").send().expect_status(200);
    server.client.request("DELETE", "k").send().expect_status(204);
    server.client.complete("k", &older, &older_parts).send().expect_status(200);
    assert_eq!(server.client.read("k"), b"older");
}

#[test]
fn a_complete_may_name_the_object_it_replaces() {
    let server = Server::start();
    let (id, parts) = server.client.upload("k", &[b"new"]);
    let complete = server.client.complete("k", &id, &parts);
    complete.clone().header("if-match", "\"0123\"").send().expect(404, "NoSuchKey");
    let old = server.client.put("k", b"old").send().header("etag");
    complete.header("if-match", &old).send().expect_status(200);
    assert_eq!(server.client.read("k"), b"new");
}

#[test]
fn an_empty_part_makes_an_empty_object() {
    let server = Server::start();
    let (id, parts) = server.client.upload("k", &[b""]);
    server.client.complete("k", &id, &parts).send().expect_status(200);
    assert!(server.client.read("k").is_empty());
}
