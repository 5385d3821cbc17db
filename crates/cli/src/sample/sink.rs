//! `sink`: does what the header `instructions` says (the basic-sink server of the agentgateway documents).
//!
//! It speaks the protocol itself and only the server is the SDK's: the original's answers, of which some are wrong, can
//! be given only so. What differs from the original: the JSON value `null` means no instructions instead of a crash;
//! header values are read from `raw_value` or `value`; body messages are answered as the data plane's mode asks,
//! unless [`Options::always_stream`] wants the original's answer.

mod instructions;

use bytes::Bytes;
use extproc::{Open, RawProcessor, RawReplies, RawRequests};
use extproc_proto::processing_request::Request as Ask;
use extproc_proto::processing_response::Response as Answer;
use extproc_proto::{
    BodyMutation, BodyResponse, BodySendMode, CommonResponse, HeaderMap, HeaderMutation, HeaderValue,
    HeaderValueOption, HeadersResponse, HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
    ProtocolConfiguration, StreamedBodyResponse, TrailersResponse, body_mutation,
};
use tokio_stream::StreamExt;
use tonic::Status;

use instructions::Instructions;

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// How the sink differs from its defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Name and value to set on every request.
    pub(crate) add_header: Option<(String, String)>,
    /// Answer every body message with `streamed_response`, in all modes.
    pub(crate) always_stream: bool,
}

/// The server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sink(pub(crate) Options);

impl Sink {
    pub(super) const KEYS: &[Key] = &[
        key("add-header", "NAME:VALUE", "a header to set on every request"),
        key(
            "always-stream",
            "true [default: false]",
            "answer bodies with streamed_response in every mode, as the original does",
        ),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let pair = |text: &str| match text.split_once(':') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(settings.wrong("add-header", "must be NAME:VALUE")),
        };
        Ok(Self(Options {
            add_header: settings.text("add-header")?.map(pair).transpose()?,
            always_stream: settings.get("always-stream")?.unwrap_or(false),
        }))
    }
}

impl RawProcessor for Sink {
    fn name(&self) -> &'static str {
        "sink"
    }

    fn process(&self, _: &Open, requests: RawRequests) -> RawReplies {
        let mut exchange = Exchange { options: self.0.clone(), modes: None };
        Box::pin(requests.map(move |message| exchange.reply(message?)))
    }
}

/// One stream.
struct Exchange {
    options: Options,
    modes: Option<ProtocolConfiguration>,
}

impl Exchange {
    fn reply(&mut self, message: ProcessingRequest) -> Result<ProcessingResponse, Status> {
        self.modes = self.modes.or(message.protocol_config);
        let answer = match message.request {
            Some(Ask::RequestHeaders(headers)) => {
                Some(Answer::RequestHeaders(headers_reply(&headers, self.options.add_header.as_ref())?))
            }
            Some(Ask::ResponseHeaders(headers)) => Some(Answer::ResponseHeaders(headers_reply(&headers, None)?)),
            Some(Ask::RequestBody(body)) => {
                Some(Answer::RequestBody(self.body_reply(body, self.modes.map(|modes| modes.request_body_mode()))))
            }
            Some(Ask::ResponseBody(body)) => {
                Some(Answer::ResponseBody(self.body_reply(body, self.modes.map(|modes| modes.response_body_mode()))))
            }
            Some(Ask::RequestTrailers(_)) => Some(Answer::RequestTrailers(TrailersResponse::default())),
            Some(Ask::ResponseTrailers(_)) => Some(Answer::ResponseTrailers(TrailersResponse::default())),
            None => None,
        };
        Ok(ProcessingResponse { response: answer, ..ProcessingResponse::default() })
    }

    fn body_reply(&self, body: HttpBody, mode: Option<BodySendMode>) -> BodyResponse {
        tracing::debug!(bytes = body.body.len(), end = body.end_of_stream, ?mode, "body");
        if !self.options.always_stream && mode != Some(BodySendMode::FullDuplexStreamed) {
            return BodyResponse::default();
        }
        let echo = StreamedBodyResponse {
            body: body.body,
            end_of_stream: body.end_of_stream,
            ..StreamedBodyResponse::default()
        };
        let mutation = BodyMutation { mutation: Some(body_mutation::Mutation::StreamedResponse(echo)) };
        let common = CommonResponse { body_mutation: Some(mutation), ..CommonResponse::default() };
        BodyResponse { response: Some(common) }
    }
}

