//! A limit on the exchanges that a processor works on at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::{End, LocalReply, Open, Processor, RequestHead, ResponseHead, Start, Stop};

/// Lets a processor work on so many exchanges at once. Others are answered with 503, or wait for their turn when there
/// is a [`queue`](Self::queue).
///
/// An exchange counts from its first header phase until it is over: the response and its body included, as long as the
/// processor takes part in them.
///
/// ```
/// use std::time::Duration;
///
/// use extproc::{ConcurrencyLimit, Noop, Server};
///
/// let server = Server::new(ConcurrencyLimit::new(Noop, 100).queue(50, Duration::from_millis(100)));
/// ```
///
/// Waiting is part of the time that the data plane gives the processor (Envoy: `message_timeout`, 200 ms by default).
#[derive(Debug)]
pub struct ConcurrencyLimit<P> {
    inner: P,
    turns: Arc<Semaphore>,
    /// How many may wait, and for how long.
    queue: usize,
    wait: Duration,
    waiting: AtomicUsize,
    reply: LocalReply,
}

/// The inner context, and its turn.
#[derive(Debug)]
#[expect(unnameable_types, reason = "a wrapper's context")]
pub struct Turn<C> {
    ctx: C,
    permit: Option<OwnedSemaphorePermit>,
}

/// One of those that wait.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl<P: Processor> ConcurrencyLimit<P> {
    /// Wraps a processor; no queue. `limit` is the number of exchanges at once.
    pub fn new(inner: P, limit: usize) -> Self {
        Self {
            inner,
            turns: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))),
            queue: 0,
            wait: Duration::ZERO,
            waiting: AtomicUsize::new(0),
            reply: LocalReply::unavailable().details("concurrency_limit"),
        }
    }

    /// Lets so many exchanges more wait for their turn, each for so long; first come, first served.
    #[must_use]
    pub const fn queue(mut self, length: usize, wait: Duration) -> Self {
        (self.queue, self.wait) = (length, wait);
        self
    }

    /// What the others are answered with, in place of 503.
    #[must_use]
    pub fn reply(mut self, reply: LocalReply) -> Self {
        self.reply = reply;
        self
    }

    async fn take(&self, permit: &mut Option<OwnedSemaphorePermit>) -> Result<(), Stop> {
        if permit.is_none() {
            *permit = self.turn().await;
        }
        if permit.is_some() { Ok(()) } else { Err(self.reply.clone().into()) }
    }

    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.turns).try_acquire_owned() {
            return Some(permit);
        }
        if self.queue == 0 {
            return None;
        }
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.waiting);
        if before >= self.queue {
            return None;
        }
        timeout(self.wait, Arc::clone(&self.turns).acquire_owned()).await.ok()?.ok()
    }
}

impl<P: Processor> Processor for ConcurrencyLimit<P> {
    type Ctx = Turn<P::Ctx>;

    delegate! { P, |turn| &mut turn.ctx; on_error request_body request_trailers response_body response_trailers }

    fn open(&self, open: &Open) -> Self::Ctx {
        Turn { ctx: self.inner.open(open), permit: None }
    }

    async fn request_headers(&self, turn: &mut Self::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        self.take(&mut turn.permit).await?;
        self.inner.request_headers(&mut turn.ctx, req).await
    }

    async fn response_headers(&self, turn: &mut Self::Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        self.take(&mut turn.permit).await?;
        self.inner.response_headers(&mut turn.ctx, rsp).await
    }

    fn close(&self, turn: Self::Ctx, end: End) {
        self.inner.close(turn.ctx, end);
    }
}
