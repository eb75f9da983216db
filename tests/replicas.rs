//! Three processes on one PostgreSQL and one S3, stopped, killed and cut off from the database while clients complete, abort
//! and repeat on any of them: no completion is sent without a lease just confirmed, two overlap only behind a process that was
//! stopped in between, every upload ends once.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use serde_json::{Value, json};

use crate::crashes::{Clients, LEASES_END, PATIENCE, Plot, Process, Random, World, number};
use crate::support::Api;
use crate::support::observed_s3::Completion;
use crate::support::proxy::Proxy;

/// The processes, each with a database connection that can be cut.
struct Cluster {
    world: World,
    processes: Vec<Option<Process>>,
    proxies: Vec<Proxy>,
    ended: Mutex<Ended>,
}

/// When whose lease was ended by the test, by key: nothing else ends one so early.
type Ended = HashMap<String, Vec<Instant>>;

impl Cluster {
    async fn start(failpoints: &[&str]) -> Cluster {
        let world = World::new(true, failpoints.len()).await;
        let mut cluster = Cluster { world, processes: Vec::new(), proxies: Vec::new(), ended: Mutex::default() };
        let url = cluster.world.database_url.clone();
        let server = url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("a server").0;
        for _ in failpoints {
            cluster.proxies.push(Proxy::to(server.to_owned()).await);
            cluster.processes.push(None);
        }
        for (number, failpoints) in failpoints.iter().enumerate() {
            cluster.launch(number, failpoints).await;
        }
        cluster
    }

    async fn launch(&mut self, number: usize, failpoints: &str) {
        let name = self.world.database_url.rsplit('/').next().expect("a name");
        let proxy = self.proxies[number].address;
        let url = format!("postgres://postgres@{proxy}/{name}?application_name=replica{number}");
        self.processes[number] = self.world.launch(number, failpoints, &url).await;
        assert!(self.processes[number].is_some(), "replica {number} did not start");
    }

    fn signal(&self, number: usize, signal: Signal) {
        self.processes[number].as_ref().expect("running").signal(signal);
    }

    fn stop(&self, number: usize) {
        self.signal(number, Signal::STOP);
    }

    fn wake(&self, number: usize) {
        self.signal(number, Signal::CONT);
    }

    async fn kill(&mut self, number: usize) {
        let process = self.processes[number].take().expect("running");
        self.world.outlive(number, process, Duration::ZERO).await;
    }

    /// Ends the leases that this process was the last to take: it must be stopped or dead. A row that it holds locked stays.
    async fn end_leases_of(&self, number: usize) {
        let last = "SELECT m.writer FROM moves m WHERE m.id = uploads.id AND m.version = uploads.version ORDER BY n DESC LIMIT 1";
        let held = format!(
            "SELECT id FROM uploads WHERE state IN ('creating', 'completing') AND ({last}) = 'replica{number}'
             FOR UPDATE SKIP LOCKED"
        );
        // From here on they may have ended.
        let began = Instant::now();
        let keys = self.world.pass_for(LEASES_END, &held).await;
        let mut ended = self.ended.lock().expect("no panic");
        for key in keys {
            ended.entry(key).or_default().push(began);
        }
    }

    /// Ends the waits in which nobody holds anything: after an unclear completion (its quiet minute; a lease is longer), and
    /// after a creation that has long been without an answer.
    async fn end_quiet(&self) {
        let unclear = "state = 'completing' AND lease_until - updated_at <= 61000";
        let unborn = format!("state = 'creating' AND updated_at < {} - 8000", self.world.now());
        let waiting = format!("SELECT id FROM uploads WHERE ({unclear}) OR ({unborn}) FOR UPDATE SKIP LOCKED");
        self.world.pass_for(LEASES_END, &waiting).await;
    }

    /// Who has sent a completion that S3 is still at.
    fn sending(&self) -> Option<usize> {
        let completions = self.world.s3.completions();
        completions.iter().rev().find(|completion| completion.ended.is_none()).map(|completion| completion.door)
    }

    /// From now on each completion that arrives is held against the database as S3 would see it: there must be a lease.
    fn watch(&self) -> Arc<Mutex<Vec<Unleased>>> {
        let (database, found) = (self.world.database.clone(), Arc::<Mutex<Vec<Unleased>>>::default());
        let kept = found.clone();
        self.world.s3.witness(Box::new(move |completion| {
            let (database, found) = (database.clone(), found.clone());
            Box::pin(async move {
                if let Some(row) = without_lease(&database, &completion.key).await {
                    found.lock().expect("no panic").push(Unleased { completion, row, seen_at: Instant::now() });
                }
            })
        }));
        kept
    }

    /// Whether a lease on this upload was ended before that, while its holder was stopped or dead.
    fn is_excused(&self, completion: &Completion, before: Instant) -> bool {
        let ended = self.ended.lock().expect("no panic");
        ended.get(&completion.key).is_some_and(|moments| moments.iter().any(|moment| *moment <= before))
    }

