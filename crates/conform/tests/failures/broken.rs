//! A processor that is broken in a chosen way, until it recovers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use extproc_proto::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use extproc_proto::processing_request::Request as In;
use extproc_proto::processing_response::Response as Out;
use extproc_proto::{
    BodyResponse, CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HeadersResponse, ProcessingRequest,
    ProcessingResponse,
};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Response, Status, Streaming};

/// How long an answer takes that comes too late.
const TOO_LATE: Duration = Duration::from_millis(1000);

/// A way to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The process dies with the first message in its hands: its connections are reset.
    Killed,
    /// It is not there: connections are closed at once.
    Refuses,
    /// It says nothing.
    Hangs,
    /// It answers after the timeout.
    AnswersLate,
    /// It answers request headers with response headers.
    AnswersTheWrongPhase,
    /// It speaks no HTTP/2.
    SpeaksGarbage,
    /// It speaks gRPC, but its messages are no messages.
    SendsGarbageMessages,
}

/// It listens, and knows whether it has recovered.
#[derive(Debug)]
pub(crate) struct Processor {
    address: SocketAddr,
    healthy: watch::Sender<bool>,
}

impl Processor {
    pub(crate) async fn start(broken: Broken) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (healthy, state) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(connection(stream, broken, state.clone()));
            }
        });
        Self { address, healthy }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn recover(&self) {
        self.healthy.send_replace(true);
    }
}

async fn connection(mut stream: TcpStream, broken: Broken, healthy: watch::Receiver<bool>) {
    stream.set_nodelay(true).unwrap();
    if !*healthy.borrow() {
        match broken {
            Broken::Killed => return kill(stream).await,
            Broken::Refuses => return,
            Broken::SpeaksGarbage => {
                let _ = stream.write_all(&[0xff; 512]).await;
                // What the other side says is of no interest; when it has left, so do we.
                while matches!(stream.read(&mut [0; 512]).await, Ok(1..)) {}
                return;
            }
            Broken::SendsGarbageMessages => return garbage_messages(stream, healthy).await,
            Broken::Hangs | Broken::AnswersLate | Broken::AnswersTheWrongPhase => {}
        }
    }
    let service = ExternalProcessorServer::new(Service { broken, healthy });
    let incoming = tokio_stream::once(Ok::<_, std::io::Error>(stream));
    // The connection outlives the listener's stream; how it ends is the gateway's affair.
    let _ = tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await;
}

/// Serves HTTP/2 until the first request is there, and drops everything.
async fn kill(stream: TcpStream) {
    let (asked, mut was_asked) = mpsc::unbounded_channel();
    let service = hyper::service::service_fn(move |_request| {
        let _ = asked.send(());
        std::future::pending::<Result<http::Response<http_body_util::Empty<Bytes>>, Infallible>>()
    });
    let connection =
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        _ = was_asked.recv() => {}
    }
}

/// Answers every call with a gRPC frame whose content is no message. A healthy processor needs a new connection.
async fn garbage_messages(stream: TcpStream, mut healthy: watch::Receiver<bool>) {
    let service = hyper::service::service_fn(|_request| async {
        let (frames, body) = mpsc::unbounded_channel();
        let mut message = vec![0, 0, 0, 0, 8];
        message.extend_from_slice(&[0xff; 8]);
        frames.send(Ok::<_, Infallible>(Frame::data(Bytes::from(message)))).unwrap();
        // The stream stays open: the garbage is all that is wrong.
        tokio::spawn(async move { frames.closed().await });
        let response = http::Response::builder().header("content-type", "application/grpc");
        Ok::<_, Infallible>(response.body(StreamBody::new(UnboundedReceiverStream::new(body))).unwrap())
    });
    let connection =
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        _ = connection => {}
        _ = healthy.wait_for(|healthy| *healthy) => {}
    }
}

struct Service {
    broken: Broken,
    healthy: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl ExternalProcessor for Service {
    type ProcessStream = UnboundedReceiverStream<Result<ProcessingResponse, Status>>;

    async fn process(
        &self,
        request: tonic::Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let (replies, outgoing) = mpsc::unbounded_channel();
        let broken = (!*self.healthy.borrow()).then_some(self.broken);
        let mut stream = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = stream.message().await {
                let reply = match broken {
                    Some(Broken::Hangs) => continue,
                    Some(Broken::AnswersLate) => {
                        tokio::time::sleep(TOO_LATE).await;
                        answer(&message)
                    }
                    Some(Broken::AnswersTheWrongPhase) => wrong_phase(),
                    _ => answer(&message),
                };
                let _ = replies.send(Ok(reply));
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(outgoing)))
    }
}

/// Marks the headers of both directions with `x-seen: 1`.
fn answer(message: &ProcessingRequest) -> ProcessingResponse {
    let mark = HeaderValueOption {
        header: Some(HeaderValue { key: "x-seen".into(), value: Bytes::new(), raw_value: "1".into() }),
        ..HeaderValueOption::default()
    };
    let common = CommonResponse {
        header_mutation: Some(HeaderMutation { set_headers: vec![mark], remove_headers: Vec::new() }),
        ..CommonResponse::default()
    };
    let response = match message.request.as_ref().unwrap() {
        In::RequestHeaders(_) => Out::RequestHeaders(HeadersResponse { response: Some(common) }),
        In::ResponseHeaders(_) => Out::ResponseHeaders(HeadersResponse { response: Some(common) }),
        In::RequestBody(_) => Out::RequestBody(BodyResponse::default()),
        other => panic!("not configured: {other:?}"),
    };
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

fn wrong_phase() -> ProcessingResponse {
    let response = Some(Out::ResponseHeaders(HeadersResponse::default()));
    ProcessingResponse { response, ..ProcessingResponse::default() }
}
