//! A TCP proxy that can be cut, and can fall silent: the network between a process and its database.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Even: whole; odd: cut. Every change ends what is connected.
    cuts: watch::Sender<u64>,
    /// Nothing gets through, and nobody is told.
    silent: watch::Sender<bool>,
    /// What was sent to the upstream, in pieces: a statement is one or more.
    sent: Arc<AtomicU64>,
}

impl Proxy {
    /// Before the PostgreSQL of the tests; and the URL by which a database of this name is reached through it.
    pub(crate) async fn before_postgres(name: &str) -> (Proxy, String) {
        let server = crate::support::needed("PARTITA_TEST_POSTGRES");
        let (user, rest) = server.split_once('@').expect("a user");
        let proxy = Proxy::to(rest.split('/').next().expect("an address").to_owned()).await;
        let url = format!("{user}@{}/{name}", proxy.address);
        (proxy, url)
    }

    pub(crate) async fn to(upstream: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let cuts = watch::Sender::<u64>::new(0);
        let seen = cuts.subscribe();
        let silent = watch::Sender::new(false);
        let heard = silent.subscribe();
        let sent = Arc::<AtomicU64>::default();
        let counted = sent.clone();
        tokio::spawn(async move {
            while let Ok((inner, _)) = listener.accept().await {
                let (mut seen, upstream, heard) = (seen.clone(), upstream.clone(), heard.clone());
                let counted = counted.clone();
                let whole = seen.borrow_and_update().is_multiple_of(2);
                if whole {
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = seen.changed() => {}
                            () = carry(inner, &upstream, heard, &counted) => {}
                        }
                    });
                }
            }
        });
        Proxy { address, cuts, silent, sent }
    }

    /// Ends every connection, at whatever byte it is, and lets no new one through.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts |= 1);
    }

    /// Holds back all that is sent, in both directions, and keeps every connection; or lets it go on.
    pub(crate) fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// How many pieces were sent to the upstream so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn mend(&self) {
        self.cuts.send_modify(|cuts| *cuts += *cuts & 1);
    }
}

/// Copies both ways, and stands still while it is silent.
async fn carry(inner: TcpStream, upstream: &str, silent: watch::Receiver<bool>, sent: &AtomicU64) {
    let Ok(outer) = TcpStream::connect(upstream).await else { return };
    let ((inner_read, inner_write), (outer_read, outer_write)) = (inner.into_split(), outer.into_split());
    tokio::select! {
        () = copy(inner_read, outer_write, silent.clone(), Some(sent)) => {}
        () = copy(outer_read, inner_write, silent, None) => {}
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut silent: watch::Receiver<bool>,
    count: Option<&AtomicU64>,
) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let heard = silent.wait_for(|silent| !silent).await.is_ok();
        if !heard || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
