//! How a phase ends early, and how an exchange ended.

use std::error::Error as StdError;
use std::fmt;

use crate::LocalReply;

/// Why a phase does not let the exchange go on. Made by `?` from a [`LocalReply`] or from any error.
#[derive(Debug)]
pub enum Stop {
    /// Answer the client at once.
    Reply(LocalReply),
    /// Give up; the processor's [`OnError`] decides what that means.
    Fail(Error),
}

/// Why a phase that cannot answer the client any more does not let the exchange go on.
#[derive(Debug)]
pub enum Abort {
    /// Cut off the response: the client sees that it is incomplete.
    Reset,
    /// Give up; the processor's [`OnError`] decides what that means.
    Fail(Error),
}

/// What an error of a processor means for its exchange.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum OnError {
    /// End the stream with gRPC INTERNAL and a text that tells nothing but the processor's name. The data plane decides
    /// what becomes of the exchange (Envoy: 500, or untouched with `failure_mode_allow`).
    #[default]
    Fail,
    /// Undo the edits of the failed phase and go on as if the processor were not there.
    Skip,
    /// Answer the client, where that is still possible; else cut off the response.
    Reply(LocalReply),
}

/// An error of a processor. It goes to the log, never to the wire.
pub struct Error(Box<dyn StdError + Send + Sync>);

/// How an exchange ended, as told to [`Processor::close`](crate::Processor::close).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// The data plane ended or reset the stream while no handler ran, or nothing was left to do.
    Ok,
    /// The stream went away, or the server was forced down, while a handler ran.
    Cancelled,
    /// A handler failed, or the data plane broke the protocol.
    Failed,
    /// A handler of this processor panicked.
    Panicked,
}

impl Error {
    /// The first error in the chain of sources that is a `T`.
    #[must_use]
    pub fn downcast_ref<T: StdError + 'static>(&self) -> Option<&T> {
        let mut error: &(dyn StdError + 'static) = &*self.0;
        loop {
            if let Some(found) = error.downcast_ref() {
                return Some(found);
            }
            error = error.source()?;
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Error {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl From<LocalReply> for Stop {
    fn from(reply: LocalReply) -> Self {
        Self::Reply(reply)
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fail(Error::from(error))
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for Abort {
    fn from(error: E) -> Self {
        Self::Fail(Error::from(error))
    }
}

/// What every phase's way to stop comes down to.
#[derive(Debug)]
#[expect(unnameable_types, reason = "sealed")]
pub enum Halted {
    Reply(LocalReply),
    Reset,
    Fail(Error),
    Panic(String),
}

impl From<Stop> for Halted {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Reply(reply) => Self::Reply(reply),
            Stop::Fail(error) => Self::Fail(error),
        }
    }
}

impl From<Abort> for Halted {
    fn from(abort: Abort) -> Self {
        match abort {
            Abort::Reset => Self::Reset,
            Abort::Fail(error) => Self::Fail(error),
        }
    }
}
