//! Reads give the right bytes, whatever happens to the object meanwhile.

use std::io::Read as _;

use crate::support::{MIN_PART, Server, byte_files, bytes, eventually, read_answer};

/// An object of two parts.
fn two_parts(server: &Server) -> Vec<u8> {
    let (head, tail) = (bytes(MIN_PART, 1), bytes(1000, 2));
    let (id, parts) = server.client.upload("k", &[&head, &tail]);
    server.client.complete("k", &id, &parts).send().expect_status(200);
    [head, tail].concat()
}

#[test]
fn a_range_may_cross_the_border_of_two_parts() {
    let server = Server::start();
    let whole = two_parts(&server);
    let size = whole.len();
    for (range, from, to) in [
        (format!("bytes={}-{}", MIN_PART - 10, MIN_PART + 9), MIN_PART - 10, MIN_PART + 10),
        (format!("bytes={}-{}", MIN_PART, MIN_PART), MIN_PART, MIN_PART + 1),
        (format!("bytes={}-{}", MIN_PART - 1, MIN_PART - 1), MIN_PART - 1, MIN_PART),
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=-1001".to_owned(), size - 1001, size),
        (format!("bytes={}-", size - 1), size - 1, size),
        (format!("bytes=10-{}", size + 5), 10, size),
    ] {
        let answer = server.client.get("k").header("range", &range).send().expect_status(206);
        assert!(answer.body == whole[from..to], "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {from}-{}/{size}", to - 1));
    }
    server.client.get("k").header("range", &format!("bytes={size}-")).send().expect(416, "InvalidRange");
}

#[test]
fn one_part_can_be_read_and_the_number_of_parts_is_told() {
    let server = Server::start();
    let whole = two_parts(&server);
    let answer = server.client.get("k").query("partNumber", "2").send().expect_status(206);
    assert!(answer.body == whole[MIN_PART..]);
    let head = server.client.request("HEAD", "k").query("partNumber", "1").send().expect_status(206);
    assert_eq!(
        (head.header("x-amz-mp-parts-count"), head.header("content-length")),
        ("2".into(), MIN_PART.to_string())
    );
    server.client.get("k").query("partNumber", "3").send().expect(416, "InvalidPartNumber");
}

#[test]
fn a_signed_url_may_override_the_headers_of_the_answer() {
    let server = Server::start();
    let put = server.client.put("k", b"hello").header("content-type", "text/plain").header("cache-control", "no-store");
    put.send().expect_status(200);
    let get = server.client.get("k").query("response-content-type", "application/x-test");
    let get = get.query("response-content-disposition", "attachment; filename=\"a b.txt\"");
    let answer = get.query("response-cache-control", "max-age=9").send().expect_status(200);
    assert_eq!(answer.header("content-type"), "application/x-test");
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"a b.txt\"");
    assert_eq!(answer.header("cache-control"), "max-age=9");
    let plain = server.client.get("k").send();
    assert_eq!((plain.header("content-type"), plain.header("cache-control")), ("text/plain".into(), "no-store".into()));
}

#[test]
fn conditions_on_reads_are_kept() {
    let server = Server::start();
    let put = server.client.put("k", b"hello").send().expect_status(200);
    let etag = put.header("etag");
    let modified = server.client.get("k").send().header("last-modified");
    let get = |name: &str, value: &str| server.client.get("k").header(name, value).send();
    assert_eq!(get("if-match", &etag).status, 200);
    assert_eq!(get("if-match", "\"other\"").expect_status(412).xml("Code"), "PreconditionFailed");
    assert_eq!(get("if-none-match", &etag).status, 304);
    assert_eq!(get("if-none-match", "\"other\"").status, 200);
    assert_eq!(get("if-modified-since", &modified).status, 304);
    assert_eq!(get("if-unmodified-since", &modified).status, 200);
    let old = "Sat, 01 Jan 2000 00:00:00 GMT";
    assert_eq!(get("if-modified-since", old).status, 200);
    assert_eq!(get("if-unmodified-since", old).status, 412);
}

#[test]
fn a_download_goes_on_to_its_end_though_the_object_is_overwritten_and_deleted() {
    let server = Server::start();
    // More than the network holds in flight.
    let bodies: Vec<_> = (0..4).map(|seed| bytes(8 << 20, seed)).collect();
    let slices: Vec<_> = bodies.iter().map(Vec::as_slice).collect();
    let (id, parts) = server.client.upload("k", &slices);
    server.client.complete("k", &id, &parts).send().expect_status(200);

    let get = server.client.get("k");
    let mut stream = get.begin(&get.url(), 0);
    let mut start = vec![0; 1000];
    stream.read_exact(&mut start).unwrap();
    server.client.put("k", b"new").send().expect_status(200);
    server.client.request("DELETE", "k").send().expect_status(204);
    server.client.get("k").send().expect(404, "NoSuchKey");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(byte_files(server.folder()).len() >= 4, "the bytes wait for the reader");

    let mut rest = vec![];
    stream.read_to_end(&mut rest).unwrap();
    let all = [start, rest].concat();
    assert!(all.ends_with(&bodies.concat()), "the download was cut or mixed");
    eventually("the bytes go with the last reader", || byte_files(server.folder()).is_empty());
}

#[test]
fn a_download_in_a_bucket_being_deleted_goes_on_to_its_end() {
    let server = Server::start();
    let body = bytes(24 << 20, 1);
    server.client.put("k", &body).send().expect_status(200);
    let get = server.client.get("k");
    let mut stream = get.begin(&get.url(), 0);
    let mut start = vec![0; 10];
    stream.read_exact(&mut start).unwrap();
    server.client.request("DELETE", "").send().expect(409, "BucketNotEmpty");
    server.client.request("DELETE", "k").send().expect_status(204);
    server.client.request("DELETE", "").send().expect_status(204);
    server.client.request("HEAD", "").send().expect_status(404);
    let mut rest = vec![];
    stream.read_to_end(&mut rest).unwrap();
    assert!([start, rest].concat().ends_with(&body));
    eventually("the bucket's folder is gone", || {
        std::fs::read_dir(server.folder().join("buckets")).unwrap().count() == 0
    });
}

#[test]
fn a_missing_key_is_a_404_with_or_without_a_body() {
    let server = Server::start();
    server.client.get("none").send().expect(404, "NoSuchKey");
    server.client.request("HEAD", "none").send().expect_status(404);
    let elsewhere = server.client.request_in("no-such-bucket", "GET", "none").send();
    elsewhere.expect(404, "NoSuchBucket");
    let get = server.client.get("none");
    let stream = get.begin(&get.url(), 0);
    assert_eq!(read_answer(stream).status, 404);
}
