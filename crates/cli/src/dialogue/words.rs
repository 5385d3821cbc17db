//! Messages of the protocol in words.

use extproc_proto::processing_request::Request as Ask;
use extproc_proto::processing_response::Response as Answer;
use extproc_proto::streamed_immediate_response::Response as Part;
use extproc_proto::{
    BodyMutation, CommonResponse, HeaderMap, HeaderMutation, HeaderValue, ImmediateResponse, ProcessingRequest,
    ProcessingResponse, StreamedImmediateResponse, body_mutation, common_response,
};

use crate::text::{Fields, preview};

/// The six phases, by the names of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
}

impl Phase {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::RequestHeaders => "request headers",
            Self::RequestBody => "request body",
            Self::RequestTrailers => "request trailers",
            Self::ResponseHeaders => "response headers",
            Self::ResponseBody => "response body",
            Self::ResponseTrailers => "response trailers",
        }
    }
}

/// The phase of a message to the processor.
pub(crate) const fn asked(request: &ProcessingRequest) -> Option<Phase> {
    match &request.request {
        Some(Ask::RequestHeaders(_)) => Some(Phase::RequestHeaders),
        Some(Ask::RequestBody(_)) => Some(Phase::RequestBody),
        Some(Ask::RequestTrailers(_)) => Some(Phase::RequestTrailers),
        Some(Ask::ResponseHeaders(_)) => Some(Phase::ResponseHeaders),
        Some(Ask::ResponseBody(_)) => Some(Phase::ResponseBody),
        Some(Ask::ResponseTrailers(_)) => Some(Phase::ResponseTrailers),
        None => None,
    }
}

/// The phase that an answer is for; immediate responses answer any.
pub(crate) const fn answered(response: &ProcessingResponse) -> Option<Phase> {
    match &response.response {
        Some(Answer::RequestHeaders(_)) => Some(Phase::RequestHeaders),
        Some(Answer::RequestBody(_)) => Some(Phase::RequestBody),
        Some(Answer::RequestTrailers(_)) => Some(Phase::RequestTrailers),
        Some(Answer::ResponseHeaders(_)) => Some(Phase::ResponseHeaders),
        Some(Answer::ResponseBody(_)) => Some(Phase::ResponseBody),
        Some(Answer::ResponseTrailers(_)) => Some(Phase::ResponseTrailers),
        Some(Answer::ImmediateResponse(_) | Answer::StreamedImmediateResponse(_)) | None => None,
    }
}

/// Whether it is an answer to the client.
pub(crate) const fn is_immediate(response: &ProcessingResponse) -> bool {
    matches!(&response.response, Some(Answer::ImmediateResponse(_) | Answer::StreamedImmediateResponse(_)))
}

/// What a message to the processor says.
pub(crate) fn sent(request: &ProcessingRequest) -> Vec<String> {
    let end = |end: bool| if end { ", end" } else { "" };
    let fields = |map: Option<&HeaderMap>, what: &str| plural(map.map_or(0, |map| map.headers.len()), what);
    let line = match &request.request {
        Some(Ask::RequestHeaders(headers) | Ask::ResponseHeaders(headers)) => {
            format!("{}{}", fields(headers.headers.as_ref(), "header"), end(headers.end_of_stream))
        }
        Some(Ask::RequestBody(body) | Ask::ResponseBody(body)) => {
            format!("{}{}", plural(body.body.len(), "byte"), end(body.end_of_stream))
        }
        Some(Ask::RequestTrailers(trailers) | Ask::ResponseTrailers(trailers)) => {
            format!("{}, end", fields(trailers.trailers.as_ref(), "trailer"))
        }
        None => "nothing".to_owned(),
    };
    vec![line]
}

/// The headers or trailers of a message to the processor.
pub(crate) fn fields(request: &ProcessingRequest) -> Fields {
    let map = match &request.request {
        Some(Ask::RequestHeaders(it) | Ask::ResponseHeaders(it)) => it.headers.as_ref(),
        Some(Ask::RequestTrailers(it) | Ask::ResponseTrailers(it)) => it.trailers.as_ref(),
        Some(Ask::RequestBody(_) | Ask::ResponseBody(_)) | None => None,
    };
    let field = |it: &HeaderValue| (String::from_utf8_lossy(&it.key).into_owned(), preview(&it.raw_value));
    map.into_iter().flat_map(|map| &map.headers).map(field).collect()
}

