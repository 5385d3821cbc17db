//! One direction (section 3.1).

use std::collections::VecDeque;

use extproc_core::{BodyMode, Direction, Options, Profile};

use super::{Awaits, Fate, Source, Token};
use crate::mutate::{self, Map};

/// One direction.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) direction: Direction,
    pub(crate) source: Source,
    pub(crate) fate: Fate,
    pub(crate) awaits: Awaits,
    pub(crate) send_headers: bool,
    pub(crate) body: BodyMode,
    /// GRPC in Envoy: sent only if it is all there when the headers are answered.
    pub(crate) whole_if_there: bool,
    pub(crate) send_trailers: bool,
    pub(crate) drop_length: bool,
    pub(crate) headers: Option<Map>,
    /// The `content-length` values as they came, or none once dropped.
    pub(crate) length_before: Vec<Vec<u8>>,
    /// The body in hand was compared with `content-length`.
    pub(crate) length_checked: bool,
    pub(crate) got_data: bool,
    pub(crate) held: Vec<u8>,
    pub(crate) queue: VecDeque<(Vec<u8>, bool)>,
    /// BUFFERED and BUFFERED_PARTIAL, from the headers' answer to the body message.
    pub(crate) collecting: bool,
    pub(crate) trailers: Option<Map>,
    /// FULL_DUPLEX_STREAMED, after the headers' answer: the processor has body.
    pub(crate) body_away: bool,
    /// What the processor has, and why it is not here (`replay_buffer`).
    pub(crate) copy: Vec<u8>,
    pub(crate) no_copy: Option<&'static str>,
    pub(crate) finished: bool,
    /// Of this handler, not yet moved on.
    pub(crate) out: Vec<Token>,
    pub(crate) promised: Option<usize>,
    pub(crate) broken: bool,
    pub(crate) full: bool,
}

impl Side {
    pub(super) fn new(direction: Direction, options: &Options) -> Self {
        let mut side = Self {
            direction,
            source: Source::Start,
            fate: Fate::Processed,
            awaits: Awaits::Nothing,
            send_headers: false,
            body: BodyMode::None,
            whole_if_there: false,
            send_trailers: false,
            drop_length: false,
            headers: None,
            length_before: Vec::new(),
            length_checked: false,
            got_data: false,
            held: Vec::new(),
            queue: VecDeque::new(),
            collecting: false,
            trailers: None,
            body_away: false,
            copy: Vec::new(),
            no_copy: None,
            finished: false,
            out: Vec::new(),
            promised: None,
            broken: false,
            full: false,
        };
        let mode = &options.processing_mode;
        side.send_headers = mode.headers(direction);
        (side.body, side.whole_if_there) = meant(mode.body(direction), options.profile);
        side.send_trailers = mode.trailers(direction) || side.body == BodyMode::FullDuplexStreamed;
        side.drop_length = drops_length(side.body, side.send_headers, options);
        side
    }

    pub(crate) const fn is_untouched(&self) -> bool {
        matches!(self.source, Source::Start) && !self.is_cut()
    }

    pub(crate) const fn is_cut(&self) -> bool {
        matches!(self.fate, Fate::Cut)
    }

    /// The processor gets body that is held nowhere else.
    pub(crate) fn give(&mut self, data: &[u8], limit: usize) {
        self.body_away = true;
        self.copy.extend(data);
        if limit == 0 || self.copy.len() > limit {
            self.no_copy = self.no_copy.or(Some("more_body_was_sent_than_replay_buffer"));
        }
    }

    /// Body of the processor's goes on.
    pub(crate) fn released(&mut self) {
        self.no_copy = Some("body_of_the_processor_has_gone_on");
    }

    /// Whether only the processor can give the body back.
    pub(crate) fn is_away(&self) -> bool {
        self.is_away_at_all() && self.no_copy.is_some()
    }

    /// Whether the processor has body.
    pub(crate) fn is_away_at_all(&self) -> bool {
        !self.is_cut()
            && match self.awaits {
                Awaits::Headers => self.body == BodyMode::FullDuplexStreamed && self.got_data,
                Awaits::Duplex => self.body_away,
                _ => false,
            }
    }

