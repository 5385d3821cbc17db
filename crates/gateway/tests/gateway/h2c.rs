//! Upstreams that speak HTTP/2 without TLS.

use std::time::Duration;

use extproc_gateway::plan::Protocol;
use http::{HeaderValue, Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::support::{Client, Upstream, World, chunked, empty, full, get, post, text};

async fn world(upstream: &Upstream) -> crate::support::Running {
    World { protocol: Protocol::H2c, ..World::new(upstream.address) }.start().await
}

#[tokio::test]
async fn the_host_of_the_request_goes_with_it() {
    let upstream = Upstream::echo().await;
    let gateway = world(&upstream).await;
    let (status, body) = text(gateway.send(post("/a?b", full("hello"))).await).await;
    assert_eq!(status, 200);
    assert!(body.starts_with("POST http://ex.com/a?b\n") && body.ends_with("\nhello"), "{body}");
    assert!(!body.contains("host:") && !body.contains("transfer-encoding"), "{body}");
}

#[tokio::test]
async fn one_connection_for_all_requests() {
    let upstream = Upstream::start(|request: Request<Incoming>| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        // So long that requests overlap: those that did not would prove nothing.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Response::new(empty())
    })
    .await;
    let gateway = world(&upstream).await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let mut client = Client::http1(gateway.address).await;
        clients.spawn(async move { client.send(get("/")).await.status() });
    }
    while let Some(status) = clients.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_ended_is_replaced() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    // Every connection serves one request, and says goodbye.
    tokio::spawn(async move {
        loop {
            let (stream, _) = socket.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (_, mut respond) = connection.accept().await.unwrap().unwrap();
            respond.send_response(Response::new(()), true).unwrap();
            connection.graceful_shutdown();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            }
        }
    });
    let gateway = World { protocol: Protocol::H2c, ..World::new(address) }.start().await;
    for _ in 0..5 {
        assert_eq!(gateway.get("/").await.0, 200);
    }
}

#[tokio::test]
async fn trailers_pass_both_ways_and_te_says_that_they_may() {
    let upstream = Upstream::start(|request: Request<Incoming>| async move {
        let te = request.headers().get("te").cloned().unwrap_or(HeaderValue::from_static("none"));
        let trailers = request.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default();
        let body = full("hello").with_trailers(async { Some(Ok(trailers)) });
        Response::builder().header("te-was", te).body(body.boxed()).unwrap()
    })
    .await;
    let gateway = world(&upstream).await;
    let body = chunked(&["a"], &[("x-t", "1")]);
    let request = Request::post("http://ex.com/").header("te", "trailers").body(body).unwrap();
    let response = Client::http2(gateway.address).await.send(request).await;
    assert_eq!(response.headers()["te-was"], "trailers");
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-t"], "1");
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_or_is_no_http2_gives_503() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = World { protocol: Protocol::H2c, ..World::new(gone) }.start().await;
    let (status, body) = gateway.get("/").await;
    assert_eq!(status, 503);
    assert!(body.ends_with("remote connection failure"), "{body}");
    // A server of HTTP/1 takes the preface for a bad request.
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gateway = World { protocol: Protocol::H2c, ..World::new(socket.local_addr().unwrap()) }.start().await;
    tokio::spawn(async move {
        let (mut stream, _) = socket.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    assert_eq!(gateway.get("/").await.0, 503);
}
