//! The demo's client: one connection for each request.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::text::Fields;

/// The demo's exchanges take milliseconds.
const LIMIT: Duration = Duration::from_secs(10);

/// A request to send.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) body: Option<&'static str>,
}

/// A response, and the request as it was sent.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) sent: Fields,
    pub(super) status: u16,
    pub(super) headers: Fields,
    pub(super) body: Bytes,
}

impl Ask {
    /// Sends it to `proxy` and reads the whole response.
    pub(super) async fn send(&self, proxy: SocketAddr) -> anyhow::Result<Answer> {
        let answer = tokio::time::timeout(LIMIT, self.exchange(proxy)).await;
        let answer = answer.with_context(|| format!("no whole response within {LIMIT:?}"));
        answer.and_then(|answer| answer).with_context(|| format!("{} {}", self.method, self.path))
    }

    async fn exchange(&self, proxy: SocketAddr) -> anyhow::Result<Answer> {
        let stream = TcpStream::connect(proxy).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = self.request(proxy)?;
        let sent = fields(request.headers());
        let response = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>((head, body.collect().await?.to_bytes()))
        };
        // The connection has no error that the response does not have.
        let mut connection = std::pin::pin!(connection);
        let mut response = std::pin::pin!(response);
        let (head, body) = tokio::select! {
            response = &mut response => response?,
            _ = &mut connection => response.await?,
        };
        Ok(Answer { sent, status: head.status.as_u16(), headers: fields(&head.headers), body })
    }

    fn request(&self, proxy: SocketAddr) -> anyhow::Result<Request<Full<Bytes>>> {
        let mut builder = Request::builder().method(Method::from_bytes(self.method.as_bytes())?).uri(self.path);
        builder = builder.header("host", proxy.to_string()).header("user-agent", "extproc-demo");
        for (name, value) in self.headers {
            builder = builder.header(*name, *value);
        }
        if let Some(body) = self.body {
            builder = builder.header("content-length", body.len());
        }
        Ok(builder.body(Full::new(Bytes::from_static(self.body.unwrap_or_default().as_bytes())))?)
    }
}

fn fields(headers: &HeaderMap) -> Fields {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
