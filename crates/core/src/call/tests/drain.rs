//! Processors that want no more (grpc-a93.md 9.8).

use super::script::{Player, check, options};

const BEGUN: &str = "D.head => open p:qh \n P.qh => u:head \n";

#[test]
fn a93_196_the_rest_goes_as_it_is() {
    check(
        "A93-196",
        "KGKGS",
        "D.head => u:head
         D.msg=c1 => open p:qb=c1
         P.qb=C1&drain => p:close u:msg=C1
         D.msg=c2 =>
         P.ok => u:msg=c2
         U.head U.msg=s1 U.msg=s2 => d:head d:msg=s1 d:msg=s2
         U.end => d:end=0",
    );
}

#[test]
fn a93_197_198_nothing_is_lost_or_doubled_whenever_the_drain_comes() {
    for at in 0..50 {
        let mut player = Player::new(options("SGSGS"));
        player.play("A93-197", BEGUN);
        player.play("A93-197", "U.head => p:sh \n P.sh => d:head");
        let (mut server, mut client) = (Vec::new(), Vec::new());
        let mut gone = false;
        for n in 0..50 {
            // Half of what is sent is still at the processor when it drains.
            player.input(&format!("D.msg=c{n}"));
            player.input(&format!("U.msg=s{n}"));
            if n == at {
                player.input("P.none&drain");
            }
            let outputs = player.outputs();
            for output in &outputs {
                match output.split_once('=') {
                    Some(("p:qb", message)) => player.input(&format!("P.qb={message}")),
                    Some(("p:sb", message)) => player.input(&format!("P.sb={message}")),
                    Some(("u:msg", message)) => server.push(message.to_owned()),
                    Some(("d:msg", message)) => client.push(message.to_owned()),
                    _ => assert_eq!(output, "p:close"),
                }
            }
            if n > at && !gone {
                gone = true;
                player.input("P.ok");
            }
        }
        if !gone {
            player.input("P.ok");
        }
        for output in player.outputs() {
            match output.split_once('=') {
                Some(("u:msg", message)) => server.push(message.to_owned()),
                Some(("d:msg", message)) => client.push(message.to_owned()),
                _ => panic!("{output}"),
            }
        }
        let all = |letter: char| (0..50).map(|n| format!("{letter}{n}")).collect::<Vec<_>>();
        assert_eq!((server, client), (all('c'), all('s')), "drained at {at}");
    }
}

#[test]
fn a93_199_to_206_what_does_not_wait_for_the_end_of_the_stream() {
    check("A93-199", "SNKNK", "D.head => open p:qh \n P.qh&drain => p:close u:head \n D.msg=a D.end => u:msg=a u:end");
    check(
        "A93-201",
        "SGKNK",
        &format!("{BEGUN} D.msg=a => p:qb=a \n P.qb=A&drain => p:close u:msg=A \n D.end => \n P.ok => u:end"),
    );
    check(
        "A93-202",
        "SGKNK",
        &format!(
            "{BEGUN} D.msg=a => p:qb=a \n P.none&drain => p:close \n U.head U.msg=m U.end => d:head d:msg=m d:end=0"
        ),
    );
    check(
        "A93-203",
        "SNSNS",
        &format!("{BEGUN} P.none&drain => p:close \n U.head U.msg=m U.end => d:head d:msg=m d:end=0"),
    );
    check(
        "A93-204",
        "SGSGS",
        "D.head => open p:qh
         P.qh&drain => p:close u:head
         D.msg=m D.end =>
         U.head => d:head
         P.ok => u:msg=m u:end
         U.msg=s U.end => d:msg=s d:end=0",
    );
    check(
        "A93-206",
        "SGSGS",
        &format!(
            "{BEGUN} U.head => p:sh
             P.sh => d:head
             U.msg=1 U.msg=2 => p:sb=1 p:sb=2
             P.sb=M1&drain => p:close d:msg=M1
             U.msg=3 U.end =>
             P.sb=M2 => d:msg=M2
             P.ok => d:msg=3 d:end=0"
        ),
    );
    check(
        "no request message was sent",
        "SGKNK",
        &format!("{BEGUN} P.none&drain => p:close \n D.end => u:end \n P.ok =>"),
    );
}

#[test]
fn what_has_not_gone_when_the_stream_ends_goes_as_it_is() {
    check(
        "unsent",
        "SGSGS",
        &format!(
            "{BEGUN} U.head => p:sh
             P.sh => d:head
             block=p D.msg=a U.msg=b =>
             P.none&drain D.msg=c U.msg=d =>
             P.ok => u:msg=a u:msg=c d:msg=b d:msg=d"
        ),
    );
}

