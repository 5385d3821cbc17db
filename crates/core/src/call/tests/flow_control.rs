//! Windows (grpc-a93.md 9.9).

use super::script::{Player, check, options};

const BEGUN: &str = "D.head => open p:qh \n P.qh => u:head \n";

#[test]
fn a93_226_to_228_messages_wait_for_room() {
    check(
        "A93-226",
        "SGKNK",
        &format!(
            "{BEGUN} D.msg=#70000 => p:qb=#70000
             D.msg=b =>
             P.none&win=2000,0 =>
             P.none&win=10000,0 => p:qb=b"
        ),
    );
    check(
        "A93-227",
        "SGKNK",
        &format!("{BEGUN} D.msg=#70000 => p:qb=#70000 \n D.msg=b => \n P.err=14 => cancel d:status=13"),
    );
    check(
        "A93-228",
        "SNSGS credit",
        &format!(
            "{BEGUN} U.head => p:sh
             P.sh => d:head
             U.msg=#70000 => p:sb=#70000
             U.msg=s2 U.end =>
             P.sb=S1 => d:msg=S1
             P.none&win=0,80000 => p:sb=s2+0,2 p:st"
        ),
    );
}

#[test]
fn a93_229_231_238_room_is_returned_once() {
    check(
        "A93-229",
        "SNSGS credit",
        &format!("{BEGUN} U.head => p:sh \n P.sh&win=0,0 => d:head \n P.sb=#40000 => d:msg=#40000 p:win+0,40000"),
    );
    let small = format!(
        "{BEGUN} U.head => p:sh
         P.sh&win=0,0 => d:head
         D.msg=q => p:qb=q
         P.qb=#20000 => u:msg=#20000
         P.sb=#15000 => d:msg=#15000\n"
    );
    check("A93-231", "SGSGS credit", &format!("{small} U.msg=s => p:sb=s+20000,15000 \n U.msg=t => p:sb=t"));
    check("A93-231 half-close", "SGSGS credit", &format!("{small} D.end => p:qb!!+20000,15000"));
    check(
        "A93-238",
        "SGSGS credit",
        &format!("{small} block=p P.qb=#20000 => u:msg=#20000 \n U.msg=s => \n free=p => p:win+40000,15000 p:sb=s"),
    );
}

#[test]
fn a93_232_233_what_waits_for_its_sink_gives_no_room() {
    let mut player = check(
        "A93-232",
        "SGSGS credit",
        &format!("{BEGUN} U.head => p:sh \n P.sh&win=0,0 => d:head \n block=d P.sb=#60000 P.sb=#60000 =>"),
    );
    assert_eq!(player.wants(), (true, true, false), "no more of the side stream");
    player.play("A93-232", "free=d => d:msg=#60000 d:msg=#60000 p:win+0,60000 p:win+0,60000");
    let player = check(
        "A93-233",
        "SGSGS",
        &format!("{BEGUN} block=u P.qb=#60000 => \n U.head U.msg=a => p:sh p:sb=a \n P.sh P.sb=A => d:head d:msg=A"),
    );
    assert!(player.wants().1);
}

#[test]
fn a93_234_to_237_updates() {
    check(
        "A93-234",
        "SGKNK",
        "D.head => open p:qh
         D.msg=#70000 D.msg=b => p:qb=#70000
         P.qh&win=5000,0 => p:qb=b u:head",
    );
    let player =
        check("A93-236", "SGKNK", &format!("{BEGUN} P.none&win=9223372036854775807,0 => reset cancel d:status=13"));
    assert_eq!(player.status.unwrap().message, "ext_proc: flow control window overflow");
    check(
        "A93-235 negative",
        "SGKNK",
        &format!("{BEGUN} P.none&win=-65536,0 => \n D.msg=a => \n P.none&win=1,0 => p:qb=a"),
    );
    check(
        "A93-237",
        "SGKNK",
        &format!("{BEGUN} D.msg=#70000 => p:qb=#70000 \n D.msg= => p:qb= \n D.msg=b D.msg= D.end =>"),
    );
}

#[test]
fn a93_239_directions_do_not_wait_for_each_other() {
    check(
        "A93-239",
        "SGSGS",
        &format!(
            "{BEGUN} D.msg=#70000 D.msg=b => p:qb=#70000
             U.head U.msg=s => p:sh p:sb=s
             P.sh&win=9000,0 => p:qb=b d:head"
        ),
    );
}

#[test]
fn a93_241_242_policies() {
    let script = |config: &str| {
        let mut player = Player::new(options(config));
        player.play("A93-242", BEGUN);
        for _ in 0..16 {
            player.input("D.msg=#65536");
        }
        (player.outputs().len(), player.sent[0].flow_control_init.is_some())
    };
    assert_eq!(script("SGKNK"), (1, true), "Required");
    assert_eq!(script("SGKNK auto"), (16, true), "Auto");
    assert_eq!(script("SGKNK off"), (16, false), "Off");
    let mut player = Player::new(options("SGKNK obs"));
    player.play("A93-241", "D.head => open p:qh u:head \n D.msg=#70000 => p:qb=#70000 u:msg=#70000");
    player.play("A93-241", "D.msg=b => p:qb=b u:msg=b \n block=p D.msg=c =>");
    assert_eq!(player.wants(), (false, true, true), "one copy waits");
}

#[test]
fn a93_243_a_processor_that_does_not_read_holds_back_the_source() {
    let mut player = check("A93-243", "SGSGS", &format!("{BEGUN} block=p D.msg=a => \n D.msg=b =>"));
    assert_eq!(player.wants(), (false, false, true));
    player.play("A93-243", "free=p => p:qb=a p:qb=b");
    assert_eq!(player.wants(), (true, true, true));
}

#[test]
fn a93_244_the_stream_stays_open_until_everything_is_answered() {
    check(
        "A93-244",
        "KNKGS",
        "D.head => u:head
         U.head => d:head
         U.msg=#60000 => open p:sb=#60000
         P.none&win=0,60000
         U.msg=#60000 => p:sb=#60000
         P.none&win=0,60000
         U.msg=#60000 U.end => p:sb=#60000 p:st
         P.sb=#60000 => d:msg=#60000
         P.sb=#60000 => d:msg=#60000
         P.sb=#60000 => d:msg=#60000
         P.st => p:close d:end=0",
    );
}
