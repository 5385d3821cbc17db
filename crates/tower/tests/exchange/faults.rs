//! Whatever a processor, a client or an upstream does: the documented outcome, in time.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use extproc_core::{BodyMode, Options};
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Code;

use crate::processor::{Scripted, Step, ack, kind, replace};
use crate::world::{Feed, TestBody, Upstream, bodies, counted, eventually, exchange, filter, get, post, text};

const SOON: Duration = Duration::from_millis(50);
const PASSED: &str = "200 GET http://ex.com/ host=ex.com []";

/// An upstream whose one response has a body that the test feeds.
fn streaming() -> (Upstream, Arc<Feed>) {
    let (body, feed) = TestBody::open();
    let body = Mutex::new(Some(body));
    let upstream = Upstream::new(move |_| {
        let body = body.lock().unwrap().take().unwrap();
        async { Ok(Response::new(body)) }
    });
    (upstream, feed)
}

/// What comes of a GET when both headers go to this processor, failing closed and failing open.
async fn outcomes(address: SocketAddr) -> [(String, String); 2] {
    outcomes_within(Duration::from_secs(60), address).await
}

/// The same for a processor that the message timeout has to end.
async fn outcomes_within(message_timeout: Duration, address: SocketAddr) -> [(String, String); 2] {
    let mut outcomes = Vec::new();
    for open in [false, true] {
        let filter = filter(address, |it: &mut Options| {
            it.message_timeout = message_timeout;
            it.failure_mode_allow = open;
        });
        let response = exchange(std::slice::from_ref(&filter), get("/"), &Upstream::echo()).await.unwrap();
        outcomes.push((text(response).await, counted(&filter)));
    }
    outcomes.try_into().unwrap()
}

fn outcome(text: &str, counted: &str) -> (String, String) {
    (text.to_owned(), counted.to_owned())
}

const FAILED: &str = "1/1/0/0 server_half_closed 1 streams_failed 1 immediate_responses_sent 1";

/// The same counters in the order of their names.
fn sorted((text, counted): (String, String)) -> (String, Vec<String>) {
    let (main, rest) = counted.split_once(' ').unwrap_or((&counted, ""));
    let words: Vec<_> = rest.split_whitespace().collect();
    let mut parts: Vec<_> = words.chunks(2).map(|it| it.join(" ")).collect();
    parts.sort();
    parts.insert(0, main.to_owned());
    (text, parts)
}

fn assert_outcomes(got: [(String, String); 2], closed: (String, String), open: (String, String)) {
    assert_eq!(got.map(sorted), [sorted(closed), sorted(open)]);
}

#[tokio::test]
async fn a_processor_that_refuses_connections() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    assert_outcomes(
        outcomes(address).await,
        outcome("500 ", FAILED),
        outcome(PASSED, "1/1/0/1 streams_failed 1 server_half_closed 2 failure_mode_allowed 1"),
    );
}

#[tokio::test]
async fn a_processor_that_hangs() {
    let processor = Scripted::start(|_| Step::SILENCE).await;
    assert_outcomes(
        outcomes_within(SOON, processor.address).await,
        outcome("504 ", "1/1/0/1 message_timeouts 1 immediate_responses_sent 1"),
        outcome(PASSED, "1/1/0/1 message_timeouts 1 failure_mode_allowed 1"),
    );
}

#[tokio::test]
async fn a_processor_that_never_accepts() {
    // The backlog takes the connection; nobody ever answers the handshake.
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_outcomes(
        outcomes_within(SOON, socket.local_addr().unwrap()).await,
        outcome("504 ", "1/1/0/1 message_timeouts 1 immediate_responses_sent 1"),
        outcome(PASSED, "1/1/0/1 message_timeouts 1 failure_mode_allowed 1"),
    );
}

#[tokio::test]
async fn a_processor_that_is_late() {
    let processor = Scripted::start(|message| Step::Late(4 * SOON, ack(message))).await;
    assert_outcomes(
        outcomes_within(SOON, processor.address).await,
        outcome("504 ", "1/1/0/1 message_timeouts 1 immediate_responses_sent 1"),
        outcome(PASSED, "1/1/0/1 message_timeouts 1 failure_mode_allowed 1"),
    );
}

#[tokio::test]
async fn a_processor_that_answers_the_wrong_phase() {
    let processor = Scripted::start(|message| {
        let mut wrong = message.clone();
        wrong.request = Some(extproc_proto::processing_request::Request::ResponseHeaders(Default::default()));
        Step::Reply(ack(&wrong))
    })
    .await;
    assert_outcomes(
        outcomes(processor.address).await,
        outcome("500 ", "1/1/0/1 spurious_msgs_received 1 immediate_responses_sent 1"),
        outcome(PASSED, "1/1/0/1 spurious_msgs_received 1 failure_mode_allowed 1"),
    );
}

#[tokio::test]
async fn a_processor_that_fails_the_call() {
    let processor = Scripted::start(|_| Step::Fail(Code::Internal, "boom x")).await;
    assert_outcomes(
        outcomes(processor.address).await,
        outcome("500 ", FAILED),
        outcome(PASSED, "1/1/0/1 streams_failed 1 server_half_closed 2 failure_mode_allowed 1"),
    );
}

#[tokio::test]
async fn a_processor_that_ends_the_call() {
    let processor = Scripted::start(|_| Step::Finish).await;
    let unprocessed = outcome(PASSED, "1/1/0/1 server_half_closed 1");
    assert_outcomes(outcomes(processor.address).await, unprocessed.clone(), unprocessed);
}

