//! Several processors in one stream.

mod boxed;

use std::fmt;
use std::sync::Arc;

use extproc_core::Direction;

pub use self::boxed::BoxProcessor;
use crate::body::{Piece, Want};
use crate::stages::{Run, Stages};
use crate::stop::Halted;
use crate::{End, Needs, OnError, OnMismatch, Open, RequestHead, ResponseHead, Start, Trailers};

/// Several processors in one stream, each as if it were a filter of its own: one hop in place of many.
///
/// Request phases run first to last, response phases last to first. Each sees the edits of those before it, and one
/// mutation goes on the wire. A processor that wants the whole body keeps the head from those behind it, where the
/// body mode lets the head wait. A local reply passes the response phases of the others
/// ([`LocalReplyScope`](crate::LocalReplyScope)). Errors mean for each what its [`on_error`](crate::Processor::on_error)
/// says.
///
/// ```
/// use extproc::{Chain, Noop, Server};
///
/// let server = Server::new(Chain::new(Noop).then(Noop).then(Noop));
/// assert_eq!(server.name(), "Noop,Noop,Noop");
/// ```
///
/// One stream is not quite as many: in body mode NONE a processor sees a body that another one put in place with
/// [`replace_body`](crate::Start::replace_body), which ends the trailers for all; and where the stream fails, no response
/// phase runs.
///
/// For a row that configuration decides, see [`BoxProcessor`], and `Registry` of feature `config` for files.
#[derive(Clone)]
pub struct Chain<S>(Arc<S>);

/// Two rows of processors, one behind the other. Made by [`Chain::then`].
pub struct Link<A, B> {
    first: Arc<A>,
    second: Arc<B>,
}

impl<S: Stages> Chain<S> {
    /// A chain of one.
    pub fn new(first: S) -> Self {
        Self(Arc::new(first))
    }

    /// Adds a processor, or a chain, behind.
    #[must_use]
    pub fn then<T: Stages>(self, next: T) -> Chain<Link<S, T>> {
        Chain(Arc::new(Link { first: self.0, second: Arc::new(next) }))
    }
}

impl<S: Stages> Stages for Chain<S> {
    type Run = S::Run;

    fn open(stages: &Arc<Self>, open: &Open) -> S::Run {
        S::open(&stages.0, open)
    }

    fn each_name(&self, visit: &mut dyn FnMut(&str)) {
        self.0.each_name(visit);
    }

    fn needs(&self) -> Needs {
        self.0.needs()
    }
}

impl<A: Stages, B: Stages> Stages for Link<A, B> {
    type Run = LinkRun<A::Run, B::Run>;

    fn open(stages: &Arc<Self>, open: &Open) -> Self::Run {
        let first = A::open(&stages.first, open);
        LinkRun { split: first.len(), first, second: B::open(&stages.second, open) }
    }

    fn each_name(&self, visit: &mut dyn FnMut(&str)) {
        self.first.each_name(visit);
        self.second.each_name(visit);
    }

    fn needs(&self) -> Needs {
        self.first.needs().and(self.second.needs())
    }
}

impl<S: Stages> fmt::Debug for Chain<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Chain").field(&self.names()).finish()
    }
}

impl<A: Stages, B: Stages> fmt::Debug for Link<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.names()).finish()
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "hidden")]
#[expect(unnameable_types, reason = "sealed")]
pub struct LinkRun<A, B> {
    first: A,
    second: B,
    split: usize,
}

macro_rules! pick {
    ($self:ident, $index:ident, $method:ident($($argument:expr),*)) => {
        match $index.checked_sub($self.split) {
            None => $self.first.$method($index, $($argument),*),
            Some(index) => $self.second.$method(index, $($argument),*),
        }
    };
}

macro_rules! pick_async {
    ($self:ident, $index:ident, $method:ident($($argument:expr),*)) => {
        match $index.checked_sub($self.split) {
            None => $self.first.$method($index, $($argument),*).await,
            Some(index) => $self.second.$method(index, $($argument),*).await,
        }
    };
}

impl<A: Run, B: Run> Run for LinkRun<A, B> {
    fn len(&self) -> usize {
        self.split + self.second.len()
    }

    fn name(&self, index: usize) -> &str {
        pick!(self, index, name())
    }

    fn want(&self, index: usize, direction: Direction) -> Want {
        pick!(self, index, want(direction))
    }

    fn on_error(&self, index: usize) -> OnError {
        pick!(self, index, on_error())
    }

    fn on_mismatch(&self, index: usize) -> Option<OnMismatch> {
        pick!(self, index, on_mismatch())
    }

    async fn request_headers(&mut self, index: usize, req: &mut Start<RequestHead>) -> Result<(), Halted> {
        pick_async!(self, index, request_headers(req))
    }

    async fn request_body(&mut self, index: usize, head: &mut RequestHead, piece: &mut Piece) -> Result<(), Halted> {
        pick_async!(self, index, request_body(head, piece))
    }

    async fn request_trailers(&mut self, index: usize, trailers: &mut Trailers) -> Result<(), Halted> {
        pick_async!(self, index, request_trailers(trailers))
    }

    async fn response_headers(&mut self, index: usize, rsp: &mut Start<ResponseHead>) -> Result<(), Halted> {
        pick_async!(self, index, response_headers(rsp))
    }

    async fn response_body(&mut self, index: usize, head: &mut ResponseHead, piece: &mut Piece) -> Result<(), Halted> {
        pick_async!(self, index, response_body(head, piece))
    }

    async fn response_trailers(&mut self, index: usize, trailers: &mut Trailers) -> Result<(), Halted> {
        pick_async!(self, index, response_trailers(trailers))
    }

    fn close(&mut self, index: usize, end: End) {
        pick!(self, index, close(end));
    }
}
