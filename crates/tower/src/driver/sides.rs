//! The streams of one exchange: what goes out on them and what comes in.

use std::mem;
use std::task::{Context, Poll};

use extproc_core::filter::{GrpcStatus, Outgoing, StreamEvent};

use super::now;
use crate::processor::{Calls, Opening, Replay, SideStream};
use crate::shared::Shared;

/// The stream of one filter.
pub(super) enum Side {
    Unopened,
    /// The first message is taken from the filter at once: it is sent, and its time runs, also while connecting.
    Opening(Opening, First),
    Open(SideStream),
    /// An HTTP service, which has no stream.
    Http(Calls),
    Closed,
}

/// What is sent on a stream as soon as it is open.
pub(super) enum First {
    Outgoing(Option<Outgoing>),
    Replay(Replay),
}

impl Side {
    pub(super) const fn opening(opening: Opening, first: Option<Outgoing>) -> Self {
        Self::Opening(opening, First::Outgoing(first))
    }

    /// Gives the stream up.
    pub(super) fn reset(&mut self) {
        if let Self::Open(stream) = mem::replace(self, Self::Closed) {
            stream.reset();
        }
    }
}

/// Opens, sends and receives as far as it goes; whether anything happened. `open`: another stream for a filter, when the
/// processor did not look at the first one.
pub(super) fn poll(
    sides: &mut [Side],
    shared: &Shared,
    open: impl Fn(usize) -> Option<Opening>,
    cx: &mut Context<'_>,
) -> bool {
    let mut moved = false;
    for (index, side) in sides.iter_mut().enumerate() {
        if let Side::Opening(opening, first) = side {
            match opening.poll(cx) {
                Poll::Ready(Ok(mut stream)) => {
                    match mem::replace(first, First::Outgoing(None)) {
                        First::Outgoing(first) => first.into_iter().for_each(|it| give(&mut stream, it)),
                        First::Replay(replay) => stream.resend(replay),
                    }
                    *side = Side::Open(stream);
                }
                Poll::Ready(Err(status)) => {
                    *side = Side::Closed;
                    closed(shared, index, Err(status));
                    moved = true;
                }
                Poll::Pending => {}
            }
        }
        if let Side::Http(calls) = side {
            match exchange(shared, index, calls, cx) {
                Ok(exchanged) => moved |= exchanged,
                Err(status) => {
                    *side = Side::Closed;
                    closed(shared, index, Err(status));
                    moved = true;
                }
            }
        }
        if let Side::Open(stream) = side {
            moved |= send(shared, index, stream, cx);
            let takes = shared.lock().chain.takes_messages(index);
            let message = if takes { stream.poll_message(cx) } else { Poll::Pending };
            if let Some([sent, received]) = stream.take_bytes() {
                shared.lock().chain.count_bytes(index, sent, received);
            }
            match message {
                Poll::Ready(Ok(reply)) => {
                    let event = StreamEvent::Reply(reply);
                    shared.step(|chain| chain.handle_stream(now(), index, event));
                    moved = true;
                }
                Poll::Ready(Err(end)) => {
                    match again(side, || open(index)) {
                        Some(opening) => *side = opening,
                        None => closed(shared, index, end),
                    }
                    moved = true;
                }
                Poll::Pending => {}
            }
        }
    }
    moved
}

/// Sends the next message to an HTTP service once the one before has its answer; whether anything happened.
fn exchange(shared: &Shared, index: usize, calls: &mut Calls, cx: &mut Context<'_>) -> Result<bool, GrpcStatus> {
    let mut moved = false;
    loop {
        if !calls.is_busy() {
            let Some(outgoing) = shared.step(|chain| chain.poll_send(index)) else { return Ok(moved) };
            moved = true;
            if let Outgoing::Message(message) = outgoing {
                calls.send(&message);
            }
        }
        if !shared.lock().chain.takes_messages(index) {
            return Ok(moved);
        }
        match calls.poll_answer(cx) {
            Poll::Ready(answer) => {
                let event = StreamEvent::Reply(answer?);
                shared.step(|chain| chain.handle_stream(now(), index, event));
                moved = true;
            }
            Poll::Pending => return Ok(moved),
        }
    }
}

/// Of an exchange that is over: ends the sides of HTTP services that have answered everything.
pub(super) fn end_answered(sides: &mut [Side], shared: &Shared) {
    for (index, side) in sides.iter_mut().enumerate() {
        if matches!(side, Side::Http(calls) if !calls.is_busy()) {
            *side = Side::Closed;
            closed(shared, index, Ok(()));
        }
    }
}

/// Closes a side whose stream has ended. When the processor did not look at it, gives what to put in its place.
fn again(side: &mut Side, open: impl FnOnce() -> Option<Opening>) -> Option<Side> {
    let Side::Open(stream) = mem::replace(side, Side::Closed) else { return None };
    let replay = stream.into_replay()?;
    Some(Side::Opening(open()?, First::Replay(replay)))
}

/// Passes messages on as flow control allows.
fn send(shared: &Shared, index: usize, stream: &mut SideStream, cx: &mut Context<'_>) -> bool {
    let mut moved = false;
    while stream.poll_ready(cx).is_ready() && !stream.is_half_closed() {
        let Some(outgoing) = shared.step(|chain| chain.poll_send(index)) else { break };
        give(stream, outgoing);
        moved = true;
    }
    moved
}

fn give(stream: &mut SideStream, outgoing: Outgoing) {
    match outgoing {
        Outgoing::Message(message) => stream.send(&message),
        Outgoing::HalfClose => stream.half_close(),
    }
}

/// Tells the filter that its stream is over.
pub(super) fn closed(shared: &Shared, filter: usize, end: Result<(), GrpcStatus>) {
    shared.step(|chain| chain.handle_stream(now(), filter, StreamEvent::Closed(end)));
}
