//! Between the wire types and the core's own: the only file of the filter that names generated types.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use extproc_proto::body_mutation::Mutation as WireBodyMutation;
use extproc_proto::common_response::ResponseStatus;
use extproc_proto::processing_request::{ClientWindowUpdate, FlowControlInit, Request};
use extproc_proto::processing_response::Response;
use extproc_proto::streamed_immediate_response::Response as StreamedPart;
use extproc_proto::{
    BodyMutation, BodyResponse, BodySendMode, CommonResponse, HeaderMap, HeaderMutation, HeaderSendMode, HeaderValue,
    HeaderValueOption, HeadersResponse, HttpBody, HttpHeaders, HttpTrailers, ImmediateResponse, ProcessingResponse,
    ProtocolConfiguration, StreamedImmediateResponse,
};
pub(crate) use extproc_proto::{Metadata, ProcessingRequest as Message, ProcessingResponse as ReplyMessage};

use prost_types::value::Kind;
use prost_types::{Struct, Value};

use crate::Attribute;
use crate::filter::CallKind;
use crate::mode::ModeOverride;
use crate::mutation::{Mutation, SetHeader};
use crate::profile::{How, Misplaced};
use crate::violation::Violation;
use crate::{BodyMode, Config, Direction, Headers, Options, ProcessingMode, Profile};

/// What a processor said, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `override_message_timeout`: everything else in the message is ignored. `None`: not a time span.
    Timeout(Option<Duration>),
    Headers(Direction, Common),
    Body(Direction, Common),
    Trailers(Direction, Option<Mutation>),
    Immediate(Box<Immediate>),
    StreamedImmediate(ReplyPart),
    /// Only `mode_override`.
    Mode(ModeOverride),
    /// No member of the oneof.
    Unknown,
    /// What the profile does not let any message say.
    Refused(Violation),
}

/// `StreamedImmediateResponse`. Headers are set as by a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplyPart {
    Headers(Mutation, bool),
    Body(Bytes, bool),
    Trailers(Mutation),
    /// No member of the oneof.
    Empty,
}

/// `CommonResponse`, the content of headers and body responses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Common {
    /// CONTINUE_AND_REPLACE.
    pub(crate) replace: bool,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) body: BodyChange,
    pub(crate) clear_route_cache: bool,
    /// What GRPC bodies say besides.
    pub(crate) marks: Marks,
    /// Of headers responses only.
    pub(crate) mode: Option<ModeOverride>,
}

/// The flags of a `streamed_response` that only GRPC bodies have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// `end_of_stream_without_message`
    pub(crate) without_message: bool,
    /// `grpc_message_compressed`
    pub(crate) compressed: bool,
    pub(crate) drain_complete: bool,
}

/// What any message of a processor may say about GRPC bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Controls {
    /// `server_window_update`, by direction.
    pub(crate) window: Option<[i64; 2]>,
    /// `request_drain`
    pub(crate) drain: bool,
    /// `request_drain_requests` and `request_drain_responses`
    pub(crate) drains: [bool; 2],
    /// The message says nothing else.
    pub(crate) alone: bool,
}

impl Controls {
    pub(crate) fn read(message: &ProcessingResponse) -> Self {
        let window = message.server_window_update.as_ref().map(|update| {
            [update.window_increment_downstream_to_sidestream, update.window_increment_upstream_to_sidestream]
        });
        let (drain, drains) =
            (message.request_drain, [message.request_drain_requests, message.request_drain_responses]);
        let any = window.is_some() || drain || drains != [false; 2];
        Self { window, drain, drains, alone: any && message.response.is_none() }
    }
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

impl Reply {
    /// Reads a message as the profile does.
    pub(crate) fn read(message: ProcessingResponse, profile: Profile) -> Self {
        let common = |it| common(it, profile);
        let mutation = |it| mutation(it, profile);
        if let Some(span) = message.override_message_timeout.filter(|_| profile.reads_controls()) {
            return Self::Timeout(span.try_into().ok());
        }
        let mode = message.mode_override.as_ref().filter(|_| profile.reads_mode_override()).map(mode_override);
        if let Some(violation) = message.response.as_ref().and_then(|response| misplaced(response, profile)) {
            return Self::Refused(violation);
        }
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
            Some(Response::ImmediateResponse(reply)) => Self::Immediate(Box::new(immediate(reply, profile))),
            Some(Response::StreamedImmediateResponse(reply)) => match profile.streamed_reply() {
                Misplaced::Honoured => Self::StreamedImmediate(reply_part(reply, profile)),
                // As a message that says nothing.
                Misplaced::Ignored => Self::Unknown,
                Misplaced::Refused => Self::Refused(Violation::StreamedReplyUnsupported),
            },
            None => mode.filter(|_| profile.reads_controls()).map_or(Self::Unknown, Self::Mode),
        }
    }
}

