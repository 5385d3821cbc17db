//! Responses in our encoding that Envoy 1.40 accepted, one message per file.
//!
//! After a change of the table: `UPDATE_CAPTURED=1 cargo test -p extproc-proto --test captured`, and run the new bytes
//! through an Envoy again; the third column says what it did with them.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use extproc_proto::common_response::ResponseStatus;
use extproc_proto::processing_response::{Response, ServerWindowUpdate};
use extproc_proto::prost::Message;
use extproc_proto::prost_types::{Any, Duration, ListValue, Struct, Value, value::Kind};
use extproc_proto::streamed_immediate_response::Response as Streamed;
use extproc_proto::{
    BodyMutation, BodyResponse, BodySendMode, CommonResponse, GrpcStatus, HeaderAppendAction, HeaderMap,
    HeaderMutation, HeaderSendMode, HeaderValue, HeaderValueOption, HeadersResponse, HttpHeaders, HttpStatus,
    ImmediateResponse, ProcessingMode, ProcessingResponse, StreamedBodyResponse, StreamedImmediateResponse,
    TrailersResponse, body_mutation::Mutation,
};

/// One file: its name, the message, and what Envoy did with the bytes.
struct Golden {
    name: &'static str,
    message: ProcessingResponse,
    #[expect(dead_code, reason = "documents the table")]
    envoy: &'static str,
}

fn golden() -> Vec<Golden> {
    let mut table = Vec::new();
    let mut row = |name, message, envoy| table.push(Golden { name, message, envoy });
    headers(&mut row);
    bodies(&mut row);
    local_replies(&mut row);
    beside(&mut row);
    table
}

fn headers(row: &mut impl FnMut(&'static str, ProcessingResponse, &'static str)) {
    row("request-headers-continue", request_headers(None), "upstream sees the request unchanged");
    row("response-headers-continue", response_headers(None), "client sees the response unchanged");
    let edits = CommonResponse {
        header_mutation: Some(HeaderMutation {
            set_headers: vec![
                set("x-new", b"n\xff"),
                HeaderValueOption { append: Some(true), ..set("x-dup", b"3") },
                HeaderValueOption { append: Some(false), ..set("x-over", b"o2") },
                HeaderValueOption {
                    append_action: HeaderAppendAction::AddIfAbsent.into(),
                    keep_empty_value: true,
                    ..set("x-empty", b"")
                },
            ],
            remove_headers: vec!["x-gone".to_owned()],
        }),
        clear_route_cache: true,
        ..CommonResponse::default()
    };
    row(
        "request-headers-edits",
        request_headers(Some(edits.clone())),
        "upstream: x-new n\\xff, x-dup 1, 2 and 3, x-over o2, x-empty empty, no x-gone",
    );
    row(
        "response-headers-edits",
        response_headers(Some(CommonResponse { clear_route_cache: false, ..edits })),
        "client: the same edits",
    );
    row(
        "request-headers-replace",
        request_headers(Some(CommonResponse {
            status: ResponseStatus::ContinueAndReplace.into(),
            header_mutation: Some(mutation(vec![set(":method", b"PUT")])),
            body_mutation: Some(BodyMutation { mutation: Some(Mutation::Body(Bytes::from_static(b"replaced"))) }),
            ..CommonResponse::default()
        })),
        "upstream: PUT with the chunked body `replaced`",
    );
    row(
        "request-trailers-edits",
        response(Response::RequestTrailers(TrailersResponse {
            header_mutation: Some(mutation(vec![set("x-trailer", b"t")])),
        })),
        "upstream: trailer x-trailer t besides the client's",
    );
    row(
        "response-trailers-edits",
        response(Response::ResponseTrailers(TrailersResponse {
            header_mutation: Some(mutation(vec![set("x-trailer", b"t")])),
        })),
        "client: trailer x-trailer t besides the upstream's",
    );
}

