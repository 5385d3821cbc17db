//! The response direction of a call: headers, messages and trailers of the server.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::event::{Measure, Message, ResponsePart, Status};
use super::link::{Cx, Stream};
use super::outlet::{Outlet, Part};
use crate::{Direction, Headers};

/// What is known of the direction.
#[derive(Debug, Default)]
pub(super) struct Responses {
    pub(super) head: Head,
    pub(super) messages: Messages,
    /// What has not been given to the processor.
    waiting: VecDeque<Message>,
    pub(super) trailers: Trailers,
    /// A message was given to the processor.
    sent: bool,
    out: Outlet<ResponsePart>,
}

/// The headers of the direction.
#[derive(Debug, Default)]
pub(super) enum Head {
    /// They have not come.
    #[default]
    Start,
    /// The processor has them, and owes an answer.
    Asked(Headers, Instant),
    /// The same for headers that are trailers at the same time.
    AskedOnly(Headers, Instant),
    /// They have gone on.
    Gone,
}

/// Who gets the messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Messages {
    /// The client, as they come.
    #[default]
    Pass,
    /// The processor; what it gives goes on.
    Process,
    /// What the processor has not got waits until it has given back what it has.
    Drain,
}

/// The end of the direction.
#[derive(Debug, Default)]
pub(super) enum Trailers {
    /// They have not come.
    #[default]
    NotYet,
    /// They wait behind messages.
    Waiting(Headers, Instant),
    /// The processor has them, and owes an answer.
    Asked(Headers, Instant),
    /// They have gone on, or something else has ended the direction.
    Gone,
}

impl Part for ResponsePart {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Headers(_) | Self::Trailers(_) | Self::TrailersOnly(_) | Self::Status(_) => 0,
        }
    }
}

impl Responses {
    /// The call has begun: `asked` if the processor is in the path.
    pub(super) fn begin(&mut self, cx: &Cx<'_>, asked: bool) {
        if asked && cx.config.sends_messages(Direction::Response) && !cx.config.options().observability_mode {
            self.messages = Messages::Process;
        }
    }

    /// `asked`: the processor may be told.
    pub(super) fn on_headers(&mut self, cx: &mut Cx<'_>, headers: Headers, asked: bool) {
        if !asked || !cx.config.options().processing_mode.response_headers {
            return self.let_headers_go(cx, headers, cx.now);
        }
        cx.send_headers(Direction::Response, &headers, false);
        if cx.config.options().observability_mode {
            self.head = Head::Gone;
            cx.link.proceeded(Measure::ServerHeaders, Duration::ZERO);
            self.out.push_behind_copy(ResponsePart::Headers(headers));
        } else {
            self.head = Head::Asked(headers, cx.now);
        }
    }

    /// `copied`: in observability mode, and the processor is there.
    pub(super) fn on_message(&mut self, cx: &mut Cx<'_>, message: Message, copied: bool) {
        match self.messages {
            Messages::Pass if copied && cx.config.sends_messages(Direction::Response) => {
                cx.send_message(Direction::Response, message.body.clone());
                self.out.push_behind_copy(ResponsePart::Message(message));
            }
            Messages::Pass => self.out.push(ResponsePart::Message(message)),
            Messages::Process | Messages::Drain => {
                self.waiting.push_back(message);
                self.pump(cx);
            }
        }
    }

    pub(super) fn on_trailers(&mut self, cx: &mut Cx<'_>, trailers: Headers, asked: bool) {
        self.trailers = Trailers::Waiting(trailers, cx.now);
        self.settle_trailers(cx, asked);
    }

    /// Headers and status in one.
    pub(super) fn on_trailers_only(&mut self, cx: &mut Cx<'_>, headers: Headers, asked: bool) {
        self.messages = Messages::Pass;
        if !asked || !cx.config.options().processing_mode.response_headers {
            return self.let_trailers_only_go(cx, headers, cx.now);
        }
        cx.send_headers(Direction::Response, &headers, true);
        if cx.config.options().observability_mode {
            self.end(cx, Duration::ZERO);
            self.out.push_behind_copy(ResponsePart::TrailersOnly(headers));
        } else {
            self.head = Head::AskedOnly(headers, cx.now);
        }
    }

    /// Gives the processor what it has room for.
    pub(super) fn pump(&mut self, cx: &mut Cx<'_>) {
        if self.messages != Messages::Process || cx.link.stream == Stream::HalfClosed {
            return;
        }
        while let Some(front) = self.waiting.front() {
            if !front.body.is_empty() && !cx.link.has_room(Direction::Response) {
                // Both ends must not wait for each other.
                return cx.link.grant_now();
            }
            let Some(message) = self.waiting.pop_front() else { return };
            self.sent = true;
            cx.send_message(Direction::Response, message.body);
        }
        self.settle_trailers(cx, true);
    }

    /// Trailers go once nothing is in front of them.
    fn settle_trailers(&mut self, cx: &mut Cx<'_>, asked: bool) {
        let behind = match self.messages {
            Messages::Pass => false,
            Messages::Process if cx.link.stream == Stream::HalfClosed => self.sent || !self.waiting.is_empty(),
            Messages::Process => !self.waiting.is_empty(),
            Messages::Drain => true,
        };
        if behind || !matches!(self.trailers, Trailers::Waiting(..)) {
            return;
        }
        let Trailers::Waiting(trailers, since) = std::mem::take(&mut self.trailers) else { return };
        let may_ask = asked && cx.link.stream != Stream::HalfClosed;
        if !may_ask || !cx.config.options().processing_mode.response_trailers {
            return self.let_trailers_go(cx, trailers, since);
        }
        cx.send_trailers(&trailers);
        if cx.config.options().observability_mode {
            self.trailers = Trailers::Gone;
            cx.link.proceeded(Measure::ServerTrailers, cx.now - since);
            self.out.push_behind_copy(ResponsePart::Trailers(trailers));
        } else {
            self.trailers = Trailers::Asked(trailers, since);
        }
    }

