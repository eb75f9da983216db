//! CPU per UploadPart URL.

use partita::bucket::Bucket;

use crate::Result;
use crate::bench::Bench;
use crate::blocks::Blocks;
use crate::measure::{Series, thread_cpu};
use crate::report::{Goal, Line, Section, micros};
use crate::rivals::Signing;
use crate::signers::{self, KEY, PART_SIZE, SECRET_KEY, Sdk, UPLOAD_ID, ours};

/// How many URLs each contestant signs in a round: as many as take some ten milliseconds at least.
#[derive(Clone, Copy)]
struct Sizes {
    ours: i32,
    batches: i32,
    crates: i32,
    scripts: u32,
}

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let sizes = bench.pick(
        Sizes { ours: 10_000, batches: 10, crates: 5_000, scripts: 2_000 },
        Sizes { ours: 1_000, batches: 10, crates: 500, scripts: 200 },
    );
    let (mut javascript, mut python) = (Signing::javascript(bench)?, Signing::python(bench)?);
    // Node needs some thousand URLs until it has compiled what is hot.
    javascript.sign(4 * sizes.scripts).await?;
    python.sign(sizes.scripts / 10).await?;
    let bucket = signers::bucket();
    let mut urls = String::new();
    ours(&bucket, KEY, UPLOAD_ID, PART_SIZE, 1, &mut urls).await?;
    let blocks = Blocks::of(&urls, PART_SIZE, SECRET_KEY)?;

    let (mut own, mut bare, mut sdk, mut sigv4) =
        (Series::default(), Series::default(), Series::default(), Series::default());
    let (mut js, mut boto3) = (Series::default(), Series::default());
    for _ in 0..bench.pick(9, 3) {
        let round = in_process(bucket.clone(), blocks, sizes).await?;
        own.push(round[0]);
        bare.push(round[1]);
        sdk.push(round[2]);
        sigv4.push(round[3]);
        js.push(javascript.sign(sizes.scripts).await? / f64::from(sizes.scripts));
        boto3.push(python.sign(sizes.scripts).await? / f64::from(sizes.scripts));
    }
    let line = |rival: &str, goal, ratio: Series, figure: &Series, by| Line {
        what: rival.to_owned(),
        goal,
        ratio,
        unit: " ×",
        ours: micros(&own),
        beside: micros(figure),
        by,
    };
    let (thread, process) = ("CPU time of the signing thread", "CPU time of the script's process");
    Ok(Section {
        title: "Sign one part URL",
        about: format!(
            "CPU per UploadPart URL ({} bytes, virtual-host style, a key with a blank, an upload id of {} bytes, the part's length \
             signed). Ours signs {} URLs of one upload by one signer, which is made anew each time. The last row is the floor: the \
             SHA-256 blocks alone that one more URL needs when all that a batch shares is hashed once, which are {} for the canonical \
             request, {} and {} for the two hashes of the HMAC, so {}.",
            urls.len(),
            UPLOAD_ID.len(),
            sizes.ours,
            blocks.request,
            blocks.inner,
            blocks.outer,
            blocks.total(),
        ),
        lines: vec![
            line("less than `aws-sdk-s3`'s `presigned()`", Goal::AtLeast(50.0), sdk.over(&own), &sdk, thread),
            line("less than `@aws-sdk/s3-request-presigner`", Goal::AtLeast(400.0), js.over(&own), &js, process),
            line("less than boto3", Goal::None, boto3.over(&own), &boto3, process),
            line("less than `aws-sigv4`", Goal::None, sigv4.over(&own), &sigv4, thread),
            line("more than the bare SHA-256 blocks", Goal::AtMost(1.6), own.over(&bare), &bare, thread),
        ],
        ..Section::default()
    })
}

/// CPU seconds per URL of ours, bare blocks, the SDK and `aws-sigv4`, in a thread that does nothing else.
async fn in_process(bucket: Bucket, blocks: Blocks, sizes: Sizes) -> Result<[f64; 4]> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (sdk, mut urls) = (Sdk::new(), String::new());
            sdk.sign(1).await?;
            ours(&bucket, KEY, UPLOAD_ID, PART_SIZE, sizes.ours, &mut urls).await?;
            let mut marks = vec![thread_cpu()];
            for _ in 0..sizes.batches {
                ours(&bucket, KEY, UPLOAD_ID, PART_SIZE, sizes.ours, &mut urls).await?;
                std::hint::black_box(&urls);
            }
            marks.push(thread_cpu());
            for _ in 0..sizes.batches {
                blocks.compress(sizes.ours.unsigned_abs() as usize);
            }
            marks.push(thread_cpu());
            sdk.sign(sizes.crates).await?;
            marks.push(thread_cpu());
            signers::sigv4(sizes.crates)?;
            marks.push(thread_cpu());
            let batched = sizes.ours * sizes.batches;
            let counts = [batched, batched, sizes.crates, sizes.crates];
            Ok(std::array::from_fn(|index| (marks[index + 1] - marks[index]) / f64::from(counts[index])))
        })
    })
    .await?
}
