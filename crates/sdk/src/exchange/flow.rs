//! One direction of an exchange: runs the stages' phases, and keeps what the wire mode makes it keep.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use extproc_core::session::{Chunk, DynamicMetadata};
use extproc_core::{BodyMode, Headers, Session};
use tracing::Instrument;

use super::grpc::Collected;
use super::way::Way;
use super::{Outcome, Row};
use crate::blocked::{MismatchKind, Reason, Write};
use crate::body::{Body, Deframer, Output, Piece, Want, joined};
use crate::stages::Run;
use crate::stop::Halted;
use crate::{Start, Trailers};

/// One direction of an exchange.
///
/// Each stage must see what it would see as a filter of its own: where the data plane holds the head until the body is
/// answered, a stage that wants the whole body keeps the head from the stages behind it. The head therefore advances
/// stage by stage, and the body behind it.
pub(super) struct Flow<W: Way> {
    pub(super) head: Option<W::Head>,
    /// How many stages, in the order of this direction, have had their header phase.
    headed: usize,
    /// How many have had their body phase, or have none.
    pub(super) bodied: usize,
    pub(super) body: Payload,
    /// The body mode in force, once a message behind the head came.
    mode: BodyMode,
    /// The header message said that nothing follows.
    pub(super) last: bool,
    /// The data plane holds the head until the body is answered.
    holds: bool,
    /// The head's answer waits for the end of the body (FULL_DUPLEX_STREAMED).
    pub(super) deferred: bool,
    /// The head has left: edits would be lost.
    pub(super) gone: bool,
    /// The body's length, as the data plane sent it.
    length: Option<u64>,
    /// How much of the body has come.
    received: u64,
    /// Chunks that wait for their answer, their bytes are in `body` (STREAMED, length not known).
    pub(super) unanswered: usize,
    /// Chunks were answered with nothing, their bytes are in `body` (STREAMED, length known).
    taken: bool,
    /// What is in `body` is not what the message to answer carried.
    pub(super) cleared: bool,
    /// It was settled what becomes of stages whose kind does not go with the mode.
    fitted: bool,
    /// A stage replaced the body in its header phase.
    pub(super) replaced: bool,
    /// CONNECT or an upgrade: the body is not HTTP's.
    pub(super) upgraded: bool,
    /// Our header answer asked for another body mode.
    pub(super) asked: bool,
    /// Some of the body has come.
    seen: bool,
    /// The trailers, while body handlers run that waited for them.
    trailers: Option<Arc<Trailers>>,
    /// GRPC mode: what stages that take bytes have put out of a message, by stage.
    pub(super) reframers: Vec<Deframer>,
    /// GRPC mode: what waits for the end of the body, by stage.
    pub(super) collected: Vec<Collected>,
}

/// The body on its way to the stages.
#[derive(Default)]
pub(super) enum Payload {
    /// Nothing seen or nothing there.
    #[default]
    Absent,
    /// A piece that is alone so far shares the message's memory.
    Incoming(Bytes),
    /// More than one piece.
    Growing(BytesMut),
    Complete(Body),
}

impl<W: Way> Default for Flow<W> {
    fn default() -> Self {
        Self {
            head: None,
            headed: 0,
            bodied: 0,
            body: Payload::Absent,
            mode: BodyMode::None,
            last: false,
            holds: false,
            deferred: false,
            gone: false,
            length: None,
            received: 0,
            unanswered: 0,
            taken: false,
            cleared: false,
            fitted: false,
            replaced: false,
            upgraded: false,
            asked: false,
            seen: false,
            trailers: None,
            reframers: Vec::new(),
            collected: Vec::new(),
        }
    }
}

