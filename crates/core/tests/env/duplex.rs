//! 10.9 FULL_DUPLEX_STREAMED.

use extproc_core::filter::StreamEvent;
use extproc_proto::CommonResponse;

use crate::answers::{ack, answer, at, body, piece, replacing, says, sets, streamed};
use crate::exchange::{Scenario, Seen, chunked, chunked_t, get, internal, large, post, reply, uc};
use crate::{Processor, mode, rows};

const FD: &str = "rb FD rt S sh K";
const FMA: &str = "rb FD rt S sh K FMA";
/// Both directions.
const BOTH: &str = "rb FD rt S sb FD st S";
const RESPONSE: &str = "rh K sb FD st S";

/// Gives back every piece of body as it came, and acknowledges the rest.
fn echo(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    match seen.kind {
        "qb" | "sb" => vec![(0, answer(seen.kind, piece(seen.body.clone(), seen.end)))],
        _ => ack(seen),
    }
}

/// Echoes, but says this to one kind of message.
fn but(kind: &'static str, events: Vec<StreamEvent>) -> Processor {
    Box::new(
        move |seen| {
            if seen.kind == kind { events.iter().map(|event| (0, event.clone())).collect() } else { echo(seen) }
        },
    )
}

/// Echoes, but says this to the nth message of one kind.
fn but_nth(kind: &'static str, nth: usize, event: StreamEvent) -> Processor {
    Box::new(move |seen| if (seen.kind, seen.nth) == (kind, nth) { vec![(0, event.clone())] } else { echo(seen) })
}

/// Says nothing until this message, and then all of it.
fn waits_for(kind: &'static str, end: bool, events: Vec<StreamEvent>) -> Processor {
    Box::new(move |seen| {
        if seen.kind == kind && seen.end == end {
            events.iter().map(|event| (0, event.clone())).collect()
        } else {
            Vec::new()
        }
    })
}

/// Five seconds for everything.
fn slow(seen: &Seen) -> Vec<(u64, StreamEvent)> {
    if !seen.end {
        return Vec::new();
    }
    vec![(5_000, answer("qh", CommonResponse::default())), (5_000, answer("qb", streamed("late", true)))]
}

fn fd() -> Scenario {
    mode(FD).to(Box::new(echo))
}

fn cl(scenario: Scenario) -> Scenario {
    scenario.options(|options| options.allow_content_length_header = true)
}

fn ok() -> StreamEvent {
    StreamEvent::Closed(Ok(()))
}

fn late_header() -> CommonResponse {
    sets(&[("x-late", "1")])
}

