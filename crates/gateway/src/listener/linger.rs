//! Closing a connection so that the client can still read what was sent.
//!
//! A socket that is closed while the client is still sending resets the connection, and the reset may overtake or
//! discard the response: a 403 in the middle of an upload would look like a broken network. So after the last
//! response only our direction is closed, and what the client still sends is read and dropped for a while (Envoy:
//! `delayed_close_timeout`).

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long a client may go on sending.
const LINGER: Duration = Duration::from_secs(1);

/// A client's connection.
#[derive(Debug)]
pub(super) struct Lingering {
    /// `None` only while it is dropped.
    stream: Option<TcpStream>,
    /// We have closed our direction.
    shut: bool,
    /// The client has closed its direction.
    ended: bool,
}

impl Lingering {
    pub(super) const fn new(stream: TcpStream) -> Self {
        Self { stream: Some(stream), shut: false, ended: false }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Lingering {
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

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let space = buf.remaining() > 0;
        let result = self.stream()?.poll_read(cx, buf);
        match &result {
            Poll::Ready(Ok(())) => self.ended |= space && buf.filled().len() == before,
            Poll::Ready(Err(_)) => self.ended = true,
            Poll::Pending => {}
        }
        result
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(cx, bufs)
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
