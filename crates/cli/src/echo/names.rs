//! Header names as the client wrote them.
//!
//! hyper lower-cases names. The echo upstream shows what arrived, so the connection keeps a copy of the bytes read
//! since the last answer, and the names are looked up in the head at its beginning. A pipelined request whose head
//! was read before the last answer shows lower-case names.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Heads larger than hyper's own limit are refused before they get here.
const LIMIT: usize = 512 << 10;

/// A connection that remembers what was read.
pub(super) struct Recorded<S> {
    inner: S,
    recent: Recent,
}

/// The bytes read since the last [`Recent::clear`].
#[derive(Clone, Default)]
pub(super) struct Recent(Arc<Mutex<Vec<u8>>>);

impl<S> Recorded<S> {
    pub(super) fn new(inner: S) -> (Self, Recent) {
        let recent = Recent::default();
        (Self { inner, recent: recent.clone() }, recent)
    }
}

impl Recent {
    /// Lower-case name to name as written, from the HTTP/1 head at the beginning; empty when there is none.
    pub(super) fn names(&self) -> HashMap<String, String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = HashMap::new();
        for line in bytes.split(|b| *b == b'\n').skip(1) {
            let Some(colon) = line.iter().position(|b| *b == b':') else { break };
            let Ok(name) = std::str::from_utf8(&line[..colon]) else { break };
            names.entry(name.to_ascii_lowercase()).or_insert_with(|| name.to_owned());
        }
        names
    }

    /// The next bytes belong to the next request.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn push(&self, bytes: &[u8]) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LIMIT.saturating_sub(recent.len()).min(bytes.len());
        recent.extend_from_slice(&bytes[..room]);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.recent.push(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_head_only() {
        let recent = Recent::default();
        recent.push(b"PUT / HTTP/1.1\r\nHost: a\r\nX-ID: 1\r\nx-id: 2\r\n\r\nBody-Name: no");
        let names = recent.names();
        assert_eq!(names.len(), 2);
        assert_eq!(names["host"], "Host");
        assert_eq!(names["x-id"], "X-ID");
        recent.clear();
        assert!(recent.names().is_empty());
    }
}
