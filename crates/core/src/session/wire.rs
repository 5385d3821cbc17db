//! Between the generated types and the session's words.

use extproc_proto::{
    BodySendMode, GrpcStatus, HeaderMap, HeaderSendMode, HttpStatus, ImmediateResponse, ProtocolConfiguration,
};

use super::{BodyModes, HeaderEdits, ImmediateReply, Protocol, Violation};
use crate::headers::{Name, Value};
use crate::{BodyMode, Headers};

/// Reads `raw_value`, or `value` where the peer fills that one.
pub(super) fn headers(map: Option<HeaderMap>) -> Result<Headers, Violation> {
    let map = map.unwrap_or_default();
    let mut headers = Headers::with_capacity(map.headers.len());
    for header in map.headers {
        let value = if header.raw_value.is_empty() { header.value } else { header.raw_value };
        headers.append(Name::parse(header.key)?, Value::parse(value)?);
    }
    Ok(headers)
}

/// Whether a value stands in `value`.
pub(super) fn has_plain_values(map: Option<&HeaderMap>) -> bool {
    map.is_some_and(|map| map.headers.iter().any(|header| !header.value.is_empty()))
}

pub(super) fn protocol(config: ProtocolConfiguration) -> Result<Protocol, Violation> {
    Ok(Protocol {
        bodies: BodyModes {
            request: body_mode(config.request_body_mode)?,
            response: body_mode(config.response_body_mode)?,
        },
        eager_body: config.send_body_without_waiting_for_header_response,
    })
}

fn body_mode(number: i32) -> Result<BodyMode, Violation> {
    Ok(match BodySendMode::try_from(number).map_err(|_| Violation::UnknownMode(number))? {
        BodySendMode::None => BodyMode::None,
        BodySendMode::Streamed => BodyMode::Streamed,
        BodySendMode::Buffered => BodyMode::Buffered,
        BodySendMode::BufferedPartial => BodyMode::BufferedPartial,
        BodySendMode::FullDuplexStreamed => BodyMode::FullDuplexStreamed,
        BodySendMode::Grpc => BodyMode::Grpc,
    })
}

/// Header and trailer modes stay as configured (DEFAULT), but that FULL_DUPLEX_STREAMED needs trailers.
pub(super) fn mode_override(bodies: BodyModes) -> extproc_proto::ProcessingMode {
    let trailers = |mode| {
        if mode == BodyMode::FullDuplexStreamed { HeaderSendMode::Send } else { HeaderSendMode::Default }
    };
    extproc_proto::ProcessingMode {
        request_body_mode: send_mode(bodies.request).into(),
        response_body_mode: send_mode(bodies.response).into(),
        request_trailer_mode: trailers(bodies.request).into(),
        response_trailer_mode: trailers(bodies.response).into(),
        ..extproc_proto::ProcessingMode::default()
    }
}

fn send_mode(mode: BodyMode) -> BodySendMode {
    match mode {
        BodyMode::None => BodySendMode::None,
        BodyMode::Streamed => BodySendMode::Streamed,
        BodyMode::Buffered => BodySendMode::Buffered,
        BodyMode::BufferedPartial => BodySendMode::BufferedPartial,
        BodyMode::FullDuplexStreamed => BodySendMode::FullDuplexStreamed,
        BodyMode::Grpc => BodySendMode::Grpc,
    }
}

pub(super) fn immediate(reply: ImmediateReply) -> ImmediateResponse {
    let mut edits = HeaderEdits::new();
    let mut seen: Vec<Name> = Vec::new();
    for (name, value) in reply.headers {
        if seen.contains(&name) {
            edits.append(name, value);
        } else {
            seen.push(name.clone());
            edits.set(name, value);
        }
    }
    ImmediateResponse {
        status: Some(HttpStatus { code: reply.status.into() }),
        headers: edits.lower(),
        body: reply.body,
        grpc_status: reply.grpc_status.map(|status| GrpcStatus { status }),
        details: reply.details.chars().map(|c| if c.is_whitespace() || c.is_control() { '_' } else { c }).collect(),
    }
}
