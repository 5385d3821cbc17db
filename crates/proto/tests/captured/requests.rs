//! Requests as Envoy 1.40 encoded them.

use std::fs;

use bytes::Bytes;
use extproc_proto::processing_request::Request;
use extproc_proto::prost::Message;
use extproc_proto::prost::encoding::decode_varint;
use extproc_proto::prost_types::value::Kind;
use extproc_proto::prost_types::{Any, Struct};
use extproc_proto::{BodySendMode, HeaderMap, HttpHeaders, ProcessingRequest, ProtocolConfiguration};

/// What an exchange holds: `qh` `qb` `qt` are request headers, body, trailers, `sh` `sb` `st` the response's; a body is
/// printed, `!` marks the end of the stream.
const EXCHANGES: [(&str, &str); 18] = [
    ("attribute", "qh! sh"),
    ("attributes", "qh! sh"),
    ("body-only", "qb(first)! sb(ok)!"),
    ("buffered", r"qh qb(hello\x00\xff world)! sh sb(ok)!"),
    ("buffered-partial", "qh qb(pppppppppppppppppppppppppppppppppppppppp)! sh sb(ok)!"),
    ("buffered-trailers", "qh qb(aabb) qt sh sb(xxyy) st"),
    ("early-local-reply", "sh"),
    ("full-duplex", "qh qb(aa) qb(bb) qb()! sh sb(xx) sb(yy) sb()!"),
    ("full-duplex-trailers", "qh qb(aa) qb(bb) qt sh sb(xx) sb(yy) st"),
    ("get", "qh! sh"),
    ("grpc", r"qh qb(\x00\x00\x00\x00\x02\x08\x01)! sh st"),
    ("metadata", "qh! sh"),
    ("metadata-namespace", "qh! sh"),
    ("observability", "qh qb(aa) qb(bb) qt sh sb(xx) sb(yy) st"),
    ("streamed", "qh qb(aa) qb(bb) qb(300 bytes) qb()! sh sb(xx) sb(yy) sb()!"),
    ("streamed-trailers", "qh qb(aa) qb(bb) qt sh sb(xx) sb(yy) st"),
    ("without-waiting", "qh qb(aa) qb(bb) qb()! sh sb(ok) sb()!"),
    // Only its second message decodes; see `a_value_that_is_not_utf_8_in_attributes_is_refused`.
    ("attribute-not-utf-8", ""),
];

/// Exchanges with more than one entry in a map: the same bytes in another order.
const OTHER_ORDER: [&str; 2] = ["attributes", "metadata"];

fn raw(exchange: &str) -> Vec<Bytes> {
    let mut bytes = Bytes::from(fs::read(super::home().join("requests").join(exchange).with_extension("bin")).unwrap());
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let length = usize::try_from(decode_varint(&mut bytes).unwrap()).unwrap();
        messages.push(bytes.split_to(length));
    }
    messages
}

fn messages(exchange: &str) -> Vec<ProcessingRequest> {
    raw(exchange).into_iter().map(|bytes| ProcessingRequest::decode(bytes).unwrap()).collect()
}

fn first(exchange: &str) -> ProcessingRequest {
    messages(exchange).swap_remove(0)
}

#[test]
fn every_exchange_decodes_to_what_happened() {
    let mut names: Vec<_> = EXCHANGES.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(super::bin_files("requests"), names, "files without a row, or rows without a file");
    for (exchange, expected) in EXCHANGES.iter().filter(|(_, expected)| !expected.is_empty()) {
        let seen: Vec<String> = messages(exchange).iter().map(show).collect();
        assert_eq!(seen.join(" "), *expected, "{exchange}");
    }
}

