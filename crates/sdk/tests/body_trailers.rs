//! When a handler of a whole body knows the trailers: as soon as the data plane has sent them.
#![allow(clippy::unwrap_used, reason = "test code")]

use extproc::testing::{Exchange, Harness, Plan, Profile, Script};
use extproc::{BodyMode, Chain, Open, Processor, Request, Response, Stop, Trailers, Whole, WholeIo};

/// Tells in the trailers what it knew of them when it had the body, and whether they were what they are.
struct Knows;

fn known(body: &extproc::Body) -> Option<String> {
    body.trailers().map(|trailers| trailers.header("x-sum").unwrap_or("other").to_owned())
}

impl Processor for Knows {
    type Ctx = [Option<String>; 2];
    type RequestBody = Whole<64>;
    type ResponseBody = Whole<64>;

    fn open(&self, _: &Open) -> [Option<String>; 2] {
        [None, None]
    }

    async fn request_body(&self, ctx: &mut Self::Ctx, io: &mut WholeIo<Request>) -> Result<(), Stop> {
        ctx[0] = known(&io.body);
        Ok(())
    }

    async fn request_trailers(&self, ctx: &mut Self::Ctx, trailers: &mut Trailers) -> Result<(), Stop> {
        trailers.append("x-known", ctx[0].take().as_deref().unwrap_or("none"));
        Ok(())
    }

    async fn response_body(&self, ctx: &mut Self::Ctx, io: &mut WholeIo<Response>) -> Result<(), Stop> {
        ctx[1] = known(&io.body);
        Ok(())
    }

    async fn response_trailers(&self, ctx: &mut Self::Ctx, trailers: &mut Trailers) -> Result<(), extproc::Abort> {
        trailers.append("x-known", ctx[1].take().as_deref().unwrap_or("none"));
        Ok(())
    }
}

fn exchange(body: &str, length: bool) -> Exchange {
    let with = |plan: Plan| {
        let plan = if length { plan.header("content-length", body.len()) } else { plan };
        let plan = if body.is_empty() { plan } else { plan.body(body) };
        plan.trailer("x-sum", "abc")
    };
    Exchange::new(with(Plan::request("POST", "/"))).answered(with(Plan::response(200)))
}

#[tokio::test]
async fn trailers_are_known_when_they_came_before_the_handler_ran() {
    use BodyMode::{Buffered, BufferedPartial, FullDuplexStreamed, Streamed};
    let rows = [
        (FullDuplexStreamed, "hello", false, "abc"),
        (FullDuplexStreamed, "hello", true, "abc"),
        (FullDuplexStreamed, "", false, "abc"),
        (Streamed, "hello", true, "none"),
        (Streamed, "", false, "abc"),
        (Buffered, "hello", false, "none"),
        (Buffered, "hello", true, "none"),
        (Buffered, "", false, "abc"),
        (BufferedPartial, "hello", false, "none"),
        (BufferedPartial, "", false, "abc"),
    ];
    for (mode, body, length, expected) in rows {
        let what = format!("{mode:?} {body:?} {length}");
        let done = Harness::new(Knows).mode(mode).run(&exchange(body, length)).await;
        for (way, seen) in [("request", done.upstream()), ("response", done.client())] {
            assert_eq!(seen.trailer("x-known"), Some(expected), "{what} {way}");
            assert_eq!(seen.trailer("x-sum"), Some("abc"), "{what} {way}: they go on");
            assert_eq!(seen.text(), body, "{what} {way}");
        }
        done.went_well();
    }
}

#[tokio::test]
async fn without_a_length_they_may_come_before_the_chunks_are_answered() {
    // Envoy does not send them before; data planes that do are understood.
    let script = Script::new().modes(BodyMode::Streamed, BodyMode::Streamed).request_headers([(":method", "POST")]);
    let script = script.request_body("hello", false).request_trailers([("x-sum", "abc")]);
    assert_eq!(
        script.run(Knows).await.lines(),
        ["request_headers", r#"request_body body="hello""#, "request_trailers x-known+=abc"]
    );
}

#[tokio::test]
async fn each_processor_of_a_chain_knows_them() {
    let chain = || Chain::new(Knows).then(Knows);
    for (mode, expected) in [(BodyMode::FullDuplexStreamed, ["abc", "abc"]), (BodyMode::Buffered, ["none", "none"])] {
        let done = Harness::new(chain()).mode(mode).run(&exchange("hello", false)).await;
        for seen in [&done.request, &done.response] {
            let trailers = seen.trailers.as_ref().unwrap();
            let values: Vec<_> = trailers.get_all("x-known").map(|value| value.to_str().unwrap()).collect();
            assert_eq!(values, expected, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn the_end_of_a_grpc_call_is_known_with_its_messages() {
    let call = Exchange::new(Plan::request("POST", "/s/m").header("te", "trailers").messages(["a"]))
        .answered(Plan::response(200).messages(["b"]).trailer("x-sum", "abc").trailer("grpc-status", 0));
    let done = Harness::new(Knows).profile(Profile::Grpc).mode(BodyMode::Grpc).run(&call).await;
    assert_eq!(done.client().trailer("x-known"), Some("abc"));
}

#[tokio::test]
async fn there_are_none_without_trailers() {
    struct Without;
    impl Processor for Without {
        type Ctx = ();
        type RequestBody = Whole<64>;
        type ResponseBody = extproc::Skip;

        fn open(&self, _: &Open) {}

        async fn request_body(&self, (): &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
            let told = known(&io.body).unwrap_or_else(|| "none".to_owned());
            io.body.replace(told);
            Ok(())
        }
    }
    let plain = Exchange::new(Plan::request("POST", "/").body("hello"));
    Harness::new(Without).all_modes(&plain).await.upstream().has_body("none");
}
