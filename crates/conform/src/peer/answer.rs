//! Scripted steps as messages of the protocol, and messages as records.

use bytes::Bytes;
use extproc_proto as pb;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use pb::common_response::ResponseStatus;
use pb::streamed_immediate_response::Response as Part;

use super::values::{struct_text, structure, typed, value_text};
use crate::scenario::{Fields, Immediate, Kind, Millis, Mutation, Payload, SetHeader, Step, StreamedPart};
use crate::transcript::{HeaderList, Message, text};

/// The length of a message on a gRPC stream, with its prefix.
#[must_use]
pub fn framed_len(message: &impl pb::prost::Message) -> usize {
    5 + message.encoded_len()
}

/// The message a step sends in answer to one of kind `to`.
///
/// # Errors
/// When `mode_override` is not a `ProcessingMode`.
pub fn build(to: Kind, step: &Step) -> anyhow::Result<pb::ProcessingResponse> {
    let kind = step.kind.unwrap_or(to);
    let response = match (&step.immediate, &step.streamed_immediate, kind) {
        (Some(reply), _, _) => Some(Response::ImmediateResponse(immediate(reply))),
        (None, Some(part), _) => Some(Response::StreamedImmediateResponse(streamed_part(part))),
        (None, None, Kind::RequestHeaders) => Some(Response::RequestHeaders(headers(step))),
        (None, None, Kind::ResponseHeaders) => Some(Response::ResponseHeaders(headers(step))),
        (None, None, Kind::RequestBody) => Some(Response::RequestBody(body(step))),
        (None, None, Kind::ResponseBody) => Some(Response::ResponseBody(body(step))),
        (None, None, Kind::RequestTrailers) => Some(Response::RequestTrailers(trailers(step))),
        (None, None, Kind::ResponseTrailers) => Some(Response::ResponseTrailers(trailers(step))),
        (None, None, Kind::Empty) => None,
    };
    Ok(pb::ProcessingResponse {
        response,
        mode_override: step.mode_override.as_ref().map(mode).transpose()?,
        override_message_timeout: step.override_message_timeout.map(duration),
        dynamic_metadata: (!step.dynamic_metadata.is_empty()).then(|| structure(&step.dynamic_metadata)),
        typed_dynamic_metadata: step
            .typed_dynamic_metadata
            .iter()
            .map(|(name, text)| (name.to_owned(), typed(text)))
            .collect(),
        request_drain: step.request_drain,
        request_drain_requests: step.request_drain_requests,
        server_window_update: step.server_window_update.map(|update| pb::processing_response::ServerWindowUpdate {
            window_increment_downstream_to_sidestream: update.window_increment_downstream_to_sidestream,
            window_increment_upstream_to_sidestream: update.window_increment_upstream_to_sidestream,
        }),
        ..pb::ProcessingResponse::default()
    })
}

/// What the transcript keeps of a message that the processor saw.
#[must_use]
pub fn record(message: &pb::ProcessingRequest) -> Message {
    let (kind, headers, body, end) = match &message.request {
        Some(Request::RequestHeaders(part)) => {
            (Kind::RequestHeaders, list(part.headers.as_ref()), None, part.end_of_stream)
        }
        Some(Request::ResponseHeaders(part)) => {
            (Kind::ResponseHeaders, list(part.headers.as_ref()), None, part.end_of_stream)
        }
        Some(Request::RequestBody(part)) => (Kind::RequestBody, Vec::new(), Some(&part.body), part.end_of_stream),
        Some(Request::ResponseBody(part)) => (Kind::ResponseBody, Vec::new(), Some(&part.body), part.end_of_stream),
        Some(Request::RequestTrailers(part)) => (Kind::RequestTrailers, list(part.trailers.as_ref()), None, false),
        Some(Request::ResponseTrailers(part)) => (Kind::ResponseTrailers, list(part.trailers.as_ref()), None, false),
        None => (Kind::Empty, Vec::new(), None, false),
    };
    let name = |mode: i32| pb::BodySendMode::try_from(mode).map_or("undefined", |mode| mode.as_str_name());
    let protocol_config = message.protocol_config.map(|config| {
        let early = if config.send_body_without_waiting_for_header_response { ", without waiting" } else { "" };
        format!("{}, {}{early}", name(config.request_body_mode), name(config.response_body_mode))
    });
    let remarks = [
        (message.metadata_context.is_none(), "no metadata_context"),
        (message.observability_mode, "observability_mode"),
    ];
    let remarks = remarks.into_iter().filter(|(holds, _)| *holds).map(|(_, remark)| remark).collect();
    let context = message.metadata_context.as_ref();
    let untyped = context.into_iter().flat_map(|it| &it.filter_metadata);
    let untyped = untyped.map(|(name, fields)| (format!("metadata.{name}"), struct_text(fields)));
    let typed = context.into_iter().flat_map(|it| &it.typed_filter_metadata);
    let typed = typed.map(|(name, any)| {
        (format!("typed_metadata.{name}"), format!("{} {}", any.type_url, any.value.escape_ascii()))
    });
    let attributes = message.attributes.iter().flat_map(|(key, fields)| {
        let name = move |name: &str| format!("attributes.{key}.{name}");
        fields.fields.iter().map(move |(field, value)| (name(field), value_text(value)))
    });
    let context = untyped.chain(typed).chain(attributes).collect();
    Message { kind, headers, body: body.cloned().unwrap_or_default(), end, protocol_config, context, remarks }
}

fn list(map: Option<&pb::HeaderMap>) -> HeaderList {
    let entries = map.into_iter().flat_map(|map| &map.headers);
    entries.map(|header| (text(&header.key), text(&header.raw_value))).collect()
}

