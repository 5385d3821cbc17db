//! One chain is as many filters as it has processors, whatever they do: random chains in one stream against the same
//! processors with a filter each.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use extproc::testing::InMemory;
use extproc::{
    Abort, BodyMode, BoxProcessor, ChunkIo, Headers, LocalReply, Name, OnError, Open, Processor, Request, RequestHead,
    Response, ResponseHead, Skip, Start, Stop, Stream, Trailers, Value, When, Whole, WholeIo,
};
use extproc_core::pair::{self, Begin, Ending, Outcome, Pair, Seen, Upstream};
use extproc_core::{Config, Options, ProcessingMode};
use proptest::prelude::*;

/// What a processor takes of bodies.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Skip,
    Whole,
    Stream,
}

/// What it does in its header phases.
#[derive(Clone, Copy, Debug)]
enum Act {
    Append,
    Set,
    Remove,
    Replace,
    Detach,
    Deny,
    DenyResponse,
    FailAndSkip,
    FailResponseAndSkip,
    Absent,
}

#[derive(Clone, Copy, Debug)]
struct Spec {
    name: &'static str,
    kind: Kind,
    act: Act,
}

impl Spec {
    fn request(self, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        match self.act {
            Act::Append => req.append("x-seen", self.name),
            Act::Set => req.set("x-seen", self.name),
            Act::Remove => req.remove("x-seen"),
            Act::Detach => {
                req.append("x-seen", self.name);
                req.detach();
            }
            Act::Deny => return Err(LocalReply::forbidden().header("x-by", self.name).body("no").into()),
            Act::FailAndSkip => {
                req.set("x-lost", "1");
                return Err("broken".into());
            }
            Act::Replace => {
                req.append("x-seen", self.name);
                req.replace_body(self.name.repeat(3));
            }
            Act::DenyResponse | Act::FailResponseAndSkip | Act::Absent => {}
        }
        Ok(())
    }

    fn response(self, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        let seen = format!("{}{}", self.name, rsp.request().map_or("?", RequestHead::path));
        match self.act {
            Act::Append | Act::Detach | Act::Replace | Act::Deny | Act::FailAndSkip => rsp.append("x-seen", seen),
            Act::Set => rsp.set("x-seen", seen),
            Act::Remove => rsp.remove("x-seen"),
            Act::DenyResponse => return Err(LocalReply::new(502).header("x-by", self.name).body("bad").into()),
            Act::FailResponseAndSkip => {
                rsp.set("x-lost", "1");
                return Err("broken".into());
            }
            Act::Absent => {}
        }
        Ok(())
    }

    fn boxed(self) -> BoxProcessor {
        match self.kind {
            Kind::Skip => self.place(Light(self)),
            Kind::Whole => self.place(Heavy(self)),
            Kind::Stream => self.place(Flow(self)),
        }
    }

    fn place(self, processor: impl Processor) -> BoxProcessor {
        let here = !matches!(self.act, Act::Absent);
        BoxProcessor::new(When::new(processor, move |_: &RequestHead| here))
    }
}

macro_rules! processor {
    ($type:ident, $kind:ty, { $($bodies:tt)* }) => {
        struct $type(Spec);

        impl Processor for $type {
            type Ctx = ();
            type RequestBody = $kind;
            type ResponseBody = $kind;

            fn name(&self) -> &str {
                self.0.name
            }

            fn on_error(&self) -> OnError {
                OnError::Skip
            }

            fn open(&self, _: &Open) {}

            async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
                self.0.request(req)
            }

            async fn response_headers(&self, (): &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
                self.0.response(rsp)
            }

            async fn request_trailers(&self, (): &mut (), trailers: &mut Trailers) -> Result<(), Stop> {
                trailers.append("x-seen", self.0.name);
                Ok(())
            }

            async fn response_trailers(&self, (): &mut (), trailers: &mut Trailers) -> Result<(), Abort> {
                trailers.append("x-seen", self.0.name);
                Ok(())
            }

            $($bodies)*
        }
    };
}

processor!(Light, Skip, {});

processor!(Heavy, Whole<1024>, {
    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        io.body.map(|body| [body, self.0.name.as_bytes()].concat());
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        io.body.map(|body| [body, self.0.name.as_bytes()].concat());
        Ok(())
    }
});

processor!(Flow, Stream, {
    async fn request_body(&self, (): &mut (), io: &mut ChunkIo<Request>) -> Result<(), Stop> {
        io.out.pass();
        if io.last {
            io.out.push(self.0.name);
        }
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        io.out.pass();
        if io.last {
            io.out.push(self.0.name);
        }
        Ok(())
    }
});

#[derive(Clone, Debug)]
struct Carrier {
    mode: BodyMode,
    cuts: [usize; 2],
    trailers: bool,
}

fn map(entries: &[(&'static str, &'static str)]) -> Headers {
    entries.iter().map(|(n, v)| (Name::from_static(n), Value::from_static(v))).collect()
}