    /// Two completions of one upload at the same time, with nobody halted in between; and ones that came without a lease.
    fn check_completions(&self, unleased: &[Unleased]) -> (usize, usize) {
        let completions = self.world.s3.completions();
        let mut overlaps = 0;
        for later in &completions {
            let overlaps_one = completions.iter().any(|earlier| {
                earlier.key == later.key
                    && earlier.started < later.started
                    && earlier.ended.is_none_or(|ended| ended > later.started)
            });
            if overlaps_one {
                overlaps += 1;
                if !self.is_excused(later, later.started) {
                    self.world.told.violation(format!("two completions at once, and nobody was stopped: {later:?}"));
                }
            }
        }
        for Unleased { completion, row, seen_at } in unleased {
            // The completion may have come with its lease, which the test then ended before the row was read.
            if !self.is_excused(completion, *seen_at) {
                self.world.told.violation(format!("a completion without a lease: {completion:?}, {row}"));
            }
        }
        (completions.len(), overlaps)
    }
}

/// A completion that arrived while there was no lease for it, and what there was.
struct Unleased {
    completion: Completion,
    row: String,
    seen_at: Instant,
}

async fn without_lease(database: &DatabaseConnection, key: &str) -> Option<String> {
    let sql = format!(
        "SELECT state, version, lease_until - (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS remaining
         FROM uploads WHERE object_key = '{key}'"
    );
    let row = database
        .query_one_raw(Statement::from_string(DbBackend::Postgres, sql))
        .await
        .expect("an answer")
        .expect("a row");
    let state: String = row.try_get("", "state").expect("a state");
    let remaining: Option<i64> = row.try_get("", "remaining").expect("a number");
    let version: i64 = row.try_get("", "version").expect("a version");
    let leased = state == "completing" && remaining.is_some_and(|remaining| remaining > 0);
    (!leased).then(|| format!("{state}, version {version}, {remaining:?} ms left"))
}

/// Slow where a process that is stopped there does the most harm.
const SLOW: &str = "complete-claimed=4%sleep(150);complete-before-s3=4%sleep(150);complete-proved=4%sleep(150);\
                    complete-answered=4%sleep(100);abort-before-row=4%sleep(100);create-answered=4%sleep(100)";