/// The header that holds the instructions.
const INSTRUCTIONS: &[u8] = b"instructions";

fn headers_reply(message: &HttpHeaders, extra: Option<&(String, String)>) -> Result<HeadersResponse, Status> {
    let fields = message.headers.as_ref().map_or(&[][..], |map| &map.headers);
    let text = fields.iter().find(|field| field.key == INSTRUCTIONS).map(value);
    tracing::debug!(end = message.end_of_stream, instructions = ?text, "headers");
    let instructions = text.filter(|text| !text.is_empty()).map(|text| Instructions::parse(text)).transpose();
    let instructions = instructions.map_err(|error| {
        tracing::warn!(%error, ?text, "instructions cannot be read; the stream fails");
        Status::unknown(format!("header instructions: {error}"))
    })?;
    let mut common = instructions.flatten().map(|instructions| instructed(&instructions));
    if let Some((name, value)) = extra {
        let mutation = common.get_or_insert_default().header_mutation.get_or_insert_default();
        mutation.set_headers.push(option(raw(name, value)));
    }
    Ok(HeadersResponse { response: common })
}

fn value(field: &HeaderValue) -> &Bytes {
    if field.raw_value.is_empty() { &field.value } else { &field.raw_value }
}

fn instructed(instructions: &Instructions) -> CommonResponse {
    let mut common = CommonResponse::default();
    let mutation = common.header_mutation.insert(HeaderMutation {
        set_headers: instructions.add_headers.iter().map(|(name, value)| option(raw(name, value))).collect(),
        remove_headers: instructions.remove_headers.clone(),
    });
    if !instructions.set_body.is_empty() {
        // In `value` and not in `raw_value`, as the original; Envoy reads them as empty.
        mutation.set_headers.push(option(plain("content-type", "text/plain")));
        mutation.set_headers.push(option(plain("Content-Length", &instructions.set_body.len().to_string())));
        let body = Bytes::from(instructions.set_body.clone());
        common.body_mutation = Some(BodyMutation { mutation: Some(body_mutation::Mutation::Body(body)) });
    }
    if !instructions.set_trailers.is_empty() {
        let headers = instructions.set_trailers.iter().map(|(name, value)| plain(name, value)).collect();
        common.trailers = Some(HeaderMap { headers });
    }
    common
}

fn raw(name: &str, value: &str) -> HeaderValue {
    HeaderValue { key: name.to_owned().into(), raw_value: value.to_owned().into(), ..HeaderValue::default() }
}

fn plain(name: &str, value: &str) -> HeaderValue {
    HeaderValue { key: name.to_owned().into(), value: value.to_owned().into(), ..HeaderValue::default() }
}

