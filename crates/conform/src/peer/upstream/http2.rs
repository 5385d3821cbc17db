//! The same script over HTTP/2.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::Record;
use crate::peer::fields::{list, map};
use crate::peer::http1::Body;
use crate::scenario::Upstream;
use crate::transcript::End;

type Parts = mpsc::UnboundedSender<Result<Frame<Bytes>, io::Error>>;

pub(super) async fn serve(stream: TcpStream, script: Upstream, record: Arc<Record>) {
    let service = service_fn(|request| {
        let (script, record) = (script.clone(), Arc::clone(&record));
        async move { Ok::<_, Infallible>(exchange(request, script, record).await) }
    });
    // What goes wrong with the connection shows in the record.
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn exchange(
    request: Request<Incoming>,
    script: Upstream,
    record: Arc<Record>,
) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
    let is_head = request.method() == http::Method::HEAD;
    let reading = Reading::new(request, record);
    if script.early {
        tokio::spawn(reading.finish());
    } else {
        reading.finish().await;
    }
    sleep(script.delay.duration()).await;
    let bodiless = is_head || matches!(script.status, 204 | 304);
    let mut builder = Response::builder().status(script.status);
    for (name, value) in script.headers.iter() {
        builder = builder.header(name, value);
    }
    let body = match script.whole_body() {
        Some(body) => {
            if script.status != 204 {
                builder = builder.header("content-length", body.len());
            }
            let body = if bodiless { Vec::new() } else { body };
            Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync()
        }
        None if bodiless => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        None => {
            let (parts, body) = mpsc::unbounded_channel();
            tokio::spawn(send_frames(script, parts));
            StreamBody::new(UnboundedReceiverStream::new(body)).boxed_unsync()
        }
    };
    builder.body(body).unwrap_or_default()
}

/// A request that is taken down as it comes; however it ends, it counts as open no longer.
struct Reading {
    place: usize,
    body: Incoming,
    record: Arc<Record>,
}

impl Reading {
    fn new(request: Request<Incoming>, record: Arc<Record>) -> Self {
        record.open.send_modify(|open| *open += 1);
        let (head, body) = request.into_parts();
        let mut headers = list(&head.headers);
        if let Some(authority) = head.uri.authority() {
            headers.push(("host".to_owned(), authority.to_string()));
        }
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        let place = record.add(head.method.as_str(), path, headers);
        Self { place, body, record }
    }

    async fn finish(mut self) {
        let mut so_far = Body::default();
        loop {
            match self.body.frame().await {
                None => so_far.end = End::Complete,
                Some(Err(_)) => return,
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => so_far.bytes.extend_from_slice(&data),
                    Err(frame) => so_far.trailers = frame.into_trailers().map(|map| list(&map)).unwrap_or_default(),
                },
            }
            self.record.update(self.place, &so_far);
            if so_far.end == End::Complete {
                return;
            }
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.record.open.send_modify(|open| *open -= 1);
    }
}

/// Sends the chunks with their pauses; that nobody takes them any more is the data plane's right.
async fn send_frames(script: Upstream, parts: Parts) {
    for (index, chunk) in script.chunks.iter().flatten().enumerate() {
        if index > 0 {
            sleep(script.pause.duration()).await;
        }
        let _ = parts.send(Ok(Frame::data(chunk.bytes().into())));
    }
    sleep(script.pause.duration()).await;
    if script.cut {
        let _ = parts.send(Err(io::ErrorKind::ConnectionAborted.into()));
    } else if !script.trailers.is_empty() {
        let _ = parts.send(Ok(Frame::trailers(map(&script.trailers))));
    }
}
