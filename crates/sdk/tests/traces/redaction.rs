//! Secrets are not printed, and what is not printed is not changed.

use std::sync::{Arc, Mutex};

use extproc::testing::Script;
use extproc::{
    Abort, BodyMode, LocalReply, Open, Processor, Request, RequestHead, ResponseHead, Secret, Skip, Start, Stop,
    Trailers, Whole, WholeIo, processor, redact,
};
use tracing_subscriber::filter::LevelFilter;

use crate::capture::Told;

const SECRET: &str = "t0p-s3cret";
const NAMES: [&str; 6] = ["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key", "x-of-ours"];

/// What views print, and an event of the author's own.
struct Print(Arc<Mutex<Vec<String>>>);

impl Print {
    fn print(&self, view: &dyn std::fmt::Debug) {
        tracing::info!(?view, "seen");
        self.0.lock().unwrap().push(format!("{view:?} {view:#?}"));
    }
}

impl Processor for Print {
    type Ctx = ();
    type RequestBody = Whole<100>;
    type ResponseBody = Skip;

    fn open(&self, open: &Open) {
        self.print(open);
    }

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.set("authorization", Secret::new(SECRET));
        self.print(req);
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        self.print(io);
        Ok(())
    }

    async fn response_headers(&self, (): &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        self.print(rsp);
        self.print(&rsp.request());
        Ok(())
    }

    async fn response_trailers(&self, (): &mut (), trailers: &mut Trailers) -> Result<(), Abort> {
        self.print(trailers);
        Ok(())
    }
}

#[tokio::test]
async fn secrets_are_in_no_debug_output_and_in_every_message() {
    redact(["X-Of-Ours"]);
    let (told, _guard) = Told::listen(LevelFilter::TRACE);
    let printed = Arc::new(Mutex::new(Vec::new()));
    let secrets = || NAMES.map(|name| (name, SECRET));
    let script = Script::new()
        .modes(BodyMode::Buffered, BodyMode::None)
        .request_headers([(":method", "GET"), ("accept", "all")].into_iter().chain(secrets()))
        .request_body("", true)
        .response_headers([(":status", "200")].into_iter().chain(secrets()))
        .response_trailers(secrets());
    let said = script.run(Print(Arc::clone(&printed))).await;
    assert!(said.status.is_ok(), "{said:?}");
    assert!(said.lines()[0].contains(&format!("authorization={SECRET}")), "the message is as it was made: {said:?}");

    let printed = printed.lock().unwrap();
    assert_eq!(printed.len(), 6, "{printed:#?}");
    assert!(printed[1].contains("accept: \"all\"") && printed[1].contains("cookie: [redacted]"), "{}", printed[1]);
    let shown = [printed.join("\n"), told.lines().join("\n"), format!("{script:?} {script:#?} {said:?} {said:#?}")];
    for text in shown {
        assert!(!text.contains(SECRET), "{text}");
        assert!(text.contains("[redacted]"), "{text}");
    }
}

#[tokio::test]
async fn local_replies_hide_what_they_set() {
    let reply = LocalReply::new(302).header("Set-Cookie", SECRET).header("location", "/").body("go").details("login");
    let text = format!("{reply:?}");
    assert!(!text.contains(SECRET) && text.contains("set-cookie: [redacted]") && text.contains("/"), "{text}");
    let login = processor::<LocalReply, ()>("Login", reply).request_headers(
        async |reply: &LocalReply, (): &mut (), _: &mut Start<RequestHead>| -> Result<(), Stop> {
            Err(reply.clone().into())
        },
    );
    let said = Script::new().modes(BodyMode::None, BodyMode::None).request_only([(":method", "GET")]).run(login).await;
    assert!(
        said.lines()[0].contains(&format!("set-cookie+={SECRET}"))
            || said.lines()[0].contains(&format!("set-cookie={SECRET}"))
    );
    assert!(!format!("{said:?}").contains(SECRET));
}

#[tokio::test]
async fn violations_of_a_peer_do_not_fill_the_log() {
    let (told, _guard) = Told::listen(LevelFilter::WARN);
    let metrics = extproc::Metrics::new();
    let twice = Script::new()
        .metrics(&metrics)
        .modes(BodyMode::None, BodyMode::None)
        .request_headers([(":method", "GET")])
        .request_headers([(":method", "GET")]);
    let noop = Arc::new(extproc::Noop);
    // One server, many streams: the metrics hold what the log does not.
    for _ in 0..20 {
        twice.run_shared(&noop).await;
    }
    assert_eq!(told.starting("WARN").len(), 5, "{:#?}", told.lines());
    assert!(told.starting("WARN")[4].contains("for the rest of the minute this is only counted"));
    #[cfg(feature = "metrics")]
    assert!(metrics.encode().contains("ext_proc_failures_total{processor=\"Noop\",kind=\"violation\"} 20\n"));
}
