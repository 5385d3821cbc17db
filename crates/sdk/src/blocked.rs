//! What an author wrote and the exchange could not carry, and who is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use extproc_core::{BodyMode, Direction};

use crate::{Difference, LocalReplyScope, Metrics, Refused};

/// A phase of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names of the handlers")]
pub enum Phase {
    RequestHeaders,
    RequestBody,
    RequestTrailers,
    ResponseHeaders,
    ResponseBody,
    ResponseTrailers,
}

/// A write of an author that this phase, body mode or data plane cannot carry. It did not reach the data plane.
///
/// Each goes to the log (WARN, once for each processor, phase, kind of write and reason in a process), to the metrics,
/// and to the test kit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocked {
    /// The name of the processor that wrote.
    pub processor: String,
    /// Where.
    pub phase: Phase,
    /// What was written.
    pub what: Write,
    /// Why it was not carried.
    pub reason: Reason,
}

/// A kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Write {
    /// An edit of the head or of trailers.
    Header,
    /// [`RequestHead::clear_route`](crate::RequestHead::clear_route), or a path that was set.
    ClearRoute,
    /// [`Start::replace_body`](crate::Start::replace_body).
    ReplaceBody,
    /// What a body handler put out.
    Output,
    /// [`Start::ask`](crate::Start::ask) and `ask_response`.
    Ask,
    /// [`Start::extend`](crate::Start::extend).
    Extend,
    /// Dynamic metadata.
    Metadata,
    /// A [`LocalReply`](crate::LocalReply).
    Reply,
    /// A header of a [`LocalReply`](crate::LocalReply).
    ReplyHeader,
    /// The piece-wise body of a [`LocalReply::stream`](crate::LocalReply::stream): it was collected and sent as a whole.
    ReplyStream,
    /// A trailer of a [`LocalReply::stream`](crate::LocalReply::stream).
    ReplyTrailer,
}

/// Why a write was not carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// HTTP or the protocol forbids it, whatever the mode.
    #[error(transparent)]
    Forbidden(#[from] Refused),
    /// The head had left when the body came, in this body mode.
    #[error("the head has left in body mode {0}; edit it in the header phase, or use BUFFERED")]
    HeadGone(BodyMode),
    /// The body mode does not let a header phase replace the body.
    #[error(
        "body mode {0} does not let a header phase of this body kind replace the body; put it out in the body phase"
    )]
    NoReplace(BodyMode),
    /// The body ended with trailers, and the data plane waits for no answer that could carry more of it.
    #[error("the body ended with trailers and no answer is left to carry more; use FULL_DUPLEX_STREAMED or BUFFERED")]
    NoAnswerLeft,
    /// What was put out in GRPC mode as bytes is no sequence of gRPC messages.
    #[error("the output is no sequence of gRPC messages, which body mode GRPC needs; use the kind Messages")]
    NotMessages,
    /// This body mode cannot be asked for here.
    #[error(
        "body mode {0} cannot be asked for here: the data plane does not declare its modes, sends bodies early or in chunks, or has the headers' answer"
    )]
    CannotAsk(BodyMode),
    /// A longer timeout cannot be asked for.
    #[error("no longer timeout can be asked for: it was asked for before, is below 1 ms, or no timer runs here")]
    CannotExtend,
    /// A header of a local reply that HTTP does not allow, or that is the data plane's (framing, pseudo headers).
    #[error("the header's name or value is invalid, or the data plane's own; the reply went without it")]
    InvalidHeader,
    /// No message follows that could carry it.
    #[error("no message followed that could carry it")]
    NothingFollows,
    /// The client's response had begun; it was cut off instead.
    #[error("the client's response had begun; it was cut off instead")]
    ResponseBegun,
    /// The data plane takes streamed replies only in answer to the request's headers, and in few body modes.
    #[error(
        "the data plane takes a streamed reply only in answer to the request's headers, in the request body modes NONE \
         and FULL_DUPLEX_STREAMED; it was collected and sent as a whole"
    )]
    NotStreamed,
    /// To a gRPC client, a local reply is a status, which streams do not become.
    #[error("the client speaks gRPC and gets the reply as a status; it was collected and sent as a whole")]
    GrpcClient,
    /// A streamed reply has one value for each header name.
    #[error("the reply has a repeated header, which a streamed one would lose; it was collected and sent as a whole")]
    RepeatedHeader,
    /// Another processor takes the whole body of the reply.
    #[error("another processor of the chain takes the whole body; the reply was collected and sent as a whole")]
    CollectedInChain,
}

