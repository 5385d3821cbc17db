//! Messages as text.

use std::fmt::Write;

use extproc_core::chain::Effect;
use extproc_core::filter::{Forward, HttpEvent, Timer};
use extproc_core::{Direction, Headers};

use extproc_proto::body_mutation::Mutation;
use extproc_proto::common_response::ResponseStatus;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::streamed_immediate_response::Response as Part;
use extproc_proto::{
    BodySendMode, CommonResponse, HeaderAppendAction, HeaderMap, HeaderMutation, HttpBody, HttpHeaders,
    ImmediateResponse, ProcessingMode, ProcessingRequest, ProcessingResponse, StreamedImmediateResponse,
};
use prost_types::value::Kind;
use tonic::Code;

use super::entry::Event;

/// What happened, as a line of a transcript; `None` for what is not part of one.
pub(super) fn event(event: &Event, numbered: bool) -> Option<String> {
    let (filter, text) = match event {
        Event::Sent(filter, message) => (*filter, format!("-> {}", request(message))),
        Event::HalfClosed(filter) => (*filter, "-> (half-close)".to_owned()),
        Event::Reply(filter, message) => (*filter, format!("<- {}", reply(message, SHOWN))),
        Event::Closed(filter, Ok(())) => (*filter, "<- (closed OK)".to_owned()),
        Event::Closed(filter, Err(status)) => {
            let code = Code::from(i32::from(status.code));
            (*filter, format!("<- (closed {code:?}: {})", status.message))
        }
        Event::Timeout(filter, Timer::Message(direction)) => {
            (*filter, format!("-- timeout: no answer for the {}", side(*direction)))
        }
        Event::Timeout(filter, Timer::StreamedReply) => {
            (*filter, "-- timeout: the streamed reply does not go on".to_owned())
        }
        Event::Timeout(filter, Timer::Stalled) => (*filter, "-- timeout: copies are not taken".to_owned()),
        Event::Timeout(filter, Timer::DeferredClose) => (*filter, "-- timeout: deferred close".to_owned()),
        Event::Timeout(filter, Timer::RemoteClose) => {
            (*filter, "-- timeout: the stream was not ended after the half-close".to_owned())
        }
        Event::Effect(Effect::ResetStream(filter)) => (*filter, "-- stream reset".to_owned()),
        Event::Effect(Effect::OpenStream(_)) | Event::Came(..) | Event::Went(..) => return None,
        Event::Effect(Effect::RecomputeRoute) => return Some("-- route cleared".to_owned()),
        Event::Effect(Effect::CancelUpstream) => return Some("-- upstream cancelled".to_owned()),
        Event::Effect(Effect::ResetDownstream) => return Some("-- response cut".to_owned()),
        Event::GaveUp(peer) => return Some(format!("-- {peer:?} gave up").to_lowercase()),
        Event::Respond(reply) => return Some(format!("-- the data plane answers: {}", reply.details)),
        Event::Misuse(misuse) => return Some(format!("-- misuse: {misuse}")),
    };
    Some(if numbered { format!("{filter}{text}") } else { text })
}

/// A part on its way, for transcripts with all details.
pub(super) fn part(event: &Event) -> Option<String> {
    let head = |headers: &Headers| -> String {
        headers.iter().map(|(name, value)| format!(" {name}={}", value.as_bytes().escape_ascii())).collect()
    };
    let end = |end: bool| if end { " end" } else { "" };
    let (from, text) = match event {
        Event::Came(direction, part) => (
            if *direction == Direction::Request { "client sends" } else { "upstream sends" },
            match part {
                HttpEvent::Headers(headers, last) => format!("headers{}{}", head(headers), end(*last)),
                HttpEvent::Data(data, last) => format!("data {}{}", quoted(data), end(*last)),
                HttpEvent::Trailers(trailers) => format!("trailers{}", head(trailers)),
            },
        ),
        Event::Went(direction, part) => (
            if *direction == Direction::Request { "upstream gets" } else { "client gets" },
            match part {
                Forward::Headers(headers, last) => format!("headers{}{}", head(headers), end(*last)),
                Forward::Data(data, last) => format!("data {}{}", quoted(data), end(*last)),
                Forward::Trailers(trailers) => format!("trailers{}", head(trailers)),
            },
        ),
        _ => return None,
    };
    Some(format!("   {from} {text}"))
}

