//! A TCP proxy that can be cut: the network between a process and its database.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// Even: whole; odd: cut. Every change ends what is connected.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn to(upstream: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let cuts = watch::Sender::<u64>::new(0);
        let seen = cuts.subscribe();
        tokio::spawn(async move {
            while let Ok((inner, _)) = listener.accept().await {
                let (mut seen, upstream) = (seen.clone(), upstream.clone());
                let whole = seen.borrow_and_update().is_multiple_of(2);
                if whole {
                    tokio::spawn(async move {
                        tokio::select! {
                            _ = seen.changed() => {}
                            () = carry(inner, &upstream) => {}
                        }
                    });
                }
            }
        });
        Proxy { address, cuts }
    }

    /// Ends every connection, at whatever byte it is, and lets no new one through.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts |= 1);
    }

    pub(crate) fn mend(&self) {
        self.cuts.send_modify(|cuts| *cuts += *cuts & 1);
    }
}

async fn carry(mut inner: TcpStream, upstream: &str) {
    if let Ok(mut outer) = TcpStream::connect(upstream).await {
        let _ = tokio::io::copy_bidirectional(&mut inner, &mut outer).await;
    }
}
