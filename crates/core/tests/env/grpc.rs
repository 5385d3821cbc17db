//! GRPC bodies: as Envoy takes them, and as gRFC A93 means them.

use bytes::Bytes;
use extproc_core::config::FlowControl;
use extproc_core::filter::{HttpEvent, StreamEvent};
use extproc_core::{Options, Profile};
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::ServerWindowUpdate;
use extproc_proto::{BodyMutation, CommonResponse, ProcessingResponse, StreamedBodyResponse};

use crate::answers::{ack, answer, body, piece, replacing, says, sets};
use crate::exchange::{Scenario, Seen, chunked, get, headers, internal, reply};
use crate::mode_override::with_mode;
use crate::{Processor, mode, rows};

/// A message in its frame.
fn frame(text: &str) -> Vec<u8> {
    marked(0, text)
}

fn marked(flag: u8, text: &str) -> Vec<u8> {
    let len = u32::try_from(text.len()).unwrap().to_be_bytes();
    [&[flag], &len[..], text.as_bytes()].concat()
}

pub(crate) fn frames(texts: &[&str]) -> Vec<u8> {
    texts.iter().flat_map(|text| frame(text)).collect()
}

/// A call with this body, cut into pieces of so many bytes, one each millisecond.
fn call_with(body: &[u8], cut: usize, more: &[(&'static str, &'static str)]) -> Vec<(u64, HttpEvent)> {
    let mut all = vec![(":method", "POST"), (":path", "/a.B/C"), ("content-type", "application/grpc")];
    all.extend(more);
    let mut parts = vec![(0, HttpEvent::Headers(headers(&all), false))];
    let pieces: Vec<_> = body.chunks(cut).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let end = at + 1 == pieces.len();
        parts.push((at as u64 + 1, HttpEvent::Data(Bytes::copy_from_slice(piece), end)));
    }
    if pieces.is_empty() {
        parts.push((1, HttpEvent::Data(Bytes::new(), true)));
    }
    parts
}

pub(crate) fn call(messages: &[&str]) -> Vec<(u64, HttpEvent)> {
    call_with(&frames(messages), 7, &[])
}

/// A response with these messages and its status.
fn back(messages: &[&str]) -> Vec<(u64, HttpEvent)> {
    let head = headers(&[(":status", "200"), ("content-type", "application/grpc")]);
    vec![
        (0, HttpEvent::Headers(head, false)),
        (5, HttpEvent::Data(frames(messages).into(), false)),
        (6, HttpEvent::Trailers(headers(&[("grpc-status", "0")]))),
    ]
}

fn marks(text: &'static str, change: impl Fn(&mut StreamedBodyResponse)) -> CommonResponse {
    let mut piece =
        StreamedBodyResponse { body: Bytes::from_static(text.as_bytes()), ..StreamedBodyResponse::default() };
    change(&mut piece);
    let body_mutation = Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(piece)) });
    CommonResponse { body_mutation, ..CommonResponse::default() }
}

/// The end, and no message.
fn half_close() -> CommonResponse {
    marks("", |piece| (piece.end_of_stream, piece.end_of_stream_without_message) = (true, true))
}

fn drained() -> CommonResponse {
    marks("", |piece| piece.drain_complete = true)
}

/// Gives back every message as it came, with its marks, and acknowledges the rest.
fn echo(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    match &seen.wire.request {
        Some(Request::RequestBody(body) | Request::ResponseBody(body)) => {
            let piece = StreamedBodyResponse {
                body: body.body.clone(),
                end_of_stream: body.end_of_stream,
                end_of_stream_without_message: body.end_of_stream_without_message,
                grpc_message_compressed: body.grpc_message_compressed,
                drain_complete: body.drain_complete,
            };
            let body_mutation = Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(piece)) });
            vec![(0, answer(seen.kind, CommonResponse { body_mutation, ..CommonResponse::default() }))]
        }
        Some(_) => ack(seen),
        None => Vec::new(),
    }
}

