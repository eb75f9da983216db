//! A bit that turns on the way is never called a success where anything could tell; where nothing could, that is said.

use serde_json::json;

use super::resuming::over;
use super::{Machine, ended};
use crate::support::rough::{Rough, Weather};
use crate::support::scripted_s3::{Operation, on};
use crate::support::{MIB, Service};

const SPOILT: Weather = Weather {
    flip_after: Some(3 << 20),
    bytes_per_second: None,
    cut_within: None,
    stall_one_in: None,
    flip_answer_after: None,
    knows_no_ranges: false,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_turns_on_the_way_is_never_a_success() {
    let rough = Rough::start().await;
    let service = over(&rough).await;
    let machine = Machine::at(&service);
    machine.file("film.mov", 13 * MIB);
    rough.weather(SPOILT);
    let ran = machine.run(&["upload", "film.mov", "--part-size", "5MiB"]).await.with_code(6);
    assert_eq!((rough.seen()[3], ran.out.as_str()), (1, ""));
    assert_eq!(service.api.get("/v1/files").await.ok(200)["items"], json!([]));
    ran.tells("checksum-mismatch");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_part_checksums_the_spoilt_part_is_sent_again() {
    for algorithm in ["CRC64NVME", "CRC32C", "SHA256"] {
        let rough = Rough::start().await;
        let service = over(&rough).await;
        let machine = Machine::at(&service);
        let bytes = machine.file("film.mov", 13 * MIB);
        rough.weather(SPOILT);
        let ran = machine.run(&["upload", "film.mov", "--part-size", "5MiB", "--part-checksum", algorithm]).await.ok();
        assert_eq!(rough.seen()[3], 1);
        assert!(service.api.download(&ran.id()).await.1 == bytes);
        let proof = if algorithm == "CRC64NVME" { "S3's checksum" } else { "S3 checked every part" };
        ran.tells(proof);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_store_tells_no_checksum_it_is_said_that_nothing_was_verified() {
    let service = Service::scripted(false, |settings| settings.s3.store = partita::config::StoreKind::Garage).await;
    let machine = Machine::at(&service);
    machine.file("film.mov", 13 * MIB);
    let ran = machine.run(&["upload", "film.mov", "--part-size", "5MiB", "--output", "json"]).await.ok();
    assert_eq!(ran.json()[0]["verifiedBy"], json!(null));
    ran.tells("nothing but the size was verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_while_it_is_sent_is_not_completed() {
    let service = Service::scripted(false, |_| {}).await;
    let machine = Machine::at(&service);
    machine.file("film.mov", 13 * MIB);
    let hangs = service.s3().play(on(Operation::UploadPart).unapplied().held().next(1));
    let child = machine.command(&["upload", "film.mov", "--part-size", "5MiB"]).spawn().expect("started");
    hangs.met(1).await;
    let changing = std::fs::OpenOptions::new().append(true).open(machine.path("film.mov")).expect("opened");
    changing.set_len(13 * MIB as u64 + 1).expect("longer");
    hangs.release();
    ended(child).await.with_code(6).tells("was changed while it was sent");
    assert_eq!(service.api.get("/v1/files").await.ok(200)["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_is_compared_and_goes_on_where_it_was_cut() {
    let rough = Rough::start().await;
    let service = over(&rough).await;
    let machine = Machine::at(&service);
    let bytes = machine.file("film.mov", 13 * MIB);
    let id = machine.run(&["upload", "film.mov"]).await.ok().id();

    rough.weather(Weather { flip_answer_after: Some(3 << 20), ..Weather::default() });
    machine.run(&["download", &id, "-o", "copy.mov"]).await.with_code(6).tells("checksum-mismatch");
    assert!(!machine.path("copy.mov").exists());
    let left: Vec<_> = std::fs::read_dir(machine.folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("one").file_name())
        .collect();
    assert_eq!(left, ["film.mov"], "nothing is left of it");

    rough.weather(Weather::default());
    let broken = service.s3().play(on(Operation::GetObject).breaks_off(4 << 20).next(2));
    machine.run(&["download", &id, "-o", "copy.mov"]).await.ok().tells("it has the checksum that S3 tells");
    assert_eq!(broken.times(), 2);
    assert!(std::fs::read(machine.path("copy.mov")).expect("a copy") == bytes);
    let ranges = service.s3().calls(Some(Operation::GetObject));
    assert!(ranges.iter().any(|call| call.headers.contains_key("range")), "it did not begin anew");

    machine.run(&["download", &id, "-o", "copy.mov"]).await.with_code(2).tells("--force");
    machine.run(&["download", &id, "-o", "copy.mov", "--force"]).await.ok();
    let mut cat = machine.command(&["download", &id, "-o", "-", "--quiet"]);
    let output = cat.output().await.expect("it ran");
    assert!(output.status.success() && output.stdout == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_store_knows_no_ranges_a_download_that_was_cut_is_whole_nevertheless() {
    let rough = Rough::start().await;
    let service = over(&rough).await;
    let machine = Machine::at(&service);
    let bytes = machine.file("film.mov", 13 * MIB);
    let id = machine.run(&["upload", "film.mov"]).await.ok().id();
    rough.weather(Weather { knows_no_ranges: true, ..Weather::default() });
    let broken = service.s3().play(on(Operation::GetObject).breaks_off(4 << 20).next(1));
    machine.run(&["download", &id, "-o", "copy.mov"]).await.ok().tells("it has the checksum that S3 tells");
    assert_eq!(broken.times(), 1);
    assert!(std::fs::read(machine.path("copy.mov")).expect("a copy") == bytes);
    let calls = service.s3().calls(Some(Operation::GetObject));
    assert!(calls.iter().all(|call| !call.headers.contains_key("range")), "the store heard of a range");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_downloads_to_one_place_do_not_mix() {
    let rough = Rough::start().await;
    let service = over(&rough).await;
    let machine = Machine::at(&service);
    let bytes = machine.file("film.mov", 24 * MIB);
    let id = machine.run(&["upload", "film.mov"]).await.ok().id();
    let slow = service.s3().play(on(Operation::GetObject).delayed(std::time::Duration::from_secs(2)).next(1));
    let first = machine.command(&["download", &id, "-o", "copy.mov"]).spawn().expect("started");
    slow.met(1).await;
    machine.run(&["download", &id, "-o", "copy.mov"]).await.with_code(1).tells("another download");
    ended(first).await.ok();
    assert!(std::fs::read(machine.path("copy.mov")).expect("a copy") == bytes);
}
