//! What was claimed about the bytes is checked, and what was refused is not stored.

use crate::support::{MIN_PART, Server, bytes, crc32c, crc64, md5, sha256};

#[test]
fn a_signed_checksum_admits_no_other_bytes() {
    let server = Server::start();
    let id = server.client.create_with("k", &[("x-amz-checksum-algorithm", "CRC32C")]);
    let part = |body: &[u8]| server.client.part("k", &id, 1, body);
    let right = crc32c(b"abc");
    part(b"abd").sign_and_send("x-amz-checksum-crc32c", &right).send().expect(400, "BadDigest");
    part(b"abc").sign("x-amz-checksum-crc32c", &right).send().expect(403, "SignatureDoesNotMatch");
    part(b"abc").sign_and_send("x-amz-checksum-crc32c", "AAAA").send().expect(400, "InvalidRequest");
    assert!(server.client.parts("k", &id).is_empty());
    let stored = part(b"abc").sign_and_send("x-amz-checksum-crc32c", &right).send().expect_status(200);
    assert_eq!(stored.header("x-amz-checksum-crc32c"), right);
    let listed = server.client.list_parts("k", &id).send();
    assert_eq!(listed.xml("ChecksumCRC32C"), right);
    assert_eq!(listed.xml("ChecksumAlgorithm"), "CRC32C");
}

#[test]
fn a_content_md5_is_checked_signed_or_not() {
    let server = Server::start();
    let id = server.client.create("k");
    let part = |body: &[u8]| server.client.part("k", &id, 1, body);
    part(b"abd").sign_and_send("content-md5", &md5(b"abc")).send().expect(400, "BadDigest");
    part(b"abd").header("content-md5", &md5(b"abc")).send().expect(400, "BadDigest");
    part(b"abc").sign("content-md5", &md5(b"abc")).send().expect(403, "SignatureDoesNotMatch");
    assert!(server.client.parts("k", &id).is_empty());
    part(b"abc").sign_and_send("content-md5", &md5(b"abc")).send().expect_status(200);
}

#[test]
fn an_upload_that_named_no_algorithm_gets_a_crc64nvme_of_the_whole_object() {
    let server = Server::start();
    let (head, tail) = (bytes(MIN_PART, 1), bytes(1000, 2));
    let whole = [head.clone(), tail.clone()].concat();
    let (id, parts) = server.client.upload("k", &[&head, &tail]);

    let complete = server.client.complete("k", &id, &parts);
    let wrong = complete.clone().sign_and_send("x-amz-checksum-crc64nvme", &crc64(b"something else"));
    wrong.send().expect(400, "BadDigest");
    assert_eq!(server.client.parts("k", &id), parts, "the upload is still open");

    let right = complete.sign_and_send("x-amz-checksum-crc64nvme", &crc64(&whole));
    let done = right.sign_and_send("x-amz-checksum-type", "FULL_OBJECT").send().expect_status(200);
    assert_eq!(done.xml("ChecksumCRC64NVME"), crc64(&whole));
    assert_eq!(done.xml("ChecksumType"), "FULL_OBJECT");
    let head = server.client.request("HEAD", "k").sign_and_send("x-amz-checksum-mode", "ENABLED").send();
    assert_eq!(head.header("x-amz-checksum-crc64nvme"), crc64(&whole));
    assert_eq!(head.header("x-amz-checksum-type"), "FULL_OBJECT");
}

#[test]
fn a_part_may_only_come_with_the_algorithm_its_upload_named() {
    let server = Server::start();
    let unnamed = server.client.create("k");
    let part = |id: &str| server.client.part("k", id, 1, b"abc");
    part(&unnamed).sign_and_send("x-amz-checksum-crc32c", &crc32c(b"abc")).send().expect(400, "InvalidRequest");
    part(&unnamed).sign_and_send("x-amz-checksum-crc64nvme", &crc64(b"abd")).send().expect(400, "BadDigest");
    part(&unnamed).sign_and_send("x-amz-checksum-crc64nvme", &crc64(b"abc")).send().expect_status(200);
    let named = server.client.create_with("k", &[("x-amz-checksum-algorithm", "CRC32C")]);
    part(&named).sign_and_send("x-amz-checksum-sha256", &sha256(b"abc")).send().expect(400, "InvalidRequest");
    part(&named).send().expect(400, "InvalidRequest");
    assert!(server.client.parts("k", &named).is_empty());
}

