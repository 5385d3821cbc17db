//! Messages as text.

use std::fmt::Write;

use extproc_proto::body_mutation::Mutation;
use extproc_proto::common_response::ResponseStatus;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodySendMode, CommonResponse, HeaderAppendAction, HeaderMutation, ImmediateResponse, ProcessingMode,
    ProcessingResponse,
};
use prost_types::value::Kind;

pub(super) fn line(message: &ProcessingResponse) -> String {
    let mut line = String::new();
    match &message.response {
        None => match &message.override_message_timeout {
            Some(span) => put(&mut line, format_args!("timeout {span}")),
            None => line.push_str("empty"),
        },
        Some(Response::RequestHeaders(r)) => common(&mut line, "request_headers", r.response.as_ref()),
        Some(Response::ResponseHeaders(r)) => common(&mut line, "response_headers", r.response.as_ref()),
        Some(Response::RequestBody(r)) => common(&mut line, "request_body", r.response.as_ref()),
        Some(Response::ResponseBody(r)) => common(&mut line, "response_body", r.response.as_ref()),
        Some(Response::RequestTrailers(r)) => {
            line.push_str("request_trailers");
            headers(&mut line, r.header_mutation.as_ref());
        }
        Some(Response::ResponseTrailers(r)) => {
            line.push_str("response_trailers");
            headers(&mut line, r.header_mutation.as_ref());
        }
        Some(Response::ImmediateResponse(r)) => immediate(&mut line, r),
        Some(Response::StreamedImmediateResponse(_)) => line.push_str("streamed_immediate_response"),
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

fn common(line: &mut String, kind: &str, response: Option<&CommonResponse>) {
    line.push_str(kind);
    let Some(response) = response else { return };
    if response.status() == ResponseStatus::ContinueAndReplace {
        line.push_str(" replace");
    }
    headers(line, response.header_mutation.as_ref());
    match response.body_mutation.as_ref().and_then(|m| m.mutation.as_ref()) {
        None => {}
        Some(Mutation::Body(body)) => put(line, format_args!(" body=\"{}\"", body.escape_ascii())),
        Some(Mutation::ClearBody(_)) => line.push_str(" clear"),
        Some(Mutation::StreamedResponse(chunk)) => {
            put(line, format_args!(" chunk=\"{}\"", chunk.body.escape_ascii()));
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
    }
    for name in &mutation.remove_headers {
        put(line, format_args!(" -{name}"));
    }
}

fn immediate(line: &mut String, reply: &ImmediateResponse) {
    put(line, format_args!("immediate {}", reply.status.map_or(0, |s| s.code)));
    headers(line, reply.headers.as_ref());
    if !reply.body.is_empty() {
        put(line, format_args!(" body=\"{}\"", reply.body.escape_ascii()));
    }
    if let Some(grpc) = reply.grpc_status {
        put(line, format_args!(" grpc={}", grpc.status));
    }
    if !reply.details.is_empty() {
        put(line, format_args!(" details={}", reply.details));
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
