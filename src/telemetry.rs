//! Logs and metrics, without URLs, tokens or keys.
//!
//! Logs go to stderr, structured. `PARTITA_LOG` filters them (`info` by default; the syntax of
//! `tracing_subscriber::EnvFilter`), `PARTITA_LOG_FORMAT=json` makes them JSON lines. Libraries may warn, but what they say
//! below that is never logged, whatever the filter: they speak of whole requests, signatures and all. Metrics are Prometheus text; no label
//! has more values than this source code names.

use std::fmt;
use std::io::IsTerminal;
use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Starts logging. A second call changes nothing.
pub fn start() {
    let filter = EnvFilter::try_from_env("PARTITA_LOG").unwrap_or_else(|_| EnvFilter::new("warn,partita=info"));
    // Colours are for terminals; in a file they are noise.
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = if std::env::var("PARTITA_LOG_FORMAT").is_ok_and(|format| format == "json") {
        layer.json().boxed()
    } else {
        layer.boxed()
    };
    // Whoever started it first has decided.
    let _ = tracing_subscriber::registry().with(filter).with(layer.with_filter(filter_fn(is_discreet))).try_init();
}

/// Whether this is said by us, or is a library's warning. The S3 protocol layer quotes whole requests even then.
fn is_discreet(said: &tracing::Metadata<'_>) -> bool {
    let by = |name: &str| said.target().split("::").next() == Some(name);
    by("partita") || by("embedded_s3") || (*said.level() <= Level::WARN && !by("s3s"))
}

/// Seconds, from a query of the ledger to a completion that S3 takes its time over.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 600.0];

/// Until they are summed up, measurements are kept one by one.
const UPKEEP: Duration = Duration::from_secs(5);

/// The metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts counting. There is one set of metrics in a process: a second call returns the first one's.
    pub fn start() -> Metrics {
        static STARTED: OnceLock<Metrics> = OnceLock::new();
        STARTED
            .get_or_init(|| {
                let builder = PrometheusBuilder::new();
                let builder = match builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS) {
                    Ok(builder) => builder,
                    Err(_) => PrometheusBuilder::new(),
                };
                let recorder = builder.build_recorder();
                let handle = recorder.handle();
                if metrics::set_global_recorder(recorder).is_err() {
                    tracing::warn!("somebody else counts in this process: /metrics stays empty");
                }
                describe();
                Metrics(handle)
            })
            .clone()
    }

    /// Sums up what is measured until `stopped` resolves, so that it takes no more memory with time, whether or not anybody ever
    /// asks for it.
    pub async fn keep_up(self, stopped: impl Future<Output = ()>) {
        let (mut stopped, mut turns) = (pin!(stopped), tokio::time::interval(UPKEEP));
        loop {
            tokio::select! {
                () = &mut stopped => return,
                _ = turns.tick() => self.0.run_upkeep(),
            }
        }
    }

    /// As Prometheus reads them.
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_gauge!("partita_uploads", "Uploads in the ledger, by state");
    describe_gauge!(
        "partita_overdue_abort_seconds",
        Unit::Seconds,
        "By how much the most overdue abort is overdue: S3 may hold something that is billed and that nobody wants. 0 is well"
    );
    describe_gauge!(
        "partita_restored",
        "1 while the database is marked as restored from a backup, and nothing is swept"
    );
    describe_gauge!("partita_unknown_uploads", "Open uploads at S3 under the prefix that the ledger does not know");
    describe_gauge!("partita_database_connections", "Connections to the database, by pool and whether they are in use");
    describe_counter!("partita_swept_total", "Uploads that the sweeper settled, by the state they were and are in");
    describe_counter!(
        "partita_s3_calls_total",
        "Calls to S3, by operation and result; the SDK's own retries are one call"
    );
    describe_histogram!("partita_s3_call_seconds", Unit::Seconds, "How long calls to S3 took, retries included");
    describe_counter!("partita_http_requests_total", "Requests answered, by operation and status");
    describe_histogram!("partita_http_request_seconds", Unit::Seconds, "How long requests took, by operation");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that the process has resident.
    fn resident() -> usize {
        let pages = std::fs::read_to_string("/proc/self/statm").expect("statm");
        pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_measured_takes_no_more_memory_with_time_though_nobody_asks_for_it() {
        let metrics = Metrics::start();
        let upkeep = tokio::spawn(metrics.clone().keep_up(std::future::pending()));
        let measured = metrics::histogram!("partita_test_seconds");
        let mut first = None;
        for _ in 0..40 {
            (0..100_000).for_each(|_| measured.record(0.1));
            tokio::time::sleep(2 * UPKEEP).await;
            first.get_or_insert_with(resident);
        }
        let grown = resident().saturating_sub(first.expect("a first round"));
        assert!(grown < 8 << 20, "{grown} bytes");
        assert!(metrics.render().contains("partita_test_seconds_count 4000000"), "all of it was counted");
        upkeep.abort();
    }
}
