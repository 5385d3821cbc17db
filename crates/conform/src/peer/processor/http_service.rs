//! The scripted processor as an HTTP service: each message is a request with its JSON.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use bytes::Bytes;
use extproc_proto::json;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;

use super::{Record, answer};
use crate::scenario::{HttpAnswer, Kind, Script};

/// A script, and how much of it was played.
struct Scripted {
    script: Script,
    seen: Mutex<BTreeMap<Kind, usize>>,
    record: Arc<Record>,
}

/// Serves connections until the task is dropped.
pub(super) async fn serve(listener: TcpListener, script: Script, record: Arc<Record>) {
    let scripted = Arc::new(Scripted { script, seen: Mutex::default(), record });
    while let Ok((socket, _)) = listener.accept().await {
        let _ = socket.set_nodelay(true);
        let scripted = Arc::clone(&scripted);
        let service = service_fn(move |request| {
            let scripted = Arc::clone(&scripted);
            async move { Ok::<_, Infallible>(scripted.respond(request).await) }
        });
        // What goes wrong shows in the transcript.
        tokio::spawn(async move {
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service).await
        });
    }
}

impl Scripted {
    async fn respond(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let HttpAnswer { status, body } = match self.answer(request).await {
            Ok(answer) => answer,
            Err(error) => HttpAnswer { status: 400, body: format!("{error:#}") },
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status.try_into().unwrap_or_default();
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> anyhow::Result<HttpAnswer> {
        ensure!(request.method() == Method::POST, "a message comes by POST");
        let content_type = request.headers().get(http::header::CONTENT_TYPE);
        ensure!(content_type.is_some_and(|it| it == "application/json"), "a message is JSON");
        let body = request.into_body().collect().await?.to_bytes();
        let message = json::read_request(&body).with_context(|| String::from_utf8_lossy(&body).into_owned())?;
        let message = answer::record(&message);
        let kind = message.kind;
        self.record.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        let nth = {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let nth = seen.entry(kind).or_default();
            *nth += 1;
            *nth - 1
        };
        // There is but one answer to a request.
        let step = self.script.answer(kind, nth).into_iter().next().unwrap_or_default();
        if let Some(delay) = step.delay {
            sleep(delay.duration()).await;
        }
        if step.silence {
            return std::future::pending().await;
        }
        if let Some(answer) = step.http {
            return Ok(answer);
        }
        let body = json::write_response(&answer::build(kind, &step)?);
        Ok(HttpAnswer { status: 200, body: String::from_utf8(body)? })
    }
}
