//! Several processors in one stream, each as if it were a filter of its own.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::{Arc, Mutex};

use extproc::testing::Script;
use extproc::{
    BodyMode, BoxProcessor, Chain, End, LocalReply, LocalReplyScope, OnError, Open, Policy, Processor, Request,
    RequestHead, Response, ResponseHead, Reveal, Skip, Stages, Start, Stop, Whole, WholeIo,
};

const POST: [(&str, &str); 2] = [(":method", "POST"), (":path", "/a")];
const OK: [(&str, &str); 1] = [(":status", "200")];

type Journal = Arc<Mutex<Vec<String>>>;

/// What a stage does wrong, and where.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    No,
    FailHead,
    FailBody,
    PanicHead,
    ReplyHead,
    ReplyBody,
    FailResponse,
}

/// Writes each of its phases down, and appends its name to `x-seen`.
struct Stage {
    name: &'static str,
    journal: Journal,
    fault: Fault,
}

impl Stage {
    fn note(&self, what: &str) {
        self.journal.lock().unwrap().push(format!("{}.{what}", self.name));
    }
}

macro_rules! stage {
    ($type:ident, $kind:ty, { $($bodies:tt)* }) => {
        struct $type(Stage);

        impl Processor for $type {
            type Ctx = ();
            type RequestBody = $kind;
            type ResponseBody = $kind;

            fn name(&self) -> &str {
                self.0.name
            }

            fn open(&self, _: &Open) {}

            async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
                self.0.note("qh");
                let seen = format!("{}{}", req.header("x-seen").unwrap_or_default(), self.0.name);
                req.set("x-seen", seen);
                match self.0.fault {
                    Fault::FailHead => Err("broken".into()),
                    Fault::PanicHead => panic!("broken"),
                    Fault::ReplyHead => Err(LocalReply::forbidden().body("no").into()),
                    _ => Ok(()),
                }
            }

            async fn response_headers(&self, _: &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
                self.0.note(&format!("ph({})", rsp.request().map_or("none", |r| r.method())));
                let seen = format!("{}{}", rsp.header("x-seen").unwrap_or_default(), self.0.name);
                rsp.set("x-seen", seen);
                if self.0.fault == Fault::FailResponse { Err("broken".into()) } else { Ok(()) }
            }

            fn close(&self, (): (), end: End) {
                self.0.note(&format!("close({end:?})"));
            }

            $($bodies)*
        }
    };
}

stage!(Light, Skip, {});

stage! { Heavy, Whole<1024>, {
    async fn request_body(&self, _: &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        self.0.note(&format!("qb({})", io.body.text()?));
        let body = format!("{}{}", io.body.text()?, self.0.name);
        io.body.replace(body);
        match self.0.fault {
            Fault::FailBody => Err("broken".into()),
            Fault::ReplyBody => Err(LocalReply::new(202).header("x-by", self.0.name).body("no").into()),
            _ => Ok(()),
        }
    }

    async fn response_body(&self, _: &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        self.0.note(&format!("pb({})", io.body.text()?));
        let body = format!("{}{}", io.body.text()?, self.0.name);
        io.body.replace(body);
        Ok(())
    }
}}

struct Bench(Journal);

impl Bench {
    fn new() -> Self {
        Self(Journal::default())
    }

    fn light(&self, name: &'static str, fault: Fault) -> Light {
        Light(Stage { name, journal: Arc::clone(&self.0), fault })
    }

    fn heavy(&self, name: &'static str, fault: Fault) -> Heavy {
        Heavy(Stage { name, journal: Arc::clone(&self.0), fault })
    }

    async fn run(self, script: Script, stages: impl Stages) -> (Vec<String>, String) {
        let lines = script.run(stages).await.lines();
        let journal = self.0.lock().unwrap().join(" ");
        (lines, journal)
    }
}

fn skip<P: Processor>(processor: P) -> Policy<P> {
    Policy::new(processor, OnError::Skip)
}

fn exchange(mode: BodyMode) -> Script {
    Script::new()
        .modes(mode, mode)
        .request_headers(POST)
        .request_body("-", true)
        .response_headers(OK)
        .response_body("+", true)
}

#[tokio::test]
async fn light_stages_run_in_order_and_give_one_mutation() {
    let bench = Bench::new();
    let chain =
        Chain::new(bench.light("a", Fault::No)).then(bench.light("b", Fault::No)).then(bench.light("c", Fault::No));
    let (lines, journal) = bench.run(exchange(BodyMode::Streamed), chain).await;
    assert_eq!(lines, ["request_headers x-seen=abc", "request_body", "response_headers x-seen=cba", "response_body"]);
    assert_eq!(journal, "a.qh b.qh c.qh c.ph(POST) b.ph(POST) a.ph(POST) a.close(Ok) b.close(Ok) c.close(Ok)");
}

