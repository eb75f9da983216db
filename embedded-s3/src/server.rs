//! The HTTP loop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::Body;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::service::{Credentials, service};
use crate::store::Store;

/// How long open requests may go on after a shutdown was asked for.
const GRACE: Duration = Duration::from_secs(5);
/// How long a connection may wait for its next request. Longer than clients keep unused connections, so that it is
/// they who close them and no request meets a closing connection.
const IDLE: Duration = Duration::from_secs(120);
/// How long to wait when the system has no more connections to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why [`serve`] did not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener can be reached from other machines. There is no TLS and only one pair of keys, so that is refused.
    #[error("the embedded S3 listens on loopback addresses only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The listener has no address.
    #[error("the listener's address cannot be told")]
    Listener(#[source] io::Error),
}

/// Serves S3 over HTTP/1.1 until `shutdown` resolves, then gives open requests five seconds and returns.
///
/// What was acknowledged by then, or at any moment the process is killed, is durable (see [`Store`]); requests cut
/// off have happened either whole or not at all.
///
/// # Errors
///
/// At once, if the listener is not bound to a loopback address. Later failures concern single connections: they
/// are logged, and serving goes on.
pub async fn serve(
    listener: TcpListener,
    store: Store,
    credentials: Credentials,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    serve_service(listener, service(store, credentials), shutdown).await
}

/// As [`serve`], for a service of your own, such as one that wraps [`S3Service`](crate::S3Service) to make it fail on purpose.
///
/// An error of the service closes its connection without an answer.
///
/// # Errors
///
/// At once, if the listener is not bound to a loopback address.
pub async fn serve_service<S>(
    listener: TcpListener,
    service: S,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let address = listener.local_addr().map_err(ServeError::Listener)?;
    if !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    let (ending, ended) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, service.clone(), ended.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    drop(ending);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Serves one connection; `ended` closes when it is to finish its request and go.
async fn serve_connection<S>(stream: TcpStream, service: S, mut ended: watch::Receiver<()>)
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Body>>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Answers are small and written whole: waiting to fill a packet only adds delay.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IDLE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = &mut connection => result,
        _ = ended.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended early");
    }
}
