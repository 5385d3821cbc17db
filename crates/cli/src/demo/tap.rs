//! Who changed which header: a wrapper around a processor that compares the head before and after each phase.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use extproc::{
    Abort, BodyKind, End, Halt, Io, NoBody, OnError, Open, Processor, Request, RequestHead, Response, ResponseHead,
    Start, Stop, Trailers, WholeIo,
};
use extproc_core::{Direction, Headers};

use crate::text::{Change, Fields, changes};

/// What the processors changed since the last look.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Notes>);

#[derive(Debug)]
struct Notes {
    /// Whether anybody still looks; if not, heads are not even copied.
    wanted: AtomicBool,
    edits: Mutex<Vec<Edit>>,
}

/// One header set or removed by a processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The sample's name.
    pub(super) by: &'static str,
    pub(super) direction: Direction,
    pub(super) name: String,
}

impl Log {
    pub(super) fn new() -> Self {
        Self(Arc::new(Notes { wanted: AtomicBool::new(true), edits: Mutex::default() }))
    }

    /// The edits since the last call, in order.
    pub(super) fn take(&self) -> Vec<Edit> {
        std::mem::take(&mut *self.0.edits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nobody looks any more.
    pub(crate) fn stop(&self) {
        self.0.wanted.store(false, Ordering::Relaxed);
        self.take();
    }

    /// A copy of the head before a phase, for [`note`](Self::note).
    fn copy(&self, fields: impl FnOnce() -> Fields) -> Option<Fields> {
        self.0.wanted.load(Ordering::Relaxed).then(fields)
    }

    fn note(&self, by: &'static str, direction: Direction, before: Option<Fields>, after: impl FnOnce() -> Fields) {
        let Some(before) = before else { return };
        let edits = changes(&before, &after()).into_iter().filter(|line| line.change != Change::Same);
        let edits = edits.map(|line| Edit { by, direction, name: line.name });
        self.0.edits.lock().unwrap_or_else(PoisonError::into_inner).extend(edits);
    }
}

/// A processor whose edits are noted.
#[derive(Debug)]
pub(super) struct Tap<P> {
    pub(super) name: &'static str,
    pub(super) inner: P,
    pub(super) log: Log,
}

/// The head that a body handler sees.
pub(super) trait Head {
    fn fields(&self) -> Fields;
}

impl Head for WholeIo<Request> {
    fn fields(&self) -> Fields {
        readable(self.head.headers())
    }
}

impl Head for WholeIo<Response> {
    fn fields(&self) -> Fields {
        readable(self.head.headers())
    }
}

impl Head for NoBody {
    fn fields(&self) -> Fields {
        match *self {}
    }
}

fn readable(headers: &Headers) -> Fields {
    let text = |value: &extproc_core::headers::Value| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

impl<P> Processor for Tap<P>
where
    P: Processor,
    P::RequestBody: BodyKind<Request, Io: Head>,
    P::ResponseBody: BodyKind<Response, Io: Head>,
{
    type Ctx = P::Ctx;
    type RequestBody = P::RequestBody;
    type ResponseBody = P::ResponseBody;

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn on_error(&self) -> OnError {
        self.inner.on_error()
    }

    fn open(&self, open: &Open) -> P::Ctx {
        self.inner.open(open)
    }

    async fn request_headers(&self, ctx: &mut P::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        let before = self.log.copy(|| readable(req.headers()));
        let result = self.inner.request_headers(ctx, req).await;
        self.log.note(self.name, Direction::Request, before, || readable(req.headers()));
        result
    }

    async fn request_body(
        &self,
        ctx: &mut P::Ctx,
        io: &mut Io<Request, P::RequestBody>,
    ) -> Result<(), Halt<Request, P::RequestBody>> {
        let before = self.log.copy(|| io.fields());
        let result = self.inner.request_body(ctx, io).await;
        self.log.note(self.name, Direction::Request, before, || io.fields());
        result
    }

    async fn request_trailers(&self, ctx: &mut P::Ctx, trailers: &mut Trailers) -> Result<(), Stop> {
        self.inner.request_trailers(ctx, trailers).await
    }

    async fn response_headers(&self, ctx: &mut P::Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        let before = self.log.copy(|| readable(rsp.headers()));
        let result = self.inner.response_headers(ctx, rsp).await;
        self.log.note(self.name, Direction::Response, before, || readable(rsp.headers()));
        result
    }

    async fn response_body(
        &self,
        ctx: &mut P::Ctx,
        io: &mut Io<Response, P::ResponseBody>,
    ) -> Result<(), Halt<Response, P::ResponseBody>> {
        let before = self.log.copy(|| io.fields());
        let result = self.inner.response_body(ctx, io).await;
        self.log.note(self.name, Direction::Response, before, || io.fields());
        result
    }

    async fn response_trailers(&self, ctx: &mut P::Ctx, trailers: &mut Trailers) -> Result<(), Abort> {
        self.inner.response_trailers(ctx, trailers).await
    }

    fn close(&self, ctx: P::Ctx, end: End) {
        self.inner.close(ctx, end);
    }
}