/// What a headers or body response says although the profile has no such thing.
fn misplaced(response: &Response, profile: Profile) -> Option<Violation> {
    let replaces = |common: &CommonResponse| common.status == ResponseStatus::ContinueAndReplace as i32;
    match response {
        Response::RequestHeaders(HeadersResponse { response: Some(common) })
        | Response::ResponseHeaders(HeadersResponse { response: Some(common) }) => {
            let changes_body = || body_change(common.body_mutation.clone()) != BodyChange::Keep;
            if replaces(common) {
                (profile.replacing() == Misplaced::Refused).then_some(Violation::UnexpectedReplace)
            } else {
                let refused = profile.body_in_headers_response() == Misplaced::Refused;
                (refused && changes_body()).then_some(Violation::BodyInHeadersResponse)
            }
        }
        Response::RequestBody(BodyResponse { response: Some(common) })
        | Response::ResponseBody(BodyResponse { response: Some(common) }) => {
            let refused = profile.replacing_in_body() == Misplaced::Refused;
            (refused && replaces(common)).then_some(Violation::UnexpectedReplace)
        }
        Response::RequestHeaders(_)
        | Response::ResponseHeaders(_)
        | Response::RequestBody(_)
        | Response::ResponseBody(_)
        | Response::RequestTrailers(_)
        | Response::ResponseTrailers(_)
        | Response::ImmediateResponse(_)
        | Response::StreamedImmediateResponse(_) => None,
    }
}

