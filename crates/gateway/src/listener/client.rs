//! A client's connection: when it is idle, and how it is closed.
//!
//! Closing must leave the client able to read what was sent. A socket that is closed while the client is still sending resets the connection, and the reset may overtake or
//! discard the response: a 403 in the middle of an upload would look like a broken network. So after the last
//! response only our direction is closed, and what the client still sends is read and dropped for a while (Envoy:
//! `delayed_close_timeout`).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a client may go on sending.
const LINGER: Duration = Duration::from_secs(1);

/// When bytes last went over a connection, in either direction.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    opened: Instant,
    /// In milliseconds after that.
    last: Arc<AtomicU64>,
}

impl Activity {
    fn touch(&self) {
        self.last.store(u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Completes when nothing has gone over the connection for this long.
    pub(super) async fn idle_for(&self, limit: Duration) {
        loop {
            let quiet = self.opened + Duration::from_millis(self.last.load(Ordering::Relaxed)) + limit;
            if quiet <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(quiet).await;
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Client {
    /// `None` only while it is dropped.
    stream: Option<TcpStream>,
    /// We have closed our direction.
    shut: bool,
    /// The client has closed its direction.
    ended: bool,
    activity: Activity,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        let activity = Activity { opened: Instant::now(), last: Arc::default() };
        Self { stream: Some(stream), shut: false, ended: false, activity }
    }

    pub(super) fn activity(&self) -> Activity {
        self.activity.clone()
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let (true, false, Some(stream), Ok(runtime)) =
            (self.shut, self.ended, self.stream.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(tokio::time::timeout(LINGER, discard(stream)));
        }
    }
}

async fn discard(mut stream: TcpStream) {
    let mut nothing = [0; 4096];
    while stream.read(&mut nothing).await.is_ok_and(|it| it > 0) {}
}

impl AsyncRead for Client {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let space = buf.remaining() > 0;
        let result = self.stream()?.poll_read(cx, buf);
        match &result {
            Poll::Ready(Ok(())) if buf.filled().len() > before => self.activity.touch(),
            Poll::Ready(Ok(())) => self.ended |= space,
            Poll::Ready(Err(_)) => self.ended = true,
            Poll::Pending => {}
        }
        result
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = self.stream()?.poll_write(cx, buf);
        if result.is_ready() {
            self.activity.touch();
        }
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.stream()?.poll_write_vectored(cx, bufs);
        if result.is_ready() {
            self.activity.touch();
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        self.stream()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn idle_means_since_the_last_byte() {
        let activity = Activity { opened: Instant::now(), last: Arc::default() };
        let limit = Duration::from_secs(10);
        let waiting = tokio::spawn({
            let activity = activity.clone();
            async move { activity.idle_for(limit).await }
        });
        tokio::time::sleep(Duration::from_secs(7)).await;
        activity.touch();
        waiting.await.unwrap();
        assert_eq!(activity.opened.elapsed(), Duration::from_secs(17));
    }
}