#[test]
fn a93_207_208_headers_that_are_not_answered() {
    check("A93-207", "SGSGS", "D.head => open p:qh \n P.qh=+a:1&drain => p:close u:head=a:1 \n P.ok =>");
    check(
        "A93-208",
        "SGSGS",
        "D.head => open p:qh \n P.none&drain => p:close \n P.qh=+a:1 => u:head=a:1 \n P.ok => \n D.msg=m => u:msg=m",
    );
    check("A93-208 never", "SGSGS", "D.head => open p:qh \n P.none&drain => p:close \n P.ok => u:head");
    check(
        "A93-213",
        "SNSNS",
        &format!("{BEGUN} U.head => p:sh \n P.none&drain => p:close \n P.sh=+a:1 => d:head=a:1 \n P.ok =>"),
    );
}

#[test]
fn a93_209_to_214_drains_that_go_wrong_and_twice() {
    let away = format!("{BEGUN} D.msg=a => p:qb=a \n P.none&drain => p:close \n");
    check("A93-209", "SGSGS fma", &format!("{away} P.err=14 => cancel d:status=13"));
    check(
        "A93-211",
        "SGKNK",
        &format!(
            "{BEGUN} D.msg=#70000 => p:qb=#70000
             D.msg=b =>
             P.qb=A&drain => p:close u:msg=A
             P.ok => u:msg=b"
        ),
    );
    let mut player = check("A93-212", "SGSGS", &away);
    assert_eq!(player.wants(), (false, false, true));
    player.play("A93-212", "P.qb=a => u:msg=a \n P.ok =>");
    assert_eq!(player.wants(), (true, true, true));
    // No room can be given once the stream is half-closed.
    let player =
        check("Q7", "SGSGS credit", &format!("{BEGUN} D.msg=a => p:qb=a \n P.none&drain => p:win+65537,65536 p:close"));
    assert!(player.call.wants(crate::Direction::Request).eq(&false));
    check("A93-214", "SGSGS", &format!("{away} P.none&drain => \n P.qb=a => u:msg=a \n P.ok =>"));
}

#[test]
fn a93_216_to_219_one_direction_at_a_time() {
    check(
        "A93-216",
        "SGSGS",
        &format!(
            "{BEGUN} D.msg=1 D.msg=2 => p:qb=1 p:qb=2
             P.none&drainq => p:qdrained
             D.msg=3 =>
             P.qb=one P.qb=two => u:msg=one u:msg=two
             P.qb=drained => u:msg=3
             D.msg=4 D.end => u:msg=4 u:end
             U.head => p:sh
             P.sh => d:head
             U.msg=s => p:sb=s
             P.sb=S => d:msg=S
             U.end => p:st
             P.st => p:close d:end=0"
        ),
    );
    check(
        "A93-217",
        "SGSGS",
        &format!(
            "{BEGUN} U.head => p:sh
             P.sh => d:head
             U.msg=1 => p:sb=1
             P.none&drains => p:sdrained
             U.msg=2 U.end =>
             P.sb=one => d:msg=one
             P.sb=drained => p:st d:msg=2
             P.st=+t:1 => p:close d:end=0=t:1"
        ),
    );
    check(
        "A93-218",
        "SGSGS",
        &format!(
            "{BEGUN} P.none&drainq&drains => p:qdrained p:sdrained
             P.qb=drained P.sb=drained =>
             P.ok =>
             D.msg=a D.end => u:msg=a u:end
             U.head U.msg=b U.end => d:head d:msg=b d:end=0"
        ),
    );
    check(
        "A93-219",
        "SGSGS",
        &format!("{BEGUN} P.none&drainq => p:qdrained \n P.qb=drained => \n P.ok => cancel d:status=13"),
    );
}

#[test]
fn a93_221_to_224_when_a_drain_has_no_sense() {
    check(
        "A93-221",
        "KNKGS",
        "D.head => u:head \n U.head => d:head \n U.end => open p:st \n P.none&drains => \n P.st => p:close d:end=0",
    );
    check(
        "A93-221 Trailers-Only",
        "KNSGS",
        "D.head => u:head \n U.only=5 => open p:sh! \n P.sh&drains => p:close d:only=5",
    );
    let player = check("A93-222", "SGSGS", &format!("{BEGUN} P.qb=drained => reset cancel d:status=13"));
    assert_eq!(player.status.unwrap().message, "ext_proc: unexpected drain_complete");
    check(
        "A93-222 response",
        "KGKGS",
        "D.head => u:head \n D.msg=a => open p:qb=a \n P.sb=drained => reset cancel d:status=13",
    );
    let drained = format!("{BEGUN} P.none&drainq => p:qdrained \n P.qb=drained => \n");
    check("A93-223", "SGSGS", &format!("{drained} P.qb=x => reset cancel d:status=13"));
    check(
        "A93-224",
        "SGSGS",
        &format!("{BEGUN} P.none&drainq => p:qdrained \n D.end => \n P.qb=last => u:msg=last \n P.qb=drained => u:end"),
    );
    check("half-closed before", "SGSGS", &format!("{BEGUN} D.end => p:qb!! \n P.none&drainq => \n P.qb=!! => u:end"));
}
