//! A processor that speaks through a [`Session`], as the SDK's do.

use std::fmt;
use std::time::Duration;

use extproc_proto::ProcessingRequest;

use super::{Processor, Replies};
use crate::Session;
use crate::filter::GrpcStatus;
use crate::session::{ApiMisuse, Call};

/// What an author decides, without waiting for anything.
pub trait Author: fmt::Debug + Send {
    /// Answers a call on the session: with [`Session::answer`], [`Session::reply`], or not at all.
    ///
    /// # Errors
    /// What the session refused; it ends the stream.
    fn answer(&mut self, session: &mut Session, call: Call) -> Result<(), ApiMisuse>;

    /// How long the next answer takes. Default: no time.
    fn takes(&mut self) -> Duration {
        Duration::ZERO
    }
}

/// The processor of an [`Author`]. A stream that cannot go on is ended with an error: INTERNAL (13) and the session's
/// violation when the data plane broke the protocol, UNKNOWN (2) and the misuse when the author did.
#[derive(Debug)]
pub struct WithSession<A> {
    session: Session,
    author: A,
}

impl<A: Author> WithSession<A> {
    /// A processor for one exchange.
    pub fn new(author: A) -> Self {
        Self { session: Session::new(), author }
    }
}

impl<A: Author> Processor for WithSession<A> {
    fn message(&mut self, message: ProcessingRequest, replies: &mut Replies) {
        replies.wait(self.author.takes());
        let answered = match self.session.handle(message) {
            Ok(call) => self.author.answer(&mut self.session, call).map_err(|misuse| (2, misuse.to_string())),
            Err(violation) => Err((13, violation.to_string())),
        };
        while let Some(reply) = self.session.poll_reply() {
            replies.send(reply);
        }
        if let Err((code, message)) = answered {
            replies.close(Err(GrpcStatus { code, message }));
        }
    }

    fn half_closed(&mut self, replies: &mut Replies) {
        self.session.handle_end();
        replies.close(Ok(()));
    }

    fn reset(&mut self) {
        self.session.handle_end();
    }
}
