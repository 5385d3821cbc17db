//! Processors that only look on (grpc-a93.md 9.10).

use std::time::Duration;

use super::script::check;
use crate::call::Timer;

const BEGUN: &str = "D.head => open p:qh u:head \n";

#[test]
fn a93_246_to_249_everything_passes_and_is_told() {
    let script = format!(
        "{BEGUN} D.msg=q D.end => p:qb=q p:qb!! u:msg=q u:end
         U.head => p:sh d:head
         U.msg=s => p:sb=s d:msg=s
         U.end=0,t:1 => p:st p:close d:end=0=t:1"
    );
    let player = check("A93-246", "SGSGS obs", &script);
    assert_eq!(player.sent.len(), 6);
    assert!(player.sent.iter().all(|message| message.observability_mode));
    let player = check(
        "A93-247",
        "KNSNK obs",
        "D.head => u:head \n D.msg=a D.end => u:msg=a u:end \n U.head => open p:sh d:head \n U.end => p:close d:end=0",
    );
    assert_eq!(player.sent.len(), 1);
    check(
        "A93-248",
        "SGSGS obs",
        &format!("{BEGUN} D.msg=1 D.msg=2 D.msg=3 => p:qb=1 p:qb=2 p:qb=3 u:msg=1 u:msg=2 u:msg=3"),
    );
    check(
        "A93-249",
        "SGSGS obs",
        &format!("{BEGUN} P.qh=+a:1&drain P.imm=7 P.qb=x P.st => \n D.msg=a => p:qb=a u:msg=a"),
    );
}

#[test]
fn a93_251_to_254_ends_of_the_side_stream() {
    check("A93-251", "SGSGS obs", &format!("{BEGUN} P.ok => \n D.msg=a D.end => u:msg=a u:end"));
    check("A93-252", "SNKNK obs", &format!("{BEGUN} P.err=14 => cancel d:status=13"));
    check(
        "A93-253",
        "SGKNK obs fma",
        &format!("{BEGUN} D.msg=1 => p:qb=1 u:msg=1 \n P.err=14 => \n D.msg=2 D.msg=3 D.end => u:msg=2 u:msg=3 u:end"),
    );
    check("A93-254", "SGKNK obs", &format!("{BEGUN} D.msg=1 => p:qb=1 u:msg=1 \n P.err=14 => cancel d:status=13"));
}

#[test]
fn a93_256_trailers_only() {
    check("A93-256", "SNSNK obs", &format!("{BEGUN} U.only=5 => p:sh! p:close d:only=5"));
}

#[test]
fn a93_257_the_stream_stays_for_a_while() {
    let mut player =
        check("A93-257", "SNKNK obs deferred=200", &format!("{BEGUN} U.head U.end => p:close d:head d:end=0"));
    assert!(!player.call.is_over());
    assert_eq!(player.call.poll_timeout(), Some((player.now + Duration::from_millis(200), Timer::Close)));
    player.play("A93-257", "T=199 => \n T=1 => reset");
    assert!(player.call.is_over());
}

#[test]
fn a93_258_259_a_copy_goes_first() {
    let mut player = check("A93-258", "SGSGS obs", &format!("{BEGUN} block=p D.msg=a => \n U.head => "));
    assert_eq!(player.wants(), (false, false, true));
    player.play("A93-258", "free=p => p:qb=a p:sh u:msg=a d:head");
    let player = check("A93-259", "SGSGS obs", &format!("{BEGUN} block=u D.msg=a => p:qb=a"));
    assert_eq!(player.wants(), (false, true, true));
    // A processor that never reads holds the end of the call no longer than the stream.
    check(
        "A93-258 for ever",
        "SGSGS obs deferred=200",
        &format!("{BEGUN} block=p U.head U.end => \n T=200 => reset d:head d:end=0"),
    );
}
