//! The request body as the upstream's client sees it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use extproc_core::Direction;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::{BoxError, Cut, Length, frame};
use crate::shared::{Fate, Part, Shared};

pin_project! {
    /// The body of a request on its way to the upstream.
    ///
    /// Fails with [`Cut`] when the exchange has been given up, so that the upstream sees an incomplete request. Taking
    /// it slowly makes the client and the processors wait; dropping it discards what would still come.
    pub struct RequestBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        /// No filter: the client's own body.
        Direct { #[pin] body: B },
        Chain { sink: Sink },
        Empty,
    }
}

struct Sink {
    shared: Arc<Shared>,
    length: Length,
    ended: bool,
}

impl<B> RequestBody<B> {
    pub(crate) const fn direct(body: B) -> Self {
        Self { kind: Kind::Direct { body } }
    }

    pub(crate) const fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    pub(crate) const fn chain(shared: Arc<Shared>, declared: Option<u64>) -> Self {
        Self { kind: Kind::Chain { sink: Sink { shared, length: Length::new(declared), ended: false } } }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            KindProj::Direct { body } => body.poll_frame(cx).map_err(Into::into),
            KindProj::Chain { sink } => sink.poll_frame(cx),
            KindProj::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Direct { body } => body.is_end_stream(),
            Kind::Chain { sink } => sink.ended,
            Kind::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Direct { body } => body.size_hint(),
            Kind::Chain { sink } => sink.length.hint(),
            Kind::Empty => SizeHint::with_exact(0),
        }
    }
}

impl<B> fmt::Debug for RequestBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

impl Sink {
    fn poll_frame(&mut self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let result = match ready!(self.shared.poll_part(Direction::Request, Some(cx))) {
            Part::Next(part) => {
                self.ended = crate::shared::is_last(&part);
                self.length.pass(&part).map_err(Into::into).and_then(|()| frame(part))
            }
            Part::End => {
                self.ended = true;
                self.length.end().map(|()| None).map_err(Into::into)
            }
            Part::Cut => Err(Cut("the exchange was given up").into()),
        };
        self.ended |= result.is_err();
        Poll::Ready(result.transpose())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.close(Direction::Request, Fate::Gone);
    }
}
