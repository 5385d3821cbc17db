//! Bodies that know about time: when a request has ended, and when a response must have.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

pin_project! {
    /// A request body that tells when the client connection is done with it.
    pub(crate) struct Watched<B> {
        #[pin]
        body: B,
        // Dropping it is the message.
        ended: Option<oneshot::Sender<()>>,
    }
}

impl<B> Watched<B> {
    pub(super) const fn new(body: B, ended: Option<oneshot::Sender<()>>) -> Self {
        Self { body, ended }
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if matches!(frame, Poll::Ready(None)) {
            *this.ended = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pin_project! {
    /// The body of an upstream's response.
    #[derive(Debug)]
    pub struct UpstreamBody {
        #[pin]
        body: Incoming,
        deadline: Option<Pin<Box<Sleep>>>,
    }
}

/// The response did not end in time.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the response took longer than the route allows")]
struct TooLate;

impl UpstreamBody {
    pub(super) fn new(body: Incoming, deadline: Option<Instant>) -> Self {
        Self { body, deadline: deadline.map(|it| Box::pin(tokio::time::sleep_until(it))) }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if frame.is_pending()
            && let Some(deadline) = this.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Some(Err(TooLate.into())));
        }
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
