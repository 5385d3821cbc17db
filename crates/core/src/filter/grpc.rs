//! What is known of a body that goes to the processor as gRPC messages.

mod frames;
mod windows;

use std::collections::VecDeque;

use bytes::Bytes;

pub(crate) use self::frames::{FrameError, Frames, Message};
pub(crate) use self::windows::Windows;
use super::link::Cx;
use super::out::Out;
use super::replay::{Lost, Replay};
use crate::{Direction, Headers, wire};

/// A GRPC body: what has not been sent, and what was.
#[derive(Debug, Default)]
pub(super) struct Messages {
    frames: Frames,
    /// Whole messages that wait for room in the processor's window, or for the end of the drain.
    waiting: VecDeque<Message>,
    bytes: usize,
    /// The source has given its last byte of body.
    ended: bool,
    /// They came after it.
    pub(super) trailers: Option<Headers>,
    /// A message was sent. No answer says to which message it belongs.
    sent: bool,
    /// What was sent.
    replay: Replay<Message>,
    /// The processor was told that there are no more messages.
    pub(super) end_sent: bool,
    /// The trailers were sent.
    pub(super) trailers_sent: bool,
    /// The processor gives back what it has and takes no more.
    pub(super) draining: bool,
    /// The side stream is half-closed: what is left waits for its end.
    pub(super) stopped: bool,
    /// The headers name a coding, so messages may be compressed.
    pub(super) encoded: bool,
}

impl Messages {
    pub(super) fn new(headers: &Headers) -> Self {
        let encoded = headers.get_str("grpc-encoding").is_some_and(|coding| coding != "identity");
        Self { encoded, ..Self::default() }
    }

    /// Takes body of the source.
    pub(super) fn push(&mut self, data: Bytes, end: bool, limit: usize) -> Result<(), FrameError> {
        self.frames.push(data);
        while let Some(message) = self.frames.next(limit)? {
            self.bytes += message.body.len();
            self.waiting.push_back(message);
        }
        if end { self.end(None) } else { Ok(()) }
    }

    /// The source has given its last part.
    pub(super) fn end(&mut self, trailers: Option<Headers>) -> Result<(), FrameError> {
        if !self.frames.is_empty() {
            return Err(FrameError::Truncated);
        }
        (self.ended, self.trailers) = (true, trailers);
        Ok(())
    }

    /// Sends what there is and may go. `wants_trailers`: the mode sends them.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>, direction: Direction, wants_trailers: bool) {
        if self.draining || self.stopped {
            return;
        }
        while let Some(front) = self.waiting.front() {
            if !front.body.is_empty() && !cx.link.has_room(direction) {
                // Both ends must not wait for each other.
                return cx.link.grant_now();
            }
            let Some(message) = self.waiting.pop_front() else { return };
            self.bytes -= message.body.len();
            self.sent = true;
            let last = self.ended && self.waiting.is_empty() && self.trailers.is_none();
            // The end of a response is in its trailers.
            let end = last && direction == Direction::Request;
            self.end_sent |= end;
            self.replay.keep(message.framed_len(), cx.config.options().replay_buffer, || message.clone());
            cx.tell_message(direction, message, end);
        }
        if !self.ended || self.end_sent {
            return;
        }
        self.end_sent = true;
        match &self.trailers {
            Some(trailers) if wants_trailers => {
                self.trailers_sent = true;
                cx.tell(wire::trailers_message(direction, trailers, cx.config));
            }
            Some(_) | None => cx.tell(wire::half_close_message(direction)),
        }
    }

    /// Lets go of what the processor does not have, as it came.
    pub(super) fn release(self, out: &mut Out) {
        let (ended, trailers) = (self.ended, self.release_body(out));
        match trailers {
            Some(trailers) => out.trailers(trailers),
            None if ended => out.data(Bytes::new(), true),
            None => {}
        }
    }

    /// The same without the end; gives back the trailers.
    pub(super) fn release_body(self, out: &mut Out) -> Option<Headers> {
        self.waiting.into_iter().for_each(|message| message.release(out, false));
        self.frames.release(out);
        self.trailers
    }

    /// Why only the processor can give back messages that it has.
    pub(super) fn lost(&self) -> Option<Lost> {
        self.replay.lost().filter(|_| self.sent)
    }

    /// A message of the processor goes on, or its end.
    pub(super) fn release_replay(&mut self) {
        self.replay.release();
    }

    /// Takes back what was sent, if all of it is here.
    pub(super) fn restore(&mut self) {
        for message in self.replay.take().into_iter().rev() {
            self.bytes += message.body.len();
            self.waiting.push_front(message);
        }
    }

    /// Whether nothing more should be read.
    pub(super) fn is_blocked(&self) -> bool {
        self.draining || self.stopped || !self.waiting.is_empty()
    }

    /// Bytes of whole messages.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