/// A processor's body kind and the data plane's body mode do not go together: see the table in the
/// [crate's documentation](crate#the-model). [`OnMismatch`] says what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// The name of the processor.
    pub processor: String,
    /// Whose body.
    pub direction: Direction,
    /// How the body comes.
    pub mode: BodyMode,
    /// What the matter is.
    pub what: MismatchKind,
    /// What was done about it.
    pub action: OnMismatch,
}

/// How a body kind and a body mode do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum MismatchKind {
    /// The body does not come: NONE, and no other mode could be asked for, or was granted.
    #[error("the body does not come; configure BUFFERED or FULL_DUPLEX_STREAMED, or allow mode overrides")]
    NotSent,
    /// A whole body in GRPC mode: a call that needs an answer to its first messages to send the others waits for ever.
    #[error(
        "in GRPC mode a whole body is all messages in their frames, held back to the end of the call's messages, and \
         what is put out must be frames; take Messages, or configure another mode"
    )]
    WholeOfMessages,
    /// Chunks in GRPC mode.
    #[error("chunks are whole frames in GRPC mode, and what is put out must be frames; take Messages")]
    ChunksOfMessages,
    /// A whole body in STREAMED, of unknown length: nothing may say where it ends.
    #[error(
        "in STREAMED nothing may say where a body without content-length ends, so that no part of it can be answered \
         before the end; configure BUFFERED or FULL_DUPLEX_STREAMED"
    )]
    UnknownEnd,
    /// In BUFFERED_PARTIAL only the beginning of the body came.
    #[error("only the beginning of the body came; configure BUFFERED or FULL_DUPLEX_STREAMED")]
    Truncated,
}

/// What becomes of a processor whose body kind does not go with the data plane's body mode.
///
/// Where another mode can still be asked for (`mode_override` on the answer to the headers), it is asked for first,
/// whatever the policy. What remains is a [`Mismatch`], counted and logged once for each processor and direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum OnMismatch {
    /// Serve what can be served without losing anything; where nothing can, the body passes and the handler is not run.
    #[default]
    Serve,
    /// The body passes and the handler is not run.
    Pass,
    /// The exchange fails, before anything of the body was answered.
    Fail,
}

/// Who wants to know what became of an exchange's writes. One for each server, or for each test.
pub(crate) trait Observer: Send + Sync {
    fn blocked(&self, _: &Blocked) {}
    fn mismatch(&self, _: &Mismatch) {}
    fn differs(&self, _: &Difference) {}
}

/// Keeps what it is told, for tests.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    blocked: Mutex<Vec<Blocked>>,
    mismatches: Mutex<Vec<Mismatch>>,
    differences: Mutex<Vec<Difference>>,
}

