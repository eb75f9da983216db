//! Whole objects: put, copy, tag, list, delete.

use crate::support::{Server, byte_files, bytes, etag, eventually};

#[test]
fn keys_are_names_and_never_paths() {
    let server = Server::start();
    let keys =
        ["../escape", "a/../../escape", "p", "p/q", "sp ace/a+b%20c", "ünï/文件😀", "q'uo\"te&amp;=", ".", "long/"];
    let keys = keys.map(str::to_owned).into_iter().chain([format!("seg/{}", "n".repeat(300)), "k".repeat(1024)]);
    let keys: Vec<_> = keys.collect();
    for key in &keys {
        server.client.put(key, key.as_bytes()).send().expect_status(200);
    }
    let outside = server.folder().parent().unwrap().join("escape");
    assert!(!outside.exists());
    let server = server.restart();
    for key in &keys {
        assert_eq!(server.client.read(key), key.as_bytes(), "{key}");
    }
    let list = server.client.get("").query("list-type", "2").send().expect_status(200);
    assert_eq!(list.xml_all("Key").len(), keys.len());
    server.client.put(&"k".repeat(1025), b"").send().expect(400, "KeyTooLongError");
}

#[test]
fn a_put_may_ask_that_nothing_be_there() {
    let server = Server::start();
    let put = |body: &[u8]| server.client.put("k", body).header("if-none-match", "*").send();
    put(b"first").expect_status(200);
    put(b"second").expect(412, "PreconditionFailed");
    assert_eq!(server.client.read("k"), b"first");
    eventually("the refused bytes are gone", || byte_files(server.folder()).len() == 1);
}

#[test]
fn a_copy_takes_the_bytes_and_the_headers_or_new_headers() {
    let server = Server::start();
    let body = bytes(100_000, 1);
    server.client.put("a", &body).header("content-type", "text/x").send().expect_status(200);
    let copy = |key: &str| server.client.put(key, b"").sign_and_send("x-amz-copy-source", "/bucket/a");
    assert_eq!(copy("b").send().expect_status(200).xml("ETag"), etag(&body));
    let copied = server.client.get("b").send();
    assert!(copied.body == body && copied.header("content-type") == "text/x");
    let replaced = copy("c").sign_and_send("x-amz-metadata-directive", "REPLACE").header("content-type", "text/y");
    replaced.send().expect_status(200);
    assert_eq!(server.client.get("c").send().header("content-type"), "text/y");
    copy("a").send().expect(400, "InvalidRequest");
    copy("d").sign_and_send("x-amz-copy-source-if-match", "\"other\"").send().expect(412, "PreconditionFailed");
}

#[test]
fn tags_can_be_put_read_and_removed_without_touching_the_bytes() {
    let server = Server::start();
    server.client.put("k", b"body").sign_and_send("x-amz-tagging", "a=1").send().expect_status(200);
    let tags = |server: &Server| server.client.get("k").query("tagging", "").send().expect_status(200).xml_all("Value");
    assert_eq!(tags(&server), ["1"]);
    let xml = b"<Tagging><TagSet><Tag><Key>a</Key><Value>2</Value></Tag></TagSet></Tagging>";
    server.client.put("k", xml).query("tagging", "").send().expect_status(200);
    let server = server.restart();
    assert_eq!(tags(&server), ["2"]);
    assert_eq!(server.client.read("k"), b"body");
    server.client.request("DELETE", "k").query("tagging", "").send().expect_status(204);
    assert!(tags(&server).is_empty());
    assert_eq!(server.client.read("k"), b"body");
}

#[test]
fn objects_are_listed_once_each_page_by_page_by_prefix_and_delimiter() {
    let server = Server::start();
    for key in ["a/1", "a/2", "b", "c/1", "d"] {
        server.client.put(key, b"x").send().expect_status(200);
    }
    let (mut keys, mut prefixes, mut token) = (vec![], 0, String::new());
    loop {
        let mut list = server.client.get("").query("list-type", "2").query("delimiter", "/").query("max-keys", "1");
        if !token.is_empty() {
            list = list.query("continuation-token", &token);
        }
        let page = list.send().expect_status(200);
        keys.extend(page.xml_all("Key"));
        prefixes += page.text().matches("<CommonPrefixes>").count();
        token = page.xml("NextContinuationToken");
        if token.is_empty() {
            break;
        }
    }
    assert_eq!((keys, prefixes), (vec!["b".to_owned(), "d".to_owned()], 2));
    let list = server.client.get("").query("list-type", "2").query("prefix", "a/").send();
    assert_eq!(list.xml_all("Key"), ["a/1", "a/2"]);
    let list = server.client.get("").query("list-type", "2").query("start-after", "b").send();
    assert_eq!(list.xml_all("Key"), ["c/1", "d"]);
}

#[test]
fn a_deletion_is_final_repeatable_and_frees_the_bytes() {
    let server = Server::start();
    for key in ["a", "b", "c"] {
        server.client.put(key, b"x").send().expect_status(200);
    }
    server.client.request("DELETE", "a").send().expect_status(204);
    server.client.request("DELETE", "a").send().expect_status(204);
    let xml = b"<Delete><Object><Key>b</Key></Object><Object><Key>none</Key></Object></Delete>";
    let many = server.client.request("POST", "").query("delete", "").body(xml).send().expect_status(200);
    assert_eq!(many.xml_all("Key"), ["b", "none"]);
    let server = server.restart();
    for (key, status) in [("a", 404), ("b", 404), ("c", 200)] {
        assert_eq!(server.client.get(key).send().status, status, "{key}");
    }
    eventually("the bytes are gone", || byte_files(server.folder()).len() == 1);
}

#[test]
fn attributes_tell_size_parts_checksum_and_the_bare_etag() {
    let server = Server::start();
    let (id, parts) = server.client.upload("k", &[b"abc"]);
    server.client.complete("k", &id, &parts).send().expect_status(200);
    let request = server.client.get("k").query("attributes", "");
    let names = "ETag,ObjectSize,Checksum,ObjectParts";
    let answer = request.sign_and_send("x-amz-object-attributes", names).send().expect_status(200);
    assert_eq!(answer.xml("ObjectSize"), "3");
    assert_eq!(answer.xml("ETag"), crate::support::multipart_etag(&[b"abc"]).trim_matches('"'));
    assert_eq!(answer.xml("PartsCount"), "1");
    assert_eq!(answer.xml("ChecksumCRC64NVME"), crate::support::crc64(b"abc"));
}

#[test]
fn a_lifecycle_configuration_is_given_back_as_it_came() {
    let server = Server::start();
    let get = |server: &Server| server.client.get("").query("lifecycle", "").send();
    get(&server).expect(404, "NoSuchLifecycleConfiguration");
    let xml = b"<LifecycleConfiguration><Rule><ID>abort</ID><Status>Enabled</Status><Filter><Prefix>p/</Prefix></Filter>\
        <AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
        </LifecycleConfiguration>";
    server.client.put("", xml).query("lifecycle", "").send().expect_status(200);
    let server = server.restart();
    let rules = get(&server).expect_status(200);
    assert_eq!(
        (rules.xml("ID"), rules.xml("Prefix"), rules.xml("DaysAfterInitiation")),
        ("abort".into(), "p/".into(), "3".into())
    );
    server.client.request("DELETE", "").query("lifecycle", "").send().expect_status(204);
    get(&server).expect(404, "NoSuchLifecycleConfiguration");
}
