//! GRPC mode: messages in, messages out, the stages between.

use bytes::Bytes;
use extproc_core::Session;
use extproc_core::session::{Answer, Chunk};

use super::answers::answered;
use super::flow::{Flow, Payload};
use super::way::Way;
use super::{Outcome, Row};
use crate::blocked::Reason;
use crate::body::{Deframer, Message, Output, Piece, Want, joined};
use crate::stages::Run;

/// The messages of a body on their way to a stage that wants it whole.
#[derive(Default)]
pub(super) struct Collected {
    messages: Vec<Message>,
    /// With their frames.
    size: usize,
}

impl<W: Way> Flow<W> {
    /// Takes a message, a half-close, or both.
    ///
    /// Stages that want whole bodies get the frames of all messages when the last one is there, as in every other mode,
    /// and what they put out must be frames again.
    pub(super) async fn on_message<R: Run>(
        &mut self,
        row: &mut Row<R>,
        session: &mut Session,
        chunk: Chunk,
    ) -> Result<(), Outcome> {
        let end = chunk.end_stream;
        let message = (!chunk.without_message).then(|| Message::new(chunk.data, chunk.compressed));
        let messages = self.run_messages(row, message.into_iter().collect(), end).await?;
        if end {
            self.body = Payload::Absent;
        }
        Self::emit_messages(session, messages, end)
    }

    /// What the stages still put out before the trailers.
    pub(super) async fn end_messages<R: Run>(
        &mut self,
        row: &mut Row<R>,
        session: &mut Session,
    ) -> Result<(), Outcome> {
        let messages = self.run_messages(row, Vec::new(), true).await?;
        self.body = Payload::Absent;
        Self::emit_messages(session, messages, false)
    }

    fn emit_messages(session: &mut Session, messages: Vec<Message>, end: bool) -> Result<(), Outcome> {
        let count = messages.len();
        for (index, Message { data, compressed, .. }) in messages.into_iter().enumerate() {
            let end_stream = end && index + 1 == count;
            let chunk = Chunk { data, compressed, end_stream, without_message: false };
            answered(session.answer(W::DIRECTION, Answer::Chunk(chunk)))?;
        }
        if end && count == 0 {
            let chunk = Chunk { end_stream: true, without_message: true, ..Chunk::default() };
            return answered(session.answer(W::DIRECTION, Answer::Chunk(chunk)));
        }
        Ok(())
    }

    async fn run_messages<R: Run>(
        &mut self,
        row: &mut Row<R>,
        mut messages: Vec<Message>,
        last: bool,
    ) -> Result<Vec<Message>, Outcome> {
        for position in self.bodied..row.len() {
            let stage = W::stage(position, row.len());
            messages = match row.want(stage, W::DIRECTION) {
                Want::Messages => self.run_whole_messages(row, stage, messages, last).await?,
                Want::Chunks => self.run_frames(row, stage, messages, last).await?,
                Want::Whole(limit) => self.run_collected(row, stage, limit, messages, last).await?,
                Want::Nothing => self.give_back(stage, messages),
            };
        }
        Ok(messages)
    }

    async fn run_whole_messages<R: Run>(
        &mut self,
        row: &mut Row<R>,
        stage: usize,
        messages: Vec<Message>,
        last: bool,
    ) -> Result<Vec<Message>, Outcome> {
        let count = messages.len();
        let mut output = Vec::with_capacity(count);
        for (index, message) in messages.into_iter().enumerate() {
            if row.want(stage, W::DIRECTION) != Want::Messages {
                // It gave up on an earlier message.
                output.push(message);
                continue;
            }
            let piece = Piece::of_message(message.clone(), last && index + 1 == count);
            match self.run_body(row, stage, piece).await? {
                Output::Messages(messages) => output.extend(messages),
                Output::Same | Output::Pieces(_) => output.push(message),
            }
        }
        Ok(output)
    }

