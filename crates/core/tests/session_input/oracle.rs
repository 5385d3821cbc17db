//! What a data plane accepts, told apart from the session's own bookkeeping: it sees only the messages of both sides.

use extproc_core::Session;
use extproc_core::session::Answer;
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodyResponse, BodySendMode, CommonResponse, HeaderMutation, ProcessingRequest, ProcessingResponse,
};

/// Both directions, and what ends an exchange.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    request: Lane,
    response: Lane,
    begun: bool,
    observing: bool,
    /// An author asked for other modes: which is in force, only the data plane knows.
    asked: bool,
    /// An immediate response was sent.
    over: bool,
}

#[derive(Debug, Default)]
struct Lane {
    mode: Option<BodySendMode>,
    heads: usize,
    heads_answered: usize,
    bodies: usize,
    bodies_answered: usize,
    trailers: usize,
    trailers_answered: usize,
    /// What the processor may still send, where windows were declared.
    window: Option<i64>,
    output_ended: bool,
}

impl Oracle {
    /// The data plane sent a message that declares and grants this.
    pub(crate) fn declared(&mut self, message: &ProcessingRequest) {
        if !std::mem::replace(&mut self.begun, true) {
            self.observing = message.observability_mode;
            let config = message.protocol_config;
            let mode = |number: i32| BodySendMode::try_from(number).ok();
            self.request.mode = config.and_then(|config| mode(config.request_body_mode));
            self.response.mode = config.and_then(|config| mode(config.response_body_mode));
            if let Some(windows) = message.flow_control_init {
                self.request.window = Some(windows.initial_window_sidestream_to_upstream);
                self.response.window = Some(windows.initial_window_sidestream_to_downstream);
            }
        }
        if let Some(update) = message.client_window_update {
            self.request.grant(update.window_increment_sidestream_to_upstream);
            self.response.grant(update.window_increment_sidestream_to_downstream);
        }
    }

    /// The session took the message: what it brings has to be answered.
    pub(crate) fn taken(&mut self, request: Option<&Request>) {
        match request {
            Some(Request::RequestHeaders(_)) => self.request.heads += 1,
            Some(Request::ResponseHeaders(_)) => self.response.heads += 1,
            Some(Request::RequestBody(_)) => self.request.bodies += 1,
            Some(Request::ResponseBody(_)) => self.response.bodies += 1,
            Some(Request::RequestTrailers(_)) => self.request.trailers += 1,
            Some(Request::ResponseTrailers(_)) => self.response.trailers += 1,
            None => {}
        }
    }

    /// The author wants to say this.
    pub(crate) fn asks(&mut self, answer: &Answer) {
        self.asked |= matches!(answer, Answer::Headers(headers) if headers.ask.is_some());
    }

    /// The data plane ended its half: it can grant nothing more, and what waited goes out (gRFC A93, legacy drain).
    pub(crate) const fn ended(&mut self) {
        self.request.window = None;
        self.response.window = None;
    }

    /// Takes all replies that the session has, and judges them.
    pub(crate) fn replies(&mut self, session: &mut Session) {
        while let Some(reply) = session.poll_reply() {
            self.judge(&reply);
        }
    }

