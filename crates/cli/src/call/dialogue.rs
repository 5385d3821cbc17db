//! One exchange driven through the data plane's engine, with a real stream to the processor.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use extproc_core::chain::Effect;
use extproc_core::filter::{Forward, GrpcStatus, HttpEvent, Outgoing, StreamEvent};
use extproc_core::{Config, Direction, FilterChain, Stats};
use extproc_proto::external_processor_client::ExternalProcessorClient;
use extproc_proto::{ProcessingRequest, ProcessingResponse};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::exchange::Message;
use super::words::{self, Phase};

/// The engine has its own deadlines; this one only guards against a mistake in them.
const WATCHDOG: Duration = Duration::from_secs(60);

/// One exchange under way.
pub(super) struct Dialogue {
    chain: FilterChain,
    client: ExternalProcessorClient<Channel>,
    outbox: Option<mpsc::UnboundedSender<ProcessingRequest>>,
    inbox: Inbox,
    request: VecDeque<HttpEvent>,
    response: VecDeque<HttpEvent>,
    /// The upstream has the whole request, and nobody answered in its place.
    upstream: Upstream,
    log: Log,
}

/// What happened.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) began: Instant,
    pub(super) turns: Vec<Turn>,
    /// What the upstream got; `None` when it was not asked.
    pub(super) request: Option<Message>,
    /// What the client got.
    pub(super) response: Message,
    /// The response was cut.
    pub(super) reset: bool,
    /// The processor answered the client itself.
    pub(super) immediate: bool,
    pub(super) details: Option<String>,
    pub(super) stats: Stats,
    /// How the processor ended the stream, if it did.
    pub(super) closed: Option<Result<(), GrpcStatus>>,
    pub(super) elapsed: Duration,
}

