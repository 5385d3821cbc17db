//! 10.11 mode override, 10.12 standalone.

use std::time::Duration;

use extproc_core::filter::{HttpEvent, StreamEvent};
use extproc_core::{BodyMode, ProcessingMode};
use extproc_proto::{BodySendMode, CommonResponse, HeaderSendMode, ProcessingResponse};

use crate::answers::{ack, answer, body, piece, says, sets};
use crate::exchange::{Scenario, Seen, chunked, chunked_t, get, post, reply, uc};
use crate::{Processor, mode, rows};

/// A mode override in the shorthand of the catalogue.
fn override_of(text: &str) -> extproc_proto::ProcessingMode {
    let mut mode = extproc_proto::ProcessingMode::default();
    let words: Vec<_> = text.split_whitespace().collect();
    for pair in words.chunks(2) {
        let header = || if pair[1] == "S" { HeaderSendMode::Send.into() } else { HeaderSendMode::Skip.into() };
        let body = || match pair[1] {
            "NO" => BodySendMode::None.into(),
            "ST" => BodySendMode::Streamed.into(),
            "BU" => BodySendMode::Buffered.into(),
            "BP" => BodySendMode::BufferedPartial.into(),
            "FD" => BodySendMode::FullDuplexStreamed.into(),
            "GR" => BodySendMode::Grpc.into(),
            other => panic!("body mode {other}"),
        };
        match pair[0] {
            "rh" => mode.request_header_mode = header(),
            "sh" => mode.response_header_mode = header(),
            "rb" => mode.request_body_mode = body(),
            "sb" => mode.response_body_mode = body(),
            "rt" => mode.request_trailer_mode = header(),
            "st" => mode.response_trailer_mode = header(),
            other => panic!("mode word {other}"),
        }
    }
    mode
}

pub(crate) fn with_mode(event: StreamEvent, text: &str) -> StreamEvent {
    let StreamEvent::Reply(message) = event else { panic!("no reply") };
    reply(ProcessingResponse { mode_override: Some(override_of(text)), ..*message })
}

pub(crate) fn alone(text: &str) -> StreamEvent {
    reply(ProcessingResponse { mode_override: Some(override_of(text)), ..ProcessingResponse::default() })
}

/// The override with the acknowledgement of this kind of message.
fn asks_at(kind: &'static str, text: &'static str) -> Processor {
    says(kind, with_mode(answer(kind, CommonResponse::default()), text))
}

fn asks(text: &'static str) -> Processor {
    asks_at("qh", text)
}

fn upper(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    match seen.kind {
        "qb" | "sb" => vec![(0, answer(seen.kind, piece(seen.body.to_ascii_uppercase().into(), seen.end)))],
        _ => ack(seen),
    }
}

/// Says this at the request headers, so long after; echoes bodies as full duplex, in upper case.
fn duplex_after(events: Vec<(u64, StreamEvent)>) -> Processor {
    Box::new(move |seen| if seen.kind == "qh" { events.clone() } else { upper(seen) })
}

const O: &str = "rb FD rt S sh K";

/// The override alone after so long, then the answer to the headers.
fn standalone(ms: u64) -> Processor {
    duplex_after(vec![(ms, alone(O)), (ms, answer("qh", CommonResponse::default()))])
}

fn allowed(scenario: Scenario, modes: &[&str]) -> Scenario {
    let modes = modes.iter().map(|text| {
        let wire = override_of(text);
        let send = |mode, default| if mode == 0 { default } else { mode == 1 };
        let body = |mode| match mode {
            1 => BodyMode::Streamed,
            2 => BodyMode::Buffered,
            4 => BodyMode::FullDuplexStreamed,
            _ => BodyMode::None,
        };
        ProcessingMode {
            request_headers: send(wire.request_header_mode, true),
            response_headers: send(wire.response_header_mode, true),
            request_body: body(wire.request_body_mode),
            response_body: body(wire.response_body_mode),
            request_trailers: send(wire.request_trailer_mode, false),
            response_trailers: send(wire.response_trailer_mode, false),
        }
    });
    let modes = modes.collect();
    scenario.options(|options| options.allowed_override_modes = modes)
}

fn p(text: &str) -> Scenario {
    mode(text).sends(post("hello"))
}