fn bodies(row: &mut impl FnMut(&'static str, ProcessingResponse, &'static str)) {
    row(
        "request-body-replace",
        response(Response::RequestBody(BodyResponse {
            response: Some(CommonResponse {
                header_mutation: Some(HeaderMutation {
                    set_headers: vec![set("x-body", b"seen")],
                    remove_headers: vec!["content-length".to_owned()],
                }),
                body_mutation: Some(BodyMutation { mutation: Some(Mutation::Body(Bytes::from_static(b"new\0body"))) }),
                ..CommonResponse::default()
            }),
        })),
        "upstream: x-body seen, chunked body `new\\0body`",
    );
    row(
        "response-body-clear",
        response(Response::ResponseBody(BodyResponse {
            response: Some(CommonResponse {
                header_mutation: Some(HeaderMutation {
                    set_headers: vec![set("content-length", b"0")],
                    remove_headers: Vec::new(),
                }),
                body_mutation: Some(BodyMutation { mutation: Some(Mutation::ClearBody(true)) }),
                ..CommonResponse::default()
            }),
        })),
        "client: content-length 0, no body",
    );
    row(
        "request-body-streamed",
        response(Response::RequestBody(streamed_body(b"stream", false))),
        "upstream: a chunk `stream`",
    );
    row(
        "request-body-streamed-end",
        response(Response::RequestBody(streamed_body(b"ed", true))),
        "upstream: a chunk `ed`, then the end of the body",
    );
}

fn local_replies(row: &mut impl FnMut(&'static str, ProcessingResponse, &'static str)) {
    row(
        "immediate",
        response(Response::ImmediateResponse(ImmediateResponse {
            status: Some(HttpStatus { code: 403 }),
            headers: Some(mutation(vec![set("x-why", b"policy")])),
            body: Bytes::from_static(b"denied"),
            grpc_status: Some(GrpcStatus { status: 7 }),
            details: "by policy".to_owned(),
        })),
        "client: 403, x-why policy, text/plain body `denied`",
    );
    row(
        "streamed-immediate-headers",
        streamed_immediate(Streamed::HeadersResponse(HttpHeaders {
            headers: Some(map(vec![value(":status", b"200"), value("x-local", b"yes")])),
            ..HttpHeaders::default()
        })),
        "client: 200 with x-local yes, the upstream is not asked",
    );
    row(
        "streamed-immediate-body",
        streamed_immediate(Streamed::BodyResponse(StreamedBodyResponse {
            body: Bytes::from_static(b"one"),
            ..StreamedBodyResponse::default()
        })),
        "client: a chunk `one`",
    );
    row(
        "streamed-immediate-trailers",
        streamed_immediate(Streamed::TrailersResponse(map(vec![value("x-tr", b"9")]))),
        "client: trailer x-tr 9, the end",
    );
}

/// Fields beside the answer proper.
fn beside(row: &mut impl FnMut(&'static str, ProcessingResponse, &'static str)) {
    row(
        "request-headers-mode-override",
        ProcessingResponse {
            mode_override: Some(ProcessingMode {
                response_header_mode: HeaderSendMode::Skip.into(),
                request_body_mode: BodySendMode::Buffered.into(),
                response_body_mode: BodySendMode::Buffered.into(),
                response_trailer_mode: HeaderSendMode::Send.into(),
                ..ProcessingMode::default()
            }),
            ..request_headers(None)
        },
        "next message: request_body with end of stream, later response_body, no response_headers",
    );
    row(
        "override-message-timeout",
        ProcessingResponse {
            override_message_timeout: Some(Duration { seconds: 2, nanos: 500_000_000 }),
            ..ProcessingResponse::default()
        },
        "override_message_timeout_received is 1",
    );
    row(
        "request-headers-metadata",
        ProcessingResponse {
            dynamic_metadata: Some(fields([(
                "ns.seen",
                Kind::StructValue(fields([
                    ("bool", Kind::BoolValue(true)),
                    ("list", Kind::ListValue(list([Kind::NumberValue(1.5), Kind::StringValue("s".to_owned())]))),
                    ("null", Kind::NullValue(0)),
                    ("number", Kind::NumberValue(-0.25)),
                ])),
            )])),
            typed_dynamic_metadata: BTreeMap::from([(
                "ns.typed".to_owned(),
                Any { type_url: "type.googleapis.com/google.protobuf.Duration".to_owned(), value: vec![8, 3] },
            )]),
            ..request_headers(None)
        },
        "both namespaces are in metadata_context of the next message",
    );
    row(
        "request-headers-not-implemented",
        ProcessingResponse {
            request_drain: true,
            request_drain_requests: true,
            request_drain_responses: true,
            server_window_update: Some(ServerWindowUpdate {
                window_increment_downstream_to_sidestream: 65_536,
                window_increment_upstream_to_sidestream: i64::MAX,
            }),
            ..request_headers(Some(CommonResponse {
                trailers: Some(map(vec![value("x-t", b"1")])),
                ..CommonResponse::default()
            }))
        },
        "as request-headers-continue",
    );
}

