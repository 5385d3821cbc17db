//! GRPC mode: messages in, messages out, the stages between.

use bytes::Bytes;
use extproc_core::Session;
use extproc_core::session::{Answer, Chunk};

use super::answers::answered;
use super::flow::{Flow, Payload};
use super::way::Way;
use super::{Outcome, Row};
use crate::blocked::Reason;
use crate::body::{Deframer, Message, Output, Piece, Want};
use crate::stages::Run;

impl<W: Way> Flow<W> {
    /// Takes a message, a half-close, or both.
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
                Want::Nothing | Want::Whole(_) => messages,
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
