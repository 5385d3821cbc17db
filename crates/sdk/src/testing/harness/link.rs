//! The stream between a filter and its processor.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use extproc_core::filter::{GrpcStatus, StreamEvent};
use extproc_proto::{ProcessingRequest, ProcessingResponse};
use futures_core::Stream;
use tokio::time::Sleep;
use tonic::{Code, Status};

use super::Fault;
use crate::blocked::{Recorder, Settings};
use crate::service::Service;
use crate::testing::ToDo;
use crate::testing::in_memory::Requests;
use crate::{Open, Stages};

/// What a processor sends.
type Replies = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

/// A processor or chain that takes streams.
pub(super) trait Far: Send + Sync {
    fn open(&self, requests: Requests, recorder: Arc<Recorder>) -> Replies;
}

/// A function that answers messages.
pub(super) struct Raw<F>(pub(super) Arc<F>);

impl<S: Stages> Far for Arc<S> {
    fn open(&self, requests: Requests, recorder: Arc<Recorder>) -> Replies {
        let settings = Settings { observers: vec![recorder], ..Settings::default() };
        Box::pin(Service::new(Self::clone(self), Arc::new(settings), Arc::default()).run(requests, Open::default()))
    }
}

impl<F: Answer> Far for Raw<F> {
    fn open(&self, requests: Requests, _: Arc<Recorder>) -> Replies {
        Box::pin(Answers { answer: Arc::clone(&self.0), requests, ready: VecDeque::new() })
    }
}

/// What answers a message.
pub(super) trait Answer: Fn(&ProcessingRequest) -> Vec<ProcessingResponse> + Send + Sync + 'static {}

impl<F: Fn(&ProcessingRequest) -> Vec<ProcessingResponse> + Send + Sync + 'static> Answer for F {}

/// The answers of a function, one after the other.
struct Answers<F> {
    answer: Arc<F>,
    requests: Requests,
    ready: VecDeque<ProcessingResponse>,
}

impl<F: Answer> Stream for Answers<F> {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(reply) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(reply)));
            }
            match std::task::ready!(Pin::new(&mut self.requests).poll_next(cx)) {
                Some(Ok(message)) => {
                    let answers = (self.answer)(&message);
                    self.ready.extend(answers);
                }
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// One stream, and what goes wrong on it.
pub(super) struct Link {
    far: Arc<dyn Far>,
    faults: Vec<(usize, Fault)>,
    state: State,
    /// Messages so far.
    count: usize,
    /// What the processors could not write.
    pub(super) recorder: Arc<Recorder>,
}

enum State {
    Idle,
    Open(Box<Pipe>),
    /// The stream is about to end so.
    Ending(Result<(), GrpcStatus>),
}

struct Pipe {
    requests: Requests,
    replies: Replies,
    /// What is under way, and what keeps it.
    held: VecDeque<ToDo>,
    delay: Option<Pin<Box<Sleep>>>,
    silent: bool,
}

/// How long a processor gets to end its streams when the exchange is over.
const CLOSING: Duration = Duration::from_secs(1);

impl Link {
    pub(super) fn new(far: Arc<dyn Far>, faults: Vec<(usize, Fault)>) -> Self {
        Self { far, faults, state: State::Idle, count: 0, recorder: Arc::default() }
    }

    fn open(&mut self) {
        if self.faults.iter().any(|(_, fault)| *fault == Fault::Unreachable) {
            self.state = State::Ending(Err(GrpcStatus { code: 14, message: "unreachable".to_owned() }));
            return;
        }
        let requests = Requests::default();
        let replies = self.far.open(requests.clone(), Arc::clone(&self.recorder));
        let pipe = Pipe { requests, replies, held: VecDeque::new(), delay: None, silent: false };
        self.state = State::Open(Box::new(pipe));
    }

    fn give(&mut self, todo: ToDo) {
        let State::Open(pipe) = &mut self.state else { return };
        if matches!(todo, ToDo::Send(..)) {
            let number = self.count;
            self.count += 1;
            for (_, fault) in self.faults.iter().filter(|(at, _)| *at == number) {
                match fault {
                    Fault::Unreachable => {}
                    Fault::Silent => pipe.silent = true,
                    Fault::Slow(delay) => pipe.delay = Some(Box::pin(tokio::time::sleep(*delay))),
                    Fault::Fails(code) => {
                        let code = u8::try_from(i32::from(*code)).unwrap_or(2);
                        self.state = State::Ending(Err(GrpcStatus { code, message: "as planned".to_owned() }));
                        return;
                    }
                    Fault::Ends => {
                        self.state = State::Ending(Ok(()));
                        return;
                    }
                }
            }
        }
        pipe.held.push_back(todo);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamEvent> {
        match &mut self.state {
            State::Idle => Poll::Pending,
            State::Ending(_) => {
                let State::Ending(end) = std::mem::replace(&mut self.state, State::Idle) else { return Poll::Pending };
                Poll::Ready(StreamEvent::Closed(end))
            }
            State::Open(pipe) => {
                let event = std::task::ready!(pipe.poll(cx));
                if matches!(event, StreamEvent::Closed(_)) {
                    self.state = State::Idle;
                }
                Poll::Ready(event)
            }
        }
    }
}

impl Pipe {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<StreamEvent> {
        if self.delay.as_mut().is_some_and(|delay| delay.as_mut().poll(cx).is_ready()) {
            self.delay = None;
        }
        if self.delay.is_none() && !self.silent {
            for todo in self.held.drain(..) {
                match todo {
                    ToDo::Send(_, message) => self.requests.push(*message),
                    ToDo::HalfClose(_) => self.requests.end(),
                    ToDo::Open(_) | ToDo::Reset(_) => {}
                }
            }
        }
        Poll::Ready(match std::task::ready!(self.replies.as_mut().poll_next(cx)) {
            Some(Ok(reply)) => StreamEvent::Reply(Box::new(reply)),
            Some(Err(status)) => StreamEvent::Closed(Err(grpc(&status))),
            None => StreamEvent::Closed(Ok(())),
        })
    }
}

/// What the wire would make of it.
pub(in crate::testing) fn grpc(status: &Status) -> GrpcStatus {
    let code = u8::try_from(i32::from(status.code())).unwrap_or(Code::Unknown as u8);
    GrpcStatus { code, message: status.message().to_owned() }
}

/// Does what the data plane wants done.
pub(super) fn obey(links: &mut [Link], todo: ToDo) {
    match todo {
        ToDo::Open(filter) => links[filter].open(),
        ToDo::Reset(filter) => links[filter].state = State::Idle,
        ToDo::Send(filter, _) | ToDo::HalfClose(filter) => links[filter].give(todo),
    }
}

/// What the first stream brings that has something. What was sent before is taken by then.
pub(super) fn next(links: &mut [Link]) -> impl Future<Output = (usize, StreamEvent)> {
    poll_fn(move |cx| {
        for (filter, link) in links.iter_mut().enumerate() {
            if let Poll::Ready(event) = link.poll(cx) {
                return Poll::Ready((filter, event));
            }
        }
        Poll::Pending
    })
}

/// Lets the processors come to their ends.
pub(super) async fn close(links: &mut [Link]) {
    let all = async {
        while links.iter().any(|link| !matches!(link.state, State::Idle)) {
            next(links).await;
        }
    };
    // What does not end is dropped.
    let _ = tokio::time::timeout(CLOSING, all).await;
}