impl Recorder {
    pub(crate) fn blocked(&self) -> Vec<Blocked> {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn mismatches(&self) -> Vec<Mismatch> {
        self.mismatches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn differences(&self) -> Vec<Difference> {
        self.differences.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Recorder {
    fn blocked(&self, blocked: &Blocked) {
        self.blocked.lock().unwrap_or_else(PoisonError::into_inner).push(blocked.clone());
    }

    fn mismatch(&self, mismatch: &Mismatch) {
        self.mismatches.lock().unwrap_or_else(PoisonError::into_inner).push(mismatch.clone());
    }

    fn differs(&self, difference: &Difference) {
        self.differences.lock().unwrap_or_else(PoisonError::into_inner).push(difference.clone());
    }
}

/// What all exchanges of a service have in common. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) scope: LocalReplyScope,
    /// For processors that do not say.
    pub(crate) on_mismatch: OnMismatch,
    /// Told first to last.
    pub(crate) observers: Vec<Arc<dyn Observer>>,
    pub(crate) metrics: Metrics,
}

impl Settings {
    pub(crate) fn blocked(&self, blocked: &Blocked) {
        if first_time(&blocked.processor, blocked.phase.name(), blocked.what.name(), blocked.reason.label()) {
            tracing::warn!(
                processor = blocked.processor, phase = blocked.phase.name(), what = blocked.what.name(),
                reason = %blocked.reason, "a write was blocked"
            );
        }
        self.observers.iter().for_each(|observer| observer.blocked(blocked));
    }

    pub(crate) fn mismatch(&self, mismatch: &Mismatch) {
        let direction = match mismatch.direction {
            Direction::Request => "request",
            Direction::Response => "response",
        };
        // What the first message showed was logged then, with what to change.
        let late = matches!(mismatch.what, MismatchKind::UnknownEnd | MismatchKind::Truncated);
        if late && first_time(&mismatch.processor, direction, "mismatch", mismatch.what.label()) {
            tracing::warn!(
                processor = mismatch.processor, direction, mode = %mismatch.mode, action = ?mismatch.action,
                reason = %mismatch.what, "the processor's body kind and the data plane's body mode do not go together"
            );
        }
        self.observers.iter().for_each(|observer| observer.mismatch(mismatch));
    }
}

impl Settings {
    /// `first`: this server has not said it before.
    pub(crate) fn differs(&self, first: bool, difference: impl Fn() -> Difference) {
        if first {
            let Difference { processor, what } = difference();
            let change = what.change();
            if what.is_harmless() {
                tracing::info!(processor, difference = %what, change, "the data plane's configuration costs more than it must");
            } else {
                tracing::warn!(processor, difference = %what, change, "the data plane's configuration does not fit");
            }
        }
        if !self.observers.is_empty() {
            let difference = difference();
            self.observers.iter().for_each(|observer| observer.differs(&difference));
        }
    }
}

/// Whether this is new to the process, for what must not fill the log. What is said is bounded by names in the code.
fn first_time(processor: &str, place: &'static str, what: &'static str, why: &'static str) -> bool {
    static SAID: Mutex<BTreeMap<[&str; 3], BTreeSet<String>>> = Mutex::new(BTreeMap::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    let processors = said.entry([place, what, why]).or_default();
    !processors.contains(processor) && processors.insert(processor.to_owned())
}

impl Phase {
    /// All six, in the order of an exchange.
    pub const ALL: [Self; 6] = [
        Self::RequestHeaders,
        Self::RequestBody,
        Self::RequestTrailers,
        Self::ResponseHeaders,
        Self::ResponseBody,
        Self::ResponseTrailers,
    ];

    /// As in metrics and logs: the name of the handler.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RequestHeaders => "request_headers",
            Self::RequestBody => "request_body",
            Self::RequestTrailers => "request_trailers",
            Self::ResponseHeaders => "response_headers",
            Self::ResponseBody => "response_body",
            Self::ResponseTrailers => "response_trailers",
        }
    }
}

impl Write {
    /// As in metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::ClearRoute => "clear_route",
            Self::ReplaceBody => "replace_body",
            Self::Output => "output",
            Self::Ask => "ask",
            Self::Extend => "extend",
            Self::Metadata => "metadata",
            Self::Reply => "local_reply",
            Self::ReplyHeader => "reply_header",
            Self::ReplyStream => "reply_stream",
            Self::ReplyTrailer => "reply_trailer",
        }
    }
}

impl Reason {
    /// As in metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Forbidden(_) => "forbidden",
            Self::HeadGone(_) => "head_gone",
            Self::NoReplace(_) => "no_replace",
            Self::NoAnswerLeft => "no_answer_left",
            Self::NotMessages => "not_messages",
            Self::CannotAsk(_) => "cannot_ask",
            Self::CannotExtend => "cannot_extend",
            Self::InvalidHeader => "invalid_header",
            Self::NothingFollows => "nothing_follows",
            Self::ResponseBegun => "response_begun",
            Self::NotStreamed => "not_streamed",
            Self::GrpcClient => "grpc_client",
            Self::RepeatedHeader => "repeated_header",
            Self::CollectedInChain => "collected_in_chain",
        }
    }
}

impl MismatchKind {
    /// As in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotSent => "not_sent",
            Self::WholeOfMessages => "whole_of_messages",
            Self::ChunksOfMessages => "chunks_of_messages",
            Self::UnknownEnd => "unknown_end",
            Self::Truncated => "truncated",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} in {}: {}", self.what.name(), self.processor, self.phase, self.reason)
    }
}
