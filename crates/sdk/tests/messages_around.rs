//! Messages put around the one in hand, and whether it is the last: in GRPC and in HTTP's body modes.
#![allow(clippy::unwrap_used, reason = "test code")]

use extproc::proto::processing_request::Request as Ask;
use extproc::proto::{HttpBody, ProcessingRequest};
use extproc::testing::{Exchange, Harness, Plan, Profile, Script};
use extproc::{Abort, BodyMode, Dir, Messages, MsgIo, Open, Processor, Request, Response, Skip, Stop};

const HTTP: [BodyMode; 3] = [BodyMode::Buffered, BodyMode::Streamed, BodyMode::FullDuplexStreamed];

/// Puts two messages before and two behind each, drops `drop`, replaces `swap` by two.
struct Around;

fn around<D: Dir>(io: &mut MsgIo<D>) {
    let message = io.raw();
    match message.as_ref() {
        b"drop" => {}
        b"swap" => {
            io.out.send_raw("s1");
            io.out.send_raw("s2");
        }
        _ => {
            io.out.send_raw("b1");
            io.out.send_raw("b2");
            io.out.pass();
            io.out.send_raw("a1");
            io.out.send_raw("a2");
        }
    }
}

impl Processor for Around {
    type Ctx = ();
    type RequestBody = Messages;
    type ResponseBody = Messages;

    fn open(&self, _: &Open) {}

    async fn request_body(&self, (): &mut (), io: &mut MsgIo<Request>) -> Result<(), Stop> {
        around(io);
        Ok(())
    }

    async fn response_body(&self, (): &mut (), io: &mut MsgIo<Response>) -> Result<(), Abort> {
        around(io);
        Ok(())
    }
}

fn texts(texts: &[&'static str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn frames(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("\0\0\0\0{}{text}", char::from(u8::try_from(text.len()).unwrap()))).collect()
}

#[tokio::test]
async fn any_number_goes_before_and_behind_the_one_in_hand() {
    let rows: [(&[&'static str], &[&str]); 5] = [
        (&["x"], &["b1", "b2", "x", "a1", "a2"]),
        (&["x", "y"], &["b1", "b2", "x", "a1", "a2", "b1", "b2", "y", "a1", "a2"]),
        (&["drop", "x"], &["b1", "b2", "x", "a1", "a2"]),
        (&["x", "drop"], &["b1", "b2", "x", "a1", "a2"]),
        (&["swap", "drop", "swap"], &["s1", "s2", "s1", "s2"]),
    ];
    for (sent, expected) in rows {
        let call = Exchange::new(Plan::request("POST", "/s/m").header("te", "trailers").messages(texts(sent)))
            .answered(Plan::response(200).messages(texts(sent)).trailer("grpc-status", 0));
        let grpc = Harness::new(Around).profile(Profile::Grpc).mode(BodyMode::Grpc);
        let others = HTTP.map(|mode| Harness::new(Around).mode(mode));
        for harness in [grpc].into_iter().chain(others) {
            for cut in [vec![], vec![3, 4]] {
                let done = harness.clone().chunks(cut).run(&call).await;
                done.upstream().has_body(frames(expected)).is_whole();
                done.client().has_body(frames(expected)).has_trailer("grpc-status", 0).is_whole();
                done.went_well().no_spurious();
            }
        }
    }
}

/// Puts out what it knows of the end.
struct Last;

impl Processor for Last {
    type Ctx = ();
    type RequestBody = Messages;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_body(&self, (): &mut (), io: &mut MsgIo<Request>) -> Result<(), Stop> {
        io.out.send_raw(if io.is_half_closed() { "last" } else { "more" });
        Ok(())
    }
}

const POST: [(&str, &str); 3] = [(":method", "POST"), (":path", "/s/m"), ("content-type", "application/grpc")];

fn body(body: HttpBody) -> ProcessingRequest {
    ProcessingRequest { request: Some(Ask::RequestBody(body)), ..ProcessingRequest::default() }
}

#[tokio::test]
async fn the_last_is_known_if_the_end_comes_with_it() {
    let grpc = || Script::new().modes(BodyMode::Grpc, BodyMode::None).request_headers(POST);
    let message = |end_of_stream| body(HttpBody { body: "m".into(), end_of_stream, ..HttpBody::default() });
    let closed = HttpBody { end_of_stream: true, end_of_stream_without_message: true, ..HttpBody::default() };
    let http = |mode| Script::new().modes(mode, BodyMode::None).request_headers(POST);
    let two = || frames(&["m", "m"]);
    let rows = [
        ("GRPC, with a message", grpc().message(message(false)).message(message(true)), "more last"),
        ("GRPC, alone", grpc().message(message(false)).message(body(closed)), "more"),
        ("BUFFERED", http(BodyMode::Buffered).request_body(two(), true), "more last"),
        ("FULL_DUPLEX_STREAMED, with bytes", http(BodyMode::FullDuplexStreamed).request_body(two(), true), "more last"),
        (
            "FULL_DUPLEX_STREAMED, alone",
            http(BodyMode::FullDuplexStreamed).request_body(two(), false).request_body("", true),
            "more more",
        ),
        (
            "FULL_DUPLEX_STREAMED, with trailers",
            http(BodyMode::FullDuplexStreamed).request_body(two(), false).request_trailers([("t", "1")]),
            "more more",
        ),
        ("STREAMED, with bytes", http(BodyMode::Streamed).request_body(two(), true), "more last"),
    ];
    for (what, script, expected) in rows {
        let lines = script.run(Last).await.lines().join(" ");
        let mut words: Vec<_> = ["more", "last"].iter().flat_map(|word| lines.match_indices(word)).collect();
        words.sort_unstable();
        let words: Vec<_> = words.into_iter().map(|(_, word)| word).collect();
        assert_eq!(words.join(" "), expected, "{what}: {lines}");
    }
}