rows! {
    env_241: fd().sends(chunked(0, &["hello"])) => "D 200 hello | U hello | > qh qb\"hello\" qb! | 1/3/3/1";
    env_242: fd().sends(post("abc")) => "D 200 hello | U abc | > qh qb!\"abc\" | 1/2/2/1";
    env_243: cl(fd()).sends(post("hello")) => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/2/1";
    env_244: cl(mode(FD)).sends(post("hello")).to(at("qb", |_| vec![(0, answer("qb", streamed("hello", true)))]))
        => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/2/1";
    env_246: mode(FD).sends(chunked(50, &["aa", "bb"])).to(waits_for("qb", true, vec![
            answer("qh", late_header()), answer("qb", streamed("one", false)), answer("qb", streamed("two", false)),
            answer("qb", streamed("three", false)), answer("qb", streamed("", true)),
        ]))
        => "D 200 hello | U onetwothree | > qh qb\"aa\" qb\"bb\" qb! | 1/4/5/1";
    env_247: mode(FD).sends(chunked_t(50, &["aa", "bb"])).to(waits_for("qt", false, vec![
            answer("qh", late_header()), answer("qb", streamed("one", false)), answer("qb", streamed("two", false)),
            answer("qb", streamed("three", false)), answer("qt", sets(&[("x-tnew", "1")])),
        ]))
        => "D 200 hello | U onetwothree +x-t: 1 +x-tnew: 1 | > qh qb\"aa\" qb\"bb\" qt | 1/4/5/1";
    env_248: mode(FD).sends(get()) => "D 200 hello | U  | > qh! | 1/1/1/1";
    env_249: fd().sends(chunked_t(0, &[])) => "D 200 hello | U +x-t: 1 | > qh qt | 1/2/2/1";
    env_249_no_trailers: fd().sends(chunked(0, &[])) => "D 200 hello | U  | > qh qb! | 1/2/2/1";
    env_252: mode(FD).sends(chunked(50, &["aa"])).to(says("qh", answer("qb", streamed("x", false))))
        => "D 500 | U - | > qh | 1/1/0/1 spur1 imm1";
    env_253: mode(FMA).sends(chunked(50, &["aa", "bb"])).to(says("qh", internal()))
        => "D 200 hello | U aabb | > qh | 1/1/0/1 fail1 half2 fma1";
    env_254: mode(FMA).sends(chunked(50, &["aa", "bb"])).to(says("qb", internal()))
        => "D 500 | U incomplete | > qh qb\"aa\" | 1/2/1/0 fail1 half1 imm1";
    env_254_in_headers: mode(FMA).sends(chunked(50, &["aa", "bb"])).to(waits_for("qb", false, vec![internal()]))
        => "D 500 | U - | > qh qb\"aa\" | 1/2/0/0 fail1 half1 imm1";
    env_254_all_back: mode("rb FD rt S FMA").sends(chunked(50, &["aa"])).to(but("sh", vec![internal()]))
        => "D 200 hello | U aa | > qh qb\"aa\" qb! sh | 1/4/3/1 fail1 half2 fma1";
    env_256: mode(FD).sends(chunked(50, &["aa", "bb"])).to(but_nth("qb", 1, ok()))
        => "D 500 | U aa incomplete | > qh qb\"aa\" qb\"bb\" | 1/3/2/1 half1 imm1";
    env_256_nothing_back: mode(FD).sends(chunked(50, &["aa", "bb"])).to(waits_for("qb", true, vec![ok()]))
        => "D 500 | U - | > qh qb\"aa\" qb\"bb\" qb! | 1/4/0/1 half1 imm1";
    env_256_no_body_yet: mode(FD).sends(chunked(50, &["aa", "bb"])).to(says("qh", ok()))
        => "D 200 hello | U aabb | > qh | 1/1/0/1 half1";
    env_256_after_the_end: mode("rb FD rt S").sends(chunked(50, &["aa"])).to(but("sh", vec![ok()]))
        => "D 200 hello | U aa | > qh qb\"aa\" qb! sh | 1/4/3/1 half1";
    env_256_trailers_only: mode(FD).sends(chunked_t(0, &[])).to(but("qt", vec![ok()]))
        => "D 200 hello | U +x-t: 1 | > qh qt | 1/2/1/1 half1";
    env_257: mode(RESPONSE).gets(uc()).to(Box::new(echo))
        => "D 200 r1r2 +x-rt: 2 | U  | > sh sb\"r1\" sb\"r2\" st | 1/4/4/1";
    env_258: mode(RESPONSE).to(waits_for("sb", true, vec![
            answer("sh", late_header()), answer("sb", streamed("x", false)), answer("sb", streamed("y", true)),
        ]))
        => "D 200 xy | U  | > sh sb!\"hello\" | 1/2/3/1";
    env_259: mode(RESPONSE).gets(uc()).to(but("sb", vec![internal()]))
        => "D 200 cut | U  | > sh sb\"r1\" | 1/2/1/0 fail1 half1 imm1";
    env_261: mode(FD).sends(chunked(50, &["aa", "bb", "cc"])).to(says("qb", answer("qb", streamed("early", true))))
        => "D 200 hello | U early | > qh qb\"aa\" | 1/2/2/1";
    env_262: mode(FD).sends(chunked_t(50, &["aa"])).to(but("qt", vec![answer("qb", streamed("tail", true))]))
        => "D 200 hello | U aatail +x-t: 1 | > qh qb\"aa\" qt | 1/3/3/1";
    env_262_both: mode("rb FD rt S").sends(chunked_t(50, &["aa"])).to(but("qt", vec![
            answer("qb", streamed("tail", true)), answer("qt", CommonResponse::default()),
        ]))
        => "D 200 hello | U aatail +x-t: 1 | > qh qb\"aa\" qt sh | 1/4/5/1";
    env_263: mode(FD).sends(chunked(50, &["aa"])).to(but_nth("qb", 1, answer("qt", CommonResponse::default())))
        => "D 200 hello | U aa | > qh qb\"aa\" qb! | 1/3/3/1";
    env_264: mode(BOTH).sends(chunked_t(50, &["aa"])).gets(uc()).to(Box::new(echo))
        => "D 200 r1r2 +x-rt: 2 | U aa +x-t: 1 | > qh qb\"aa\" qt sh sb\"r1\" sb\"r2\" st | 1/7/7/1";
    env_268: mode(FD).sends(chunked(50, &["aa"])) => "D 500 | U incomplete | > qh qb\"aa\" | 1/2/1/1 spur1 imm1";
    env_176: mode(FD).sends(chunked(50, &["aa"])).to(says("qh", answer("qh", replacing(body("new")))))
        => "D 200 hello | U new | > qh | 1/1/1/1";
    replaced_without_its_body: mode(FD).sends(chunked(50, &["aa"])).to(waits_for("qb", false, vec![
            answer("qh", replacing(CommonResponse::default())),
        ]))
        => "D 500 | U - | > qh qb\"aa\" | 1/2/1/1 imm1";
    the_end_twice: mode("rb FD rt S").sends(chunked(50, &["aa"])).to(but_nth("qb", 1, answer("qb", streamed("", true))))
        => "D 200 hello | U aa | > qh qb\"aa\" qb! sh | 1/4/4/1";
    no_timer: mode(FD).sends(chunked(50, &["aa"])).to(Box::new(slow))
        => "D 200 hello | U late | > qh qb\"aa\" qb! | 1/3/2/1";
}

