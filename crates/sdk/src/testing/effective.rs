//! What came of an exchange.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use extproc_core::chain::Effect;
use extproc_core::{Direction, Stats};
use extproc_proto::processing_response::Response;
use extproc_proto::{ImmediateResponse, ProcessingMode};
use prost_types::value::Kind;

use super::entry::{Entry, Event};
use super::{Seen, print};
use crate::{Blocked, Difference, Mismatch};

/// What came of an exchange: what upstream and client got, what was said on the streams, what was counted.
///
/// Printed, it is the transcript: one line for each message and effect, then the request as the upstream and the
/// response as the client got it. It has no times, so that it can be compared.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Effective {
    /// How it ended.
    pub ending: Ending,
    /// What the upstream got.
    pub request: Seen,
    /// What the client got.
    pub response: Seen,
    /// Everything that happened, in order.
    pub entries: Vec<Entry>,
    /// What each filter counted.
    pub stats: Vec<Stats>,
    /// Why the response is not the upstream's (Envoy RESPONSE_CODE_DETAILS).
    pub details: Option<String>,
    /// What the processors wrote and the data plane did not get. A [`Harness`](super::Harness) fills it; of processors
    /// elsewhere it is not known.
    pub blocked: Vec<Blocked>,
    /// Where body kinds did not go with body modes. Known as [`blocked`](Self::blocked) is.
    pub mismatches: Vec<Mismatch>,
    /// How the configuration of the filters differs from what the processors need. Known as [`blocked`](Self::blocked)
    /// is.
    pub differences: Vec<Difference>,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The client has a complete response.
    Complete,
    /// The response was cut after it had begun: the client sees that it is incomplete.
    Cut,
    /// The client gave up.
    ClientGaveUp,
    /// Nothing happened any more, and the client has no complete response.
    Stuck,
}

impl Effective {
    pub(super) fn new(ending: Ending, entries: Vec<Entry>, stats: Vec<Stats>, details: Option<String>) -> Self {
        let (mut request, mut response) = (Seen::default(), Seen::default());
        for Entry { at, event } in &entries {
            match event {
                Event::Went(Direction::Request, part) => request.take(*at, part),
                Event::Went(Direction::Response, part) => response.take(*at, part),
                _ => {}
            }
        }
        Self {
            ending,
            request,
            response,
            entries,
            stats,
            details,
            blocked: Vec::new(),
            mismatches: Vec::new(),
            differences: Vec::new(),
        }
    }

    /// The transcript: a line for each message and effect. `->` to a processor, `<-` from it, `--` other effects; with
    /// several filters, the filter's number stands in front. The rest is as in
    /// [`Transcript::lines`](super::Transcript::lines).
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let numbered = self.stats.len() > 1;
        self.entries.iter().filter_map(|entry| print::event(&entry.event, numbered)).collect()
    }

    /// The transcript with the time before each line, in milliseconds, and every part that client and upstream sent and
    /// got.
    #[must_use]
    pub fn timed(&self) -> String {
        let numbered = self.stats.len() > 1;
        let line = |entry: &Entry| {
            let text = print::event(&entry.event, numbered).or_else(|| print::part(&entry.event))?;
            Some(format!("{:>9.1} ms  {text}\n", entry.at.as_secs_f64() * 1000.0))
        };
        self.entries.iter().filter_map(line).collect()
    }

    /// The transcript with times, then what upstream and client got and what was blocked: for failure messages.
    pub(super) fn report(&self) -> String {
        let all = self.to_string();
        let summary = all.lines().skip(self.lines().len());
        format!("{}\n{}\n", self.timed(), summary.collect::<Vec<_>>().join("\n"))
    }

    /// How long it took until the last part had come to the client; if that never happened, until the last event.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.response.ended.or_else(|| self.entries.last().map(|entry| entry.at)).unwrap_or_default()
    }

    /// The immediate response that a processor sent, whether or not the client got it.
    #[must_use]
    pub fn sent_immediate(&self) -> Option<&ImmediateResponse> {
        self.replies().find_map(|(_, reply)| match &reply.response {
            Some(Response::ImmediateResponse(immediate)) => Some(immediate),
            _ => None,
        })
    }

    /// Whether a processor's change made the data plane choose the route again.
    #[must_use]
    pub fn cleared_route(&self) -> bool {
        self.entries.iter().any(|entry| matches!(entry.event, Event::Effect(Effect::RecomputeRoute)))
    }

    /// The modes that processors asked for, with the filter's index. Whether they got them shows in the messages.
    #[must_use]
    pub fn asked_modes(&self) -> Vec<(usize, &ProcessingMode)> {
        self.replies().filter_map(|(filter, reply)| Some((filter, reply.mode_override.as_ref()?))).collect()
    }

    /// The dynamic metadata that processors sent, by namespace and key; of several values for a key the last.
    #[must_use]
    pub fn metadata(&self) -> BTreeMap<String, BTreeMap<String, prost_types::Value>> {
        let mut all: BTreeMap<String, BTreeMap<String, prost_types::Value>> = BTreeMap::new();
        for (namespace, value) in
            self.replies().filter_map(|(_, reply)| reply.dynamic_metadata.as_ref()).flat_map(|m| &m.fields)
        {
            if let Some(Kind::StructValue(values)) = &value.kind {
                let values = values.fields.iter().map(|(key, value)| (key.clone(), value.clone()));
                all.entry(namespace.clone()).or_default().extend(values);
            }
        }
        all
    }

    /// All messages from processors, with the filter's index.
    pub fn replies(&self) -> impl Iterator<Item = (usize, &extproc_proto::ProcessingResponse)> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Reply(filter, reply) => Some((*filter, &**reply)),
            _ => None,
        })
    }

    /// All messages to processors, with the filter's index.
    pub fn sent(&self) -> impl Iterator<Item = (usize, &extproc_proto::ProcessingRequest)> {
        self.entries.iter().filter_map(|entry| match &entry.event {
            Event::Sent(filter, message) => Some((*filter, &**message)),
            _ => None,
        })
    }
}

impl fmt::Display for Effective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in self.lines() {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "upstream: {}", self.request)?;
        write!(f, "client: {}", self.response)?;
        match self.ending {
            Ending::Complete => writeln!(f)?,
            Ending::Cut => writeln!(f, " (cut)")?,
            Ending::ClientGaveUp => writeln!(f, " (the client gave up)")?,
            Ending::Stuck => writeln!(f, " (stuck)")?,
        }
        self.blocked.iter().try_for_each(|blocked| writeln!(f, "blocked: {blocked}"))?;
        let mut mismatches = self.mismatches.iter();
        mismatches.try_for_each(|it| writeln!(f, "mismatch: {} in {}: {}", it.processor, it.mode, it.what))?;
        self.differences.iter().try_for_each(|difference| writeln!(f, "configuration: {difference}"))
    }
}
