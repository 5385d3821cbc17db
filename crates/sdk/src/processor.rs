//! The trait that authors implement.

use std::future::Future;

use crate::{
    Abort, BodyKind, End, Halt, Io, OnError, OnMismatch, Open, Request, RequestHead, Response, ResponseHead, Start,
    Stop, Trailers, Wishes,
};

/// A processor: looks at exchanges and edits them.
///
/// One value serves all exchanges, each with its own [`Ctx`](Self::Ctx), made by [`open`](Self::open) before any
/// phase and handed to [`close`](Self::close) after the last, however the exchange ends. The phases of one exchange
/// never run at the same time. Which of them run is the data plane's decision: none can be relied on, and response
/// phases without request phases are normal (local replies of other filters).
///
/// Phases are edits on their view; there is no reply to build or to forget. `?` on a [`LocalReply`](crate::LocalReply)
/// answers the client at once, `?` on any error fails by [`on_error`](Self::on_error). Write the phases as `async fn`.
///
/// A panic in a handler ends its exchange as an error would; other exchanges go on.
pub trait Processor: Send + Sync + 'static {
    /// The state of one exchange.
    type Ctx: Send + 'static;
    /// What it wants of request bodies.
    type RequestBody: BodyKind<Request>;
    /// What it wants of response bodies.
    type ResponseBody: BodyKind<Response>;

    /// The name in logs and in the start line. Default: the last path segment of the type's name.
    fn name(&self) -> &str {
        last_segment(std::any::type_name::<Self>())
    }

    /// What an error, a panic or a refused edit means for its exchange. Default: the stream fails.
    ///
    /// It is not asked about bodies that are longer than a kind takes: a request's is answered with 413, a response's
    /// fails the stream. Nor about a [`LocalReply`](crate::LocalReply) or [`Abort`], which are no failures.
    fn on_error(&self) -> OnError {
        OnError::Fail
    }

    /// What becomes of it where its body kinds do not go with the data plane's body modes. Default: what the server
    /// says ([`Server::on_mismatch`](crate::Server::on_mismatch)), which is [`OnMismatch::Serve`] by default.
    fn on_mismatch(&self) -> Option<OnMismatch> {
        None
    }

    /// What it wants of its data plane and its types do not tell: trailers, metadata, attributes. It goes into what
    /// [`Server::config_for`](crate::Server::config_for) prints. Default: nothing.
    fn wishes(&self) -> Wishes {
        Wishes::new()
    }

    /// Makes the state of a new exchange.
    fn open(&self, open: &Open) -> Self::Ctx;

    /// The request's head. By default it passes.
    fn request_headers(
        &self,
        ctx: &mut Self::Ctx,
        req: &mut Start<RequestHead>,
    ) -> impl Future<Output = Result<(), Stop>> + Send {
        let _ = (ctx, req);
        async { Ok(()) }
    }

    /// The request's body, in the form of [`RequestBody`](Self::RequestBody). By default it passes.
    fn request_body(
        &self,
        ctx: &mut Self::Ctx,
        io: &mut Io<Request, Self::RequestBody>,
    ) -> impl Future<Output = Result<(), Halt<Request, Self::RequestBody>>> + Send {
        let _ = ctx;
        Self::RequestBody::pass(io);
        async { Ok(()) }
    }

    /// The request's trailers. By default they pass.
    fn request_trailers(
        &self,
        ctx: &mut Self::Ctx,
        trailers: &mut Trailers,
    ) -> impl Future<Output = Result<(), Stop>> + Send {
        let _ = (ctx, trailers);
        async { Ok(()) }
    }

    /// The response's head. By default it passes.
    fn response_headers(
        &self,
        ctx: &mut Self::Ctx,
        rsp: &mut Start<ResponseHead>,
    ) -> impl Future<Output = Result<(), Stop>> + Send {
        let _ = (ctx, rsp);
        async { Ok(()) }
    }

    /// The response's body, in the form of [`ResponseBody`](Self::ResponseBody). By default it passes.
    fn response_body(
        &self,
        ctx: &mut Self::Ctx,
        io: &mut Io<Response, Self::ResponseBody>,
    ) -> impl Future<Output = Result<(), Halt<Response, Self::ResponseBody>>> + Send {
        let _ = ctx;
        Self::ResponseBody::pass(io);
        async { Ok(()) }
    }

    /// The response's trailers. By default they pass. The client has the response's head by now.
    fn response_trailers(
        &self,
        ctx: &mut Self::Ctx,
        trailers: &mut Trailers,
    ) -> impl Future<Output = Result<(), Abort>> + Send {
        let _ = (ctx, trailers);
        async { Ok(()) }
    }

    /// The exchange is over. Runs exactly once for each `open`, also after errors, panics and cancellation, and
    /// cannot wait for anything.
    fn close(&self, ctx: Self::Ctx, end: End) {
        let _ = (ctx, end);
    }
}

/// `Digest` of `samples::Digest`, `Timed` of `samples::Timed<samples::Digest>`.
fn last_segment(type_name: &str) -> &str {
    let path = type_name.split('<').next().unwrap_or(type_name);
    path.rsplit("::").next().unwrap_or(path)
}

/// The processor that does nothing: every phase passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Noop;

impl Processor for Noop {
    type Ctx = ();
    type RequestBody = crate::Skip;
    type ResponseBody = crate::Skip;

    fn open(&self, _: &Open) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (type_name, expected) in
            [("Digest", "Digest"), ("a::b::Digest", "Digest"), ("a::Timed<b::Digest>", "Timed"), ("", "")]
        {
            assert_eq!(last_segment(type_name), expected);
        }
    }
}
