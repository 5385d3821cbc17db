//! What the processor says.

use std::time::Instant;

use extproc_proto::body_mutation::Mutation as BodyMutation;
use extproc_proto::processing_response::Response;
use extproc_proto::{CommonResponse, HeaderMutation, ImmediateResponse, StreamedBodyResponse};

use super::event::{Effect, Status};
use super::fail::{Expected, Failure, Kind};
use super::{Call, metadata, request, response};
use crate::Direction;
use crate::filter::Windows;
use crate::mutation::Part;
use crate::wire::{Controls, ReplyMessage};

const CONTINUE: i32 = 0;
/// `INTERNAL`: an immediate response without a status.
const INTERNAL: u8 = 13;
/// `UNKNOWN`: a status that gRPC does not define.
const UNKNOWN: u8 = 2;

impl Call {
    /// A message: room, an answer, drains, in this order.
    pub(super) fn on_reply(&mut self, now: Instant, message: ReplyMessage) -> Result<(), Failure> {
        let Controls { window, drain, drains, .. } = Controls::read(&message);
        if let Some(increments) = window {
            self.on_window(now, increments)?;
        }
        match message.response {
            Some(Response::RequestHeaders(reply)) => self.on_request_headers(now, reply.response)?,
            Some(Response::RequestBody(reply)) => self.on_request_body(now, reply.response)?,
            Some(Response::ResponseHeaders(reply)) => self.on_response_headers(now, reply.response)?,
            Some(Response::ResponseBody(reply)) => self.on_response_body(now, reply.response)?,
            Some(Response::ResponseTrailers(reply)) => self.on_response_trailers(now, reply.header_mutation)?,
            Some(Response::RequestTrailers(_)) => {
                return Err(Failure::Unexpected(Kind::RequestTrailers, Expected::Never));
            }
            Some(Response::StreamedImmediateResponse(_)) => {
                return Err(Failure::Unexpected(Kind::StreamedImmediate, Expected::Never));
            }
            Some(Response::ImmediateResponse(reply)) => return self.on_immediate(reply),
            None => {}
        }
        if drains[Direction::Request as usize] {
            self.with_request(now, request::Requests::drain);
        }
        if drains[Direction::Response as usize] {
            self.with_response(now, response::Responses::drain);
        }
        if drain {
            self.on_drain();
        }
        Ok(())
    }

    fn on_window(&mut self, now: Instant, increments: [i64; 2]) -> Result<(), Failure> {
        let Some(windows) = &mut self.link.windows else { return Ok(()) };
        windows.update(increments).map_err(|_| Failure::WindowOverflow)?;
        self.with_request(now, request::Requests::pump);
        self.with_response(now, response::Responses::pump);
        Ok(())
    }

    fn on_request_headers(&mut self, now: Instant, reply: Option<CommonResponse>) -> Result<(), Failure> {
        let request::Head::Asked(headers, since) = &self.request.head else {
            return Err(Failure::Unexpected(Kind::RequestHeaders, Expected::NoSuchEvent));
        };
        let reply = continued(reply, Kind::RequestHeaders)?;
        let part = Part::RequestHeaders;
        let (headers, rejected) = metadata::mutated(headers, reply.header_mutation, part, &self.config)?;
        self.link.rejected_header_mutations += rejected;
        let since = *since;
        self.with_request(now, |request, cx| request.let_headers_go(cx, headers, since));
        Ok(())
    }

    fn on_response_headers(&mut self, now: Instant, reply: Option<CommonResponse>) -> Result<(), Failure> {
        let (headers, since, part, only) = match &self.response.head {
            response::Head::Asked(headers, since) => (headers, *since, Part::ResponseHeaders, false),
            response::Head::AskedOnly(headers, since) => (headers, *since, Part::ResponseHeaders, true),
            response::Head::Start | response::Head::Gone => {
                return Err(Failure::Unexpected(Kind::ResponseHeaders, Expected::NoSuchEvent));
            }
        };
        let reply = continued(reply, Kind::ResponseHeaders)?;
        let (headers, rejected) = metadata::mutated(headers, reply.header_mutation, part, &self.config)?;
        self.link.rejected_header_mutations += rejected;
        self.with_response(now, |response, cx| {
            if only {
                response.let_trailers_only_go(cx, headers, since);
            } else {
                response.let_headers_go(cx, headers, since);
            }
        });
        Ok(())
    }

    fn on_request_body(&mut self, now: Instant, reply: Option<CommonResponse>) -> Result<(), Failure> {
        let unexpected = |why| Err(Failure::Unexpected(Kind::RequestBody, why));
        if !self.config.sends_messages(Direction::Request) {
            return unexpected(Expected::NotSent);
        }
        if let Some(empty) = drain_complete(reply.as_ref()) {
            if self.request.messages != request::Messages::Drain || !empty {
                return Err(Failure::DrainComplete);
            }
            self.with_request(now, request::Requests::pass);
            return Ok(());
        }
        if matches!(self.request.head, request::Head::Asked(..)) {
            return unexpected(Expected::HeadersFirst);
        }
        match self.request.messages {
            request::Messages::Pass | request::Messages::Discard => return unexpected(Expected::Over),
            request::Messages::Process | request::Messages::Drain | request::Messages::Refuse => {}
        }
        let piece = message_of(reply, Kind::RequestBody)?;
        self.received(Direction::Request, piece.body.len());
        let end = piece.end_of_stream;
        let message = (!(end && piece.end_of_stream_without_message)).then_some(piece.body);
        self.with_request(now, |request, cx| request.on_processed(cx, message, end));
        if self.request.messages == request::Messages::Refuse {
            self.return_credit(Direction::Request, usize::MAX);
        }
        Ok(())
    }