/// What a message of the processor says.
pub(crate) fn received(response: &ProcessingResponse) -> Vec<String> {
    let mut lines = Vec::new();
    match &response.response {
        Some(Answer::RequestHeaders(headers) | Answer::ResponseHeaders(headers)) => {
            common(&mut lines, headers.response.as_ref());
        }
        Some(Answer::RequestBody(body) | Answer::ResponseBody(body)) => common(&mut lines, body.response.as_ref()),
        Some(Answer::RequestTrailers(trailers) | Answer::ResponseTrailers(trailers)) => {
            headers(&mut lines, trailers.header_mutation.as_ref());
        }
        Some(Answer::ImmediateResponse(reply)) => immediate(&mut lines, reply),
        Some(Answer::StreamedImmediateResponse(reply)) => streamed(&mut lines, reply),
        None => lines.push("no answer in the message".to_owned()),
    }
    if response.mode_override.is_some() {
        lines.push("mode override".to_owned());
    }
    if let Some(timeout) = &response.override_message_timeout {
        lines.push(format!("asks for a timeout of {}.{:03} s", timeout.seconds, timeout.nanos / 1_000_000));
    }
    if let Some(metadata) = &response.dynamic_metadata {
        lines.push(format!("dynamic metadata for {}", plural(metadata.fields.len(), "namespace")));
    }
    if lines.is_empty() {
        lines.push("continue".to_owned());
    }
    lines
}

fn common(lines: &mut Vec<String>, response: Option<&CommonResponse>) {
    let Some(response) = response else { return };
    if response.status == i32::from(common_response::ResponseStatus::ContinueAndReplace) {
        lines.push("continue and replace".to_owned());
    }
    headers(lines, response.header_mutation.as_ref());
    body(lines, response.body_mutation.as_ref());
    if response.clear_route_cache {
        lines.push("clear route cache".to_owned());
    }
    if response.trailers.is_some() {
        lines.push("trailers (no data plane reads them here)".to_owned());
    }
}

fn headers(lines: &mut Vec<String>, mutation: Option<&HeaderMutation>) {
    let Some(mutation) = mutation else { return };
    for name in &mutation.remove_headers {
        lines.push(format!("remove {name}"));
    }
    for option in &mutation.set_headers {
        let Some(header) = &option.header else {
            lines.push("set nothing (header is missing)".to_owned());
            continue;
        };
        let verb = if option.append.unwrap_or_default() { "append" } else { "set" };
        lines.push(format!("{verb} {}: {}{}", preview(&header.key), preview(&header.raw_value), ignored(header)));
    }
}

/// Envoy reads `raw_value` only.
const fn ignored(header: &HeaderValue) -> &'static str {
    match header.raw_value.is_empty() && !header.value.is_empty() {
        true => " (has only `value`, which Envoy ignores; use `raw_value`)",
        false => "",
    }
}

fn body(lines: &mut Vec<String>, mutation: Option<&BodyMutation>) {
    match mutation.and_then(|mutation| mutation.mutation.as_ref()) {
        Some(body_mutation::Mutation::Body(bytes)) => {
            lines.push(format!("replace body: {} ({})", preview(bytes), plural(bytes.len(), "byte")));
        }
        Some(body_mutation::Mutation::ClearBody(true)) => lines.push("clear body".to_owned()),
        Some(body_mutation::Mutation::ClearBody(false)) | None => {}
        Some(body_mutation::Mutation::StreamedResponse(piece)) => {
            lines.push(format!("streamed body: {} ({})", preview(&piece.body), plural(piece.body.len(), "byte")));
        }
    }
}

fn immediate(lines: &mut Vec<String>, reply: &ImmediateResponse) {
    lines.push(format!("immediate response {}", reply.status.as_ref().map_or(200, |status| status.code)));
    headers(lines, reply.headers.as_ref());
    if !reply.body.is_empty() {
        lines.push(format!("body: {} ({})", preview(&reply.body), plural(reply.body.len(), "byte")));
    }
    if let Some(status) = &reply.grpc_status {
        lines.push(format!("grpc-status {}", status.status));
    }
    if !reply.details.is_empty() {
        lines.push(format!("details {:?}", reply.details));
    }
}

