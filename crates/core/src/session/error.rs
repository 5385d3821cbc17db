//! Whose fault it was.

use crate::Direction;
use crate::headers::{InvalidName, InvalidValue};

/// The data plane sent what the protocol does not allow. The exchange cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// Headers of a direction came twice, or after its body or trailers.
    #[error("{0:?} headers came twice or late")]
    LateHeaders(Direction),
    /// A message followed the end of its direction.
    #[error("a {0:?} message followed the end of that direction")]
    AfterEnd(Direction),
    /// A body came although the declared mode is NONE and no other was asked for.
    #[error("a {0:?} body came although the declared mode is NONE")]
    UndeclaredBody(Direction),
    /// A second body message in a mode that has one.
    #[error("a second {0:?} body message came in a mode that has one")]
    SecondBody(Direction),
    /// A declared body mode has no known number.
    #[error("{0} is not a body mode")]
    UnknownMode(i32),
    /// A window grew beyond what can be counted.
    #[error("the {0:?} flow-control window overflows")]
    WindowOverflow(Direction),
    /// Bodies came beyond the credit that was given, while our output waits for the data plane's.
    #[error("{0:?} messages came beyond their credit, while the data plane gives none for what it is owed")]
    NoCredit(Direction),
    /// `drain_complete` was not asked for, came twice, or with a message.
    #[error("a {0:?} drain_complete that was not asked for, came twice or late, or with a message")]
    Drain(Direction),
    /// A header name that is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A header value that is none.
    #[error(transparent)]
    Value(#[from] InvalidValue),
}

/// The author's side answered what this message, this mode or this moment does not allow. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiMisuse {
    /// No message of that kind waits for an answer.
    #[error("no {0:?} message of this kind waits for an answer; answer each message once, with its own kind")]
    NotOwed(Direction),
    /// The answer to the headers must go first.
    #[error("the {0:?} headers wait for their answer, which must go before this one")]
    HeadersFirst(Direction),
    /// The body must be answered before the trailers.
    #[error("a {0:?} body message waits for its answer, which must go before the trailers'")]
    BodyFirst(Direction),
    /// A header edit on a body answer whose headers have left; the data plane would lose it.
    #[error("the {0:?} headers have left in this body mode; edit them in the header phase, or use BUFFERED")]
    HeadersGone(Direction),
    /// A plain body answer in a mode whose output is chunks.
    #[error("the {0:?} body mode takes chunks, not one answer for each message")]
    ChunksOnly(Direction),
    /// A chunk in a mode that takes exactly one answer for each message.
    #[error("the {0:?} body mode takes one answer for each message, not chunks")]
    OneAnswerEach(Direction),
    /// Output behind the end of its direction.
    #[error("output behind the end of the {0:?} direction")]
    AfterEnd(Direction),
    /// An end of the body while the data plane waits for the answer to its trailers.
    #[error("the {0:?} direction ends with trailers; answer them instead of ending the body")]
    TrailersOwed(Direction),
    /// In GRPC mode a response ends with its trailers, never with a message.
    #[error("a {0:?} direction in GRPC mode ends with its trailers, not with a message")]
    TrailersEnd(Direction),
    /// The client cannot be answered in parts here.
    #[error(
        "a reply in parts can only answer request headers, in request body mode NONE or FULL_DUPLEX_STREAMED, where \
         the data plane declares its modes"
    )]
    NoStreamedReply,
    /// A body cannot be replaced from the header answer in this mode.
    #[error("the {0:?} body mode does not let the header answer replace the body; send chunks")]
    NoReplace(Direction),
    /// The response has begun, so the client cannot get another one.
    #[error("the response has begun; it can only be cut off")]
    ResponseBegun,
    /// The exchange was answered with an immediate reply, or has ended.
    #[error("the exchange has ended")]
    Ended,
}