#[test]
fn a_composite_upload_needs_every_parts_checksum_again_to_complete() {
    let server = Server::start();
    let id = server.client.create_with("k", &[("x-amz-checksum-algorithm", "SHA256")]);
    let sum = sha256(b"abc");
    let stored = server.client.part("k", &id, 1, b"abc").sign_and_send("x-amz-checksum-sha256", &sum).send();
    let etag = stored.expect_status(200).header("etag");
    server.client.complete("k", &id, &[(1, etag.clone())]).send().expect(400, "InvalidRequest");
    let row = |sum: &str| {
        format!("<Part><PartNumber>1</PartNumber><ETag>{etag}</ETag><ChecksumSHA256>{sum}</ChecksumSHA256></Part>")
    };
    server.client.complete_xml("k", &id, &row(&sha256(b"abd"))).send().expect(400, "InvalidPart");
    let done = server.client.complete_xml("k", &id, &row(&sum)).send().expect_status(200);
    assert!(done.xml("ChecksumSHA256").ends_with("-1"));
    assert_eq!(done.xml("ChecksumType"), "COMPOSITE");
}

#[test]
fn a_full_object_crc32c_is_checked_against_all_bytes() {
    let server = Server::start();
    let named = [("x-amz-checksum-algorithm", "CRC32C"), ("x-amz-checksum-type", "FULL_OBJECT")];
    let id = server.client.create_with("k", &named);
    let (head, tail) = (bytes(MIN_PART, 1), bytes(77, 2));
    let parts = [(1, server.client.put_part("k", &id, 1, &head)), (2, server.client.put_part("k", &id, 2, &tail))];
    let complete = server.client.complete("k", &id, &parts);
    complete.clone().sign_and_send("x-amz-checksum-crc32c", &crc32c(&head)).send().expect(400, "BadDigest");
    let composite = complete.clone().sign_and_send("x-amz-checksum-type", "COMPOSITE");
    composite.send().expect(400, "InvalidRequest");
    let whole = crc32c(&[head, tail].concat());
    let done = complete.sign_and_send("x-amz-checksum-crc32c", &whole).send().expect_status(200);
    assert_eq!(done.xml("ChecksumCRC32C"), whole);
}

#[test]
fn a_checksum_and_a_type_that_do_not_go_together_open_no_upload() {
    let server = Server::start();
    for (algorithm, kind) in [("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")] {
        let request = server.client.request("POST", "k").query("uploads", "");
        let request = request.sign_and_send("x-amz-checksum-algorithm", algorithm);
        request.sign_and_send("x-amz-checksum-type", kind).send().expect(400, "InvalidRequest");
    }
}

#[test]
fn an_object_put_whole_is_checked_and_gets_a_crc64nvme_by_itself() {
    let server = Server::start();
    let wrong = server.client.put("k", b"abd").sign_and_send("x-amz-checksum-sha256", &sha256(b"abc"));
    wrong.send().expect(400, "BadDigest");
    server.client.get("k").send().expect(404, "NoSuchKey");
    let put = server.client.put("k", b"abc").send().expect_status(200);
    assert_eq!(put.header("x-amz-checksum-crc64nvme"), crc64(b"abc"));
    let get = server.client.get("k").sign_and_send("x-amz-checksum-mode", "ENABLED").send();
    assert_eq!(get.header("x-amz-checksum-crc64nvme"), crc64(b"abc"));
    assert_eq!(get.header("x-amz-checksum-type"), "FULL_OBJECT");
}
