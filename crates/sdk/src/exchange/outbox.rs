//! Where an exchange puts its messages, and the stream that takes them.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use extproc_proto::ProcessingResponse;

/// Messages on their way out. The future that fills it and the stream that empties it are polled by the same task, so
/// the lock is never contended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox(Arc<Mutex<VecDeque<ProcessingResponse>>>);

impl Outbox {
    pub(crate) fn push(&self, message: ProcessingResponse) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(message);
    }

    pub(crate) fn pop(&self) -> Option<ProcessingResponse> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Waits until the messages are taken: what goes out slowly comes in slowly. Needs no waker, because the stream
    /// polls the future again whenever it has nothing left.
    pub(crate) async fn drained(&self) {
        poll_fn(|_| {
            let empty = self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
            if empty { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