/// Echoes, but says this to the nth message of a kind.
fn but(kind: &'static str, nth: usize, events: Vec<StreamEvent>) -> Processor {
    Box::new(move |seen| {
        if (seen.kind, seen.nth) == (kind, nth) {
            events.iter().map(|event| (0, event.clone())).collect()
        } else {
            echo(seen)
        }
    })
}

fn then(mut events: Vec<(u64, StreamEvent)>, more: impl IntoIterator<Item = StreamEvent>) -> Vec<(u64, StreamEvent)> {
    events.extend(more.into_iter().map(|event| (0, event)));
    events
}

fn under(profile: Profile, text: &str) -> Scenario {
    mode(text).options(|options| options.profile = profile).to(Box::new(echo)).gets(back(&["pong"]))
}

fn grpc(text: &str) -> Scenario {
    under(Profile::Grpc, text)
}

const Q: &str = "rb GR sh K";
const BOTH: &str = "rb GR sb GR st S";

fn controls(change: impl Fn(&mut ProcessingResponse)) -> StreamEvent {
    let mut message = ProcessingResponse::default();
    change(&mut message);
    reply(message)
}

fn room(request: i64, response: i64) -> StreamEvent {
    controls(move |message| {
        message.server_window_update = Some(ServerWindowUpdate {
            window_increment_downstream_to_sidestream: request,
            window_increment_upstream_to_sidestream: response,
        });
    })
}

fn drain() -> StreamEvent {
    controls(|message| message.request_drain = true)
}

fn drain_requests() -> StreamEvent {
    controls(|message| message.request_drain_requests = true)
}

fn drain_responses() -> StreamEvent {
    controls(|message| message.request_drain_responses = true)
}

fn ok() -> StreamEvent {
    StreamEvent::Closed(Ok(()))
}

const PONG: &str = "\\0\\0\\0\\0\\x04pong +grpc-status: 0";

/// What the client and the upstream have: bodies escaped.
fn shown(scenario: Scenario) -> String {
    let outcome = scenario.run();
    let text = |received: &crate::exchange::Received| {
        let trailers = received.trailers.as_ref().map(|trailers| {
            trailers.iter().map(|(name, value)| format!(" +{name}: {}", value.to_str().unwrap())).collect::<String>()
        });
        let state = if received.cut {
            " cut"
        } else if received.complete {
            ""
        } else {
            " incomplete"
        };
        format!("{}{}{state}", received.body.escape_ascii(), trailers.unwrap_or_default())
    };
    let status = outcome.downstream.headers.status().map(|it| it.to_string()).unwrap_or_default();
    let upstream = if outcome.upstream.headers.is_empty() { "-".to_owned() } else { text(&outcome.upstream) };
    let hung = if outcome.hung { " hung" } else { "" };
    let client = text(&outcome.downstream);
    let all = format!("{status} {client}{hung} | {upstream} | {} | {}", outcome.seen(), outcome.details);
    all.replace("\\x00", "\\0")
}

macro_rules! exchanges {
    ($($name:ident: $scenario:expr => $expected:expr;)*) => {$(
        #[test]
        fn $name() {
            assert_eq!(shown($scenario), $expected.replace("\\x00", "\\0"));
        }
    )*};
}

rows! {
    env_266: mode("rb GR").sends(chunked(50, &["a"])).to(Box::new(ack)) => "D 200 hello | U a | > qh sh | 1/2/2/1";
    env_266_all_there: mode("rb GR sh K").sends(crate::exchange::post("hello")).to(crate::answers::at("qh", |_| vec![(50, answer("qh", CommonResponse::default()))]))
        => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/2/1";
    env_267: mode("rb GR rt S sb GR st S").sends(crate::exchange::chunked_t(50, &["a"])).gets(crate::exchange::uc()).to(Box::new(ack))
        => "D 200 r1r2 +x-rt: 2 | U a +x-t: 1 | > qh qt sh st | 1/4/4/1";
    a_get_has_no_messages: grpc(Q).sends(get()).gets(crate::exchange::u5()) => "D 200 hello | U  | > qh! | 1/1/1/1";
}

