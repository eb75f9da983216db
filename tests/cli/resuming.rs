//! An upload that was broken off goes on: from the same place or another, with the id or the file alone, and with no other file.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{Machine, ended};
use crate::support::rough::{Rough, Weather};
use crate::support::scripted_s3::{Operation, on};
use crate::support::{MIB, Service, file, part_checksum};

/// A service whose part URLs lead over a rough network.
pub(super) async fn over(rough: &Rough) -> Service {
    let address = rough.address;
    Service::scripted(false, |settings| {
        rough.lead_to(settings.s3.endpoint.as_deref().expect("an endpoint"));
        settings.s3.public_endpoint = Some(format!("http://{address}"));
    })
    .await
}

/// Kills the command line again and again, each time somewhere else, until the upload is through.
async fn killed_at_random(uploads: u64) {
    let rough = Rough::start().await;
    let service = over(&rough).await;
    rough.weather(Weather { bytes_per_second: Some(24 << 20), ..Weather::default() });
    let (mut random, mut kills, mut resumed) = (7_u64, 0, 0);
    for upload in 0..uploads {
        let machine = Machine::at(&service);
        let mut bytes = file(31 * MIB + 11);
        bytes[0] = upload as u8;
        bytes[1] = (upload >> 8) as u8;
        machine.write("film.mov", &bytes);
        let ran = loop {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut child = machine.command(&["upload", "film.mov", "--part-size", "5MiB"]).spawn().expect("started");
            let life = Duration::from_millis((random >> 33) % 900);
            match tokio::time::timeout(life, child.wait()).await {
                Err(_) => {
                    child.kill().await.expect("killed");
                    kills += 1;
                }
                Ok(_) => break ended(child).await.ok(),
            }
        };
        assert!(service.api.download(&ran.id()).await.1 == bytes, "upload {upload}");
        resumed += usize::from(ran.err.contains("going on"));
    }
    println!("{uploads} uploads, {kills} kills, {resumed} ended by going on with what there was");
    assert!(kills > 0 && resumed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_goes_on_and_the_sum_is_right() {
    killed_at_random(4).await;
}

#[ignore = "minutes"]
#[tokio::test(flavor = "multi_thread")]
async fn campaign_killed_at_random_the_sum_is_right() {
    killed_at_random(50).await;
}

/// Begins an upload and stops at some of its parts. Its id.
async fn broken_off(service: &Service, machine: &Machine, name: &str) -> String {
    let hangs = service.s3().play(on(Operation::UploadPart).unapplied().held().next(2));
    let mut child =
        machine.command(&["upload", name, "--part-size", "5MiB", "--progress", "json"]).spawn().expect("started");
    let mut lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
    let begun = lines.next_line().await.expect("a line").expect("an event");
    let id = serde_json::from_str::<serde_json::Value>(&begun).expect("JSON")["id"].as_str().expect("an id").to_owned();
    hangs.met(2).await;
    // The other parts of the seven have landed.
    let landed =
        || service.s3().calls(Some(Operation::UploadPart)).iter().filter(|call| call.status == Some(200)).count();
    while landed() < 5 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    child.kill().await.expect("killed");
    hangs.release();
    service.s3().idle().await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn another_machine_goes_on_with_the_id_or_with_the_file_alone() {
    for arguments in [&["resume", "ID", "moved.mov"][..], &["resume", "moved.mov"]] {
        let service = Service::scripted(false, |_| {}).await;
        let (first, second) = (Machine::at(&service), Machine::at(&service));
        let bytes = first.file("film.mov", 33 * MIB + arguments.len() as i64);
        let id = broken_off(&service, &first, "film.mov").await;
        second.write("moved.mov", &bytes);
        let sent = service.s3().count(Operation::UploadPart);
        let arguments: Vec<&str> =
            arguments.iter().map(|word| if *word == "ID" { id.as_str() } else { word }).collect();
        let ran = second.run(&arguments).await.ok().tells("going on");
        assert_eq!(ran.id(), id);
        assert_eq!(service.s3().count(Operation::UploadPart) - sent, 2, "only what was missing");
        assert!(service.api.download(&id).await.1 == bytes);
        // And once more: there is nothing left to do.
        assert_eq!(second.run(&arguments).await.ok().id(), id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_file_is_refused_before_a_byte_is_sent() {
    let service = Service::scripted(false, |_| {}).await;
    let machine = Machine::at(&service);
    let bytes = machine.file("film.mov", 33 * MIB);
    let id = broken_off(&service, &machine, "film.mov").await;
    let sent = service.s3().count(Operation::UploadPart);
    for at in [0, 16 * MIB as usize, 33 * MIB as usize - 1] {
        let mut other = bytes.clone();
        other[at] ^= 1;
        machine.write("other.mov", &other);
        machine.run(&["resume", &id, "other.mov"]).await.with_code(6).tells("nothing was sent");
    }
    machine.write("shorter.mov", &bytes[1..]);
    machine.run(&["resume", &id, "shorter.mov"]).await.with_code(6).tells("file-differs");
    machine.run(&["resume", "shorter.mov"]).await.with_code(4).tells("partita upload");
    machine.run(&["resume", &id]).await.with_code(2).tells("partita resume ID FILE");
    assert_eq!(service.s3().count(Operation::UploadPart), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_there_are_verified_and_not_trusted() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    let bytes = machine.file("film.mov", 13 * MIB);
    let part = 5 * MIB as usize;
    for algorithm in ["SHA256", "CRC32C", "CRC64NVME"] {
        // Somebody sent another file's bytes as the first part, of the right size.
        let created =
            json!({ "filename": "film.mov", "size": 13 * MIB, "partSize": 5 * MIB, "partChecksum": algorithm });
        let (id, _, _) = service.api.create(created).await;
        let other = vec![7; part];
        let mut items = Vec::new();
        for (number, bytes) in [(1, &other[..]), (2, &bytes[part..2 * part])] {
            items.push(json!({ "partNumber": number, "checksum": part_checksum(algorithm, bytes) }));
        }
        let urls = service.api.post(&format!("/v1/uploads/{id}/part-urls"), json!({ "items": items })).await.ok(200);
        let urls = urls["partUrls"].as_array().expect("URLs").clone();
        assert_eq!(service.api.put_bytes(&urls[0], other).await.0, 200);
        assert_eq!(service.api.put_bytes(&urls[1], bytes[part..2 * part].to_vec()).await.0, 200);
        let ran = machine.run(&["resume", &id, "film.mov"]).await.ok();
        assert!(service.api.download(&ran.id()).await.1 == bytes, "{algorithm}");
    }
    // A stream's first part, shorter than the plan has it.
    let (id, _, _) = service.api.create(json!({ "filename": "film.mov", "partSize": 5 * MIB })).await;
    let item = json!({ "items": [{ "partNumber": 1, "size": 5 }] });
    let urls = service.api.post(&format!("/v1/uploads/{id}/part-urls"), item).await.ok(200);
    assert_eq!(service.api.put_bytes(&urls["partUrls"][0], bytes[..5].to_vec()).await.0, 200);
    let ran = machine.run(&["resume", &id, "film.mov"]).await.ok();
    assert!(service.api.download(&ran.id()).await.1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_keeps_the_upload_and_prints_what_goes_on_with_it() {
    let service = Service::scripted(false, |_| {}).await;
    for signal in ["-INT", "-TERM"] {
        let machine = Machine::at(&service);
        let bytes = machine.file("it's a film.mov", 33 * MIB + signal.len() as i64);
        let hangs = service.s3().play(on(Operation::UploadPart).unapplied().held().next(1));
        let child = machine.command(&["upload", "it's a film.mov", "--part-size", "5MiB"]).spawn().expect("started");
        hangs.met(1).await;
        interrupt(&child, signal);
        let ran = ended(child).await.with_code(130);
        hangs.release();
        let command = ran.err.lines().find_map(|line| line.split("go on with it: ").nth(1)).expect("a command");
        let command = command.replacen("partita", env!("CARGO_BIN_EXE_partita"), 1);
        let mut shell = tokio::process::Command::new("sh");
        shell.arg("-c").arg(command).current_dir(machine.folder.path()).env("PARTITA_SERVER", &service.api.base);
        let output = shell.output().await.expect("a shell");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let id = String::from_utf8(output.stdout).expect("text")[..36].to_owned();
        assert!(service.api.download(&id).await.1 == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_gives_the_upload_up_where_that_is_asked_for() {
    let service = Service::scripted(false, |_| {}).await;
    let machine = Machine::at(&service);
    machine.file("film.mov", 33 * MIB);
    let hangs = service.s3().play(on(Operation::UploadPart).unapplied().held().next(1));
    let child = machine.command(&["upload", "film.mov", "--abort-on-interrupt"]).spawn().expect("started");
    hangs.met(1).await;
    interrupt(&child, "-INT");
    ended(child).await.with_code(130).tells("is given up");
    hangs.release();
    let uploads = service.api.get("/v1/uploads?state=open").await.ok(200);
    assert_eq!(uploads["items"], json!([]));
}

fn interrupt(child: &tokio::process::Child, signal: &str) {
    let id = child.id().expect("running").to_string();
    assert!(std::process::Command::new("kill").args([signal, &id]).status().expect("kill").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_send_the_same_file_both_end_well() {
    let service = Service::scripted(false, |_| {}).await;
    let machine = Machine::at(&service);
    let bytes = machine.file("film.mov", 33 * MIB);
    let hangs = service.s3().play(on(Operation::UploadPart).unapplied().held().next(1));
    let first = machine.command(&["upload", "film.mov", "--part-size", "5MiB"]).spawn().expect("started");
    hangs.met(1).await;
    let second = machine.run(&["upload", "film.mov", "--part-size", "5MiB"]).await.ok();
    hangs.release();
    let first = ended(first).await.ok();
    assert_eq!(first.id(), second.id());
    assert!(service.api.download(&first.id()).await.1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_upload_is_no_proof_of_another_file() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    let mut bytes = machine.file("film.mov", 13 * MIB);
    let id = machine.run(&["upload", "film.mov"]).await.ok().id();
    // Where no fingerprint looks.
    bytes[4 * MIB as usize] ^= 1;
    machine.write("film.mov", &bytes);
    machine.run(&["resume", "film.mov"]).await.with_code(6).tells("file-differs");
    machine.run(&["resume", &id, "film.mov"]).await.with_code(6).tells("file-differs");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_with_the_same_name_and_bytes_are_each_uploaded() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    (0..6).for_each(|number| drop(machine.file(&format!("tree/{number}/LICENSE"), 6 * MIB)));
    let ran = machine.run(&["upload", "-r", "tree", "--parallel", "2", "--output", "json"]).await.ok();
    let ids: std::collections::BTreeSet<String> =
        ran.json().iter().map(|line| line["upload"]["id"].to_string()).collect();
    assert_eq!(ids.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_checksums_a_part_with_other_bytes_is_seen_by_its_etag() {
    let service = Service::scripted(false, |settings| settings.s3.store = partita::config::StoreKind::Garage).await;
    let machine = Machine::at(&service);
    let mut bytes = machine.file("film.mov", 33 * MIB);
    broken_off(&service, &machine, "film.mov").await;
    bytes[7 * MIB as usize] ^= 1;
    machine.write("film.mov", &bytes);
    let ran = machine.run(&["upload", "film.mov", "--part-size", "5MiB"]).await.ok().tells("going on");
    assert!(service.api.download(&ran.id()).await.1 == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_is_not_dropped_for_an_upload_that_was_begun() {
    let service = Service::scripted(false, |_| {}).await;
    let machine = Machine::at(&service);
    machine.file("film.mov", 33 * MIB);
    let id = broken_off(&service, &machine, "film.mov").await;
    let ran = machine.run(&["upload", "film.mov", "--metadata", "a=b", "--part-checksum", "SHA256"]).await.ok();
    assert_ne!(ran.id(), id);
    let upload = service.api.get(&format!("/v1/uploads/{}", ran.id())).await.ok(200);
    assert_eq!((&upload["metadata"], &upload["partChecksum"]), (&json!({ "a": "b" }), &json!("SHA256")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_is_heard_while_nobody_answers() {
    let service = Service::on_sqlite().await;
    let machine = Machine::at(&service);
    machine.file("film.mov", MIB);
    let server = ["upload", "film.mov", "--server", "http://127.0.0.1:1"];
    assert!(std::process::Command::new("mkfifo").arg(machine.path("pipe")).status().expect("mkfifo").success());
    for arguments in [&server[..], &["upload", "pipe"]] {
        let child = machine.command(arguments).spawn().expect("started");
        tokio::time::sleep(Duration::from_secs(1)).await;
        interrupt(&child, "-INT");
        let ran = tokio::time::timeout(Duration::from_secs(5), ended(child)).await.expect("at once");
        ran.with_code(130);
    }
}
