//! Random messages, in any order and with any declared modes: no panic, and no answer that the session refuses.
//!
//! `ANYTHING_SEED=7` begins elsewhere; a failure prints its seed.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use extproc::proto::ProcessingRequest;
use extproc::testing::Script;
use extproc::{
    Abort, BodyMode, BoxProcessor, ChunkIo, LocalReply, Messages, MsgIo, OnError, Open, Policy, Processor, Request,
    RequestHead, Response, ResponseHead, Skip, Start, Stop, Stream, Trailers, Whole, WholeIo,
};

const MODES: [BodyMode; 6] = [
    BodyMode::None,
    BodyMode::Streamed,
    BodyMode::Buffered,
    BodyMode::BufferedPartial,
    BodyMode::FullDuplexStreamed,
    BodyMode::Grpc,
];

/// A small generator (xorshift), so that a seed says it all.
struct Rng(u64);

impl Rng {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What a stage does in each phase; the same in all exchanges of its making.
#[derive(Clone, Copy)]
struct Habits(u64);

impl Habits {
    fn has(self, bit: u32) -> bool {
        // Each habit in one of four stages.
        (self.0 >> (bit * 2)) & 3 == 0
    }

    fn edit(self, fields: &mut extproc::Fields, bit: u32) -> Result<(), Stop> {
        if self.has(bit) {
            fields.append("x-seen", 1);
        }
        if self.has(bit + 1) && self.has(bit + 2) {
            return Err("broken".into());
        }
        if self.has(bit + 1) && self.has(bit + 3) {
            return Err(LocalReply::new(418).body("teapot").into());
        }
        Ok(())
    }

    fn edit_body(self, body: &mut extproc::Body, bit: u32) {
        if self.has(bit) {
            body.replace(vec![b'x'; body.len() * 3]);
        } else if self.has(bit + 1) {
            body.clear();
        }
    }
}

macro_rules! phases {
    () => {
        type Ctx = ();

        fn open(&self, _: &Open) {}

        async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
            if self.0.has(20) {
                req.replace_body("new");
            }
            if self.0.has(21) {
                req.detach();
            }
            if self.0.has(23) {
                req.ask(MODES[self.0.0 as usize % MODES.len()]);
                req.ask_response(MODES[(self.0.0 >> 8) as usize % MODES.len()]);
                req.extend(std::time::Duration::from_secs(1));
                req.metadata("n", "k", "v");
            }
            self.0.edit(req, 0)
        }

        async fn response_headers(&self, (): &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
            if self.0.has(22) {
                rsp.replace_body("");
            }
            self.0.edit(rsp, 2)
        }

        async fn request_trailers(&self, (): &mut (), trailers: &mut Trailers) -> Result<(), Stop> {
            self.0.edit(trailers, 4)
        }
    };
}

struct Light(Habits);

impl Processor for Light {
    type RequestBody = Skip;
    type ResponseBody = Skip;
    phases!();
}

struct Heavy(Habits);

impl Processor for Heavy {
    type RequestBody = Whole<64>;
    type ResponseBody = Whole<64>;
    phases!();

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        self.0.edit_body(&mut io.body, 10);
        self.0.edit(&mut io.head, 6)
    }

    async fn response_body(&self, (): &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        self.0.edit_body(&mut io.body, 12);
        self.0.edit(&mut io.head, 8)
    }
}

/// Chunks as they come.
struct Flowing(Habits);

impl Flowing {
    fn chunk<D: extproc::Dir>(&self, io: &mut ChunkIo<D>, bit: u32) {
        match (self.0.has(bit), self.0.has(bit + 1)) {
            (true, true) => {}
            (true, false) => io.out.push(vec![b'x'; io.data.len() * 3]),
            (false, true) => {
                io.out.pass();
                io.out.push("y");
            }
            (false, false) => io.out.pass(),
        }
    }
}

impl Processor for Flowing {
    type RequestBody = Stream;
    type ResponseBody = Stream;
    phases!();

    async fn request_body(&self, (): &mut (), io: &mut ChunkIo<Request>) -> Result<(), Stop> {
        self.chunk(io, 10);
        if self.0.has(6) && self.0.has(7) { Err(LocalReply::new(418).into()) } else { Ok(()) }
    }

    async fn response_body(&self, (): &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        self.chunk(io, 12);
        if self.0.has(8) && self.0.has(9) { Err(Abort::Reset) } else { Ok(()) }
    }
}

