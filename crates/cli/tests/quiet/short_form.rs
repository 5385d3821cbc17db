//! `extproc gateway` without a file.

use crate::alone;
use crate::http::{header, request, send_h2};
use crate::process::Server;

/// No file; HTTP/2 in front.
#[tokio::test]
async fn the_short_form() {
    let _alone = alone().await;
    let digest = Server::start(&["serve", "digest", "--listen", "127.0.0.1:0"]).await;
    let echo = Server::start(&["echo", "--listen", "127.0.0.1:0"]).await;
    let (backend, processor) = (echo.addr.to_string(), digest.addr.to_string());
    let flags = ["--listen", "127.0.0.1:0", "--backend", &backend, "--processor", &processor, "--body", "buffered"];
    let gateway = Server::start(&[&["gateway"], &flags[..]].concat()).await;
    let response = send_h2(gateway.addr, request("POST", "/something", &[], "abc")).await;
    let expected = "82141d90af407510c2d32dbbeeaf17a6d6e8a23d83f40a1f74446c5c9a6fe664";
    assert_eq!(header(&response, "x-request-digest"), Some(expected));
    gateway.terminate().await;
    assert_eq!(gateway.end().await.code(), Some(0));
}
