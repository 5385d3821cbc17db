//! A head in its own phase.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;
use extproc_core::session::BodyModes;
use extproc_core::{BodyMode, Direction, Session};

use super::{RequestHead, ResponseHead};
use crate::blocked::{Reason, Write};
use crate::exchange::Outbox;

/// A head in its own phase, with the verbs that only this phase has. Everything of the head is reached through it.
#[derive(Debug)]
pub struct Start<H> {
    pub(crate) head: H,
    last: bool,
    pub(crate) replacement: Option<Bytes>,
    pub(crate) detached: bool,
    pub(crate) reach: Reach,
}

/// What a header phase may say to the data plane besides its edits.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// Where a longer timeout is asked for; gone once it was.
    pub(crate) outbox: Option<Outbox>,
    /// Which modes may be asked for.
    pub(crate) may_ask: MayAsk,
    /// What was asked for.
    pub(crate) asked: Asked,
    /// What could not be.
    pub(crate) blocked: Vec<(Write, Reason)>,
}

/// Which modes a header answer may ask for; copied from the session, which handlers do not reach.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MayAsk {
    request: [bool; MODES.len()],
    response: [bool; MODES.len()],
}

/// Body modes asked for by header phases.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) request: Option<BodyMode>,
    pub(crate) response: Option<BodyMode>,
}

const MODES: [BodyMode; 6] = [
    BodyMode::None,
    BodyMode::Streamed,
    BodyMode::Buffered,
    BodyMode::BufferedPartial,
    BodyMode::FullDuplexStreamed,
    BodyMode::Grpc,
];

impl<H> Start<H> {
    /// Whether no body and no trailers follow.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.last
    }

    /// Sends this body on in place of whatever follows, also where nothing follows. The body phase of this processor
    /// is not run; trailers pass unseen.
    ///
    /// In GRPC mode it must be gRPC messages in their frames, and goes out when those that it replaces have all come.
    /// Only processors that take the body as [`Whole`](crate::Whole) or [`Messages`](crate::Messages) can do so, and only
    /// where a body follows; otherwise the phase fails, with a [`Blocked`](crate::Blocked) write.
    pub fn replace_body(&mut self, body: impl Into<Bytes>) {
        self.replacement = Some(body.into());
    }

    /// Wants nothing more of this exchange: the rest passes this processor untouched, and no handler of it runs
    /// again. The stream is closed early where the body mode allows it without loss.
    pub const fn detach(&mut self) {
        self.detached = true;
    }

    /// Tells the data plane to wait for the answer to these headers this much longer, counted from now
    /// (`override_message_timeout`). It goes out at once, as soon as the handler awaits.
    ///
    /// False when nothing was sent: it was extended before (once for each message, for all processors of a chain
    /// together), `by` is below 1 ms, the data plane only lets us watch, or runs no timer here (FULL_DUPLEX_STREAMED,
    /// GRPC). Envoy ignores what is longer than its `max_message_timeout`, which is 0 unless configured.
    pub fn extend(&mut self, by: Duration) -> bool {
        let sent = match Session::extension(by) {
            Some(message) => self.reach.outbox.take().map(|outbox| outbox.push(message)),
            None => None,
        };
        if sent.is_none() {
            self.reach.blocked.push((Write::Extend, Reason::CannotExtend));
        }
        sent.is_some()
    }

    pub(crate) const fn new(head: H, last: bool, reach: Reach) -> Self {
        Self { head, last, replacement: None, detached: false, reach }
    }
}

impl Start<RequestHead> {
    /// Asks for another mode of the request's body with the answer to these headers (`mode_override`); Envoy needs
    /// `allow_mode_override`. A data plane may ignore it: the body handler serves whatever comes, and is only not run
    /// after asking for NONE. Where processors of a chain ask for different modes the last one decides, but a body that
    /// any of them still wants is not asked away.
    ///
    /// False when it cannot be asked for, and nothing changes: the data plane does not declare its modes or sends bodies
    /// early, a body mode is FULL_DUPLEX_STREAMED, the headers are answered already (behind a processor that collects),
    /// FULL_DUPLEX_STREAMED is wanted in place of another mode than NONE, or GRPC is wanted. STREAMED and BUFFERED
    /// cannot be told apart in time: after asking for one in place of the other the body is served as STREAMED.
    pub fn ask(&mut self, mode: BodyMode) -> bool {
        self.reach.ask(Direction::Request, mode)
    }

    /// As [`ask`](Self::ask), for the response's body.
    pub fn ask_response(&mut self, mode: BodyMode) -> bool {
        self.reach.ask(Direction::Response, mode)
    }
}

impl Start<ResponseHead> {
    /// Asks for another mode of the response's body, as [`Start<RequestHead>::ask`](Start::ask) does for the request's.
    pub fn ask(&mut self, mode: BodyMode) -> bool {
        self.reach.ask(Direction::Response, mode)
    }
}

impl Reach {
    fn ask(&mut self, direction: Direction, mode: BodyMode) -> bool {
        let (may_ask, asked) = match direction {
            Direction::Request => (self.may_ask.request, &mut self.asked.request),
            Direction::Response => (self.may_ask.response, &mut self.asked.response),
        };
        let granted = may_ask[mode as usize];
        if granted {
            *asked = Some(mode);
        } else {
            self.blocked.push((Write::Ask, Reason::CannotAsk(mode)));
        }
        granted
    }
}

impl MayAsk {
    pub(crate) fn of(session: &Session) -> Self {
        let may = |direction| {
            let mut may = [false; MODES.len()];
            for mode in MODES {
                may[mode as usize] = session.may_ask_for(direction, mode);
            }
            may
        };
        Self { request: may(Direction::Request), response: may(Direction::Response) }
    }
}

impl Asked {
    pub(crate) const fn of(self, direction: Direction) -> Option<BodyMode> {
        match direction {
            Direction::Request => self.request,
            Direction::Response => self.response,
        }
    }

    /// What is asked for in all, with the modes that stay.
    pub(crate) fn over(self, modes: BodyModes) -> BodyModes {
        BodyModes { request: self.request.unwrap_or(modes.request), response: self.response.unwrap_or(modes.response) }
    }
}

impl<H> Deref for Start<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.head
    }
}

impl<H> DerefMut for Start<H> {
    fn deref_mut(&mut self) -> &mut H {
        &mut self.head
    }
}