const fn side(direction: Direction) -> &'static str {
    match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    }
}

/// A message to a processor.
pub(super) fn request(message: &ProcessingRequest) -> String {
    let mut line = String::new();
    match &message.request {
        None => line.push_str("empty"),
        Some(Request::RequestHeaders(part)) => head(&mut line, "request_headers", part),
        Some(Request::ResponseHeaders(part)) => head(&mut line, "response_headers", part),
        Some(Request::RequestBody(part)) => body(&mut line, "request_body", part),
        Some(Request::ResponseBody(part)) => body(&mut line, "response_body", part),
        Some(Request::RequestTrailers(part)) => {
            line.push_str("request_trailers");
            fields(&mut line, part.trailers.as_ref());
        }
        Some(Request::ResponseTrailers(part)) => {
            line.push_str("response_trailers");
            fields(&mut line, part.trailers.as_ref());
        }
    }
    line
}

fn head(line: &mut String, kind: &str, part: &HttpHeaders) {
    line.push_str(kind);
    fields(line, part.headers.as_ref());
    if part.end_of_stream {
        line.push_str(" end");
    }
}

fn body(line: &mut String, kind: &str, part: &HttpBody) {
    put(line, format_args!("{kind} {}", quoted(&part.body)));
    if part.end_of_stream {
        line.push_str(" end");
    }
}

fn fields(line: &mut String, map: Option<&HeaderMap>) {
    for header in map.into_iter().flat_map(|map| &map.headers) {
        let value = if header.raw_value.is_empty() { &header.value } else { &header.raw_value };
        put(line, format_args!(" {}={}", header.key.escape_ascii(), value.escape_ascii()));
    }
}

/// Bytes in quotes; of many, the beginning and the number.
pub(super) fn quoted(bytes: &[u8]) -> String {
    quoted_up_to(bytes, SHOWN)
}

/// As much of a body as a transcript shows.
const SHOWN: usize = 256;

