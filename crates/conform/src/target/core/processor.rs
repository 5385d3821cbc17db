//! The scripted processor in virtual time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use extproc_core::filter::{GrpcStatus, Outgoing, StreamEvent};

use super::{Agenda, Happening};
use crate::peer::answer;
use crate::scenario::{Kind, Processor, Script};
use crate::transcript::{Message, Moment, StreamEnd};

/// Answers one message after the other, each with all its steps, as the peer over sockets does.
#[derive(Debug)]
pub(super) struct Scripted {
    /// `None`: it cannot be reached.
    script: Option<Script>,
    seen: BTreeMap<Kind, usize>,
    messages: Vec<Message>,
    /// Until then it is busy with earlier messages.
    busy: Duration,
    /// It has ended the stream, or will at this time.
    ended: Option<Duration>,
    half_closed: Option<Duration>,
    reset: Option<Duration>,
}

impl Scripted {
    pub(super) fn new(processor: &Processor) -> Self {
        let script = match processor {
            Processor::Script(script) => Some(script.clone()),
            Processor::Unreachable | Processor::Unknown => None,
        };
        Self {
            script,
            seen: BTreeMap::new(),
            messages: Vec::new(),
            busy: Duration::ZERO,
            ended: None,
            half_closed: None,
            reset: None,
        }
    }

    pub(super) const fn is_reachable(&self) -> bool {
        self.script.is_some()
    }

    /// The filter opens the stream; whether the processor takes it.
    pub(super) fn open(&mut self, now: Duration, agenda: &mut Agenda) -> bool {
        // There is but one stream: nothing here opens it again.
        let refused = match &self.script {
            None => GrpcStatus { code: 14, message: "connection refused".to_owned() },
            Some(script) => match script.refuse.first() {
                Some(failure) => GrpcStatus { code: failure.code, message: failure.message.clone() },
                None => return true,
            },
        };
        self.ended = Some(now);
        agenda.plan(now, Happening::Stream(StreamEvent::Closed(Err(refused))));
        false
    }

    /// The filter sends something.
    pub(super) fn take(&mut self, now: Duration, sent: Outgoing, agenda: &mut Agenda) -> anyhow::Result<()> {
        let Some(script) = &self.script else { return Ok(()) };
        self.busy = self.busy.max(now);
        let Outgoing::Message(message) = sent else {
            self.half_closed.get_or_insert(now);
            for step in script.at_half_close() {
                self.busy += step.delay.unwrap_or_default().duration();
                if step.silence {
                    return Ok(());
                }
            }
            self.end(Ok(()), agenda);
            return Ok(());
        };
        let record = answer::record(&message);
        let kind = record.kind;
        if !script.refuse.is_empty() {
            return Ok(());
        }
        if kind == Kind::Empty {
            bail!("the core sent a message without content: {message:?}");
        }
        self.messages.push(record);
        if self.ended.is_some() {
            return Ok(());
        }
        let nth = self.seen.entry(kind).or_default();
        let steps = script.answer(kind, *nth);
        *nth += 1;
        for step in steps {
            self.busy += step.delay.unwrap_or_default().duration();
            if step.silence {
                continue;
            }
            if step.close {
                self.end(Ok(()), agenda);
                return Ok(());
            }
            if let Some(failure) = &step.error {
                let status = GrpcStatus { code: failure.code, message: failure.message.clone() };
                self.end(Err(status), agenda);
                return Ok(());
            }
            if let Some(http) = &step.http {
                let reply = Some(&http.body).filter(|_| http.status == 200);
                match reply.map(|body| extproc_proto::json::read_response(body.as_bytes())) {
                    Some(Ok(reply)) => agenda.plan(self.busy, Happening::Stream(StreamEvent::Reply(Box::new(reply)))),
                    Some(Err(_)) | None => {
                        let status = GrpcStatus { code: 14, message: "no response".to_owned() };
                        self.end(Err(status), agenda);
                        return Ok(());
                    }
                }
                continue;
            }
            let reply = Box::new(answer::build(kind, &step)?);
            agenda.plan(self.busy, Happening::Stream(StreamEvent::Reply(reply)));
        }
        Ok(())
    }

    /// The filter gives the stream up.
    pub(super) fn reset(&mut self, now: Duration) {
        if self.ended.is_none_or(|ended| ended > now) {
            self.reset.get_or_insert(now);
        }
    }

    /// How the stream ended against `end`; `None` when there was none.
    pub(super) fn stream_end(&self, end: Duration) -> Option<StreamEnd> {
        let moment = |at: Duration| Moment::of(at, end);
        (!self.messages.is_empty())
            .then(|| StreamEnd { half_closed: self.half_closed.map(moment), reset: self.reset.map(moment) })
    }

    pub(super) fn into_messages(self) -> Vec<Message> {
        self.messages
    }

    fn end(&mut self, how: Result<(), GrpcStatus>, agenda: &mut Agenda) {
        if self.ended.is_none() {
            self.ended = Some(self.busy);
            agenda.plan(self.busy, Happening::Stream(StreamEvent::Closed(how)));
        }
    }
}
