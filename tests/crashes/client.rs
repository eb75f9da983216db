//! Clients that do whole uploads, whatever dies meanwhile: they ask again until they are answered, of whichever process is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use sea_orm::DatabaseConnection;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::history::Told;
use super::plots::Plot;
use super::world::World;
use crate::support::observed_s3::ObservedS3;
use crate::support::{Reply, check};

/// A generator whose numbers follow from its seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// Clients at work, until they are told to stop.
pub(crate) struct Clients {
    tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
    wanted: Arc<Mutex<Vec<Plot>>>,
    begun: Arc<AtomicU64>,
}

impl Clients {
    /// So many clients, which do uploads of all plots, `enough` in all.
    pub(crate) fn start(world: &World, clients: u64, seed: u64, enough: u64) -> Clients {
        let (stop, wanted, begun) =
            (watch::Sender::new(false), Arc::<Mutex<Vec<Plot>>>::default(), Arc::<AtomicU64>::default());
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let client = Client {
                http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(3)).build().expect("a client"),
                bases: world.bases.subscribe(),
                told: world.told.clone(),
                s3: world.s3.clone(),
                database: world.database.clone(),
                random: Random(seed ^ (number << 32)),
                stop: stop.subscribe(),
            };
            let (wanted, begun) = (wanted.clone(), begun.clone());
            tasks.spawn(async move {
                let mut client = client;
                while !client.is_stopped() {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    if number >= enough {
                        break;
                    }
                    let wanted = wanted.lock().expect("no panic").clone();
                    let plots =
                        if wanted.is_empty() || client.random.percent(30) { &Plot::ALL } else { wanted.as_slice() };
                    let plot = *client.random.pick(plots);
                    client.act(plot, number).await;
                }
            });
        }
        Clients { tasks, stop, wanted, begun }
    }

    /// Most of the next uploads are to be of these plots.
    pub(crate) fn want(&self, plots: &[Plot]) {
        *self.wanted.lock().expect("no panic") = plots.to_vec();
    }

    /// Uploads begun.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Counts them as they are begun.
    pub(crate) fn counter(&self) -> Arc<AtomicU64> {
        self.begun.clone()
    }

    /// Waits until all that were wanted are through.
    pub(crate) async fn finish(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client");
        }
    }

    pub(crate) async fn stop(mut self) -> u64 {
        self.stop.send_replace(true);
        self.finish().await;
        self.begun()
    }
}

pub(super) struct Client {
    pub(super) http: reqwest::Client,
    bases: watch::Receiver<Vec<Option<String>>>,
    pub(super) told: Arc<Told>,
    pub(super) s3: Arc<ObservedS3>,
    pub(super) database: DatabaseConnection,
    pub(super) random: Random,
    stop: watch::Receiver<bool>,
}

impl Client {
    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// A client of its own for a call at the same time.
    pub(super) fn twin(&mut self) -> Client {
        Client {
            http: self.http.clone(),
            bases: self.bases.clone(),
            told: self.told.clone(),
            s3: self.s3.clone(),
            database: self.database.clone(),
            random: Random(self.random.next()),
            stop: self.stop.clone(),
        }
    }

    /// Asks one process, once; `None` if there is none, or it dies before it has answered.
    pub(super) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Option<Reply> {
        let bases: Vec<String> = self.bases.borrow_and_update().iter().flatten().cloned().collect();
        if bases.is_empty() {
            let _ = tokio::time::timeout(Duration::from_millis(200), self.bases.changed()).await;
            return None;
        }
        let base = self.random.pick(&bases).clone();
        let method_name = method;
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{base}{path}"));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let asked = Instant::now();
        let response = request.send().await.ok()?;
        let status = response.status();
        let header = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
            (name.as_str().to_owned(), value.to_str().unwrap_or_default().to_owned())
        };
        let headers: HashMap<String, String> = response.headers().iter().map(header).collect();
        let bytes = response.bytes().await.ok()?;
        let reply = Reply { status, headers, body: serde_json::from_slice(&bytes).unwrap_or(Value::Null) };
        check(method_name, path.split('?').next().unwrap_or(path), &reply);
        self.told.shown(&reply.body, asked);
        self.told.shown(&reply.body["upload"], asked);
        if status == 500 {
            self.told.violation(format!("{method_name} {path}: {}", reply.body));
        }
        Some(reply)
    }

    /// Asks until there is an answer that is one: not "try again". Gives up when nobody answers for too long.
    pub(super) async fn insist(
        &mut self,
        method: &str,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Option<Reply> {
        for _ in 0..100 {
            if self.is_stopped() {
                break;
            }
            match self.ask(method, path, key, body).await {
                Some(reply) if reply.status != 503 && reply.body["code"] != "idempotency-in-progress" => {
                    return Some(reply);
                }
                Some(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        None
    }
}