exchanges! {
    every_message_is_one: grpc(Q).sends(call(&["ab", "", "cde"]))
        => format!("200 {PONG} | {} | qh qb\"ab\" qb qb!\"cde\" | ", frames(&["ab", "", "cde"]).escape_ascii());
    half_close_alone: grpc(Q).sends(call(&[])) => format!("200 {PONG} |  | qh qb!- | ");
    both_directions: grpc(BOTH).sends(call(&["ab"])).gets(back(&["x", "yz"]))
        => "200 \\0\\0\\0\\0\\x01x\\0\\0\\0\\0\\x02yz +grpc-status: 0 | \\0\\0\\0\\0\\x02ab | qh qb!\"ab\" sh sb\"x\" sb\"yz\" st | ";
    headers_skipped: grpc("rh K rb GR sh K").sends(call(&["ab"])) => format!("200 {PONG} | \\0\\0\\0\\0\\x02ab | qb!\"ab\" | ");
    n_to_m: grpc(Q).sends(call(&["ab", "cd"])).to(but("qb", 1, vec![
            answer("qb", piece("one".into(), false)), answer("qb", piece("".into(), false)), answer("qb", half_close()),
        ]))
        => format!("200 {PONG} | {} | qh qb\"ab\" qb!\"cd\" | ", frames(&["ab", "one", ""]).escape_ascii());
    before_the_first_message: grpc(Q).sends(call(&["ab"])).to(Box::new(|seen| match seen.kind {
            "qh" => then(echo(seen), [answer("qb", piece("0".into(), false))]),
            _ => echo(seen),
        }))
        => format!("200 {PONG} | {} | qh qb!\"ab\" | ", frames(&["0", "ab"]).escape_ascii());
    the_end_that_is_a_message: grpc(Q).sends(call(&["ab"])).to(but("qb", 0, vec![answer("qb", piece("".into(), true))]))
        => format!("200 {PONG} | \\0\\0\\0\\0\\0 | qh qb!\"ab\" | ");
    without_message_needs_the_end: grpc(Q).sends(call(&["ab"])).to(but("qb", 0, vec![
            answer("qb", marks("m", |piece| piece.end_of_stream_without_message = true)), answer("qb", half_close()),
        ]))
        => format!("200 {PONG} | \\0\\0\\0\\0\\x01m | qh qb!\"ab\" | ");
    an_early_end_discards_the_rest: grpc(Q).sends(call(&["ab", "cd", "ef"])).to(but("qb", 0, vec![answer("qb", half_close())]))
        => format!("200 {PONG} |  | qh qb\"ab\" | ");
    headers_are_changed_though_messages_went_ahead: grpc(Q).sends(call(&["ab", "cd"])).to(Box::new(|seen| match (seen.kind, seen.nth) {
            ("qh", _) => vec![(20, answer("qh", sets(&[("x-late", "1")])))],
            ("qb", 0) => vec![(30, answer("qb", piece("late".into(), true)))],
            _ => Vec::new(),
        }))
        => format!("200 {PONG} | \\0\\0\\0\\0\\x04late | qh qb\"ab\" qb!\"cd\" | ");
    compressed_as_it_came: grpc(Q).sends(call_with(&marked(1, "zz"), 3, &[("grpc-encoding", "gzip")]))
        => format!("200 {PONG} | \\x01\\0\\0\\0\\x02zz | qh qb!z\"zz\" | ");
    compressed_out_of_nothing: grpc(Q).sends(call(&["ab"])).to(but("qb", 0, vec![answer("qb", marks("z", |it| it.grpc_message_compressed = true))]))
        => "200  |  incomplete | qh qb!\"ab\" | compressed_message_without_grpc-encoding";
    plain_reply: grpc(Q).sends(call(&["ab"])).to(but("qb", 0, vec![answer("qb", body("x"))]))
        => "200  |  incomplete | qh qb!\"ab\" | body_response_without_streamed_response_while_body_mode_is_GRPC";
    a_message_with_its_absence: grpc(Q).sends(call(&["ab"]))
        .to(but("qb", 0, vec![answer("qb", marks("x", |it| (it.end_of_stream, it.end_of_stream_without_message) = (true, true)))]))
        => "200  |  incomplete | qh qb!\"ab\" | message_with_end_of_stream_without_message";
    replacing_in_grpc: under(Profile::Strict, Q).sends(call(&["ab"])).to(says("qh", answer("qh", replacing(body("x")))))
        => "200  | - | qh | unexpected_status_CONTINUE_AND_REPLACE,_want_CONTINUE";
    the_end_of_a_response: grpc(BOTH).sends(call(&["ab"])).to(but("sb", 0, vec![answer("sb", half_close())]))
        => "200  cut | \\0\\0\\0\\0\\x02ab | qh qb!\"ab\" sh sb\"pong\" | end_of_stream_in_response_body_response";
    a_body_before_the_headers: grpc(Q).sends(call(&["ab"])).to(but("qh", 0, vec![answer("qb", piece("x".into(), false))]))
        => "200  | - | qh | spurious_message";
    after_the_end: grpc("rb GR").sends(call(&["ab"])).to(but("qb", 0, vec![answer("qb", half_close()), answer("qb", half_close())]))
        => "200  |  | qh qb!\"ab\" | spurious_message";
    a_response_that_is_not_grpc_has_no_messages: grpc(BOTH).sends(call(&["ab"])).gets(crate::exchange::u5())
        => "200 hello | \\0\\0\\0\\0\\x02ab | qh qb!\"ab\" sh | ";
    cut_short: grpc(Q).sends(call_with(b"\0\0\0\0\x05ab", 9, &[]))
        => "200  |  incomplete | qh | grpc_message_cut_short_by_the_end_of_the_body";
    unknown_flag: grpc(Q).sends(call_with(b"hello", 9, &[])) => "200  |  incomplete | qh | grpc_message_with_an_unknown_flag";
    too_large: grpc(Q).options(|it| it.max_grpc_message = 3).sends(call(&["ab", "cdef"]))
        => format!("200  | {} incomplete | qh qb\"ab\" | grpc_message_larger_than_the_limit", frame("ab").escape_ascii());
    cut_short_in_a_response: grpc(BOTH).sends(call(&["ab"])).gets(vec![
            (0, HttpEvent::Headers(headers(&[(":status", "200"), ("content-type", "application/grpc")]), false)),
            (5, HttpEvent::Data(Bytes::from_static(b"\0\0\0\0\x05ab"), false)),
            (6, HttpEvent::Trailers(headers(&[("grpc-status", "0")]))),
        ]).to(Box::new(|seen| if seen.kind == "sh" { Vec::new() } else { echo(seen) }))
        => "200  | \\0\\0\\0\\0\\x02ab | qh qb!\"ab\" sh | grpc_message_cut_short_by_the_end_of_the_body";
    an_override_to_grpc_takes_what_is_held: under(Profile::Strict, "AMO sh K").sends(call(&["ab", "cd"])).to(Box::new(|seen| match seen.kind {
            "qh" => vec![(20, with_mode(answer("qh", CommonResponse::default()), "rb GR"))],
            _ => echo(seen),
        }))
        => format!("200 {PONG} | {} | qh qb\"ab\" qb!\"cd\" | ", frames(&["ab", "cd"]).escape_ascii());
    an_override_to_grpc_with_trailers: under(Profile::Strict, "AMO sh K").sends({
            let mut parts = call(&["ab", "cd"]);
            let Some((_, HttpEvent::Data(_, end))) = parts.last_mut() else { panic!("a body") };
            *end = false;
            parts.push((5, HttpEvent::Trailers(headers(&[("x-t", "1")]))));
            parts
        }).to(Box::new(|seen| match seen.kind {
            "qh" => vec![(20, with_mode(answer("qh", CommonResponse::default()), "rb GR rt S"))],
            _ => echo(seen),
        }))
        => format!("200 {PONG} | {} +x-t: 1 | qh qb\"ab\" qb\"cd\" qt | ", frames(&["ab", "cd"]).escape_ascii());
    fails_open_before_a_message: grpc("rb GR sh K FMA").sends(call(&["ab", "cd"])).to(but("qh", 0, vec![internal()]))
        => format!("200 {PONG} | {} | qh | ", frames(&["ab", "cd"]).escape_ascii());
    fails_open_after_a_half_close: grpc("rb GR sh K FMA").sends(call(&[])).to(but("qb", 0, vec![internal()]))
        => format!("200 {PONG} |  | qh qb!- | ");
    fails_closed_after_a_message: grpc("rb GR sh K FMA").sends(call(&["ab", "cd"])).to(but("qb", 0, vec![internal()]))
        => "200  |  incomplete | qh qb\"ab\" | ext_proc_error_gRPC_error_13{boom_x}";
    ends_without_drain: grpc(Q).sends(call(&["ab", "cd"])).to(but("qb", 0, vec![ok()]))
        => "200  |  incomplete | qh qb\"ab\" | stream_closed_by_the_external_processor_without_drain";

    legacy_drain: grpc(BOTH).sends(call(&["ab", "cd", "ef"])).to(but("qb", 0, vec![drain(), answer("qb", piece("AB".into(), false)), ok()]))
        => format!("200 {PONG} | {} | qh qb\"ab\" | ", frames(&["AB", "cd", "ef"]).escape_ascii());
    legacy_drain_before_the_headers_are_answered: grpc(Q).sends(call(&["ab", "cd"]))
        .to(but("qh", 0, vec![drain(), answer("qh", sets(&[("x-a", "1")])), ok()]))
        => format!("200 {PONG} | {} | qh | ", frames(&["ab", "cd"]).escape_ascii());
    legacy_drain_fails: grpc(Q).sends(call(&["ab", "cd"])).to(but("qb", 0, vec![drain(), internal()]))
        => "200  |  incomplete | qh qb\"ab\" | ext_proc_error_gRPC_error_13{boom_x}";
    legacy_drain_of_a_response: grpc(BOTH).sends(call(&["ab"])).gets(back(&["x", "yz"]))
        .to(but("sh", 0, vec![answer("sh", CommonResponse::default()), drain(), ok()]))
        => "200 \\0\\0\\0\\0\\x01x\\0\\0\\0\\0\\x02yz +grpc-status: 0 | \\0\\0\\0\\0\\x02ab | qh qb!\"ab\" sh | ";
    drain_of_requests: grpc(Q).sends(call(&["ab", "cd", "ef"])).to(Box::new(|seen| match (seen.kind, seen.nth) {
            ("qb", 0) => vec![(0, drain_requests())],
            ("qb", _) => vec![(0, answer("qb", piece("AB".into(), false))), (0, answer("qb", drained())), (1, ok())],
            _ => echo(seen),
        }))
        => format!("200 {PONG} | {} | qh qb\"ab\" qb~ | ", frames(&["AB", "cd", "ef"]).escape_ascii());
    drain_of_responses: grpc(BOTH).sends(call(&["ab"])).gets(back(&["x", "yz"])).to(Box::new(|seen| match (seen.kind, seen.nth) {
            ("qh", _) => then(echo(seen), [drain_responses()]),
            _ => echo(seen),
        }))
        => "200 \\0\\0\\0\\0\\x01x\\0\\0\\0\\0\\x02yz +grpc-status: 0 | \\0\\0\\0\\0\\x02ab | qh qb!\"ab\" sh sb~ st | ";
    drain_complete_without_a_drain: grpc(Q).sends(call(&["ab"])).to(but("qb", 0, vec![answer("qb", drained())]))
        => "200  |  incomplete | qh qb!\"ab\" | unexpected_drain_complete";
    drained_twice: grpc(Q).sends(call(&["ab", "cd"])).to(Box::new(|seen| match (seen.kind, seen.nth) {
            ("qb", 0) => then(echo(seen), [drain_requests()]),
            ("qb", _) => vec![(0, answer("qb", drained())), (0, answer("qb", drained()))],
            _ => echo(seen),
        }))
        => format!("200 {PONG} | {} | qh qb\"ab\" qb~ | ", frames(&["ab", "cd"]).escape_ascii());
}