/// gRPC messages.
struct Talking(Habits);

impl Talking {
    fn message<D: extproc::Dir>(&self, io: &mut MsgIo<D>, bit: u32) {
        if !self.0.has(bit) {
            io.out.pass();
        }
        if self.0.has(bit + 1) {
            io.out.send_raw("more");
        }
    }
}

impl Processor for Talking {
    type RequestBody = Messages;
    type ResponseBody = Messages;
    phases!();

    async fn request_body(&self, (): &mut (), io: &mut MsgIo<Request>) -> Result<(), Stop> {
        self.message(io, 10);
        if self.0.has(6) && self.0.has(7) { Err(LocalReply::new(418).into()) } else { Ok(()) }
    }

    async fn response_body(&self, (): &mut (), io: &mut MsgIo<Response>) -> Result<(), Abort> {
        self.message(io, 12);
        if self.0.has(8) && self.0.has(9) { Err("broken".into()) } else { Ok(()) }
    }
}

/// Bytes that are gRPC messages, but for the last, and cut anywhere.
fn body(rng: &mut Rng, size: usize) -> Vec<u8> {
    let frames = [0, 0, 0, 0, 2, b'm', b'm'].into_iter().cycle();
    frames.skip(usize::try_from(rng.below(8) % 7).unwrap()).take(size).collect()
}

fn stage(rng: &mut Rng) -> BoxProcessor {
    let habits = Habits(rng.below(u64::MAX));
    let policy = match rng.below(3) {
        0 => OnError::Skip,
        1 => OnError::Reply(LocalReply::new(503)),
        _ => OnError::Fail,
    };
    match rng.below(4) {
        0 => BoxProcessor::new(Policy::new(Light(habits), policy)),
        2 => BoxProcessor::new(Policy::new(Talking(habits), policy)),
        1 => BoxProcessor::new(Policy::new(Flowing(habits), policy)),
        _ => BoxProcessor::new(Policy::new(Heavy(habits), policy)),
    }
}

fn script(rng: &mut Rng) -> Script {
    let mut script = Script::new();
    if rng.below(5) > 0 {
        let mut mode = || MODES[usize::try_from(rng.below(6)).unwrap()];
        script = script.modes(mode(), mode());
    }
    if rng.below(8) == 0 {
        script = script.observing();
    }
    let kind = if rng.below(2) == 0 { "application/grpc" } else { "text/plain" };
    // Mostly in the order of the wire, so that exchanges get far.
    let mut part = 0;
    for _ in 0..rng.below(12) {
        part = if rng.below(12) == 0 { rng.below(7) } else { (part + rng.below(2)).min(6) };
        let end = rng.below(3) == 0;
        let size = usize::try_from(rng.below(40)).unwrap();
        let head = [(":method", "POST"), (":path", "/"), ("content-length", "7"), ("content-type", kind)];
        let status = [(":status", "200"), ("content-length", "7"), ("content-type", kind)];
        script = match (part, end) {
            (0, false) => script.request_headers(head),
            (0, true) => script.request_only(head),
            (1, end) => script.request_body(body(rng, size), end),
            (2, _) => script.request_trailers([("t", "1")]),
            (3, false) => script.response_headers(status),
            (3, true) => script.response_only(status),
            (4, end) => script.response_body(body(rng, size), end),
            (5, _) => script.response_trailers([("t", "1")]),
            _ => script.message(ProcessingRequest::default()),
        };
        part += u64::from(part == 0 || part == 3);
    }
    script
}

/// The handlers wait for nothing, so that one poll does it.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a handler waits"),
    }
}

#[test]
fn anything_at_all() {
    let first = std::env::var("ANYTHING_SEED").map_or(1, |seed| seed.parse::<u64>().unwrap());
    let mut ends = [0, 0];
    for seed in first..first + 20_000 {
        let mut rng = Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let stages: Vec<_> = (0..=rng.below(3)).map(|_| stage(&mut rng)).collect();
        let script = script(&mut rng);
        let lines = now(script.run(stages)).lines();
        ends[usize::from(lines.iter().any(|line| line.starts_with("error ")))] += 1;
        let broken = lines.iter().find(|line| line.contains("internal error"));
        assert_eq!(broken, None, "ANYTHING_SEED={seed}: {lines:#?}\n{:#?}", script.messages());
    }
    assert!(ends.iter().all(|count| *count > 1000), "both good and bad ends are common: {ends:?}");
}
