//! Sets of part numbers, in the small: `cargo bench -p benches --bench parts`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use partita::upload::PartSet;

/// The most parts that an upload can have.
const MOST: i32 = 10_000;

#[expect(clippy::expect_used, reason = "these are part numbers and ranges")]
fn parts(criterion: &mut Criterion) {
    // A whole file, and the worst that parts can be: every other one.
    let whole = format!("1-{MOST}");
    let holes = (1..=MOST).step_by(2).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    for (name, text) in [("one range", &whole), ("5,000 ranges", &holes)] {
        let set = PartSet::parse(text).expect("ranges");
        criterion.bench_function(&format!("read {name}"), |bencher| bencher.iter(|| PartSet::parse(black_box(text))));
        criterion.bench_function(&format!("write {name}"), |bencher| bencher.iter(|| black_box(&set).to_string()));
    }
    let present: Vec<i32> = (1..=MOST).step_by(2).collect();
    criterion.bench_function("what is missing of 10,000 when every other is there", |bencher| {
        bencher.iter(|| PartSet::missing(MOST, black_box(&present).iter().copied()));
    });
}

criterion_group!(benches, parts);
criterion_main!(benches);
