//! A body that is written while the client takes it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use extproc_core::headers::{Name, Value};
use tokio::sync::mpsc;

use crate::Error;
use crate::head::{IntoName, IntoValue};

/// Where the body of a [`LocalReply::stream`](crate::LocalReply::stream) is written to.
#[derive(Debug)]
pub struct ReplyWriter {
    pieces: mpsc::Sender<Bytes>,
    trailers: Trailers,
}

type Trailers = Arc<Mutex<Vec<(Name, Value)>>>;

/// Nobody takes the reply any more: the client left, or the exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the reply any more")]
pub struct ReplyGone;

impl ReplyWriter {
    /// Writes a piece. Waits until the pieces before it were taken: a slow client is a slow writer. Empty ones say
    /// nothing.
    ///
    /// # Errors
    /// [`ReplyGone`], which ends the writer when it is passed on with `?`.
    pub async fn send(&mut self, piece: impl Into<Bytes>) -> Result<(), ReplyGone> {
        let piece = piece.into();
        if piece.is_empty() {
            return Ok(());
        }
        self.pieces.send(piece).await.map_err(|_| ReplyGone)
    }

    /// Adds a trailer, which goes out when the writer is done. Left out where it is invalid, or where the reply cannot
    /// be streamed.
    pub fn trailer(&mut self, name: impl IntoName, value: impl IntoValue) {
        match (name.into_name(), value.into_value()) {
            (Ok(name), Ok(value)) if !name.is_pseudo() => {
                self.trailers.lock().unwrap_or_else(PoisonError::into_inner).push((name, value));
            }
            _ => tracing::warn!("invalid trailer left out of a streamed reply"),
        }
    }
}

type Writing = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
type Write = Box<dyn FnOnce(ReplyWriter) -> Writing + Send>;

/// What writes the body. Clones share it, and the first that is sent runs it.
#[derive(Clone)]
pub(crate) struct ReplyStream(Arc<Mutex<Option<Write>>>);

/// A body that is being written.
pub(crate) struct Running {
    pub(crate) writing: Writing,
    pub(crate) pieces: mpsc::Receiver<Bytes>,
    trailers: Trailers,
}

impl ReplyStream {
    pub(crate) fn new<F, W>(write: F) -> Self
    where
        F: FnOnce(ReplyWriter) -> W + Send + 'static,
        W: Future<Output = Result<(), Error>> + Send + 'static,
    {
        Self(Arc::new(Mutex::new(Some(Box::new(move |to| Box::pin(write(to)))))))
    }

    /// Begins to write. `None`: a clone was sent before.
    pub(crate) fn start(self) -> Option<Running> {
        let write = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        let (sender, pieces) = mpsc::channel(1);
        let trailers = Trailers::default();
        let writing = write(ReplyWriter { pieces: sender, trailers: Arc::clone(&trailers) });
        Some(Running { writing, pieces, trailers })
    }
}

impl Running {
    pub(crate) fn take_trailers(&self) -> Vec<(Name, Value)> {
        std::mem::take(&mut *self.trailers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PartialEq for ReplyStream {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ReplyStream {}

impl fmt::Debug for ReplyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(streamed)")
    }
}
