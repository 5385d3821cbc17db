//! What the processor gets (grpc-a93.md 9.2).

use std::collections::BTreeMap;

use extproc_proto::processing_request::Request;
use extproc_proto::{BodySendMode, HeaderMap, ProcessingRequest};
use prost_types::value::Kind;

use super::script::{Player, check, check_with, options};
use crate::call::{HeaderView, Options};
use crate::rules::{NameMatcher, NamePattern};
use crate::{Attribute, call};

fn map(message: &ProcessingRequest) -> &HeaderMap {
    match message.request.as_ref().unwrap() {
        Request::RequestHeaders(it) | Request::ResponseHeaders(it) => it.headers.as_ref().unwrap(),
        Request::RequestTrailers(it) | Request::ResponseTrailers(it) => it.trailers.as_ref().unwrap(),
        Request::RequestBody(_) | Request::ResponseBody(_) => panic!("{message:?}"),
    }
}

fn names(message: &ProcessingRequest) -> Vec<&str> {
    map(message).headers.iter().map(|header| std::str::from_utf8(&header.key).unwrap()).collect()
}

fn values<'a>(message: &'a ProcessingRequest, name: &str) -> Vec<&'a [u8]> {
    let of = map(message).headers.iter().filter(|header| header.key == name.as_bytes());
    of.map(|header| &header.raw_value[..]).collect()
}

#[test]
fn a93_031_to_034_the_first_message_tells_modes_and_windows() {
    let all = "D.head => open p:qh \n P.qh => u:head \n D.msg=a D.end => p:qb=a p:qb!!";
    let (grpc, none) = (BodySendMode::Grpc as i32, BodySendMode::None as i32);
    for (row, config, script, modes) in [
        ("A93-031", "SGSGS", all, [grpc, grpc]),
        ("A93-032", "KGSGS", "D.head => u:head \n D.msg=a D.end => open p:qb=a p:qb!!", [grpc, grpc]),
        ("A93-033", "KNSNK", "D.head => u:head \n U.head => open p:sh", [none, none]),
        (
            "A93-034",
            "KNKGS",
            "D.head => u:head \n U.head => d:head \n U.msg=a U.msg=b => open p:sb=a p:sb=b",
            [none, grpc],
        ),
    ] {
        let player = check(row, config, script);
        let (first, later) = player.sent.split_first().unwrap();
        let protocol = first.protocol_config.unwrap();
        assert_eq!([protocol.request_body_mode, protocol.response_body_mode], modes, "{row}");
        assert!(!protocol.send_body_without_waiting_for_header_response);
        let init = first.flow_control_init.unwrap();
        assert_eq!(
            [
                init.initial_window_downstream_to_sidestream,
                init.initial_window_sidestream_to_upstream,
                init.initial_window_upstream_to_sidestream,
                init.initial_window_sidestream_to_downstream
            ],
            [65_536; 4],
            "{row}"
        );
        assert!(later.iter().all(|it| it.protocol_config.is_none() && it.flow_control_init.is_none()), "{row}");
        assert!(player.sent.iter().all(|it| it.metadata_context.is_none()), "{row}");
    }
}

#[test]
fn a93_036_the_flag_of_observability_mode() {
    let script = "D.head => open p:qh u:head \n D.msg=a D.end => p:qb=a p:qb!! u:msg=a u:end";
    let player = check("A93-036", "SGSGS obs", script);
    assert!(player.sent.iter().all(|it| it.observability_mode && it.flow_control_init.is_none()));
    assert!(player.sent[0].protocol_config.is_some());
    let player = check("A93-036", "SGSGS", "D.head => open p:qh \n D.end => p:qb!!");
    assert!(player.sent.iter().all(|it| !it.observability_mode));
}

