//! What is uploaded arrives, whatever it is and wherever it comes from.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Machine, ended};
use crate::process;
use crate::support::scripted_s3::{Operation, on};
use crate::support::{MIB, Service, crc64nvme, file};

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_size_arrive_whole() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    for size in [0, 1, 5 * MIB, 5 * MIB + 1, 23 * MIB + 7] {
        let bytes = machine.file("a file.bin", size);
        let ran = machine.run(&["upload", "--part-size", "5MiB", "a file.bin"]).await.ok();
        let (headers, stored) = service.api.download(&ran.id()).await;
        assert!(stored == bytes, "{size}");
        assert!(headers["content-disposition"].contains("a file.bin"));
        let upload = service.api.get(&format!("/v1/uploads/{}", ran.id())).await.ok(200);
        assert_eq!(upload["object"]["checksum"]["value"], json!(crc64nvme(&bytes)));
        assert_eq!(upload["object"]["checksum"]["verified"], json!(true), "{size}");
        ran.tells("S3's checksum is that of the file");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_every_length_arrive_whole() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    for size in [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 15 * MIB, 23 * MIB + 7] {
        for checksum in [None, Some("SHA256"), Some("CRC32C"), Some("CRC64NVME")] {
            let bytes = file(size);
            let mut arguments = vec!["upload", "-", "--name", "s.bin", "--part-size", "5MiB"];
            arguments.extend(checksum.iter().flat_map(|name| ["--part-checksum", name]));
            let ran = machine.feed(&arguments, &bytes).await.ok();
            assert!(service.api.download(&ran.id()).await.1 == bytes, "{size} {checksum:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_is_read_as_standard_input_is() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    assert!(std::process::Command::new("mkfifo").arg(machine.path("pipe")).status().expect("mkfifo").success());
    let path = machine.path("pipe");
    std::thread::spawn(move || std::fs::write(path, file(7 * MIB)));
    let ran = machine.run(&["upload", "pipe", "--part-size", "5MiB"]).await.ok();
    assert!(service.api.download(&ran.id()).await.1 == file(7 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_give_what_their_patterns_say() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    for name in ["d/a.mov", "d/raw/b.mov", "d/raw/c.txt", "d/raw/deep/e.mov", "d/skip/f.mov"] {
        machine.write(name, name.as_bytes());
    }
    std::os::unix::fs::symlink("/etc", machine.path("d/link")).expect("linked");
    machine.run(&["upload", "d"]).await.with_code(2).tells("--recursive");
    let ran = machine
        .run(&["upload", "-r", "d", "--include", "**/*.mov", "--exclude", "skip/**", "--output", "json"])
        .await
        .ok();
    let mut seen: Vec<_> =
        ran.json().iter().map(|line| (line["path"].clone(), line["upload"]["metadata"].clone())).collect();
    seen.sort_by_key(|(path, _)| path.to_string());
    let expected = [
        (json!("d/a.mov"), json!({})),
        (json!("d/raw/b.mov"), json!({ "path": "raw/b.mov" })),
        (json!("d/raw/deep/e.mov"), json!({ "path": "raw/deep/e.mov" })),
    ];
    assert_eq!(seen, expected);
    machine.run(&["upload", "-r", "d", "--include", "*.none"]).await.with_code(2).tells("matches");
    let told = machine.run(&["upload", "-r", "d", "--exclude", "raw/**", "--dry-run"]).await.ok();
    assert_eq!(told.out, "d/a.mov\nd/skip/f.mov\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_uploaded_again_may_leave_out_what_is_there() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    machine.write("d/a.txt", b"first");
    machine.file("d/raw/b.mov", 7 * MIB);
    let before = machine.run(&["upload", "-r", "d", "--output", "json"]).await.ok().json();
    let ids = |lines: &[Value]| lines.iter().map(|line| line["upload"]["id"].clone()).collect::<HashSet<_>>();

    // The ends and the middle of the film are what they were, so only its checksum tells that it was cut anew.
    let mut film = std::fs::read(machine.path("d/raw/b.mov")).expect("the film");
    machine.write("d/raw/same.mov", &film);
    film[2 << 20] ^= 1;
    machine.write("d/raw/b.mov", &film);
    let again = machine.run(&["upload", "-r", "d", "--skip-completed", "--output", "json"]).await.ok().json();
    let line = |path: &str| again.iter().find(|line| line["path"] == path).expect("its line");
    assert!(ids(&before).contains(&line("d/a.txt")["upload"]["id"]), "the same bytes under the same name are there");
    assert!(!ids(&before).contains(&line("d/raw/b.mov")["upload"]["id"]), "other bytes are another file");
    assert!(!ids(&before).contains(&line("d/raw/same.mov")["upload"]["id"]), "another name is another file");
    assert_eq!(ids(&again).len(), 3);

    machine.run(&["upload", "d/a.txt", "--skip-completed", "--new"]).await.with_code(2);
    let anew = machine.run(&["upload", "d/a.txt", "--output", "json"]).await.ok().json();
    assert!(!ids(&before).contains(&anew[0]["upload"]["id"]), "without the flag it is uploaded once more");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_are_under_one_limit() {
    let service = Service::scripted(false, |_| {}).await;
    let machine = Machine::at(&service);
    let slow = service.s3().play(on(Operation::UploadPart).delayed(Duration::from_millis(30)));
    let names: Vec<String> = (0..6).map(|number| format!("{number}.bin")).collect();
    names.iter().for_each(|name| drop(machine.file(name, 11 * MIB)));
    let mut arguments = vec!["upload", "--parallel", "3", "--part-size", "5MiB"];
    arguments.extend(names.iter().map(String::as_str));
    let ran = machine.run(&arguments).await.ok();
    assert_eq!(ran.out.lines().count(), 6);
    assert_eq!(service.s3().count(Operation::UploadPart), 18);
    assert_eq!(service.s3().most_at_once(Operation::UploadPart), 3);
    slow.lift();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_that_cannot_be_uploaded_holds_up_no_other() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    for name in ["a", "b", "c"] {
        machine.write(name, name.as_bytes());
    }
    std::fs::rename(machine.path("b"), machine.path("b\u{1b}[2J")).expect("renamed");
    let ran = machine.run(&["upload", "a", "b\u{1b}[2J", "c", "--preset", "default"]).await;
    // The service refuses a name that would steer a terminal, and here it steers none.
    let ran = ran.with_code(1).tells("1 of 3 files were not uploaded");
    assert_eq!(ran.out.lines().count(), 2);
    assert!(!ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_passes_is_tried_again() {
    let script = |status, code| on(Operation::UploadPart).unapplied().refused(status, code).next(2);
    for (name, script) in [
        ("busy", script(503, "SlowDown")),
        ("too slow", script(400, "RequestTimeout")),
        ("the URL has expired", script(403, "AccessDenied")),
        ("the credentials have expired", script(400, "ExpiredToken")),
        ("cut", on(Operation::UploadPart).unapplied().cut().next(2)),
        ("cut after S3 had it", on(Operation::UploadPart).cut().next(2)),
        ("a gateway", on(Operation::UploadPart).unapplied().gateway(502).next(2)),
    ] {
        let service = Service::scripted(false, |_| {}).await;
        let machine = Machine::at(&service);
        let bytes = machine.file("a.bin", 11 * MIB);
        let playing = service.s3().play(script);
        let ran = machine.run(&["upload", "a.bin", "--part-size", "5MiB"]).await.ok().tells("trying again");
        assert_eq!(playing.times(), 2, "{name}");
        assert!(service.api.download(&ran.id()).await.1 == bytes, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_is_noticed() {
    let service = Service::scripted(false, |_| {}).await;
    let machine = Machine::at(&service);
    let bytes = machine.file("a.bin", 11 * MIB);
    let hangs = service.s3().play(on(Operation::UploadPart).unapplied().held().next(1));
    let ran = machine.run(&["upload", "a.bin", "--part-size", "5MiB", "--stall-timeout", "1s"]).await.ok();
    hangs.release();
    assert!(service.api.download(&ran.id()).await.1 == bytes);
    ran.tells("nothing moved");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_pass_is_not_tried_for_ever() {
    let service = Service::scripted(false, |_| {}).await;
    let machine = Machine::at(&service);
    machine.file("a.bin", MIB);
    let refused = service.s3().play(on(Operation::UploadPart).unapplied().refused(403, "AccessDenied"));
    machine.run(&["upload", "a.bin"]).await.with_code(3).tells("partita resume");
    assert_eq!(refused.times(), 4, "a fresh URL is refused as the first was");
    refused.lift();
    let down = service.s3().play(on(Operation::UploadPart).unapplied().refused(503, "SlowDown"));
    machine.run(&["upload", "a.bin", "--patience", "2s"]).await.with_code(5).tells("partita resume");
    down.lift();
    machine.run(&["upload", "a.bin"]).await.ok().tells("going on");
}

/// Uploads a file of zeros in parts of 5 MiB; the most kilobytes that the command line took, and the calls that it made.
async fn large(parts: i64) -> (u64, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let running = process::start(folder.path(), &process::ANY_PORT).await;
    let machine = Machine::before(&running.api.base);
    let size = (parts * 5 * MIB) as u64;
    std::fs::File::create(machine.path("big.bin")).and_then(|file| file.set_len(size)).expect("a file");
    let before = calls(&running).await;
    let child = machine.command(&["upload", "big.bin", "--part-size", "5MiB", "--quiet"]).spawn().expect("started");
    let status = format!("/proc/{}/status", child.id().expect("running"));
    let watching = tokio::spawn(async move {
        let mut most = 0;
        while let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            // None is left of a process that has ended.
            let Some(kilobytes) = kilobytes else { break };
            most = kilobytes.max(most);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        most
    });
    let ran = ended(child).await.ok();
    assert_eq!(ran.err, "");
    let (after, upload) = (calls(&running).await, running.api.get(&format!("/v1/uploads/{}", ran.id())).await.ok(200));
    assert_eq!(upload["object"]["size"], json!(size));
    assert_eq!(upload["object"]["checksum"]["verified"], json!(true));
    running.kill().await;
    (watching.await.expect("no panic"), after - before)
}

/// Calls to the API that the service has answered.
async fn calls(running: &process::Running) -> u64 {
    let text =
        reqwest::get(format!("{}/metrics", running.api.base)).await.expect("metrics").text().await.expect("text");
    let counts = text.lines().filter(|line| line.starts_with("partita_http_requests_total{"));
    let of_uploads = counts.filter(|line| line.contains("pload") || line.contains("Part"));
    of_uploads.map(|line| line.rsplit(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a count")).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_signed_in_windows_and_told_in_groups() {
    let (_, calls) = large(250).await;
    // To look for an earlier upload, to begin, to sign the other 150, to record three times 64, and to complete.
    assert!(calls <= 7, "{calls} calls for 250 parts");
}

#[ignore = "a minute, and 5 GB on the disk"]
#[tokio::test(flavor = "multi_thread")]
async fn campaign_a_thousand_parts_take_twelve_calls_and_little_memory() {
    let (kilobytes, calls) = large(1_000).await;
    println!("5,000 MiB in 1,000 parts: {calls} calls, {} MiB resident at the most", kilobytes >> 10);
    assert!(calls <= 12, "{calls} calls for 1,000 parts");
    assert!(kilobytes < 150 << 10, "{kilobytes} KiB");
}
