//! Processors of different types behind one type.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use extproc_core::Direction;

use crate::body::{Piece, Want};
use crate::stages::{One, Run, Stages};
use crate::stop::Halted;
use crate::{End, Needs, OnError, OnMismatch, Open, Processor, RequestHead, ResponseHead, Start, Trailers};

/// A processor whose type is forgotten, for registries and for chains that configuration decides.
///
/// It costs an allocation for each phase. A `Vec` of them is a chain:
///
/// ```
/// use extproc::{BoxProcessor, Noop, Server};
///
/// let chain: Vec<BoxProcessor> = ["noop", "noop"].iter().map(|_| BoxProcessor::new(Noop)).collect();
/// assert_eq!(Server::new(chain).name(), "Noop,Noop");
/// ```
#[derive(Clone)]
pub struct BoxProcessor(Arc<dyn Erased>);

impl BoxProcessor {
    /// Forgets the type.
    pub fn new(processor: impl Processor) -> Self {
        Self(Arc::new(Holder(Arc::new(processor))))
    }

    /// The processor's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.name()
    }
}

impl fmt::Debug for BoxProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BoxProcessor").field(&self.name()).finish()
    }
}

impl Stages for Vec<BoxProcessor> {
    type Run = BoxRun;

    fn open(stages: &Arc<Self>, open: &Open) -> BoxRun {
        BoxRun(stages.iter().map(|processor| processor.0.open(open)).collect())
    }

    fn each_name(&self, visit: &mut dyn FnMut(&str)) {
        self.iter().for_each(|processor| visit(processor.name()));
    }

    fn needs(&self) -> Needs {
        self.iter().map(Stages::needs).fold(Needs::default(), Needs::and)
    }
}

impl Stages for BoxProcessor {
    type Run = BoxRun;

    fn open(stages: &Arc<Self>, open: &Open) -> BoxRun {
        BoxRun(vec![stages.0.open(open)])
    }

    fn each_name(&self, visit: &mut dyn FnMut(&str)) {
        visit(self.name());
    }

    fn needs(&self) -> Needs {
        self.0.needs()
    }
}

trait Erased: Send + Sync {
    fn name(&self) -> &str;
    fn needs(&self) -> Needs;
    fn open(&self, open: &Open) -> Box<dyn ErasedRun>;
}

struct Holder<P>(Arc<P>);

impl<P: Processor> Erased for Holder<P> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn needs(&self) -> Needs {
        P::needs(&self.0)
    }

    fn open(&self, open: &Open) -> Box<dyn ErasedRun> {
        Box::new(<P as Stages>::open(&self.0, open))
    }
}

type Phase<'a> = Pin<Box<dyn Future<Output = Result<(), Halted>> + Send + 'a>>;

/// The dyn twin of one processor's [`Run`], under other names to keep calls unambiguous.
trait ErasedRun: Send {
    fn dyn_name(&self) -> &str;
    fn dyn_want(&self, direction: Direction) -> Want;
    fn dyn_on_error(&self) -> OnError;
    fn dyn_on_mismatch(&self) -> Option<OnMismatch>;
    fn dyn_request_headers<'a>(&'a mut self, req: &'a mut Start<RequestHead>) -> Phase<'a>;
    fn dyn_request_body<'a>(&'a mut self, head: &'a mut RequestHead, piece: &'a mut Piece) -> Phase<'a>;
    fn dyn_request_trailers<'a>(&'a mut self, trailers: &'a mut Trailers) -> Phase<'a>;
    fn dyn_response_headers<'a>(&'a mut self, rsp: &'a mut Start<ResponseHead>) -> Phase<'a>;
    fn dyn_response_body<'a>(&'a mut self, head: &'a mut ResponseHead, piece: &'a mut Piece) -> Phase<'a>;
    fn dyn_response_trailers<'a>(&'a mut self, trailers: &'a mut Trailers) -> Phase<'a>;
    fn dyn_close(&mut self, end: End);
}

impl<P: Processor> ErasedRun for One<P> {
    fn dyn_name(&self) -> &str {
        self.name(0)
    }

    fn dyn_want(&self, direction: Direction) -> Want {
        self.want(0, direction)
    }

    fn dyn_on_error(&self) -> OnError {
        self.on_error(0)
    }

    fn dyn_on_mismatch(&self) -> Option<OnMismatch> {
        self.on_mismatch(0)
    }

    fn dyn_request_headers<'a>(&'a mut self, req: &'a mut Start<RequestHead>) -> Phase<'a> {
        Box::pin(self.request_headers(0, req))
    }

    fn dyn_request_body<'a>(&'a mut self, head: &'a mut RequestHead, piece: &'a mut Piece) -> Phase<'a> {
        Box::pin(self.request_body(0, head, piece))
    }

    fn dyn_request_trailers<'a>(&'a mut self, trailers: &'a mut Trailers) -> Phase<'a> {
        Box::pin(self.request_trailers(0, trailers))
    }

    fn dyn_response_headers<'a>(&'a mut self, rsp: &'a mut Start<ResponseHead>) -> Phase<'a> {
        Box::pin(self.response_headers(0, rsp))
    }

    fn dyn_response_body<'a>(&'a mut self, head: &'a mut ResponseHead, piece: &'a mut Piece) -> Phase<'a> {
        Box::pin(self.response_body(0, head, piece))
    }

    fn dyn_response_trailers<'a>(&'a mut self, trailers: &'a mut Trailers) -> Phase<'a> {
        Box::pin(self.response_trailers(0, trailers))
    }

    fn dyn_close(&mut self, end: End) {
        self.close(0, end);
    }
}

#[doc(hidden)]
#[expect(missing_debug_implementations, reason = "hidden")]
#[expect(unnameable_types, reason = "sealed")]
pub struct BoxRun(Vec<Box<dyn ErasedRun>>);

impl Run for BoxRun {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn name(&self, index: usize) -> &str {
        self.0[index].dyn_name()
    }

    fn want(&self, index: usize, direction: Direction) -> Want {
        self.0[index].dyn_want(direction)
    }

    fn on_error(&self, index: usize) -> OnError {
        self.0[index].dyn_on_error()
    }

    fn on_mismatch(&self, index: usize) -> Option<OnMismatch> {
        self.0[index].dyn_on_mismatch()
    }

    async fn request_headers(&mut self, index: usize, req: &mut Start<RequestHead>) -> Result<(), Halted> {
        self.0[index].dyn_request_headers(req).await
    }

    async fn request_body(&mut self, index: usize, head: &mut RequestHead, piece: &mut Piece) -> Result<(), Halted> {
        self.0[index].dyn_request_body(head, piece).await
    }

    async fn request_trailers(&mut self, index: usize, trailers: &mut Trailers) -> Result<(), Halted> {
        self.0[index].dyn_request_trailers(trailers).await
    }

    async fn response_headers(&mut self, index: usize, rsp: &mut Start<ResponseHead>) -> Result<(), Halted> {
        self.0[index].dyn_response_headers(rsp).await
    }

    async fn response_body(&mut self, index: usize, head: &mut ResponseHead, piece: &mut Piece) -> Result<(), Halted> {
        self.0[index].dyn_response_body(head, piece).await
    }

    async fn response_trailers(&mut self, index: usize, trailers: &mut Trailers) -> Result<(), Halted> {
        self.0[index].dyn_response_trailers(trailers).await
    }

    fn close(&mut self, index: usize, end: End) {
        self.0[index].dyn_close(end);
    }
}
