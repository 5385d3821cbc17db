//! Whatever a processor, a client or an upstream does, the gateway gives the documented answer and keeps serving.

use std::time::Duration;

use extproc_core::{BodyMode, Options, ProcessingMode};
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::processor::{Scripted, Step, ack, kind};
use crate::support::{Client, Upstream, World, chunked, eventually, full, get, post, raw, text};

/// Long enough for the answers that do come on a loaded machine.
const SOON: Duration = Duration::from_millis(500);

fn streamed_response(options: &mut Options) {
    options.processing_mode = ProcessingMode { response_body: BodyMode::Streamed, ..ProcessingMode::default() };
}

#[tokio::test]
async fn a_processor_that_misbehaves_now_and_then() {
    let script = |message: &extproc_proto::ProcessingRequest| {
        let path = match &message.request {
            Some(extproc_proto::processing_request::Request::RequestHeaders(it)) => {
                let all = &it.headers.as_ref().unwrap().headers;
                all.iter().find(|it| it.key == ":path").unwrap().raw_value.clone()
            }
            _ => return Step::Reply(ack(message)),
        };
        match &path[..] {
            b"/hang" => Step::SILENCE,
            b"/late" => Step::Late(2 * SOON, ack(message)),
            b"/fail" => Step::Fail(Code::Internal, "boom"),
            b"/end" => Step::Finish,
            b"/empty" => Step::Reply(extproc_proto::ProcessingResponse::default()),
            b"/twice" => Step::Replies(vec![ack(message), ack(message)]),
            _ => Step::Reply(ack(message)),
        }
    };
    let processor = Scripted::start(script).await;
    let upstream = Upstream::echo().await;
    for (open, expected) in [
        (false, [("/hang", 504), ("/late", 504), ("/fail", 500), ("/end", 200), ("/empty", 500), ("/twice", 500)]),
        (true, [("/hang", 200), ("/late", 200), ("/fail", 200), ("/end", 200), ("/empty", 200), ("/twice", 200)]),
    ] {
        let set = |options: &mut Options| {
            options.message_timeout = SOON;
            options.failure_mode_allow = open;
        };
        let gateway = World::new(upstream.address).with(processor.address, set).start().await;
        let mut client = Client::http1(gateway.address).await;
        for (path, status) in expected {
            let (got, _) = text(client.send(get(path)).await).await;
            assert_eq!(got, status, "{path}, failing open: {open}");
            let (got, _) = text(client.send(get("/fine")).await).await;
            assert_eq!(got, 200, "after {path}, failing open: {open}");
        }
    }
}

#[tokio::test]
async fn a_processor_that_is_killed_and_comes_back() {
    let upstream = Upstream::echo().await;
    for open in [false, true] {
        let mut processor = Scripted::start(|message| Step::Reply(ack(message))).await;
        let address = processor.address;
        let set = |options: &mut Options| options.failure_mode_allow = open;
        let gateway = World::new(upstream.address).with(address, set).start().await;
        assert_eq!(gateway.get("/").await.0, 200);
        processor.kill();
        eventually("the port to refuse", || std::net::TcpStream::connect(address).is_err()).await;
        for _ in 0..3 {
            let status = gateway.get("/").await.0;
            assert!(if open { status == 200 } else { status == 500 || status == 504 }, "{status}");
        }
        let _processor = Scripted::start_on(address, |message| Step::Reply(ack(message))).await;
        assert_eq!(gateway.get("/").await.0, 200);
    }
}

#[tokio::test]
async fn a_processor_that_is_killed_in_the_middle() {
    let upstream = Upstream::echo().await;
    for (open, status) in [(false, 500), (true, 200)] {
        let mut processor = Scripted::start(|_| Step::SILENCE).await;
        let gateway =
            World::new(upstream.address).with(processor.address, |it| it.failure_mode_allow = open).start().await;
        let mut client = Client::http1(gateway.address).await;
        let exchange = tokio::spawn(async move { client.send(get("/")).await.status().as_u16() });
        eventually("the first message", || processor.log() == "qh!").await;
        processor.kill();
        assert_eq!(exchange.await.unwrap(), status);
    }
}

