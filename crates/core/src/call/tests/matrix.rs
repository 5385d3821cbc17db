//! Every failure in every moment of a call, failing open and closed, processing and observing: what must come of it is
//! worked out from two sentences of A93 alone (3.6).

use super::script::{Player, options};

/// The moments: what was played, and whether the processor has a message by then.
const MOMENTS: [(&str, &[&str], bool); 6] = [
    ("headers asked", &["D.head"], false),
    ("headers answered", &["D.head", "P.qh"], false),
    ("half-close sent", &["D.head", "P.qh", "D.end"], false),
    ("message sent", &["D.head", "P.qh", "D.msg=q"], true),
    ("response begun", &["D.head", "P.qh", "D.msg=q", "P.qb=Q", "U.head", "P.sh"], true),
    ("trailers asked", &["D.head", "P.qh", "D.msg=q", "P.qb=Q", "U.head", "P.sh", "U.end"], true),
];

/// The failures; the processor's message is wrong at every moment.
const FAILURES: [&str; 4] =
    ["P.err=14", "P.sb=drained", "P.none&win=9223372036854775807,9223372036854775807", "T=5000"];

#[test]
fn failures_by_moment_mode_and_policy() {
    let mut played = 0;
    for (moment, before, has_message) in MOMENTS {
        for failure in FAILURES {
            for fma in [false, true] {
                for observing in [false, true] {
                    play(moment, before, has_message, failure, fma, observing);
                    played += 1;
                }
            }
        }
    }
    assert_eq!(played, MOMENTS.len() * FAILURES.len() * 4);
}

fn play(moment: &str, before: &[&str], has_message: bool, failure: &str, fma: bool, observing: bool) {
    let case = format!("{moment}, {failure}, failure_mode_allow {fma}, observing {observing}");
    let words = [if fma { "fma" } else { "" }, if observing { "obs" } else { "" }].join(" ");
    let mut player = Player::new(options(&format!("SGSGS timeout=5000 {words}")));
    let mut outputs = Vec::new();
    for input in before {
        player.input(input);
        outputs.extend(player.outputs());
    }
    let ended = outputs.iter().any(|output| output.starts_with("d:end"));
    player.input(failure);
    outputs.extend(player.outputs());

    // What a processor that observes says is not read, and after the end of the call nothing counts.
    let is_message = failure.starts_with("P.sb") || failure.starts_with("P.none");
    let ignored = ended || observing && is_message;
    let fails = !ignored;
    let opens = fma && (observing || !has_message);
    let status = outputs.iter().find(|output| output.starts_with("d:status"));
    assert_eq!(status.map(|it| &it[..]), (fails && !opens).then_some("d:status=13"), "{case}: {outputs:?}");
    assert_eq!(player.call.failure().is_some(), fails, "{case}");
    if !fails || opens {
        finish(&mut player, &mut outputs, &case);
        let has = |wanted: &str| outputs.iter().any(|output| output == wanted);
        assert!(has("u:head") && has("d:head") && has("d:end=0"), "{case}: {outputs:?}");
    }
    let ends =
        outputs.iter().filter(|output| ["d:end", "d:status", "d:only"].iter().any(|end| output.starts_with(end)));
    assert_eq!(ends.count(), 1, "{case}: {outputs:?}");
}

/// Plays the rest of the call, with the answers of a processor that is still there.
fn finish(player: &mut Player, outputs: &mut Vec<String>, case: &str) {
    for input in ["D.msg=last", "D.end", "U.head", "U.msg=s", "U.end"] {
        let begun = outputs.iter().any(|it| it == "d:head" || it == "p:sh");
        let ended = outputs.iter().any(|it| it == "d:end=0" || it == "p:st");
        let half_closed = outputs.iter().any(|it| it == "u:end" || it == "p:qb!!");
        if (input == "U.head" && begun) || (input.starts_with('U') && ended) || (input.starts_with('D') && half_closed)
        {
            continue;
        }
        player.input(input);
        loop {
            let more = player.outputs();
            if more.is_empty() {
                break;
            }
            more.iter().filter_map(|output| output.strip_prefix("p:")).for_each(|asked| answer(player, asked));
            outputs.extend(more);
        }
    }
    assert!(player.call.failure().is_none() || player.call.config().options().failure_mode_allow, "{case}");
}

/// An echo.
fn answer(player: &mut Player, asked: &str) {
    match asked {
        "qh" | "sh" | "st" => player.input(&format!("P.{asked}")),
        "close" => {}
        _ => {
            let asked = asked.split('+').next().unwrap_or_default();
            player.input(&format!("P.{asked}").replace("b!!", "b=!!"));
        }
    }
}
