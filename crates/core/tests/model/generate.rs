//! Random configurations, and random exchanges that mostly make sense: what comes next is chosen by looking at the model.

pub(crate) mod replies;

use std::sync::Arc;
use std::time::Duration;

use extproc_core::chain::Peer;
use extproc_core::config::RouteCacheAction;
use extproc_core::rules::{ForwardRules, MutationRules, NameMatcher, NamePattern};
use extproc_core::{BodyMode, Config, Direction, Options, ProcessingMode, Profile};

use crate::drive::Play;
use crate::mutate::Map;
use crate::predict::{Source, at};
use crate::rng::Rng;
use crate::script::{Script, Step};

/// Plays an exchange while it is made up.
pub(crate) fn exchange(rng: &mut Rng) -> (Script, Result<(), String>) {
    let config = Arc::new(Config::new(options(rng)).unwrap());
    let mut script = Script { config, steps: Vec::new() };
    let mut play = Play::new(&script);
    // In how many of a hundred replies the processor is wrong.
    let wrong = rng.pick(&[0, 3, 10, 40]);
    let lazy = rng.percent(25);
    let mut letter = 0;
    for _ in 0..8 + rng.below(30) {
        let mut next = vec![choose(rng, &play, wrong, &mut letter)];
        if !lazy {
            next.extend([Step::TakeMessages, Step::Take(Direction::Request), Step::Take(Direction::Response)]);
        }
        for step in next {
            script.steps.push(step.clone());
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play.step(&step)));
            match done {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return (script, Err(error)),
                Err(_) => return (script, Err("a panic".to_owned())),
            }
        }
        if rng.is_over() || play.model.over && rng.percent(60) {
            break;
        }
    }
    (script, Ok(()))
}

fn choose(rng: &mut Rng, play: &Play, wrong: usize, letter: &mut u8) -> Step {
    let model = &play.model;
    if model.lanes[0].source == Source::Start && !rng.percent(2) {
        return part(rng, play, Direction::Request, letter);
    }
    let open = model.is_open();
    match rng.below(100) {
        0..30 => part(rng, play, Direction::Request, letter),
        30..48 => {
            let direction =
                if model.upstream_has_headers() || rng.percent(3) { Direction::Response } else { Direction::Request };
            part(rng, play, direction, letter)
        }
        48..85 if open => replies::reply(rng, model, wrong),
        48..85 if rng.percent(60) => part(rng, play, Direction::Response, letter),
        48..85 => Step::TakeMessages,
        85..88 => Step::TakeMessages,
        88..90 => Step::Take(Direction::Request),
        90..92 => Step::Take(Direction::Response),
        92..95 => Step::Wait(rng.pick(&[0, 1, 50, 120, 250])),
        95 if rng.percent(60) => Step::Timeout,
        96 if rng.percent(50) => Step::Closed(rng.pick(&[None, None, Some(13), Some(14)])),
        97 if rng.percent(20) => Step::Respond(rng.pick(&[503, 504]), rng.pick(&[&b""[..], b"no upstream"]).to_vec()),
        98 if rng.percent(20) => Step::GiveUp(rng.pick(&[Peer::Downstream, Peer::Upstream])),
        99 if rng.percent(15) => Step::Finish,
        _ => Step::Wait(rng.pick(&[0, 5])),
    }
}

/// The next part of a direction. Now and then one that cannot come.
fn part(rng: &mut Rng, play: &Play, direction: Direction, letter: &mut u8) -> Step {
    let source = if rng.percent(1) { Source::Open } else { play.model.lanes[at(direction)].source };
    match source {
        Source::Start => Step::Headers(direction, headers(rng, direction), rng.percent(15)),
        // What is not wanted is not read.
        Source::Open if !play.model.wants(direction) && rng.percent(90) => Step::Take(direction),
        Source::Open if rng.percent(12) => Step::Trailers(direction, trailers(rng)),
        Source::Open => {
            let length = if rng.percent(10) { 0 } else { 1 + rng.below(12) };
            let data = (0..length).map(|_| {
                *letter = (*letter + 1) % 26;
                b'a' + *letter
            });
            Step::Data(direction, data.collect(), rng.percent(25))
        }
        Source::Ended => Step::Take(direction),
    }
}

fn pair(name: &str, value: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), value.to_vec())
}

