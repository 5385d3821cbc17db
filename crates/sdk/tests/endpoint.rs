//! The HTTP endpoint for metrics and readiness.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::net::SocketAddr;
use std::time::Duration;

use extproc::proto::external_processor_client::ExternalProcessorClient;
use extproc::testing::Script;
use extproc::{BodyMode, Metrics, Noop, ServeError, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::transport::Endpoint;

const LIMIT: Duration = Duration::from_secs(30);

/// The status line, the headers and the body.
async fn ask(address: SocketAddr, request: &str) -> (String, String, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LIMIT, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.to_owned(), headers.to_ascii_lowercase(), body.to_owned())
}

#[tokio::test]
async fn it_tells_metrics_and_readiness_until_the_server_has_ended() {
    let server = Server::new(Noop).listen("127.0.0.1:0").metrics_listen("127.0.0.1:0");
    let health = server.health_handle();
    let bound = server.bind().await.unwrap();
    let (address, metrics) = (bound.local_addr().unwrap(), bound.metrics_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(bound.serve_with_shutdown(async {
        stopped.await.unwrap();
    }));

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let messages = Script::new().modes(BodyMode::None, BodyMode::None).request_only([(":method", "GET")]).messages();
    let mut client = ExternalProcessorClient::new(channel);
    let mut replies = client.process(tokio_stream::iter(messages)).await.unwrap().into_inner();
    while replies.message().await.unwrap().is_some() {}

    let (status, headers, body) = ask(metrics, "GET /metrics").await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(headers.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{headers}");
    assert!(body.contains("ext_proc_streams_total{processor=\"Noop\",end=\"ok\"} 1\n"), "{body}");
    assert!(body.ends_with("# EOF\n"), "{body}");

    for (request, status, says) in [
        ("GET /healthz", "200 OK", "alive\n"),
        ("GET /readyz", "200 OK", "ready\n"),
        ("GET /", "404 Not Found", "there are /metrics, /healthz and /readyz\n"),
        ("POST /metrics", "405 Method Not Allowed", "only GET\n"),
        ("HEAD /metrics", "200 OK", ""),
    ] {
        let (found, _, body) = ask(metrics, request).await;
        assert_eq!((found, body), (format!("HTTP/1.1 {status}"), says.to_owned()), "{request}");
    }
    health.set_all(false);
    assert_eq!(ask(metrics, "GET /readyz").await.0, "HTTP/1.1 503 Service Unavailable");

    stop.send(()).unwrap();
    timeout(LIMIT, served).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(metrics).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error_that_names_it() {
    let first = Server::new(Noop).listen("127.0.0.1:0").metrics_listen("127.0.0.1:0").bind().await.unwrap();
    let taken = first.metrics_addr().unwrap().to_string();
    let error = Server::new(Noop).listen("127.0.0.1:0").metrics_listen(&*taken).bind().await.unwrap_err();
    assert!(matches!(error, ServeError::Bind { .. }));
    assert!(error.to_string().contains(&taken), "{error}");
}

/// A client that says nothing keeps a place for some seconds, not the endpoint.
#[tokio::test]
async fn one_silent_client_does_not_stop_others() {
    let metrics = Metrics::new();
    let bound = Server::new(Noop).metrics(&metrics).listen("127.0.0.1:0").metrics_listen("127.0.0.1:0").bind().await;
    let bound = bound.unwrap();
    let address = bound.metrics_addr().unwrap();
    let served = tokio::spawn(bound.serve_with_shutdown(std::future::pending()));
    let _silent = TcpStream::connect(address).await.unwrap();
    assert_eq!(ask(address, "GET /metrics").await.2, metrics.encode());
    served.abort();
}
