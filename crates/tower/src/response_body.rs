//! The response body as the server sees it.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use extproc_core::Direction;
use extproc_core::filter::Forward;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::{BoxError, Cut, Length, frame};
use crate::driver::{Drive, spawn};
use crate::shared::{Fate, Part, Shared};

pin_project! {
    /// The body of a response on its way to the client.
    ///
    /// Fails with [`Cut`] when the response cannot be finished. Taking it slowly makes the upstream and the processors
    /// wait; dropping it before its end counts as the client going away.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        /// No filter: the upstream's own body.
        Direct { #[pin] body: B },
        Chain { sink: Sink },
        Full { data: Option<Bytes> },
    }
}

struct Sink {
    shared: Arc<Shared>,
    length: Length,
    ended: bool,
    /// The driver, as long as it has nothing to do but to pass on what this body asks for.
    driver: Option<Pin<Box<dyn Drive>>>,
}

impl<B> ResponseBody<B> {
    pub(crate) const fn direct(body: B) -> Self {
        Self { kind: Kind::Direct { body } }
    }

    /// A whole body; empty is allowed.
    pub(crate) fn full(data: Bytes) -> Self {
        Self { kind: Kind::Full { data: Some(data).filter(|it| !it.is_empty()) } }
    }

    pub(crate) fn chain(shared: Arc<Shared>, declared: Option<u64>, driver: Option<Pin<Box<dyn Drive>>>) -> Self {
        Self { kind: Kind::Chain { sink: Sink { shared, length: Length::new(declared), ended: false, driver } } }
    }
}

impl<B> Body for ResponseBody<B>
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
            KindProj::Full { data } => Poll::Ready(data.take().map(|it| Ok(Frame::data(it)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Direct { body } => body.is_end_stream(),
            Kind::Chain { sink } => sink.ended,
            Kind::Full { data } => data.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Direct { body } => body.size_hint(),
            Kind::Chain { sink } => sink.length.hint(),
            Kind::Full { data } => SizeHint::with_exact(data.as_ref().map_or(0, |it| it.len() as u64)),
        }
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").finish_non_exhaustive()
    }
}

impl Sink {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let result = match ready!(self.poll_part(cx)) {
            Part::Next(part) => self.pass(part),
            Part::End => {
                self.ended = true;
                self.length.end().map(|()| None).map_err(Into::into)
            }
            Part::Cut => Err(Cut("the response cannot be finished").into()),
        };
        self.ended |= result.is_err();
        Poll::Ready(result.transpose())
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Part> {
        let Some(driver) = &mut self.driver else {
            return self.shared.poll_part(Direction::Response, Some(cx));
        };
        let over = driver.as_mut().poll(cx).is_ready();
        let quiet = driver.is_quiet();
        if over {
            self.driver = None;
        } else if !quiet && let Some(driver) = self.driver.take() {
            // Deadlines and processors must not wait until a slow client asks for more.
            spawn(driver);
            return self.shared.poll_part(Direction::Response, Some(cx));
        }
        self.shared.poll_part(Direction::Response, None)
    }

    fn pass(&mut self, part: Forward) -> Result<Option<Frame<Bytes>>, BoxError> {
        self.ended = crate::shared::is_last(&part);
        self.length.pass(&part)?;
        if self.length.is_satisfied() {
            // A server need not ask again once it has what was declared; that is no disconnect.
            self.shared.satisfy(Direction::Response);
        }
        frame(part)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.close(Direction::Response, Fate::Gone);
    }
}
