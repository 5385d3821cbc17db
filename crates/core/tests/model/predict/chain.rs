//! What is around the filter: sources, sinks, and what becomes of local replies.

use extproc_core::Direction;
use extproc_core::chain::Peer;

use super::{Model, Reply, Source, Token, at};

/// One direction between its source and its sink.
#[derive(Clone, Debug)]
pub(crate) struct Lane {
    limit: usize,
    pub(crate) source: Source,
    pub(crate) closed: bool,
    waiting: Vec<Token>,
    full: bool,
    given_headers: bool,
    pub(crate) done: bool,
}

impl Lane {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            source: Source::Start,
            closed: false,
            waiting: Vec::new(),
            full: false,
            given_headers: false,
            done: false,
        }
    }

    pub(super) fn wants(&self) -> bool {
        !self.closed && !self.full && self.source != Source::Ended
    }

    fn push(&mut self, token: Token) {
        self.waiting.push(token);
        let sizes = self.waiting.iter().map(|token| if let Token::Data(data) = token { data.len() } else { 0 });
        self.full |= sizes.sum::<usize>() > self.limit;
    }

    /// The sink takes everything.
    pub(crate) fn take(&mut self) -> Vec<Token> {
        self.given_headers |= self.waiting.iter().any(|token| matches!(token, Token::Headers(..)));
        self.done |= self.has_last();
        self.full = false;
        std::mem::take(&mut self.waiting)
    }

    pub(crate) const fn has_given_headers(&self) -> bool {
        self.given_headers
    }

    fn has_last(&self) -> bool {
        let last = |token: &Token| matches!(token, Token::Headers(_, true) | Token::Trailers(_) | Token::End);
        self.waiting.iter().any(last)
    }

    fn is_complete(&self) -> bool {
        self.done || self.has_last()
    }

    fn clear(&mut self) {
        self.waiting.clear();
        self.full = false;
    }

    fn close(&mut self) {
        self.closed = true;
        self.clear();
    }
}

impl Model {
    /// Everything that the filter let go moves on; local replies are given.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = false;
            for reply in std::mem::take(&mut self.replies) {
                self.answer(reply);
                moved = true;
            }
            for direction in Direction::BOTH {
                for token in std::mem::take(&mut self.side(direction).out) {
                    self.lanes[at(direction)].push(token);
                    moved = true;
                }
            }
            if !moved {
                return;
            }
            self.balance();
        }
    }

    /// A reply in place of the upstream's response.
    fn answer(&mut self, reply: Reply) {
        if self.over {
            return;
        }
        if self.lanes[1].is_complete() {
            return self.cancel_upstream();
        }
        self.details = Some(reply.details);
        if self.lanes[1].given_headers {
            return self.cut_response();
        }
        self.cancel_upstream();
        let lane = &mut self.lanes[1];
        let fresh = lane.source == Source::Start && !lane.closed;
        lane.closed = true;
        if fresh {
            let bodiless = reply.body.is_empty();
            self.feed_headers(Direction::Response, reply.headers, bodiless);
            if !bodiless {
                self.feed_data(Direction::Response, reply.body, true);
            }
            return;
        }
        self.finish_filter();
        let lane = &mut self.lanes[1];
        lane.clear();
        lane.push(Token::Headers(reply.headers, reply.body.is_empty()));
        if !reply.body.is_empty() {
            lane.push(Token::Data(reply.body));
            lane.push(Token::End);
        }
    }

    fn cancel_upstream(&mut self) {
        self.lanes[0].close();
        self.cut(Direction::Request);
        if !std::mem::replace(&mut self.cancelled, true) {
            self.effects.push("CancelUpstream".to_owned());
        }
    }

    fn cut_response(&mut self) {
        self.cancel_upstream();
        self.abandon();
        self.effects.push("ResetDownstream".to_owned());
    }

    fn abandon(&mut self) {
        Direction::BOTH.into_iter().for_each(|direction| self.cut(direction));
        self.reset_stream();
        self.replies.clear();
        self.lanes.iter_mut().for_each(Lane::close);
        self.over = true;
    }

    fn finish_filter(&mut self) {
        Direction::BOTH.into_iter().for_each(|direction| self.cut(direction));
        self.close_stream();
    }

    /// The exchange is over for the data plane.
    pub(crate) fn finish(&mut self) {
        self.finish_filter();
        self.lanes.iter_mut().for_each(Lane::close);
        self.over = true;
    }

    pub(crate) fn give_up(&mut self, by: Peer) {
        if self.over {
            return;
        }
        match by {
            Peer::Downstream => self.abandon(),
            Peer::Upstream if self.lanes[1].closed || self.lanes[1].source == Source::Ended => {}
            Peer::Upstream => self.cut_response(),
        }
    }

    /// The data plane answers by itself.
    pub(crate) fn respond(&mut self, status: u16, body: &[u8]) {
        let mut headers = vec![(":status".to_owned(), status.to_string().into_bytes())];
        if !body.is_empty() {
            headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
            headers.push(("content-type".to_owned(), b"text/plain".to_vec()));
        }
        let reply = Reply { headers, body: body.to_vec(), details: "data_plane".to_owned() };
        self.answer(reply);
        self.settle();
    }

    /// Whether a part may come from the source now.
    pub(crate) fn accepts(&mut self, direction: Direction, end: bool) -> bool {
        let lane = &mut self.lanes[at(direction)];
        if lane.closed {
            return false;
        }
        lane.source = if end { Source::Ended } else { Source::Open };
        true
    }
}
