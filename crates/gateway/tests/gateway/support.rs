//! A world around a gateway: an upstream, a processor, clients.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc_core::{Config, Options};
use extproc_gateway::plan::{
    Backend, ChainEntry, Endpoint, Listener, ProcessorSpec, Protocol, Rule, Timeouts, WeightedBackend,
};
use extproc_gateway::route::{HostMatch, PathMatch, RouteTable};
use extproc_gateway::{Gateway, Plan, Telemetry};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::Frame;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle};

pub(crate) type Body = BoxBody<Bytes, Infallible>;

pub(crate) fn empty() -> Body {
    Empty::new().boxed()
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

/// A body of unknown length, with trailers unless there are none.
pub(crate) fn chunked(chunks: &[&'static str], trailers: &[(&'static str, &'static str)]) -> Body {
    let data = chunks.iter().map(|it| Frame::data(Bytes::from_static(it.as_bytes())));
    let fields = trailers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let last = (!trailers.is_empty()).then(|| Frame::trailers(fields.collect()));
    let frames: Vec<_> = data.chain(last).map(Ok).collect();
    StreamBody::new(tokio_stream::iter(frames)).boxed()
}

/// Polls a condition until it holds; panics after five seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within 5 s");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An HTTP/1.1 server that answers with a function.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: AbortHandle,
}

impl Upstream {
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let answer = answer.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let response = answer(request);
                        async { Ok::<_, Infallible>(response.await) }
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, connections, task: task.abort_handle() }
    }

    /// Answers with the request: method, target, the fields that are asked for, and the body.
    pub(crate) async fn echo() -> Self {
        Self::start(|request: Request<Incoming>| async {
            let (head, body) = request.into_parts();
            let collected = body.collect().await;
            let mut text = format!("{} {}\n", head.method, head.uri);
            for (name, value) in &head.headers {
                if name != "x-request-id" {
                    text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
                }
            }
            match collected {
                Ok(body) => {
                    let trailers = body.trailers().cloned().unwrap_or_default();
                    text += &format!("\n{}", String::from_utf8_lossy(&body.to_bytes()));
                    for (name, value) in &trailers {
                        text += &format!("\n{name}: {}", value.to_str().unwrap());
                    }
                }
                Err(error) => text += &format!("\nbody failed: {error}"),
            }
            Response::builder().header("x-up", "1").body(full(text)).unwrap()
        })
        .await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A plan with one listener and one route for everything.
pub(crate) struct World {
    pub(crate) backend: Vec<SocketAddr>,
    pub(crate) protocol: Protocol,
    pub(crate) chain: Vec<ChainEntry>,
    pub(crate) processors: Vec<SocketAddr>,
    pub(crate) timeouts: Timeouts,
    pub(crate) path: &'static str,
    pub(crate) drain: Duration,
}

impl World {
    pub(crate) fn new(upstream: SocketAddr) -> Self {
        Self {
            backend: vec![upstream],
            protocol: Protocol::Http1,
            chain: Vec::new(),
            processors: Vec::new(),
            timeouts: Timeouts::default(),
            path: "/",
            drain: Duration::from_secs(5),
        }
    }

    /// Adds the chain entry `p`, with defaults but for what `set` changes, and for a timeout so long that it cannot
    /// hide a wake-up that is missing.
    pub(crate) fn with(mut self, processor: SocketAddr, set: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options { message_timeout: Duration::from_secs(60), ..Options::default() };
        set(&mut options);
        let name = if self.chain.is_empty() { "p".to_owned() } else { format!("p{}", self.chain.len()) };
        let config = Arc::new(Config::new(options).unwrap());
        self.chain.push(ChainEntry {
            name,
            config,
            processor: self.processors.len(),
            initial_metadata: Vec::new(),
            http_service: None,
        });
        self.processors.push(processor);
        self
    }

    pub(crate) async fn start(self) -> Running {
        let mut routes = RouteTable::new();
        let chain: Arc<[_]> = self.chain.into();
        routes.set_unmatched(0, Arc::clone(&chain));
        let rule = Rule {
            name: "test".to_owned(),
            backends: vec![WeightedBackend { backend: 0, weight: 1 }],
            chain,
            timeouts: self.timeouts,
        };
        routes.add(0, HostMatch::Any, PathMatch::prefix(self.path).unwrap(), Arc::new(rule));
        let endpoint = |address: &SocketAddr| Endpoint { address: (*address).into(), weight: 1 };
        let processor = |address: &SocketAddr| ProcessorSpec {
            name: "processor".to_owned(),
            endpoints: vec![(*address).into()],
            connect_timeout: ProcessorSpec::DEFAULT_CONNECT_TIMEOUT,
        };
        let plan = Plan {
            listeners: vec![Listener { name: "main".to_owned(), address: ([127, 0, 0, 1], 0).into() }],
            routes,
            backends: vec![Backend {
                name: "up".to_owned(),
                endpoints: self.backend.iter().map(endpoint).collect(),
                metadata: None,
                protocol: self.protocol,
            }],
            processors: self.processors.iter().map(processor).collect(),
        };
        let gateway = Gateway::bind(plan).await.unwrap().with_drain_timeout(self.drain);
        let address = gateway.local_addr(0).unwrap();
        let telemetry = gateway.telemetry();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(gateway.serve_with_shutdown(async {
            let _ = stopped.await;
        }));
        Running { address, telemetry, stop: Some(stop), task: Some(task) }
    }
}

/// A gateway that serves.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) telemetry: Arc<Telemetry>,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<()>>,
}

impl Running {
    /// Tells the gateway to stop; the handle completes when it has.
    pub(crate) fn stop(mut self) -> JoinHandle<()> {
        self.stop.take();
        self.task.take().unwrap()
    }

    /// One HTTP/1.1 request on a connection of its own.
    pub(crate) async fn send(&self, request: Request<Body>) -> Response<Incoming> {
        Client::http1(self.address).await.send(request).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        text(self.send(get(path)).await).await
    }

    /// `started/sent/received/closed` of the chain entry `p`, then what else is not zero.
    pub(crate) fn counted(&self) -> String {
        let stats = self.telemetry.stats();
        let main = ["streams_started", "stream_msgs_sent", "stream_msgs_received", "streams_closed"];
        let mut text = main.map(|it| stats["p"][it].to_string()).join("/");
        for (name, value) in &stats["p"] {
            if *value != 0 && !main.contains(name) {
                text += &format!(" {name} {value}");
            }
        }
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.iter().for_each(JoinHandle::abort);
    }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "ex.com").body(empty()).unwrap()
}

pub(crate) fn post(path: &str, body: Body) -> Request<Body> {
    Request::post(path).header("host", "ex.com").body(body).unwrap()
}

/// Status and whole body.
pub(crate) async fn text(response: Response<Incoming>) -> (u16, String) {
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// One client connection.
pub(crate) enum Client {
    Http1(hyper::client::conn::http1::SendRequest<Body>),
    Http2(hyper::client::conn::http2::SendRequest<Body>),
}

impl Client {
    pub(crate) async fn http1(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::Http1(sender)
    }

    pub(crate) async fn http2(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::Http2(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }
}

/// Sends bytes and reads what comes until the gateway closes the connection.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
    // A reset also closes; what came before counts.
    let _ = read.expect("the gateway did not close the connection");
    String::from_utf8(answer).unwrap()
}
