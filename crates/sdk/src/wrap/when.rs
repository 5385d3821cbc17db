//! A processor that takes part in some exchanges only.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{
    Abort, BodyKind, End, Halt, Io, Open, Processor, Request, RequestHead, Response, ResponseHead, Start, Stop,
    Trailers,
};

/// A processor that takes part in an exchange only when a condition on its request holds; otherwise it is as if it were
/// not there: no context is opened, no handler runs, and its body kinds hold nothing back.
///
/// The condition sees the request as it comes to this place of a chain, with the attributes and the metadata that are
/// known by then ([`Fields::facts`](crate::Fields::facts)). It is asked once, in the first phase there is. Where that is
/// none of the request's (the data plane sends response phases only), it is asked with a head that has facts and no
/// headers: a condition on headers should say what that means.
///
/// ```
/// use extproc::{Noop, RequestHead, Server, When};
///
/// let server = Server::new(When::new(Noop, |req: &RequestHead| {
///     req.path().starts_with("/api/") && req.facts().connection_mtls() == Some(true)
/// }));
/// ```
///
/// The data plane is still configured for the processor's body kinds, and sends the bodies of all exchanges.
#[derive(Clone)]
pub struct When<P, F> {
    inner: P,
    condition: F,
}

/// Whether the processor takes part.
#[expect(unnameable_types, reason = "a wrapper's context")]
pub enum Gate<C> {
    /// Nothing of the exchange has been seen.
    Undecided(Box<Open>),
    /// It takes part.
    On(C),
    /// It does not.
    Off,
}

/// A processor that takes part in a share of all exchanges, from 0.0 (none) to 1.0 (all), evenly spread.
///
/// ```
/// use extproc::{Noop, Server, sampled};
///
/// let server = Server::new(sampled(Noop, 0.01));
/// ```
pub fn sampled<P: Processor>(inner: P, share: f64) -> When<P, impl Fn(&RequestHead) -> bool + Send + Sync + 'static> {
    // Multiples of the golden ratio fill the range evenly, whatever part of them is looked at.
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    let count = AtomicU64::new(0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast saturates, which is wanted")]
    #[expect(clippy::cast_precision_loss, reason = "a share need not be exact to the last bit")]
    let limit = (share * u64::MAX as f64) as u64;
    When::new(inner, move |_: &RequestHead| {
        limit == u64::MAX || count.fetch_add(1, Ordering::Relaxed).wrapping_mul(STEP) < limit
    })
}

impl<P, F> When<P, F>
where
    P: Processor,
    F: Fn(&RequestHead) -> bool + Send + Sync + 'static,
{
    /// Wraps a processor.
    pub const fn new(inner: P, condition: F) -> Self {
        Self { inner, condition }
    }

    /// The context, if the processor takes part.
    fn pass<'a>(&self, gate: &'a mut Gate<P::Ctx>, request: Option<&RequestHead>) -> Option<&'a mut P::Ctx> {
        if let Gate::Undecided(open) = gate {
            let holds = if let Some(request) = request {
                (self.condition)(request)
            } else {
                let mut request = RequestHead::default();
                request.set_facts(&open.facts);
                (self.condition)(&request)
            };
            *gate = if holds { Gate::On(self.inner.open(open)) } else { Gate::Off };
        }
        match gate {
            Gate::On(ctx) => Some(ctx),
            Gate::Undecided(_) | Gate::Off => None,
        }
    }
}

impl<P, F> Processor for When<P, F>
where
    P: Processor,
    F: Fn(&RequestHead) -> bool + Send + Sync + 'static,
{
    type Ctx = Gate<P::Ctx>;

    delegate! { P, |ctx| ctx; on_error }

    fn open(&self, open: &Open) -> Self::Ctx {
        Gate::Undecided(Box::new(open.clone()))
    }

    async fn request_headers(&self, gate: &mut Self::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        match self.pass(gate, Some(req)) {
            Some(ctx) => self.inner.request_headers(ctx, req).await,
            None => {
                req.detach();
                Ok(())
            }
        }
    }

    async fn request_body(
        &self,
        gate: &mut Self::Ctx,
        io: &mut Io<Request, P::RequestBody>,
    ) -> Result<(), Halt<Request, P::RequestBody>> {
        match self.pass(gate, None) {
            Some(ctx) => self.inner.request_body(ctx, io).await,
            None => {
                P::RequestBody::pass(io);
                Ok(())
            }
        }
    }

    async fn request_trailers(&self, gate: &mut Self::Ctx, trailers: &mut Trailers) -> Result<(), Stop> {
        match self.pass(gate, trailers.request()) {
            Some(ctx) => self.inner.request_trailers(ctx, trailers).await,
            None => Ok(()),
        }
    }

    async fn response_headers(&self, gate: &mut Self::Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        match self.pass(gate, rsp.request()) {
            Some(ctx) => self.inner.response_headers(ctx, rsp).await,
            None => {
                rsp.detach();
                Ok(())
            }
        }
    }

    async fn response_body(
        &self,
        gate: &mut Self::Ctx,
        io: &mut Io<Response, P::ResponseBody>,
    ) -> Result<(), Halt<Response, P::ResponseBody>> {
        match self.pass(gate, None) {
            Some(ctx) => self.inner.response_body(ctx, io).await,
            None => {
                P::ResponseBody::pass(io);
                Ok(())
            }
        }
    }

    async fn response_trailers(&self, gate: &mut Self::Ctx, trailers: &mut Trailers) -> Result<(), Abort> {
        match self.pass(gate, trailers.request()) {
            Some(ctx) => self.inner.response_trailers(ctx, trailers).await,
            None => Ok(()),
        }
    }

    fn close(&self, gate: Self::Ctx, end: End) {
        if let Gate::On(ctx) = gate {
            self.inner.close(ctx, end);
        }
    }
}

impl<P: fmt::Debug, F> fmt::Debug for When<P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("When").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for Gate<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Undecided(_) => "Undecided",
            Self::On(_) => "On",
            Self::Off => "Off",
        })
    }
}
