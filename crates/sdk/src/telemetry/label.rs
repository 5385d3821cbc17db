//! The values that labels can have. They are closed lists, so that no peer can make a metric grow.

use crate::{Phase, Reason};

/// A label with a known list of values.
pub(crate) trait Label: Copy + 'static {
    /// Every value, in the order of [`index`](Self::index).
    const ALL: &'static [Self];

    /// As in the metric.
    fn text(self) -> &'static str;

    fn index(self) -> usize;
}

macro_rules! labels {
    ($(#[$about:meta])* $vis:vis enum $name:ident { $($(#[$value_about:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $($(#[$value_about])* $value,)+
        }

        impl $crate::telemetry::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn text(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(crate) use labels;

labels! {
    /// How a stream ended.
    pub(crate) enum StreamEnd {
        /// The data plane ended it while no handler ran, or nothing was left to do.
        Ok = "ok",
        /// With a local reply.
        LocalReply = "local_reply",
        /// With a response that was cut off.
        Cut = "cut",
        /// A processor failed, or the data plane broke the protocol.
        Failed = "failed",
        /// It went away, or the server was forced down, while a handler ran: this is what the data plane's timeout is.
        Cancelled = "cancelled",
    }
}

labels! {
    /// What went wrong.
    pub(crate) enum FailureKind {
        /// A handler returned an error.
        Error = "error",
        /// A handler, `open` or `close` panicked.
        Panic = "panic",
        /// A handler made an edit that HTTP or the protocol forbids.
        Refused = "refused",
        /// A response body was longer than the processor takes.
        BodyTooLong = "body_too_long",
        /// The body mode cannot carry what the processor does.
        BodyMode = "body_mode",
        /// The data plane broke the protocol.
        Violation = "violation",
        /// The stream broke, or held what is no message.
        Transport = "transport",
        /// Our own mistake.
        Internal = "internal",
    }
}

labels! {
    /// Why a write was not carried: [`Reason`] without its details.
    pub(crate) enum Blocked {
        Forbidden = "forbidden",
        HeadGone = "head_gone",
        NoReplace = "no_replace",
        NoAnswerLeft = "no_answer_left",
        NotMessages = "not_messages",
        CannotAsk = "cannot_ask",
        CannotExtend = "cannot_extend",
        InvalidHeader = "invalid_header",
        NothingFollows = "nothing_follows",
        ResponseBegun = "response_begun",
        NotStreamed = "not_streamed",
        GrpcClient = "grpc_client",
        RepeatedHeader = "repeated_header",
        CollectedInChain = "collected_in_chain",
    }
}

impl Blocked {
    pub(super) const fn of(reason: &Reason) -> Self {
        match reason {
            Reason::Forbidden(_) => Self::Forbidden,
            Reason::HeadGone(_) => Self::HeadGone,
            Reason::NoReplace(_) => Self::NoReplace,
            Reason::NoAnswerLeft => Self::NoAnswerLeft,
            Reason::NotMessages => Self::NotMessages,
            Reason::CannotAsk(_) => Self::CannotAsk,
            Reason::CannotExtend => Self::CannotExtend,
            Reason::InvalidHeader => Self::InvalidHeader,
            Reason::NothingFollows => Self::NothingFollows,
            Reason::ResponseBegun => Self::ResponseBegun,
            Reason::NotStreamed => Self::NotStreamed,
            Reason::GrpcClient => Self::GrpcClient,
            Reason::RepeatedHeader => Self::RepeatedHeader,
            Reason::CollectedInChain => Self::CollectedInChain,
        }
    }
}

labels! {
    /// What was longer or more than is allowed.
    pub(crate) enum Limit {
        /// A body for a handler of the kind `Whole`.
        Body = "body",
        /// A message for a handler of the kind `Messages`.
        Message = "message",
    }
}

labels! {
    /// What a processor wants of a body.
    pub(crate) enum Need {
        Whole = "whole",
        Chunks = "chunks",
        Messages = "messages",
    }
}

labels! {
    /// Which way bytes went.
    pub(crate) enum Way {
        /// From the data plane.
        Received = "received",
        /// To the data plane.
        Sent = "sent",
    }
}

impl Label for Phase {
    const ALL: &'static [Self] = &Self::ALL;

    fn text(self) -> &'static str {
        self.name()
    }

    fn index(self) -> usize {
        self as usize
    }
}
