//! Parts and uploads: what was put is listed, once, in order; what was aborted is gone.

use std::io::Write as _;
use std::time::Duration;

use crate::support::{MIN_PART, Server, byte_files, bytes, etag, eventually, read_answer};

#[test]
fn parts_are_listed_in_order_page_by_page_to_the_end() {
    let server = Server::start();
    let id = server.client.create("k");
    let numbers = [10_000, 3, 1, 7, 2];
    for number in numbers {
        server.client.put_part("k", &id, number, &bytes(10, number as u64));
    }
    let (mut seen, mut sizes, mut marker) = (vec![], vec![], "0".to_owned());
    loop {
        let list = server.client.list_parts("k", &id).query("max-parts", "2").query("part-number-marker", &marker);
        let page = list.send().expect_status(200);
        sizes.push(page.parts().len());
        seen.extend(page.parts());
        if page.xml("IsTruncated") == "false" {
            break;
        }
        marker = page.xml("NextPartNumberMarker");
    }
    assert_eq!(sizes, [2, 2, 1]);
    assert_eq!(seen, [1, 2, 3, 7, 10_000].map(|number| (number, etag(&bytes(10, number as u64)))));
}

#[test]
fn a_part_put_again_replaces_the_first_and_frees_its_bytes() {
    let server = Server::start();
    let id = server.client.create("k");
    let old = server.client.put_part("k", &id, 1, b"old");
    let new = server.client.put_part("k", &id, 1, b"new");
    let list = server.client.list_parts("k", &id).send();
    assert_eq!((list.parts(), list.xml_all("Size")), (vec![(1, new.clone())], vec!["3".to_owned()]));
    eventually("the replaced bytes are gone", || byte_files(server.folder()).len() == 1);
    server.client.complete("k", &id, &[(1, old)]).send().expect(400, "InvalidPart");
    server.client.complete("k", &id, &[(1, new)]).send().expect_status(200);
    assert_eq!(server.client.read("k"), b"new");
}

#[test]
fn racing_puts_of_one_part_leave_one_whole_body_also_after_a_restart() {
    let server = Server::start();
    let id = server.client.create("k");
    let bodies: Vec<_> = (0..8).map(|seed| bytes(1 << 20, seed)).collect();
    std::thread::scope(|scope| {
        for body in &bodies {
            let (client, id) = (server.client, &id);
            scope.spawn(move || client.put_part("k", id, 1, body));
        }
    });
    let parts = server.client.parts("k", &id);
    assert_eq!(parts.len(), 1);
    let server = server.restart();
    assert_eq!(server.client.parts("k", &id), parts);
    server.client.complete("k", &id, &parts).send().expect_status(200);
    let object = server.client.read("k");
    assert!(bodies.contains(&object) && etag(&object) == parts[0].1);
}

#[test]
fn an_aborted_upload_is_gone_with_its_bytes_and_stays_gone() {
    let server = Server::start();
    let (id, parts) = server.client.upload("k", &[b"a"]);
    server.client.abort("k", &id).send().expect_status(204);
    let gone = |server: &Server| {
        server.client.list_parts("k", &id).send().expect(404, "NoSuchUpload");
        server.client.part("k", &id, 2, b"x").send().expect(404, "NoSuchUpload");
        server.client.complete("k", &id, &parts).send().expect(404, "NoSuchUpload");
        server.client.abort("k", &id).send().expect(404, "NoSuchUpload");
    };
    gone(&server);
    eventually("its bytes are gone", || byte_files(server.folder()).is_empty());
    gone(&server.restart());
}

#[test]
fn a_part_that_arrives_after_the_abort_finds_no_upload() {
    let server = Server::start();
    let (id, parts) = server.client.upload("k", &[b"a"]);
    let late = server.client.part("k", &id, 2, b"");
    let body = bytes(2 << 20, 1);
    let mut stream = late.begin(&late.url(), body.len());
    stream.write_all(&body[..1 << 20]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    server.client.abort("k", &id).send().expect_status(204);
    stream.write_all(&body[1 << 20..]).unwrap();
    read_answer(stream).expect(404, "NoSuchUpload");
    server.client.complete("k", &id, &parts).send().expect(404, "NoSuchUpload");
    eventually("its bytes are gone", || byte_files(server.folder()).is_empty());
}

#[test]
fn a_part_belongs_to_one_upload_and_its_key() {
    let server = Server::start();
    let id = server.client.create("k");
    server.client.part("other", &id, 1, b"x").send().expect(404, "NoSuchUpload");
    server.client.part("k", "0123456789abcdef", 1, b"x").send().expect(404, "NoSuchUpload");
    for number in [0, 10_001] {
        server.client.part("k", &id, number, b"x").send().expect(400, "InvalidArgument");
    }
    assert!(server.client.parts("k", &id).is_empty());
}

#[test]
fn open_uploads_are_listed_oldest_first_page_by_page_by_prefix_and_delimiter() {
    let server = Server::start();
    let expected: Vec<_> = ["p/x", "p/x", "p/x", "p/y"].map(|key| (key.to_owned(), server.client.create(key))).into();
    server.client.create("q");
    let list = || server.client.get("").query("uploads", "").query("prefix", "p/");
    let rows = |page: &crate::support::Answer| page.xml_all("Key").into_iter().zip(page.xml_all("UploadId"));
    let (mut seen, mut page) = (vec![], list().query("max-uploads", "2").send().expect_status(200));
    loop {
        seen.extend(rows(&page));
        if page.xml("IsTruncated") == "false" {
            break;
        }
        let next = list().query("max-uploads", "2").query("key-marker", &page.xml("NextKeyMarker"));
        page = next.query("upload-id-marker", &page.xml("NextUploadIdMarker")).send().expect_status(200);
    }
    assert_eq!(seen, expected);
    let grouped = server.client.get("").query("uploads", "").query("delimiter", "/").send();
    assert_eq!(grouped.xml_all("Key"), ["q"]);
    let prefixes: Vec<_> = grouped.text().matches("<CommonPrefixes><Prefix>p/</Prefix>").map(str::to_owned).collect();
    assert_eq!(prefixes.len(), 1);
}

#[test]
fn parts_can_be_copied_from_an_object_whole_or_in_part() {
    let server = Server::start();
    let source = bytes(MIN_PART + 100, 1);
    server.client.put("source", &source).send().expect_status(200);
    let id = server.client.create("k");
    let copy = |number, range: Option<&str>| {
        let request = server.client.part("k", &id, number, b"").sign_and_send("x-amz-copy-source", "/bucket/source");
        let request =
            range.into_iter().fold(request, |request, range| request.sign_and_send("x-amz-copy-source-range", range));
        (number, request.send().expect_status(200).xml("ETag"))
    };
    let parts = [copy(1, None), copy(2, Some("bytes=10-59"))];
    server.client.complete("k", &id, &parts).send().expect_status(200);
    assert_eq!(server.client.read("k"), [&source[..], &source[10..60]].concat());
}
