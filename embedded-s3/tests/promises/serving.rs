//! The server itself: where it listens, how it ends.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use embedded_s3::{ServeError, Store, serve};

use crate::support::{Server, bytes, credentials, etag, read_answer};

#[test]
fn it_serves_no_other_machine() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let refused = runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let serving = serve(listener, store, credentials(), std::future::pending());
        tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap()
    });
    assert!(matches!(refused, Err(ServeError::NotLoopback(_))));
}

#[test]
fn a_shutdown_lets_a_request_finish_and_waits_for_no_idle_connection() {
    let server = Server::start();
    let id = server.client.create("k");
    let _idle = TcpStream::connect(server.client.address).unwrap();
    let part = server.client.part("k", &id, 1, b"");
    let body = bytes(1 << 20, 1);
    let mut stream = part.begin(&part.url(), body.len());
    stream.write_all(&body[..1000]).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let started = Instant::now();
    let ending = std::thread::spawn(move || server.restart());
    std::thread::sleep(Duration::from_millis(100));
    stream.write_all(&body[1000..]).unwrap();
    read_answer(stream).expect_status(200);
    let server = ending.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(4), "took {:?}", started.elapsed());
    assert_eq!(server.client.parts("k", &id), [(1, etag(&body))]);
}

#[test]
fn a_shutdown_cuts_off_a_request_that_does_not_end_and_keeps_none_of_it() {
    let server = Server::start();
    let id = server.client.create("k");
    let part = server.client.part("k", &id, 1, b"");
    let mut stream = part.begin(&part.url(), 1000);
    stream.write_all(b"some").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let server = server.restart();
    assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)), "the connection is closed");
    assert!(server.client.parts("k", &id).is_empty());
}

#[test]
fn a_connection_serves_many_requests() {
    let server = Server::start();
    let mut stream = TcpStream::connect(server.client.address).unwrap();
    for _ in 0..3 {
        let url = server.client.get("none").url();
        stream.write_all(format!("GET {url} HTTP/1.1\r\nHost: {}\r\n\r\n", server.client.address).as_bytes()).unwrap();
        let mut buffer = vec![0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&buffer[..read]));
    }
}

#[test]
fn a_refusal_of_a_large_body_can_be_read() {
    let server = Server::start();
    let mut request = server.client.put("k", &bytes(5 << 20, 1));
    request.secret = "another".to_owned();
    request.send().expect(403, "SignatureDoesNotMatch");
}

#[test]
fn the_secret_is_not_printed() {
    let shown = format!("{:?}", credentials());
    assert!(shown.contains(crate::support::ACCESS) && !shown.contains(crate::support::SECRET), "{shown}");
}

#[test]
fn a_bucket_is_made_once_and_only_under_a_name_s3_allows() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store.ensure_bucket("abc").unwrap();
    store.ensure_bucket("abc").unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("buckets")).unwrap().count(), 1);
    for name in ["", "ab", "../x", "UPPER"] {
        assert_eq!(store.ensure_bucket(name).unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{name}");
    }
}
