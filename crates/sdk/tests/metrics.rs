//! What moves which metric.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeSet;
use std::sync::Arc;

use extproc::testing::Script;
use extproc::{
    Abort, BodyMode, BoxProcessor, Chain, ChunkIo, LocalReply, Metrics, MsgIo, Noop, OnError, Open, Policy, Processor,
    Request, RequestHead, Response, ResponseHead, Server, Skip, Stages, Start, Stop, Stream, Whole, WholeIo,
};

const GET: [(&str, &str); 2] = [(":method", "GET"), (":path", "/a")];
const OK: [(&str, &str); 1] = [(":status", "200")];

/// Does what the path says, takes bodies up to four bytes.
struct Probe;

impl Processor for Probe {
    type Ctx = ();
    type RequestBody = Whole<4>;
    type ResponseBody = Stream;

    fn open(&self, open: &Open) {
        assert!(open.attribute("panic").is_none());
    }

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        match req.path() {
            "/fail" => return Err("on purpose".into()),
            "/panic" => panic!("on purpose"),
            "/deny" => return Err(LocalReply::forbidden().details("bad key").into()),
            "/name" => req.set("no name", "x"),
            "/value" => req.set("x", "a\r\nb"),
            "/pseudo" => req.set(":path", "x"),
            "/framing" => req.set("content-length", 3),
            "/wait" => std::future::pending().await,
            _ => {}
        }
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        io.body.replace("hello");
        Ok(())
    }

    async fn response_headers(&self, (): &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if rsp.header("x-status").is_some() {
            rsp.set_status(100);
        }
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        if io.data == "cut" {
            return Err(Abort::Reset);
        }
        io.out.push("ab");
        Ok(())
    }
}

/// Counters and gauges that are not zero, and counts of histograms, without their common prefix.
async fn moved<S: Stages>(script: Script, stages: S) -> Vec<String> {
    let metrics = Metrics::new();
    script.metrics(&metrics).run(stages).await;
    lines(&metrics)
}

fn lines(metrics: &Metrics) -> Vec<String> {
    let text = metrics.encode();
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
    let samples = samples.filter(|line| !line.contains("_bucket{") && !line.contains("_sum{"));
    samples.map(|line| line.trim_start_matches("ext_proc_").replace("processor=\"Probe\"", "P")).collect()
}

fn get(path: &str) -> Script {
    Script::new().modes(BodyMode::Buffered, BodyMode::Streamed).request_only([(":method", "GET"), (":path", path)])
}

#[tokio::test]
async fn py_054_every_metric_moves_when_it_should() {
    let base = ["events_total{P,phase=\"request_headers\"} 1", "handler_seconds_count{P,phase=\"request_headers\"} 1"];
    let failed = |more: &[&str]| [&["streams_total{P,end=\"failed\"} 1"], more].concat().join("|");
    let table = [
        (get("/"), "streams_total{P,end=\"ok\"} 1".to_owned()),
        (get("/fail"), failed(&["failures_total{P,kind=\"error\"} 1"])),
        (get("/panic"), failed(&["failures_total{P,kind=\"panic\"} 1", "panics_total{P} 1"])),
        (
            get("/deny"),
            "streams_total{P,end=\"local_reply\"} 1|local_replies_total{P,status=\"403\",details=\"bad key\"} 1"
                .to_owned(),
        ),
    ];
    for (script, expected) in table {
        let mut expected: Vec<String> = expected.split('|').map(ToOwned::to_owned).collect();
        expected.extend(base.map(ToOwned::to_owned));
        expected.push("stream_seconds_count{P} 1".to_owned());
        expected.sort();
        let mut moved = moved(script, Probe).await;
        moved.sort();
        assert_eq!(moved, expected);
    }
    for path in ["/name", "/value", "/pseudo", "/framing"] {
        let moved = moved(get(path), Probe).await;
        assert!(moved.contains(&"blocked_writes_total{P,reason=\"forbidden\"} 1".to_owned()), "{path}: {moved:?}");
        assert!(moved.contains(&"failures_total{P,kind=\"refused\"} 1".to_owned()), "{path}: {moved:?}");
    }
}

