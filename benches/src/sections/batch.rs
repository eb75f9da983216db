//! 10,000 URLs in one call.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::peak_line;
use crate::Result;
use crate::bench::{Bench, Kind};
use crate::load::{self, Call, Until};
use crate::measure::{self, Cpu, Series, thread_cpu};
use crate::report::{Goal, Line, Section, mebibytes, micros};
use crate::service::{Callers, Service, sign, text};
use crate::signers::{self, bucket_at, ours};

const PART_SIZE: i64 = 5 << 20;
/// Answers that are read at once.
const AT_ONCE: usize = 16;
/// Bytes that a slow reader takes at once; the kernel is asked to keep no more for it.
const SIP: usize = 64 << 10;

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let parts: i32 = bench.pick(10_000, 2_000);
    let (calls, rival_calls) = bench.pick((100, 3), (10, 1));
    let service = bench.service(Kind::Sqlite, Callers::Unasked).await?;
    let companion = bench.companion().await?;
    let id = service.begin_uploads(1, parts.into(), PART_SIZE).await?.remove(0);
    let all = sign(&id, &format!("1-{parts}"));
    let mut connection = service.connect().await?;
    let (key, upload_id) = place(&connection.json(&all).await?["partUrls"][0]["url"])?;
    let endpoint = format!("http://127.0.0.1:{}", bench.null_s3.port);
    let rival_address = SocketAddr::from(([127, 0, 0, 1], companion.port));
    // As many as its query string holds.
    let numbers = (1..=1_000).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    let rival_call = Call::get(format!("/s3/multipart/{}/batch?key=raw.mov&partNumbers={numbers}", signers::UPLOAD_ID));
    load::calls(rival_address, None, 1, Until::Count(1), fixed(&rival_call)).await?;

    let (mut served, mut alone, mut rival) = (Series::default(), Series::default(), Series::default());
    for _ in 0..bench.pick(9, 3) {
        let before = service.cpu()?;
        load::calls(service.address, None, 1, Until::Count(calls), fixed(&all)).await?;
        served.push(service.cpu()?.since(&before) / calls as f64 / f64::from(parts));
        let alone_now = signing_alone(endpoint.clone(), key.clone(), upload_id.clone(), parts, calls).await?;
        alone.push(alone_now / calls as f64 / f64::from(parts));
        let before = Cpu::of(&[companion.id])?;
        load::calls(rival_address, None, 1, Until::Count(rival_calls), fixed(&rival_call)).await?;
        rival.push(Cpu::of(&[companion.id])?.since(&before) / rival_calls as f64 / 1_000.0);
    }

    let (mut answer, mut peak_of_one, mut peak_of_all, mut held) =
        (0, Series::default(), Series::default(), Series::default());
    for _ in 0..bench.pick(5, 2) {
        let before = measure::resident(service.id)?;
        measure::forget_peak(service.id)?;
        answer = read_slowly(&service, &id, parts, 1).await?;
        peak_of_one.push(service.peak()?);
        measure::forget_peak(service.id)?;
        read_slowly(&service, &id, parts, AT_ONCE).await?;
        peak_of_all.push(service.peak()?);
        held.push((service.peak()? - before).max(0.0) / (AT_ONCE * answer) as f64);
    }
    Ok(Section {
        title: "10,000 URLs in one call",
        about: format!(
            "`signParts` of {parts} parts through HTTP on SQLite, one call after the other, an answer of {:.1} MB: server CPU per URL, \
             beside signing the same URLs in the harness, and beside Companion's batch route, 1,000 URLs a call, for its query string \
             holds no 10,000. Memory while {AT_ONCE} such answers are read at once, {} KiB every few milliseconds by readers for whom \
             the kernel keeps no more: what the service holds for each, as a share of the answer.",
            answer as f64 / 1e6,
            SIP >> 10,
        ),
        lines: vec![
            Line {
                what: "more than signing alone".into(),
                goal: Goal::AtMost(1.5),
                ratio: served.over(&alone),
                unit: " ×",
                ours: micros(&served),
                beside: micros(&alone),
                by: "CPU time of the service's process; of the signing thread",
            },
            Line {
                what: "less than Companion's batch route".into(),
                goal: Goal::AtLeast(500.0),
                ratio: rival.over(&served),
                unit: " ×",
                ours: micros(&served),
                beside: micros(&rival),
                by: "CPU time of both processes",
            },
            Line {
                what: format!("memory held for each of {AT_ONCE} answers, as a share of the answer"),
                goal: Goal::AtMost(0.25),
                ratio: held,
                unit: "",
                ours: format!("peak {}", mebibytes(&peak_of_all)),
                beside: format!("peak with one answer {}", mebibytes(&peak_of_one)),
                by: "VmHWM, begun anew before each",
            },
            peak_line("10,000 URLs a call", &service)?,
        ],
        ..Section::default()
    })
}

/// A call that is the same each time.
fn fixed(call: &Call) -> impl Fn(usize) -> Call + Send + Sync + 'static {
    let call = call.clone();
    move |_| call.clone()
}

/// The key and S3's id of the upload, as a part URL tells them.
fn place(url: &serde_json::Value) -> Result<(String, String)> {
    let url = text(url)?;
    let key = url.split('?').next().and_then(|place| place.splitn(5, '/').nth(4));
    let id = url.split(['?', '&']).find_map(|pair| pair.strip_prefix("uploadId="));
    match (key, id) {
        (Some(key), Some(id)) => Ok((key.to_owned(), id.to_owned())),
        _ => Err(format!("not a URL of a part: {url}").into()),
    }
}

/// CPU seconds of signing this often, in a thread that does nothing else.
async fn signing_alone(endpoint: String, key: String, upload_id: String, parts: i32, times: usize) -> Result<f64> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (bucket, mut urls) = (bucket_at(&endpoint), String::new());
            ours(&bucket, &key, &upload_id, PART_SIZE, parts, &mut urls).await?;
            let before = thread_cpu();
            for _ in 0..times {
                ours(&bucket, &key, &upload_id, PART_SIZE, parts, &mut urls).await?;
                std::hint::black_box(&urls);
            }
            Ok(thread_cpu() - before)
        })
    })
    .await?
}

/// Asks for all URLs, on so many connections at once, and reads the answers in sips; the bytes of one of them.
async fn read_slowly(service: &Service, id: &str, parts: i32, at_once: usize) -> Result<usize> {
    let body = format!("{{\"parts\":\"1-{parts}\"}}");
    let request = format!(
        "POST /v1/uploads/{id}/part-urls HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        service.address,
        body.len()
    );
    let mut readers: JoinSet<Result<usize>> = JoinSet::new();
    for _ in 0..at_once {
        let (address, request) = (service.address, request.clone());
        readers.spawn(async move {
            let socket = TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(SIP as u32)?;
            let mut stream = socket.connect(address).await?;
            stream.write_all(request.as_bytes()).await?;
            let (mut sip, mut bytes) = (vec![0; SIP], 0);
            loop {
                match stream.read(&mut sip).await? {
                    0 => return Ok(bytes),
                    read => bytes += read,
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    let mut bytes = 0;
    while let Some(read) = readers.join_next().await {
        bytes = read??;
    }
    Ok(bytes)
}