fn option(header: HeaderValue) -> HeaderValueOption {
    HeaderValueOption { header: Some(header), ..HeaderValueOption::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(options: Options, mode: BodySendMode) -> Exchange {
        let modes = ProtocolConfiguration {
            request_body_mode: mode.into(),
            response_body_mode: mode.into(),
            send_body_without_waiting_for_header_response: false,
        };
        Exchange { options, modes: Some(modes) }
    }

    fn ask(request: Ask) -> ProcessingRequest {
        ProcessingRequest { request: Some(request), ..ProcessingRequest::default() }
    }

    fn request_headers(fields: Vec<HeaderValue>) -> ProcessingRequest {
        let headers = HttpHeaders { headers: Some(HeaderMap { headers: fields }), ..HttpHeaders::default() };
        ask(Ask::RequestHeaders(headers))
    }

    fn reply_to(field: HeaderValue) -> Result<Option<CommonResponse>, Status> {
        let reply = exchange(Options::default(), BodySendMode::None).reply(request_headers(vec![field]))?;
        match reply.response {
            Some(Answer::RequestHeaders(headers)) => Ok(headers.response),
            other => panic!("wrong variant: {other:?}"),
        }
    }

    #[test]
    fn instructions_are_read_from_either_field() {
        let text = r#"{"addHeaders":{"A":"1"},"removeHeaders":["B"]}"#;
        let expected = HeaderMutation { set_headers: vec![option(raw("A", "1"))], remove_headers: vec!["B".into()] };
        for field in [raw("instructions", text), plain("instructions", text)] {
            let common = reply_to(field).expect("valid").expect("instructions");
            assert_eq!(common.header_mutation.as_ref(), Some(&expected));
        }
    }

    #[test]
    fn without_instructions_there_is_no_common_response() {
        for field in [raw("x", "y"), raw("instructions", "null"), raw("instructions", "")] {
            assert_eq!(reply_to(field.clone()).expect("harmless"), None, "{field:?}");
        }
        assert!(reply_to(raw("instructions", "{}")).expect("valid").is_some());
    }

    #[test]
    fn bad_instructions_fail_the_stream_with_unknown() {
        for text in ["not-json", "[]", "7", r#"{"addHeaders":[]}"#, "{} x"] {
            let status = reply_to(raw("instructions", text)).expect_err(text);
            assert_eq!(status.code(), tonic::Code::Unknown, "{text}");
        }
    }

    #[test]
    fn set_body_and_set_trailers_are_written_as_the_original_does() {
        let common = reply_to(raw("instructions", r#"{"setBody":"hello","setTrailers":{"t":"1"}}"#));
        let common = common.expect("valid").expect("instructions");
        let set = common.header_mutation.expect("headers").set_headers;
        assert_eq!(set, [option(plain("content-type", "text/plain")), option(plain("Content-Length", "5"))]);
        let body = body_mutation::Mutation::Body(Bytes::from_static(b"hello"));
        assert_eq!(common.body_mutation, Some(BodyMutation { mutation: Some(body) }));
        assert_eq!(common.trailers, Some(HeaderMap { headers: vec![plain("t", "1")] }));
        assert_eq!(common.status, 0);
    }

    #[test]
    fn bodies_are_answered_by_mode() {
        let streaming = Options { always_stream: true, ..Options::default() };
        for (mode, options, streamed) in [
            (BodySendMode::FullDuplexStreamed, Options::default(), true),
            (BodySendMode::Buffered, Options::default(), false),
            (BodySendMode::Streamed, Options::default(), false),
            (BodySendMode::Buffered, streaming, true),
        ] {
            let body = HttpBody { body: Bytes::from_static(b"ab"), end_of_stream: true, ..HttpBody::default() };
            let reply = exchange(options, mode).reply(ask(Ask::RequestBody(body))).expect("a reply");
            let Some(Answer::RequestBody(BodyResponse { response })) = reply.response else { panic!("wrong variant") };
            let echo = StreamedBodyResponse {
                body: Bytes::from_static(b"ab"),
                end_of_stream: true,
                ..StreamedBodyResponse::default()
            };
            let mutation = streamed.then_some(body_mutation::Mutation::StreamedResponse(echo));
            assert_eq!(response.and_then(|common| common.body_mutation?.mutation), mutation, "{mode:?}");
        }
    }

    #[test]
    fn the_extra_header_is_set_on_requests_only() {
        let options = Options { add_header: Some(("x-a".into(), " 1".into())), ..Options::default() };
        let mut exchange = exchange(options, BodySendMode::None);
        let reply = exchange.reply(request_headers(Vec::new())).expect("a reply");
        let Some(Answer::RequestHeaders(HeadersResponse { response: Some(common) })) = reply.response else {
            panic!("no mutation: {reply:?}")
        };
        assert_eq!(common.header_mutation.expect("headers").set_headers, [option(raw("x-a", " 1"))]);
        let reply = exchange.reply(ask(Ask::ResponseHeaders(HttpHeaders::default()))).expect("a reply");
        assert_eq!(reply.response, Some(Answer::ResponseHeaders(HeadersResponse::default())));
    }

    #[test]
    fn trailers_and_unknown_messages() {
        let mut exchange = exchange(Options::default(), BodySendMode::None);
        let reply = exchange.reply(ask(Ask::ResponseTrailers(extproc_proto::HttpTrailers::default())));
        assert_eq!(
            reply.expect("a reply").response,
            Some(Answer::ResponseTrailers(TrailersResponse { header_mutation: None }))
        );
        let reply = exchange.reply(ProcessingRequest::default());
        assert_eq!(reply.expect("a reply"), ProcessingResponse::default());
    }
}
