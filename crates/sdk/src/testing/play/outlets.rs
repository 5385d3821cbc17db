//! What the filter engine puts out: effects, messages, parts.

use extproc_core::Direction;
use extproc_core::chain::Effect;
use extproc_core::filter::{Forward, Outgoing};

use super::{Play, ToDo};
use crate::testing::{Ending, Event};

impl Play {
    /// Empties them until nothing moves any more.
    pub(super) fn drain(&mut self) {
        loop {
            let before = self.notes.entries.len() + self.todo.len();
            while let Some(effect) = self.chain.poll_effect() {
                self.obey(effect);
            }
            for filter in 0..self.chain.len() {
                while let Some(outgoing) = self.chain.poll_send(filter) {
                    self.send(filter, outgoing);
                }
            }
            for direction in Direction::BOTH {
                while let Some(part) = self.chain.poll_forward(direction) {
                    self.forward(direction, part);
                }
            }
            if self.notes.entries.len() + self.todo.len() == before {
                return;
            }
        }
    }

    fn obey(&mut self, effect: Effect) {
        let now = self.notes.now;
        self.note(now, Event::Effect(effect.clone()));
        match effect {
            Effect::OpenStream(filter) => {
                self.streams[filter].opened = true;
                self.todo.push_back(ToDo::Open(filter));
            }
            Effect::ResetStream(filter) => {
                self.streams[filter].over = true;
                self.todo.push_back(ToDo::Reset(filter));
            }
            // There is one route.
            Effect::RecomputeRoute => {}
            Effect::CancelUpstream => {
                self.cancelled = true;
                self.response.stop();
            }
            Effect::ResetDownstream => self.end(Ending::Cut),
        }
    }

    fn send(&mut self, filter: usize, outgoing: Outgoing) {
        let now = self.notes.now;
        let message = match outgoing {
            Outgoing::HalfClose => {
                self.note(now, Event::HalfClosed(filter));
                return self.todo.push_back(ToDo::HalfClose(filter));
            }
            Outgoing::Message(mut message) => {
                let first = !std::mem::replace(&mut self.streams[filter].used, true);
                self.context.add_to(&mut message, first);
                message
            }
        };
        self.note(now, Event::Sent(filter, message.clone()));
        self.todo.push_back(ToDo::Send(filter, message));
    }

    fn forward(&mut self, direction: Direction, part: Forward) {
        let now = self.notes.now;
        let (headers, end) = match &part {
            Forward::Headers(_, end) => (true, *end),
            Forward::Data(_, end) => (false, *end),
            Forward::Trailers(_) => (false, true),
        };
        self.note(now, Event::Went(direction, part));
        if direction == Direction::Request && (if self.early { headers } else { end }) {
            self.response.schedule(now);
        }
    }
}