rows! {
    env_281: p("rb ST").to(asks("rb BU sh K")) => "D 200 hello | U hello | > qh qb!\"hello\" sh | 1/3/3/1";
    env_282: p("rb BU AMO").to(asks("rb NO sh K")) => "D 200 hello | U hello | > qh | 1/1/1/1";
    env_283: p("rb BU sb BU AMO").to(asks("sh K")) => "D 200 hello | U hello | > qh | 1/1/1/1";
    env_284: mode("sh K AMO").to(asks("sh S sb BU")) => "D 200 hello | U  | > qh! sh sb!\"hello\" | 1/3/3/1";
    env_286: p("rb BU AMO").to(asks_at("qb", "sb BU")) => "D 200 hello | U hello | > qh qb!\"hello\" sh | 1/3/3/1";
    env_287: mode("AMO").sends(chunked_t(50, &["aa"])).to(asks("rt S sh K"))
        => "D 200 hello | U aa +x-t: 1 | > qh qt | 1/2/2/1";
    env_288: mode("AMO").sends(chunked(50, &["aa", "bb"])).to(asks("rb ST sh K"))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" qb! | 1/4/4/1";
    env_289: p("AMO").to(asks("rb ST sh K")) => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/2/1";
    env_291: mode("rb FD rt S AMO").sends(chunked(50, &["aa"])).to(Box::new(ignored))
        => "D 200 hello | U AA | > qh qb\"aa\" qb! sh | 1/4/4/1";
    env_292: allowed(p("AMO"), &["rb BU sh K"]).to(asks("rb BU sh K"))
        => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/2/1";
    env_293: allowed(p("AMO"), &["rb ST sh K"]).to(asks("rb BU sh K")) => "D 200 hello | U hello | > qh sh | 1/2/2/1";
    env_294: allowed(p("AMO"), &["rb BU"]).to(asks("rb BU"))
        => "D 200 hello | U hello | > qh qb!\"hello\" sh | 1/3/3/1";
    env_296: allowed(p("AMO"), &["rh K rb BU sh K"]).to(asks("rb BU sh K"))
        => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/2/1";
    env_297: mode("rb BU AMO SBW").sends(chunked(50, &["aa"])).to(asks("rb NO sh K"))
        => "D 200 hello | U aa | > qh qb!\"aa\" sh | 1/3/3/1";
    env_298: p("rb ST AMO").to(asks("rb ST sh K sb ST"))
        => "D 200 hello | U hello | > qh qb!\"hello\" sb!\"hello\" | 1/3/3/1";
    env_299: mode("AMO").to(at_sh("sb FD st S")) => "D 200 HELLO | U  | > qh! sh sb!\"hello\" | 1/3/3/1";
    env_299_partial: mode("AMO").gets(uc()).to(asks_at("sh", "sb BP st S"))
        => "D 200 r1r2 +x-rt: 2 | U  | > qh! sh sb\"r1r2\" st | 1/4/4/1";
    agw_7b: mode("AMO").gets(uc()).to(Box::new(gives_up_duplex))
        => "D 200 R1R2 +x-rt: 2 | U  | > qh! sh sb\"r1\" sb\"r2\" st | 1/5/5/1";
    env_301: p("AMO").to(standalone(0)) => "D 200 hello | U HELLO | > qh qb!\"hello\" | 1/2/2/1";
    env_302: mode("rb ST AMO").sends(chunked(50, &["aa", "bb", "cc"])).to(standalone(80))
        => "D 200 hello | U AABBCC | > qh qb\"aa\" qb\"bb\" qb\"cc\" qb! | 1/5/5/1";
    env_303: mode("rb ST AMO").sends(chunked(30, &["aa", "bb"])).to(standalone(180))
        => "D 200 hello | U AABB | > qh qb!\"aabb\" | 1/2/2/1";
    env_304: mode("AMO").sends(chunked_t(30, &["aa", "bb"])).to(standalone(180))
        => "D 200 hello | U AABB +x-t: 1 | > qh qb\"aabb\" qt | 1/3/3/1";
    env_306: mode("rb ST AMO").sends(chunked(50, &["aa"])).to(says("qh", alone("rb FD")))
        => "D 500 | U - | > qh | 1/1/0/1 spur1 imm1";
    env_306_to_buffered: mode("rb ST AMO").sends(chunked(50, &["aa"])).to(says("qh", alone("rb BU")))
        => "D 500 | U - | > qh | 1/1/0/1 spur1 imm1";
    env_306_from_buffered: mode("rb BU AMO").sends(chunked(50, &["aa"])).to(says("qh", alone(O)))
        => "D 500 | U - | > qh | 1/1/0/1 spur1 imm1";
    env_307: mode("rb ST").sends(chunked(50, &["aa"])).to(says("qh", alone(O)))
        => "D 500 | U - | > qh | 1/1/0/1 spur1 imm1";
    env_307_list: allowed(mode("rb ST AMO"), &["rb BU"]).sends(chunked(50, &["aa"])).to(says("qh", alone(O)))
        => "D 500 | U - | > qh | 1/1/0/1 spur1 imm1";
    env_308: mode("AMO").to(says("qh", alone("sb BU"))) => "D 500 | U - | > qh! | 1/1/0/1 spur1 imm1";
    env_309: mode("AMO").sends(chunked(50, &["aa"])).to(duplex_after(vec![(0, alone(O)), (0, alone(O))]))
        => "D 500 | U - | > qh | 1/1/0/1 spur1 imm1";
    env_311: mode("AMO").sends(chunked(50, &["aa"])).to(Box::new(duplex_then_buffered))
        => "D 200 hello | U AA | > qh qb\"aa\" qb! sh sb!\"hello\" | 1/5/5/1";
    env_312: mode("AMO").options(|o| o.message_timeout = Duration::from_millis(100)).sends(chunked(200, &["aa"]))
        .to(duplex_after(vec![(50, alone(O)), (150, answer("qh", CommonResponse::default()))]))
        => "D 200 hello | U AA | > qh qb\"aa\" qb! | 1/3/3/1";
    env_313: mode("AMO").sends(get()).to(says("qh", alone(O))) => "D 504 | U - | > qh! | 1/1/0/1 tmo1 imm1";
    env_314: mode("rb ST AMO FMA").sends(chunked(50, &["aa"])).to(says("qh", alone("rb BU")))
        => "D 200 hello | U aa | > qh | 1/1/0/1 spur1 fma1";
    standalone_at_the_body: mode("rb ST AMO").sends(chunked(50, &["aa"])).to(says("qb", alone(O)))
        => "D 500 | U incomplete | > qh qb\"aa\" | 1/2/1/1 spur1 imm1";
}