fn run(processors: Vec<InMemory>, carrier: &Carrier) -> Outcome {
    let options = Options {
        processing_mode: ProcessingMode {
            request_body: carrier.mode,
            response_body: carrier.mode,
            request_trailers: true,
            response_trailers: true,
            ..ProcessingMode::default()
        },
        ..Options::default()
    };
    let config = Arc::new(Config::new(options).unwrap());
    let filters = processors.into_iter().map(|p| (Arc::clone(&config), Box::new(p) as Box<dyn pair::Processor>));
    let pieces = |body: &'static str| {
        let [a, b] = carrier.cuts;
        let (a, b) = (a.min(b), a.max(b));
        let pieces = [&body[..a], &body[a..b], &body[b..]];
        pieces
            .into_iter()
            .filter(|piece| !piece.is_empty())
            .map(|p| Bytes::from_static(p.as_bytes()))
            .collect::<Vec<_>>()
    };
    let trailers = carrier.trailers.then(|| map(&[("x-t", "1")]));
    let head =
        map(&[(":method", "POST"), (":path", "/p"), (":authority", "h"), ("content-length", "5"), ("x-seen", "0")]);
    let request = pair::Script::message(head, pieces("hello"), trailers.clone());
    let head = map(&[(":status", "200"), ("content-length", "5"), ("x-seen", "0")]);
    let response = pair::Script::message(head, pieces("world"), trailers);
    Pair::new(Instant::now(), filters).client(request).upstream(Upstream::new(Begin::AtEnd, response)).run()
}

type Effect = (Vec<(String, String)>, String, Option<Headers>, bool);

/// All but the framing, which must be right.
fn effect(seen: &Seen) -> Effect {
    let headers = seen.headers.clone().unwrap_or_default();
    if let Some(length) = headers.content_length()
        && seen.ended
    {
        assert_eq!(length, seen.body.len() as u64, "content-length");
    }
    let entries = headers.iter().filter(|(name, _)| name.as_str() != "content-length");
    let mut entries: Vec<_> = entries.map(|(n, v)| (n.to_string(), v.to_str().unwrap().to_owned())).collect();
    // The values of one name keep their order.
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    (entries, String::from_utf8(seen.body.clone()).unwrap(), seen.trailers.clone(), seen.ended)
}

fn spec() -> impl Strategy<Value = (Kind, Act)> {
    let kinds = prop_oneof![Just(Kind::Skip), Just(Kind::Whole), Just(Kind::Stream)];
    let acts = prop_oneof![
        4 => Just(Act::Append),
        2 => Just(Act::Set),
        2 => Just(Act::Remove),
        1 => Just(Act::Replace),
        1 => Just(Act::Detach),
        1 => Just(Act::Deny),
        1 => Just(Act::DenyResponse),
        1 => Just(Act::FailAndSkip),
        1 => Just(Act::FailResponseAndSkip),
        1 => Just(Act::Absent),
    ];
    (kinds, acts)
}

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_is_as_many_filters(
        specs in prop::collection::vec(spec(), 1..=5),
        mode in prop::sample::select(vec![
            BodyMode::None, BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::Streamed, BodyMode::FullDuplexStreamed,
        ]),
        cuts in [0usize..=5, 0usize..=5],
        trailers: bool,
    ) {
        // In mode NONE a filter sees no body at all; in a chain a processor sees one that another put in place.
        let kind_of = |kind: &Kind| if mode == BodyMode::None { Kind::Skip } else { *kind };
        let specs: Vec<Spec> =
            specs.iter().zip(NAMES).map(|((kind, act), name)| Spec { name, kind: kind_of(kind), act: *act }).collect();
        // What is put out for a STREAMED body that ends with trailers has no answer left to carry it: that stream fails, and
        // a chain has one stream.
        let trailers = trailers && (mode != BodyMode::Streamed || specs.iter().all(|spec| matches!(spec.kind, Kind::Skip)));
        // The answer that replaces a body ends what its stream is told of the request, and a chain has one stream.
        let trailers = trailers && !specs.iter().any(|spec| matches!(spec.act, Act::Replace));
        let carrier = Carrier { mode, cuts, trailers };
        let chained = run(vec![InMemory::new(&Arc::new(specs.iter().map(|s| s.boxed()).collect::<Vec<_>>()))], &carrier);
        let filters = run(specs.iter().map(|s| InMemory::new(&Arc::new(s.boxed()))).collect(), &carrier);
        prop_assert_eq!(chained.ending == Ending::Complete, filters.ending == Ending::Complete, "{} \n {}", chained.print(), filters.print());
        prop_assert_eq!(effect(&chained.request), effect(&filters.request), "the upstream\n{}\n{}", chained.print(), filters.print());
        prop_assert_eq!(effect(&chained.response), effect(&filters.response), "the client\n{}\n{}", chained.print(), filters.print());
    }
}

#[test]
fn a_body_replaced_behind_a_processor_that_collects_goes_on() {
    let specs = [
        Spec { name: "a", kind: Kind::Whole, act: Act::Append },
        Spec { name: "b", kind: Kind::Skip, act: Act::Replace },
    ];
    for mode in [BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::FullDuplexStreamed] {
        let carrier = Carrier { mode, cuts: [0, 0], trailers: false };
        let chain: Vec<BoxProcessor> = specs.iter().map(|spec| spec.boxed()).collect();
        let outcome = run(vec![InMemory::new(&Arc::new(chain))], &carrier);
        assert_eq!((outcome.ending, effect(&outcome.request).1.as_str()), (Ending::Complete, "bbb"), "{mode}");
    }
}
