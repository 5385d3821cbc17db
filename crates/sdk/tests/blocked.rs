//! Writes that a phase, a body mode or a data plane cannot carry: each is recorded with its reason.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use extproc::testing::Script;
use extproc::{
    BodyMode, MismatchKind, Open, Phase, Processor, Reason, Refused, Request, RequestHead, Skip, Start, Stop, Whole,
    WholeIo, Write,
};

/// Runs this in the header phase, and that in the body phase.
struct Author(fn(&mut Start<RequestHead>), fn(&mut WholeIo<Request>));

impl Processor for Author {
    type Ctx = ();
    type RequestBody = Whole<1024>;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        (self.0)(req);
        Ok(())
    }

    async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        (self.1)(io);
        Ok(())
    }
}

const HEAD: [(&str, &str); 3] = [(":method", "POST"), (":path", "/"), ("content-length", "1")];

#[tokio::test]
async fn each_blocked_write_names_its_reason() {
    use BodyMode::{Buffered, FullDuplexStreamed, Grpc, Streamed};
    type Row = (BodyMode, Author, Phase, Write, Reason);
    let (headers, body) = (Phase::RequestHeaders, Phase::RequestBody);
    let rows: [Row; 7] = [
        (Buffered, Author(|req| req.set(":path", "/"), |_| ()), headers, Write::Header, Refused::Pseudo.into()),
        (Buffered, Author(|req| req.set("content-length", 1), |_| ()), headers, Write::Header, Refused::Framing.into()),
        (
            FullDuplexStreamed,
            Author(|req| assert!(!req.ask(Streamed)), |_| ()),
            headers,
            Write::Ask,
            Reason::CannotAsk(Streamed),
        ),
        (Buffered, Author(|req| assert!(!req.ask(Grpc)), |_| ()), headers, Write::Ask, Reason::CannotAsk(Grpc)),
        (
            FullDuplexStreamed,
            Author(|req| assert!(!req.extend(Duration::from_secs(1))), |_| ()),
            headers,
            Write::Extend,
            Reason::CannotExtend,
        ),
        (
            Buffered,
            Author(|req| assert!(!req.extend(Duration::ZERO)), |_| ()),
            headers,
            Write::Extend,
            Reason::CannotExtend,
        ),
        (Streamed, Author(|_| (), |io| io.head.set("a", 1)), body, Write::Header, Reason::HeadGone(Streamed)),
    ];
    for (mode, author, phase, what, reason) in rows {
        let script = Script::new().modes(mode, BodyMode::None).request_headers(HEAD).request_body("x", true);
        let blocked = script.run(author).await.blocked;
        let [blocked] = &blocked[..] else { panic!("{mode} {phase}: {blocked:?}") };
        assert_eq!((blocked.phase, blocked.what, blocked.reason), (phase, what, reason), "{mode}");
        assert_eq!(blocked.processor, "Author");
    }
}

#[tokio::test]
async fn what_is_carried_is_not_recorded() {
    let author = Author(
        |req| {
            assert!(req.extend(Duration::from_secs(1)));
            req.set("a", 1);
        },
        |io| io.head.set("b", 2),
    );
    let script = Script::new().modes(BodyMode::Buffered, BodyMode::None).request_headers(HEAD).request_body("x", true);
    let said = script.run(author).await;
    assert_eq!((said.blocked, said.mismatches), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn a_mismatch_is_recorded() {
    let said = Script::new()
        .modes(BodyMode::Grpc, BodyMode::None)
        .request_headers(HEAD)
        .request_body("x", true)
        .run(Author(|_| (), |_| ()))
        .await;
    let what: Vec<_> = said.mismatches.iter().map(|m| (m.what, m.mode)).collect();
    assert_eq!(what, [(MismatchKind::WholeOfMessages, BodyMode::Grpc)]);
}