#[test]
fn a93_037_038_values_are_raw_and_binary_ones_base64() {
    let player = check("A93-037", "SNKNK", "D.head=k:v1,l:x,k:v2,k-bin:BAU => open p:qh");
    let message = &player.sent[0];
    assert_eq!(values(message, "k"), [b"v1", b"v2"]);
    assert_eq!(values(message, "k-bin"), [b"BAU="]);
    assert!(map(message).headers.iter().all(|header| header.value.is_empty()));
    let player = check("A93-038", "SNKNK", "D.head=k-bin:BAUG => open p:qh");
    assert_eq!(values(&player.sent[0], "k-bin"), [b"BAUG"]);
    // Several in one line are several entries.
    let mut player = Player::new(options("SNKNK"));
    let headers = super::script::headers(&[("k-bin", "BAUG, BAU,BA")]);
    player.request(call::RequestEvent::Headers(headers));
    assert_eq!(player.outputs(), ["open", "p:qh"]);
    assert_eq!(values(&player.sent[0], "k-bin"), [&b"BAUG"[..], b"BAU=", b"BA=="]);
}

fn matcher(name: &str) -> NameMatcher {
    NameMatcher { pattern: NamePattern::Exact(name.to_owned()), ignore_case: false }
}

fn ruled(config: &str, allowed: Option<&[&str]>, disallowed: &[&str]) -> Options {
    let mut options = options(config);
    options.forward_rules.allowed = allowed.map(|names| names.iter().map(|name| matcher(name)).collect());
    options.forward_rules.disallowed = disallowed.iter().map(|name| matcher(name)).collect();
    options
}

#[test]
fn a93_039_to_043_forward_rules_decide_what_is_shown() {
    let request = "D.head=x-a:1,x-b:1 => open p:qh \n P.qh => u:head=x-a:1,x-b:1";
    let shown = |row, options| names_of(&check_with(row, options, request));
    assert_eq!(shown("A93-039", ruled("SNKNK", Some(&["x-a"]), &[])), ["x-a"]);
    assert_eq!(shown("A93-041", ruled("SNKNK", Some(&["x-a", "x-b"]), &["x-b"])), ["x-a"]);
    assert_eq!(shown("A93-043", ruled("SNKNK", Some(&["none"]), &[])), Vec::<String>::new());
    let player = check_with(
        "A93-042",
        ruled("KNSNS", Some(&["x-a"]), &[]),
        "D.head => u:head
         U.head=x-a:1,x-b:1 => open p:sh
         P.sh => d:head=x-a:1,x-b:1
         U.end=0,x-a:2,x-b:2 => p:st",
    );
    assert_eq!((names(&player.sent[0]), names(&player.sent[1])), (vec!["x-a"], vec!["x-a"]));
}