impl<W: Way> Flow<W> {
    /// Takes the headers.
    pub(super) async fn on_headers<R: Run>(
        &mut self,
        row: &mut Row<R>,
        session: &mut Session,
        headers: Headers,
        last: bool,
    ) -> Result<(), Outcome> {
        let mode = session.body_mode(W::DIRECTION);
        let head = W::head(headers, last);
        self.upgraded = W::is_upgrade(&head);
        self.last = last;
        self.length = head.content_length();
        self.mode = mode.unwrap_or_default();
        self.holds = !last
            && !self.upgraded
            && !session.is_observing()
            && matches!(mode, Some(BodyMode::Buffered | BodyMode::BufferedPartial | BodyMode::FullDuplexStreamed));
        if !last {
            self.body = Payload::Incoming(Bytes::new());
        }
        self.head = Some(head);
        self.advance(row).await?;
        if mode == Some(BodyMode::FullDuplexStreamed) && self.is_kept(row) {
            self.deferred = true;
            return Ok(());
        }
        self.answer_head(row, session)
    }

    /// Takes a piece of the body.
    pub(super) async fn on_body<R: Run>(
        &mut self,
        row: &mut Row<R>,
        session: &mut Session,
        chunk: Chunk,
    ) -> Result<(), Outcome> {
        let mode = session.body_mode(W::DIRECTION).unwrap_or_default();
        self.mode = mode;
        self.ensure_head(row);
        self.seen = true;
        let held = self.deferred || matches!(mode, BodyMode::Buffered | BodyMode::BufferedPartial);
        self.gone = !held && !session.is_observing();
        if self.replaced {
            // What comes in chunks is dropped, and the replacement goes out when it has all come.
            return if chunk.end_stream { self.emit(row, session, true) } else { Ok(()) };
        }
        self.received += chunk.data.len() as u64;
        let complete = chunk.end_stream || self.length.is_some_and(|length| self.received >= length);
        if !std::mem::replace(&mut self.fitted, true) && !session.is_observing() {
            self.fit(row, complete)?;
        }
        if !self.wants_body(row) && !self.holds_messages() {
            return self.pass(session, mode, chunk);
        }
        if mode == BodyMode::Grpc {
            return self.on_message(row, session, chunk).await;
        }
        // Where a body of known length ends is known before the data plane says so, which with trailers it may never.
        let collects = self.next_whole(row).is_some();
        let last = if collects && mode == BodyMode::Streamed { complete } else { chunk.end_stream };
        if matches!(mode, BodyMode::Streamed | BodyMode::FullDuplexStreamed) {
            let output = self.run_chunk(row, chunk.data, last).await?;
            if !collects {
                if last {
                    self.body = Payload::Absent;
                }
                return self.answer_pieces(session, mode, output, last);
            }
            self.cleared |= output.1;
            output.0.into_iter().try_for_each(|data| self.collect(row, data))?;
        } else {
            self.collect(row, chunk.data)?;
        }
        if !last && !matches!(mode, BodyMode::Buffered | BodyMode::BufferedPartial) {
            return self.keep_chunk(session);
        }
        self.complete(mode == BodyMode::BufferedPartial && !chunk.end_stream);
        self.advance(row).await?;
        if mode != BodyMode::FullDuplexStreamed {
            self.answer_held(session, 0)?;
            return self.answer_body(session, mode);
        }
        if std::mem::take(&mut self.deferred) {
            self.answer_head(row, session)?;
        }
        self.emit(row, session, true)
    }

    /// A chunk of a body that is collected was taken in, and more follows.
    fn keep_chunk(&mut self, session: &mut Session) -> Result<(), Outcome> {
        if self.mode != BodyMode::Streamed {
            return Ok(());
        }
        if self.length.is_some() {
            self.cleared = true;
            self.taken = true;
            return self.answer_clear(session);
        }
        // Nothing may ever say that the body has ended. As long as its chunks are not answered the data plane has them
        // too, so that nothing is lost if it gives up on us.
        self.unanswered += 1;
        Ok(())
    }

    /// Settles what becomes of stages whose kind does not go with the mode, before anything of the body is answered.
    fn fit<R: Run>(&self, row: &mut Row<R>, complete: bool) -> Result<(), Outcome> {
        if self.upgraded {
            return Ok(());
        }
        for stage in 0..row.len() {
            let what = match (row.want(stage, W::DIRECTION), self.mode) {
                (Want::Whole(_), BodyMode::Grpc) => MismatchKind::WholeOfMessages,
                (Want::Chunks, BodyMode::Grpc) => MismatchKind::ChunksOfMessages,
                (Want::Whole(_), BodyMode::Streamed) if !complete && self.length.is_none() => MismatchKind::UnknownEnd,
                (Want::Whole(_) | Want::Messages, BodyMode::BufferedPartial) if !complete && self.length.is_some() => {
                    MismatchKind::Truncated
                }
                _ => continue,
            };
            row.mismatch(stage, W::DIRECTION, self.mode, what)?;
        }
        Ok(())
    }

