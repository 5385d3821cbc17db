//! `replay_buffer`: failing open while the processor has body. REPLAY rows of the conformance scenarios, and GRPC.

use extproc_core::Profile;
use extproc_core::filter::StreamEvent;
use extproc_proto::CommonResponse;

use crate::answers::{ack, answer, body, piece, replacing, sets};
use crate::exchange::{Scenario, Seen, chunked, chunked_t, internal, post, uc};
use crate::grpc::{call, frames};
use crate::mode_override::alone;
use crate::{Processor, mode, rows};

const FD: &str = "rb FD rt S sh K FMA";

/// With a copy of so many bytes.
fn with_copy(text: &str, limit: usize) -> Scenario {
    mode(text).options(|options| options.replay_buffer = limit)
}

fn fd() -> Scenario {
    with_copy(FD, 100)
}

fn ok() -> StreamEvent {
    StreamEvent::Closed(Ok(()))
}

/// Answers headers, keeps bodies, and says this to the nth message of one kind.
fn keeps(kind: &'static str, nth: usize, events: Vec<StreamEvent>) -> Processor {
    Box::new(move |seen: &Seen| match seen.kind {
        it if (it, seen.nth) == (kind, nth) => events.iter().map(|event| (0, event.clone())).collect(),
        "qh" | "sh" => ack(seen),
        _ => Vec::new(),
    })
}

/// Says nothing before this.
fn silent_until(kind: &'static str, events: Vec<StreamEvent>) -> Processor {
    Box::new(
        move |seen: &Seen| {
            if seen.kind == kind { events.iter().map(|event| (0, event.clone())).collect() } else { Vec::new() }
        },
    )
}

fn given_back(text: &'static str) -> StreamEvent {
    answer("qb", piece(text.into(), false))
}

rows! {
    replay_01: fd().sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 0, vec![internal()]))
        => "D 200 hello | U aabb | > qh qb\"aa\" | 1/2/1/1 fail1 half2 fma1";
    replay_01_all_of_it: fd().sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 2, vec![internal()]))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" qb! | 1/4/1/1 fail1 half2 fma1";
    replay_01_edited_headers_stay: fd().sends(post("aa")).to(Box::new(|seen| match seen.kind {
            "qh" => vec![(0, answer("qh", sets(&[("x-new", "1")])))],
            _ => vec![(0, internal())],
        }))
        => "D 200 hello | U aa | > qh qb!\"aa\" | 1/2/1/1 fail1 half2 fma1";
    replay_02: fd().sends(chunked_t(50, &["aa", "bb"])).to(silent_until("qt", vec![internal()]))
        => "D 200 hello | U aabb +x-t: 1 | > qh qb\"aa\" qb\"bb\" qt | 1/4/0/1 fail1 half2 fma1";
    replay_02_answered: fd().sends(chunked_t(50, &["aa", "bb"])).to(keeps("qt", 0, vec![internal()]))
        => "D 200 hello | U aabb +x-t: 1 | > qh qb\"aa\" qb\"bb\" qt | 1/4/1/1 fail1 half2 fma1";
    replay_03: fd().sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 0, vec![answer("sb", CommonResponse::default())]))
        => "D 200 hello | U aabb | > qh qb\"aa\" | 1/2/1/1 spur1 fma1";
    replay_03_plain: fd().sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 1, vec![answer("qb", body("zz"))]))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" | 1/3/1/1 spur1 fma1";
    replay_04: fd().sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 1, vec![given_back("a"), internal()]))
        => "D 500 | U a incomplete | > qh qb\"aa\" qb\"bb\" | 1/3/2/0 fail1 half1 imm1";
    replay_04_an_empty_piece_is_nothing: fd().sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 1, vec![given_back(""), internal()]))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" | 1/3/2/1 fail1 half2 fma1";
    replay_05: with_copy(FD, 3).sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 1, vec![internal()]))
        => "D 500 | U incomplete | > qh qb\"aa\" qb\"bb\" | 1/3/1/0 fail1 half1 imm1";
    replay_05_to_the_byte: with_copy(FD, 4).sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 1, vec![internal()]))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" | 1/3/1/1 fail1 half2 fma1";
    replay_06: with_copy("rb FD rt S sh K", 100).sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 0, vec![internal()]))
        => "D 500 | U incomplete | > qh qb\"aa\" | 1/2/1/0 fail1 half1 imm1";
    replay_07: with_copy("rb FD rt S sh K", 100).sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 2, vec![ok()]))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" qb! | 1/4/1/1 half1";
    replay_07_released: with_copy("rb FD rt S sh K", 100).sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 1, vec![given_back("a"), ok()]))
        => "D 500 | U a incomplete | > qh qb\"aa\" qb\"bb\" | 1/3/2/1 half1 imm1";
    replay_08: with_copy("rh K sb FD st S FMA", 100).gets(uc()).to(silent_until("sb", vec![internal()]))
        => "D 200 r1r2 +x-rt: 2 | U  | > sh sb\"r1\" | 1/2/0/1 fail1 half2 fma1";
    replay_08_headers_have_left: with_copy("rh K sb FD st S FMA", 100).gets(uc()).to(keeps("sb", 1, vec![internal()]))
        => "D 200 r1r2 +x-rt: 2 | U  | > sh sb\"r1\" sb\"r2\" | 1/3/1/1 fail1 half2 fma1";
    continue_and_replace_without_a_body_goes_on_with_the_copy: fd().sends(chunked(50, &["aa", "bb"]))
        .to(Box::new(|seen| match (seen.kind, seen.nth) {
            ("qb", 1) => vec![(0, answer("qh", replacing(CommonResponse::default())))],
            _ => Vec::new(),
        }))
        => "D 200 hello | U aabb | > qh qb\"aa\" qb\"bb\" | 1/3/1/1";
    an_override_to_full_duplex_is_kept_as_well: with_copy("AMO FMA sh K", 100).sends(post("hello"))
        .to(Box::new(|seen| match seen.kind {
            "qh" => vec![(0, alone("rb FD rt S sh K"))],
            _ => vec![(0, internal())],
        }))
        => "D 200 hello | U hello | > qh qb!\"hello\" | 1/2/0/1 fail1 half2 fma1";
    a_bad_trailers_mutation_never_opens: fd().sends(chunked_t(50, &["aa"])).to(keeps("qt", 0, vec![answer("qt", sets(&[("a b", "1")]))]))
        => "D 500 | U incomplete | > qh qb\"aa\" qt | 1/3/2/1 rej1 imm1";
}