    fn on_response_body(&mut self, now: Instant, reply: Option<CommonResponse>) -> Result<(), Failure> {
        let unexpected = |why| Err(Failure::Unexpected(Kind::ResponseBody, why));
        if !self.config.sends_messages(Direction::Response) {
            return unexpected(Expected::NotSent);
        }
        if let Some(empty) = drain_complete(reply.as_ref()) {
            if self.response.messages != response::Messages::Drain || !empty {
                return Err(Failure::DrainComplete);
            }
            self.with_response(now, |response, cx| response.pass(cx, true));
            return Ok(());
        }
        let headers_sent = self.config.options().processing_mode.response_headers;
        match &self.response.head {
            response::Head::Start if headers_sent => return unexpected(Expected::HeadersFirst),
            response::Head::Asked(..) => return unexpected(Expected::HeadersFirst),
            response::Head::AskedOnly(..) => return unexpected(Expected::Over),
            response::Head::Start | response::Head::Gone => {}
        }
        if !self.response.may_process() {
            return unexpected(Expected::Over);
        }
        let piece = message_of(reply, Kind::ResponseBody)?;
        if piece.end_of_stream {
            return Err(Failure::EndInResponse);
        }
        self.received(Direction::Response, piece.body.len());
        self.response.on_processed(piece.body);
        Ok(())
    }

    fn on_response_trailers(&mut self, now: Instant, mutation: Option<HeaderMutation>) -> Result<(), Failure> {
        let response::Trailers::Asked(trailers, since) = &self.response.trailers else {
            return Err(Failure::Unexpected(Kind::ResponseTrailers, Expected::NoSuchEvent));
        };
        let (trailers, rejected) = metadata::mutated(trailers, mutation, Part::Trailers, &self.config)?;
        self.link.rejected_header_mutations += rejected;
        let since = *since;
        self.with_response(now, |response, cx| response.let_trailers_go(cx, trailers, since));
        Ok(())
    }

    /// The processor ends the call. In the place of trailers its metadata is added to them.
    fn on_immediate(&mut self, reply: ImmediateResponse) -> Result<(), Failure> {
        if self.config.options().disable_immediate_response {
            return Err(Failure::ImmediateDisabled);
        }
        let code = match reply.grpc_status {
            None => INTERNAL,
            Some(status) => u8::try_from(status.status).ok().filter(|code| *code <= 16).unwrap_or(UNKNOWN),
        };
        let trailers = match &self.response.trailers {
            response::Trailers::Asked(trailers, _) => metadata::without_status(trailers.clone()),
            response::Trailers::NotYet | response::Trailers::Waiting(..) | response::Trailers::Gone => {
                match &self.response.head {
                    response::Head::AskedOnly(trailers, _) => metadata::without_status(trailers.clone()),
                    response::Head::Start | response::Head::Asked(..) | response::Head::Gone => crate::Headers::new(),
                }
            }
        };
        // A mutation that is wrong does not make the status so.
        let trailers = match metadata::mutated(&trailers, reply.headers, Part::Trailers, &self.config) {
            Ok((mutated, rejected)) => {
                self.link.rejected_header_mutations += rejected;
                mutated
            }
            Err(_) => {
                self.link.rejected_header_mutations += 1;
                trailers
            }
        };
        self.link.reset();
        self.end_with(Status { code, message: reply.details, trailers });
        Ok(())
    }

    /// `request_drain`: the side stream is half-closed, and ends once the processor has given back what it has.
    fn on_drain(&mut self) {
        if !self.is_drained() {
            self.link.grant_for_the_rest();
            self.link.half_close(None);
        }
    }

    fn received(&mut self, direction: Direction, len: usize) {
        if let Some(windows) = &mut self.link.windows {
            // One that sends more than it has room for is held back by not being read.
            let _has_room = windows.received(direction, len);
        }
    }

    /// What the processor gave has gone on.
    pub(super) fn return_credit(&mut self, direction: Direction, len: usize) {
        if self.link.windows.as_mut().is_some_and(|windows: &mut Windows| windows.passed(direction, len)) {
            self.link.grant_now();
        }
    }

    /// The end of the call that is not the server's.
    pub(super) fn end_with(&mut self, status: Status) {
        self.link.effects.push_back(Effect::CancelUpstream);
        self.request.refuse();
        self.response.finish(status);
    }
}

/// A response that says nothing but what to change.
fn continued(reply: Option<CommonResponse>, kind: Kind) -> Result<CommonResponse, Failure> {
    let reply = reply.unwrap_or_default();
    if reply.status == CONTINUE { Ok(reply) } else { Err(Failure::Status { kind, status: reply.status }) }
}

/// Whether the answer ends a drain, and then whether it is nothing else: it waits for no headers.
fn drain_complete(reply: Option<&CommonResponse>) -> Option<bool> {
    match reply?.body_mutation.as_ref()?.mutation.as_ref()? {
        BodyMutation::StreamedResponse(piece) => piece.drain_complete.then_some(piece.body.is_empty()),
        BodyMutation::Body(_) | BodyMutation::ClearBody(_) => None,
    }
}

fn message_of(reply: Option<CommonResponse>, kind: Kind) -> Result<StreamedBodyResponse, Failure> {
    match continued(reply, kind)?.body_mutation.and_then(|mutation| mutation.mutation) {
        Some(BodyMutation::StreamedResponse(piece)) if piece.grpc_message_compressed => Err(Failure::Compressed(kind)),
        Some(BodyMutation::StreamedResponse(piece)) => Ok(piece),
        Some(BodyMutation::Body(_) | BodyMutation::ClearBody(_)) | None => Err(Failure::Plain(kind)),
    }
}