fn common(common: Option<CommonResponse>, profile: Profile) -> Common {
    let Some(common) = common else {
        return Common::default();
    };
    let streamed = common.body_mutation.as_ref().and_then(|mutation| mutation.mutation.as_ref());
    let marks = match streamed {
        Some(WireBodyMutation::StreamedResponse(piece)) => Marks {
            without_message: piece.end_of_stream_without_message,
            compressed: piece.grpc_message_compressed,
            drain_complete: piece.drain_complete,
        },
        Some(WireBodyMutation::Body(_) | WireBodyMutation::ClearBody(_)) | None => Marks::default(),
    };
    Common {
        marks,
        replace: common.status == ResponseStatus::ContinueAndReplace as i32
            && profile.replacing() == Misplaced::Honoured,
        mutation: common.header_mutation.map(|it| mutation(it, profile)),
        body: body_change(common.body_mutation),
        clear_route_cache: common.clear_route_cache && profile.reads_controls(),
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
        Ok(BodySendMode::None) | Err(_) => BodyMode::None,
        Ok(BodySendMode::Grpc) => BodyMode::Grpc,
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

pub(crate) fn mutation(mutation: HeaderMutation, profile: Profile) -> Mutation {
    let set = mutation.set_headers.into_iter().map(|HeaderValueOption { header, append, append_action, .. }| {
        let HeaderValue { key, value, raw_value } = header?;
        let how = profile.how(append, append_action);
        match profile.value(value, raw_value) {
            Ok(value) => value.map(|value| SetHeader { name: key, value, how }),
            Err(violation) => Some(SetHeader { name: key, value: Bytes::new(), how: Err(violation) }),
        }
    });
    Mutation { remove: mutation.remove_headers, set: set.collect() }
}

fn immediate(reply: ImmediateResponse, profile: Profile) -> Immediate {
    let status = reply.status.and_then(|status| u16::try_from(status.code).ok());
    Immediate {
        status: status.filter(|status| (200..=599).contains(status)).unwrap_or(200),
        mutation: reply.headers.map(|it| mutation(it, profile)),
        body: reply.body,
        grpc_status: reply.grpc_status.map(|status| status.status),
        details: reply.details,
    }
}

fn reply_part(reply: StreamedImmediateResponse, profile: Profile) -> ReplyPart {
    let mutation = |headers: HeaderMap| {
        let set = headers.headers.into_iter().map(|HeaderValue { key, value, raw_value }| {
            let (value, how) = match profile.value(value, raw_value) {
                Ok(value) => (value.unwrap_or_default(), Ok(How::Overwrite)),
                Err(violation) => (Bytes::new(), Err(violation)),
            };
            Some(SetHeader { name: key, value, how })
        });
        Mutation { remove: Vec::new(), set: set.collect() }
    };
    match reply.response {
        Some(StreamedPart::HeadersResponse(part)) => {
            ReplyPart::Headers(mutation(part.headers.unwrap_or_default()), part.end_of_stream)
        }
        Some(StreamedPart::BodyResponse(part)) => ReplyPart::Body(part.body, part.end_of_stream),
        Some(StreamedPart::TrailersResponse(trailers)) => ReplyPart::Trailers(mutation(trailers)),
        None => ReplyPart::Empty,
    }
}

/// A headers message.
pub(crate) fn headers_message(
    direction: Direction,
    headers: &Headers,
    end_of_stream: bool,
    config: &Config,
) -> Box<Message> {
    let headers = HttpHeaders { headers: Some(header_map(headers, config)), end_of_stream, ..HttpHeaders::default() };
    message(match direction {
        Direction::Request => Request::RequestHeaders(headers),
        Direction::Response => Request::ResponseHeaders(headers),
    })
}

/// A body message.
pub(crate) fn body_message(direction: Direction, body: Bytes, end_of_stream: bool) -> Box<Message> {
    http_body(direction, HttpBody { body, end_of_stream, ..HttpBody::default() })
}

/// A gRPC message of a GRPC body.
pub(crate) fn grpc_message(direction: Direction, body: Bytes, compressed: bool, end_of_stream: bool) -> Box<Message> {
    let body = HttpBody { body, end_of_stream, grpc_message_compressed: compressed, ..HttpBody::default() };
    http_body(direction, body)
}

/// No more messages follow, and this is none.
pub(crate) fn half_close_message(direction: Direction) -> Box<Message> {
    http_body(direction, HttpBody { end_of_stream: true, end_of_stream_without_message: true, ..HttpBody::default() })
}

/// What the processor has by now is all that it gets.
pub(crate) fn drain_complete_message(direction: Direction) -> Box<Message> {
    http_body(direction, HttpBody { drain_complete: true, ..HttpBody::default() })
}

fn http_body(direction: Direction, body: HttpBody) -> Box<Message> {
    message(match direction {
        Direction::Request => Request::RequestBody(body),
        Direction::Response => Request::ResponseBody(body),
    })
}

/// The direction that a message is about.
pub(crate) fn direction(message: &Message) -> Option<Direction> {
    Some(match message.request.as_ref()? {
        Request::RequestHeaders(_) | Request::RequestBody(_) | Request::RequestTrailers(_) => Direction::Request,
        Request::ResponseHeaders(_) | Request::ResponseBody(_) | Request::ResponseTrailers(_) => Direction::Response,
    })
}

/// The call that a message is. A body message without body is owed none.
pub(crate) fn call_kind(message: &Message) -> Option<(Direction, CallKind)> {
    let kind = match message.request.as_ref()? {
        Request::RequestHeaders(_) | Request::ResponseHeaders(_) => CallKind::Headers,
        Request::RequestBody(_) | Request::ResponseBody(_) if has_body(message) => CallKind::Body,
        Request::RequestBody(_) | Request::ResponseBody(_) => return None,
        Request::RequestTrailers(_) | Request::ResponseTrailers(_) => CallKind::Trailers,
    };
    Some((direction(message)?, kind))
}

/// Tells attributes with a message, under Envoy's key.
pub(crate) fn set_attributes(message: &mut Message, attributes: BTreeMap<String, Attribute>) {
    if attributes.is_empty() {
        return;
    }
    let value = |attribute| match attribute {
        Attribute::Text(text) => Kind::StringValue(text),
        Attribute::Number(number) => Kind::NumberValue(number),
        Attribute::Bool(bool) => Kind::BoolValue(bool),
    };
    let fields = attributes.into_iter().map(|(name, attribute)| (name, Value { kind: Some(value(attribute)) }));
    set_attribute_struct(message, Struct { fields: fields.collect() });
}

/// The same of what is a struct already.
pub(crate) fn set_attribute_struct(message: &mut Message, attributes: Struct) {
    message.attributes.insert(FILTER_KEY.to_owned(), attributes);
}

/// The key of attributes in a message.
const FILTER_KEY: &str = "envoy.filters.http.ext_proc";

/// Room for the processor, by direction, and nothing else.
pub(crate) fn window_message(increments: [i64; 2]) -> Box<Message> {
    let mut message = Box::new(Message { metadata_context: Some(Metadata::default()), ..Message::default() });
    grant(&mut message, increments);
    message
}

/// Gives the processor room with a message.
pub(crate) fn grant(message: &mut Message, [request, response]: [i64; 2]) {
    message.client_window_update = Some(ClientWindowUpdate {
        window_increment_sidestream_to_upstream: request,
        window_increment_sidestream_to_downstream: response,
    });
}

/// Tells the processor that the stream has windows.
pub(crate) fn set_windows(message: &mut Message, initial: i64) {
    message.flow_control_init = Some(FlowControlInit {
        initial_window_downstream_to_sidestream: initial,
        initial_window_sidestream_to_upstream: initial,
        initial_window_upstream_to_sidestream: initial,
        initial_window_sidestream_to_downstream: initial,
    });
}

/// Whether a message has body that only the processor has from then on, or an empty piece of one.
pub(crate) fn has_body(message: &Message) -> bool {
    match &message.request {
        Some(Request::RequestBody(body) | Request::ResponseBody(body)) => {
            !body.end_of_stream_without_message && !body.drain_complete
        }
        Some(
            Request::RequestHeaders(_)
            | Request::ResponseHeaders(_)
            | Request::RequestTrailers(_)
            | Request::ResponseTrailers(_),
        )
        | None => false,
    }
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
pub(crate) fn trailers_message(direction: Direction, trailers: &Headers, config: &Config) -> Box<Message> {
    let trailers = HttpTrailers { trailers: Some(header_map(trailers, config)) };
    message(match direction {
        Direction::Request => Request::RequestTrailers(trailers),
        Direction::Response => Request::ResponseTrailers(trailers),
    })
}

/// How many bytes a value takes.
pub(crate) fn value_len(value: &Value) -> usize {
    extproc_proto::prost::Message::encoded_len(value)
}

/// Makes a message the first of its stream: it tells the modes.
pub(crate) fn set_protocol_config(message: &mut Message, options: &Options) {
    let early = options.send_body_without_waiting_for_header_response;
    set_protocol_modes(message, &options.processing_mode, early);
}

/// The same of modes alone.
pub(crate) fn set_protocol_modes(message: &mut Message, mode: &ProcessingMode, early: bool) {
    message.protocol_config = Some(ProtocolConfiguration {
        request_body_mode: body_send_mode(mode.request_body),
        response_body_mode: body_send_mode(mode.response_body),
        send_body_without_waiting_for_header_response: early,
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
/// [`Profile::Agentgateway`] has the pseudo headers last and their values in `value`.
fn header_map(headers: &Headers, config: &Config) -> HeaderMap {
    let shown = headers.iter().filter(|(name, _)| config.forwarding().shows(name.as_str()));
    let pseudo_last = config.options().profile.sends_pseudo_headers_last();
    let wire = shown.map(|(name, value)| {
        let (key, bytes) = (name.clone().into_bytes(), value.clone().into_bytes());
        if pseudo_last && name.is_pseudo() {
            HeaderValue { key, value: bytes, ..HeaderValue::default() }
        } else {
            HeaderValue { key, raw_value: bytes, ..HeaderValue::default() }
        }
    });
    let mut headers: Vec<_> = wire.collect();
    if pseudo_last {
        let pseudo = headers.iter().take_while(|header| header.key.starts_with(b":")).count();
        headers.rotate_left(pseudo);
    }
    HeaderMap { headers }
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
        let wire = header_map(&headers, &Config::new(Options::default()).unwrap()).headers;
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
        let read = |message| Reply::read(message, Profile::Envoy);
        assert_eq!(read(message(1, 5)), Reply::Timeout(Some(Duration::new(1, 5))));
        assert_eq!(read(message(-1, 0)), Reply::Timeout(None));
    }
}