fn ignored(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    if seen.kind == "qh" {
        return vec![(0, with_mode(answer("qh", CommonResponse::default()), "rb NO sh K"))];
    }
    upper(seen)
}

fn at_sh(text: &'static str) -> Processor {
    Box::new(move |seen| {
        if seen.kind == "sh" {
            vec![(0, with_mode(answer("sh", CommonResponse::default()), text))]
        } else {
            upper(seen)
        }
    })
}

fn gives_up_duplex(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    match seen.kind {
        "qh" => vec![(0, with_mode(answer("qh", CommonResponse::default()), "sb FD st S"))],
        "sh" => vec![(80, with_mode(answer("sh", CommonResponse::default()), "sb NO"))],
        "sb" => upper(seen).into_iter().map(|(_, event)| (100, event)).collect(),
        "st" => vec![(100, answer("st", CommonResponse::default()))],
        _ => ack(seen),
    }
}

fn duplex_then_buffered(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    match seen.kind {
        "qh" => vec![(0, alone("rb FD rt S sh S sb BU")), (0, answer("qh", CommonResponse::default()))],
        "qb" => upper(seen),
        _ => ack(seen),
    }
}

#[test]
fn lengths_are_dropped_with_the_mode_that_changes_them() {
    for (what, scenario, length) in [
        ("ENV-289: whole", p("AMO").to(asks("rb ST sh K")), "content-length: 5"),
        ("to NONE", p("rb BU AMO").to(asks("rb NO")), "content-length: 5"),
        ("ENV-301: full duplex", p("AMO").to(standalone(0)), ""),
        (
            "header-only",
            mode("AMO").sends(crate::exchange::request("POST", &[("content-length", "0")])).to(asks("rb ST sh K")),
            "content-length: 0",
        ),
    ] {
        assert_eq!(scenario.run().upstream.only(&["content-length"]), length, "{what}");
    }
    let mut slow = post("hello");
    slow[1].0 = 50;
    let outcome = mode("AMO").sends(slow).to(Box::new(longer)).run();
    assert_eq!(outcome.u(), "hello and more");
    assert_eq!(outcome.upstream.only(&["content-length", "x-a"]), "x-a: 1", "still to come, streamed");
}

fn longer(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    match seen.kind {
        "qh" => vec![(0, with_mode(answer("qh", sets(&[("x-a", "1"), ("content-length", "5")])), "rb ST sh K"))],
        "qb" => vec![(0, answer("qb", body("hello and more")))],
        _ => ack(seen),
    }
}

#[test]
fn a_whole_body_that_became_streamed_is_checked_against_its_length() {
    let outcome = p("AMO").to(Box::new(longer_whole)).run();
    assert_eq!(crate::line(&outcome), "D 500 | U - | > qh qb!\"hello\" | 1/2/2/1 imm1");
}

fn longer_whole(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    match seen.kind {
        "qh" => vec![(0, with_mode(answer("qh", CommonResponse::default()), "rb ST sh K"))],
        _ => vec![(0, answer("qb", body("hello and more")))],
    }
}

#[test]
fn the_length_goes_when_the_data_is_still_to_come() {
    let early = chunked(50, &["aa"]).into_iter().map(|(ms, event)| match event {
        HttpEvent::Headers(mut headers, end) => {
            headers.append(extproc_core::headers::Name::from_static("content-length"), 2_u64.into());
            (ms, HttpEvent::Headers(headers, end))
        }
        other => (ms, other),
    });
    let outcome = mode("AMO").sends(early.collect()).to(asks("rb ST sh K")).run();
    assert_eq!((outcome.u().as_str(), outcome.upstream.only(&["content-length"]).as_str()), ("aa", ""));
}
