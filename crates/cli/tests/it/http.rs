//! Requests.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::process::PATIENCE;

/// A whole request.
pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Bytes> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body.into()).expect("a request")
}

/// A GET.
pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> Request<Bytes> {
    request("GET", path, headers, "")
}

/// Sends a request over HTTP/1.1 and reads the whole response.
pub(crate) async fn send(addr: SocketAddr, request: Request<Bytes>) -> Response<Bytes> {
    exchange(Client::builder(TokioExecutor::new()), addr, request).await
}

/// Sends a request over cleartext HTTP/2 and reads the whole response.
pub(crate) async fn send_h2(addr: SocketAddr, request: Request<Bytes>) -> Response<Bytes> {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.http2_only(true);
    exchange(builder, addr, request).await
}

async fn exchange(
    builder: hyper_util::client::legacy::Builder,
    addr: SocketAddr,
    request: Request<Bytes>,
) -> Response<Bytes> {
    let (mut head, body) = request.into_parts();
    head.uri = format!("http://{addr}{}", head.uri).parse().expect("a URL");
    let client = builder.build_http::<Full<Bytes>>();
    let exchange = async {
        let (head, body) = client.request(Request::from_parts(head, Full::new(body))).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok::<_, Box<dyn std::error::Error>>(Response::from_parts(head, body))
    };
    timeout(PATIENCE, exchange).await.expect("an answer in time").expect("an answer")
}

/// The body as JSON.
pub(crate) fn json(response: &Response<Bytes>) -> serde_json::Value {
    serde_json::from_slice(response.body()).expect("JSON")
}

/// A response header as text.
pub(crate) fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().expect("text"))
}