#[tokio::test]
async fn bodies_are_counted_by_direction_and_way() {
    let script = Script::new()
        .modes(BodyMode::Buffered, BodyMode::Streamed)
        .request_headers(GET)
        .request_body("abc", true)
        .response_headers(OK)
        .response_body("1234567", false)
        .response_body("", true);
    let moved = moved(script, Probe).await;
    for expected in [
        "body_bytes_total{P,direction=\"request\",way=\"received\"} 3",
        "body_bytes_total{P,direction=\"request\",way=\"sent\"} 5",
        "body_bytes_total{P,direction=\"response\",way=\"received\"} 7",
        "body_bytes_total{P,direction=\"response\",way=\"sent\"} 4",
        "events_total{P,phase=\"response_body\"} 2",
        "handler_seconds_count{P,phase=\"response_body\"} 2",
    ] {
        assert!(moved.contains(&expected.to_owned()), "{expected} is not in {moved:#?}");
    }
}

#[tokio::test]
async fn what_cannot_be_carried_is_counted_by_its_reason() {
    let late = |script: Script| script.modes(BodyMode::Streamed, BodyMode::Streamed);
    let table = [
        (
            "a body longer than the kind takes",
            get("/").request_body("12345", true),
            // The headers said that nothing follows, so the data plane broke the protocol.
            vec!["failures_total{P,kind=\"violation\"} 1"],
        ),
        (
            "a long body",
            Script::new().modes(BodyMode::Buffered, BodyMode::None).request_headers(GET).request_body("12345", true),
            vec![
                "limit_total{P,limit=\"body\"} 1",
                "local_replies_total{P,status=\"413\",details=\"request_payload_too_large\"} 1",
            ],
        ),
        (
            "a body in a mode that the kind cannot serve",
            Script::new().modes(BodyMode::Grpc, BodyMode::None).request_headers(GET).request_body("1", true),
            vec![
                "mismatch_total{P,need=\"whole\",mode=\"GRPC\"} 1",
                "config_differences_total{P,difference=\"request_body_mode\"} 1",
                "config_differences_total{P,difference=\"response_body_not_sent\"} 1",
            ],
        ),
        (
            "a status that is none",
            Script::new().modes(BodyMode::None, BodyMode::None).response_only([(":status", "200"), ("x-status", "1")]),
            vec!["blocked_writes_total{P,reason=\"forbidden\"} 1"],
        ),
        (
            "a body that ended with trailers before its length",
            late(Script::new())
                .request_headers([(":method", "POST"), ("content-length", "2")])
                .request_body("1", false)
                .request_trailers([("a", "b")]),
            vec!["blocked_writes_total{P,reason=\"no_answer_left\"} 1", "failures_total{P,kind=\"body_mode\"} 1"],
        ),
        (
            "a response that is cut off",
            late(Script::new()).response_headers(OK).response_body("cut", true),
            vec!["streams_total{P,end=\"cut\"} 1"],
        ),
    ];
    for (what, script, expected) in table {
        let moved = moved(script, Probe).await;
        for line in expected {
            assert!(moved.contains(&line.to_owned()), "{what}: {line} is not in {moved:#?}");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_too_long_is_a_limit() {
    struct Calls;
    impl Processor for Calls {
        type Ctx = ();
        type RequestBody = extproc::Messages;
        type ResponseBody = Skip;
        fn open(&self, _: &Open) {}
        async fn request_body(&self, (): &mut (), io: &mut MsgIo<Request>) -> Result<(), Stop> {
            io.out.pass();
            Ok(())
        }
    }
    let script = Script::new()
        .modes(BodyMode::Streamed, BodyMode::None)
        .request_headers([(":method", "POST"), ("content-type", "application/grpc")])
        .request_body(vec![0, 0xff, 0, 0, 0], false);
    let moved = moved(script, Calls).await;
    assert!(moved.contains(&"limit_total{processor=\"Calls\",limit=\"message\"} 1".to_owned()), "{moved:#?}");
}

/// A stream has the names of all its processors, a phase that of its own.
#[tokio::test]
async fn a_chain_counts_streams_together_and_phases_apart() {
    let moved = moved(get("/fail"), Chain::new(Noop).then(Policy::new(Probe, OnError::Skip))).await;
    for expected in [
        "streams_total{processor=\"Noop,Probe\",end=\"ok\"} 1",
        "handler_seconds_count{processor=\"Noop\",phase=\"request_headers\"} 1",
        "handler_seconds_count{P,phase=\"request_headers\"} 1",
        "failures_total{P,kind=\"error\"} 1",
    ] {
        assert!(moved.contains(&expected.to_owned()), "{expected} is not in {moved:#?}");
    }
}

#[tokio::test]
async fn processors_of_one_name_count_together() {
    let metrics = Metrics::new();
    let script = get("/").metrics(&metrics);
    script.run(vec![BoxProcessor::new(Noop), BoxProcessor::new(Noop)]).await;
    script.run(Noop).await;
    let moved = lines(&metrics);
    for expected in [
        "streams_total{processor=\"Noop,Noop\",end=\"ok\"} 1",
        "streams_total{processor=\"Noop\",end=\"ok\"} 1",
        "handler_seconds_count{processor=\"Noop\",phase=\"request_headers\"} 3",
    ] {
        assert!(moved.contains(&expected.to_owned()), "{expected} is not in {moved:#?}");
    }
}

/// What is registered is there before the first exchange, so that a rate has a beginning.
#[test]
fn counters_start_at_zero_and_can_be_in_a_registry_of_ones_own() {
    let metrics = Metrics::new();
    drop(Server::new(Probe).metrics(&metrics).into_service());
    let mut registry = prometheus_client::registry::Registry::default();
    metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert_eq!(text, metrics.encode());
    for line in [
        "ext_proc_streams_total{processor=\"Probe\",end=\"failed\"} 0",
        "ext_proc_streams_active{processor=\"Probe\"} 0",
        "ext_proc_failures_total{processor=\"Probe\",kind=\"panic\"} 0",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}");
    }
}

/// A stream that goes away while a handler runs, as at a data plane's timeout, counts with the time that it had.
#[tokio::test(start_paused = true)]
async fn a_handler_that_is_cut_off_is_counted() {
    let metrics = Metrics::new();
    let probe = Arc::new(Probe);
    let script = get("/wait").metrics(&metrics);
    let cut = tokio::time::timeout(std::time::Duration::from_millis(200), script.run_shared(&probe)).await;
    assert!(cut.is_err());
    let moved = lines(&metrics);
    for expected in [
        "streams_total{P,end=\"cancelled\"} 1",
        "handler_seconds_count{P,phase=\"request_headers\"} 1",
        "stream_seconds_count{P} 1",
    ] {
        assert!(moved.contains(&expected.to_owned()), "{expected} is not in {moved:#?}");
    }
    let text = metrics.encode();
    assert!(
        text.contains("ext_proc_handler_seconds_sum{processor=\"Probe\",phase=\"request_headers\"} 0.2\n"),
        "{text}"
    );
}

/// The names in the first column of a table of the document.
fn documented(document: &str) -> BTreeSet<&str> {
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `ext_proc_")?.split_once('`'));
    let rows = rows.filter(|(_, rest)| {
        rest.starts_with(" | counter") || rest.starts_with(" | gauge") || rest.starts_with(" | histogram")
    });
    rows.map(|(name, _)| name).collect()
}

#[test]
fn the_document_lists_what_is_exported() {
    let document = include_str!("../../../docs/observability.md");
    let text = Metrics::new().encode();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ext_proc_")?.split_once(' '));
    let exported: BTreeSet<String> =
        types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect();
    assert_eq!(documented(document), exported.iter().map(String::as_str).collect());
    for label in ["cancelled", "body_mode", "nothing_follows", "FULL_DUPLEX_STREAMED", "chunks"] {
        assert!(document.contains(&format!("`{label}`")), "{label}");
    }
}