    fn judge(&mut self, reply: &ProcessingResponse) {
        assert!(!self.observing, "a reply in observability mode: {reply:?}");
        assert!(!self.over, "a reply after an immediate response: {reply:?}");
        let asked = self.asked;
        match &reply.response {
            None => {
                let says = reply.server_window_update.is_some()
                    || reply.request_drain
                    || reply.request_drain_requests
                    || reply.request_drain_responses;
                assert!(says, "a reply that says nothing");
            }
            Some(Response::RequestHeaders(head)) => self.request.head(head.response.as_ref()),
            Some(Response::ResponseHeaders(head)) => self.response.head(head.response.as_ref()),
            Some(Response::RequestBody(body)) => self.request.body(body, asked),
            Some(Response::ResponseBody(body)) => self.response.body(body, asked),
            Some(Response::RequestTrailers(trailers)) => self.request.trailers(trailers.header_mutation.as_ref()),
            Some(Response::ResponseTrailers(trailers)) => self.response.trailers(trailers.header_mutation.as_ref()),
            Some(Response::ImmediateResponse(immediate)) => {
                self.over = true;
                let status = immediate.status.as_ref().map(|status| status.code);
                assert!(status.is_some_and(|code| (200..600).contains(&code)), "{immediate:?}");
                immediate.headers.iter().for_each(portable);
            }
            Some(Response::StreamedImmediateResponse(part)) => panic!("nobody streams a reply here: {part:?}"),
        }
    }
}

impl Lane {
    fn grant(&mut self, increment: i64) {
        // An increment that cannot be counted ends the exchange.
        self.window = self.window.map(|window| window.saturating_add(increment));
    }

    fn head(&mut self, response: Option<&CommonResponse>) {
        self.heads_answered += 1;
        assert!(self.heads_answered <= self.heads, "headers answered that did not come");
        assert!(self.bodies_answered == 0 && self.trailers_answered == 0, "headers answered after body or trailers");
        response.and_then(|common| common.header_mutation.as_ref()).into_iter().for_each(portable);
    }

    fn body(&mut self, body: &BodyResponse, asked: bool) {
        assert!(self.heads_answered == self.heads, "a body answered before its headers");
        assert!(self.trailers_answered == 0, "a body answered after the trailers");
        let common = body.response.as_ref();
        let mutation = common.and_then(|common| common.body_mutation.as_ref()).and_then(|it| it.mutation.as_ref());
        let duplex = matches!(self.mode, Some(BodySendMode::FullDuplexStreamed | BodySendMode::Grpc));
        if let Some(Mutation::StreamedResponse(streamed)) = mutation {
            assert!(duplex || asked, "a streamed response in {:?}", self.mode);
            assert!(!self.output_ended || streamed.drain_complete, "a chunk after the end: {streamed:?}");
            self.output_ended |= streamed.end_of_stream || streamed.end_of_stream_without_message;
            self.spend(streamed.body.len());
            return;
        }
        assert!(!duplex || asked, "a plain body response in {:?}", self.mode);
        self.bodies_answered += 1;
        assert!(self.bodies_answered <= self.bodies, "more bodies answered than came");
        common.and_then(|common| common.header_mutation.as_ref()).into_iter().for_each(portable);
    }

    fn spend(&mut self, bytes: usize) {
        let Some(window) = &mut self.window else { return };
        if bytes > 0 {
            assert!(*window > 0, "{bytes} bytes sent without credit ({window})");
            *window = window.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    fn trailers(&mut self, mutation: Option<&HeaderMutation>) {
        self.trailers_answered += 1;
        assert!(self.trailers_answered <= self.trailers, "trailers answered that did not come");
        assert!(self.heads_answered == self.heads, "trailers answered before the headers");
        mutation.into_iter().for_each(portable);
    }
}

/// Every data plane must read a mutation alike: values in `raw_value`, no name both set and removed, none twice removed.
fn portable(mutation: &HeaderMutation) {
    for option in &mutation.set_headers {
        let header = option.header.as_ref().expect("a header to set");
        assert!(header.value.is_empty(), "{header:?}");
        assert!(!header.key.iter().any(u8::is_ascii_uppercase) && !header.key.is_empty(), "{header:?}");
        let removed = mutation.remove_headers.iter().any(|name| name.as_bytes() == &header.key[..]);
        assert!(!removed, "set and removed: {header:?}");
    }
    for (index, name) in mutation.remove_headers.iter().enumerate() {
        assert!(!name.starts_with(':'), "a pseudo header removed: {name}");
        assert!(!mutation.remove_headers[..index].contains(name), "removed twice: {name}");
    }
}
