//! A processor as the far end of a side stream of `extproc_core::pair`.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use extproc_core::pair;
use extproc_proto::ProcessingRequest;
use futures_core::Stream;
use tonic::Status;

use super::harness::grpc;
use crate::service::{Replies, Service};
use crate::{Open, Stages};

/// A processor or chain on one exchange of [`extproc_core::pair::Pair`]: joined with the data plane's filter in memory,
/// under a virtual clock, it shows what client and upstream really see.
///
/// A handler that waits for anything outside the exchange, such as a timer, is as one that never answers.
pub struct InMemory {
    requests: Requests,
    replies: Option<Replies>,
}

/// The messages that the data plane has sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<ProcessingRequest>,
    ended: bool,
}

impl InMemory {
    /// The processor on a new exchange.
    pub fn new<S: Stages>(stages: &Arc<S>) -> Self {
        let requests = Requests::default();
        let service = Service::new(Arc::clone(stages), Arc::default(), Arc::default());
        let replies = service.run(requests.clone(), Open::default());
        Self { requests, replies: Some(replies) }
    }

    /// Takes what can be had without anything new coming in.
    fn drain(&mut self, out: &mut pair::Replies) {
        let mut cx = Context::from_waker(Waker::noop());
        while let Some(replies) = &mut self.replies {
            match Pin::new(replies).poll_next(&mut cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(reply))) => out.send(reply),
                Poll::Ready(Some(Err(status))) => {
                    out.close(Err(grpc(&status)));
                    self.replies = None;
                }
                Poll::Ready(None) => {
                    out.close(Ok(()));
                    self.replies = None;
                }
            }
        }
    }
}

impl pair::Processor for InMemory {
    fn message(&mut self, message: ProcessingRequest, replies: &mut pair::Replies) {
        self.requests.push(message);
        self.drain(replies);
    }

    fn half_closed(&mut self, replies: &mut pair::Replies) {
        self.requests.end();
        self.drain(replies);
    }

    fn reset(&mut self) {
        self.replies = None;
    }
}

impl Requests {
    /// One more message. Whoever adds one polls the replies again: there is no waker.
    pub(super) fn push(&self, message: ProcessingRequest) {
        self.queue().messages.push_back(message);
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.queue().ended = true;
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream for Requests {
    type Item = Result<ProcessingRequest, Status>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.queue();
        match queue.messages.pop_front() {
            Some(message) => Poll::Ready(Some(Ok(message))),
            None if queue.ended => Poll::Ready(None),
            // Whoever adds a message polls again.
            None => Poll::Pending,
        }
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory").field("requests", &self.requests).finish_non_exhaustive()
    }
}