#[tokio::test]
async fn a_peer_that_is_no_processor() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"garbage, garbage, garbage", b""].iter().cycle() {
            let (mut stream, _) = socket.accept().await.unwrap();
            stream.read_exact(&mut [0; 24]).await.unwrap();
            stream.write_all(answer).await.unwrap();
        }
    });
    let upstream = Upstream::echo().await;
    for (open, status) in [(false, 500), (true, 200)] {
        let gateway = World::new(upstream.address).with(address, |it| it.failure_mode_allow = open).start().await;
        for _ in 0..6 {
            assert_eq!(gateway.get("/").await.0, status);
        }
    }
}

#[tokio::test]
async fn a_response_that_cannot_be_finished_is_cut_visibly() {
    let (release, released) = tokio::sync::watch::channel(false);
    let processor = Scripted::start(|message| match kind(message) {
        "sb" => Step::Fail(Code::Internal, "boom"),
        _ => Step::Reply(ack(message)),
    })
    .await;
    let upstream = Upstream::start(move |_| {
        let mut released = released.clone();
        async move {
            let (sender, receiver) = tokio::sync::mpsc::channel(1);
            tokio::spawn(async move {
                released.wait_for(|it| *it).await.unwrap();
                sender.send(Ok(hyper::body::Frame::data("hello".into()))).await.unwrap();
                sender.closed().await;
            });
            let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
            Response::new(http_body_util::BodyExt::boxed(http_body_util::StreamBody::new(stream)))
        }
    })
    .await;
    let gateway = World::new(upstream.address).with(processor.address, streamed_response).start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 200");
    release.send_replace(true);
    let mut rest = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
    let _ = read.expect("the connection is closed");
    let rest = String::from_utf8(rest).unwrap();
    assert!(rest.contains("transfer-encoding: chunked") && !rest.contains("0\r\n\r\n"), "{rest}");
    assert_eq!(gateway.counted(), "1/3/2/0 immediate_responses_sent 1 server_half_closed 1 streams_failed 1");

    let mut client = Client::http2(gateway.address).await;
    let request = Request::get("http://ex.com/").body(crate::support::empty()).unwrap();
    // The response headers may be overtaken by the reset.
    if let Ok(response) = client.try_send(request).await {
        let body = http_body_util::BodyExt::collect(response.into_body()).await;
        assert!(body.is_err(), "reset, not ended");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_frees_processor_and_upstream() {
    let processor = Scripted::start(|message| match kind(message) {
        "sh" => Step::SILENCE,
        _ => Step::Reply(ack(message)),
    })
    .await;
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).with(processor.address, |_| {}).start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    eventually("the response headers' message", || processor.log() == "qh! sh").await;
    drop(stream);
    eventually("the end of the stream", || processor.ends() == 1).await;
    eventually("the counters", || gateway.counted() == "1/2/1/1").await;
}

#[tokio::test]
async fn an_upstream_that_goes_away() {
    // Before any response: 503, which the processor sees. In the middle of one: cut.
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = socket.accept().await.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).await.unwrap();
            if request[..length].starts_with(b"GET /half") {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
            }
        }
    });
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let gateway = World::new(address).with(processor.address, |_| {}).start().await;
    let (status, body) = gateway.get("/none").await;
    assert_eq!(status, 503);
    assert!(body.contains("reset reason: connection termination"), "{body}");
    assert_eq!(processor.log(), "qh! sh");
    let answer = raw(gateway.address, b"GET /half HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.is_empty() || answer.ends_with("\r\n\r\nhalf"), "cut, not completed: {answer}");
}

#[tokio::test]
async fn requests_of_clients_that_stop_in_the_middle_do_not_look_complete() {
    let (seen, mut got) = tokio::sync::mpsc::unbounded_channel();
    let upstream = Upstream::start(move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let whole = http_body_util::BodyExt::collect(request.into_body()).await;
            seen.send(whole.is_ok()).unwrap();
            Response::new(full(""))
        }
    })
    .await;
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let set = |options: &mut Options| {
        options.processing_mode = ProcessingMode { request_body: BodyMode::Streamed, ..ProcessingMode::default() };
    };
    let gateway = World::new(upstream.address).with(processor.address, set).start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n").await.unwrap();
    eventually("the first chunk", || processor.log() == "qh qb\"half\"").await;
    drop(stream);
    let whole = tokio::time::timeout(Duration::from_secs(5), got.recv()).await.unwrap();
    assert_eq!(whole, Some(false));
    // Nothing of it disturbs the next one.
    let mut client = Client::http1(gateway.address).await;
    assert_eq!(text(client.send(post("/", chunked(&["all"], &[]))).await).await.0, 200);
    assert_eq!(got.recv().await, Some(true));
}
