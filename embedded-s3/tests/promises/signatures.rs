//! A signed URL allows what was signed, for as long as was signed, and nothing else.

use std::io::Write as _;
use std::time::Duration;

use crate::support::{Server, bytes, etag, read_answer};

#[test]
fn a_signed_part_is_stored_under_its_md5() {
    let server = Server::start();
    let id = server.client.create("k");
    let body = bytes(1000, 1);
    assert_eq!(server.client.put_part("k", &id, 1, &body), etag(&body));
    assert_eq!(server.client.parts("k", &id), [(1, etag(&body))]);
}

#[test]
fn a_url_serves_no_other_part_key_upload_expiry_or_method() {
    let server = Server::start();
    let (id, other) = (server.client.create("k/5"), server.client.create("k/5"));
    let request = server.client.part("k/5", &id, 1, b"x");
    let url = request.url();
    for (from, to) in [
        ("partNumber=1", "partNumber=2"),
        ("/k/5", "/k/6"),
        (id.as_str(), other.as_str()),
        ("Expires=300", "Expires=3000"),
    ] {
        let tampered = url.replace(from, to);
        assert_ne!(tampered, url);
        request.send_to(&tampered).expect(403, "SignatureDoesNotMatch");
    }
    for method in ["GET", "DELETE"] {
        let answer = server.client.request(method, "k/5").send_to(&url);
        answer.expect(403, "SignatureDoesNotMatch");
    }
    assert!(server.client.parts("k/5", &id).is_empty() && server.client.parts("k/5", &other).is_empty());
}

#[test]
fn only_the_right_keys_sign() {
    let server = Server::start();
    let id = server.client.create("k");
    let mut request = server.client.part("k", &id, 1, b"x");
    request.secret = "another".to_owned();
    request.send().expect(403, "SignatureDoesNotMatch");
    request.access = "AKOTHER".to_owned();
    request.send().expect(403, "InvalidAccessKeyId");
    request.send_to(&format!("/bucket/k?partNumber=1&uploadId={id}")).expect(403, "AccessDenied");
    let token = server.client.part("k", &id, 1, b"x").query("X-Amz-Security-Token", "made-up");
    token.send().expect(400, "InvalidToken");
    assert!(server.client.parts("k", &id).is_empty());
}

#[test]
fn a_url_ends_when_it_says_and_within_a_week() {
    let server = Server::start();
    let id = server.client.create("k");
    let mut request = server.client.part("k", &id, 1, b"x");
    (request.age, request.expires) = (30, 10);
    request.send().expect(403, "AccessDenied");
    (request.age, request.expires) = (0, 604_801);
    request.send().expect(400, "AuthorizationQueryParametersError");
    (request.age, request.expires) = (-3600, 300);
    request.send().expect(403, "RequestTimeTooSkewed");
    assert!(server.client.parts("k", &id).is_empty());
    (request.age, request.expires) = (0, 604_800);
    request.send().expect_status(200);
}

#[test]
fn a_signed_length_allows_no_other_length() {
    let server = Server::start();
    let id = server.client.create("k");
    for (sent, status) in [(1001, 403), (999, 403), (0, 403), (1000, 200)] {
        let request = server.client.part("k", &id, 1, &bytes(sent, 1)).sign("content-length", "1000");
        let answer = request.send().expect_status(status);
        if status == 403 {
            assert_eq!(answer.xml("Code"), "SignatureDoesNotMatch");
            assert!(server.client.parts("k", &id).is_empty(), "{sent} bytes were stored");
        }
    }
    assert_eq!(server.client.parts("k", &id), [(1, etag(&bytes(1000, 1)))]);
}

#[test]
fn an_amz_header_nobody_signed_is_refused_and_a_browsers_own_are_not() {
    let server = Server::start();
    let id = server.client.create("k");
    let part = server.client.part("k", &id, 1, b"xyz");
    part.clone().header("x-amz-meta-a", "b").send().expect(403, "AccessDenied");
    part.clone().header("x-amz-checksum-crc64nvme", &crate::support::crc64(b"xyz")).send().expect(403, "AccessDenied");
    assert!(server.client.parts("k", &id).is_empty());
    part.header("content-type", "video/mp4").header("user-agent", "Mozilla/5.0").send().expect_status(200);
}

#[test]
fn a_body_of_unknown_length_is_refused() {
    let server = Server::start();
    let id = server.client.create("k");
    let part = server.client.part("k", &id, 1, b"").header("transfer-encoding", "chunked");
    let mut stream = part.begin(&part.url(), 0);
    stream.write_all(b"5\r\nhello\r\n0\r\n\r\n").unwrap();
    read_answer(stream).expect(411, "MissingContentLength");
    assert!(server.client.parts("k", &id).is_empty());
}

#[test]
fn a_client_dying_in_the_middle_leaves_no_part() {
    let server = Server::start();
    let id = server.client.create("k");
    let part = server.client.part("k", &id, 1, b"");
    let mut stream = part.begin(&part.url(), 5 << 20);
    stream.write_all(&bytes(2 << 20, 1)).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(stream);
    crate::support::eventually("the half-received bytes are gone", || {
        crate::support::byte_files(server.folder()).is_empty()
    });
    assert!(server.client.parts("k", &id).is_empty());
}
