//! The listener.

use std::io;
use std::time::Duration;

use poem::Server;
use poem::http::uri::Scheme;
use poem::listener::{Acceptor, TcpAcceptor};
use poem::web::{LocalAddr, RemoteAddr};
use tokio::net::{TcpListener, TcpStream};

use super::idle::Idle;
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
    let server = Server::new_with_acceptor(Connections(TcpAcceptor::from_tokio(listener)?));
    Ok(server.run_with_graceful_shutdown(routes(site), shutdown, Some(DRAIN)))
}

/// Connections that send small answers at once, and do not stay when nothing moves.
struct Connections(TcpAcceptor);

impl Acceptor for Connections {
    type Io = Idle<TcpStream>;

    fn local_addr(&self) -> Vec<LocalAddr> {
        self.0.local_addr()
    }

    async fn accept(&mut self) -> io::Result<(Idle<TcpStream>, LocalAddr, RemoteAddr, Scheme)> {
        let (connection, local, remote, scheme) = self.0.accept().await?;
        connection.set_nodelay(true)?;
        Ok((Idle::new(connection, IDLE), local, remote, scheme))
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
    let server = Server::new_with_acceptor(Connections(TcpAcceptor::from_tokio(listener)?));
    Ok(server.run_with_graceful_shutdown(metrics_route(coordinator, metrics), shutdown, Some(DRAIN)))
}
