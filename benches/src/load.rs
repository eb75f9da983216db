//! Load over HTTP: so many calls in flight, each on a connection of its own, and how long each took.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Result;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    method: Method,
    path: String,
    body: Bytes,
}

impl Call {
    /// A call with a body.
    pub fn new(method: Method, path: impl Into<String>, body: &Value) -> Call {
        Call { method, path: path.into(), body: body.to_string().into() }
    }

    /// A call without a body.
    pub fn get(path: impl Into<String>) -> Call {
        Call { method: Method::GET, path: path.into(), body: Bytes::new() }
    }

    /// A POST without a body.
    pub fn post(path: impl Into<String>) -> Call {
        Call { method: Method::POST, path: path.into(), body: Bytes::new() }
    }
}

/// A connection, for one call after the other.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    authorization: Option<String>,
}

impl Connection {
    /// Connects; every call will carry the API key.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn open(address: SocketAddr, key: Option<&str>) -> Result<Connection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // What goes wrong with it is told by the call.
        tokio::spawn(connection);
        Ok(Connection { sender, host: address.to_string(), authorization: key.map(|key| format!("Bearer {key}")) })
    }

    /// Makes a call and reads the answer to its end.
    ///
    /// # Errors
    /// When there is none, or it is no success.
    pub async fn call(&mut self, call: &Call) -> Result<Bytes> {
        let mut request = Request::builder().method(&call.method).uri(&call.path).header("host", &self.host);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        if !call.body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(call.body.clone()))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let text = String::from_utf8_lossy(&body);
        Err(format!("{} {}: {status} {}", call.method, call.path, text.chars().take(300).collect::<String>()).into())
    }

    /// The same, of an answer in JSON.
    ///
    /// # Errors
    /// As [`Connection::call`], or when it is not JSON.
    pub async fn json(&mut self, call: &Call) -> Result<Value> {
        Ok(serde_json::from_slice(&self.call(call).await?)?)
    }
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After so many units of work.
    Count(usize),
    /// After this time; what is in flight then is finished, and counts.
    Elapsed(Duration),
}

/// What a load came to.
#[derive(Debug, Default)]
pub struct Done {
    /// From the first to the last.
    pub seconds: f64,
    /// Of each unit of work, in seconds, ascending.
    pub latencies: Vec<f64>,
}

impl Done {
    /// Units of work in a second.
    pub fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    /// The latency that this share of the work did not exceed.
    pub fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// Makes calls, `in_flight` at a time, each worker on a connection of its own.
///
/// # Errors
/// When a call fails: a figure of failures means nothing.
pub async fn calls(
    address: SocketAddr,
    key: Option<&str>,
    in_flight: usize,
    until: Until,
    call: impl Fn(usize) -> Call + Send + Sync + 'static,
) -> Result<Done> {
    let mut connections = Vec::with_capacity(in_flight);
    for _ in 0..in_flight {
        connections.push(Connection::open(address, key).await?);
    }
    let call = Arc::new(call);
    work(connections, until, move |connection, index| {
        let call = call.clone();
        Box::pin(async move { connection.call(&call(index)).await.map(drop) })
    })
    .await
}

/// The future of one unit of work, which has its worker to itself.
pub type Unit<'a> = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// Does units of work, each worker one after the other, until the end.
///
/// # Errors
/// When a unit fails.
pub async fn work<W: Send + 'static>(
    workers: Vec<W>,
    until: Until,
    unit: impl for<'a> Fn(&'a mut W, usize) -> Unit<'a> + Send + Sync + 'static,
) -> Result<Done> {
    let (next, unit, began) = (Arc::new(AtomicUsize::new(0)), Arc::new(unit), Instant::now());
    let mut tasks: JoinSet<Result<Vec<f64>>> = JoinSet::new();
    for mut worker in workers {
        let (next, unit) = (next.clone(), unit.clone());
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let ended = match until {
                    Until::Count(count) => index >= count,
                    Until::Elapsed(time) => began.elapsed() >= time,
                };
                if ended {
                    return Ok(latencies);
                }
                let asked = Instant::now();
                unit(&mut worker, index).await?;
                latencies.push(asked.elapsed().as_secs_f64());
            }
        });
    }
    let mut done = Done::default();
    while let Some(latencies) = tasks.join_next().await {
        done.latencies.extend(latencies??);
    }
    done.seconds = began.elapsed().as_secs_f64();
    done.latencies.sort_unstable_by(f64::total_cmp);
    Ok(done)
}
