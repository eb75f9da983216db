//! What was acknowledged is there after a restart, a kill, and a kill at any moment.

use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use embedded_s3::{CorsRule, Store};
use tempfile::TempDir;

use crate::support::{ACCESS, BUCKET, Client, MIN_PART, SECRET, Server, byte_files, bytes, etag, eventually};

/// The server in a process of its own.
struct Process {
    child: Child,
    client: Client,
}

impl Process {
    fn start(folder: &TempDir) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_embedded-s3"));
        let command = command.arg(folder.path()).args(["0", BUCKET]).stdout(Stdio::piped());
        let command = command.env("AWS_ACCESS_KEY_ID", ACCESS).env("AWS_SECRET_ACCESS_KEY", SECRET);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("listening on ")?.parse().ok());
        Self { child, client: Client { address: address.expect("the server started") } }
    }

    fn kill(mut self) {
        // SIGKILL on Unix.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_restart_keeps_uploads_parts_objects_and_rules_and_sweeps_the_rest() {
    let server = Server::start();
    let rule = CorsRule {
        allowed_origins: vec!["http://app.example".to_owned()],
        allowed_methods: vec!["PUT".to_owned()],
        allowed_headers: vec![],
        expose_headers: vec![],
        max_age_seconds: None,
    };
    server.store.set_cors(BUCKET, vec![rule]).unwrap();
    server.client.put("put", b"put").header("content-type", "a/b").send().expect_status(200);
    let (done, done_parts) = server.client.upload("done", &[b"done"]);
    server.client.complete("done", &done, &done_parts).send().expect_status(200);
    let (open, open_parts) = server.client.upload("open", &[&bytes(MIN_PART, 1), b"tail"]);
    server.client.put("deleted", b"x").send().expect_status(200);
    server.client.request("DELETE", "deleted").send().expect_status(204);

    let folder = server.stop();
    let parts = byte_files(folder.path())[0].parent().unwrap().to_owned();
    fs::write(parts.join("0123.bin"), "never acknowledged").unwrap();
    fs::write(parts.join("0123.tmp"), "half a record").unwrap();
    let server = Server::start_in(folder);

    assert_eq!(byte_files(server.folder()).len(), 4, "one put, one done, two open");
    assert!(!parts.join("0123.tmp").exists());
    assert_eq!(server.client.read("put"), b"put");
    assert_eq!(server.client.get("put").send().header("content-type"), "a/b");
    assert_eq!(server.client.read("done"), b"done");
    server.client.get("deleted").send().expect(404, "NoSuchKey");
    server.client.list_parts("done", &done).send().expect(404, "NoSuchUpload");
    assert_eq!(server.client.get("").query("cors", "").send().xml("AllowedOrigin"), "http://app.example");
    assert_eq!(server.client.parts("open", &open), open_parts);
    server.client.complete("open", &open, &open_parts).send().expect_status(200);
    assert!(server.client.read("open") == [&bytes(MIN_PART, 1)[..], b"tail"].concat());
}

#[test]
fn a_kill_right_after_an_answer_loses_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&folder);
    let id = process.client.create("k");
    process.kill();

    let process = Process::start(&folder);
    assert!(process.client.parts("k", &id).is_empty(), "the upload is open");
    let first = process.client.put_part("k", &id, 1, b"first");
    process.kill();

    let process = Process::start(&folder);
    let again = process.client.put_part("k", &id, 1, b"again");
    process.kill();

    let process = Process::start(&folder);
    assert_ne!(first, again);
    assert_eq!(process.client.parts("k", &id), [(1, again.clone())]);
    process.client.complete("k", &id, &[(1, again)]).send().expect_status(200);
    process.kill();

    let process = Process::start(&folder);
    assert_eq!(process.client.read("k"), b"again");
    process.client.list_parts("k", &id).send().expect(404, "NoSuchUpload");
    process.client.put("k", b"overwritten").send().expect_status(200);
    process.kill();

    let process = Process::start(&folder);
    assert_eq!(process.client.read("k"), b"overwritten");
    process.client.list_parts("k", &id).send().expect(404, "NoSuchUpload");
    process.client.request("DELETE", "k").send().expect_status(204);
    let aborted = process.client.create("k");
    process.client.abort("k", &aborted).send().expect_status(204);
    process.kill();

    let process = Process::start(&folder);
    process.client.get("k").send().expect(404, "NoSuchKey");
    process.client.list_parts("k", &aborted).send().expect(404, "NoSuchUpload");
    assert!(byte_files(folder.path()).is_empty(), "nothing is left behind");
}

