//! Drives the stages of one exchange over a session.

mod answers;
mod compare;
mod flow;
mod grpc;
mod local;
mod noted;
mod outbox;
mod parent;
mod row;
mod streamed;
mod way;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use extproc_core::session::{Answer, ApiMisuse, Call, Violation};
use extproc_core::{BodyMode, Direction, Session};
use extproc_proto::ProcessingRequest;

pub(crate) use self::compare::Expects;
use self::flow::Flow;
pub(crate) use self::outbox::Outbox;
pub(crate) use self::parent::traceparent;
use self::row::Row;
use crate::blocked::{Reason, Settings, Write};
use crate::head::{MayAsk, Reach};
use crate::stages::{Run, Stages, panic_text};
use crate::telemetry::Record;
use crate::{End, Facts, LocalReply, Open, Request, Response};

/// One exchange: messages in, messages out, the stages' handlers between.
pub(crate) struct Exchange<R: Run> {
    session: Session,
    row: Row<R>,
    request: Flow<Request>,
    response: Flow<Response>,
    /// How often output has waited for credit, as counted so far.
    stalls: [u64; 2],
    /// A handler may be running.
    busy: bool,
    /// The data plane's configuration was compared with what the stages need.
    compared: bool,
}

/// Why the exchange does not go on as usual.
pub(crate) enum Outcome {
    /// A stage answers the client.
    Reply { by: usize, reply: LocalReply },
    /// The response is cut off.
    Cut,
    /// The stream fails.
    Fail(Failure),
}

/// Why a stream fails. The text is what the data plane may see: names, no error texts of processors.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("processor {0} failed")]
    Stage(String),
    #[error("processor {processor} cannot serve body mode {mode}")]
    Mismatch { processor: String, mode: BodyMode },
    #[error("internal error: {0}")]
    Misuse(ApiMisuse),
    #[error("protocol violation: {0}")]
    Violation(#[from] Violation),
}

/// Whether more messages are awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Message,
    Close,
}

impl<R: Run> Exchange<R> {
    /// Opens the stages with what the first message and the call say.
    ///
    /// # Errors
    /// [`Failure::Stage`] when `open` panics.
    pub(crate) fn open<S: Stages<Run = R>>(
        stages: &Arc<S>,
        mut open: Open,
        first: &mut ProcessingRequest,
        settings: Arc<Settings>,
        mut record: Record,
    ) -> Result<Self, Failure> {
        open.observing = first.observability_mode;
        open.id = Open::next_id();
        learn(&mut open.facts, first);
        open.protocol = first.protocol_config.and_then(|config| Session::read_protocol(config).ok());
        let run = catch_unwind(AssertUnwindSafe(|| S::open(stages, &open))).map_err(|payload| {
            record.open_panicked(panic_text(&*payload));
            Failure::Stage(stages.names())
        })?;
        Ok(Self {
            session: Session::new(),
            row: Row::new(run, settings, open.facts, record),
            request: Flow::default(),
            response: Flow::default(),
            stalls: [0; 2],
            busy: false,
            compared: false,
        })
    }

    /// Takes a message, runs the handlers it calls for, and puts the answers out.
    ///
    /// # Errors
    /// [`Failure`]: end the stream with it. The stages are closed.
    pub(crate) async fn handle(&mut self, mut message: ProcessingRequest, out: &Outbox) -> Result<Next, Failure> {
        self.busy = true;
        learn(&mut self.row.facts, &mut message);
        let result = match self.session.handle(message) {
            Ok(call) => {
                noted::came(&mut self.row.record, &call);
                self.reach(&call, out);
                match self.compare(&call) {
                    Ok(()) => self.dispatch(call).await,
                    Err(outcome) => Err(outcome),
                }
            }
            Err(violation) => {
                self.row.record.violation(&violation);
                Err(Outcome::Fail(violation.into()))
            }
        };
        if matches!(result, Err(Outcome::Reply { .. })) {
            let metadata = [self.request.take_metadata(), self.response.take_metadata()];
            metadata.into_iter().flatten().for_each(|metadata| self.session.annotate(metadata));
        }
        let result = match result {
            Err(Outcome::Reply { by, mut reply }) if !self.session.is_observing() => match reply.take_stream() {
                Some(stream) => self.stream(by, reply, stream, out).await,
                None => self.reply(by, reply).await,
            },
            result => result,
        };
        self.busy = false;
        self.settle(result, out)
    }

    /// Puts the answers out, and decides whether the exchange goes on.
    fn settle(&mut self, result: Result<(), Outcome>, out: &Outbox) -> Result<Next, Failure> {
        if self.session.is_observing()
            && let Err(outcome) = result
        {
            // An error on the stream would reach the client even here; the exchange is over for the processor alone.
            let failed = matches!(outcome, Outcome::Fail(_));
            if failed {
                self.row.record.stream_failed();
            }
            self.row.close(if failed { End::Failed } else { End::Ok });
            return Ok(Next::Close);
        }
        let failure = match result {
            Ok(()) => None,
            Err(Outcome::Reply { by, reply }) => self.send_reply(by, reply).err(),
            Err(Outcome::Cut) => self.cut("processor_cut").err(),
            // What was taken in cannot be given back: the data plane must not go on without it.
            Err(Outcome::Fail(failure)) if self.has_taken() => {
                tracing::warn!(%failure, "failed with a part of the body in hand; the exchange is cut off");
                self.cut("processor_failed_with_body_in_hand").err().map(|_| failure)
            }
            Err(Outcome::Fail(failure)) => Some(failure),
        };
        self.count_stalls();
        self.put_out(out);
        if let Some(failure) = failure {
            if let Failure::Misuse(misuse) = &failure {
                self.row.record.internal(misuse);
            }
            self.row.record.stream_failed();
            self.row.close(End::Failed);
            return Err(failure);
        }
        if self.session.is_ended() || (self.row.is_all_off() && self.session.may_close()) {
            self.row.close(End::Ok);
            return Ok(Next::Close);
        }
        Ok(Next::Message)
    }

