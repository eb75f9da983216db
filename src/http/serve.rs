//! The listener.

use std::io;
use std::time::Duration;

use poem::Server;
use poem::http::uri::Scheme;
use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream};

use super::{Site, metrics_route, routes};
use crate::coordinator::Coordinator;
use crate::telemetry::Metrics;

/// How long requests in flight are given when the service stops.
const DRAIN: Duration = Duration::from_secs(25);
/// A connection on which nothing moves for this long is closed, half a request or not.
const IDLE: Duration = Duration::from_secs(60);

/// The service: a future that serves until `shutdown` resolves and the requests in flight are answered.
///
/// # Errors
/// When the listener fails, at once or later.
pub fn serve(
    listener: TcpListener,
    site: Site,
    shutdown: impl Future<Output = ()>,
) -> io::Result<impl Future<Output = io::Result<()>>> {
    let server = Server::new_with_acceptor(NoDelay(TcpAcceptor::from_tokio(listener)?)).idle_timeout(IDLE);
    Ok(server.run_with_graceful_shutdown(routes(site), shutdown, Some(DRAIN)))
}

/// Sends small answers at once; the framework leaves that to the acceptor.
struct NoDelay(TcpAcceptor);

impl Acceptor for NoDelay {
    type Io = TcpStream;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(TcpStream, LocalAddr, RemoteAddr, Scheme)> {
        let accepted = self.0.accept().await?;
        accepted.0.set_nodelay(true)?;
        Ok(accepted)
    }
}

/// `/metrics` alone, on a listener of its own.
///
/// # Errors
/// When the listener fails, at once or later.
pub fn serve_metrics(
    listener: TcpListener,
    coordinator: Coordinator,
    metrics: Metrics,
    shutdown: impl Future<Output = ()>,
) -> io::Result<impl Future<Output = io::Result<()>>> {
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener)?).idle_timeout(IDLE);
    Ok(server.run_with_graceful_shutdown(metrics_route(coordinator, metrics), shutdown, Some(DRAIN)))
}