fn show(message: &ProcessingRequest) -> String {
    let (kind, end) = match message.request.as_ref().unwrap() {
        Request::RequestHeaders(headers) => ("qh".to_owned(), headers.end_of_stream),
        Request::ResponseHeaders(headers) => ("sh".to_owned(), headers.end_of_stream),
        Request::RequestBody(body) => (format!("qb({})", show_body(&body.body)), body.end_of_stream),
        Request::ResponseBody(body) => (format!("sb({})", show_body(&body.body)), body.end_of_stream),
        Request::RequestTrailers(_) => ("qt".to_owned(), false),
        Request::ResponseTrailers(_) => ("st".to_owned(), false),
    };
    if end { kind + "!" } else { kind }
}

fn show_body(body: &[u8]) -> String {
    if body.len() > 100 { format!("{} bytes", body.len()) } else { body.escape_ascii().to_string() }
}

#[test]
fn our_encoding_is_the_same_bytes() {
    let mut identical = 0;
    for (exchange, _) in EXCHANGES.iter().filter(|(_, expected)| !expected.is_empty()) {
        for (index, bytes) in raw(exchange).into_iter().enumerate() {
            let message = ProcessingRequest::decode(bytes.clone()).unwrap();
            let ours = Bytes::from(message.encode_to_vec());
            if OTHER_ORDER.contains(exchange) {
                assert_eq!(ours.len(), bytes.len(), "{exchange} {index}");
                assert_eq!(ProcessingRequest::decode(ours).unwrap(), message, "{exchange} {index}");
            } else {
                assert_eq!(ours, bytes, "{exchange} {index}");
                identical += 1;
            }
        }
    }
    assert!(identical > 70, "only {identical} messages were compared byte by byte");
}

#[test]
fn headers_keep_order_repetition_and_bytes() {
    let Some(Request::RequestHeaders(request)) = first("get").request else { panic!("no request headers") };
    let expected: [(&str, &[u8]); 14] = [
        (":authority", b"example.com"),
        (":path", b"/p/q?z=1"),
        (":method", b"GET"),
        (":scheme", b"http"),
        ("x-name", b"get"),
        ("x-dup", b"1"),
        ("x-dup", b"2"),
        ("x-over", b"o1"),
        ("x-gone", b"g"),
        ("cookie", b"a=1"),
        ("cookie", b"b=2"),
        ("x-empty", b""),
        ("x-bin", b"\xe9\xff"),
        ("x-forwarded-proto", b"http"),
    ];
    let HttpHeaders { headers, attributes, .. } = &request;
    assert!(attributes.is_empty(), "the deprecated field is never filled");
    assert_eq!(entries(headers.as_ref()), expected);
}

#[test]
fn trailers_keep_order_repetition_and_bytes() {
    let expected: [(&str, &[u8]); 3] = [("x-t1", b"a"), ("x-t2", b"\xff"), ("x-t1", b"b")];
    for exchange in ["buffered-trailers", "streamed-trailers", "full-duplex-trailers", "observability"] {
        let mut seen = 0;
        for message in messages(exchange) {
            if let Some(Request::RequestTrailers(t) | Request::ResponseTrailers(t)) = message.request {
                assert_eq!(entries(t.trailers.as_ref()), expected, "{exchange}");
                seen += 1;
            }
        }
        assert_eq!(seen, 2, "{exchange}");
    }
}

/// Values travel as `raw_value` only.
fn entries(map: Option<&HeaderMap>) -> Vec<(&str, &[u8])> {
    let headers = &map.unwrap().headers;
    assert!(headers.iter().all(|header| header.value.is_empty()), "a `value` is filled");
    headers.iter().map(|header| (std::str::from_utf8(&header.key).unwrap(), &header.raw_value[..])).collect()
}

#[test]
fn the_first_message_tells_the_modes() {
    use BodySendMode::{Buffered, BufferedPartial, FullDuplexStreamed, Grpc, None as Off, Streamed};
    for (exchange, mode, without_waiting) in [
        ("get", Off, false),
        ("early-local-reply", Off, false),
        ("body-only", Buffered, false),
        ("buffered", Buffered, false),
        ("buffered-partial", BufferedPartial, false),
        ("streamed", Streamed, false),
        ("full-duplex", FullDuplexStreamed, false),
        ("grpc", Grpc, false),
        ("without-waiting", Streamed, true),
    ] {
        let expected = ProtocolConfiguration {
            request_body_mode: mode.into(),
            response_body_mode: mode.into(),
            send_body_without_waiting_for_header_response: without_waiting,
        };
        let messages = messages(exchange);
        assert_eq!(messages[0].protocol_config, Some(expected), "{exchange}");
        assert!(messages[1..].iter().all(|message| message.protocol_config.is_none()), "{exchange}");
    }
}