    pub(super) fn let_headers_go(&mut self, cx: &mut Cx<'_>, headers: Headers, since: Instant) {
        self.head = Head::Gone;
        cx.link.proceeded(Measure::ServerHeaders, cx.now - since);
        self.out.push_front(ResponsePart::Headers(headers));
    }

    pub(super) fn let_trailers_go(&mut self, cx: &mut Cx<'_>, trailers: Headers, since: Instant) {
        self.trailers = Trailers::Gone;
        cx.link.proceeded(Measure::ServerTrailers, cx.now - since);
        self.out.push(ResponsePart::Trailers(trailers));
    }

    pub(super) fn let_trailers_only_go(&mut self, cx: &mut Cx<'_>, headers: Headers, since: Instant) {
        self.end(cx, cx.now - since);
        self.out.push(ResponsePart::TrailersOnly(headers));
    }

    fn end(&mut self, cx: &mut Cx<'_>, after: Duration) {
        (self.head, self.trailers) = (Head::Gone, Trailers::Gone);
        cx.link.proceeded(Measure::ServerHeaders, after);
        cx.link.proceeded(Measure::ServerTrailers, after);
    }

    /// The processor gives a message.
    pub(super) fn on_processed(&mut self, body: Bytes) {
        self.out.push(ResponsePart::Message(Message::new(body)));
    }

    /// `request_drain_responses`: the processor wants no more messages.
    pub(super) fn drain(&mut self, cx: &mut Cx<'_>) {
        if self.messages == Messages::Process
            && cx.link.stream != Stream::HalfClosed
            && matches!(self.trailers, Trailers::NotYet)
        {
            self.messages = Messages::Drain;
            cx.send_drain_complete(Direction::Response);
        }
    }

    /// Messages that were for the processor and have not gone: they stand before all that wait.
    pub(super) fn take_back(&mut self, unsent: Vec<Bytes>) {
        unsent.into_iter().rev().for_each(|body| self.waiting.push_front(Message::new(body)));
    }

    /// The processor has nothing of the call any more. What it did not get goes on as it came.
    pub(super) fn bypass(&mut self, cx: &mut Cx<'_>) {
        match std::mem::take(&mut self.head) {
            Head::Asked(headers, since) => self.let_headers_go(cx, headers, since),
            Head::AskedOnly(headers, since) => self.let_trailers_only_go(cx, headers, since),
            head @ (Head::Start | Head::Gone) => self.head = head,
        }
        self.out.release();
        self.pass(cx, false);
        if matches!(self.trailers, Trailers::Asked(..)) {
            let Trailers::Asked(trailers, since) = std::mem::take(&mut self.trailers) else { return };
            self.let_trailers_go(cx, trailers, since);
        }
    }

    /// The messages, and the trailers behind them, have nobody to wait for. `asked`: the processor still sees trailers.
    pub(super) fn pass(&mut self, cx: &mut Cx<'_>, asked: bool) {
        self.messages = Messages::Pass;
        self.waiting.drain(..).for_each(|message| self.out.push(ResponsePart::Message(message)));
        self.settle_trailers(cx, asked);
    }

    /// The direction ends here with a status of its own; what has not gone does not go.
    pub(super) fn finish(&mut self, status: Status) {
        (self.head, self.messages, self.trailers) = (Head::Gone, Messages::Pass, Trailers::Gone);
        self.waiting.clear();
        self.out.clear();
        self.out.push(ResponsePart::Status(status));
    }

    /// The client has given up.
    pub(super) fn cut(&mut self) {
        (self.head, self.messages, self.trailers) = (Head::Gone, Messages::Pass, Trailers::Gone);
        self.waiting.clear();
        self.out.clear();
    }

    /// Whether more may be read.
    pub(super) fn wants(&self, link_is_full: bool) -> bool {
        if self.has_end() {
            return false;
        }
        match self.messages {
            Messages::Pass => self.out.is_empty() && !link_is_full,
            Messages::Process => self.waiting.is_empty() && !link_is_full,
            Messages::Drain => false,
        }
    }

    /// Whether the processor may still give messages.
    pub(super) const fn may_process(&self) -> bool {
        matches!(self.messages, Messages::Process | Messages::Drain) && !matches!(self.trailers, Trailers::Gone)
    }

    /// Whether the server's end has come.
    pub(super) const fn has_end(&self) -> bool {
        matches!(self.head, Head::AskedOnly(..)) || !matches!(self.trailers, Trailers::NotYet)
    }

    /// Whether everything was let go: the call is over.
    pub(super) const fn is_over(&self) -> bool {
        matches!((&self.head, &self.trailers), (Head::Gone, Trailers::Gone))
    }

    /// Whether the processor has no part in the direction's messages any more.
    pub(super) const fn is_finished(&self) -> bool {
        matches!(self.messages, Messages::Pass)
    }

    pub(super) fn pop(&mut self) -> Option<ResponsePart> {
        matches!(self.head, Head::Gone).then(|| self.out.pop())?
    }

    pub(super) fn is_delivered(&self) -> bool {
        self.is_over() && self.out.is_empty()
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
}