    /// Whether bytes of the body were taken from the data plane that it has not got back.
    pub(super) fn has_taken(&self) -> bool {
        self.taken && !matches!(self.body, Payload::Absent)
    }

    /// Takes the trailers.
    pub(super) async fn on_trailers<R: Run>(
        &mut self,
        row: &mut Row<R>,
        session: &mut Session,
        trailers: Headers,
    ) -> Result<(), Outcome> {
        let mode = session.body_mode(W::DIRECTION).unwrap_or_default();
        self.mode = mode;
        self.ensure_head(row);
        let collecting = matches!(self.body, Payload::Incoming(_) | Payload::Growing(_));
        let mut trailers = Trailers::new(trailers);
        trailers.set_facts(&row.facts);
        let mut trailers = Some(trailers);
        if collecting && row.collects_any(W::DIRECTION) {
            self.trailers = trailers.take().map(Arc::new);
        }
        if self.replaced {
            self.emit(row, session, false)?;
        } else if collecting && mode == BodyMode::Grpc && (self.wants_body(row) || self.holds_messages()) {
            self.gone = !session.is_observing();
            self.end_messages(row, session).await?;
        } else if collecting && mode != BodyMode::None && self.wants_body(row) {
            let held = self.unanswered > 0;
            if self.has_taken() && !session.is_observing() {
                // Shorter than its length said. The chunks were answered, and no answer is left to carry the output.
                let stage = self.next_whole(row).map_or(0, |position| W::stage(position, row.len()));
                return Err(row.fail_body::<W>(stage, Reason::NoAnswerLeft));
            }
            let (output, changed) = self.run_chunk(row, Bytes::new(), true).await?;
            self.cleared |= changed;
            output.into_iter().try_for_each(|data| self.collect(row, data))?;
            // An empty body in the modes that answer it: no answer is left that could carry edits.
            self.gone = !self.deferred && !session.is_observing();
            self.complete(false);
            self.advance(row).await?;
            if std::mem::take(&mut self.deferred) {
                self.answer_head(row, session)?;
            }
            if held {
                self.answer_held(session, 1)?;
                self.answer_body(session, mode)?;
            } else {
                self.flush_before_trailers(row, session, mode)?;
            }
        }
        if let Some(request) = W::share(&mut self.head) {
            row.share(request, self.headed);
        }
        let shown = self.trailers.take().map(Arc::unwrap_or_clone);
        Self::run_trailers(row, session, trailers.or(shown).unwrap_or_default()).await
    }

    /// What phases that ended with a local reply had to say.
    pub(super) fn take_metadata(&mut self) -> Option<DynamicMetadata> {
        self.head.as_mut()?.take_metadata()
    }

