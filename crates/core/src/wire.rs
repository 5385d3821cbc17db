//! Between the wire types and the core's own: the only file of the filter that names generated types.

use std::time::Duration;

use bytes::Bytes;
pub(crate) use extproc_proto::ProcessingRequest as Message;
use extproc_proto::body_mutation::Mutation as WireBodyMutation;
use extproc_proto::common_response::ResponseStatus;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodyMutation, BodySendMode, CommonResponse, HeaderMap, HeaderMutation, HeaderSendMode, HeaderValue,
    HeaderValueOption, HttpBody, HttpHeaders, HttpTrailers, ImmediateResponse, Metadata, ProcessingResponse,
    ProtocolConfiguration,
};

use crate::mode::ModeOverride;
use crate::mutation::{Mutation, SetHeader};
use crate::rules::Forwarding;
use crate::{BodyMode, Direction, Headers, Options};

/// What a processor said, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `override_message_timeout`: everything else in the message is ignored. `None`: not a time span.
    Timeout(Option<Duration>),
    Headers(Direction, Common),
    Body(Direction, Common),
    Trailers(Direction, Option<Mutation>),
    Immediate(Box<Immediate>),
    StreamedImmediate,
    /// Only `mode_override`.
    Mode(ModeOverride),
    /// No member of the oneof.
    Unknown,
}

/// `CommonResponse`, the content of headers and body responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Common {
    /// CONTINUE_AND_REPLACE.
    pub(crate) replace: bool,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) body: BodyChange,
    pub(crate) clear_route_cache: bool,
    /// Of headers responses only.
    pub(crate) mode: Option<ModeOverride>,
}

/// What happens to the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyChange {
    #[default]
    Keep,
    /// Empty for `clear_body`.
    Replace(Bytes),
    /// `streamed_response`: a piece of body, and whether it is the last.
    Streamed(Bytes, bool),
}

/// `ImmediateResponse`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Immediate {
    /// 200 to 599.
    pub(crate) status: u16,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) body: Bytes,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) details: String,
}

impl From<ProcessingResponse> for Reply {
    fn from(message: ProcessingResponse) -> Self {
        if let Some(span) = message.override_message_timeout {
            return Self::Timeout(span.try_into().ok());
        }
        let mode = message.mode_override.as_ref().map(mode_override);
        match message.response {
            Some(Response::RequestHeaders(reply)) => {
                Self::Headers(Direction::Request, Common { mode, ..common(reply.response) })
            }
            Some(Response::ResponseHeaders(reply)) => {
                Self::Headers(Direction::Response, Common { mode, ..common(reply.response) })
            }
            Some(Response::RequestBody(reply)) => Self::Body(Direction::Request, common(reply.response)),
            Some(Response::ResponseBody(reply)) => Self::Body(Direction::Response, common(reply.response)),
            Some(Response::RequestTrailers(reply)) => {
                Self::Trailers(Direction::Request, reply.header_mutation.map(mutation))
            }
            Some(Response::ResponseTrailers(reply)) => {
                Self::Trailers(Direction::Response, reply.header_mutation.map(mutation))
            }
            Some(Response::ImmediateResponse(reply)) => Self::Immediate(Box::new(immediate(reply))),
            Some(Response::StreamedImmediateResponse(_)) => Self::StreamedImmediate,
            None => mode.map_or(Self::Unknown, Self::Mode),
        }
    }
}

fn common(common: Option<CommonResponse>) -> Common {
    let Some(common) = common else {
        return Common::default();
    };
    Common {
        replace: common.status == ResponseStatus::ContinueAndReplace as i32,
        mutation: common.header_mutation.map(mutation),
        body: body_change(common.body_mutation),
        clear_route_cache: common.clear_route_cache,
        mode: None,
    }
}

fn mode_override(mode: &extproc_proto::ProcessingMode) -> ModeOverride {
    let sent = |mode| match HeaderSendMode::try_from(mode) {
        Ok(HeaderSendMode::Send) => Some(true),
        Ok(HeaderSendMode::Skip) => Some(false),
        Ok(HeaderSendMode::Default) | Err(_) => None,
    };
    let body = |mode| match BodySendMode::try_from(mode) {
        // GRPC is NONE in Envoy 1.40.
        Ok(BodySendMode::None | BodySendMode::Grpc) | Err(_) => BodyMode::None,
        Ok(BodySendMode::Streamed) => BodyMode::Streamed,
        Ok(BodySendMode::Buffered) => BodyMode::Buffered,
        Ok(BodySendMode::BufferedPartial) => BodyMode::BufferedPartial,
        Ok(BodySendMode::FullDuplexStreamed) => BodyMode::FullDuplexStreamed,
    };
    ModeOverride {
        request_headers: sent(mode.request_header_mode),
        response_headers: sent(mode.response_header_mode),
        request_body: body(mode.request_body_mode),
        response_body: body(mode.response_body_mode),
        request_trailers: sent(mode.request_trailer_mode),
        response_trailers: sent(mode.response_trailer_mode),
    }
}

fn body_change(mutation: Option<BodyMutation>) -> BodyChange {
    match mutation.and_then(|mutation| mutation.mutation) {
        Some(WireBodyMutation::Body(body)) => BodyChange::Replace(body),
        Some(WireBodyMutation::ClearBody(true)) => BodyChange::Replace(Bytes::new()),
        Some(WireBodyMutation::StreamedResponse(piece)) => BodyChange::Streamed(piece.body, piece.end_of_stream),
        Some(WireBodyMutation::ClearBody(false)) | None => BodyChange::Keep,
    }
}

