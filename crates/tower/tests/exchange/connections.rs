//! Connections to processors: shared, made when needed, made again, spread over endpoints.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use extproc_core::{Config, Options};
use extproc_proto::processing_response::Response;
use extproc_proto::prost::Message;
use extproc_proto::{HeadersResponse, ProcessingResponse};
use extproc_tower::{Counters, Endpoint, Filter, Processor};
use h2::server::SendResponse;
use tokio::net::TcpListener;

use crate::processor::{Scripted, Step, ack};
use crate::world::{Upstream, counted, eventually, exchange, filter, get, text};

const PASSED: &str = "200 GET http://ex.com/ host=ex.com []";

fn filter_of(endpoints: Vec<Endpoint>, connect_timeout: Duration) -> Filter {
    let options = Options { message_timeout: Duration::from_secs(60), ..Options::default() };
    Filter {
        config: Arc::new(Config::new(options).unwrap()),
        processor: Processor::new(endpoints, connect_timeout),
        counters: Arc::new(Counters::new()),
    }
}

/// Answers request headers and ends the stream.
fn answer(mut respond: SendResponse<Bytes>) {
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    let reply = Response::RequestHeaders(HeadersResponse::default());
    let message = ProcessingResponse { response: Some(reply), ..ProcessingResponse::default() }.encode_to_vec();
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&message);
    stream.send_data(frame.into(), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

/// A processor that is about to stop: as soon as it has a stream it says that it wants no more on this connection. The
/// first stream of all it answers only when there is a second connection.
#[tokio::test]
async fn a_connection_that_is_going_away_gets_no_new_streams() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (count, connections) = tokio::sync::watch::channel(0);
    let seen = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = socket.accept().await.unwrap();
            count.send_modify(|it| *it += 1);
            let mut connections = seen.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                let (request, respond) = connection.accept().await.unwrap().unwrap();
                assert_eq!(request.uri().to_string(), format!("http://{address}{}", extproc_proto::PROCESS_PATH));
                connection.graceful_shutdown();
                tokio::spawn(async move {
                    connections.wait_for(|it| *it >= 2).await.unwrap();
                    answer(respond);
                    drop(request);
                });
                // Streams that were on their way.
                while let Some(Ok((_, respond))) = connection.accept().await {
                    answer(respond);
                }
            });
        }
    });
    let filters = [filter(address, |it| it.processing_mode.response_headers = false)];
    let ask = {
        let filters = filters.clone();
        move || {
            let filters = filters.clone();
            async move { text(exchange(&filters, get("/"), &Upstream::echo()).await.unwrap()).await }
        }
    };
    let first = tokio::spawn(ask());
    eventually("the first connection", || *connections.borrow() == 1).await;
    let mut exchanges = 0;
    while *connections.borrow() < 2 {
        assert_eq!(ask().await, PASSED);
        exchanges += 1;
        assert!(exchanges < 1000, "no second connection was made");
    }
    assert_eq!(first.await.unwrap(), PASSED);
}

/// Nothing was done about a stream that was refused, so it is tried again, once, with what was sent on it.
#[tokio::test]
async fn a_refused_stream_is_tried_again() {
    for (refusals, expected, counts) in [
        (1, PASSED, "1/1/1/1"),
        (2, "500 ", "1/1/0/0 streams_failed 1 server_half_closed 1 immediate_responses_sent 1"),
    ] {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let (stream, _) = socket.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut left = refusals;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if left > 0 {
                    left -= 1;
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                    continue;
                }
                tokio::spawn(async move {
                    let message = request.into_body().data().await.unwrap().unwrap();
                    assert!(message.len() > 5, "the message is sent again");
                    answer(respond);
                });
            }
        });
        let filters = [filter(address, |it| it.processing_mode.response_headers = false)];
        let answer = text(exchange(&filters, get("/"), &Upstream::echo()).await.unwrap()).await;
        assert_eq!((answer.as_str(), counted(&filters[0]).as_str()), (expected, counts), "{refusals} refusals");
    }
}

/// A machine that vanished: the connection stands, and nothing ever comes back.
#[tokio::test]
async fn a_connection_that_is_dead_is_made_again() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (_dead, _) = socket.accept().await.unwrap();
        let (stream, _) = socket.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            answer(respond);
        }
    });
    let filters = [filter(address, |it| {
        it.message_timeout = Duration::from_millis(50);
        it.processing_mode.response_headers = false;
    })];
    let started = std::time::Instant::now();
    while text(exchange(&filters, get("/"), &Upstream::echo()).await.unwrap()).await != PASSED {
        assert!(started.elapsed() < Duration::from_secs(10), "the dead connection is still in use");
    }
    assert!(started.elapsed() > Duration::from_secs(1), "it had time to give a sign of life");
}

#[tokio::test]
async fn exchanges_go_round_the_endpoints_that_work() {
    let script = |message: &extproc_proto::ProcessingRequest| Step::Reply(ack(message));
    let (a, b) = (Scripted::start(script).await, Scripted::start(script).await);
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = |address: std::net::SocketAddr| Endpoint::Tcp(address.ip().to_string(), address.port());
    let endpoints = [a.address, dead, b.address].map(endpoint).to_vec();
    let filters = [filter_of(endpoints, Duration::from_secs(1))];
    let mut failed = 0;
    for _ in 0..12 {
        let answer = text(exchange(&filters, get("/"), &Upstream::echo()).await.unwrap()).await;
        failed += usize::from(answer != PASSED);
    }
    assert_eq!(failed, 1, "the dead one is found out by the first exchange that it gets");
    let served = [&a, &b].map(|it| it.log().matches("qh").count());
    assert!(served.iter().sum::<usize>() == 11 && served.iter().all(|it| *it >= 3), "{served:?}");
}

#[tokio::test]
async fn unix_sockets() {
    let directory = std::env::temp_dir().join(format!("extproc-tower-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("processor.sock");
    let socket = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (stream, _) = socket.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            assert_eq!(request.uri().authority().unwrap(), "localhost");
            answer(respond);
        }
    });
    let filters = [filter_of(vec![Endpoint::Unix(path)], Duration::from_secs(1))];
    let answer = text(exchange(&filters, get("/"), &Upstream::echo()).await.unwrap()).await;
    std::fs::remove_dir_all(directory).unwrap();
    assert_eq!(answer, PASSED);
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let endpoint = Endpoint::Tcp("this-name-does-not-exist.invalid".to_owned(), 80);
    let filters = [filter_of(vec![endpoint], Duration::from_secs(2))];
    let answer = text(exchange(&filters, get("/"), &Upstream::echo()).await.unwrap()).await;
    assert_eq!(answer, "500 ");
}
