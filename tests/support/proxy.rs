//! A TCP proxy that can be cut, and can fall silent: the network between a process and its database.

use std::net::SocketAddr;

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
}

impl Proxy {
    pub(crate) async fn to(upstream: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let cuts = watch::Sender::<u64>::new(0);
        let seen = cuts.subscribe();
        let silent = watch::Sender::new(false);
        let heard = silent.subscribe();
        tokio::spawn(async move {
            while let Ok((inner, _)) = listener.accept().await {
                let (mut seen, upstream, heard) = (seen.clone(), upstream.clone(), heard.clone());
                let whole = seen.borrow_and_update().is_multiple_of(2);
                if whole {
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = seen.changed() => {}
                            () = carry(inner, &upstream, heard) => {}
                        }
                    });
                }
            }
        });
        Proxy { address, cuts, silent }
    }

    /// Ends every connection, at whatever byte it is, and lets no new one through.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts |= 1);
    }

    /// Holds back all that is sent, in both directions, and keeps every connection; or lets it go on.
    pub(crate) fn silence(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    pub(crate) fn mend(&self) {
        self.cuts.send_modify(|cuts| *cuts += *cuts & 1);
    }
}

/// Copies both ways, and stands still while it is silent.
async fn carry(inner: TcpStream, upstream: &str, silent: watch::Receiver<bool>) {
    let Ok(outer) = TcpStream::connect(upstream).await else { return };
    let ((inner_read, inner_write), (outer_read, outer_write)) = (inner.into_split(), outer.into_split());
    tokio::select! {
        () = copy(inner_read, outer_write, silent.clone()) => {}
        () = copy(outer_read, inner_write, silent) => {}
    }
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut silent: watch::Receiver<bool>) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut bytes).await {
        let heard = silent.wait_for(|silent| !silent).await.is_ok();
        if !heard || to.write_all(&bytes[..read]).await.is_err() {
            return;
        }
    }
}
