//! Random calls, judged by what each party saw: no message lost, doubled or out of order, one end, nothing behind it.

use std::collections::VecDeque;

use super::script::{Player, options};

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.next(100) < percent
    }
}

/// A direction as the oracle sees it: nothing of the machine, only what went in and out.
#[derive(Debug, Default)]
struct Seen {
    /// Messages of the source, in order.
    given: Vec<String>,
    /// Messages that the processor got.
    at_processor: Vec<String>,
    /// Messages that the processor gave back.
    returned: Vec<String>,
    /// Messages at the end of the way.
    arrived: Vec<String>,
    /// The processor has not looked at these.
    inbox: VecDeque<String>,
    drained: bool,
}

#[derive(Debug, Default)]
struct Oracle {
    request: Seen,
    response: Seen,
    asked: VecDeque<String>,
    /// The processor was told that no more requests come, or has said so.
    half_close_told: bool,
    half_close_at_server: usize,
    processor_ended_requests: bool,
    trailers_answered: bool,
    asked_for_the_end: bool,
    stream: Stream,
    client_end: Option<String>,
    log: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stream {
    #[default]
    None,
    Open,
    /// The call has half-closed it.
    Closed,
    Gone,
}

impl Oracle {
    fn take(&mut self, outputs: Vec<String>) {
        for output in outputs {
            assert!(self.client_end.is_none() || !output.starts_with("d:"), "after the end: {output} {:?}", self.log);
            self.log.push(output.clone());
            let (what, message) = output.split_once('=').map_or((&output[..], ""), |(a, b)| (a, b));
            let message = message.split('+').next().unwrap_or_default().to_owned();
            match what {
                "open" => {
                    assert_eq!(self.stream, Stream::None);
                    self.stream = Stream::Open;
                }
                "reset" => self.stream = Stream::Gone,
                "p:close" => self.stream = Stream::Closed,
                "p:qb" => self.request.sent(message),
                "p:sb" => self.response.sent(message),
                "u:msg" => self.request.arrived.push(message),
                "d:msg" => self.response.arrived.push(message),
                "u:end" => self.half_close_at_server += 1,
                "d:end" | "d:only" | "d:status" => self.client_end = Some(output.clone()),
                _ if what.starts_with("p:qb!!") => {
                    self.half_close_told = true;
                    self.asked.push_back("qb!!".to_owned());
                }
                "p:qh" | "p:sh" | "p:sh!" | "p:st" => {
                    self.asked.push_back(what.trim_start_matches("p:").trim_end_matches('!').to_owned());
                }
                _ => {
                    let asked = what.trim_start_matches("p:").split('+').next().unwrap_or_default();
                    if ["qh", "sh", "st", "qdrained", "sdrained"].contains(&asked.trim_end_matches('!')) {
                        self.asked.push_back(asked.trim_end_matches('!').to_owned());
                    }
                }
            }
        }
    }
}

impl Seen {
    fn sent(&mut self, message: String) {
        self.at_processor.push(message.clone());
        self.inbox.push_back(message);
    }

