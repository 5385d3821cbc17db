//! Filters, an upstream that is a function, and bodies that tests feed by hand.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc_core::{BodyMode, Config, Options, ProcessingMode};
use extproc_tower::{Counters, Cut, Endpoint, Filter, Processor, Refusal, RequestBody, ResponseBody, process};
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower_service::Service;

/// A filter that asks the processor at `address`, with defaults but for what `set` changes, and for a timeout so long
/// that it cannot hide a wake-up that is missing.
pub fn filter(address: SocketAddr, set: impl FnOnce(&mut Options)) -> Filter {
    let mut options = Options { message_timeout: Duration::from_secs(60), ..Options::default() };
    set(&mut options);
    let endpoint = Endpoint::Tcp(address.ip().to_string(), address.port());
    Filter {
        config: Arc::new(Config::new(options).unwrap()),
        processor: Processor::new([endpoint], Duration::from_secs(1)),
        counters: Arc::new(Counters::new()),
    }
}

/// The mode with these bodies; trailers are sent where bodies are.
pub fn bodies(request: BodyMode, response: BodyMode) -> ProcessingMode {
    ProcessingMode {
        request_body: request,
        response_body: response,
        request_trailers: request != BodyMode::None,
        response_trailers: response != BodyMode::None,
        ..ProcessingMode::default()
    }
}

/// `started/sent/received/closed`, then what else is not zero.
pub fn counted(filter: &Filter) -> String {
    let main = ["streams_started", "stream_msgs_sent", "stream_msgs_received", "streams_closed"];
    let mut text = main.map(|it| filter.counters.get(it).unwrap().to_string()).join("/");
    for (name, value) in filter.counters.iter() {
        if value != 0 && !main.contains(&name) {
            text += &format!(" {name} {value}");
        }
    }
    text
}

/// Polls a condition until it holds; panics after five seconds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not happen within 5 s");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<TestBody>, Refusal>> + Send>>;

/// An upstream that answers with a function.
#[derive(Clone)]
pub struct Upstream(Arc<dyn Fn(Request<RequestBody<TestBody>>) -> Answer + Send + Sync>);

impl Upstream {
    pub fn new<F, A>(answer: F) -> Self
    where
        F: Fn(Request<RequestBody<TestBody>>) -> A + Send + Sync + 'static,
        A: Future<Output = Result<Response<TestBody>, Refusal>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(answer(request))))
    }

    /// Answers 200 with what it got: `method path` and a digest of fields, body and trailers.
    pub fn echo() -> Self {
        Self::new(|request| async {
            let (head, body) = request.into_parts();
            let mut text = format!("{} {}", head.method, head.uri);
            let mut fields: Vec<_> = head.headers.iter().collect();
            fields.sort_by_key(|it| it.0.as_str());
            for (name, value) in fields {
                text += &format!(" {name}={}", value.to_str().unwrap());
            }
            match body.collect().await {
                Ok(body) => {
                    let trailers = body.trailers().cloned().unwrap_or_default();
                    text += &format!(" [{}]", String::from_utf8_lossy(&body.to_bytes()));
                    for (name, value) in &trailers {
                        text += &format!(" {name}={}", value.to_str().unwrap());
                    }
                }
                Err(error) => text += &format!(" failed: {error}"),
            }
            Ok(Response::new(TestBody::full(text)))
        })
    }
}

impl Service<Request<RequestBody<TestBody>>> for Upstream {
    type Response = Response<TestBody>;
    type Error = Refusal;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<TestBody>>) -> Answer {
        (self.0)(request)
    }
}

/// One exchange to its response headers.
pub async fn exchange(
    filters: &[Filter],
    request: Request<TestBody>,
    upstream: &Upstream,
) -> Result<Response<ResponseBody<TestBody>>, Cut> {
    process(filters.to_vec().into(), request, upstream.clone()).await
}

/// Status, body and trailers, as text.
pub async fn text(response: Response<ResponseBody<TestBody>>) -> String {
    let status = response.status().as_u16();
    match response.into_body().collect().await {
        Ok(body) => {
            let trailers = body.trailers().cloned().unwrap_or_default();
            let mut text = format!("{status} {}", String::from_utf8_lossy(&body.to_bytes()));
            for (name, value) in &trailers {
                text += &format!(" {name}={}", value.to_str().unwrap());
            }
            text
        }
        Err(error) => format!("{status} cut: {error}"),
    }
}

pub fn get(path: &str) -> Request<TestBody> {
    Request::get(path).header("host", "ex.com").body(TestBody::empty()).unwrap()
}

pub fn post(body: TestBody) -> Request<TestBody> {
    Request::post("/x").header("host", "ex.com").body(body).unwrap()
}

/// A body that a test feeds through a [`Feed`], which also tells how much of it was read.
pub struct TestBody(Arc<Feed>);

#[derive(Default)]
struct Frames {
    queue: VecDeque<Result<Frame<Bytes>, &'static str>>,
    end: bool,
    waker: Option<Waker>,
}

#[derive(Default)]
pub struct Feed {
    frames: Mutex<Frames>,
    read: AtomicUsize,
    dropped: AtomicUsize,
}

impl TestBody {
    pub fn open() -> (Self, Arc<Feed>) {
        let feed = Arc::new(Feed::default());
        (Self(Arc::clone(&feed)), feed)
    }

    pub fn empty() -> Self {
        let (body, feed) = Self::open();
        feed.end();
        body
    }

    pub fn full(text: impl Into<Bytes>) -> Self {
        let (body, feed) = Self::open();
        feed.data(text);
        feed.end();
        body
    }

    /// Data, then trailers.
    pub fn with_trailer(text: &'static str, name: &'static str, value: &'static str) -> Self {
        let (body, feed) = Self::open();
        feed.data(text);
        feed.trailer(name, value);
        body
    }
}

impl Feed {
    pub fn data(&self, data: impl Into<Bytes>) {
        self.push(Some(Ok(Frame::data(data.into()))), false);
    }

    pub fn trailer(&self, name: &'static str, value: &'static str) {
        let mut map = HeaderMap::new();
        map.insert(name, value.parse().unwrap());
        self.push(Some(Ok(Frame::trailers(map))), true);
    }

    pub fn end(&self) {
        self.push(None, true);
    }

    pub fn fail(&self) {
        self.push(Some(Err("the peer is gone")), true);
    }

    /// How many bytes were read.
    pub fn read(&self) -> usize {
        self.read.load(Ordering::Relaxed)
    }

    pub fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::Relaxed) > 0
    }

    fn push(&self, frame: Option<Result<Frame<Bytes>, &'static str>>, end: bool) {
        let mut state = self.frames.lock().unwrap();
        state.queue.extend(frame);
        state.end |= end;
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Body for TestBody {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let mut state = self.0.frames.lock().unwrap();
        match state.queue.pop_front() {
            Some(frame) => {
                if let Ok(data) = frame.as_ref().map(Frame::data_ref) {
                    self.0.read.fetch_add(data.map_or(0, Bytes::len), Ordering::Relaxed);
                }
                Poll::Ready(Some(frame))
            }
            None if state.end => Poll::Ready(None),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.0.frames.lock().unwrap();
        state.end && state.queue.is_empty()
    }
}

impl Drop for TestBody {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}
