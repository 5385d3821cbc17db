//! A client, a server that echoes, and a processor; the layer is at the client or at the server.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use extproc_core::call::{Config, Options};
use extproc_core::config::FlowControl;
use extproc_core::{BodyMode, ProcessingMode};
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_request::Request as Told;
use extproc_proto::{BodyMutation, CommonResponse, ProcessingRequest, StreamedBodyResponse};
use extproc_tower::grpc::{ExtProcClientLayer, ExtProcServerLayer, Settings};
use extproc_tower::{Endpoint, Processor};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Stream, StreamExt};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};
use tower_layer::Layer;
use tower_service::Service;

use crate::processor::{Scripted, Step, ack, answer};

/// Where the layer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Client,
    Server,
}

pub const PLACES: [Place; 2] = [Place::Client, Place::Server];

pub struct World {
    pub client: tonic::client::Grpc<Sender>,
    pub seen: Arc<Seen>,
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

/// What the server saw.
#[derive(Debug, Default)]
pub struct Seen {
    pub calls: Mutex<Vec<MetadataMap>>,
    pub messages: Mutex<Vec<Bytes>>,
}

/// How a call ended.
#[derive(Debug, Default)]
pub struct Outcome {
    pub headers: MetadataMap,
    pub messages: Vec<Bytes>,
    /// The trailers of a call that ended OK.
    pub trailers: MetadataMap,
    pub status: Option<Status>,
}

impl Outcome {
    /// The messages, and the status unless it is OK.
    pub fn text(&self) -> String {
        let mut parts: Vec<_> = self.messages.iter().map(|it| it.escape_ascii().to_string()).collect();
        parts.extend(self.status.as_ref().map(|it| format!("{:?}: {}", it.code(), it.message())));
        parts.join(" ")
    }
}

/// Waits until it is so.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        tokio::task::yield_now().await;
    }
}

/// A value of metadata; empty if there is none.
pub fn value<'a>(metadata: &'a MetadataMap, name: &str) -> &'a [u8] {
    metadata.get(name).map_or(b"", |value| value.as_bytes())
}

/// As in the rows of A93: request headers, request body, response headers, response body, response trailers.
pub fn options(modes: &str) -> Options {
    let modes: Vec<_> = modes.chars().collect();
    let body = |at: usize| if modes[at] == 'G' { BodyMode::Grpc } else { BodyMode::None };
    Options {
        processing_mode: ProcessingMode {
            request_headers: modes[0] == 'S',
            request_body: body(1),
            response_headers: modes[2] == 'S',
            response_body: body(3),
            response_trailers: modes[4] == 'S',
            request_trailers: false,
        },
        flow_control: FlowControl::Off,
        ..Options::default()
    }
}

impl World {
    pub async fn new(place: Place, options: Options, processor: &Scripted) -> Self {
        Self::at(place, options, processor.address).await
    }

    pub async fn at(place: Place, options: Options, processor: SocketAddr) -> Self {
        let config = Arc::new(Config::new(options).unwrap());
        let endpoint = Endpoint::Tcp(processor.ip().to_string(), processor.port());
        let processor = Processor::new([endpoint], Duration::from_secs(5));
        Self::with(place, Settings::new(config, processor)).await
    }

    pub async fn with(place: Place, settings: Settings) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let echo = Echo { seen: Arc::clone(&seen) };
        let incoming = TcpListenerStream::new(socket);
        let layer = ExtProcServerLayer::from(settings.clone());
        let server = tokio::spawn(async move {
            let mut server = tonic::transport::Server::builder();
            let served = match place {
                Place::Client => server.add_service(echo).serve_with_incoming(incoming).await,
                Place::Server => server.layer(layer).add_service(echo).serve_with_incoming(incoming).await,
            };
            served.unwrap();
        });
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let sender = match place {
            Place::Server => Sender::new(channel),
            Place::Client => Sender::new(ExtProcClientLayer::from(settings).layer(channel)),
        };
        Self { client: tonic::client::Grpc::new(sender), seen, address, server }
    }

    /// The server is no more.
    pub async fn stop_server(&mut self) {
        self.server.abort();
        let _aborted = (&mut self.server).await;
    }

    pub fn compressing(mut self) -> Self {
        self.client =
            self.client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
        self
    }

    /// One message there, one back.
    pub async fn unary(&mut self, message: &str) -> Outcome {
        self.call("Unary", tokio_stream::once(Bytes::copy_from_slice(message.as_bytes()))).await
    }

    /// Any messages there, any back: `Bidi` echoes, `Collect` joins, `Spread` gives each letter.
    pub async fn stream(&mut self, method: &str, messages: &[&str]) -> Outcome {
        let messages: Vec<_> = messages.iter().map(|it| Bytes::copy_from_slice(it.as_bytes())).collect();
        self.call(method, tokio_stream::iter(messages)).await
    }

    pub async fn call(&mut self, method: &str, messages: impl Stream<Item = Bytes> + Send + 'static) -> Outcome {
        self.request(method, Request::new(messages)).await
    }

    pub async fn request<M: Stream<Item = Bytes> + Send + 'static>(
        &mut self,
        method: &str,
        request: Request<M>,
    ) -> Outcome {
        let within = Duration::from_secs(20);
        tokio::time::timeout(within, self.outcome(method, request)).await.expect("a call hangs")
    }

    async fn outcome<M: Stream<Item = Bytes> + Send + 'static>(
        &mut self,
        method: &str,
        request: Request<M>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        self.client.ready().await.unwrap();
        let path = PathAndQuery::try_from(format!("/test.Echo/{method}")).unwrap();
        match self.client.streaming(request, path, BytesCodec).await {
            Err(status) => outcome.status = Some(status),
            Ok(response) => {
                outcome.headers = response.metadata().clone();
                let mut messages = response.into_inner();
                loop {
                    match messages.message().await {
                        Ok(Some(message)) => outcome.messages.push(message),
                        Ok(None) => break,
                        Err(status) => {
                            outcome.status = Some(status);
                            break;
                        }
                    }
                }
                if outcome.status.is_none() {
                    outcome.trailers = messages.trailers().await.unwrap().unwrap_or_default();
                }
            }
        }
        outcome
    }
}