#[tokio::test]
async fn a_stage_with_the_body_keeps_the_head_from_those_behind() {
    let bench = Bench::new();
    let chain =
        Chain::new(bench.heavy("a", Fault::No)).then(bench.light("b", Fault::No)).then(bench.heavy("c", Fault::No));
    let (lines, journal) = bench.run(exchange(BodyMode::Buffered), chain).await;
    assert_eq!(
        lines,
        [
            "request_headers x-seen=a",
            r#"request_body x-seen=abc body="-ac""#,
            "response_headers x-seen=c",
            r#"response_body x-seen=cba body="+ca""#,
        ]
    );
    assert_eq!(
        journal,
        "a.qh a.qb(-) b.qh c.qh c.qb(-a) c.ph(POST) c.pb(+) b.ph(POST) a.ph(POST) a.pb(+c) \
         a.close(Ok) b.close(Ok) c.close(Ok)"
    );
}

#[tokio::test]
async fn the_effect_is_the_same_in_every_mode_that_carries_it() {
    let mut effects = Vec::new();
    for mode in [BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::Streamed, BodyMode::FullDuplexStreamed] {
        let bench = Bench::new();
        let chain = vec![
            BoxProcessor::new(bench.heavy("a", Fault::No)),
            BoxProcessor::new(bench.light("b", Fault::No)),
            BoxProcessor::new(bench.heavy("c", Fault::No)),
        ];
        let (lines, _) = bench.run(exchange(mode), chain).await;
        let last = |key: &str| {
            let value = |l: &String| l.split_whitespace().find_map(|w| w.strip_prefix(key).map(str::to_owned));
            lines.iter().filter_map(value).collect::<Vec<_>>()
        };
        let mut seen = last("x-seen=");
        seen.retain(|s| s.len() == 3);
        let bodies: Vec<_> = [last("body="), last("chunk=")].concat();
        effects.push((mode, seen, bodies));
    }
    for (mode, seen, bodies) in effects {
        assert_eq!(seen, ["abc", "cba"], "{mode:?}");
        assert_eq!(bodies, [r#""-ac""#, r#""+ca""#], "{mode:?}");
    }
}

#[tokio::test]
async fn failures() {
    let fail = "error Internal: processor b failed";
    let closed = "a.close(Failed) c.close(Failed)";
    for (fault, tolerant, lines, journal) in [
        (Fault::FailHead, false, vec![fail], format!("a.qh b.qh b.close(Failed) {closed}")),
        (Fault::PanicHead, false, vec![fail], format!("a.qh b.qh b.close(Panicked) {closed}")),
        (
            Fault::FailHead,
            true,
            vec!["request_headers x-seen=ac", "request_body", "response_headers x-seen=ca", "response_body"],
            "a.qh b.qh b.close(Failed) c.qh c.ph(POST) a.ph(POST) a.close(Ok) c.close(Ok)".to_owned(),
        ),
        (
            Fault::FailResponse,
            true,
            vec!["request_headers x-seen=abc", "request_body", "response_headers x-seen=ca", "response_body"],
            "a.qh b.qh c.qh c.ph(POST) b.ph(POST) b.close(Failed) a.ph(POST) a.close(Ok) c.close(Ok)".to_owned(),
        ),
    ] {
        let bench = Bench::new();
        let b = bench.light("b", fault);
        let policy = if tolerant { OnError::Skip } else { OnError::Fail };
        let chain =
            Chain::new(bench.light("a", Fault::No)).then(Policy::new(b, policy)).then(bench.light("c", Fault::No));
        assert_eq!(
            bench.run(exchange(BodyMode::Buffered), chain).await,
            (lines.into_iter().map(str::to_owned).collect(), journal)
        );
    }
}

#[tokio::test]
async fn a_skipped_body_phase_gives_the_body_back_as_it_was() {
    for (mode, expected) in
        [(BodyMode::Buffered, r#"request_body x-seen=ab body="-b""#), (BodyMode::Streamed, r#"request_body body="-b""#)]
    {
        let bench = Bench::new();
        let chain = Chain::new(skip(bench.heavy("a", Fault::FailBody))).then(bench.heavy("b", Fault::No));
        let (lines, _) = bench.run(exchange(mode), chain).await;
        assert_eq!(lines[1], expected, "{mode:?}: the head edit of the head phase stands, the body's does not");
    }
}

#[tokio::test]
async fn an_error_can_answer_the_client() {
    let bench = Bench::new();
    let chain = Policy::new(bench.light("a", Fault::FailHead), OnError::Reply(LocalReply::new(503)));
    let (lines, journal) = bench.run(exchange(BodyMode::None), chain).await;
    assert_eq!(lines, ["immediate 503"]);
    assert_eq!(journal, "a.qh a.close(Failed)");
}

#[tokio::test]
async fn a_local_reply_passes_the_response_phases_of_the_others() {
    for (scope, expected, journal) in [
        (
            LocalReplyScope::All,
            r#"immediate 202 x-by=b content-type=text/plain x-seen=ca body="noca""#,
            "a.qh a.qb(-) b.qh b.qb(-a) c.ph(none) c.pb(no) a.ph(POST) a.pb(noc)",
        ),
        (
            LocalReplyScope::Earlier,
            r#"immediate 202 x-by=b content-type=text/plain x-seen=a body="noa""#,
            "a.qh a.qb(-) b.qh b.qb(-a) a.ph(POST) a.pb(no)",
        ),
    ] {
        let bench = Bench::new();
        let chain = Chain::new(bench.heavy("a", Fault::No))
            .then(bench.heavy("b", Fault::ReplyBody))
            .then(bench.heavy("c", Fault::No));
        let script = exchange(BodyMode::Buffered).local_reply_scope(scope);
        let (lines, seen) = bench.run(script, chain).await;
        assert_eq!(lines, ["request_headers x-seen=a", expected], "{scope:?}");
        assert_eq!(seen, format!("{journal} a.close(Ok) b.close(Ok) c.close(Ok)"));
    }
}

#[tokio::test]
async fn py_041_py_151_the_chain_header_lists_the_stages_in_request_order() {
    let bench = Bench::new();
    let reveal = |name, fault| BoxProcessor::new(skip(Reveal::new(bench.light(name, fault))));
    let names = ["Trivial", "Timer", "Echo", "Digest", "Decorated", "Ctx"];
    let script = exchange(BodyMode::Buffered);
    for (faulty, fault, expected) in [
        ("", Fault::No, "Trivial,Timer,Echo,Digest,Decorated,Ctx"),
        // The one that replied has signed first, then the others in front of it.
        ("Echo", Fault::ReplyHead, "Trivial,Timer,Digest,Decorated,Ctx,Echo"),
        // PY-047: one that failed open is missing.
        ("Ctx", Fault::FailHead, "Trivial,Timer,Echo,Digest,Decorated"),
        ("Timer", Fault::FailResponse, "Trivial,Echo,Digest,Decorated,Ctx"),
    ] {
        let chain: Vec<_> =
            names.iter().map(|name| reveal(name, if *name == faulty { fault } else { Fault::No })).collect();
        let lines = script.run(chain).await.lines();
        let found =
            lines.iter().find_map(|l| l.split_whitespace().find_map(|w| w.strip_prefix("x-ext-procs-applied=")));
        assert_eq!(found.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_later_stage_sees_a_replaced_body_at_once() {
    struct Replace;
    impl Processor for Replace {
        type Ctx = ();
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, _: &Open) {}

        async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
            req.replace_body("new");
            Ok(())
        }
    }
    let bench = Bench::new();
    let chain = Chain::new(Replace).then(bench.heavy("b", Fault::No));
    let script = Script::new().modes(BodyMode::Buffered, BodyMode::Buffered).request_only(POST);
    let (lines, journal) = bench.run(script, chain).await;
    assert_eq!(lines, [r#"request_headers replace x-seen=b body="newb""#]);
    assert_eq!(journal, "b.qh b.qb(new) b.close(Ok)");
}

#[tokio::test]
async fn a_panic_in_open_fails_the_exchange_and_closes_what_was_open() {
    struct Bad;
    impl Processor for Bad {
        type Ctx = ();
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, _: &Open) {
            panic!("on purpose");
        }
    }
    let bench = Bench::new();
    let chain = Chain::new(bench.light("a", Fault::No)).then(Bad);
    let (lines, journal) = bench.run(exchange(BodyMode::None), chain).await;
    assert_eq!(lines, ["error Internal: processor a,Bad failed"]);
    assert_eq!(journal, "a.close(Cancelled)");
}
