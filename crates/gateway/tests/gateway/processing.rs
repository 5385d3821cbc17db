//! Requests and responses through processors.

use std::time::Duration;

use bytes::Bytes;
use extproc_core::{BodyMode, Options, ProcessingMode};
use extproc_proto::{CommonResponse, ProcessingRequest};
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::processor::{Scripted, Step, ack, answer, body, immediate, kind, mutation, replace, set};
use crate::support::{Client, Upstream, World, chunked, empty, eventually, full, get, post, raw, text};

fn bodies(mode: BodyMode) -> impl Fn(&mut Options) {
    move |options| {
        options.processing_mode = ProcessingMode {
            request_body: mode,
            response_body: mode,
            request_trailers: true,
            response_trailers: true,
            ..ProcessingMode::default()
        };
    }
}

fn upper(message: &ProcessingRequest) -> Step {
    Step::Reply(match body(message) {
        Some((body, _)) => replace(message, body.to_ascii_uppercase()),
        None => ack(message),
    })
}

#[tokio::test]
async fn headers_both_ways_over_both_protocols() {
    let processor = Scripted::start(|message| match kind(message) {
        "qh" => Step::Reply(set(message, "x-a", "1")),
        _ => Step::Reply(set(message, "x-b", "2")),
    })
    .await;
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).with(processor.address, |_| {}).start().await;
    for mut client in [Client::http1(gateway.address).await, Client::http2(gateway.address).await] {
        let request = match &client {
            Client::Http1(_) => get("/"),
            Client::Http2(_) => Request::get("http://ex.com/").body(empty()).unwrap(),
        };
        let response = client.send(request).await;
        assert_eq!(
            (&response.headers()["x-b"], &response.headers()["x-up"]),
            (&"2".parse().unwrap(), &"1".parse().unwrap())
        );
        let (status, echo) = text(response).await;
        assert_eq!(status, 200);
        assert!(echo.contains("\nhost: ex.com\n") && echo.contains("\nx-a: 1\n"), "{echo}");
    }
    let seen = processor.headers("qh");
    assert_eq!(seen[..4], [":authority=ex.com", ":path=/", ":method=GET", ":scheme=http"]);
    assert!(seen.contains(&"x-forwarded-proto=http".to_owned()), "{seen:?}");
    assert!(seen.iter().any(|it| it.starts_with("x-request-id=")), "{seen:?}");
    assert_eq!(gateway.counted(), "2/4/4/2");
    eventually("the end of the streams", || processor.ends() == 2).await;
}

#[tokio::test]
async fn connections_are_kept_alive_around_processing() {
    let processor = Scripted::start(upper).await;
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).with(processor.address, bodies(BodyMode::Streamed)).start().await;
    let mut client = Client::http1(gateway.address).await;
    for _ in 0..5 {
        let (status, echo) = text(client.send(post("/", full("hello"))).await).await;
        assert_eq!(status, 200);
        assert!(echo.ends_with("\n\nHELLO"), "{echo}");
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn bodies_and_trailers_both_ways() {
    let upstream = Upstream::start(|request: Request<Incoming>| async {
        let body = request.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-t"], "1");
        assert_eq!(body.to_bytes(), "HELLO");
        Response::builder().header("trailer", "x-r").body(chunked(&["wor", "ld"], &[("x-r", "2")])).unwrap()
    })
    .await;
    for mode in [BodyMode::Streamed, BodyMode::Buffered] {
        let processor = Scripted::start(upper).await;
        let gateway = World::new(upstream.address).with(processor.address, bodies(mode)).start().await;
        let request = "POST / HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-t\r\ntransfer-encoding: chunked\r\n\
                       connection: close\r\n\r\n5\r\nhello\r\n0\r\nx-t: 1\r\n\r\n";
        let response = raw(gateway.address, request.as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("0\r\nx-r: 2\r\n\r\n"), "{response}");
        let log = processor.log();
        assert!(log.starts_with("qh qb\"hello\" qt sh sb\"wor") && log.ends_with("st"), "{mode:?}: {log}");

        let mut client = Client::http2(gateway.address).await;
        let request = Request::post("http://ex.com/").header("te", "trailers").header("trailer", "x-t");
        let response = client.send(request.body(chunked(&["he", "llo"], &[("x-t", "1")])).unwrap()).await;
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["x-r"], "2");
        assert_eq!(collected.to_bytes(), "WORLD");
    }
}

#[tokio::test]
async fn lengths_are_kept_where_bodies_are_and_dropped_where_they_may_change() {
    let upstream = Upstream::start(|request: Request<Incoming>| async move {
        let length = request.headers().get("content-length").map_or("none", |it| it.to_str().unwrap()).to_owned();
        Response::new(full(length))
    })
    .await;
    for (mode, request, response) in
        [(BodyMode::None, "5", true), (BodyMode::Buffered, "5", true), (BodyMode::Streamed, "none", false)]
    {
        let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
        let gateway = World::new(upstream.address).with(processor.address, bodies(mode)).start().await;
        let answer = gateway.send(post("/", full("hello"))).await;
        assert_eq!(answer.headers().contains_key("content-length"), response, "{mode:?}");
        assert_eq!(text(answer).await.1, request, "{mode:?}");
    }
}

