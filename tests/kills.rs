//! `kill -9` at every boundary between the database and S3, and at any other moment, under load: nothing that was acknowledged
//! is lost, nothing stays open, every upload ends once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::crashes::{ALL_ENDS, Clients, LEASES_END, PATIENCE, Plot, Random, World, number};

/// A boundary, and how the load gets there.
struct Aim {
    boundary: &'static str,
    /// The uploads that pass it.
    plots: &'static [Plot],
    /// There must be such a row, and this much time must pass, before a process gets there.
    ripe: Option<(&'static str, Duration)>,
}

const fn at(boundary: &'static str, plots: &'static [Plot]) -> Aim {
    Aim { boundary, plots, ripe: None }
}

const fn after(time: Duration, row: &'static str, boundary: &'static str, plots: &'static [Plot]) -> Aim {
    Aim { boundary, plots, ripe: Some((row, time)) }
}

const LOST: &str = "state = 'creating' AND filename LIKE 'create-lost%'";
const DOUBLED: &str = "state = 'creating' AND filename LIKE 'create-doubled%'";
const UNCLEAR: &str = "state = 'completing' AND filename LIKE 'complete-unclear%'";
const HIDDEN: &str = "state = 'completing' AND filename LIKE 'complete-hidden%'";

const AIMS: [Aim; 32] = [
    at("create-row-written", &[Plot::Plain, Plot::Empty]),
    at("create-answered", &[Plot::Plain]),
    at("create-opened", &[Plot::Plain]),
    at("create-refused", &[Plot::CreateRefused]),
    after(LEASES_END, LOST, "create-found", &[Plot::CreateLost]),
    after(LEASES_END, DOUBLED, "create-surplus-aborted", &[Plot::CreateDoubled]),
    at("sweep-claimed", &[Plot::Plain]),
    after(LEASES_END, LOST, "sweep-creation-taken-over", &[Plot::CreateLost]),
    after(ALL_ENDS, "state = 'open'", "sweep-before-expiry", &[Plot::Abandoned]),
    at("complete-gathered", &[Plot::Plain, Plot::Empty]),
    at("complete-claimed", &[Plot::Plain, Plot::Stream]),
    at("complete-before-s3", &[Plot::Plain, Plot::Empty]),
    at("complete-answered", &[Plot::Plain, Plot::AutoComplete]),
    at("complete-proved", &[Plot::Plain, Plot::Empty]),
    after(LEASES_END, UNCLEAR, "complete-taken-over", &[Plot::CompleteUnclear]),
    at("go-on-proved", &[Plot::CompleteSlow]),
    at("complete-refused", &[Plot::CompleteRefused]),
    at("complete-blames-parts", &[Plot::Differs]),
    at("complete-failed", &[Plot::WrongSum, Plot::KeyTaken]),
    at("complete-unclear", &[Plot::CompleteUnclear]),
    at("abort-before-row", &[Plot::Aborted]),
    at("abort-row-written", &[Plot::Aborted, Plot::Raced]),
    at("abort-sent", &[Plot::Aborted]),
    at("abort-proved", &[Plot::Aborted]),
    at("abort-end-written", &[Plot::Aborted]),
    after(ALL_ENDS, HIDDEN, "abort-found-completed", &[Plot::CompleteHidden]),
    at("abort-before-delete", &[Plot::SumWrong]),
    at("abort-after-delete", &[Plot::SumWrong]),
    at("abort-stray-sent", &[Plot::AbortedUnborn]),
    at("delete-before-s3", &[Plot::Deleted]),
    at("delete-after-s3", &[Plot::Deleted]),
    at("delete-proved", &[Plot::Deleted]),
];

const CLIENTS: u64 = 5;

#[test]
fn every_boundary_of_the_source_is_aimed_at() {
    fn boundaries(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                boundaries(&path, found);
                continue;
            }
            let code = std::fs::read_to_string(&path).expect("a source");
            found.extend(
                code.split("boundary!(\"").skip(1).map(|rest| rest.split('"').next().expect("a name").to_owned()),
            );
        }
    }
    let mut found = Vec::new();
    boundaries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort_unstable();
    let mut aimed: Vec<&str> = AIMS.iter().map(|aim| aim.boundary).collect();
    aimed.sort_unstable();
    assert_eq!(found, aimed, "each once");
}

/// One world, killed again and again.
struct Loop {
    world: World,
    clients: Clients,
    random: Random,
    /// Kills by what they came at.
    kills: BTreeMap<&'static str, u64>,
}

const AT_RANDOM: &str = "at random";
const RIPENINGS: u32 = 3;

impl Loop {
    async fn start(postgres: bool, seed: u64) -> Loop {
        let world = World::new(postgres, 1).await;
        let clients = Clients::start(&world, CLIENTS, seed, u64::MAX);
        Loop { world, clients, random: Random(seed), kills: BTreeMap::new() }
    }

