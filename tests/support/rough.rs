//! A rough network between a client and S3: it slows, stalls, cuts and spoils what goes to the upstream.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What becomes of connections that begin from now on. By default nothing does.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// So many bytes in a second, each connection.
    pub(crate) bytes_per_second: Option<u64>,
    /// Connections are cut after up to so many bytes.
    pub(crate) cut_within: Option<u64>,
    /// One connection of so many falls silent somewhere within its first MiB, and stays so.
    pub(crate) stall_one_in: Option<u64>,
    /// One bit is turned, once, after so many bytes of all.
    pub(crate) flip_after: Option<u64>,
    /// The same of what comes back.
    pub(crate) flip_answer_after: Option<u64>,
    /// Nobody hears of ranges: objects come whole.
    pub(crate) knows_no_ranges: bool,
}

pub(crate) struct Rough {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    weather: Weather,
    upstream: String,
    random: u64,
    connections: u64,
    cuts: u64,
    stalls: u64,
    flips: u64,
}

impl State {
    /// Below `limit`; the same in every run.
    fn random(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % limit.max(1)
    }
}

impl Rough {
    pub(crate) async fn start() -> Rough {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::<Mutex<State>>::default();
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, shared.clone()));
            }
        });
        Rough { address, state }
    }

    /// To this address, `HOST:PORT`.
    pub(crate) fn lead_to(&self, upstream: &str) {
        self.change(|state| state.upstream = upstream.trim_start_matches("http://").to_owned());
    }

    pub(crate) fn weather(&self, weather: Weather) {
        self.change(|state| state.weather = weather);
    }

    /// Connections there were, and how many of them were cut, stalled and spoilt.
    pub(crate) fn seen(&self) -> [u64; 4] {
        self.change(|state| [state.connections, state.cuts, state.stalls, state.flips])
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn carry(client: TcpStream, state: Arc<Mutex<State>>) {
    let change = |change: &mut dyn FnMut(&mut State)| change(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
    let (mut upstream, mut cut_at, mut stall_at) = (String::new(), u64::MAX, u64::MAX);
    change(&mut |state| {
        state.connections += 1;
        upstream.clone_from(&state.upstream);
        if let Some(within) = state.weather.cut_within {
            cut_at = state.random(within);
        }
        if let Some(one_in) = state.weather.stall_one_in
            && state.random(one_in) == 0
        {
            stall_at = state.random(1 << 20);
        }
    });
    let Ok(server) = TcpStream::connect(&upstream).await else { return };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.into_split(), server.into_split());
    let back = async {
        let mut bytes = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
            change(&mut |state| {
                let (flips, at) = (&mut state.flips, &mut state.weather.flip_answer_after);
                flip(&mut bytes[..read], at, flips);
            });
            if to_client.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    };
    let forth = async {
        let (mut bytes, mut sent) = (vec![0; 16 << 10], 0_u64);
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            sent += read as u64;
            if sent > cut_at {
                change(&mut |state| state.cuts += 1);
                return;
            }
            if sent > stall_at {
                change(&mut |state| state.stalls += 1);
                std::future::pending::<()>().await;
            }
            let mut pause = Duration::ZERO;
            change(&mut |state| {
                let (flips, at) = (&mut state.flips, &mut state.weather.flip_after);
                flip(&mut bytes[..read], at, flips);
                if state.weather.knows_no_ranges {
                    rename(&mut bytes[..read], b"\r\nrange:", b"\r\nnoone:");
                }
                if let Some(rate) = state.weather.bytes_per_second {
                    pause = Duration::from_secs_f64(read as f64 / rate as f64);
                }
            });
            tokio::time::sleep(pause).await;
            if to_server.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = forth => {}
        () = back => {}
    }
}

/// Takes the one for the other, once; it is of the same length.
fn rename<const N: usize>(bytes: &mut [u8], from: &[u8; N], to: &[u8; N]) {
    if let Some(at) = bytes.windows(N).position(|window| window.eq_ignore_ascii_case(from)) {
        bytes[at..at + N].copy_from_slice(to);
    }
}

/// Turns the bit, if it is among these bytes.
fn flip(bytes: &mut [u8], after: &mut Option<u64>, flips: &mut u64) {
    let Some(left) = *after else { return };
    match bytes.get_mut(left as usize) {
        Some(byte) => {
            *byte ^= 1;
            *flips += 1;
            *after = None;
        }
        None => *after = Some(left - bytes.len() as u64),
    }
}