fn response(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

fn request_headers(common: Option<CommonResponse>) -> ProcessingResponse {
    response(Response::RequestHeaders(HeadersResponse { response: common }))
}

fn response_headers(common: Option<CommonResponse>) -> ProcessingResponse {
    response(Response::ResponseHeaders(HeadersResponse { response: common }))
}

fn streamed_immediate(part: Streamed) -> ProcessingResponse {
    response(Response::StreamedImmediateResponse(StreamedImmediateResponse { response: Some(part) }))
}

fn streamed_body(body: &'static [u8], end_of_stream: bool) -> BodyResponse {
    let streamed =
        StreamedBodyResponse { body: Bytes::from_static(body), end_of_stream, ..StreamedBodyResponse::default() };
    BodyResponse {
        response: Some(CommonResponse {
            body_mutation: Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) }),
            ..CommonResponse::default()
        }),
    }
}

fn mutation(set_headers: Vec<HeaderValueOption>) -> HeaderMutation {
    HeaderMutation { set_headers, remove_headers: Vec::new() }
}

fn set(name: &'static str, raw: &'static [u8]) -> HeaderValueOption {
    HeaderValueOption { header: Some(value(name, raw)), ..HeaderValueOption::default() }
}

fn value(name: &'static str, raw: &'static [u8]) -> HeaderValue {
    HeaderValue {
        key: Bytes::from_static(name.as_bytes()),
        raw_value: Bytes::from_static(raw),
        ..HeaderValue::default()
    }
}

fn map(headers: Vec<HeaderValue>) -> HeaderMap {
    HeaderMap { headers }
}

fn fields<const N: usize>(entries: [(&str, Kind); N]) -> Struct {
    Struct { fields: entries.into_iter().map(|(key, kind)| (key.to_owned(), Value { kind: Some(kind) })).collect() }
}

fn list<const N: usize>(kinds: [Kind; N]) -> ListValue {
    ListValue { values: kinds.into_iter().map(|kind| Value { kind: Some(kind) }).collect() }
}

#[test]
fn our_bytes_are_those_that_envoy_accepted() {
    let folder = super::home().join("responses");
    let table = golden();
    for Golden { name, message, .. } in &table {
        let file = folder.join(name).with_extension("bin");
        let ours = message.encode_to_vec();
        if std::env::var_os("UPDATE_CAPTURED").is_some() {
            fs::write(&file, &ours).unwrap();
        }
        let accepted = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(ours, accepted, "{name}: other bytes than Envoy was shown; see the head of this file");
        assert_eq!(&ProcessingResponse::decode(Bytes::from(accepted)).unwrap(), message, "{name}: decoded");
    }
    let mut names: Vec<_> = table.iter().map(|row| row.name).collect();
    names.sort_unstable();
    assert_eq!(super::bin_files("responses"), names, "files without a row, or rows without a file");
}