/// A processor that changes nothing but what `change` makes of messages.
pub fn with_messages(change: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> impl Fn(&ProcessingRequest) -> Step {
    move |message| match message.request.as_ref() {
        None => Step::SILENCE,
        Some(Told::RequestBody(body) | Told::ResponseBody(body)) => {
            let end = body.end_of_stream;
            let changed = if end { Vec::new() } else { change(&body.body) };
            Step::Reply(streamed(message, changed, end))
        }
        Some(_) => Step::Reply(ack(message)),
    }
}

/// The answer with a message, or with the end.
pub fn streamed(message: &ProcessingRequest, body: impl Into<Bytes>, end: bool) -> extproc_proto::ProcessingResponse {
    let piece = StreamedBodyResponse {
        body: body.into(),
        end_of_stream: end,
        end_of_stream_without_message: end,
        ..StreamedBodyResponse::default()
    };
    let body_mutation = Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(piece)) });
    answer(message, CommonResponse { body_mutation, ..CommonResponse::default() })
}

pub fn echoes() -> impl Fn(&ProcessingRequest) -> Step {
    with_messages(<[u8]>::to_vec)
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<tonic::body::Body>, Status>> + Send>>;

/// A channel, with or without a layer.
#[derive(Clone)]
pub struct Sender(Arc<dyn Fn(http::Request<tonic::body::Body>) -> Answer + Send + Sync>);

impl Sender {
    fn new<S>(service: S) -> Self
    where
        S: Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        S::Future: Send,
    {
        Self(Arc::new(move |request| {
            let mut service = service.clone();
            Box::pin(async move {
                std::future::poll_fn(|cx| service.poll_ready(cx)).await.map_err(|it| Status::from_error(it.into()))?;
                service.call(request).await.map_err(|it| Status::from_error(it.into()))
            })
        }))
    }
}

impl Service<http::Request<tonic::body::Body>> for Sender {
    type Response = http::Response<tonic::body::Body>;
    type Error = Status;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Answer {
        (self.0)(request)
    }
}

/// The server: every method reads all kinds of calls as streams.
#[derive(Clone)]
struct Echo {
    seen: Arc<Seen>,
}

impl tonic::server::NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<tonic::body::Body>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        let echo = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(BytesCodec)
                .accept_compressed(CompressionEncoding::Gzip)
                .send_compressed(CompressionEncoding::Gzip);
            Ok(grpc.streaming(Method { echo, method }, request).await)
        })
    }
}

struct Method {
    echo: Echo,
    method: String,
}

impl tonic::server::StreamingService<Bytes> for Method {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Self::ResponseStream>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (echo, method) = (self.echo.clone(), self.method.clone());
        Box::pin(async move {
            echo.seen.calls.lock().unwrap().push(request.metadata().clone());
            let messages = request.into_inner();
            let seen = Arc::clone(&echo.seen);
            let messages = messages.map(move |it| {
                seen.messages.lock().unwrap().extend(it.clone().ok());
                it
            });
            let stream: Self::ResponseStream = match &method[..] {
                "Unary" | "Bidi" => Box::pin(messages),
                "Refuse" => return Err(Status::aborted("no")),
                "Collect" => {
                    let all: Vec<_> = messages.collect().await;
                    let all: Result<Vec<Bytes>, _> = all.into_iter().collect();
                    Box::pin(tokio_stream::once(all.map(|all| Bytes::from(all.concat()))))
                }
                "Fail" => Box::pin(messages.chain(tokio_stream::once(Err(Status::data_loss("late"))))),
                "Spread" => {
                    let (sender, receiver) = tokio::sync::mpsc::channel(1);
                    tokio::spawn(async move {
                        let mut messages = messages;
                        while let Some(Ok(message)) = messages.next().await {
                            for letter in message.chunks(1).map(Bytes::copy_from_slice) {
                                if sender.send(Ok(letter)).await.is_err() {
                                    return;
                                }
                            }
                        }
                    });
                    Box::pin(ReceiverStream::new(receiver))
                }
                "Never" => Box::pin(tokio_stream::pending()),
                _ => return Err(Status::unimplemented(method)),
            };
            let mut response = Response::new(stream);
            response.metadata_mut().insert("server", "echo".parse().unwrap());
            Ok(response)
        })
    }
}

/// Messages are bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining())))
    }
}