fn common(step: &Step) -> Option<pb::CommonResponse> {
    if step.bare {
        return None;
    }
    let mutation = if let Some(body) = &step.body {
        Some(pb::body_mutation::Mutation::Body(bytes(body)))
    } else if step.clear_body {
        Some(pb::body_mutation::Mutation::ClearBody(true))
    } else {
        step.streamed.as_ref().map(|body| {
            pb::body_mutation::Mutation::StreamedResponse(pb::StreamedBodyResponse {
                body: bytes(body),
                end_of_stream: step.end_of_stream,
                ..pb::StreamedBodyResponse::default()
            })
        })
    };
    let status = if step.replace { ResponseStatus::ContinueAndReplace } else { ResponseStatus::Continue };
    Some(pb::CommonResponse {
        status: status.into(),
        header_mutation: mutate(&step.mutation),
        body_mutation: mutation.map(|mutation| pb::BodyMutation { mutation: Some(mutation) }),
        trailers: step.trailers.as_ref().map(header_map),
        clear_route_cache: step.clear_route_cache,
    })
}

fn headers(step: &Step) -> pb::HeadersResponse {
    pb::HeadersResponse { response: common(step) }
}

fn body(step: &Step) -> pb::BodyResponse {
    pb::BodyResponse { response: common(step) }
}

fn trailers(step: &Step) -> pb::TrailersResponse {
    pb::TrailersResponse { header_mutation: mutate(&step.mutation) }
}

fn immediate(reply: &Immediate) -> pb::ImmediateResponse {
    pb::ImmediateResponse {
        status: reply.status.map(|code| pb::HttpStatus { code }),
        headers: mutate(&reply.headers),
        body: reply.body.as_ref().map(bytes).unwrap_or_default(),
        grpc_status: reply.grpc_status.map(|status| pb::GrpcStatus { status }),
        details: reply.details.clone(),
    }
}

fn streamed_part(part: &StreamedPart) -> pb::StreamedImmediateResponse {
    let response = match part {
        StreamedPart::Headers(headers, end_of_stream) => Some(Part::HeadersResponse(pb::HttpHeaders {
            headers: Some(header_map(headers)),
            end_of_stream: *end_of_stream,
            ..pb::HttpHeaders::default()
        })),
        StreamedPart::Body(body, end_of_stream) => Some(Part::BodyResponse(pb::StreamedBodyResponse {
            body: bytes(body),
            end_of_stream: *end_of_stream,
            ..pb::StreamedBodyResponse::default()
        })),
        StreamedPart::Trailers(trailers) => Some(Part::TrailersResponse(header_map(trailers))),
        StreamedPart::Empty => None,
    };
    pb::StreamedImmediateResponse { response }
}

fn mutate(mutation: &Mutation) -> Option<pb::HeaderMutation> {
    if mutation.is_empty() {
        return None;
    }
    let short = |fields: &Fields, append: Option<bool>| {
        let options = fields.iter().map(|(name, value)| pb::HeaderValueOption {
            header: Some(raw(name, value.as_bytes())),
            append,
            ..pb::HeaderValueOption::default()
        });
        options.collect::<Vec<_>>()
    };
    let mut set_headers = short(&mutation.set, None);
    set_headers.extend(short(&mutation.append, Some(true)));
    set_headers.extend(mutation.set_headers.iter().map(option));
    Some(pb::HeaderMutation { set_headers, remove_headers: mutation.remove.clone() })
}

fn option(set: &SetHeader) -> pb::HeaderValueOption {
    let header = set.key.as_ref().map(|key| pb::HeaderValue {
        key: Bytes::from(key.clone()),
        value: set.value.as_ref().map(bytes).unwrap_or_default(),
        raw_value: set.raw_value.as_ref().map(bytes).unwrap_or_default(),
    });
    pb::HeaderValueOption { header, append: set.append, append_action: set.append_action, keep_empty_value: false }
}

fn header_map(fields: &Fields) -> pb::HeaderMap {
    pb::HeaderMap { headers: fields.iter().map(|(name, value)| raw(name, value.as_bytes())).collect() }
}

fn raw(name: &str, value: &[u8]) -> pb::HeaderValue {
    pb::HeaderValue {
        key: Bytes::copy_from_slice(name.as_bytes()),
        value: Bytes::new(),
        raw_value: Bytes::copy_from_slice(value),
    }
}

fn bytes(payload: &Payload) -> Bytes {
    payload.bytes().into()
}

fn duration(time: Millis) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(time.0 / 1000).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.0 % 1000 * 1_000_000).unwrap_or_default(),
    }
}

fn mode(value: &serde_json::Value) -> anyhow::Result<pb::ProcessingMode> {
    let mut mode = pb::ProcessingMode::default();
    let map = value.as_object().ok_or_else(|| anyhow::anyhow!("mode_override is not a map"))?;
    for (field, value) in map {
        let name = value.as_str().unwrap_or_default();
        let header = pb::HeaderSendMode::from_str_name(name).map(i32::from);
        let body = pb::BodySendMode::from_str_name(name).map(i32::from);
        let (place, value) = match field.as_str() {
            "request_header_mode" => (&mut mode.request_header_mode, header),
            "response_header_mode" => (&mut mode.response_header_mode, header),
            "request_body_mode" => (&mut mode.request_body_mode, body),
            "response_body_mode" => (&mut mode.response_body_mode, body),
            "request_trailer_mode" => (&mut mode.request_trailer_mode, header),
            "response_trailer_mode" => (&mut mode.response_trailer_mode, header),
            _ => anyhow::bail!("mode_override has no field {field}"),
        };
        *place = value.ok_or_else(|| anyhow::anyhow!("{field} cannot be {name:?}"))?;
    }
    Ok(mode)
}
