//! Scripts from plans: all phases, or some of them.

use extproc_proto::processing_request::Request;
use extproc_proto::{HttpBody, HttpHeaders, HttpTrailers, ProcessingRequest};

use super::read::{map_of, phase_of};
use super::{Plan, Script};
use crate::{BodyMode, Phase};

impl Script {
    /// All six messages, in the order of an exchange: heads, bodies and trailers of these plans, empty where they have
    /// none. A body that is [cut](Plan::chunks) is as many messages, in mode STREAMED; the others are BUFFERED. No message
    /// has `end_of_stream`, which [`with_ends`](Self::with_ends) adds.
    ///
    /// ```
    /// use extproc::testing::{Plan, Script};
    /// use extproc::{Noop, Phase};
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// let cycle = Script::cycle(&Plan::request("POST", "/").body("hello"), &Plan::response(200));
    /// assert_eq!(cycle.run(Noop).await.replies.len(), 6);
    /// let some = cycle.only(&[Phase::RequestHeaders, Phase::ResponseHeaders]).with_ends();
    /// assert_eq!(some.run(Noop).await.lines(), ["request_headers", "response_headers"]);
    /// # });
    /// ```
    #[must_use]
    pub fn cycle(request: &Plan, response: &Plan) -> Self {
        let mode = |plan: &Plan| if plan.pieces().len() > 1 { BodyMode::Streamed } else { BodyMode::Buffered };
        let script = Self::new().modes(mode(request), mode(response));
        let script = script
            .push(Request::RequestHeaders(head_of(request)))
            .push_all(bodies_of(request).map(Request::RequestBody))
            .push(Request::RequestTrailers(trailers_of(request)));
        script
            .push(Request::ResponseHeaders(head_of(response)))
            .push_all(bodies_of(response).map(Request::ResponseBody))
            .push(Request::ResponseTrailers(trailers_of(response)))
    }

    /// Only the messages of these phases.
    #[must_use]
    pub fn only(mut self, phases: &[Phase]) -> Self {
        self.messages.retain(|message| phase_of(message).is_some_and(|phase| phases.contains(&phase)));
        self
    }

    /// Sets `end_of_stream` as a data plane does: on the last message of each direction, unless that is trailers.
    #[must_use]
    pub fn with_ends(mut self) -> Self {
        for request in [true, false] {
            let of = |message: &&mut ProcessingRequest| {
                message.request.as_ref().is_some_and(|part| is_request(part) == request)
            };
            match self.messages.iter_mut().rev().find(of).and_then(|message| message.request.as_mut()) {
                Some(Request::RequestHeaders(head) | Request::ResponseHeaders(head)) => head.end_of_stream = true,
                Some(Request::RequestBody(body) | Request::ResponseBody(body)) => body.end_of_stream = true,
                Some(Request::RequestTrailers(_) | Request::ResponseTrailers(_)) | None => {}
            }
        }
        self
    }

    fn push_all(self, parts: impl Iterator<Item = Request>) -> Self {
        parts.fold(self, Self::push)
    }
}

const fn is_request(part: &Request) -> bool {
    matches!(part, Request::RequestHeaders(_) | Request::RequestBody(_) | Request::RequestTrailers(_))
}

fn head_of(plan: &Plan) -> HttpHeaders {
    HttpHeaders { headers: Some(map_of(&plan.headers())), ..HttpHeaders::default() }
}

fn bodies_of(plan: &Plan) -> impl Iterator<Item = HttpBody> {
    let mut pieces = plan.pieces();
    if pieces.is_empty() {
        pieces.push(bytes::Bytes::new());
    }
    pieces.into_iter().map(|body| HttpBody { body, ..HttpBody::default() })
}

fn trailers_of(plan: &Plan) -> HttpTrailers {
    HttpTrailers { trailers: Some(plan.trailer_fields().map(map_of).unwrap_or_default()) }
}