    /// Runs a stage that takes the whole body: nothing goes on until it is there.
    async fn run_collected<R: Run>(
        &mut self,
        row: &mut Row<R>,
        stage: usize,
        limit: usize,
        messages: Vec<Message>,
        last: bool,
    ) -> Result<Vec<Message>, Outcome> {
        self.collected.resize_with(row.len(), Collected::default);
        let collected = &mut self.collected[stage];
        collected.size += messages.iter().map(Message::len).sum::<usize>();
        collected.messages.extend(messages);
        if collected.size > limit {
            return Err(row.overflow::<W>(stage, limit));
        }
        if !last {
            return Ok(Vec::new());
        }
        let messages = std::mem::take(collected).messages;
        let body = joined(messages.iter().cloned().map(Message::into_frame).collect());
        match self.run_body(row, stage, Piece::new(body, true, false)).await? {
            Output::Same | Output::Messages(_) => Ok(messages),
            Output::Pieces(pieces) => {
                let mut output = Vec::new();
                self.reframe(row, stage, pieces, true, &mut output)?;
                Ok(output)
            }
        }
    }

    /// What a stage had collected before it went out of the picture goes first.
    fn give_back(&mut self, stage: usize, messages: Vec<Message>) -> Vec<Message> {
        let mut held = self.collected.get_mut(stage).map(std::mem::take).unwrap_or_default().messages;
        held.extend(messages);
        held
    }

    /// Whether a stage has messages that are to go on.
    pub(super) fn holds_messages(&self) -> bool {
        self.collected.iter().any(|collected| !collected.messages.is_empty())
    }

    /// Sends the body that a header phase put in place of what came.
    pub(super) fn emit_replacement<R: Run>(
        &mut self,
        row: &Row<R>,
        session: &mut Session,
        end: bool,
    ) -> Result<(), Outcome> {
        let Payload::Complete(body) = std::mem::take(&mut self.body) else { return Ok(()) };
        match Deframer::messages(body.into_bytes()) {
            Some(messages) => Self::emit_messages(session, messages, end),
            // Of a stage behind the one that replaced it: its own replacement was looked at.
            None => Err(row.fail_body::<W>(row.last_wanting::<W>(), Reason::NotMessages)),
        }
    }

    /// Runs a stage that takes bytes: it gets frames, and what it puts out must be frames again.
    async fn run_frames<R: Run>(
        &mut self,
        row: &mut Row<R>,
        stage: usize,
        messages: Vec<Message>,
        last: bool,
    ) -> Result<Vec<Message>, Outcome> {
        let count = messages.len().max(usize::from(last));
        let mut output = Vec::with_capacity(count);
        let mut messages = messages.into_iter();
        for index in 0..count {
            let message = messages.next();
            if row.want(stage, W::DIRECTION) != Want::Chunks {
                output.extend(message);
                continue;
            }
            let last = last && index + 1 == count;
            let data = message.clone().map_or_else(Bytes::new, Message::into_frame);
            match self.run_body(row, stage, Piece::new(data, last, false)).await? {
                Output::Pieces(pieces) => self.reframe(row, stage, pieces, last, &mut output)?,
                Output::Same | Output::Messages(_) => {
                    self.reframe(row, stage, Vec::new(), last, &mut output)?;
                    output.extend(message);
                }
            }
        }
        Ok(output)
    }

    /// Makes messages of what a stage put out as bytes.
    fn reframe<R: Run>(
        &mut self,
        row: &Row<R>,
        stage: usize,
        pieces: Vec<Bytes>,
        last: bool,
        output: &mut Vec<Message>,
    ) -> Result<(), Outcome> {
        self.reframers.resize_with(row.len(), Deframer::default);
        let deframer = &mut self.reframers[stage];
        let mut good = true;
        for piece in pieces {
            deframer.push(piece);
            loop {
                match deframer.next() {
                    Ok(Some(frame)) => output.push(Message::of_frame(frame)),
                    Ok(None) => break deframer.keep(),
                    Err(_) => {
                        good = false;
                        break;
                    }
                }
            }
        }
        if good && (!last || deframer.is_empty()) {
            return Ok(());
        }
        Err(row.fail_body::<W>(stage, Reason::NotMessages))
    }
}
