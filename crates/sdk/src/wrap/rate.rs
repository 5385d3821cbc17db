//! A limit on how often a processor is entered.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::{LocalReply, Processor, RequestHead, Start, Stop};

/// Lets so many requests in a time through to a processor, all clients together; others are answered with 429 and
/// `retry-after`. Each copy of the service counts for itself.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::Duration;
///
/// use extproc::{Noop, RateLimit, Server};
///
/// let hundred = NonZeroU32::new(100).unwrap();
/// let server = Server::new(RateLimit::new(Noop, hundred, Duration::from_secs(1)));
/// ```
#[derive(Debug)]
pub struct RateLimit<P> {
    inner: P,
    begin: Instant,
    /// Between two requests at an even rate, in nanoseconds.
    interval: u64,
    /// How far requests may run ahead of the even rate, in nanoseconds.
    ahead: u64,
    /// When the next request would be due at an even rate (GCRA), in nanoseconds from the beginning.
    due: AtomicU64,
    reply: LocalReply,
}

impl<P: Processor> RateLimit<P> {
    /// So many requests in this time. They need not come evenly: as many may come at once.
    pub fn new(inner: P, requests: NonZeroU32, per: Duration) -> Self {
        let interval = nanos(per) / u64::from(requests.get());
        Self {
            inner,
            begin: Instant::now(),
            interval,
            ahead: burst(interval, requests),
            due: AtomicU64::new(0),
            reply: LocalReply::too_many_requests().details("rate_limit"),
        }
    }

    /// How many may come at once.
    #[must_use]
    pub fn burst(mut self, requests: NonZeroU32) -> Self {
        self.ahead = burst(self.interval, requests);
        self
    }

    /// What the others are answered with, in place of 429; `retry-after` is added.
    #[must_use]
    pub fn reply(mut self, reply: LocalReply) -> Self {
        self.reply = reply;
        self
    }

    /// Counts a request; how long it is too early.
    fn admit(&self) -> Result<(), Duration> {
        let now = nanos(self.begin.elapsed());
        let later = |due: u64| {
            let due = due.max(now);
            (due - now <= self.ahead).then(|| due.saturating_add(self.interval))
        };
        match self.due.fetch_update(Ordering::AcqRel, Ordering::Acquire, later) {
            Ok(_) => Ok(()),
            Err(due) => Err(Duration::from_nanos(due - now - self.ahead)),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn burst(interval: u64, requests: NonZeroU32) -> u64 {
    interval.saturating_mul(u64::from(requests.get() - 1))
}

impl<P: Processor> Processor for RateLimit<P> {
    type Ctx = P::Ctx;

    delegate! { P, |ctx| ctx;
        on_error open request_body request_trailers response_headers response_body response_trailers close
    }

    async fn request_headers(&self, ctx: &mut P::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if let Err(early) = self.admit() {
            let seconds = early.as_secs() + u64::from(early.subsec_nanos() > 0);
            let mut reply = self.reply.clone();
            reply.set("retry-after", seconds);
            return Err(reply.into());
        }
        self.inner.request_headers(ctx, req).await
    }
}
