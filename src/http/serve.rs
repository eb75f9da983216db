//! The listener, and what each connection is given: the framework's own server copies every answer once more, and goes round and
//! round without a pause where no connection can be accepted.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use poem::http::uri::Scheme;
use poem::web::{LocalAddr, RemoteAddr};
use poem::{Addr, Endpoint, Response};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::idle::Idle;
use super::{Site, metrics_route, routes};
use crate::coordinator::Coordinator;
use crate::telemetry::Metrics;

/// How long requests in flight are given when the service stops.
const DRAIN: Duration = Duration::from_secs(25);
/// A connection on which nothing moves for this long is closed, half a request or not; and so is one whose request has no end of
/// headers by then, however it trickles.
const IDLE: Duration = Duration::from_secs(60);
/// Where there are no file descriptors left, some may be free a little later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The service: serves until `shutdown` resolves and the requests in flight are answered.
pub async fn serve(listener: TcpListener, site: Site, shutdown: impl Future<Output = ()>) {
    listen(listener, routes(site), shutdown).await;
}

/// `/metrics` alone, on a listener of its own.
pub async fn serve_metrics(
    listener: TcpListener,
    coordinator: Coordinator,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) {
    listen(listener, metrics_route(coordinator, metrics), shutdown).await;
}

async fn listen(
    listener: TcpListener,
    endpoint: impl Endpoint<Output = Response> + 'static,
    shutdown: impl Future<Output = ()>,
) {
    let local = LocalAddr(listener.local_addr().map(Addr::SocketAddr).unwrap_or_default());
    let (endpoint, mut shutdown) = (Arc::new(endpoint), pin!(shutdown));
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
    let (ending, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    loop {
        let (stream, remote) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        // Answers are written whole: to wait for more to send along only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let (endpoint, local, remote) = (endpoint.clone(), local.clone(), RemoteAddr(Addr::SocketAddr(remote)));
        let service = hyper::service::service_fn(move |request| {
            let (endpoint, ends) = (endpoint.clone(), (local.clone(), remote.clone()));
            async move {
                let request = (request, ends.0, ends.1, Scheme::HTTP).into();
                Ok::<poem::http::Response<_>, Infallible>(endpoint.get_response(request).await.into())
            }
        });
        let connection = http.serve_connection(TokioIo::new(Idle::new(stream, IDLE)), service).into_owned();
        connections.spawn(ending.watch(connection));
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, ending.shutdown()).await.is_err() {
        tracing::warn!("requests in flight did not end in time");
    }
    connections.shutdown().await;
}

#[cfg(test)]
mod tests {
    use poem::Request;
    use poem::endpoint::make_sync;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tokio::time::{Instant, sleep};

    use super::*;

    /// Where a service listens that answers with what it is sent, however long that takes; and what stops it.
    async fn echo() -> (std::net::SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let endpoint = make_sync(|mut request: Request| Response::builder().body(request.take_body()));
        let shutdown = async move { drop(stopped.await) };
        (address, stop, tokio::spawn(listen(listener, endpoint, shutdown)))
    }

    /// All that comes until the connection ends.
    async fn rest(mut connection: TcpStream) -> String {
        let mut rest = Vec::new();
        // A connection may also end in an error.
        let _ = connection.read_to_end(&mut rest).await;
        String::from_utf8(rest).expect("text")
    }

    #[tokio::test(start_paused = true)]
    async fn headers_that_trickle_are_not_waited_for() {
        let (address, _stop, _) = echo().await;
        let mut connection = TcpStream::connect(address).await.expect("connected");
        connection.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.expect("sent");
        let began = Instant::now();
        let (reader, mut writer) = connection.into_split();
        let trickle = tokio::spawn(async move {
            while writer.write_all(b"x: y\r\n").await.is_ok() {
                sleep(IDLE / 4).await;
            }
        });
        reader.readable().await.expect("an end");
        assert_eq!(reader.try_read(&mut [0; 100]).ok(), Some(0), "no answer");
        assert!(began.elapsed() < IDLE + Duration::from_secs(1), "{:?}", began.elapsed());
        trickle.await.expect("no panic");
    }

    #[tokio::test]
    async fn a_request_in_flight_is_answered_before_the_service_ends() {
        let (address, stop, served) = echo().await;
        let mut connection = TcpStream::connect(address).await.expect("connected");
        let head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n";
        connection.write_all(head).await.expect("sent");
        let mut first = [0; 12];
        connection.write_all(b"one").await.expect("sent");
        connection.read_exact(&mut first).await.expect("an answer begins");
        stop.send(()).expect("it runs");
        // Nobody is let in any more.
        while TcpStream::connect(address).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
        assert!(!served.is_finished());
        connection.write_all(b"two").await.expect("sent");
        assert!(rest(connection).await.contains("two"));
        served.await.expect("it ends");
    }
}
