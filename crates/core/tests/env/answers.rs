//! What processors say in the tables.

use bytes::Bytes;
use extproc_core::filter::StreamEvent;
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_response::Response;
use extproc_proto::streamed_immediate_response::Response as Part;
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMap, HeaderMutation, HeaderValue, HeaderValueOption,
    HeadersResponse, HttpHeaders, HttpStatus, ImmediateResponse, ProcessingResponse, StreamedBodyResponse,
    StreamedImmediateResponse, TrailersResponse,
};

use crate::exchange::{Seen, reply};

/// The empty matching response to every message.
pub(crate) fn ack(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    vec![(0, answer(seen.kind, CommonResponse::default()))]
}

/// A processor with an answer to one kind of message; it acknowledges the others.
pub(crate) fn at(kind: &'static str, events: impl Fn(&Seen) -> Vec<(u64, StreamEvent)> + 'static) -> super::Processor {
    Box::new(move |seen| if seen.kind == kind { events(seen) } else { ack(seen) })
}

/// The same with one answer, at once.
pub(crate) fn says(kind: &'static str, event: StreamEvent) -> super::Processor {
    at(kind, move |_| vec![(0, event.clone())])
}

/// The response of a kind; trailers take only the header mutation.
pub(crate) fn answer(kind: &str, common: CommonResponse) -> StreamEvent {
    let headers = |common| HeadersResponse { response: Some(common) };
    let body = |common| BodyResponse { response: Some(common) };
    let trailers = |common: CommonResponse| TrailersResponse { header_mutation: common.header_mutation };
    response(match kind {
        "qh" => Response::RequestHeaders(headers(common)),
        "sh" => Response::ResponseHeaders(headers(common)),
        "qb" => Response::RequestBody(body(common)),
        "sb" => Response::ResponseBody(body(common)),
        "qt" => Response::RequestTrailers(trailers(common)),
        "st" => Response::ResponseTrailers(trailers(common)),
        other => panic!("no kind of message: {other}"),
    })
}

pub(crate) fn response(response: Response) -> StreamEvent {
    reply(ProcessingResponse { response: Some(response), ..ProcessingResponse::default() })
}

pub(crate) fn mutation(set: &[(&'static str, &'static str)], remove: &[&str]) -> HeaderMutation {
    HeaderMutation {
        set_headers: set.iter().map(|(name, value)| option(name, value, None)).collect(),
        remove_headers: remove.iter().map(|name| (*name).to_owned()).collect(),
    }
}

pub(crate) fn option(name: &'static str, value: &'static str, append: Option<bool>) -> HeaderValueOption {
    let raw_value = Bytes::from_static(value.as_bytes());
    let header = HeaderValue { key: Bytes::from_static(name.as_bytes()), raw_value, ..HeaderValue::default() };
    HeaderValueOption { header: Some(header), append, ..HeaderValueOption::default() }
}

/// A header mutation.
pub(crate) fn sets(set: &[(&'static str, &'static str)]) -> CommonResponse {
    CommonResponse { header_mutation: Some(mutation(set, &[])), ..CommonResponse::default() }
}

pub(crate) fn removes(names: &[&str]) -> CommonResponse {
    CommonResponse { header_mutation: Some(mutation(&[], names)), ..CommonResponse::default() }
}

/// A new body.
pub(crate) fn body(text: &'static str) -> CommonResponse {
    new_body(Bytes::from_static(text.as_bytes()))
}

pub(crate) fn new_body(body: Bytes) -> CommonResponse {
    let body_mutation = Some(BodyMutation { mutation: Some(Mutation::Body(body)) });
    CommonResponse { body_mutation, ..CommonResponse::default() }
}

pub(crate) fn clear_body() -> CommonResponse {
    let body_mutation = Some(BodyMutation { mutation: Some(Mutation::ClearBody(true)) });
    CommonResponse { body_mutation, ..CommonResponse::default() }
}

/// A piece of a full duplex body.
pub(crate) fn streamed(body: &'static str, end: bool) -> CommonResponse {
    piece(Bytes::from_static(body.as_bytes()), end)
}

pub(crate) fn piece(body: Bytes, end_of_stream: bool) -> CommonResponse {
    let piece = StreamedBodyResponse { body, end_of_stream, ..Default::default() };
    CommonResponse {
        body_mutation: Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(piece)) }),
        ..CommonResponse::default()
    }
}

/// CONTINUE_AND_REPLACE.
pub(crate) fn replacing(common: CommonResponse) -> CommonResponse {
    CommonResponse { status: 1, ..common }
}

/// An immediate response.
pub(crate) fn immediate(status: i32, body: &'static str, headers: Option<HeaderMutation>) -> StreamEvent {
    response(Response::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: status }),
        headers,
        body: Bytes::from_static(body.as_bytes()),
        ..ImmediateResponse::default()
    }))
}

/// Headers of a streamed reply.
pub(crate) fn reply_headers(headers: &[(&'static str, &'static str)], end_of_stream: bool) -> StreamEvent {
    let headers = Some(header_map(headers));
    reply_part(Part::HeadersResponse(HttpHeaders { headers, end_of_stream, ..HttpHeaders::default() }))
}

/// A piece of a streamed reply.
pub(crate) fn reply_body(body: impl Into<Bytes>, end_of_stream: bool) -> StreamEvent {
    let body = body.into();
    reply_part(Part::BodyResponse(StreamedBodyResponse { body, end_of_stream, ..StreamedBodyResponse::default() }))
}

/// Trailers of a streamed reply.
pub(crate) fn reply_trailers(trailers: &[(&'static str, &'static str)]) -> StreamEvent {
    reply_part(Part::TrailersResponse(header_map(trailers)))
}

fn reply_part(part: Part) -> StreamEvent {
    response(Response::StreamedImmediateResponse(StreamedImmediateResponse { response: Some(part) }))
}

fn header_map(headers: &[(&'static str, &'static str)]) -> HeaderMap {
    HeaderMap { headers: headers.iter().filter_map(|(name, value)| option(name, value, None).header).collect() }
}

/// `override_message_timeout`, with an acknowledgement that must be ignored.
pub(crate) fn more_time(ms: i32) -> StreamEvent {
    let nanos = (ms % 1000) * 1_000_000;
    reply(ProcessingResponse {
        override_message_timeout: Some(prost_types::Duration { seconds: i64::from(ms / 1000), nanos }),
        response: Some(Response::RequestHeaders(HeadersResponse::default())),
        ..ProcessingResponse::default()
    })
}