/// A message to the processor and its answer; or an answer that nothing asked for.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) phase: Option<Phase>,
    pub(super) at: Instant,
    pub(super) sent: Vec<String>,
    pub(super) answer: Option<(Duration, Vec<String>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upstream {
    Waiting,
    Answering,
    Cancelled,
}

type Opened = Result<Response<Streaming<ProcessingResponse>>, Status>;

enum Inbox {
    Idle,
    Opening(Pin<Box<dyn Future<Output = Opened> + Send>>),
    Open(Box<Streaming<ProcessingResponse>>),
}

impl Dialogue {
    pub(super) fn new(
        config: Arc<Config>,
        client: ExternalProcessorClient<Channel>,
        request: Message,
        response: Message,
        chunk: usize,
    ) -> Self {
        let log = Log {
            began: Instant::now(),
            turns: Vec::new(),
            request: None,
            response: Message::default(),
            reset: false,
            immediate: false,
            details: None,
            stats: Stats::default(),
            closed: None,
            elapsed: Duration::ZERO,
        };
        Self {
            chain: FilterChain::new([config]),
            client,
            outbox: None,
            inbox: Inbox::Idle,
            request: request.events(chunk).into(),
            response: response.events(chunk).into(),
            upstream: Upstream::Waiting,
            log,
        }
    }

    /// Drives the exchange to its end.
    pub(super) async fn run(mut self) -> anyhow::Result<Log> {
        self.log.began = Instant::now();
        loop {
            self.drain();
            if self.log.reset || self.chain.is_done(Direction::Response) {
                break;
            }
            if !self.feed()? {
                self.wait().await?;
            }
        }
        self.log.elapsed = self.log.began.elapsed();
        self.chain.finish(Instant::now());
        self.drain();
        self.log.stats = *self.chain.stats(0);
        self.log.details = self.chain.details().map(str::to_owned);
        Ok(self.log)
    }

    /// Does what the engine wants done, until it wants nothing.
    fn drain(&mut self) {
        while let Some(effect) = self.chain.poll_effect() {
            match effect {
                Effect::OpenStream(_) => self.open(),
                Effect::ResetStream(_) => (self.outbox, self.inbox) = (None, Inbox::Idle),
                // There is one route.
                Effect::RecomputeRoute => {}
                Effect::CancelUpstream => self.upstream = Upstream::Cancelled,
                Effect::ResetDownstream => self.log.reset = true,
            }
        }
        while let Some(outgoing) = self.chain.poll_send(0) {
            match outgoing {
                Outgoing::Message(message) => self.send(*message),
                Outgoing::HalfClose => self.outbox = None,
            }
        }
        while let Some(part) = self.chain.poll_forward(Direction::Request) {
            let ended = collect(self.log.request.get_or_insert_default(), part);
            if ended && self.upstream == Upstream::Waiting {
                self.upstream = Upstream::Answering;
            }
        }
        while let Some(part) = self.chain.poll_forward(Direction::Response) {
            collect(&mut self.log.response, part);
        }
    }

    fn open(&mut self) {
        let (outbox, messages) = mpsc::unbounded_channel();
        let mut client = self.client.clone();
        self.outbox = Some(outbox);
        self.inbox =
            Inbox::Opening(Box::pin(async move { client.process(UnboundedReceiverStream::new(messages)).await }));
    }

    fn send(&mut self, message: ProcessingRequest) {
        let (phase, sent) = (words::asked(&message), words::sent(&message));
        self.log.turns.push(Turn { phase, at: Instant::now(), sent, answer: None });
        if let Some(outbox) = &self.outbox {
            // A stream that is already over takes nothing; that it is over comes through the inbox.
            let _ = outbox.send(message);
        }
    }

    /// Feeds one part of the request or of the response; false when nothing may be fed now.
    fn feed(&mut self) -> anyhow::Result<bool> {
        let now = Instant::now();
        for direction in Direction::BOTH {
            let queue = match direction {
                Direction::Request => &mut self.request,
                Direction::Response if self.upstream == Upstream::Answering => &mut self.response,
                Direction::Response => continue,
            };
            let first = matches!(queue.front(), Some(HttpEvent::Headers(..)));
            if !first && !self.chain.wants(direction) {
                continue;
            }
            if let Some(event) = queue.pop_front() {
                self.chain.handle_http(now, direction, event)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits for the processor or for the engine's deadline.
    async fn wait(&mut self) -> anyhow::Result<()> {
        let deadline = self.chain.poll_timeout().map(|(deadline, ..)| deadline);
        let limit = deadline.unwrap_or_else(|| Instant::now() + WATCHDOG);
        tokio::select! {
            event = self.inbox.next() => self.hear(event),
            () = tokio::time::sleep_until(limit.into()) => {
                anyhow::ensure!(deadline.is_some(), "the exchange stands still: nothing is owed and nothing comes");
                self.chain.handle_timeout(Instant::now());
            }
        }
        Ok(())
    }

    fn hear(&mut self, event: Result<Option<ProcessingResponse>, Status>) {
        let event = match event {
            Ok(Some(response)) => {
                self.note(&response);
                StreamEvent::Reply(Box::new(response))
            }
            Ok(None) => StreamEvent::Closed(Ok(())),
            Err(status) => {
                let code = u8::try_from(i32::from(status.code())).unwrap_or(2);
                StreamEvent::Closed(Err(GrpcStatus { code, message: status.message().to_owned() }))
            }
        };
        if let StreamEvent::Closed(end) = &event {
            self.inbox = Inbox::Idle;
            self.log.closed = Some(end.clone());
        }
        self.chain.handle_stream(Instant::now(), 0, event);
    }

    /// Puts the answer beside the oldest message of its phase that has none.
    fn note(&mut self, response: &ProcessingResponse) {
        let now = Instant::now();
        let (phase, lines) = (words::answered(response), words::received(response));
        self.log.immediate |= words::is_immediate(response);
        let open = self.log.turns.iter_mut().filter(|turn| turn.answer.is_none() && !turn.sent.is_empty());
        match open.into_iter().find(|turn| phase.is_none() || turn.phase == phase) {
            Some(turn) => turn.answer = Some((now - turn.at, lines)),
            None => {
                let turn = Turn { phase, at: now, sent: Vec::new(), answer: Some((Duration::ZERO, lines)) };
                self.log.turns.push(turn);
            }
        }
    }
}

impl Inbox {
    /// The next message; may be dropped and called again.
    async fn next(&mut self) -> Result<Option<ProcessingResponse>, Status> {
        loop {
            match self {
                Self::Idle => std::future::pending().await,
                Self::Opening(opening) => *self = Self::Open(Box::new(opening.await?.into_inner())),
                Self::Open(stream) => return stream.message().await,
            }
        }
    }
}

/// Adds a part to a message; whether it was the last one.
fn collect(message: &mut Message, part: Forward) -> bool {
    match part {
        Forward::Headers(headers, end) => {
            message.headers = headers;
            end
        }
        Forward::Data(data, end) => {
            message.body = [&message.body[..], &data[..]].concat().into();
            end
        }
        Forward::Trailers(trailers) => {
            message.trailers = trailers;
            true
        }
    }
}