#[test]
fn headers_wait_for_their_answer_and_lose_their_length() {
    let outcome = fd().sends(post("hello")).run();
    assert_eq!(outcome.upstream.only(&["content-length"]), "", "ENV-241");
    let outcome = cl(fd()).sends(post("hello")).run();
    assert_eq!(outcome.upstream.only(&["content-length"]), "content-length: 5", "ENV-243");
    let headers = vec![answer("qh", late_header()), answer("qb", streamed("x", true))];
    let outcome = mode(FD).sends(post("hello")).to(waits_for("qb", true, headers)).run();
    assert_eq!(outcome.upstream.only(&["x-late", "content-length"]), "x-late: 1", "ENV-246");
}

#[test]
fn env_244_a_promised_length_is_kept() {
    let answers = || vec![answer("qh", sets(&[("content-length", "3")]))];
    for (piece, expected) in [("abc", "200 hello"), ("ab", "500"), ("abcd", "500")] {
        let mut headers = answers();
        headers.push(answer("qb", streamed(piece, true)));
        let outcome = cl(mode(FD)).sends(post("hello")).to(waits_for("qb", true, headers)).run();
        assert_eq!(outcome.d(), expected, "{piece}");
    }
}

#[test]
fn details_name_what_is_wrong() {
    let plain = mode(FD).sends(chunked(50, &["aa"])).run();
    assert_eq!(
        plain.details,
        "spurious_message:_Normal_body_mutation_response_is_received_while_body_mode__is_FULL_DUPLEX_STREAMED"
    );
    let lost = mode(FD).sends(chunked(50, &["aa"])).to(but("qb", vec![ok()])).run();
    assert_eq!(lost.details, "full_duplex_body_was_not_returned");
}

#[test]
fn an_answer_has_no_deadline_and_cannot_get_one() {
    let more = reply(extproc_proto::ProcessingResponse {
        override_message_timeout: Some(prost_types::Duration { seconds: 0, nanos: 500_000_000 }),
        ..extproc_proto::ProcessingResponse::default()
    });
    let scenario = mode(FD).options(|options| options.max_message_timeout = std::time::Duration::from_secs(1));
    let outcome = scenario.sends(get()).to(at("qh", move |seen| {
        let mut events = vec![(0, more.clone())];
        events.extend(ack(seen).into_iter().map(|(_, event)| (5_000, event)));
        events
    }));
    assert_eq!(crate::line(&outcome.run()), "D 200 hello | U  | > qh! | 1/1/1/1 ov-1");
}

#[test]
fn a_large_body_passes_under_a_small_limit() {
    let outcome = fd().options(|options| options.buffer_limit = 1_000).sends(large(50_000, 5_000)).run();
    assert_eq!((outcome.upstream.body.len(), outcome.upstream.complete), (50_000, true));
}
