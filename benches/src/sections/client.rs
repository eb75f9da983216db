//! Our command line beside the others that send a file to S3.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use crate::Result;
use crate::bench::{Bench, Kind};
use crate::child::{self, free_port};
use crate::measure::Series;
use crate::report::{Goal, Line, Section, Table, figures};
use crate::service::{Callers, is_ready};
use crate::signers::{ACCESS_KEY, REGION, SECRET_KEY};

/// What a run of one of them took.
#[derive(Debug, Default)]
struct Took {
    wall: Series,
    cpu: Series,
    memory: Series,
}

/// The bucket of the embedded S3.
const EMBEDDED: &str = "partita";
/// Who sends.
const NAMES: [&str; 4] = ["partita", "s5cmd", "aws", "rclone"];

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let size: usize = bench.pick(1 << 30, 32 << 20);
    let folder = tempfile::Builder::new().prefix("client.").tempdir_in(&bench.folder)?;
    let file = folder.path().join("footage.mov");
    write_noise(&file, size)?;

    let service = bench.service(Kind::Sqlite, Callers::Unasked).await?;
    let (nowhere, through) =
        (format!("http://127.0.0.1:{}", bench.null_s3.port), format!("http://{}", service.address));
    // rclone looks for the object afterwards, and finds none of that size.
    let null = rounds(bench, &file, &nowhere, &through, "media", &NAMES[..3]).await?;
    service.stop().await?;

    let (listen, storage) = (format!("127.0.0.1:{}", free_port()?), format!("127.0.0.1:{}", free_port()?));
    let mut serve = child::command(&bench.partita);
    serve.arg("serve").current_dir(folder.path()).env("PARTITA_DATA_DIR", folder.path().join("data"));
    serve.env("PARTITA_LISTEN", &listen).env("PARTITA_EMBEDDED_S3_LISTEN", &storage);
    serve.env("PARTITA_EMBEDDED_S3_ACCESS_KEY", ACCESS_KEY).env("PARTITA_EMBEDDED_S3_SECRET_KEY", SECRET_KEY);
    let mut embedded = serve.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn()?;
    let address = listen.parse()?;
    child::wait_until(&mut embedded, Duration::from_millis(20), async || is_ready(address).await).await?;
    let endpoints = (format!("http://{storage}"), format!("http://{listen}"));
    let real = rounds(bench, &file, &endpoints.0, &endpoints.1, EMBEDDED, &NAMES).await?;
    embedded.kill().await?;

    let mut section = Section {
        title: "The command line",
        about: format!(
            "One file of {} MiB of noise, in the page cache, sent by `partita upload` and by others with their own settings: to an S3 that \
             holds nothing, which shows the client alone, and to the embedded S3, which writes to the disk before it answers. Ours makes a \
             CRC64NVME of the file on the way and has it compared; the others sign what they send with SHA-256 where they do not use TLS. \
             rclone is left out where nothing is held, for it looks for the object afterwards.",
            size >> 20
        ),
        ..Section::default()
    };
    section.lines.push(ratio("faster than s5cmd, nothing held", 3.0, &null[1].wall, &null[0].wall, "wall"));
    section.lines.push(ratio(
        "less CPU than s5cmd, nothing held",
        1.0,
        &null[1].cpu,
        &null[0].cpu,
        "CPU time of the client",
    ));
    for (name, rival) in NAMES.iter().zip(&real).skip(1) {
        let (faster, thrifty) =
            (format!("faster than {name}, embedded S3"), format!("less CPU than {name}, embedded S3"));
        section.lines.push(ratio(&faster, 1.0, &rival.wall, &real[0].wall, "wall"));
        section.lines.push(ratio(&thrifty, 1.0, &rival.cpu, &real[0].cpu, "CPU time of the client"));
    }
    let row = |(place, (name, took)): (&str, (&&str, &Took))| {
        let speed = took.wall.reciprocal().times((size >> 20) as f64);
        let cells = [figures(&speed, ""), figures(&took.cpu, " s"), figures(&took.memory.times(1.0 / 1024.0), " MiB")];
        [format!("{name}, {place}")].into_iter().chain(cells).collect()
    };
    let rows = NAMES.iter().zip(&null).map(|took| ("nothing held", took));
    let rows = rows.chain(NAMES.iter().zip(&real).map(|took| ("embedded S3", took)));
    let columns = vec!["", "MiB/s, wall", "CPU", "peak memory"];
    section.tables.push(Table { columns, rows: rows.map(row).collect() });
    Ok(section)
}