#[test]
fn a_kill_in_the_middle_of_uploads_keeps_every_acknowledged_part_and_no_half_one() {
    let folder = tempfile::tempdir().unwrap();
    let body = |number: i32| bytes(200_000 + number as usize, number as u64);
    for round in 0..4_u64 {
        let process = Process::start(&folder);
        let id = process.client.create("k");
        let (acknowledged, over) = (Mutex::new(vec![]), AtomicBool::new(false));
        let client = process.client;
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (id, acknowledged, over) = (&id, &acknowledged, &over);
                scope.spawn(move || {
                    for number in (worker + 1..10_000).step_by(4) {
                        let put = client.part("k", id, number, &body(number));
                        let answer = put.try_send().filter(|_| !over.load(Ordering::Relaxed));
                        if answer.is_none_or(|answer| answer.status != 200) {
                            return;
                        }
                        acknowledged.lock().unwrap().push(number);
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(150 + 37 * round));
            process.kill();
            over.store(true, Ordering::Relaxed);
        });
        let acknowledged = acknowledged.into_inner().unwrap();
        assert!(!acknowledged.is_empty(), "the kill came before anything happened");

        let process = Process::start(&folder);
        let listed = process.client.parts("k", &id);
        for number in &acknowledged {
            assert!(listed.contains(&(*number, etag(&body(*number)))), "part {number} was acknowledged");
        }
        for (number, listed) in &listed {
            assert_eq!(*listed, etag(&body(*number)), "part {number} is whole");
        }
        assert_eq!(byte_files(folder.path()).len(), listed.len(), "nothing half-received is left");
        process.client.abort("k", &id).send().expect_status(204);
        eventually("the bytes are gone", || byte_files(folder.path()).is_empty());
    }
}

#[test]
fn a_kill_during_complete_leaves_the_object_whole_or_the_upload_open() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let key = format!("k{round}");
        let process = Process::start(&folder);
        let (id, parts) = process.client.upload(&key, &[format!("body {round}").as_bytes()]);
        let complete = process.client.complete(&key, &id, &parts);
        std::thread::scope(|scope| {
            // Whether an answer comes is a matter of luck.
            scope.spawn(|| complete.try_send());
            std::thread::sleep(Duration::from_millis(round * 2));
            process.kill();
        });
        let process = Process::start(&folder);
        process.client.complete(&key, &id, &parts).send().expect_status(200);
        assert_eq!(process.client.read(&key), format!("body {round}").into_bytes());
        process.client.list_parts(&key, &id).send().expect(404, "NoSuchUpload");
    }
}

#[test]
fn a_record_that_cannot_be_understood_stops_the_opening_and_nothing_is_swept() {
    let server = Server::start();
    server.client.put("k", b"body").send().expect_status(200);
    let folder = server.stop();
    let bucket = byte_files(folder.path())[0].parent().unwrap().parent().unwrap().to_owned();
    let record = fs::read_dir(bucket.join("objects")).unwrap().next().unwrap().unwrap().path();
    fs::write(&record, "{").unwrap();
    let Err(error) = Store::open(folder.path()) else { panic!("it opened") };
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains(record.to_str().unwrap()), "{error}");
    assert_eq!(byte_files(folder.path()).len(), 1);
}

#[test]
fn a_folder_is_open_in_one_place_only() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let Err(error) = Store::open(folder.path()) else { panic!("it opened twice") };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    drop(store);
    Store::open(folder.path()).unwrap();
}
