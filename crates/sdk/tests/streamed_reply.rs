//! Local replies whose body is written while the client takes it: on the wire, in a chain, through the data plane.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use extproc::proto::external_processor_client::ExternalProcessorClient;
use extproc::testing::{Ending, Exchange, Harness, Profile, Script};
use extproc::{
    Abort, BodyMode, Chain, ChunkIo, Error, LocalReply, Open, Phase, Processor, Reason, ReplyWriter, RequestHead,
    Response, ResponseHead, Server, Skip, Start, Stop, Stream, Trailers, Whole, WholeIo, Write,
};

const GET: [(&str, &str); 2] = [(":method", "GET"), (":path", "/")];

/// Answers each request with this.
struct Answers(fn() -> LocalReply);

impl Processor for Answers {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), _: &mut Start<RequestHead>) -> Result<(), Stop> {
        Err((self.0)().into())
    }
}

/// Marks heads and trailers of responses, and writes their bodies in capitals.
struct Upper;

impl Processor for Upper {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Stream;

    fn open(&self, _: &Open) {}

    async fn response_headers(&self, (): &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        let status = rsp.status();
        rsp.set("x-upper", status);
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        io.out.push(io.data.to_ascii_uppercase());
        if io.last {
            io.out.push("!");
        }
        Ok(())
    }

    async fn response_trailers(&self, (): &mut (), trailers: &mut Trailers) -> Result<(), Abort> {
        trailers.set("x-upper", "1");
        Ok(())
    }
}

/// Takes response bodies whole.
struct Collects;

impl Processor for Collects {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Whole<1024>;

    fn open(&self, _: &Open) {}

    async fn response_body(&self, (): &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        io.body.replace([&b"<"[..], io.body.bytes(), b">"].concat());
        Ok(())
    }
}

async fn one_two(mut to: ReplyWriter) -> Result<(), Error> {
    to.send("one").await?;
    to.send("").await?;
    to.send("two").await?;
    to.trailer("x-t", 1);
    Ok(())
}

fn plain() -> LocalReply {
    LocalReply::new(200).header("x-a", 1).stream(|mut to| async move { Ok(to.send("one").await?) })
}

fn with_trailers() -> LocalReply {
    LocalReply::new(201).header("content-type", "a/b").stream(one_two)
}

fn repeats() -> LocalReply {
    LocalReply::new(200).header("set-cookie", "a").header("set-cookie", "b").stream(one_two)
}

fn fails() -> LocalReply {
    LocalReply::new(200).stream(|mut to| async move {
        to.send("one").await?;
        Err("the source is gone".into())
    })
}

fn panics() -> LocalReply {
    LocalReply::new(200).stream(|_| async move { panic!("on purpose") })
}

fn endless() -> LocalReply {
    LocalReply::new(200).stream(|mut to| async move {
        loop {
            to.send(vec![b'x'; 64 << 10]).await?;
        }
    })
}

async fn lines(mode: BodyMode, answers: fn() -> LocalReply) -> (Vec<String>, Vec<(Write, Reason)>) {
    let transcript = Script::new().modes(mode, BodyMode::None).request_only(GET).run(Answers(answers)).await;
    let blocked = transcript.blocked.iter().map(|blocked| (blocked.what, blocked.reason)).collect();
    (transcript.lines(), blocked)
}

#[tokio::test]
async fn sdk_013_a_reply_is_streamed_where_the_mode_lets_it() {
    for mode in [BodyMode::None, BodyMode::FullDuplexStreamed] {
        let expected = ["reply :status=200 x-a=1 content-type=text/plain", "reply \"one\"", "reply \"\" end"];
        assert_eq!(lines(mode, plain).await, (expected.map(str::to_owned).to_vec(), vec![]), "{mode}");
        let expected = ["reply :status=201 content-type=a/b", "reply \"one\"", "reply \"two\"", "reply trailers x-t=1"];
        assert_eq!(lines(mode, with_trailers).await, (expected.map(str::to_owned).to_vec(), vec![]), "{mode}");
    }
}

#[tokio::test]
async fn elsewhere_it_is_collected_and_recorded() {
    let stream = |reason| (Write::ReplyStream, reason);
    let trailer = (Write::ReplyTrailer, Reason::NotStreamed);
    for mode in [BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::Streamed, BodyMode::Grpc] {
        let (said, blocked) = lines(mode, with_trailers).await;
        assert_eq!(said, ["immediate 201 content-type=a/b body=\"onetwo\""], "{mode}");
        assert_eq!(blocked, [stream(Reason::NotStreamed), trailer], "{mode}");
    }
    let (said, blocked) = lines(BodyMode::None, repeats).await;
    assert_eq!(said[0].matches("set-cookie").count(), 2, "{said:?}");
    assert_eq!(blocked, [stream(Reason::RepeatedHeader), trailer]);
    let grpc = [(":method", "POST"), ("content-type", "application/grpc")];
    let transcript = Script::new().modes(BodyMode::None, BodyMode::None).request_only(grpc).run(Answers(plain)).await;
    assert_eq!(transcript.blocked[0].reason, Reason::GrpcClient);
}