fn quoted_up_to(bytes: &[u8], shown: usize) -> String {
    match bytes.split_at_checked(shown) {
        Some((beginning, rest)) if !rest.is_empty() => {
            format!("\"{}...\" ({} bytes)", beginning.escape_ascii(), bytes.len())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// A message of a processor, with all of its bodies.
pub(super) fn line(message: &ProcessingResponse) -> String {
    reply(message, usize::MAX)
}

fn reply(message: &ProcessingResponse, shown: usize) -> String {
    let mut line = String::new();
    match &message.response {
        None => match &message.override_message_timeout {
            Some(span) => put(&mut line, format_args!("timeout {span}")),
            None => line.push_str("empty"),
        },
        Some(Response::RequestHeaders(r)) => common(&mut line, "request_headers", r.response.as_ref(), shown),
        Some(Response::ResponseHeaders(r)) => common(&mut line, "response_headers", r.response.as_ref(), shown),
        Some(Response::RequestBody(r)) => common(&mut line, "request_body", r.response.as_ref(), shown),
        Some(Response::ResponseBody(r)) => common(&mut line, "response_body", r.response.as_ref(), shown),
        Some(Response::RequestTrailers(r)) => {
            line.push_str("request_trailers");
            headers(&mut line, r.header_mutation.as_ref());
        }
        Some(Response::ResponseTrailers(r)) => {
            line.push_str("response_trailers");
            headers(&mut line, r.header_mutation.as_ref());
        }
        Some(Response::ImmediateResponse(r)) => immediate(&mut line, r, shown),
        Some(Response::StreamedImmediateResponse(r)) => streamed(&mut line, r, shown),
    }
    for (namespace, value) in message.dynamic_metadata.iter().flat_map(|metadata| &metadata.fields) {
        let Some(Kind::StructValue(values)) = &value.kind else { continue };
        for (key, value) in &values.fields {
            put(&mut line, format_args!(" {namespace}.{key}:{}", plain(value)));
        }
    }
    if let Some(modes) = &message.mode_override {
        ask(&mut line, modes);
    }
    line
}

fn plain(value: &prost_types::Value) -> String {
    match &value.kind {
        Some(Kind::StringValue(text)) => format!("{text:?}"),
        Some(Kind::NumberValue(number)) => number.to_string(),
        Some(Kind::BoolValue(truth)) => truth.to_string(),
        Some(Kind::NullValue(_)) | None => "null".to_owned(),
        Some(Kind::ListValue(_)) => "[...]".to_owned(),
        Some(Kind::StructValue(_)) => "{...}".to_owned(),
    }
}

fn common(line: &mut String, kind: &str, response: Option<&CommonResponse>, shown: usize) {
    line.push_str(kind);
    let Some(response) = response else { return };
    if response.status() == ResponseStatus::ContinueAndReplace {
        line.push_str(" replace");
    }
    headers(line, response.header_mutation.as_ref());
    match response.body_mutation.as_ref().and_then(|m| m.mutation.as_ref()) {
        None => {}
        Some(Mutation::Body(body)) => put(line, format_args!(" body={}", quoted_up_to(body, shown))),
        Some(Mutation::ClearBody(_)) => line.push_str(" clear"),
        Some(Mutation::StreamedResponse(chunk)) => {
            put(line, format_args!(" chunk={}", quoted_up_to(&chunk.body, shown)));
            if chunk.end_of_stream {
                line.push_str(" end");
            }
        }
    }
    if response.clear_route_cache {
        line.push_str(" route");
    }
}

fn headers(line: &mut String, mutation: Option<&HeaderMutation>) {
    let Some(mutation) = mutation else { return };
    for option in &mutation.set_headers {
        let sign = match option.append_action() {
            HeaderAppendAction::AppendIfExistsOrAdd => "+=",
            HeaderAppendAction::AddIfAbsent => "?=",
            HeaderAppendAction::OverwriteIfExistsOrAdd => "=",
            HeaderAppendAction::OverwriteIfExists => "!=",
        };
        let header = option.header.clone().unwrap_or_default();
        put(line, format_args!(" {}{sign}{}", header.key.escape_ascii(), header.raw_value.escape_ascii()));
        if !header.value.is_empty() {
            put(line, format_args!("(value={})", header.value.escape_ascii()));
        }
    }
    for name in &mutation.remove_headers {
        put(line, format_args!(" -{name}"));
    }
}

fn immediate(line: &mut String, reply: &ImmediateResponse, shown: usize) {
    put(line, format_args!("immediate {}", reply.status.map_or(0, |s| s.code)));
    headers(line, reply.headers.as_ref());
    if !reply.body.is_empty() {
        put(line, format_args!(" body={}", quoted_up_to(&reply.body, shown)));
    }
    if let Some(grpc) = reply.grpc_status {
        put(line, format_args!(" grpc={}", grpc.status));
    }
    if !reply.details.is_empty() {
        put(line, format_args!(" details={}", reply.details));
    }
}

fn streamed(line: &mut String, reply: &StreamedImmediateResponse, shown: usize) {
    match &reply.response {
        None => line.push_str("reply empty"),
        Some(Part::HeadersResponse(part)) => head(line, "reply", part),
        Some(Part::BodyResponse(part)) => {
            put(line, format_args!("reply {}", quoted_up_to(&part.body, shown)));
            line.push_str(if part.end_of_stream { " end" } else { "" });
        }
        Some(Part::TrailersResponse(trailers)) => {
            line.push_str("reply trailers");
            fields(line, Some(trailers));
        }
    }
}

fn ask(line: &mut String, modes: &ProcessingMode) {
    let name = |number| BodySendMode::try_from(number).map_or("?", |mode| mode.as_str_name());
    put(line, format_args!(" ask({},{})", name(modes.request_body_mode), name(modes.response_body_mode)));
}

/// Writing to a string cannot fail.
fn put(line: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = line.write_fmt(arguments);
}
