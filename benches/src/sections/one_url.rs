//! One URL for each request.

use std::net::SocketAddr;

use super::peak_line;
use crate::Result;
use crate::bench::{Bench, DATABASES, Kind};
use crate::load::{self, Call, Done, Until};
use crate::measure::{Cpu, Series};
use crate::report::{Goal, Line, Section, Table, figures, micros};
use crate::service::{Callers, Service, sign};
use crate::signers::UPLOAD_ID;

const UPLOADS: usize = 64;
const PARTS: usize = 1_000;
const IN_FLIGHT: usize = 32;

/// One of the services that are measured side by side.
struct Contestant {
    kind: Kind,
    callers: Callers,
    service: Service,
    uploads: Vec<String>,
    cpu: Series,
    database_cpu: Series,
    rate: Series,
}

pub(super) async fn measure(bench: &Bench) -> Result<Section> {
    let (count, rival_count) = bench.pick((10_000, 2_000), (640, 200));
    let mut contestants = Vec::new();
    for kind in DATABASES {
        for callers in [Callers::WithKeys, Callers::Unasked] {
            let service = bench.service(kind, callers).await?;
            let uploads = service.begin_uploads(UPLOADS, PARTS as i64, 8 << 20).await?;
            let (cpu, database_cpu, rate) = (Series::default(), Series::default(), Series::default());
            contestants.push(Contestant { kind, callers, service, uploads, cpu, database_cpu, rate });
        }
    }
    let companion = bench.companion().await?;
    let address = SocketAddr::from(([127, 0, 0, 1], companion.port));
    let ask_companion = |index: usize| {
        Call::get(format!("/s3/multipart/{UPLOAD_ID}/{}?key=tenants/42/raw{}.mov", index % PARTS + 1, index % UPLOADS))
    };
    // What is compiled or connected once is not part of a request.
    load::calls(address, None, IN_FLIGHT, Until::Count(rival_count / 4), ask_companion).await?;
    for contestant in &contestants {
        contestant.load(count / 4).await?;
    }

    let (mut rival, mut rival_rate) = (Series::default(), Series::default());
    for _ in 0..bench.pick(7, 3) {
        let before = Cpu::of(&[companion.id])?;
        let done = load::calls(address, None, IN_FLIGHT, Until::Count(rival_count), ask_companion).await?;
        rival.push(Cpu::of(&[companion.id])?.since(&before) / rival_count as f64);
        rival_rate.push(done.rate());
        for contestant in &mut contestants {
            let (before, database) = (contestant.service.cpu()?, bench.postgres.cpu()?);
            let done = contestant.load(count).await?;
            contestant.cpu.push(contestant.service.cpu()?.since(&before) / count as f64);
            contestant.database_cpu.push(bench.postgres.cpu()?.since(&database) / count as f64);
            contestant.rate.push(done.rate());
        }
    }
    let mut section = Section {
        title: "One URL for each request",
        about: format!(
            "`signParts` of one part, {IN_FLIGHT} in flight, over {UPLOADS} uploads: with the check whose the upload is and the \
             database's answer to it, with and without API keys. Beside Companion's `GET /s3/multipart/:id/:n`, which has neither."
        ),
        ..Section::default()
    };
    let mut rows = vec![vec!["Companion".into(), figures(&rival_rate, ""), micros(&rival), "–".into()]];
    for contestant in &contestants {
        let name = contestant.name();
        let postgres = contestant.kind == Kind::Postgres;
        section.lines.push(Line {
            what: format!("less than Companion: {name}"),
            goal: Goal::AtLeast(40.0),
            ratio: rival.over(&contestant.cpu),
            unit: " ×",
            ours: micros(&contestant.cpu),
            beside: micros(&rival),
            by: "CPU time of both processes",
        });
        rows.push(vec![
            name,
            figures(&contestant.rate, ""),
            micros(&contestant.cpu),
            if postgres { micros(&contestant.database_cpu) } else { "in the service's".into() },
        ]);
    }
    section.lines.push(peak_line("one URL a request, with keys, on SQLite", &contestants[0].service)?);
    section.tables.push(Table {
        columns: vec!["", "requests/s, wall", "server CPU per request", "PostgreSQL's CPU per request"],
        rows,
    });
    Ok(section)
}

impl Contestant {
    fn name(&self) -> String {
        let callers = if self.callers == Callers::WithKeys { "API keys" } else { "callers not asked" };
        format!("{}, {callers}", self.kind.name())
    }

    async fn load(&self, count: usize) -> Result<Done> {
        let uploads = self.uploads.clone();
        let call = move |index: usize| sign(&uploads[index % UPLOADS], &(index / UPLOADS % PARTS + 1).to_string());
        load::calls(self.service.address, self.service.key.as_deref(), IN_FLIGHT, Until::Count(count), call).await
    }
}