#[tokio::test]
async fn what_is_collected_has_a_limit() {
    let transcript =
        Script::new().modes(BodyMode::Buffered, BodyMode::None).request_only(GET).run(Answers(endless)).await;
    assert_eq!(transcript.lines(), ["error Internal: processor Answers failed"]);
    assert_eq!(transcript.status.unwrap_err().code(), tonic::Code::Internal);
}

#[tokio::test]
async fn a_writer_that_fails_or_panics_ends_the_stream_with_an_error() {
    for (answers, said) in [(fails as fn() -> LocalReply, 3), (panics, 2)] {
        let script = Script::new().modes(BodyMode::None, BodyMode::None).request_only(GET);
        let transcript = script.run(Answers(answers)).await;
        assert_eq!(transcript.lines().len(), said, "{:?}", transcript.lines());
        let status = transcript.status.unwrap_err();
        assert_eq!((status.code(), status.message()), (tonic::Code::Internal, "processor Answers failed"));
    }
}

#[tokio::test]
async fn in_a_chain_it_passes_the_others_piece_by_piece() {
    let chain = Chain::new(Upper).then(Answers(with_trailers)).then(Upper);
    let script = Script::new().modes(BodyMode::None, BodyMode::None).request_only(GET);
    assert_eq!(
        script.run(chain).await.lines(),
        [
            "reply :status=201 content-type=a/b x-upper=201",
            "reply \"ONE\"",
            "reply \"TWO\"",
            "reply \"!\"",
            "reply \"!\"",
            "reply trailers x-t=1 x-upper=1",
        ]
    );
    let script = Script::new().modes(BodyMode::None, BodyMode::None).request_only(GET);
    let transcript = script.run(Chain::new(Collects).then(Answers(with_trailers))).await;
    assert!(transcript.lines()[0].contains("body=\"<onetwo>\""), "{:?}", transcript.lines());
    assert_eq!(transcript.blocked[0].reason, Reason::CollectedInChain);
    assert_eq!((transcript.blocked[0].phase, &*transcript.blocked[0].processor), (Phase::RequestHeaders, "Answers"));
}

/// What the client gets, from a data plane with Envoy's behaviour.
#[tokio::test]
async fn the_harness_shows_the_effective_response() {
    let done = Harness::new(Answers(with_trailers)).run(&Exchange::get("/")).await;
    assert_eq!(done.ending, Ending::Complete, "{}", done.timed());
    done.client().has_status(201).has_body("onetwo").has_trailer("x-t", 1);
    let done = Harness::new(Answers(fails)).run(&Exchange::get("/")).await;
    assert_eq!((done.ending, done.response.status()), (Ending::Cut, Some(200)), "{}", done.timed());
    // agentgateway does not know such replies: it gets a whole one.
    let harness = Harness::new(Answers(plain)).profile(Profile::Agentgateway);
    harness.run(&Exchange::get("/")).await.client().has_status(200).has_body("one");
}

#[tokio::test]
async fn a_data_plane_that_does_not_take_the_reply_stops_its_writer() {
    const PIECES: usize = 1000;
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    let answers = || {
        LocalReply::new(200).stream(|mut to| async move {
            for _ in 0..PIECES {
                to.send(vec![b'x'; 64 << 10]).await?;
                WRITTEN.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    };
    let bound = Server::new(Answers(answers)).listen("127.0.0.1:0").bind().await.unwrap();
    let uri = format!("http://{}", bound.address().to_string().trim_start_matches("tcp://"));
    let serving = tokio::spawn(bound.serve_with_shutdown(std::future::pending()));
    let channel = tonic::transport::Endpoint::from_shared(uri).unwrap().connect().await.unwrap();
    let mut client = ExternalProcessorClient::new(channel);
    let script = Script::new().modes(BodyMode::None, BodyMode::None).request_only(GET);
    let requests = tokio_stream::iter(script.messages());
    let mut replies = client.process(requests).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().is_some());
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut unchanged = (0, 0);
    while unchanged.1 < 200 && Instant::now() < deadline {
        let written = WRITTEN.load(Ordering::Relaxed);
        unchanged = if written == unchanged.0 { (written, unchanged.1 + 1) } else { (written, 0) };
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(unchanged.0 < PIECES / 2, "{} pieces were written, and none was taken", unchanged.0);
    let mut taken = 0;
    while replies.message().await.unwrap().is_some() {
        taken += 1;
    }
    assert_eq!((taken, WRITTEN.load(Ordering::Relaxed)), (PIECES + 1, PIECES));
    serving.abort();
}

/// A clone of a reply shares its writer.
#[test]
fn replies_compare_by_their_writer() {
    let reply = plain();
    assert_eq!(reply, reply.clone());
    assert_ne!(reply, plain());
    assert!(reply.is_streamed() && !reply.clone().body("x").is_streamed());
    assert!(format!("{:?}", Arc::new(reply)).contains("(streamed)"));
}