#[tokio::test]
async fn bodies_that_do_not_exist_are_not_made_up() {
    let upstream = Upstream::start(|request: Request<Incoming>| async move {
        match request.uri().path() {
            "/none" => Response::builder().status(204).body(empty()).unwrap(),
            "/unchanged" => Response::builder().status(304).body(empty()).unwrap(),
            _ => Response::new(full("hello")),
        }
    })
    .await;
    for (method, path, status, length) in
        [("HEAD", "/", 200, Some("5")), ("GET", "/none", 204, None), ("GET", "/unchanged", 304, None)]
    {
        let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
        let gateway = World::new(upstream.address).with(processor.address, bodies(BodyMode::Buffered)).start().await;
        let request = Request::builder().method(method).uri(path).header("host", "a").body(empty()).unwrap();
        let response = gateway.send(request).await;
        let seen = response.headers().get("content-length").map(|it| it.to_str().unwrap());
        assert_eq!((response.status().as_u16(), seen), (status, length), "{method} {path}");
        assert_eq!(text(response).await.1, "");
        assert_eq!(processor.log(), "qh! sh!", "{method} {path}");
        assert_eq!(gateway.counted(), "1/2/2/1", "{method} {path}");
    }
}

#[tokio::test]
async fn megabytes_both_ways_over_both_protocols() {
    const SIZE: usize = 4 << 20;
    let data: Bytes = (0..SIZE).map(|it| (it % 251) as u8).collect::<Vec<_>>().into();
    let upstream = Upstream::start(|request: Request<Incoming>| async {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(body))
    })
    .await;
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let limit = |options: &mut Options| {
        bodies(BodyMode::Streamed)(options);
        options.buffer_limit = 64 << 10;
    };
    let gateway = World::new(upstream.address).with(processor.address, limit).start().await;
    for mut client in [Client::http1(gateway.address).await, Client::http2(gateway.address).await] {
        let request = Request::post("http://ex.com/").header("host", "ex.com").body(full(data.clone())).unwrap();
        let exchange = async { client.send(request).await.into_body().collect().await.unwrap().to_bytes() };
        let received = tokio::time::timeout(Duration::from_secs(30), exchange).await.expect("nothing hangs");
        assert!(received == data, "{} bytes came back", received.len());
    }
    assert_eq!(processor.body_bytes(), 4 * SIZE);
}

#[tokio::test]
async fn replies_of_the_gateway_pass_the_processors() {
    let processor = Scripted::start(|message| Step::Reply(set(message, "x-m", "1"))).await;
    let upstream = Upstream::echo().await;
    let gateway = World { path: "/only", ..World::new(upstream.address) }.with(processor.address, |_| {}).start().await;
    let response = gateway.send(get("/else")).await;
    assert_eq!(response.headers()["x-m"], "1");
    assert_eq!(text(response).await, (404, String::new()));
    assert_eq!(processor.log(), "qh! sh!");
    assert_eq!(gateway.counted(), "1/2/2/1");
}

#[tokio::test]
async fn an_immediate_response_closes_the_connection_of_an_unfinished_request() {
    let processor = Scripted::start(|_| Step::Reply(immediate(403, "no"))).await;
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).with(processor.address, |_| {}).start().await;
    // The rest of the body never comes.
    let answer = raw(gateway.address, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nsome").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("connection: close\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nno"), "{answer}");
    assert_eq!(upstream.connections(), 0);
    let mut client = Client::http1(gateway.address).await;
    for _ in 0..2 {
        let response = client.send(get("/")).await;
        assert!(!response.headers().contains_key("connection"), "nothing is left of a GET");
        assert_eq!(text(response).await, (403, "no".to_owned()));
    }
}

#[tokio::test]
async fn a_reply_in_the_middle_of_an_upload_can_be_read() {
    let processor = Scripted::start(|_| Step::Reply(immediate(403, "no"))).await;
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).with(processor.address, |_| {}).start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3000000\r\n\r\n").await.unwrap();
    // All of it is sent before the reply is looked at, with enough pauses for the gateway to be done long before.
    for _ in 0..30 {
        stream.write_all(&[b'x'; 100_000]).await.expect("the gateway does not reset the connection");
        tokio::task::yield_now().await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("no"), "{answer}");
}

#[tokio::test]
async fn a_processor_can_choose_the_route() {
    use extproc_core::config::RouteCacheAction;
    let processor = Scripted::start(|message| match kind(message) {
        "qh" => {
            let header_mutation = Some(mutation(":path", "/only/here"));
            Step::Reply(answer(message, CommonResponse { header_mutation, ..CommonResponse::default() }))
        }
        _ => Step::Reply(ack(message)),
    })
    .await;
    let upstream = Upstream::echo().await;
    for (action, status) in [(RouteCacheAction::Clear, 200), (RouteCacheAction::Retain, 404)] {
        let world = World { path: "/only", ..World::new(upstream.address) }.with(processor.address, |options| {
            options.route_cache_action = action;
            options.mutation_rules.allow_all_routing = true;
        });
        assert_eq!(world.start().await.get("/else").await.0, status, "{action:?}");
    }
}

#[tokio::test]
async fn six_processors_in_a_row() {
    let mut processors = Vec::new();
    for name in ["1", "2", "3", "4", "5", "6"] {
        let script = move |message: &ProcessingRequest| {
            let mut mutation = mutation("x-order", name);
            mutation.set_headers[0].append = Some(true);
            Step::Reply(answer(
                message,
                CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() },
            ))
        };
        processors.push(Scripted::start(script).await);
    }
    let upstream = Upstream::echo().await;
    let world = processors.iter().fold(World::new(upstream.address), |world, it| world.with(it.address, |_| {}));
    let gateway = world.start().await;
    let response = gateway.send(get("/")).await;
    let order: Vec<_> =
        response.headers().get_all("x-order").iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    assert_eq!(order.concat(), "654321");
    let (_, echo) = text(response).await;
    let order: Vec<_> = echo.lines().filter_map(|it| it.strip_prefix("x-order: ")).collect();
    assert_eq!(order.concat(), "123456");
}
