//! Peers whose messages could be understood in two ways.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::processor::{Scripted, Step, ack, kind, set};
use crate::support::{Upstream, World, raw};

/// An upstream that answers every connection with these bytes.
async fn answering(bytes: &'static str) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = socket.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn responses_that_could_be_misunderstood() {
    let table = [
        // Nobody asked to upgrade.
        ("101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nraw", "HTTP/1.1 503", "protocol error"),
        // The chunks decide, not the length.
        (
            "200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            "HTTP/1.1 200",
            "\r\n5\r\nabcde\r\n0\r\n\r\n",
        ),
        ("200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "HTTP/1.1 503", "protocol error"),
    ];
    for (response, head, rest) in table {
        let upstream = answering(format!("HTTP/1.1 {response}").leak()).await;
        let gateway = World::new(upstream).start().await;
        let answer = raw(gateway.address, b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
        assert!(answer.starts_with(head) && answer.ends_with(rest), "{response}: {answer}");
        assert!(!answer.contains("content-length: 3\r\n"), "{response}: {answer}");
    }
}

#[tokio::test]
async fn requests_that_could_be_misunderstood() {
    let upstream = Upstream::echo().await;
    let gateway = World::new(upstream.address).start().await;
    let chunks = "transfer-encoding: chunked\r\n\r\n1\r\na\r\n";
    let table = [
        ("GET foo", "\r\n", "400"),
        ("GET *", "\r\n", "400"),
        ("GET ftp://a/", "\r\n", "400"),
        ("GET http://me@a/", "\r\n", "400"),
        ("OPTIONS *", "\r\n", "200"),
        ("POST /", "transfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "501"),
        ("POST /", &format!("{chunks}0\r\n\r\n"), "200"),
        // Not the upstream's fault.
        ("POST /", &format!("{chunks}zz\r\n"), "400"),
    ];
    for (target, rest, expected) in table {
        let request = format!("{target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{rest}");
        let answer = raw(gateway.address, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected}")), "{target} {rest}: {answer}");
    }
}

#[tokio::test]
async fn processors_do_not_speak_for_the_connection() {
    let upstream = Upstream::echo().await;
    let request = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for (name, value) in [("connection", "upgrade, host"), ("upgrade", "x"), ("keep-alive", "1"), ("te", "gzip")] {
        let processor = Scripted::start(move |message| match kind(message) {
            "qh" => Step::Reply(set(message, name, value)),
            _ => Step::Reply(ack(message)),
        })
        .await;
        let gateway = World::new(upstream.address).with(processor.address, |_| {}).start().await;
        let answer = raw(gateway.address, request).await;
        assert!(answer.contains("\nhost: a\n"), "{name}: {answer}");
        assert!(!answer.contains(&format!("\n{name}: {value}")), "{name}: {answer}");
    }
    // A response without a body has no length.
    let processor = Scripted::start(|message| match kind(message) {
        "sh" => Step::Reply(set(message, ":status", "204")),
        _ => Step::Reply(ack(message)),
    })
    .await;
    let gateway = World::new(upstream.address).with(processor.address, |_| {}).start().await;
    let answer = raw(gateway.address, request).await;
    assert!(answer.starts_with("HTTP/1.1 204") && !answer.contains("content-length"), "{answer}");
}