#[test]
fn observability_marks_every_message_and_tells_no_modes() {
    for (exchange, _) in EXCHANGES.iter().filter(|(_, expected)| !expected.is_empty()) {
        let observed = *exchange == "observability";
        for message in messages(exchange) {
            assert_eq!(message.observability_mode, observed, "{exchange}");
            assert!(!observed || message.protocol_config.is_none());
        }
    }
}

#[test]
fn attributes_come_once_for_each_direction() {
    let one = messages("attribute");
    assert_eq!(attribute(&one[0], "request.method"), Kind::StringValue("GET".to_owned()));
    assert_eq!(attribute(&one[1], "response.code"), Kind::NumberValue(200.0));
    let several = messages("attributes");
    for (message, name, expected) in [
        (0, "request.path", Kind::StringValue("/p/q?z=1".to_owned())),
        (0, r#"request.headers["x-dup"]"#, Kind::StringValue("1,2".to_owned())),
        (0, "request.headers", Kind::StringValue("CelMap value".to_owned())),
        (0, r#"source.address.startsWith("127.")"#, Kind::BoolValue(true)),
        (0, "connection.mtls", Kind::BoolValue(false)),
        (0, "request.size", Kind::NumberValue(0.0)),
        (1, r#"response.headers["set-cookie"]"#, Kind::StringValue("a=1,b=2".to_owned())),
    ] {
        assert_eq!(attribute(&several[message], name), expected, "{name}");
    }
}

fn attribute(message: &ProcessingRequest, name: &str) -> Kind {
    assert_eq!(message.attributes.keys().collect::<Vec<_>>(), ["envoy.filters.http.ext_proc"]);
    field(&message.attributes["envoy.filters.http.ext_proc"], name)
}

fn field(fields: &Struct, name: &str) -> Kind {
    fields.fields.get(name).and_then(|value| value.kind.clone()).unwrap_or_else(|| panic!("no {name} in {fields:?}"))
}

#[test]
fn a_value_that_is_not_utf_8_in_attributes_is_refused() {
    let bytes = raw("attribute-not-utf-8");
    let error = ProcessingRequest::decode(bytes[0].clone()).unwrap_err();
    assert!(
        error.to_string().ends_with("ProcessingRequest.attributes: invalid string value: data is not UTF-8 encoded"),
        "{error}"
    );
    assert_eq!(show(&ProcessingRequest::decode(bytes[1].clone()).unwrap()), "sh");
}

#[test]
fn metadata_comes_with_every_message() {
    for (exchange, _) in EXCHANGES.iter().filter(|(_, expected)| !expected.is_empty()) {
        assert!(messages(exchange).iter().all(|message| message.metadata_context.is_some()), "{exchange}");
    }
    for message in messages("metadata") {
        let context = message.metadata_context.unwrap();
        assert_eq!(context.filter_metadata.keys().collect::<Vec<_>>(), ["ns.cluster", "ns.u"]);
        let untyped = &context.filter_metadata["ns.u"];
        assert_eq!(field(untyped, "number"), Kind::NumberValue(1.5));
        assert_eq!(field(untyped, "flag"), Kind::BoolValue(true));
        assert_eq!(field(untyped, "nothing"), Kind::NullValue(0));
        assert_eq!(field(untyped, "empty"), Kind::StructValue(Struct::default()));
        let three_seconds =
            Any { type_url: "type.googleapis.com/google.protobuf.Duration".to_owned(), value: vec![8, 3] };
        assert_eq!(context.typed_filter_metadata.get("ns.t"), Some(&three_seconds));
    }
}
