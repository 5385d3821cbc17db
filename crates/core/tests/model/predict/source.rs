//! What the data plane brings (section 3.2).

use extproc_core::{BodyMode, Direction};

use super::{Awaits, Fate, Model, Side, Source, Stream, Token, Trouble};
use crate::mutate::{self, Map};

impl Model {
    pub(crate) fn feed_headers(&mut self, direction: Direction, headers: Map, end: bool) {
        if self.side(direction).is_cut() {
            return;
        }
        if direction == Direction::Request {
            self.head = mutate::values(&headers, ":method") == [b"HEAD"];
            let grpc = |it: &&[u8]| *it == b"application/grpc" || it.starts_with(b"application/grpc+");
            self.grpc = mutate::values(&headers, "content-type").first().is_some_and(grpc);
        }
        self.side(direction).source = if end { Source::Ended } else { Source::Open };
        self.headers(direction, headers, end);
        if direction == Direction::Response {
            self.close_if_settled();
        }
        self.after();
    }

    fn headers(&mut self, direction: Direction, headers: Map, end: bool) {
        let over = self.stream == Stream::Over;
        let side = self.side(direction);
        if side.fate == Fate::Passed {
            side.emit(Token::Headers(headers, end));
            side.finished = end;
            return;
        }
        let sends = side.send_headers && !over;
        let timed = side.body != BodyMode::FullDuplexStreamed;
        if sends {
            self.send_map(direction, "headers", &headers, end, timed);
        }
        let side = self.side(direction);
        side.headers = Some(headers);
        // A message without a body keeps its length in every mode (departure).
        if side.drop_length && !end {
            side.drop_length_now();
        }
        side.remember_length();
        if sends {
            side.awaits = Awaits::Headers;
            return;
        }
        if end {
            side.finished = true;
            return side.emit_all();
        }
        side.emit_headers_before_body();
        match side.body {
            BodyMode::Buffered | BodyMode::BufferedPartial => side.collecting = true,
            BodyMode::FullDuplexStreamed => side.awaits = Awaits::Duplex,
            BodyMode::None | BodyMode::Streamed | BodyMode::Grpc => {}
        }
    }

    pub(crate) fn feed_data(&mut self, direction: Direction, data: Vec<u8>, end: bool) {
        let side = self.side(direction);
        if side.is_cut() {
            return;
        }
        if end {
            side.source = Source::Ended;
        }
        if let Err(trouble) = self.data(direction, data, end) {
            self.fail(trouble);
        }
        self.after();
    }

    fn data(&mut self, direction: Direction, data: Vec<u8>, end: bool) -> Result<(), Trouble> {
        if data.is_empty() && !end {
            return Ok(());
        }
        let (limit, replay) = (self.options.buffer_limit, self.options.replay_buffer);
        let early = self.options.send_body_without_waiting_for_header_response;
        let side = self.side(direction);
        side.got_data = true;
        match side.fate {
            Fate::Replaced => {
                if end {
                    side.emit(Token::End);
                    side.finished = true;
                }
                return Ok(());
            }
            Fate::Discarded => {
                side.finished |= end;
                return Ok(());
            }
            Fate::Passed => {
                side.emit_data(data, end);
                side.finished |= end;
                return Ok(());
            }
            Fate::Processed | Fate::Cut => {}
        }
        let waits = side.awaits == Awaits::Headers;
        match side.body {
            BodyMode::Buffered if waits || side.collecting => {
                if side.held.len() + data.len() > limit {
                    return Err(Trouble::Overflow(direction));
                }
                side.held.extend(data);
                if side.collecting && end {
                    self.send_whole(direction);
                }
            }
            BodyMode::FullDuplexStreamed => {
                side.give(&data, replay);
                self.send_body(direction, &data, end, false, false);
            }
            BodyMode::Streamed if !waits || early => {
                side.queue.push_back((data.clone(), end));
                if !waits {
                    side.awaits = Awaits::Chunks;
                }
                self.send_body(direction, &data, end, true, true);
            }
            _ if waits => side.held.extend(data),
            BodyMode::BufferedPartial if side.awaits == Awaits::Partial => side.queue.push_back((data, end)),
            BodyMode::BufferedPartial if side.collecting => {
                side.held.extend(data);
                if end {
                    self.send_whole(direction);
                } else if side.held.len() > limit {
                    self.send_beginning(direction);
                }
            }
            BodyMode::None | BodyMode::Buffered | BodyMode::BufferedPartial | BodyMode::Streamed | BodyMode::Grpc => {
                side.emit_data(data, end);
                side.finished |= end;
            }
        }
        Ok(())
    }

    pub(crate) fn feed_trailers(&mut self, direction: Direction, trailers: Map) {
        let side = self.side(direction);
        if side.is_cut() {
            return;
        }
        side.source = Source::Ended;
        self.trailers(direction, trailers);
        self.after();
    }

    fn trailers(&mut self, direction: Direction, trailers: Map) {
        let side = self.side(direction);
        match side.fate {
            Fate::Replaced | Fate::Passed => {
                side.finished = true;
                return side.emit(Token::Trailers(trailers));
            }
            Fate::Discarded => {
                side.finished = true;
                return;
            }
            Fate::Processed | Fate::Cut => {}
        }
        side.trailers = Some(trailers.clone());
        if side.body == BodyMode::FullDuplexStreamed {
            return self.send_map(direction, "trailers", &trailers, false, false);
        }
        if side.awaits != Awaits::Nothing {
            return;
        }
        if side.collecting && side.got_data {
            return self.send_whole(direction);
        }
        side.collecting = false;
        side.true_length();
        self.trailers_or_all(direction);
    }

    /// The last thing that can be asked about; else everything goes on.
    pub(crate) fn trailers_or_all(&mut self, direction: Direction) {
        let open = self.stream != Stream::Over;
        let side = self.side(direction);
        if let Some(trailers) = side.trailers.clone().filter(|_| side.send_trailers && open) {
            side.awaits = Awaits::Trailers;
            return self.send_map(direction, "trailers", &trailers, false, true);
        }
        side.awaits = Awaits::Nothing;
        side.finished = side.source == Source::Ended;
        side.emit_all();
    }

    /// The whole body, in one message.
    pub(crate) fn send_whole(&mut self, direction: Direction) {
        let before_trailers = self.reading.ends_before_trailers;
        let side = self.side(direction);
        side.collecting = false;
        side.awaits = Awaits::Whole;
        let end = side.trailers.is_none() || before_trailers && !side.send_trailers;
        let body = side.held.clone();
        self.send_body(direction, &body, end, true, true);
    }

    /// A body that is too long to be gathered (BUFFERED_PARTIAL).
    pub(crate) fn send_beginning(&mut self, direction: Direction) {
        let side = self.side(direction);
        side.collecting = false;
        side.awaits = Awaits::Partial;
        let body = side.held.clone();
        self.send_body(direction, &body, false, true, true);
    }
}

impl Side {
    pub(crate) fn drop_length_now(&mut self) {
        if let Some(headers) = &mut self.headers {
            mutate::without(headers, "content-length");
        }
        self.remember_length();
    }

    fn remember_length(&mut self) {
        let headers = self.headers.iter().flat_map(|headers| mutate::values(headers, "content-length"));
        self.length_before = headers.map(<[u8]>::to_vec).collect();
    }
}