fn streamed(lines: &mut Vec<String>, reply: &StreamedImmediateResponse) {
    let mut fields = |map: &HeaderMap| {
        for field in &map.headers {
            lines.push(format!("{}: {}{}", preview(&field.key), preview(&field.raw_value), ignored(field)));
        }
    };
    let end = |end: bool| if end { ", end" } else { "" };
    match &reply.response {
        None => lines.push("streamed reply without any part".to_owned()),
        Some(Part::HeadersResponse(part)) => {
            part.headers.iter().for_each(&mut fields);
            lines.insert(0, format!("streamed reply{}", end(part.end_of_stream)));
        }
        Some(Part::BodyResponse(part)) => {
            let size = plural(part.body.len(), "byte");
            lines.push(format!("piece of the reply: {} ({size}{})", preview(&part.body), end(part.end_of_stream)));
        }
        Some(Part::TrailersResponse(trailers)) => {
            fields(trailers);
            lines.insert(0, "trailers of the reply, end".to_owned());
        }
    }
}

fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use extproc_proto::{HeaderValueOption, HeadersResponse, HttpBody, HttpHeaders, HttpStatus, StreamedBodyResponse};

    use super::*;

    fn option(key: &'static str, raw: &'static str, value: &'static str, append: Option<bool>) -> HeaderValueOption {
        let header = HeaderValue { key: key.into(), raw_value: raw.into(), value: value.into() };
        HeaderValueOption { header: Some(header), append, ..HeaderValueOption::default() }
    }

    #[test]
    fn answers() {
        let mutation = HeaderMutation {
            set_headers: vec![
                option("a", "1", "", None),
                option("b", "2", "", Some(true)),
                option("c", "", "3", None),
                HeaderValueOption::default(),
            ],
            remove_headers: vec!["d".to_owned()],
        };
        let replaced = BodyMutation { mutation: Some(body_mutation::Mutation::Body(Bytes::from_static(b"xy"))) };
        let common = CommonResponse {
            status: 1,
            header_mutation: Some(mutation),
            body_mutation: Some(replaced),
            clear_route_cache: true,
            ..CommonResponse::default()
        };
        let answer = Answer::RequestHeaders(HeadersResponse { response: Some(common) });
        let response = ProcessingResponse { response: Some(answer), ..ProcessingResponse::default() };
        assert_eq!(
            received(&response),
            [
                "continue and replace",
                "remove d",
                "set a: 1",
                "append b: 2",
                "set c:  (has only `value`, which Envoy ignores; use `raw_value`)",
                "set nothing (header is missing)",
                "replace body: xy (2 bytes)",
                "clear route cache",
            ]
        );
        assert_eq!(answered(&response), Some(Phase::RequestHeaders));
    }

    #[test]
    fn other_messages() {
        let of = |answer| received(&ProcessingResponse { response: answer, ..ProcessingResponse::default() });
        assert_eq!(of(None), ["no answer in the message"]);
        assert_eq!(of(Some(Answer::ResponseHeaders(HeadersResponse::default()))), ["continue"]);
        let reply = ImmediateResponse {
            status: Some(HttpStatus { code: 401 }),
            body: Bytes::from_static(b"no"),
            details: "bad_token".to_owned(),
            ..ImmediateResponse::default()
        };
        assert_eq!(
            of(Some(Answer::ImmediateResponse(reply))),
            ["immediate response 401", "body: no (2 bytes)", "details \"bad_token\""]
        );
        let part = |response| Some(Answer::StreamedImmediateResponse(StreamedImmediateResponse { response }));
        let status = HeaderValue { key: ":status".into(), raw_value: "200".into(), ..HeaderValue::default() };
        let map = HeaderMap { headers: vec![status] };
        let head = HttpHeaders { headers: Some(map.clone()), end_of_stream: true, ..HttpHeaders::default() };
        assert_eq!(of(part(Some(Part::HeadersResponse(head)))), ["streamed reply, end", ":status: 200"]);
        let piece = StreamedBodyResponse { body: "xy".into(), ..StreamedBodyResponse::default() };
        assert_eq!(of(part(Some(Part::BodyResponse(piece)))), ["piece of the reply: xy (2 bytes)"]);
        assert_eq!(of(part(Some(Part::TrailersResponse(map)))), ["trailers of the reply, end", ":status: 200"]);
        assert_eq!(of(part(None)), ["streamed reply without any part"]);
        let body = HttpBody { body: Bytes::from_static(b"x"), end_of_stream: true, ..HttpBody::default() };
        let ask = ProcessingRequest { request: Some(Ask::ResponseBody(body)), ..ProcessingRequest::default() };
        assert_eq!(sent(&ask), ["1 byte, end"]);
        assert_eq!(asked(&ask), Some(Phase::ResponseBody));
    }
}