pub(crate) fn headers(rng: &mut Rng, direction: Direction) -> Map {
    let mut map = match direction {
        Direction::Request => {
            let method: &[u8] = if rng.percent(4) { b"HEAD" } else { b"POST" };
            vec![pair(":method", method), pair(":path", b"/p"), pair(":authority", b"h")]
        }
        Direction::Response => vec![pair(":status", b"207")],
    };
    if rng.percent(4) {
        map.push(pair("content-type", b"application/grpc"));
    }
    if rng.percent(40) {
        map.push(pair("content-length", rng.pick(&[&b"0"[..], b"3", b"8", b"12"])));
    }
    for _ in 0..rng.below(3) {
        map.push(pair(rng.pick(&["x-a", "x-b", "x-envoy-a"]), rng.pick(&[&b"1"[..], b"", b"two"])));
    }
    map
}

pub(crate) fn trailers(rng: &mut Rng) -> Map {
    (0..rng.below(3)).map(|_| pair(rng.pick(&["x-a", "x-t"]), rng.pick(&[&b"1"[..], b""]))).collect()
}

fn options(rng: &mut Rng) -> Options {
    use BodyMode::{Buffered, BufferedPartial, FullDuplexStreamed, Grpc, None, Streamed};
    let profile = match rng.below(10) {
        0 => Profile::Strict,
        1 => Profile::Agentgateway,
        2 => Profile::Grpc,
        _ => Profile::Envoy,
    };
    let mut bodies = vec![None, Streamed, Streamed, Buffered, BufferedPartial, FullDuplexStreamed];
    if profile == Profile::Envoy {
        bodies.push(Grpc);
    }
    let [request_body, response_body] = [rng.pick(&bodies), rng.pick(&bodies)];
    let allow_mode_override = rng.percent(35);
    let matcher = |pattern| NameMatcher { pattern, ignore_case: false };
    let mode = |rng: &mut Rng, request_body, response_body| ProcessingMode {
        request_headers: rng.percent(85),
        response_headers: rng.percent(85),
        request_body,
        response_body,
        request_trailers: request_body == FullDuplexStreamed || rng.percent(40),
        response_trailers: response_body == FullDuplexStreamed || rng.percent(40),
    };
    Options {
        profile,
        processing_mode: mode(rng, request_body, response_body),
        message_timeout: Duration::from_millis(rng.pick(&[200, 200, 200, 40, 0])),
        max_message_timeout: Duration::from_millis(rng.pick(&[0, 500])),
        failure_mode_allow: rng.percent(50),
        status_on_error: rng.pick(&[500, 503, 429, 200]),
        allow_mode_override,
        allowed_override_modes: if rng.percent(70) {
            Vec::new()
        } else {
            let [request, response] = [rng.pick(&bodies), rng.pick(&bodies)];
            vec![mode(rng, request, response), mode(rng, FullDuplexStreamed, None)]
        },
        disable_immediate_response: rng.percent(10),
        send_body_without_waiting_for_header_response: rng.percent(if allow_mode_override { 5 } else { 25 }),
        allow_content_length_header: rng.percent(15),
        mutation_rules: mutation_rules(rng),
        forward_rules: ForwardRules {
            allowed: rng.percent(8).then(|| vec![matcher(NamePattern::Prefix("x-".to_owned()))]),
            disallowed: if rng.percent(8) { vec![matcher(NamePattern::Exact("x-a".to_owned()))] } else { Vec::new() },
        },
        route_cache_action: rng.pick(&[RouteCacheAction::Default, RouteCacheAction::Clear, RouteCacheAction::Retain]),
        replay_buffer: rng.pick(&[0, 0, 20, 1_000]),
        buffer_limit: if rng.percent(50) { 1 + rng.below(40) } else { 1 << 20 },
        max_headers: if rng.percent(6) { 6 } else { 100 },
        ..Options::default()
    }
}

pub(crate) fn mutation_rules(rng: &mut Rng) -> MutationRules {
    let expression = |rng: &mut Rng, percent| {
        rng.percent(percent).then(|| regex::Regex::new(rng.pick(&["x-a", "x-.*", ":path|host", "x-a|x-b"])).unwrap())
    };
    MutationRules {
        allow_all_routing: rng.percent(20),
        allow_envoy: rng.percent(20),
        disallow_system: rng.percent(10),
        disallow_all: rng.percent(5),
        allow_expression: expression(rng, 3),
        disallow_expression: expression(rng, 3),
        disallow_is_error: rng.percent(15),
    }
}
