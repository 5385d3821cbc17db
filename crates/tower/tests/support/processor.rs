//! A processor that follows a script, over a real socket. Shared by the tests of the shell and of the gateway.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use extproc_proto::body_mutation::Mutation;
use extproc_proto::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HeadersResponse,
    HttpStatus, ImmediateResponse, ProcessingRequest, ProcessingResponse, TrailersResponse,
};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Status, Streaming};

/// What the processor does about one message.
pub enum Step {
    Reply(ProcessingResponse),
    /// Several answers, or none.
    Replies(Vec<ProcessingResponse>),
    /// The answer, later.
    Late(Duration, ProcessingResponse),
    /// Ends the stream OK.
    Finish,
    Fail(Code, &'static str),
}

impl Step {
    pub const SILENCE: Self = Self::Replies(Vec::new());
}

/// What the processor has seen, over all its streams.
#[derive(Debug, Default)]
pub struct Seen {
    pub messages: Vec<ProcessingRequest>,
    /// How many streams the data plane has ended. (tonic does not tell a reset from a half-close.)
    pub ends: usize,
}

pub struct Scripted {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    /// Its own, so that it can be killed with everything in it.
    runtime: Option<Runtime>,
}

type Script = dyn Fn(&ProcessingRequest) -> Step + Send + Sync;

struct Service {
    script: Arc<Script>,
    seen: Arc<Mutex<Seen>>,
}

impl Scripted {
    pub async fn start(script: impl Fn(&ProcessingRequest) -> Step + Send + Sync + 'static) -> Self {
        Self::start_on(([127, 0, 0, 1], 0).into(), script).await
    }

    pub async fn start_on(
        address: SocketAddr,
        script: impl Fn(&ProcessingRequest) -> Step + Send + Sync + 'static,
    ) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let service = Service { script: Arc::new(script), seen: Arc::clone(&seen) };
        let service = ExternalProcessorServer::new(service).max_decoding_message_size(usize::MAX);
        let (bound, address) = {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let bind = async move {
                let socket = TcpListener::bind(address).await.unwrap();
                sender.send(socket.local_addr().unwrap()).unwrap();
                socket
            };
            (bind, receiver)
        };
        runtime.spawn(async move {
            // With Nagle's algorithm every small answer waits for the acknowledgement of the one before.
            let socket =
                TcpListenerStream::new(bound.await).map(|stream| stream.inspect(|it| it.set_nodelay(true).unwrap()));
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(socket).await.unwrap();
        });
        Self { address: address.await.unwrap(), seen, runtime: Some(runtime) }
    }

    /// The kinds of all messages so far, in short: `qh` for request headers to `st` for response trailers, `!` for the
    /// end of the stream, bodies in quotes.
    pub fn log(&self) -> String {
        let seen = self.seen.lock().unwrap();
        seen.messages.iter().map(short).collect::<Vec<_>>().join(" ")
    }

    pub fn ends(&self) -> usize {
        self.seen.lock().unwrap().ends
    }

    pub fn body_bytes(&self) -> usize {
        self.seen.lock().unwrap().messages.iter().map(|it| body(it).map_or(0, |it| it.0.len())).sum()
    }

    /// The headers of the first message of a kind, as `name=value`.
    pub fn headers(&self, kind: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        let message = seen.messages.iter().find(|it| short(it).trim_end_matches('!') == kind).unwrap();
        let map = match message.request.as_ref().unwrap() {
            Request::RequestHeaders(it) | Request::ResponseHeaders(it) => it.headers.clone(),
            Request::RequestTrailers(it) | Request::ResponseTrailers(it) => it.trailers.clone(),
            Request::RequestBody(_) | Request::ResponseBody(_) => None,
        };
        let line = |it: &HeaderValue| format!("{}={}", it.key.escape_ascii(), it.raw_value.escape_ascii());
        map.unwrap().headers.iter().map(line).collect()
    }

    /// Kills the processor: its connections are closed, its port refuses.
    pub fn kill(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tonic::async_trait]
impl ExternalProcessor for Service {
    type ProcessStream = ReceiverStream<Result<ProcessingResponse, Status>>;