#[tokio::test]
async fn a_peer_that_is_no_processor() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..],
        b"\0\0\0\xff garbage that is no HTTP/2 frame",
        b"",
        // Valid SETTINGS, then a frame that is larger than allowed.
        b"\0\0\0\x04\0\0\0\0\0\xff\xff\xff\0\0\0\0\0\x01",
    ] {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = socket.accept().await.unwrap();
                let mut hello = [0; 24];
                stream.read_exact(&mut hello).await.unwrap();
                stream.write_all(answer).await.unwrap();
            }
        });
        assert_outcomes(
            outcomes(address).await,
            outcome("500 ", FAILED),
            outcome(PASSED, "1/1/0/1 streams_failed 1 server_half_closed 2 failure_mode_allowed 1"),
        );
        task.abort();
    }
}

#[tokio::test]
async fn a_processor_that_is_killed_and_comes_back() {
    let mut processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let address = processor.address;
    let filters = [filter(address, |_| ())];
    let ask = async || text(exchange(&filters, get("/"), &Upstream::echo()).await.unwrap()).await;
    assert_eq!(ask().await, PASSED);
    processor.kill();
    eventually("the port to refuse", || std::net::TcpStream::connect(address).is_err()).await;
    let answer = ask().await;
    assert!(answer == "500 " || answer == "504 ", "{answer}");
    let _processor = Scripted::start_on(address, |message| Step::Reply(ack(message))).await;
    assert_eq!(ask().await, PASSED);
}

#[tokio::test]
async fn a_processor_that_fails_when_the_response_has_begun() {
    let processor = Scripted::start(|message| match kind(message) {
        "sb" => Step::Fail(Code::Internal, "boom"),
        _ => Step::Reply(ack(message)),
    })
    .await;
    for (open, expected) in
        [(false, "200 cut: the message was cut: the response cannot be finished"), (true, "200 hello")]
    {
        let filter = filter(processor.address, |it: &mut Options| {
            it.processing_mode = bodies(BodyMode::None, BodyMode::Streamed);
            it.failure_mode_allow = open;
        });
        let (upstream, feed) = streaming();
        let response = exchange(&[filter], get("/"), &upstream).await.unwrap();
        feed.data("hello");
        feed.end();
        assert_eq!(text(response).await, expected);
    }
}

#[tokio::test]
async fn a_client_that_goes_away() {
    let processor = Scripted::start(|_| Step::SILENCE).await;
    let filters = [filter(processor.address, |_| {})];
    let waiting = filters.clone();
    let task = tokio::spawn(async move { exchange(&waiting, get("/"), &Upstream::echo()).await.map(drop) });
    eventually("the first message", || processor.log() == "qh!").await;
    task.abort();
    eventually("the end of the stream", || processor.ends() == 1).await;
    assert_eq!(counted(&filters[0]), "1/1/0/1");

    // After the response headers, with the body under way.
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let filters = [filter(processor.address, |it| it.processing_mode = bodies(BodyMode::None, BodyMode::Streamed))];
    let (upstream, feed) = streaming();
    let response = exchange(&filters, get("/"), &upstream).await.unwrap();
    feed.data("some");
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "some");
    drop(body);
    eventually("letting the upstream go", || feed.is_dropped()).await;
    eventually("the end of the stream", || processor.ends() == 1).await;
    assert_eq!(counted(&filters[0]), "1/3/3/1");
}

#[tokio::test]
async fn a_client_whose_body_fails() {
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let (body, feed) = TestBody::open();
    feed.data("some");
    feed.fail();
    let filters = [filter(processor.address, |it| it.processing_mode = bodies(BodyMode::Buffered, BodyMode::None))];
    assert!(exchange(&filters, post(body), &Upstream::echo()).await.is_err());
}

#[tokio::test]
async fn an_upstream_whose_body_fails() {
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    for mode in [BodyMode::None, BodyMode::Streamed] {
        let filters = [filter(processor.address, |it| it.processing_mode = bodies(BodyMode::None, mode))];
        let (upstream, feed) = streaming();
        let response = exchange(&filters, get("/"), &upstream).await.unwrap();
        feed.data("some");
        feed.fail();
        let answer = text(response).await;
        assert!(answer.starts_with("200 cut:"), "{mode:?}: {answer}");
    }
}

#[tokio::test]
async fn an_upstream_that_answers_before_it_has_read_the_request() {
    let processor = Scripted::start(|message| match crate::processor::body(message) {
        Some((body, _)) => Step::Reply(replace(message, body.to_ascii_uppercase())),
        None => Step::Reply(ack(message)),
    })
    .await;
    let (seen, mut got) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::new(move |request: Request<extproc_tower::RequestBody<TestBody>>| {
        let seen = seen.clone();
        tokio::spawn(async move {
            let body = request.into_body().collect().await;
            let _ = seen.send(body.map(|it| it.to_bytes()).map_err(|it| it.to_string()));
        });
        async { Ok(Response::new(TestBody::full("early"))) }
    });
    let filters = [filter(processor.address, |it| it.processing_mode = bodies(BodyMode::Streamed, BodyMode::None))];
    let (body, feed) = TestBody::open();
    let response = exchange(&filters, post(body), &upstream).await.unwrap();
    assert_eq!(text(response).await, "200 early");
    feed.data("late");
    feed.end();
    let received = tokio::time::timeout(Duration::from_secs(5), got.recv()).await.unwrap().unwrap();
    assert_eq!(received.unwrap(), "LATE");
}
