//! The two directions, written once.

use std::future::Future;
use std::sync::Arc;

use extproc_core::{Direction, Headers};

use super::Outcome;
use crate::body::Piece;
use crate::stages::Run;
use crate::stop::{Error, Halted};
use crate::{Dir, LocalReply, Phase, Request, RequestHead, Response, ResponseHead, Start, Trailers};

/// What differs between the directions.
pub(super) trait Way: Dir<Head: Default> {
    const DIRECTION: Direction;
    const HEADERS: Phase;
    const BODY: Phase;
    const TRAILERS: Phase;

    /// The stage at a position in the order of this direction: requests run first to last, responses last to first.
    fn stage(position: usize, count: usize) -> usize;

    fn head(headers: Headers, last: bool) -> Self::Head;

    fn set_request(head: &mut Self::Head, request: Option<Arc<RequestHead>>);

    fn is_upgrade(head: &Self::Head) -> bool;

    fn take_clear_route(head: &mut Self::Head) -> bool;

    /// The head as later phases see it, if it is the request's.
    fn share(head: &mut Option<Self::Head>) -> Option<Arc<RequestHead>>;

    /// The head again, after it was shared.
    fn copy(shared: &RequestHead) -> Option<Self::Head>;

    /// A body is longer than a stage takes.
    fn overflow(stage: usize, limit: usize) -> Result<Outcome, Error>;

    fn on_headers<R: Run>(
        run: &mut R,
        stage: usize,
        start: &mut Start<Self::Head>,
    ) -> impl Future<Output = Result<(), Halted>> + Send;

    fn on_body<R: Run>(
        run: &mut R,
        stage: usize,
        head: &mut Self::Head,
        piece: &mut Piece,
    ) -> impl Future<Output = Result<(), Halted>> + Send;

    fn on_trailers<R: Run>(
        run: &mut R,
        stage: usize,
        trailers: &mut Trailers,
    ) -> impl Future<Output = Result<(), Halted>> + Send;
}

impl Way for Request {
    const DIRECTION: Direction = Direction::Request;
    const HEADERS: Phase = Phase::RequestHeaders;
    const BODY: Phase = Phase::RequestBody;
    const TRAILERS: Phase = Phase::RequestTrailers;

    fn stage(position: usize, _: usize) -> usize {
        position
    }

    fn head(headers: Headers, _: bool) -> RequestHead {
        RequestHead::new(headers)
    }

    fn set_request(_: &mut RequestHead, _: Option<Arc<RequestHead>>) {}

    fn is_upgrade(head: &RequestHead) -> bool {
        head.is_upgrade()
    }

    fn take_clear_route(head: &mut RequestHead) -> bool {
        head.take_clear_route()
    }

    fn share(head: &mut Option<RequestHead>) -> Option<Arc<RequestHead>> {
        head.take().map(Arc::new)
    }

    fn copy(shared: &RequestHead) -> Option<RequestHead> {
        Some(shared.clone())
    }

    fn overflow(stage: usize, _: usize) -> Result<Outcome, Error> {
        Ok(Outcome::Reply { by: stage, reply: LocalReply::payload_too_large().body("Payload Too Large") })
    }

    fn on_headers<R: Run>(
        run: &mut R,
        stage: usize,
        start: &mut Start<RequestHead>,
    ) -> impl Future<Output = Result<(), Halted>> + Send {
        run.request_headers(stage, start)
    }

    fn on_body<R: Run>(
        run: &mut R,
        stage: usize,
        head: &mut RequestHead,
        piece: &mut Piece,
    ) -> impl Future<Output = Result<(), Halted>> + Send {
        run.request_body(stage, head, piece)
    }

    fn on_trailers<R: Run>(
        run: &mut R,
        stage: usize,
        trailers: &mut Trailers,
    ) -> impl Future<Output = Result<(), Halted>> + Send {
        run.request_trailers(stage, trailers)
    }
}

impl Way for Response {
    const DIRECTION: Direction = Direction::Response;
    const HEADERS: Phase = Phase::ResponseHeaders;
    const BODY: Phase = Phase::ResponseBody;
    const TRAILERS: Phase = Phase::ResponseTrailers;

    fn stage(position: usize, count: usize) -> usize {
        count - 1 - position
    }

    fn head(headers: Headers, last: bool) -> ResponseHead {
        ResponseHead::new(headers, last)
    }

    fn set_request(head: &mut ResponseHead, request: Option<Arc<RequestHead>>) {
        head.set_request(request);
    }

    fn is_upgrade(head: &ResponseHead) -> bool {
        head.status() == 101
    }

    fn take_clear_route(_: &mut ResponseHead) -> bool {
        false
    }

    fn share(_: &mut Option<ResponseHead>) -> Option<Arc<RequestHead>> {
        None
    }

    fn copy(_: &RequestHead) -> Option<ResponseHead> {
        None
    }

    fn overflow(_: usize, limit: usize) -> Result<Outcome, Error> {
        Err(format!("the response body is longer than the {limit} bytes this processor takes").into())
    }

    fn on_headers<R: Run>(
        run: &mut R,
        stage: usize,
        start: &mut Start<ResponseHead>,
    ) -> impl Future<Output = Result<(), Halted>> + Send {
        run.response_headers(stage, start)
    }

    fn on_body<R: Run>(
        run: &mut R,
        stage: usize,
        head: &mut ResponseHead,
        piece: &mut Piece,
    ) -> impl Future<Output = Result<(), Halted>> + Send {
        run.response_body(stage, head, piece)
    }

    fn on_trailers<R: Run>(
        run: &mut R,
        stage: usize,
        trailers: &mut Trailers,
    ) -> impl Future<Output = Result<(), Halted>> + Send {
        run.response_trailers(stage, trailers)
    }
}