    async fn process(
        &self,
        request: tonic::Request<Streaming<ProcessingRequest>>,
    ) -> Result<tonic::Response<Self::ProcessStream>, Status> {
        let (replies, stream) = mpsc::channel(16);
        let (script, seen) = (Arc::clone(&self.script), Arc::clone(&self.seen));
        tokio::spawn(async move {
            let mut messages = request.into_inner();
            while let Ok(Some(message)) = messages.message().await {
                let step = script(&message);
                seen.lock().unwrap().messages.push(message);
                let (delay, batch) = match step {
                    Step::Reply(reply) => (Duration::ZERO, vec![reply]),
                    Step::Replies(replies) => (Duration::ZERO, replies),
                    Step::Late(delay, reply) => (delay, vec![reply]),
                    Step::Finish => return,
                    Step::Fail(code, text) => {
                        let _ = replies.send(Err(Status::new(code, text))).await;
                        return;
                    }
                };
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                for reply in batch {
                    let _ = replies.send(Ok(reply)).await;
                }
            }
            seen.lock().unwrap().ends += 1;
        });
        Ok(tonic::Response::new(ReceiverStream::new(stream)))
    }
}

fn short(message: &ProcessingRequest) -> String {
    let kind = kind(message);
    let end = match message.request.as_ref().unwrap() {
        Request::RequestHeaders(it) | Request::ResponseHeaders(it) => it.end_of_stream,
        Request::RequestBody(it) | Request::ResponseBody(it) => it.end_of_stream,
        Request::RequestTrailers(_) | Request::ResponseTrailers(_) => false,
    };
    let text = body(message).map_or_else(String::new, |(body, _)| format!("\"{}\"", body.escape_ascii()));
    format!("{kind}{}{text}", if end { "!" } else { "" })
}

pub fn kind(message: &ProcessingRequest) -> &'static str {
    match message.request.as_ref().unwrap() {
        Request::RequestHeaders(_) => "qh",
        Request::RequestBody(_) => "qb",
        Request::RequestTrailers(_) => "qt",
        Request::ResponseHeaders(_) => "sh",
        Request::ResponseBody(_) => "sb",
        Request::ResponseTrailers(_) => "st",
    }
}

/// The bytes of a body message, and whether it is the last.
pub fn body(message: &ProcessingRequest) -> Option<(&Bytes, bool)> {
    match message.request.as_ref()? {
        Request::RequestBody(it) | Request::ResponseBody(it) => Some((&it.body, it.end_of_stream)),
        _ => None,
    }
}

/// The empty answer to a message.
pub fn ack(message: &ProcessingRequest) -> ProcessingResponse {
    answer(message, CommonResponse::default())
}

/// The answer that sets a header.
pub fn set(message: &ProcessingRequest, name: &'static str, value: &'static str) -> ProcessingResponse {
    answer(message, CommonResponse { header_mutation: Some(mutation(name, value)), ..CommonResponse::default() })
}

/// The answer that puts another body in place of the one in the message.
pub fn replace(message: &ProcessingRequest, body: impl Into<Bytes>) -> ProcessingResponse {
    let body_mutation = Some(BodyMutation { mutation: Some(Mutation::Body(body.into())) });
    answer(message, CommonResponse { body_mutation, ..CommonResponse::default() })
}

pub fn immediate(status: i32, body: &'static str) -> ProcessingResponse {
    let immediate = ImmediateResponse {
        status: Some(HttpStatus { code: status }),
        body: Bytes::from_static(body.as_bytes()),
        details: "said_so".to_owned(),
        ..ImmediateResponse::default()
    };
    ProcessingResponse { response: Some(Response::ImmediateResponse(immediate)), ..ProcessingResponse::default() }
}

pub fn answer(message: &ProcessingRequest, common: CommonResponse) -> ProcessingResponse {
    let trailers = || TrailersResponse { header_mutation: common.header_mutation.clone() };
    let response = match message.request.as_ref().unwrap() {
        Request::RequestHeaders(_) => Response::RequestHeaders(HeadersResponse { response: Some(common) }),
        Request::ResponseHeaders(_) => Response::ResponseHeaders(HeadersResponse { response: Some(common) }),
        Request::RequestBody(_) => Response::RequestBody(BodyResponse { response: Some(common) }),
        Request::ResponseBody(_) => Response::ResponseBody(BodyResponse { response: Some(common) }),
        Request::RequestTrailers(_) => Response::RequestTrailers(trailers()),
        Request::ResponseTrailers(_) => Response::ResponseTrailers(trailers()),
    };
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

pub fn mutation(name: &'static str, value: &'static str) -> HeaderMutation {
    let header = HeaderValue {
        key: Bytes::from_static(name.as_bytes()),
        raw_value: Bytes::from_static(value.as_bytes()),
        ..HeaderValue::default()
    };
    let option = HeaderValueOption { header: Some(header), ..HeaderValueOption::default() };
    HeaderMutation { set_headers: vec![option], ..HeaderMutation::default() }
}
