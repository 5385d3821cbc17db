//! The request direction of a call: headers, messages and half-close of the client.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::event::{Measure, Message, RequestPart};
use super::link::{Cx, Stream};
use super::outlet::{Outlet, Part};
use super::timeout::{self, GRPC_TIMEOUT};
use crate::{Direction, Headers};

/// What is known of the direction.
#[derive(Debug, Default)]
pub(super) struct Requests {
    pub(super) head: Head,
    pub(super) messages: Messages,
    /// What has not been given to the processor, and is for it or behind what is.
    waiting: VecDeque<Message>,
    half_close: HalfClose,
    /// A message was given to the processor.
    sent: bool,
    /// When the call must be over, to be told with the headers.
    deadline: Option<Instant>,
    out: Outlet<RequestPart>,
}

/// The headers of the direction.
#[derive(Debug, Default)]
pub(super) enum Head {
    /// They have not come.
    #[default]
    Start,
    /// The processor has them, and owes an answer.
    Asked(Headers, Instant),
    /// They have gone on.
    Gone,
}

/// Who gets the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Messages {
    /// The next hop, as they come.
    #[default]
    Pass,
    /// The processor; what it gives goes on.
    Process,
    /// What the processor has not got waits until it has given back what it has.
    Drain,
    /// Nobody: the processor has ended the direction.
    Discard,
    /// Nobody: the server takes no more.
    Refuse,
}

/// The client's end of the direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum HalfClose {
    #[default]
    NotYet,
    /// It waits behind messages, or for the processor.
    Seen(Instant),
    /// The processor was told.
    Told(Instant),
    /// It has gone on.
    Gone,
}

impl Part for RequestPart {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Headers(_) | Self::HalfClose => 0,
        }
    }
}

impl Requests {
    /// The call begins. `asked`: the processor is in the path, and sees headers or messages by the configuration.
    pub(super) fn on_headers(&mut self, cx: &mut Cx<'_>, headers: Headers, deadline: Option<Instant>, asked: bool) {
        self.deadline = deadline;
        let observing = cx.config.options().observability_mode;
        if asked && cx.config.sends_messages(Direction::Request) && !observing {
            self.messages = Messages::Process;
        }
        if !asked || !cx.config.options().processing_mode.request_headers {
            return self.let_headers_go(cx, headers, cx.now);
        }
        cx.send_headers(Direction::Request, &headers, false);
        if observing {
            self.head = Head::Gone;
            cx.link.proceeded(Measure::ClientHeaders, std::time::Duration::ZERO);
            self.out.push_behind_copy(RequestPart::Headers(self.with_time_left(cx, headers)));
        } else {
            self.head = Head::Asked(headers, cx.now);
        }
    }

    /// `copied`: in observability mode, and the processor is there.
    pub(super) fn on_message(&mut self, cx: &mut Cx<'_>, message: Message, copied: bool) {
        match self.messages {
            Messages::Pass if copied && cx.config.sends_messages(Direction::Request) => {
                cx.send_message(Direction::Request, message.body.clone());
                self.out.push_behind_copy(RequestPart::Message(message));
            }
            Messages::Pass => self.out.push(RequestPart::Message(message)),
            Messages::Process | Messages::Drain => {
                self.waiting.push_back(message);
                self.pump(cx);
            }
            Messages::Discard | Messages::Refuse => {}
        }
    }

    pub(super) fn on_half_close(&mut self, cx: &mut Cx<'_>, copied: bool) {
        if self.half_close != HalfClose::NotYet {
            return;
        }
        self.half_close = HalfClose::Seen(cx.now);
        match self.messages {
            Messages::Pass if copied && cx.config.sends_messages(Direction::Request) => {
                cx.send_half_close();
                cx.link.proceeded(Measure::ClientHalfClose, std::time::Duration::ZERO);
                self.half_close = HalfClose::Gone;
                self.out.push_behind_copy(RequestPart::HalfClose);
            }
            Messages::Pass => self.let_half_close_go(cx),
            // The processor has nothing of the direction and cannot be told any more.
            Messages::Process if cx.link.stream == Stream::HalfClosed && !self.sent && self.waiting.is_empty() => {
                self.messages = Messages::Discard;
                self.let_half_close_go(cx);
            }
            Messages::Process => self.pump(cx),
            Messages::Drain | Messages::Discard | Messages::Refuse => {}
        }
    }