    /// What the processor got is a beginning of what was given; what arrived is what it gave back, and then what it did
    /// not get, from where it stopped.
    fn check(&self, processed: bool, complete: bool, case: &dyn Fn() -> String) {
        assert!(self.given.starts_with(&self.at_processor), "{}", case());
        if !processed {
            assert!(self.given.starts_with(&self.arrived), "{}", case());
            assert!(!complete || self.given == self.arrived, "lost: {}", case());
            return;
        }
        let mut whole = self.returned.clone();
        whole.extend_from_slice(&self.given[self.at_processor.len()..]);
        assert!(whole.starts_with(&self.arrived), "{}", case());
        assert!(!complete || whole == self.arrived, "lost: {}", case());
    }
}

const CONFIGS: [&str; 12] =
    ["SGSGS", "KGSGS", "SGKGS", "KGKGS", "SNSGS", "SGSNS", "SGSNK", "SNSNS", "KNSNK", "SNKNS", "SGKNK", "KNKGS"];

fn play(seed: u64) {
    let mut random = Random(seed);
    let config = CONFIGS[random.next(CONFIGS.len())];
    let fma = random.chance(50);
    let flow = ["", "auto", "off"][random.next(3)];
    let mut player = Player::new(options(&format!("{config} {flow}{}", if fma { " fma" } else { "" })));
    let mut oracle = Oracle::default();
    let (mut client_done, mut server_begun, mut server_done) = (false, false, false);
    let mut number = 0;
    let mut blocked = Vec::new();
    player.input("D.head");
    oracle.take(player.outputs());
    for _ in 0..random.next(80) {
        number += 1;
        match random.next(12) {
            0..=2 if !client_done && player.wants().0 => {
                let message = format!("c{number}");
                player.input(&format!("D.msg={message}"));
                oracle.request.given.push(message);
            }
            3 if !client_done && random.chance(30) => {
                client_done = true;
                player.input("D.end");
            }
            4 if !server_begun && oracle.log.iter().any(|it| it.starts_with("u:head")) => {
                server_begun = true;
                player.input("U.head");
            }
            5 | 6 if server_begun && !server_done && player.wants().1 => {
                let message = format!("s{number}");
                player.input(&format!("U.msg={message}"));
                oracle.response.given.push(message);
            }
            7 if server_begun && !server_done && random.chance(20) => {
                server_done = true;
                player.input("U.end");
            }
            8 => {
                let sink = ["p", "u", "d"][random.next(3)];
                blocked.push(sink);
                player.input(&format!("block={sink}"));
            }
            9 => blocked.drain(..).for_each(|sink| player.input(&format!("free={sink}"))),
            _ => processor(&mut random, &mut player, &mut oracle, number),
        }
        oracle.take(player.outputs());
    }
    blocked.drain(..).for_each(|sink| player.input(&format!("free={sink}")));
    oracle.take(player.outputs());
    judge(&oracle, config, seed);
}

/// One step of a processor that keeps to the protocol, and sometimes ends or fails.
fn processor(random: &mut Random, player: &mut Player, oracle: &mut Oracle, number: usize) {
    if !matches!(oracle.stream, Stream::Open | Stream::Closed) {
        return;
    }
    let config = player.call.config().options().processing_mode;
    // A processor that has asked for the end of the stream makes up nothing new: the trailers may be gone.
    let closed = oracle.asked_for_the_end;
    let owes = |oracle: &Oracle, kind: &str| oracle.asked.iter().any(|asked| asked == kind);
    match random.next(100) {
        0 => {
            oracle.stream = Stream::Gone;
            player.input("P.err=14");
        }
        1 | 2 => {
            oracle.stream = Stream::Gone;
            player.input("P.ok");
        }
        3 => {
            oracle.asked_for_the_end = true;
            player.input("P.none&drain");
        }
        4 => player.input("P.none&drainq"),
        5 => player.input("P.none&drains"),
        6..=20 if config.request_body == crate::BodyMode::Grpc && !owes(oracle, "qh") => {
            give(random, player, &mut oracle.request, "qb", number, (closed, oracle.processor_ended_requests));
        }
        21..=35
            if config.response_body == crate::BodyMode::Grpc
                && !owes(oracle, "sh")
                && !oracle.trailers_answered
                && oracle.log.iter().any(|it| it.starts_with("d:head")) =>
        {
            give(random, player, &mut oracle.response, "sb", number, (closed, false));
        }
        _ => {
            let Some(asked) = oracle.asked.pop_front() else { return };
            match &asked[..] {
                "st" => {
                    // The end of the direction: nothing can be given back behind it.
                    return_all(player, &mut oracle.response, "sb");
                    oracle.trailers_answered = true;
                    player.input("P.st");
                }
                "qh" | "sh" => player.input(&format!("P.{asked}&win=10,10")),
                "qdrained" if !oracle.processor_ended_requests => {
                    return_all(player, &mut oracle.request, "qb");
                    oracle.request.drained = true;
                    player.input("P.qb=drained");
                }
                "sdrained" => {
                    return_all(player, &mut oracle.response, "sb");
                    oracle.response.drained = true;
                    player.input("P.sb=drained");
                }
                "qb!!" if !oracle.request.drained && !oracle.processor_ended_requests => {
                    return_all(player, &mut oracle.request, "qb");
                    oracle.processor_ended_requests = true;
                    player.input("P.qb=!!");
                }
                _ => {}
            }
        }
    }
}

/// Gives back the next message: as it is, changed, twice or not at all; or one of its own.
fn give(random: &mut Random, player: &mut Player, seen: &mut Seen, kind: &str, number: usize, state: (bool, bool)) {
    let (closed, ended) = state;
    if seen.drained || ended {
        return;
    }
    let messages = match (seen.inbox.pop_front(), random.next(10)) {
        (Some(message), 0) => vec![message.clone(), format!("{message}x")],
        (Some(_), 1) => vec![],
        (Some(message), _) => vec![message],
        (None, 0) if !closed => vec![format!("new{number}")],
        (None, _) => vec![],
    };
    for message in messages {
        player.input(&format!("P.{kind}={message}"));
        seen.returned.push(message);
    }
}

fn return_all(player: &mut Player, seen: &mut Seen, kind: &str) {
    while !seen.drained
        && let Some(message) = seen.inbox.pop_front()
    {
        player.input(&format!("P.{kind}={message}"));
        seen.returned.push(message);
    }
}

fn judge(oracle: &Oracle, config: &str, seed: u64) {
    let case = || format!("seed {seed} {config}: {oracle:#?}");
    let modes: Vec<_> = config.chars().collect();
    // A call that was failed has lost what was under way, and says so.
    let failed = oracle.client_end.as_deref().is_some_and(|end| end.starts_with("d:status"));
    let ended = oracle.client_end.is_some() && !failed;
    oracle.request.check(modes[1] == 'G', false, &case);
    oracle.response.check(modes[3] == 'G', ended, &case);
    assert!(oracle.half_close_at_server <= 1, "{}", case());
}

#[test]
fn random_calls() {
    (0..3_000).for_each(play);
}

/// `cargo test --release -p extproc-core --lib a_hundred_thousand_random_calls -- --ignored`
#[test]
#[ignore = "100,000 calls, some ten seconds; the first 3,000 run always"]
fn a_hundred_thousand_random_calls() {
    (3_000..103_000).for_each(play);
}

/// All ends at once, in every order (A93-268).
#[test]
fn a93_268_exactly_one_end() {
    for seed in 0..10_000 {
        let mut random = Random(seed);
        let mut player = Player::new(options("SGSGS fma"));
        player.input("D.head=grpc-timeout:1S");
        let mut inputs = vec!["P.qh", "D.msg=a", "P.qb=A", "U.head", "P.sh", "U.msg=b", "D.end"];
        inputs.truncate(random.next(inputs.len() + 1));
        // A server that has not begun cannot end with trailers.
        let end = if inputs.contains(&"U.head") { "U.end" } else { "U.only=5" };
        inputs.iter().for_each(|input| player.input(input));
        let mut ends = vec!["D.cancel", "P.err=14", "P.imm=7", "T=1000", "U.fail=14", "P.ok", end];
        let mut outputs = player.outputs();
        while !ends.is_empty() {
            let next = ends.swap_remove(random.next(ends.len()));
            if next.starts_with('U') && player.call.wants(crate::Direction::Response) || !next.starts_with('U') {
                player.input(next);
            }
            outputs.extend(player.outputs());
        }
        let ends: Vec<_> =
            outputs.iter().filter(|it| ["d:end", "d:only", "d:status"].iter().any(|end| it.starts_with(end))).collect();
        assert!(ends.len() <= 1, "seed {seed}: {outputs:?}");
        let last = outputs.iter().rfind(|it| it.starts_with("d:"));
        assert!(ends.is_empty() || last == ends.first().copied(), "seed {seed}: {outputs:?}");
        player.input("T=10000");
        player.outputs();
        assert!(player.call.is_over(), "seed {seed}: {outputs:?}");
    }
}
