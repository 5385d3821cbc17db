//! What happened in an exchange.

use std::time::Duration;

use extproc::testing::{Effective, Ending, Event};
use extproc_core::chain::Effect;
use extproc_core::filter::GrpcStatus;
use extproc_core::{Direction, Stats};
use extproc_proto::{ProcessingRequest, ProcessingResponse};

use super::words::{self, Phase};

/// What happened.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) effective: Effective,
    /// Messages that came when everything was over.
    pub(crate) late: Vec<ProcessingResponse>,
    /// The processor did not end the stream after the data plane had.
    pub(crate) left_open: bool,
    /// The configuration lets the processor change the mode.
    pub(crate) mode_override_allowed: bool,
    /// Whoever looked on ended it.
    pub(crate) quit: bool,
}

/// A message to the processor and its answer; or an answer that nothing asked for.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    pub(crate) phase: Option<Phase>,
    pub(crate) at: Duration,
    pub(crate) sent: Option<&'a ProcessingRequest>,
    pub(crate) answer: Option<(Duration, &'a ProcessingResponse)>,
    /// An answer that came when the data plane had said that it sends nothing more.
    pub(crate) late: bool,
}

impl Log {
    pub(crate) fn stats(&self) -> Stats {
        self.effective.stats.first().copied().unwrap_or_default()
    }

    /// What the processor said, in order.
    pub(crate) fn replies(&self) -> impl Iterator<Item = &ProcessingResponse> {
        self.effective.replies().map(|(_, reply)| reply).chain(&self.late)
    }

    /// How the processor ended the stream, if it did while that mattered.
    pub(crate) fn ended(&self) -> Option<&Result<(), GrpcStatus>> {
        self.effective.entries.iter().find_map(|entry| match &entry.event {
            Event::Closed(_, end) => Some(end),
            _ => None,
        })
    }

    /// The data plane reset the stream.
    pub(crate) fn is_reset(&self) -> bool {
        self.effective.entries.iter().any(|entry| matches!(entry.event, Event::Effect(Effect::ResetStream(_))))
    }

    /// The upstream was asked.
    pub(crate) const fn is_upstream_asked(&self) -> bool {
        self.effective.request.is_there()
    }

    /// The response is not the upstream's.
    pub(crate) fn is_local(&self) -> bool {
        let came = |direction| {
            self.effective.entries.iter().any(|it| matches!(&it.event, Event::Came(it, _) if *it == direction))
        };
        !came(Direction::Response)
            || self.effective.entries.iter().any(|it| matches!(it.event, Event::Effect(Effect::CancelUpstream)))
    }

    /// Whether the client's response was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.effective.ending == Ending::Cut
    }

    /// Whether the processor answered the client itself.
    pub(crate) fn is_immediate(&self) -> bool {
        self.replies().any(words::is_immediate)
    }

    /// Answers that had no place: the engine's count of them, and those that nothing asked for and that it did not look
    /// at any more.
    pub(crate) fn spurious(&self) -> u64 {
        let unasked = self.turns().iter().filter(|turn| turn.late && turn.sent.is_none()).count();
        self.stats().spurious_msgs_received + unasked as u64
    }

    /// Each answer beside the oldest message of its phase that has none.
    pub(crate) fn turns(&self) -> Vec<Turn<'_>> {
        let mut turns: Vec<Turn<'_>> = Vec::new();
        let mut late = false;
        for entry in &self.effective.entries {
            match &entry.event {
                Event::Sent(_, message) => {
                    let phase = words::asked(message);
                    turns.push(Turn { phase, at: entry.at, sent: Some(message), answer: None, late });
                }
                Event::HalfClosed(_) => late = true,
                Event::Reply(_, reply) => answer(&mut turns, entry.at, reply, late),
                _ => {}
            }
        }
        let end = self.effective.entries.last().map(|entry| entry.at).unwrap_or_default();
        self.late.iter().for_each(|reply| answer(&mut turns, end, reply, true));
        turns
    }

    /// The longest time from a message to its answer.
    pub(crate) fn slowest(&self) -> Option<Duration> {
        self.turns()
            .iter()
            .filter(|turn| turn.sent.is_some())
            .filter_map(|turn| turn.answer.map(|(took, _)| took))
            .max()
    }
}

fn answer<'a>(turns: &mut Vec<Turn<'a>>, at: Duration, reply: &'a ProcessingResponse, late: bool) {
    let phase = words::answered(reply);
    // What asks for more time answers nothing.
    let answers = reply.response.is_some() || reply.override_message_timeout.is_none();
    let mut open = turns.iter_mut().filter(|turn| answers && turn.answer.is_none() && turn.sent.is_some());
    match open.find(|turn| phase.is_none() || turn.phase == phase) {
        Some(turn) => turn.answer = Some((at.saturating_sub(turn.at), reply)),
        None => turns.push(Turn { phase, at, sent: None, answer: Some((Duration::ZERO, reply)), late }),
    }
}