fn mutation(mutation: HeaderMutation) -> Mutation {
    let set = mutation.set_headers.into_iter().map(|HeaderValueOption { header, append, .. }| {
        let HeaderValue { key, raw_value, .. } = header?;
        // `append_action` and `value` are ignored, as by Envoy.
        Some(SetHeader { name: key, value: raw_value, append: append.unwrap_or(false) })
    });
    Mutation { remove: mutation.remove_headers, set: set.collect() }
}

fn immediate(reply: ImmediateResponse) -> Immediate {
    let status = reply.status.and_then(|status| u16::try_from(status.code).ok());
    Immediate {
        status: status.filter(|status| (200..=599).contains(status)).unwrap_or(200),
        mutation: reply.headers.map(mutation),
        body: reply.body,
        grpc_status: reply.grpc_status.map(|status| status.status),
        details: reply.details,
    }
}

/// A headers message.
pub(crate) fn headers_message(
    direction: Direction,
    headers: &Headers,
    end_of_stream: bool,
    forwarding: &Forwarding,
) -> Box<Message> {
    let headers =
        HttpHeaders { headers: Some(header_map(headers, forwarding)), end_of_stream, ..HttpHeaders::default() };
    message(match direction {
        Direction::Request => Request::RequestHeaders(headers),
        Direction::Response => Request::ResponseHeaders(headers),
    })
}

/// A body message.
pub(crate) fn body_message(direction: Direction, body: Bytes, end_of_stream: bool) -> Box<Message> {
    let body = HttpBody { body, end_of_stream, ..HttpBody::default() };
    message(match direction {
        Direction::Request => Request::RequestBody(body),
        Direction::Response => Request::ResponseBody(body),
    })
}

/// The length of the body in a body message.
pub(crate) fn body_len(message: &Message) -> Option<(Direction, usize)> {
    match message.request.as_ref()? {
        Request::RequestBody(body) => Some((Direction::Request, body.body.len())),
        Request::ResponseBody(body) => Some((Direction::Response, body.body.len())),
        Request::RequestHeaders(_)
        | Request::ResponseHeaders(_)
        | Request::RequestTrailers(_)
        | Request::ResponseTrailers(_) => None,
    }
}

/// A trailers message.
pub(crate) fn trailers_message(direction: Direction, trailers: &Headers, forwarding: &Forwarding) -> Box<Message> {
    let trailers = HttpTrailers { trailers: Some(header_map(trailers, forwarding)) };
    message(match direction {
        Direction::Request => Request::RequestTrailers(trailers),
        Direction::Response => Request::ResponseTrailers(trailers),
    })
}

/// Makes a message the first of its stream: it tells the modes.
pub(crate) fn set_protocol_config(message: &mut Message, options: &Options) {
    let mode = &options.processing_mode;
    message.protocol_config = Some(ProtocolConfiguration {
        request_body_mode: body_send_mode(mode.request_body),
        response_body_mode: body_send_mode(mode.response_body),
        send_body_without_waiting_for_header_response: options.send_body_without_waiting_for_header_response,
    });
}

fn message(request: Request) -> Box<Message> {
    Box::new(Message {
        request: Some(request),
        // Present even when empty, as in Envoy.
        metadata_context: Some(Metadata::default()),
        ..Message::default()
    })
}

/// What the processor gets to see, in the order of the map, pseudo headers first; values in `raw_value` only.
fn header_map(headers: &Headers, forwarding: &Forwarding) -> HeaderMap {
    let shown = headers.iter().filter(|(name, _)| forwarding.shows(name.as_str()));
    let wire = shown.map(|(name, value)| HeaderValue {
        key: name.clone().into_bytes(),
        raw_value: value.clone().into_bytes(),
        ..HeaderValue::default()
    });
    HeaderMap { headers: wire.collect() }
}

const fn body_send_mode(mode: BodyMode) -> i32 {
    (match mode {
        BodyMode::None => BodySendMode::None,
        BodyMode::Streamed => BodySendMode::Streamed,
        BodyMode::Buffered => BodySendMode::Buffered,
        BodyMode::BufferedPartial => BodySendMode::BufferedPartial,
        BodyMode::FullDuplexStreamed => BodySendMode::FullDuplexStreamed,
        BodyMode::Grpc => BodySendMode::Grpc,
    }) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::{Name, Value};

    #[test]
    fn pseudo_headers_go_first_and_values_in_raw_value() {
        let headers: Headers = [("x-a", "1"), (":path", "/"), ("x-b", "2"), (":method", "GET")]
            .into_iter()
            .map(|(n, v)| (Name::from_static(n), Value::from_static(v)))
            .collect();
        let wire = header_map(&headers, crate::Config::new(Options::default()).unwrap().forwarding()).headers;
        let names: Vec<_> = wire.iter().map(|header| std::str::from_utf8(&header.key).unwrap()).collect();
        assert_eq!(names, [":path", ":method", "x-a", "x-b"]);
        assert!(wire.iter().all(|header| header.value.is_empty() && !header.raw_value.is_empty()));
    }

    #[test]
    fn a_timeout_hides_everything_else_and_may_be_no_time_span() {
        let message = |seconds, nanos| ProcessingResponse {
            override_message_timeout: Some(prost_types::Duration { seconds, nanos }),
            response: Some(Response::RequestTrailers(extproc_proto::TrailersResponse::default())),
            ..ProcessingResponse::default()
        };
        assert_eq!(Reply::from(message(1, 5)), Reply::Timeout(Some(Duration::new(1, 5))));
        assert_eq!(Reply::from(message(-1, 0)), Reply::Timeout(None));
    }
}