async fn upheaval(uploads: u64, seed: u64) {
    let mut cluster = Cluster::start(&[SLOW; 3]).await;
    let unleased = cluster.watch();
    let mut clients = Clients::start(&cluster.world, 8, seed, uploads);
    clients.want(&[Plot::CompleteHeld, Plot::CompleteSlow, Plot::Raced, Plot::Plain]);
    let mut random = Random(seed ^ 0x5eed);
    let (mut stops, mut kills, mut cuts) = (0, 0, 0);
    let begun = clients.counter();
    let mut finished = std::pin::pin!(clients.finish());
    loop {
        if (stops + kills + cuts) % 50 == 49 {
            println!("{stops} stops, {kills} kills, {cuts} cuts, {} uploads begun", begun.load(Ordering::Relaxed));
        }
        let calm = Duration::from_millis(random.below(200));
        if tokio::time::timeout(calm, &mut finished).await.is_ok() {
            break;
        }
        let victim = cluster.sending().filter(|_| random.percent(50)).unwrap_or(random.below(3) as usize);
        let while_halted = Duration::from_millis(100 + random.below(900));
        match random.below(10) {
            0..5 => {
                stops += 1;
                cluster.stop(victim);
                if random.percent(60) {
                    cluster.end_leases_of(victim).await;
                }
                // Now and then longer than a lease counts as just confirmed.
                let long = if random.percent(5) { Duration::from_secs(6) } else { while_halted };
                tokio::time::sleep(long).await;
                cluster.wake(victim);
            }
            5..7 => {
                kills += 1;
                cluster.kill(victim).await;
                if random.percent(60) {
                    cluster.end_leases_of(victim).await;
                }
                cluster.launch(victim, SLOW).await;
            }
            _ => {
                cuts += 1;
                cluster.proxies[victim].cut();
                tokio::time::sleep(while_halted).await;
                cluster.proxies[victim].mend();
            }
        }
        cluster.end_quiet().await;
    }
    for number in 0..3 {
        let process = cluster.processes[number].take().expect("running");
        cluster.world.stop(number, process).await;
    }
    cluster.world.s3.idle().await;
    cluster.world.audit_parts().await;
    cluster.world.settle().await;
    let counts = cluster.world.audit_end().await;
    let unleased = unleased.lock().expect("no panic");
    let (completions, overlaps) = cluster.check_completions(&unleased);
    let violations = cluster.world.told.violations();
    let report = format!(
        "seed {seed}: {uploads} uploads, {} with an answer, {} completions acknowledged; {stops} stops, {kills} kills, {cuts} \
         cuts; {completions} completions sent, {overlaps} beside another and {} without a lease, each behind a process that was stopped or dead; \
         {} violations\n  ended {:?}",
        counts.told,
        counts.acknowledged,
        unleased.len(),
        violations.len(),
        counts.states,
    );
    println!("{report}");
    assert!(violations.is_empty(), "{report}\n{violations:#?}");
    assert!(stops > 0 && kills > 0 && cuts > 0 && counts.acknowledged > 0, "nothing happened: {report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_are_stopped_killed_and_cut_off_end_every_upload_once() {
    upheaval(60, number("PARTITA_SEED", 1)).await;
}

/// `PARTITA_UPLOADS` uploads (2,000 unless told otherwise), from `PARTITA_SEED`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a campaign: ./test --full"]
async fn a_campaign_of_replicas() {
    upheaval(number("PARTITA_UPLOADS", 2_000), number("PARTITA_SEED", 1)).await;
}

/// Has the first of two processes stop at the failpoint, its lease end, and the second complete; then wakes the first. Returns
/// the cluster, the completions that S3 saw, and what the first process answered.
async fn taken_over_at(failpoint: &str, asleep: Duration) -> (Cluster, Vec<Completion>, Value, Value) {
    let cluster = Cluster::start(&[&format!("{failpoint}=1*sleep(2000)"), ""]).await;
    let [first, second] =
        [0, 1].map(|number| Api::new(cluster.processes[number].as_ref().expect("running").base.clone()));
    let (id, _, urls) = second.create(json!({ "filename": "x", "size": 5 })).await;
    second.put_parts(&urls, b"hello").await;
    let path = format!("/v1/uploads/{id}/complete");
    let asked = tokio::spawn(async move { first.call("POST", &path, None).await });
    let claimed = async {
        while cluster.world.count("state = 'completing'").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, claimed).await.expect("a claim");
    // From the claim to where it falls asleep there is a way to go, and it sleeps for two seconds.
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.stop(0);
    let stopped = Instant::now();
    cluster.end_leases_of(0).await;
    let object = second.complete(&id, None).await.ok(200)["object"].clone();
    tokio::time::sleep(asleep.saturating_sub(stopped.elapsed())).await;
    cluster.wake(0);
    let answer = asked.await.expect("an answer").ok(200);
    cluster.world.s3.idle().await;
    let stale = "id IN (SELECT id FROM moves WHERE writer = 'replica0' AND n > \
                 (SELECT min(n) FROM moves WHERE writer = 'replica1' AND to_state = 'completing'))";
    assert_eq!(cluster.world.count(stale).await, 0, "who was stopped wrote nothing");
    let completions = cluster.world.s3.completions();
    (cluster, completions, answer["object"].clone(), object)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_stopped_before_sending_asks_for_its_lease_again_and_sends_nothing() {
    let (_cluster, completions, told, object) = taken_over_at("complete-claimed", Duration::from_secs(6)).await;
    assert_eq!(completions.iter().map(|completion| completion.door).collect::<Vec<_>>(), [1], "{completions:?}");
    assert_eq!(told, object);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_stopped_while_sending_changes_nothing_by_it() {
    let (_cluster, completions, told, object) = taken_over_at("complete-before-s3", Duration::ZERO).await;
    assert_eq!(completions.iter().map(|completion| completion.door).collect::<Vec<_>>(), [1, 0], "{completions:?}");
    assert_eq!(told, object);
}

/// Has the first of two processes stop when S3 has begun its upload, its lease end, and the second take over; wakes the first
/// when the second has opened the upload, or while it is about to.
async fn adopted_meanwhile(second_failpoint: &str) {
    let cluster = Cluster::start(&["create-answered=1*sleep(1000)", second_failpoint]).await;
    let [first, second] =
        [0, 1].map(|number| Api::new(cluster.processes[number].as_ref().expect("running").base.clone()));
    let create = async |api: Api| {
        let request = api.http.post(format!("{}/v1/uploads", api.base)).header("idempotency-key", "k");
        api.send(request.json(&json!({ "filename": "x", "size": 5 }))).await
    };
    let asked = tokio::spawn(create(first));
    let begun = async {
        while cluster.world.s3.open_uploads().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("an upload at S3");
    cluster.stop(0);
    cluster.end_leases_of(0).await;
    let asked_second = tokio::spawn(create(second.clone()));
    let taken_over = async {
        let row = if second_failpoint.is_empty() { "state = 'open'" } else { "creations = 2" };
        while cluster.world.count(row).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, taken_over).await.expect("taken over");
    cluster.wake(0);
    let late = asked.await.expect("an answer");
    let created = asked_second.await.expect("an answer").ok(201);
    match late.status.as_u16() {
        201 => assert_eq!(late.body["upload"]["id"], created["upload"]["id"]),
        status => assert_eq!(status, 503, "{}", late.body),
    }
    second.put_parts(created["partUrls"].as_array().expect("part URLs"), b"hello").await;
    second.complete(created["upload"]["id"].as_str().expect("an id"), None).await.ok(200);
    assert_eq!(cluster.world.s3.open_uploads().await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_stopped_while_creating_takes_nothing_from_who_adopted_it() {
    adopted_meanwhile("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_stopped_while_creating_takes_nothing_from_who_is_about_to_adopt_it() {
    adopted_meanwhile("create-found=1*sleep(3000)").await;
}
