//! Without processors: an ordinary reverse proxy.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use extproc_gateway::plan::Timeouts;
use http::{HeaderValue, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Client, Upstream, World, chunked, empty, eventually, full, get, post, raw, text};

#[tokio::test]
async fn a_request_reaches_the_upstream_and_its_response_the_client() {
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).start().await;
    let mut request = post("/a/b?c=d", full("hello"));
    request.headers_mut().insert("x-mine", HeaderValue::from_static("1"));
    let response = gateway.send(request).await;
    assert_eq!(response.headers()["x-up"], "1");
    let expected = "POST /a/b?c=d\nhost: ex.com\nx-mine: 1\ncontent-length: 5\nx-forwarded-for: 127.0.0.1\n\
                    x-forwarded-proto: http\n\nhello";
    let (status, body) = text(response).await;
    let mut lines: Vec<_> = body.lines().collect();
    let mut expected: Vec<_> = expected.lines().collect();
    lines.sort_unstable();
    expected.sort_unstable();
    assert_eq!((status, lines), (200, expected));
}

#[tokio::test]
async fn http2_clients_are_served_on_the_same_port() {
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).start().await;
    let mut client = Client::http2(gateway.address).await;
    let request = Request::post("http://ex.com/x").body(full("hello")).unwrap();
    let (status, body) = text(client.send(request).await).await;
    assert_eq!(status, 200);
    assert!(body.starts_with("POST /x\n") && body.contains("host: ex.com\n") && body.ends_with("\nhello"), "{body}");
}

#[tokio::test]
async fn connections_are_reused_on_both_sides() {
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).start().await;
    let mut client = Client::http1(gateway.address).await;
    for _ in 0..5 {
        let (status, _) = text(client.send(get("/")).await).await;
        assert_eq!(status, 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn framing_is_kept() {
    let upstream = Upstream::start(|request: Request<_>| async move {
        let response = Response::builder();
        match request.uri().path() {
            "/length" => response.body(full("hello")),
            "/none" => response.status(204).body(empty()),
            "/unchanged" => response.status(304).header("content-length", "5").body(empty()),
            _ => {
                let body = chunked(&["hello"], &[("x-t", "2")]);
                response.header("trailer", "x-t").body(body)
            }
        }
        .unwrap()
    })
    .await;
    let gateway = World::new(upstream.address).start().await;
    let ask = async |method: &str, path: &str| {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: close\r\n\r\n");
        raw(gateway.address, request.as_bytes()).await
    };
    for (method, path, has, has_not, end) in [
        ("GET", "/length", "content-length: 5\r\n", "transfer-encoding", "\r\n\r\nhello"),
        ("HEAD", "/length", "content-length: 5\r\n", "transfer-encoding", "\r\n\r\n"),
        ("GET", "/none", "HTTP/1.1 204", "transfer-encoding", "\r\n\r\n"),
        ("GET", "/unchanged", "HTTP/1.1 304", "transfer-encoding", "\r\n\r\n"),
        ("GET", "/chunked", "transfer-encoding: chunked\r\n", "content-length", "5\r\nhello\r\n0\r\nx-t: 2\r\n\r\n"),
    ] {
        let answer = ask(method, path).await;
        assert!(answer.contains(has) && !answer.contains(has_not), "{method} {path}: {answer}");
        assert!(answer.ends_with(end), "{method} {path}: {answer}");
    }
}

#[tokio::test]
async fn requests_of_any_method_keep_their_bodies() {
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).start().await;
    let chunked = "transfer-encoding: chunked\r\n\r\n2\r\naa\r\n0\r\n\r\n";
    for (method, rest, has, end) in [
        ("GET", chunked, "transfer-encoding: chunked\n", "\n\naa"),
        ("GET", "content-length: 2\r\n\r\naa", "content-length: 2\n", "\n\naa"),
        ("DELETE", chunked, "transfer-encoding: chunked\n", "\n\naa"),
        ("POST", "\r\n", "content-length: 0\n", "\n\n"),
        ("OPTIONS", "\r\n", "content-length: 0\n", "\n\n"),
        ("GET", "\r\n", "host: a\n", "\n\n"),
    ] {
        let request = format!("{method} / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{rest}");
        let answer = raw(gateway.address, request.as_bytes()).await;
        assert!(answer.contains(has) && answer.ends_with(end), "{method} {rest}: {answer}");
        assert_eq!(answer.contains("\ncontent-length: 0\n"), has == "content-length: 0\n", "{answer}");
    }
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).start().await;
    let request = "POST / HTTP/1.1\r\nhost: a\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n\
                   2\r\naa\r\n0\r\nx-t: 1\r\n\r\n";
    let answer = raw(gateway.address, request.as_bytes()).await;
    assert!(answer.contains("\n\naa\nx-t: 1"), "{answer}");
}