fn windows(options: &mut Options) {
    (options.grpc_flow_control, options.grpc_window) = (FlowControl::Required, 4);
}

fn auto(options: &mut Options) {
    (options.grpc_flow_control, options.grpc_window) = (FlowControl::Auto, 4);
}

fn init(scenario: Scenario) -> bool {
    scenario.run().wire[0][0].flow_control_init.is_some()
}

#[test]
fn windows_are_told_with_the_first_message_and_only_for_grpc_bodies() {
    assert!(init(grpc(Q).sends(call(&["a"]))));
    assert!(init(grpc("rh K rb GR sh K").sends(call(&["a"]))));
    assert!(!init(grpc(Q).sends(call(&["a"])).options(|it| it.grpc_flow_control = FlowControl::Off)));
    assert!(!init(mode(Q).sends(chunked(0, &["a"])).to(Box::new(ack))));
    assert!(!init(grpc("rb FD rt S sh K").sends(chunked(0, &["a"]))));
}

exchanges! {
    a_window_is_used_up: grpc(Q).options(windows).sends(call(&["abc", "de", "fg"])).to(Box::new(|seen| match (seen.kind, seen.nth) {
            ("qb", 1) => vec![(50, room(2, 0)), (60, answer("qb", half_close()))],
            _ => echo(seen),
        }))
        => format!("200 {PONG} | {} | qh qb\"abc\" w qb\"de\" qb!\"fg\" | ", frames(&["abc", "fg"]).escape_ascii());
    no_room_no_reading: grpc(Q).options(windows).sends(call(&["abcd", "efgh", "ijkl"])).to(but("qb", 0, Vec::new()))
        => "  incomplete hung |  incomplete | qh qb\"abcd\" | ";
    processors_without_windows_are_not_held_to_them: grpc(Q).options(auto).sends(call(&["abcd", "efgh", "ijkl"]))
        => format!("200 {PONG} | {} | qh qb\"abcd\" qb\"efgh\" qb!\"ijkl\" | ", frames(&["abcd", "efgh", "ijkl"]).escape_ascii());
    an_overflow: grpc(Q).options(windows).sends(call(&["ab"])).to(but("qb", 0, vec![room(i64::MAX, 0)]))
        => "200  |  incomplete | qh qb!\"ab\" | flow_control_window_overflow";
    windows_where_there_are_none: under(Profile::Strict, "sh K").sends(get()).to(but("qh", 0, vec![room(1, 0)]))
        => "500 ext_proc: server_window_update_without_flow_control_init\\n | - | qh! | server_window_update_without_flow_control_init";
    more_than_the_window: under(Profile::Strict, Q).options(auto).sends(call(&["ab"])).to(but("qb", 0, vec![
            answer("qb", piece("12345".into(), false)), answer("qb", piece("6".into(), true)),
        ]))
        => "200  | \\0\\0\\0\\0\\x0512345 incomplete | qh qb!\"ab\" | message_exceeds_the_flow_control_window";
}

#[test]
fn room_is_given_back_alone_or_with_a_message() {
    let scenario = grpc(Q).options(windows).sends(call(&["abcd", "e", "fghijkl"])).to(Box::new(|seen| {
        match (seen.kind, seen.nth) {
            ("qh", _) => then(echo(seen), [room(100, 0)]),
            _ => echo(seen),
        }
    }));
    let outcome = scenario.run();
    let given: Vec<_> = outcome.wire[0]
        .iter()
        .map(|message| message.client_window_update.map_or(0, |it| it.window_increment_sidestream_to_upstream))
        .collect();
    assert_eq!(outcome.seen(), "qh qb\"abcd\" w qb\"e\" qb!\"fghijkl\"");
    assert_eq!(given, [0, 0, 4, 0, 1]);
}