    /// Runs the binary until it has killed itself at the boundary, the `nth` time it comes there. Whether it did.
    async fn kill_at(&mut self, aim: &Aim, nth: u64, patience: Duration) -> bool {
        self.clients.want(aim.plots);
        let Some((row, time)) = aim.ripe else { return self.try_to_kill_at(aim, nth, patience).await };
        // The process that made the row may have been killed before it came to what the boundary needs.
        for _ in 0..RIPENINGS {
            self.ripen(row, patience).await;
            self.world.pass(time).await;
            if self.try_to_kill_at(aim, nth, patience / RIPENINGS).await {
                return true;
            }
        }
        false
    }

    async fn try_to_kill_at(&mut self, aim: &Aim, nth: u64, patience: Duration) -> bool {
        let skipped = if nth > 1 { format!("{}*off->", nth - 1) } else { String::new() };
        let started =
            self.world.launch(0, &format!("{}={skipped}return", aim.boundary), &self.world.database_url).await;
        let reached = match started {
            Some(process) => self.world.outlive(0, process, patience).await,
            None => true,
        };
        *self.kills.entry(if reached { aim.boundary } else { AT_RANDOM }).or_default() += 1;
        reached
    }

    /// Runs the binary until there is such a row; then kills it.
    async fn ripen(&mut self, row: &str, patience: Duration) {
        let Some(process) = self.world.launch(0, "", &self.world.database_url).await else { return };
        let ripe = async {
            while self.world.count(row).await == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(patience, ripe).await;
        self.world.outlive(0, process, Duration::ZERO).await;
        *self.kills.entry(AT_RANDOM).or_default() += 1;
    }

    /// Runs the binary for a moment.
    async fn kill_at_random(&mut self) {
        self.clients.want(&[]);
        let moment = Duration::from_millis(self.random.below(700));
        if let Some(process) = self.world.launch(0, "", &self.world.database_url).await {
            self.world.outlive(0, process, moment).await;
        }
        *self.kills.entry(AT_RANDOM).or_default() += 1;
    }

    fn kills(&self) -> u64 {
        self.kills.values().sum()
    }

    /// Lets everything come to its end, and holds it against what was told.
    async fn end(self, seed: u64) -> String {
        let kills = self.kills();
        let Loop { world, clients, kills: by_boundary, .. } = self;
        let uploads = clients.stop().await;
        world.s3.idle().await;
        world.audit_parts().await;
        world.settle().await;
        let counts = world.audit_end().await;
        let violations = world.told.violations();
        let database = if world.is_sqlite() { "SQLite" } else { "PostgreSQL" };
        let report = format!(
            "{database}: seed {seed}, {kills} kills, {uploads} uploads, {} with an answer, {} completions acknowledged, \
             {} violations\n  kills {by_boundary:?}\n  ended {:?}",
            counts.told,
            counts.acknowledged,
            violations.len(),
            counts.states,
        );
        println!("{report}");
        assert!(violations.is_empty(), "{report}\n{violations:#?}");
        assert!(counts.acknowledged > 0 && counts.states.len() == 4, "the load did not lead everywhere: {report}");
        report
    }
}

async fn every_boundary_is_survived(postgres: bool) {
    let seed = number("PARTITA_SEED", 1);
    let mut kill_loop = Loop::start(postgres, seed).await;
    let mut unreached = Vec::new();
    for aim in &AIMS {
        let began = Instant::now();
        if !kill_loop.kill_at(aim, 1, PATIENCE / 2).await {
            unreached.push(aim.boundary);
        }
        println!("{:>6} ms  {}", began.elapsed().as_millis(), aim.boundary);
    }
    kill_loop.end(seed).await;
    assert!(unreached.is_empty(), "never reached: {unreached:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_boundary_is_survived_on_sqlite() {
    every_boundary_is_survived(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_boundary_is_survived_on_postgres() {
    every_boundary_is_survived(true).await;
}

/// `PARTITA_KILLS` kills (2,000 unless told otherwise), half on each database, at boundaries and at random moments; begins
/// from `PARTITA_SEED`.
async fn campaign(postgres: bool) {
    let (kills, seed) = (number("PARTITA_KILLS", 2_000) / 2, number("PARTITA_SEED", 1));
    let mut kill_loop = Loop::start(postgres, seed).await;
    while kill_loop.kills() < kills {
        if kill_loop.random.percent(35) {
            kill_loop.kill_at_random().await;
        } else {
            let aim = kill_loop.random.below(AIMS.len() as u64) as usize;
            let nth = 1 + kill_loop.random.below(3);
            kill_loop.kill_at(&AIMS[aim], nth, Duration::from_secs(3)).await;
        }
        // The process was down for a moment, for longer than leases last, or for longer than uploads live.
        match kill_loop.random.below(10) {
            0..5 => {}
            5..9 => kill_loop.world.pass(LEASES_END).await,
            _ => kill_loop.world.pass(ALL_ENDS).await,
        }
        if kill_loop.kills().is_multiple_of(50) {
            println!("{} kills, {} uploads", kill_loop.kills(), kill_loop.clients.begun());
        }
    }
    kill_loop.end(seed).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a campaign: ./test --full"]
async fn a_campaign_of_kills_on_sqlite() {
    campaign(false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a campaign: ./test --full"]
async fn a_campaign_of_kills_on_postgres() {
    campaign(true).await;
}