fn ratio(what: &str, goal: f64, theirs: &Series, ours: &Series, by: &'static str) -> Line {
    let (ratio, goal) = (theirs.over(ours), Goal::AtLeast(goal));
    Line { what: what.into(), goal, ratio, unit: " ×", ours: figures(ours, " s"), beside: figures(theirs, " s"), by }
}

/// Each of them in turn, again and again.
async fn rounds(bench: &Bench, file: &Path, s3: &str, service: &str, bucket: &str, who: &[&str]) -> Result<Vec<Took>> {
    let mut took: Vec<Took> = who.iter().map(|_| Took::default()).collect();
    for round in 0..bench.pick(7, 1) {
        for (name, took) in who.iter().zip(&mut took) {
            let [wall, cpu, memory] = once(bench, name, file, s3, service, &format!("{bucket}/{name}-{round}")).await?;
            took.wall.push(wall);
            took.cpu.push(cpu);
            took.memory.push(memory);
            if bucket == EMBEDDED {
                forget(bench, s3).await?;
            }
        }
    }
    Ok(took)
}

/// Empties the embedded S3: what all of them send in all rounds is more than a disk may hold.
async fn forget(bench: &Bench, s3: &str) -> Result<()> {
    let mut remove = child::command(bench.python.with_file_name("s5cmd"));
    remove.args(["--endpoint-url", s3, "rm", &format!("s3://{EMBEDDED}/*")]);
    signed(&mut remove);
    let output = remove.output().await?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into()) }
}

async fn once(bench: &Bench, name: &str, file: &Path, s3: &str, service: &str, to: &str) -> Result<[f64; 3]> {
    let program = bench.python.with_file_name(name);
    let mut measured = child::command(&bench.python);
    measured.arg(bench.rivals.join("measured.py"));
    match name {
        "partita" => measured.arg(&bench.partita).args(["upload", "--new", "--server", service]).arg(file),
        "s5cmd" => measured.arg(program).args(["--endpoint-url", s3, "cp"]).arg(file).arg(format!("s3://{to}")),
        "aws" => measured.arg(program).args(["--endpoint-url", s3, "s3", "cp"]).arg(file).arg(format!("s3://{to}")),
        _ => {
            let options = ["--s3-provider", "Other", "--s3-env-auth", "--s3-no-check-bucket", "--s3-endpoint", s3];
            measured.arg(program).arg("copyto").args(options).arg(file).arg(format!(":s3:{to}"))
        }
    };
    signed(&mut measured);
    let output = measured.output().await?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let figures: Vec<f64> = text.split_whitespace().map(str::parse).collect::<std::result::Result<_, _>>()?;
    figures.try_into().map_err(|_| "what it took is not told".into())
}

/// As the rivals are told who they are, and that there is nobody else to ask.
fn signed(command: &mut Command) {
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY).env("AWS_REGION", REGION);
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("RCLONE_CONFIG", "/dev/null");
}

/// Bytes that nothing can make smaller.
fn write_noise(path: &Path, size: usize) -> Result<()> {
    let (mut file, mut state) = (std::fs::File::create(path)?, 0x9e37_79b9_7f4a_7c15_u64);
    let mut block = Vec::with_capacity(1 << 20);
    for _ in 0..size >> 20 {
        block.clear();
        while block.len() < 1 << 20 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            block.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
        }
        file.write_all(&block)?;
    }
    Ok(file.sync_all()?)
}