    /// Gives the processor what it has room for.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>) {
        if self.messages != Messages::Process || cx.link.stream == Stream::HalfClosed {
            return;
        }
        while let Some(front) = self.waiting.front() {
            if !front.body.is_empty() && !cx.link.has_room(Direction::Request) {
                // Both ends must not wait for each other.
                return cx.link.grant_now();
            }
            let Some(message) = self.waiting.pop_front() else { return };
            self.sent = true;
            cx.send_message(Direction::Request, message.body);
        }
        if let HalfClose::Seen(since) = self.half_close {
            self.half_close = HalfClose::Told(since);
            cx.send_half_close();
        }
    }

    /// The processor has answered the headers.
    pub(super) fn let_headers_go(&mut self, cx: &mut Cx<'_>, headers: Headers, since: Instant) {
        self.head = Head::Gone;
        cx.link.proceeded(Measure::ClientHeaders, cx.now - since);
        let headers = self.with_time_left(cx, headers);
        self.out.push_front(RequestPart::Headers(headers));
    }

    /// The processor gives a message, or the end, or both.
    pub(super) fn on_processed(&mut self, cx: &mut Cx<'_>, message: Option<Bytes>, end: bool) {
        if self.messages == Messages::Refuse {
            return;
        }
        if let Some(body) = message {
            self.out.push(RequestPart::Message(Message::new(body)));
        }
        if end {
            self.messages = Messages::Discard;
            self.waiting.clear();
            self.let_half_close_go(cx);
        }
    }

    /// `request_drain_requests`: the processor wants no more messages.
    pub(super) fn drain(&mut self, cx: &mut Cx<'_>) {
        if self.messages == Messages::Process
            && cx.link.stream != Stream::HalfClosed
            && self.half_close == HalfClose::NotYet
        {
            self.messages = Messages::Drain;
            cx.send_drain_complete(Direction::Request);
        }
    }

    /// Messages that were for the processor and have not gone: they stand before all that wait.
    pub(super) fn take_back(&mut self, unsent: Vec<Bytes>) {
        unsent.into_iter().rev().for_each(|body| self.waiting.push_front(Message::new(body)));
    }

    /// The processor has nothing of the direction any more. What it did not get goes on as it came.
    pub(super) fn bypass(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.head, Head::Asked(..)) {
            let Head::Asked(headers, since) = std::mem::take(&mut self.head) else { return };
            self.let_headers_go(cx, headers, since);
        }
        self.out.release();
        self.pass(cx);
    }

    /// The same for the messages alone.
    pub(super) fn pass(&mut self, cx: &mut Cx<'_>) {
        if !matches!(self.messages, Messages::Process | Messages::Drain) {
            return;
        }
        self.messages = Messages::Pass;
        self.waiting.drain(..).for_each(|message| self.out.push(RequestPart::Message(message)));
        self.let_half_close_go(cx);
    }

    /// The server takes no more of the direction.
    pub(super) fn refuse(&mut self) {
        self.messages = Messages::Refuse;
        self.waiting.clear();
        self.out.clear();
    }

    /// Whether more may be read. Messages that nobody gets are read, so that their sender comes to its end.
    pub(super) fn wants(&self, link_is_full: bool) -> bool {
        if self.half_close != HalfClose::NotYet {
            return false;
        }
        match self.messages {
            Messages::Pass => self.out.is_empty() && !link_is_full,
            Messages::Process => self.waiting.is_empty() && !link_is_full,
            Messages::Drain | Messages::Refuse => false,
            Messages::Discard => true,
        }
    }

    /// Whether the processor has no part in the direction any more.
    pub(super) const fn is_finished(&self) -> bool {
        matches!(self.messages, Messages::Pass | Messages::Discard | Messages::Refuse)
    }

    pub(super) fn pop(&mut self) -> Option<RequestPart> {
        matches!(self.head, Head::Gone).then(|| self.out.pop())?
    }

    /// No copy goes any more.
    pub(super) fn release_copies(&mut self) {
        self.out.release();
    }

    pub(super) fn copy_has_gone(&mut self) {
        self.out.copy_has_gone();
    }

    pub(super) const fn queued(&self) -> usize {
        self.out.bytes()
    }

    fn let_half_close_go(&mut self, cx: &mut Cx<'_>) {
        match self.half_close {
            HalfClose::Seen(since) | HalfClose::Told(since) => {
                cx.link.proceeded(Measure::ClientHalfClose, cx.now - since);
                self.half_close = HalfClose::Gone;
                self.out.push(RequestPart::HalfClose);
            }
            HalfClose::NotYet if self.messages == Messages::Discard => self.out.push(RequestPart::HalfClose),
            HalfClose::NotYet | HalfClose::Gone => {}
        }
    }

    /// The server is told the time that is left, not the time that there was.
    fn with_time_left(&self, cx: &Cx<'_>, mut headers: Headers) -> Headers {
        if let Some(deadline) = self.deadline {
            headers.set(GRPC_TIMEOUT, timeout::write(deadline.saturating_duration_since(cx.now)));
        }
        headers
    }
}