    /// Whether nothing of this direction will be sent any more, and no answer matters (3.13).
    pub(super) fn is_settled(&self) -> bool {
        if self.is_cut() {
            let owes = matches!(self.awaits, Awaits::Headers) && self.body != BodyMode::FullDuplexStreamed
                || matches!(self.awaits, Awaits::Whole | Awaits::Chunks | Awaits::Partial | Awaits::Trailers);
            return !owes;
        }
        let nothing_wanted = self.body == BodyMode::None && !self.send_trailers;
        match (self.source, self.fate) {
            (_, Fate::Replaced | Fate::Discarded | Fate::Passed) => true,
            (Source::Start, _) => nothing_wanted && !self.send_headers,
            _ if self.finished => true,
            _ => self.awaits == Awaits::Nothing && !self.collecting && nothing_wanted,
        }
    }

    /// Bytes that this direction holds, the queue for the stream aside.
    fn load(&self) -> usize {
        let going = self.out.iter().map(|token| if let Token::Data(data) = token { data.len() } else { 0 });
        let mut load = going.sum::<usize>();
        let until_overflow = self.body == BodyMode::Buffered && (self.collecting || self.awaits == Awaits::Headers);
        if !until_overflow {
            load += self.held.len() + self.queue.iter().map(|(data, _)| data.len()).sum::<usize>();
        }
        load
    }

    pub(super) fn balance(&mut self, limit: usize, unsent: usize) {
        let load = self.load() + unsent;
        self.full = if self.full { load > limit / 2 } else { load > limit };
    }

    /// What goes on. Trailers end a body, which must then be as long as promised.
    pub(crate) fn emit(&mut self, token: Token) {
        self.broken |= matches!(token, Token::Trailers(_)) && self.promised.is_some_and(|left| left != 0);
        if !self.broken {
            self.out.push(token);
        }
    }

    pub(crate) fn emit_data(&mut self, data: Vec<u8>, end: bool) {
        if let Some(left) = self.promised {
            self.broken |= data.len() > left || end && data.len() != left;
            self.promised = Some(left.saturating_sub(data.len()));
        }
        if !data.is_empty() {
            self.emit(Token::Data(data));
        }
        if end {
            self.emit(Token::End);
        }
    }

    /// Takes back a `content-length` that the processor set, when the body is what it was.
    pub(crate) fn true_length(&mut self) {
        if let Some(headers) = &mut self.headers
            && !self.length_checked
            && mutate::values(headers, "content-length") != self.length_before
        {
            mutate::without(headers, "content-length");
        }
    }

    /// Headers before a body that the processor may still change.
    pub(crate) fn emit_headers_before_body(&mut self) {
        let Some(headers) = self.headers.take() else { return };
        if self.body != BodyMode::None && !self.drop_length {
            let length = mutate::values(&headers, "content-length").first().copied();
            self.promised = length.and_then(|it| std::str::from_utf8(it).ok()).and_then(|it| it.parse().ok());
        }
        self.emit(Token::Headers(headers, false));
    }

    /// Everything that is in hand goes on as it is: headers, body, queue, trailers.
    pub(crate) fn emit_all(&mut self) {
        let ends = self.source == Source::Ended && self.trailers.is_none();
        let only_headers = ends && !self.got_data;
        if let Some(headers) = self.headers.take() {
            self.emit(Token::Headers(headers, only_headers));
        }
        let mut body = std::mem::take(&mut self.held);
        body.extend(self.queue.drain(..).flat_map(|(data, _)| data));
        self.emit_data(body, ends && !only_headers);
        if let Some(trailers) = self.trailers.take() {
            self.emit(Token::Trailers(trailers));
        }
    }
}

/// The mode that is meant, and whether Envoy knows it by name only.
pub(crate) fn meant(mode: BodyMode, profile: Profile) -> (BodyMode, bool) {
    if mode == BodyMode::Grpc && profile == Profile::Envoy { (BodyMode::None, true) } else { (mode, false) }
}

/// Section 3.12.
pub(crate) fn drops_length(body: BodyMode, headers: bool, options: &Options) -> bool {
    let changes = match body {
        BodyMode::None => false,
        BodyMode::Buffered => !headers,
        _ => true,
    };
    changes && !options.allow_content_length_header
}
