//! Connections that end when nothing moves on them. The framework has the same, but wakes a task of its own with every read and
//! write; here nothing runs until the time is over, and then it is seen whether anything has moved meanwhile.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A connection that fails once no byte has gone either way for some time.
pub(super) struct Idle<T> {
    connection: T,
    limit: Duration,
    moved_at: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl<T> Idle<T> {
    pub(super) fn new(connection: T, limit: Duration) -> Idle<T> {
        let moved_at = Instant::now();
        Idle { connection, limit, moved_at, alarm: Box::pin(sleep_until(moved_at + limit)) }
    }

    /// Looks at what came of an attempt to move something.
    fn seen<R>(&mut self, outcome: Poll<io::Result<R>>, context: &mut Context<'_>) -> Poll<io::Result<R>> {
        if outcome.is_ready() {
            self.moved_at = Instant::now();
            return outcome;
        }
        loop {
            ready!(self.alarm.as_mut().poll(context));
            let end = self.moved_at + self.limit;
            if end <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(end);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Idle<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.connection).poll_read(context, buffer);
        self.seen(outcome, context)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Idle<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.connection).poll_write(context, bytes);
        self.seen(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.connection).poll_write_vectored(context, pieces);
        self.seen(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.connection).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{sleep, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);
    const NEARLY: Duration = Duration::from_secs(59);

    #[tokio::test(start_paused = true)]
    async fn a_connection_ends_when_nothing_has_moved_for_the_limit_and_not_before() {
        let (client, mut other) = duplex(8);
        let mut client = Idle::new(client, LIMIT);
        let began = Instant::now();
        let error = client.read_u8().await.expect_err("nothing came");
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));

        // Whatever moves, either way, gives it the whole limit again.
        let (client, mut peer) = duplex(8);
        let mut client = Idle::new(client, LIMIT);
        for _ in 0..3 {
            sleep(NEARLY).await;
            peer.write_u8(7).await.expect("sent");
            assert_eq!(client.read_u8().await.expect("it came"), 7);
            assert!(timeout(NEARLY, client.read_u8()).await.is_err(), "it ended too soon");
            client.write_u8(9).await.expect("sent");
            assert!(timeout(NEARLY, client.read_u8()).await.is_err(), "it ended too soon");
            assert_eq!(peer.read_u8().await.expect("it came"), 9);
            client.write_u8(9).await.expect("sent");
            assert_eq!(peer.read_u8().await.expect("it came"), 9);
        }
        let moved_at = Instant::now();
        assert_eq!(client.read_u8().await.expect_err("nothing came").kind(), io::ErrorKind::TimedOut);
        assert_eq!(moved_at.elapsed().as_secs(), 60);
        other.shutdown().await.expect("shut");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_more_ends_its_connection() {
        let (client, _peer) = duplex(8);
        let mut client = Idle::new(client, LIMIT);
        let began = Instant::now();
        let error = client.write_all(&[0; 9]).await.expect_err("it takes eight");
        assert_eq!((error.kind(), began.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
    }
}