    pub(super) fn has_metadata(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.has_metadata())
    }

    /// How many stages have seen the head.
    pub(super) fn headed(&self) -> usize {
        self.headed
    }

    /// The head, given away if no phase of this direction needs it any more.
    pub(super) fn lend_head<R: Run>(&mut self, row: &Row<R>) -> Option<W::Head>
    where
        W::Head: Clone,
    {
        let waits = matches!(self.body, Payload::Incoming(_) | Payload::Growing(_));
        if waits && row.wants(W::DIRECTION) { self.head.clone() } else { self.head.take() }
    }

    /// Whether the body goes on in gRPC messages.
    pub(super) fn is_messages(&self) -> bool {
        self.mode == BodyMode::Grpc
    }

    /// Whether we asked for the body and did not get it.
    pub(super) fn missed_body(&self) -> bool {
        self.asked && !self.seen
    }

    /// Runs header phases up to a stage that keeps the head until the body is there, and body phases of a complete
    /// body behind them.
    async fn advance<R: Run>(&mut self, row: &mut Row<R>) -> Result<(), Outcome> {
        while self.headed < row.len() {
            if self.is_kept(row) {
                return Ok(());
            }
            self.run_bodies(row).await?;
            self.run_head(row).await?;
        }
        self.run_bodies(row).await
    }

    /// Whether the stage that had its header phase last keeps the head.
    fn is_kept<R: Run>(&self, row: &Row<R>) -> bool {
        let waits = matches!(self.body, Payload::Incoming(_) | Payload::Growing(_));
        let Some(position) = self.headed.checked_sub(1) else { return false };
        self.holds && waits && row.collects(W::stage(position, row.len()), W::DIRECTION)
    }

    async fn run_head<R: Run>(&mut self, row: &mut Row<R>) -> Result<(), Outcome> {
        let stage = W::stage(self.headed, row.len());
        self.headed += 1;
        if !row.is_on(stage) {
            return Ok(());
        }
        let mut head = self.head.take().unwrap_or_default();
        W::set_request(&mut head, row.request(stage));
        head.set_facts(&row.facts);
        if row.is_tolerant(stage) {
            head.arm();
        }
        let mut start = Start::new(head, self.last && !self.replaced, row.lend_reach());
        let span = row.record.begin(stage, W::HEADERS, &mut start);
        let mut result = W::on_headers(&mut row.run, stage, &mut start).instrument(span).await;
        row.record.finish();
        if result.is_ok()
            && self.mode == BodyMode::Grpc
            && let Some(reason) = start.replacement.as_ref().and_then(|body| self.no_replacement(row, stage, body))
        {
            row.block(stage, W::HEADERS, Write::ReplaceBody, reason);
            result = Err(Halted::Fail(reason.into()));
        }
        let Start { mut head, replacement, detached, reach, .. } = start;
        let judged = row.judge(stage, W::HEADERS, result, &mut head);
        for (what, reason) in reach.blocked {
            row.block(stage, W::HEADERS, what, reason);
        }
        let asked = reach.asked;
        row.reach.outbox = reach.outbox;
        if matches!(judged, Ok(true)) {
            row.asked(stage, asked);
            if asked.of(W::DIRECTION) == Some(BodyMode::Streamed) {
                // Then the head leaves before the body comes.
                self.holds = false;
            }
        }
        if let (Ok(true), Some(body)) = (&judged, replacement) {
            head.fix_length(body.len());
            head.set_framed(true);
            // Changed: behind a stage that collects, the headers are answered and the body's answer carries it.
            let mut replaced = Body::default();
            replaced.replace(body);
            self.body = Payload::Complete(replaced);
            self.bodied = self.headed;
            self.replaced = true;
        }
        self.head = Some(head);
        if judged? && detached {
            row.detach(stage);
        }
        Ok(())
    }

    /// Why a body cannot be put in place of messages, if it cannot: the data plane takes it message by message, in place
    /// of those that come.
    fn no_replacement<R: Run>(&self, row: &Row<R>, stage: usize, body: &Bytes) -> Option<Reason> {
        let takes = matches!(row.want(stage, W::DIRECTION), Want::Whole(_) | Want::Messages);
        if self.last || !takes {
            return Some(Reason::NoReplace(self.mode));
        }
        Deframer::messages(body.clone()).is_none().then_some(Reason::NotMessages)
    }

    /// Runs the body phases of a complete body, of the stages that have had their header phase.
    async fn run_bodies<R: Run>(&mut self, row: &mut Row<R>) -> Result<(), Outcome> {
        while self.bodied < self.headed {
            let Payload::Complete(body) = &mut self.body else { return Ok(()) };
            let stage = W::stage(self.bodied, row.len());
            self.bodied += 1;
            match row.want(stage, W::DIRECTION) {
                Want::Nothing => continue,
                Want::Whole(limit) if body.len() > limit => return Err(row.overflow::<W>(stage, limit)),
                Want::Whole(_) | Want::Chunks | Want::Messages => {}
            }
            let truncated = body.truncated();
            let piece = Piece::new(body.bytes().clone(), true, truncated);
            let output = self.run_body(row, stage, piece).await?;
            if let Output::Pieces(pieces) = output
                && let Payload::Complete(body) = &mut self.body
            {
                body.replace(joined(pieces));
            }
            if let (Payload::Complete(body), Some(head), false) = (&self.body, &mut self.head, self.gone)
                && body.is_changed()
            {
                if truncated { head.drop_length() } else { head.fix_length(body.len()) }
            }
        }
        Ok(())
    }

    /// Runs a chunk through the stages in front of the one that collects, if one does. Gives what they put out, and
    /// whether that is anything else than the chunk.
    async fn run_chunk<R: Run>(
        &mut self,
        row: &mut Row<R>,
        data: Bytes,
        last: bool,
    ) -> Result<(Vec<Bytes>, bool), Outcome> {
        let end = self.next_whole(row).unwrap_or(row.len());
        let mut pieces = vec![data];
        let mut changed = false;
        for position in self.bodied..end {
            let stage = W::stage(position, row.len());
            if !row.want(stage, W::DIRECTION).is_piecewise() {
                continue;
            }
            if last && pieces.is_empty() {
                pieces.push(Bytes::new());
            }
            let count = pieces.len();
            let mut output = Vec::with_capacity(count);
            for (index, data) in pieces.into_iter().enumerate() {
                let last = last && index + 1 == count;
                let is_on = row.want(stage, W::DIRECTION).is_piecewise();
                if !is_on || (data.is_empty() && !last) {
                    output.push(data);
                    continue;
                }
                match self.run_body(row, stage, Piece::new(data.clone(), last, false)).await? {
                    Output::Same | Output::Messages(_) => output.push(data),
                    Output::Pieces(pieces) => {
                        changed = true;
                        output.extend(pieces);
                    }
                }
            }
            pieces = output;
        }
        if last {
            self.bodied = end;
        }
        Ok((pieces, changed))
    }

    /// Runs the header phases on the head of a reply that is streamed. Gives the body that a stage put in its place.
    pub(super) async fn cross_head<R: Run>(
        &mut self,
        row: &mut Row<R>,
        headers: Headers,
    ) -> Result<Option<Bytes>, Outcome> {
        self.head = Some(W::head(headers, false));
        self.body = Payload::Incoming(Bytes::new());
        self.advance(row).await?;
        self.gone = true;
        Ok(match &self.body {
            Payload::Complete(body) => Some(body.bytes().clone()),
            Payload::Absent | Payload::Incoming(_) | Payload::Growing(_) => None,
        })
    }

    /// Runs the body phases on a piece of a reply that is streamed.
    pub(super) async fn cross_piece<R: Run>(
        &mut self,
        row: &mut Row<R>,
        piece: Bytes,
        last: bool,
    ) -> Result<Vec<Bytes>, Outcome> {
        Ok(self.run_chunk(row, piece, last).await?.0)
    }

    /// Runs one stage's body handler on a piece.
    pub(super) async fn run_body<R: Run>(
        &mut self,
        row: &mut Row<R>,
        stage: usize,
        mut piece: Piece,
    ) -> Result<Output, Outcome> {
        let mut head = self.head.take().unwrap_or_default();
        W::set_request(&mut head, row.request(stage));
        head.set_facts(&row.facts);
        if row.is_tolerant(stage) {
            head.arm();
        }
        piece.trailers.clone_from(&self.trailers);
        let span = row.record.begin(stage, W::BODY, &mut head);
        let mut result = W::on_body(&mut row.run, stage, &mut head, &mut piece).instrument(span).await;
        row.record.finish();
        if result.is_ok() && self.gone && head.has_edits() {
            row.block(stage, W::BODY, Write::Header, Reason::HeadGone(self.mode));
            result = Err(Halted::Fail(Reason::HeadGone(self.mode).into()));
        }
        if self.gone && W::take_clear_route(&mut head) {
            row.block(stage, W::BODY, Write::ClearRoute, Reason::HeadGone(self.mode));
        }
        let judged = row.judge(stage, W::BODY, result, &mut head);
        self.head = Some(head);
        Ok(match (judged?, piece.fallback) {
            (true, _) => piece.out,
            (false, Some(data)) => Output::Pieces(vec![data]),
            (false, None) => Output::Same,
        })
    }

    async fn run_trailers<R: Run>(row: &mut Row<R>, session: &mut Session, trailers: Trailers) -> Result<(), Outcome> {
        let trailers = Self::cross_trailers(row, session, trailers).await?;
        Self::answer_trailers(session, trailers)
    }

    /// Runs the stages' trailer phases.
    pub(super) async fn cross_trailers<R: Run>(
        row: &mut Row<R>,
        session: &mut Session,
        mut trailers: Trailers,
    ) -> Result<Trailers, Outcome> {
        for position in 0..row.len() {
            let stage = W::stage(position, row.len());
            if !row.is_on(stage) {
                continue;
            }
            trailers.set_request(row.request(stage));
            trailers.set_facts(&row.facts);
            if row.is_tolerant(stage) {
                trailers.arm();
            }
            let span = row.record.begin(stage, W::TRAILERS, &mut trailers);
            let result = W::on_trailers(&mut row.run, stage, &mut trailers).instrument(span).await;
            row.record.finish();
            let judged = row.judge(stage, W::TRAILERS, result, &mut trailers);
            if let Some(metadata) = trailers.take_metadata() {
                session.annotate(metadata);
            }
            judged?;
        }
        Ok(trailers)
    }

    /// With the header phase skipped by the data plane, body handlers get a head that has nothing in it yet.
    fn ensure_head<R: Run>(&mut self, row: &Row<R>) {
        let awaited = self.headed == 0 && self.head.is_none();
        if awaited {
            self.head = Some(W::head(Headers::new(), false));
            self.headed = row.len();
            self.body = Payload::Incoming(Bytes::new());
        } else if self.head.is_none() {
            // It was shared with the response; a body handler reads a copy.
            self.head = row.copy_head::<W>();
        }
    }

    pub(super) fn wants_body<R: Run>(&self, row: &Row<R>) -> bool {
        let mut stages = (self.bodied..row.len()).map(|position| W::stage(position, row.len()));
        !self.upgraded && stages.any(|stage| row.want(stage, W::DIRECTION) != Want::Nothing)
    }

    fn collect<R: Run>(&mut self, row: &Row<R>, data: Bytes) -> Result<(), Outcome> {
        self.body = match std::mem::take(&mut self.body) {
            Payload::Absent => Payload::Incoming(data),
            Payload::Incoming(first) if first.is_empty() => Payload::Incoming(data),
            Payload::Incoming(first) => {
                let mut all = BytesMut::with_capacity(first.len() + data.len());
                all.extend_from_slice(&first);
                all.extend_from_slice(&data);
                Payload::Growing(all)
            }
            Payload::Growing(mut all) => {
                all.extend_from_slice(&data);
                Payload::Growing(all)
            }
            // Not reachable: a complete body is answered and nothing is collected behind it.
            Payload::Complete(body) => Payload::Complete(body),
        };
        let collected = match &self.body {
            Payload::Incoming(data) => data.len(),
            Payload::Growing(all) => all.len(),
            Payload::Absent | Payload::Complete(_) => 0,
        };
        let Some(position) = self.next_whole(row) else { return Ok(()) };
        let stage = W::stage(position, row.len());
        match row.want(stage, W::DIRECTION) {
            Want::Whole(limit) if collected > limit => Err(row.overflow::<W>(stage, limit)),
            _ => Ok(()),
        }
    }

    fn complete(&mut self, truncated: bool) {
        let data = match std::mem::take(&mut self.body) {
            Payload::Absent => Bytes::new(),
            Payload::Incoming(data) => data,
            Payload::Growing(all) => all.freeze(),
            Payload::Complete(body) => body.into_bytes(),
        };
        self.body = Payload::Complete(Body::new(data, truncated));
    }

    /// The position of the stage that the collected body is for.
    fn next_whole<R: Run>(&self, row: &Row<R>) -> Option<usize> {
        (self.bodied..row.len()).find(|p| row.collects(W::stage(*p, row.len()), W::DIRECTION))
    }
}