    fn put_out(&mut self, out: &Outbox) {
        while let Some(reply) = self.session.poll_reply() {
            noted::sent(&self.row.record, &reply);
            out.push(reply);
        }
    }

    fn has_taken(&self) -> bool {
        self.request.has_taken() || self.response.has_taken()
    }

    fn count_stalls(&mut self) {
        for direction in Direction::BOTH {
            let stalls = self.session.stalls(direction);
            let seen = &mut self.stalls[direction as usize];
            if stalls > *seen {
                self.row.record.credit_stalls(stalls - *seen);
                *seen = stalls;
            }
        }
    }

    /// Takes the end of the request stream, clean or reset.
    pub(crate) fn end(&mut self, out: &Outbox) {
        self.session.handle_end();
        self.put_out(out);
        if self.response.missed_body() {
            drop(self.row.not_sent(Direction::Response));
        }
        let unsent = self.session.has_metadata() || self.request.has_metadata() || self.response.has_metadata();
        if let Some((stage, phase)) = self.row.annotated
            && unsent
            && !self.session.is_observing()
        {
            self.row.block(stage, phase, Write::Metadata, Reason::NothingFollows);
        }
        self.row.close(End::Ok);
    }

    /// Takes the end of a request stream that broke.
    pub(crate) fn broken(&mut self, error: &dyn fmt::Display, out: &Outbox) {
        self.row.record.transport_failed(error);
        self.end(out);
    }

    /// Compares the data plane's configuration with what the stages need, with the first message.
    fn compare(&mut self, call: &Call) -> Result<(), Outcome> {
        if std::mem::replace(&mut self.compared, true) {
            return Ok(());
        }
        let attributes = !self.row.facts.attributes().is_empty();
        compare::compare(&mut self.row, &self.session, call, attributes)
    }

    /// Sets what header phases may say to this message.
    fn reach(&mut self, call: &Call, out: &Outbox) {
        let (direction, may_ask) = match call {
            Call::Headers { direction, .. } => (*direction, MayAsk::of(&self.session)),
            Call::Body { direction, .. } | Call::Trailers { direction, .. } => (*direction, MayAsk::default()),
            _ => return,
        };
        let outbox = self.session.may_extend(direction).then(|| out.clone());
        self.row.reach = Reach { outbox, may_ask, ..Reach::default() };
    }

    async fn dispatch(&mut self, call: Call) -> Result<(), Outcome> {
        let Self { session, row, request, response, .. } = self;
        match call {
            Call::Drained { direction } => {
                session.answer(direction, Answer::Drained).map_err(|misuse| Outcome::Fail(Failure::Misuse(misuse)))
            }
            Call::Headers { direction: Direction::Request, headers, end_stream } => {
                request.on_headers(row, session, headers, end_stream).await
            }
            Call::Body { direction: Direction::Request, chunk } => request.on_body(row, session, chunk).await,
            Call::Trailers { direction: Direction::Request, trailers } => {
                request.on_trailers(row, session, trailers).await
            }
            Call::Headers { direction: Direction::Response, headers, end_stream } => {
                share_request(row, request);
                response.on_headers(row, session, headers, end_stream).await
            }
            Call::Body { direction: Direction::Response, chunk } => {
                share_request(row, request);
                response.on_body(row, session, chunk).await
            }
            Call::Trailers { direction: Direction::Response, trailers } => {
                share_request(row, request);
                response.on_trailers(row, session, trailers).await
            }
            _ => Ok(()),
        }
    }

    fn send_reply(&mut self, by: usize, reply: LocalReply) -> Result<(), Failure> {
        for _ in 0..reply.left_out() {
            self.row.block(by, self.row.record.phase(), Write::ReplyHeader, Reason::InvalidHeader);
        }
        let (status, details) = (reply.status(), reply.reason().to_owned());
        match self.session.reply(reply.into_immediate()) {
            Ok(()) => {
                self.row.record.local_reply(by, status, &details);
                Ok(())
            }
            Err(ApiMisuse::ResponseBegun) => {
                self.row.block(by, self.row.record.phase(), Write::Reply, Reason::ResponseBegun);
                self.cut("response_already_begun")
            }
            Err(misuse) => Err(Failure::Misuse(misuse)),
        }
    }

    fn cut(&mut self, details: &str) -> Result<(), Failure> {
        self.row.record.cut();
        self.session.cut(details).map_err(Failure::Misuse)
    }
}

impl<R: Run> Drop for Exchange<R> {
    fn drop(&mut self) {
        self.row.close(if self.busy { End::Cancelled } else { End::Ok });
    }
}

/// Takes the attributes and the metadata that a message brings.
fn learn(facts: &mut Arc<Facts>, message: &mut ProcessingRequest) {
    if !message.attributes.is_empty() || message.metadata_context.is_some() {
        Arc::make_mut(facts).add(std::mem::take(&mut message.attributes), message.metadata_context.take());
    }
}

/// Makes the request's head readable in the response's phases.
fn share_request<R: Run>(row: &mut Row<R>, request: &mut Flow<Request>) {
    if row.is_shared() {
        return;
    }
    if request.missed_body() {
        // Too late to fail: what was asked for was not granted.
        drop(row.not_sent(Direction::Request));
    }
    let seen = request.headed();
    if let Some(head) = request.lend_head(row) {
        row.share(Arc::new(head), seen);
    }
}