#[tokio::test]
async fn expect_continue_is_answered_by_the_gateway() {
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).start().await;
    let request =
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\nexpect: 100-continue\r\nconnection: close\r\n\r\nhi";
    let answer = raw(gateway.address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("expect:"), "{answer}");
}

#[tokio::test]
async fn what_the_gateway_answers_itself() {
    let upstream = Upstream::echo().await;
    let routed = World { path: "/only", ..World::new(upstream.address) }.start().await;
    assert_eq!(routed.get("/only/x").await.0, 200);
    assert_eq!(routed.get("/else").await, (404, String::new()));
    let answer = raw(routed.address, b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");

    for hosts in ["", "host: a\r\nhost: b\r\n", "host: a b\r\n"] {
        let request = format!("GET /only HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
        let answer = raw(routed.address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{hosts}: {answer}");
    }

    let dead = World::new(refusing().await).start().await;
    let (status, body) = dead.get("/").await;
    assert_eq!(status, 503);
    assert!(body.starts_with("upstream connect error or disconnect/reset before headers"), "{body}");

    let slow = Upstream::start(|_| std::future::pending()).await;
    let timeouts = Timeouts { backend_request: Some(Duration::from_millis(50)), ..Timeouts::default() };
    let slow = World { timeouts, ..World::new(slow.address) }.start().await;
    assert_eq!(slow.get("/").await, (504, "upstream request timeout".to_owned()));
}

#[tokio::test]
async fn the_upstream_has_its_time_from_the_end_of_the_request_on() {
    const LIMIT: Duration = Duration::from_millis(50);
    let upstream = Upstream::echo().await;
    let timeouts = Timeouts { backend_request: Some(LIMIT), ..Timeouts::default() };
    let gateway = World { timeouts, ..World::new(upstream.address) }.start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\nconnection: close\r\n\r\nslow";
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually("the request", || upstream.connections() == 1).await;
    let started = Instant::now();
    eventually("the limit", || started.elapsed() > 2 * LIMIT).await;
    stream.write_all(b"slow").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("slowslow"), "{answer}");
}

#[tokio::test]
async fn a_response_that_takes_too_long_is_cut() {
    let upstream = Upstream::start(|_| async {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            sender.send(Ok(hyper::body::Frame::data("some".into()))).await.unwrap();
            sender.closed().await;
        });
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        Response::new(http_body_util::BodyExt::boxed(http_body_util::StreamBody::new(stream)))
    })
    .await;
    let timeouts = Timeouts { request: Some(Duration::from_millis(100)), ..Timeouts::default() };
    let gateway = World { timeouts, ..World::new(upstream.address) }.start().await;
    let answer = raw(gateway.address, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("4\r\nsome\r\n"), "{answer}");
}

#[tokio::test]
async fn endpoints_take_turns() {
    let (a, b) = (Upstream::echo().await, Upstream::echo().await);
    let world = World { backend: vec![a.address, b.address], ..World::new(a.address) };
    let gateway = world.start().await;
    for _ in 0..4 {
        assert_eq!(gateway.get("/").await.0, 200);
    }
    assert_eq!((a.connections(), b.connections()), (1, 1));
}

#[tokio::test]
async fn stopping_lets_exchanges_finish_and_then_cuts() {
    let (release, released) = tokio::sync::watch::channel(false);
    let upstream = Upstream::start(move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|it| *it).await.unwrap();
            Response::new(full("late"))
        }
    })
    .await;
    for (drain, finishes) in [(Duration::from_secs(5), true), (Duration::from_millis(20), false)] {
        release.send_replace(false);
        let gateway = World { drain, ..World::new(upstream.address) }.start().await;
        let address = gateway.address;
        let mut client = Client::http1(address).await;
        let known = upstream.connections();
        let exchange = tokio::spawn(async move { client.try_send(get("/")).await });
        eventually("the request", || upstream.connections() > known).await;
        let stopped = gateway.stop();
        if finishes {
            eventually("the listener's end", || std::net::TcpStream::connect(address).is_err()).await;
            release.send_replace(true);
            let response = exchange.await.unwrap().unwrap();
            assert_eq!(text(response).await, (200, "late".to_owned()));
        } else {
            assert!(exchange.await.unwrap().is_err(), "cut when the time is over");
        }
        tokio::time::timeout(Duration::from_secs(5), stopped).await.expect("the gateway stops").unwrap();
    }
}

/// An address where nobody listens.
async fn refusing() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    socket.local_addr().unwrap()
}