#[test]
fn the_details_say_why_the_copy_does_not_help() {
    let sent = || chunked(50, &["aa", "bb"]);
    for (scenario, expected) in [
        (fd().to(keeps("qb", 1, vec![given_back("a"), internal()])), "13{boom_x}:_body_of_the_processor_has_gone_on"),
        (with_copy(FD, 3).to(keeps("qb", 1, vec![internal()])), "13{boom_x}:_more_body_was_sent_than_replay_buffer"),
        (with_copy(FD, 0).to(keeps("qb", 1, vec![internal()])), "13{boom_x}"),
        (with_copy("rb FD rt S sh K", 9).to(keeps("qb", 1, vec![internal()])), "13{boom_x}"),
        (
            with_copy("rb FD rt S sh K", 3).to(keeps("qb", 1, vec![ok()])),
            "full_duplex_body_was_not_returned:_more_body_was_sent_than_replay_buffer",
        ),
    ] {
        let outcome = scenario.sends(sent()).run();
        assert!(outcome.details.ends_with(expected), "{}, not {expected}", outcome.details);
    }
}

fn grpc(limit: usize) -> Scenario {
    with_copy("rb GR sh K FMA", limit)
        .options(|options| options.profile = Profile::Grpc)
        .sends(call(&["ab", "cd", "ef"]))
}

fn body_of(scenario: Scenario) -> (Vec<u8>, String) {
    let outcome = scenario.run();
    (outcome.upstream.body, outcome.details)
}

#[test]
fn grpc_messages_are_kept_as_well() {
    let all = frames(&["ab", "cd", "ef"]);
    for nth in 0..3 {
        let (body, why) = body_of(grpc(100).to(keeps("qb", nth, vec![internal()])));
        assert_eq!((body, why.as_str()), (all.clone(), ""), "failed at message {nth}");
    }
    // Seven bytes for each message of two.
    let (body, why) = body_of(grpc(13).to(keeps("qb", 1, vec![internal()])));
    assert_eq!((body.len(), why.ends_with(":_more_body_was_sent_than_replay_buffer")), (0, true), "{why}");
    let (body, why) = body_of(grpc(100).to(keeps("qb", 1, vec![given_back("AB"), internal()])));
    assert_eq!((body, why.ends_with(":_body_of_the_processor_has_gone_on")), (frames(&["AB"]), true), "{why}");
}

#[test]
fn agentgateway_opens_after_body_was_sent_only_with_a_copy() {
    for (limit, expected) in [(0, ""), (100, "aabb")] {
        let scenario = with_copy(FD, limit).options(|options| options.profile = Profile::Agentgateway);
        let (body, _) = body_of(scenario.sends(chunked(50, &["aa", "bb"])).to(keeps("qb", 1, vec![internal()])));
        assert_eq!(body, expected.as_bytes(), "{limit}");
    }
}
