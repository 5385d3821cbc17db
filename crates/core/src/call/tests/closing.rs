//! Ends of calls, deadlines and measures (grpc-a93.md 9.11, 9.13).

use std::time::Duration;

use super::script::{Player, check, options};
use crate::Headers;
use crate::call::Measure::{ClientHalfClose, ClientHeaders, ServerHeaders, ServerTrailers};
use crate::call::{RequestEvent, ResponseEvent, Timer};
use crate::filter::ApiMisuse;

const HEAD: &str = "D.head => open p:qh \n";
const BEGUN: &str = "D.head => open p:qh \n P.qh => u:head \n";

#[test]
fn a93_261_262_289_a_client_that_gives_up() {
    for (row, config, script) in [
        ("A93-261 headers", "SNKNK", HEAD.to_owned()),
        ("A93-261 body", "SGKNK", format!("{BEGUN} D.msg=a => p:qb=a")),
        ("A93-261 trailers", "SNKNS", format!("{BEGUN} U.head U.end => p:st d:head")),
        (
            "A93-262",
            "KNKGS",
            "D.head => u:head \n U.head U.msg=a => open p:sb=a d:head \n P.sb=a => d:msg=a".to_owned(),
        ),
    ] {
        let mut player = check(row, config, &script);
        player.play(row, "D.cancel => cancel reset \n D.cancel =>");
        assert!(player.call.is_over() && player.call.failure().is_none(), "{row}");
        player.play(row, "P.qh P.err=14 U.fail=14 D.msg=x T=100000 =>");
    }
}

#[test]
fn a93_263_264_deadlines() {
    let mut player = check("A93-263", "SNKNK", "D.head=grpc-timeout:1S => open p:qh");
    assert_eq!(player.call.poll_timeout(), Some((player.now + Duration::from_secs(1), Timer::Call)));
    player.play("A93-263", "T=999 => \n T=1 => reset cancel d:status=4");
    assert!(player.call.failure().is_none());
    check("A93-264", "SNKNK", "D.head=grpc-timeout:1S => open p:qh \n T=300 => \n P.qh => u:head=grpc-timeout:700000u");
    let player = check("A93-052", "SNKNK timeout=5000", "D.head=grpc-timeout:1S => open p:qh");
    assert_eq!(player.call.poll_timeout(), Some((player.now + Duration::from_secs(1), Timer::Call)));
    check("malformed", "SNKNK", "D.head=grpc-timeout:soon => open p:qh \n P.qh => u:head=grpc-timeout:soon");
    check(
        "after a bypass",
        "SNKNK fma",
        "D.head=grpc-timeout:1S => open p:qh \n P.err=14 => u:head=grpc-timeout:1000000u \n T=1000 => cancel d:status=4",
    );
}

#[test]
fn a93_266_267_ordinary_ends() {
    check(
        "A93-266",
        "SGSGS",
        &format!(
            "{BEGUN} D.msg=a => p:qb=a \n U.refuse D.msg=b => \n U.only=9 => p:sh! \n P.qb=a => \n P.sh => p:close d:only=9"
        ),
    );
    let mut player =
        check("A93-267", "SNSNS", &format!("{BEGUN} U.head U.end => p:sh p:st \n P.sh P.st => p:close d:head d:end=0"));
    assert!(!player.call.is_over());
    player.play("A93-267", "T=999 => \n T=1 => reset");
    assert!(player.call.is_over());
}

#[test]
fn no_answer_is_owed_any_more_when_the_stream_is_closed() {
    check("4.6", "SNKNK", &format!("{BEGUN} U.head U.msg=m U.end => p:close d:head d:msg=m d:end=0"));
    check("4.6", "KNSNK", "D.head => u:head \n U.head U.end => open p:sh \n P.sh => p:close d:head d:end=0");
}

#[test]
fn a93_277_to_283_measures() {
    let kinds = |player: &Player| player.measured.iter().map(|(measure, _)| *measure).collect::<Vec<_>>();
    let all = [ClientHeaders, ClientHalfClose, ServerHeaders, ServerTrailers];
    let mut player = check(
        "A93-277",
        "SGSGS",
        "D.head => open p:qh
         T=10 P.qh => u:head
         D.msg=a D.end => p:qb=a p:qb!!
         T=20 P.qb=a P.qb=!! => u:msg=a u:end
         U.head U.end => p:sh p:st
         T=30 P.sh => d:head
         T=40 P.st => p:close d:end=0",
    );
    let expected = all.into_iter().zip([10, 20, 30, 70].map(Duration::from_millis));
    assert_eq!(std::mem::take(&mut player.measured), expected.collect::<Vec<_>>());
    let observed =
        "D.head => open p:qh u:head \n D.end => p:qb!! u:end \n U.head U.end => p:sh p:st p:close d:head d:end=0";
    assert_eq!(kinds(&check("A93-277 observing", "SGSGS obs", observed)), all);
    let off = "D.head => u:head \n D.end => u:end \n U.head U.end=16 => d:head d:end=16";
    assert_eq!(kinds(&check("A93-279", "KNKNK", off)), all);
    let only = kinds(&check("A93-281", "KNKNK", "D.head => u:head \n U.only=5 => d:only=5"));
    assert_eq!(only, [ClientHeaders, ServerHeaders, ServerTrailers]);
    let bypassed = "D.head => open p:qh \n P.err=14 => u:head \n D.end => u:end \n U.head U.end => d:head d:end=0";
    assert_eq!(kinds(&check("A93-282", "SGSGS fma", bypassed)), all);
    let failed = format!("{BEGUN} D.end => p:qb!! \n P.err=14 => cancel d:status=13");
    assert_eq!(kinds(&check("A93-283", "SGSGS", &failed)), [ClientHeaders]);
}

#[test]
fn misuse_changes_nothing() {
    let mut player = Player::new(options("SGSGS"));
    let now = player.now;
    let request = |player: &mut Player, event| player.call.handle_request(now, event);
    assert_eq!(request(&mut player, RequestEvent::HalfClose), Err(ApiMisuse("request headers come first")));
    let early = player.call.handle_response(now, ResponseEvent::Headers(Headers::new()));
    assert_eq!(early, Err(ApiMisuse("a response needs a request")));
    player.play("misuse", HEAD);
    assert_eq!(
        request(&mut player, RequestEvent::Headers(Headers::new())),
        Err(ApiMisuse("request headers come once"))
    );
    let trailers = player.call.handle_response(now, ResponseEvent::Trailers(Headers::new()));
    assert_eq!(trailers, Err(ApiMisuse("response headers come first")));
    player.play("misuse", "P.qh => u:head");
}
