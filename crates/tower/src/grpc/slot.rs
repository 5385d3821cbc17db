//! A body of which at most one frame is ready: what the next hop has not taken is not read from the last one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tonic::Status;

/// The driver's end.
#[derive(Debug)]
pub(super) struct Slot {
    shared: Arc<Shared>,
}

/// The body that the next hop reads.
#[derive(Debug)]
pub(super) struct SlotBody {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    frame: Option<Frame<Bytes>>,
    /// What is behind the frame: the end, or that there is none.
    end: Option<Result<(), Status>>,
    /// Nobody reads any more.
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Slot {
    pub(super) fn new() -> (Self, SlotBody) {
        let shared = Arc::new(Shared::default());
        (Self { shared: Arc::clone(&shared) }, SlotBody { shared })
    }

    /// Whether a frame may be put. Else, and also then, `cx` is woken when it changes, or when nobody reads any more.
    pub(super) fn poll_ready(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.shared.lock();
        state.writer = Some(cx.waker().clone());
        if state.frame.is_none() && state.end.is_none() && !state.closed { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether nobody reads any more, although there is no end yet.
    pub(super) fn is_given_up(&self) -> bool {
        let state = self.shared.lock();
        state.closed && state.end.is_none()
    }

    pub(super) fn put(&self, data: Bytes) {
        self.shared.change(|state| state.frame = Some(Frame::data(data)));
    }

    /// The end with trailers.
    pub(super) fn put_trailers(&self, trailers: HeaderMap) {
        self.shared.change(|state| {
            state.frame = Some(Frame::trailers(trailers));
            state.end = Some(Ok(()));
        });
    }

    pub(super) fn end(&self) {
        self.shared.change(|state| state.end = Some(Ok(())));
    }

    /// There is no end: what waits is dropped.
    pub(super) fn abort(&self, status: Status) {
        self.shared.change(|state| {
            if state.end.is_none() {
                (state.frame, state.end) = (None, Some(Err(status)));
            }
        });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Body for SlotBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut state = self.shared.lock();
        if let Some(frame) = state.frame.take() {
            let writer = state.writer.take();
            drop(state);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(frame)));
        }
        match state.end.replace(Ok(())) {
            Some(Ok(())) => Poll::Ready(None),
            Some(Err(status)) => Poll::Ready(Some(Err(status))),
            None => {
                state.end = None;
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for SlotBody {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        let writer = state.writer.take();
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}