fn names_of(player: &Player) -> Vec<String> {
    names(&player.sent[0]).iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn views() {
    let script = "D.head=grpc-timeout:5S,x-a:1 => open p:qh";
    let wire = check("Wire", "SNKNK", script);
    assert_eq!(
        names_of(&wire),
        [":method", ":scheme", ":authority", ":path", "te", "content-type", "grpc-timeout", "x-a"]
    );
    let metadata = check_with("Metadata", Options { header_view: HeaderView::Metadata, ..options("SNKNK") }, script);
    assert_eq!(names_of(&metadata), ["x-a"]);
}

fn attributes(message: &ProcessingRequest) -> BTreeMap<String, Kind> {
    assert!(message.attributes.len() <= 1, "one key for all: {:?}", message.attributes);
    let all = message.attributes.get("envoy.filters.http.ext_proc");
    let fields = all.into_iter().flat_map(|all| all.fields.iter());
    fields.map(|(name, value)| (name.clone(), value.kind.clone().unwrap())).collect()
}

fn text(text: &str) -> Kind {
    Kind::StringValue(text.to_owned())
}

#[test]
fn a93_044_046_047_attributes_go_with_the_first_message_of_their_direction() {
    let some = "qa=request.path,request.host,request.method";
    let script = "D.head => open p:qh \n P.qh => u:head \n D.msg=a => p:qb=a";
    let player = check("A93-044", &format!("SGSGS {some}"), script);
    let expected = [("request.host", "ex.com"), ("request.method", "POST"), ("request.path", "/pkg.Service/Method")];
    let expected: BTreeMap<_, _> = expected.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
    assert_eq!(attributes(&player.sent[0]), expected);
    assert!(attributes(&player.sent[1]).is_empty());

    let player = check("A93-046", &format!("KNSNS {some}"), "D.head => u:head \n U.head => open p:sh");
    assert!(player.sent[0].attributes.is_empty());

    let unset = "qa=request.scheme,request.time,request.protocol,request.query,request.url_path,nothing.known";
    let player = check("A93-047", &format!("SNKNK {unset}"), "D.head => open p:qh");
    let expected = [("request.query", ""), ("request.url_path", "/pkg.Service/Method")];
    let expected: BTreeMap<_, _> = expected.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
    assert_eq!(attributes(&player.sent[0]), expected);

    let player = check("A93-019", "SNKNK qa=nothing.known", "D.head => open p:qh");
    assert!(player.sent[0].attributes.is_empty());
}

#[test]
fn response_attributes_go_with_the_first_response_message() {
    let player = check("2.4", "SNSNS sa=request.path", "D.head => open p:qh \n P.qh => u:head \n U.head => p:sh");
    assert!(player.sent[0].attributes.is_empty());
    assert_eq!(attributes(&player.sent[1]).len(), 1);
}

#[test]
fn a93_048_all_headers_as_text() {
    let player = check("A93-048", "SNKNK qa=request.headers", "D.head=k:1,k:2,b-bin:BAU => open p:qh");
    let all = attributes(&player.sent[0]);
    let Kind::StructValue(headers) = &all["request.headers"] else { panic!("{all:?}") };
    let value = |name: &str| headers.fields[name].kind.clone().unwrap();
    assert_eq!((value("k"), value("b-bin")), (text("1,2"), text("BAU=")));
    assert!(!headers.fields.contains_key(":path"));
}

#[test]
fn a93_049_attributes_are_those_of_the_original() {
    let player =
        check("A93-049", "KGKNK qa=request.path,request.headers", "D.head=k:1 => u:head=k:1 \n D.msg=a => open p:qb=a");
    assert_eq!(attributes(&player.sent[0]).len(), 2);
}

#[test]
fn a93_294_attributes_that_only_the_shell_knows() {
    let mut player = Player::new(options("SNKNK qa=source.address,source.port,connection.tls_version"));
    player.call.set_attribute("source.address", Attribute::Text("10.0.0.1".to_owned()));
    player.call.set_attribute("source.port", Attribute::Number(5.0));
    player.play("A93-294", "D.head => open p:qh");
    let all = attributes(&player.sent[0]);
    assert_eq!(all.len(), 2);
    assert_eq!(all["source.port"], Kind::NumberValue(5.0));
}

#[test]
fn a93_054_an_empty_message_is_not_a_half_close() {
    let player = check("A93-054", "KGKNK", "D.head => u:head \n D.msg= D.end => open p:qb= p:qb!!");
    let flags: Vec<_> = player
        .sent
        .iter()
        .map(|message| {
            let Some(Request::RequestBody(body)) = &message.request else { panic!("{message:?}") };
            (body.body.len(), body.end_of_stream, body.end_of_stream_without_message, body.grpc_message_compressed)
        })
        .collect();
    assert_eq!(flags, [(0, false, false, false), (0, true, true, false)]);
}

#[test]
fn a93_056_nothing_to_send_opens_no_stream() {
    let player = check(
        "A93-056",
        "KNKNK",
        "D.head => u:head \n D.msg=a D.end => u:msg=a u:end \n U.head U.msg=b U.end => d:head d:msg=b d:end=0",
    );
    assert!(player.call.is_over() && player.call.config().is_off());
}
