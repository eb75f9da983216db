//! Signing, in the small: `cargo bench -p benches --bench signing`.

use benches::blocks::Blocks;
use benches::signers::{self, KEY, PART_SIZE, SECRET_KEY, Sdk, UPLOAD_ID, ours};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// URLs that are signed at once.
const BATCH: i32 = 1_000;

#[expect(clippy::expect_used, reason = "what cannot be signed cannot be measured")]
fn signing(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (bucket, sdk, mut urls) = (signers::bucket(), Sdk::new(), String::new());
    runtime.block_on(ours(&bucket, KEY, UPLOAD_ID, PART_SIZE, 1, &mut urls)).expect("signed");
    let blocks = Blocks::of(&urls, PART_SIZE, SECRET_KEY).expect("a URL of a part");

    criterion.bench_function("one URL with a signer of its own", |bencher| {
        bencher.iter(|| runtime.block_on(ours(&bucket, KEY, UPLOAD_ID, PART_SIZE, 1, &mut urls)).expect("signed"));
    });
    criterion.bench_function("one URL by aws-sigv4", |bencher| {
        bencher.iter(|| signers::sigv4(1).expect("signed"));
    });
    criterion.bench_function("one URL by aws-sdk-s3", |bencher| {
        bencher.iter(|| runtime.block_on(sdk.sign(1)).expect("signed"));
    });
    let mut batch = criterion.benchmark_group("1,000 URLs");
    batch.throughput(Throughput::Elements(u64::from(BATCH.unsigned_abs())));
    batch.bench_function("ours", |bencher| {
        bencher.iter(|| runtime.block_on(ours(&bucket, KEY, UPLOAD_ID, PART_SIZE, BATCH, &mut urls)).expect("signed"));
    });
    batch.bench_function("bare SHA-256 blocks", |bencher| {
        bencher.iter(|| blocks.compress(BATCH.unsigned_abs() as usize));
    });
    batch.finish();
}

criterion_group!(benches, signing);
criterion_main!(benches);
