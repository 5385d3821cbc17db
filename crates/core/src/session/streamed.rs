//! A local reply in parts (Envoy `StreamedImmediateResponse`).

use bytes::Bytes;
use extproc_proto::processing_response::Response;
use extproc_proto::streamed_immediate_response::Response as Part;
use extproc_proto::{HeaderMap, HeaderValue, HttpHeaders, StreamedBodyResponse, StreamedImmediateResponse};

use super::side::Head;
use super::{ApiMisuse, Session, State};
use crate::BodyMode;
use crate::headers::{Name, Value};

impl Session {
    /// Whether the client can be answered in parts here: the request's headers wait for their answer, the request's
    /// body mode is NONE or FULL_DUPLEX_STREAMED (the others can take a reply without body only), and the data plane
    /// speaks HTTP, not GRPC mode. agentgateway does not know such replies and would wait for ever: it is told by header
    /// values in `value`, where Envoy has `raw_value` only.
    #[must_use]
    pub fn may_stream_reply(&self) -> bool {
        let Some(protocol) = self.protocol else { return false };
        self.state == State::Open
            && !self.observing
            && !self.plain_values
            && self.request.head == Head::Owed
            && matches!(protocol.bodies.request, BodyMode::None | BodyMode::FullDuplexStreamed)
            && protocol.bodies.response != BodyMode::Grpc
    }

    /// Begins a reply in parts, in place of the answer to the request's headers. The headers go as they are given, in
    /// order; a repeated name would lose all values but the last in Envoy.
    ///
    /// # Errors
    /// [`ApiMisuse::NoStreamedReply`] where [`may_stream_reply`](Self::may_stream_reply) is false.
    pub fn stream_reply(&mut self, status: u16, headers: Vec<(Name, Value)>, end: bool) -> Result<(), ApiMisuse> {
        if !self.may_stream_reply() {
            return Err(ApiMisuse::NoStreamedReply);
        }
        self.state = State::Replying;
        self.request.head = Head::Answered;
        let status = (Name::from_static(":status"), Value::from(u64::from(status)));
        let headers = map(std::iter::once(status).chain(headers));
        self.push_part(Part::HeadersResponse(HttpHeaders {
            headers: Some(headers),
            end_of_stream: end,
            ..HttpHeaders::default()
        }));
        self.end_reply(end);
        Ok(())
    }

    /// A piece of the reply's body.
    ///
    /// # Errors
    /// [`ApiMisuse::Ended`] when no reply is under way.
    pub fn stream_reply_body(&mut self, body: Bytes, end: bool) -> Result<(), ApiMisuse> {
        if self.state != State::Replying {
            return Err(ApiMisuse::Ended);
        }
        self.push_part(Part::BodyResponse(StreamedBodyResponse {
            body,
            end_of_stream: end,
            ..StreamedBodyResponse::default()
        }));
        self.end_reply(end);
        Ok(())
    }

    /// Ends the reply with trailers.
    ///
    /// # Errors
    /// [`ApiMisuse::Ended`] when no reply is under way.
    pub fn stream_reply_trailers(&mut self, trailers: Vec<(Name, Value)>) -> Result<(), ApiMisuse> {
        if self.state != State::Replying {
            return Err(ApiMisuse::Ended);
        }
        self.push_part(Part::TrailersResponse(map(trailers)));
        self.end_reply(true);
        Ok(())
    }

    fn push_part(&mut self, part: Part) {
        let reply = StreamedImmediateResponse { response: Some(part) };
        self.push(None, Response::StreamedImmediateResponse(reply));
    }

    fn end_reply(&mut self, end: bool) {
        if end {
            self.state = State::Ended;
        }
    }
}

fn map(headers: impl IntoIterator<Item = (Name, Value)>) -> HeaderMap {
    let header = |(name, value): (Name, Value)| HeaderValue {
        key: name.into_bytes(),
        raw_value: value.into_bytes(),
        ..HeaderValue::default()
    };
    HeaderMap { headers: headers.into_iter().map(header).collect() }
}
