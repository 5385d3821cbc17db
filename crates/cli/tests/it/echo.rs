//! `extproc echo`: PY-123 to PY-126, and the view of the agentgateway walk-through.

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::http::{get, header, json, request, send, send_h2};
use crate::process::Server;

const ARGS: &[&str] = &["echo", "--listen", "127.0.0.1:0"];

#[tokio::test]
async fn the_view_of_a_request() {
    let echo = Server::start_with(ARGS, &[("ECHO_MESSAGE", "H\u{e9}")]).await;
    let response = send(echo.addr, request("PUT", "/a?b=c", &[("x-a", "1")], "h\u{e9}llo")).await;
    let host = echo.addr;
    assert_eq!(
        String::from_utf8_lossy(response.body()),
        format!(
            r#"{{"method": "put", "path": "/a?b=c", "headers": {{"x-a": "1", "host": "{host}", "content-length": "6"}}, "body": "h\u00e9llo", "message": "H\u00e9"}}"#
        )
    );
    assert_eq!(header(&response, "content-type"), Some("application/json"));
}

/// One connection, so that the server could mix them up; hyper would lower-case the names.
#[tokio::test]
async fn names_are_shown_as_received_and_bodies_do_not_leak() {
    let echo = Server::start(ARGS).await;
    let mut stream = TcpStream::connect(echo.addr).await.unwrap();
    let put = "PUT /one HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nX-One: 2\r\nContent-Length: 9\r\n\r\nX-two: 99";
    let get = "GET /two HTTP/1.1\r\nHOST: h\r\nx-Two: 3\r\nConnection: close\r\n\r\n";
    let mut answers = Vec::new();
    stream.write_all(put.as_bytes()).await.unwrap();
    while !answers.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut answers).await.unwrap(), 0);
    }
    stream.write_all(get.as_bytes()).await.unwrap();
    stream.read_to_end(&mut answers).await.unwrap();
    let answers = String::from_utf8(answers).unwrap();
    for view in [
        r#"{"method": "put", "path": "/one", "headers": {"Host": "h", "X-One": "2", "Content-Length": "9"}, "body": "X-two: 99", "message": "Hello"}"#,
        r#"{"method": "get", "path": "/two", "headers": {"HOST": "h", "x-Two": "3", "Connection": "close"}, "body": "", "message": "Hello"}"#,
    ] {
        assert!(answers.contains(view), "{view}\n{answers}");
    }
}

#[tokio::test]
async fn every_method_is_answered() {
    let echo = Server::start(ARGS).await;
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
        let response = send(echo.addr, request(method, "/", &[], "")).await;
        assert_eq!(json(&response)["method"], method.to_lowercase(), "{method}");
    }
    let head = send(echo.addr, request("HEAD", "/", &[], "")).await;
    assert!(head.body().is_empty());
    assert!(header(&head, "content-length").is_some_and(|length| length != "0"));
}

#[tokio::test]
async fn both_protocols() {
    let echo = Server::start(ARGS).await;
    let response = send_h2(echo.addr, request("POST", "/a", &[("x-a", "1")], "hi")).await;
    assert_eq!(response.version(), http::Version::HTTP_2);
    let view = json(&response);
    assert_eq!(view["body"], "hi");
    assert_eq!(view["headers"]["host"], echo.addr.to_string());
}

#[tokio::test]
async fn canonical_headers() {
    let echo = Server::start(ARGS).await;
    let response =
        send(echo.addr, get("/headers", &[("host", "www.example.com"), ("x-a-b", "1"), ("x-a-b", "2")])).await;
    let expected = serde_json::json!({"headers": {"Host": ["www.example.com"], "X-A-B": ["1", "2"]}});
    assert_eq!(json(&response), expected);
}

#[tokio::test]
async fn a_large_body_comes_back_unchanged() {
    let echo = Server::start(ARGS).await;
    let body: Bytes = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let response = send(echo.addr, request("POST", "/raw", &[("content-type", "a/b")], body.clone())).await;
    assert_eq!(header(&response, "content-type"), Some("a/b"));
    assert!(response.body() == &body);
}

#[tokio::test]
async fn redirects() {
    let echo = Server::start(ARGS).await;
    let response = send(echo.addr, get("/redirect?location=%2Fa", &[])).await;
    assert_eq!((response.status().as_u16(), header(&response, "location")), (308, Some("/a")));
    assert_eq!(send(echo.addr, get("/redirect", &[])).await.status(), 400);
}

#[tokio::test]
async fn sigterm_ends_it_with_0() {
    let echo = Server::start(ARGS).await;
    echo.terminate().await;
    assert_eq!(echo.end().await.code(), Some(0));
}
