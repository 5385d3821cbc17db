//! A local reply whose body is written while the client takes it.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use extproc_core::Headers;
use extproc_core::headers::{Name, Value};
use tokio::select;

use super::{Exchange, Failure, Outbox, Outcome, share_request};
use crate::blocked::{Reason, Write};
use crate::body::Want;
use crate::head::Reach;
use crate::local_reply::{ReplyStream, Running};
use crate::stages::{Run, isolate};
use crate::stop::Halted;
use crate::telemetry::{FailureKind, Limit};
use crate::{LocalReply, LocalReplyScope, Response, Trailers};

use super::way::Way;

/// What is collected at most of a reply that cannot be streamed, in bytes.
const COLLECTED: usize = 1 << 20;

impl<R: Run> Exchange<R> {
    /// Streams a reply where the data plane and the chain can take it, else sends it when it is whole.
    pub(super) async fn stream(
        &mut self,
        by: usize,
        mut reply: LocalReply,
        stream: ReplyStream,
        out: &Outbox,
    ) -> Result<(), Outcome> {
        if let Some(reason) = self.why_collected(by, &reply) {
            reply = reply.body(self.collect(by, stream, reason).await?);
            return self.reply(by, reply).await;
        }
        let running = self.start(by, stream)?;
        let crossing = self.crossing(by);
        for stage in 0..self.row.len() {
            // Their part is over; those that are left see the reply go by.
            if !crossing.contains(&stage) {
                self.row.detach(stage);
            }
        }
        let Some(head) = self.cross_head(by, &reply).await? else { return Ok(()) };
        for _ in 0..reply.left_out() {
            self.row.block(by, self.row.record.phase(), Write::ReplyHeader, Reason::InvalidHeader);
        }
        self.row.record.local_reply(by, reply.status(), reply.reason());
        self.session.stream_reply(head.0, head.1, false).map_err(|misuse| Outcome::Fail(Failure::Misuse(misuse)))?;
        self.flush(out).await;
        // From here on a failure can only cut the reply, which the end of the stream does.
        self.write(by, running, out).await.map_err(|outcome| match outcome {
            Outcome::Fail(failure) => Outcome::Fail(failure),
            Outcome::Reply { by, .. } => self.stage_failure(by),
            Outcome::Cut => self.stage_failure(by),
        })
    }

    /// The stages whose response phases the reply passes.
    fn crossing(&self, by: usize) -> Vec<usize> {
        let count = match self.row.settings.scope {
            LocalReplyScope::All => self.row.len(),
            LocalReplyScope::Earlier => by,
        };
        let begun = self.response.headed() > 0;
        (0..count).filter(|stage| !begun && *stage != by && self.row.is_on(*stage)).collect()
    }

    /// Why the reply cannot be streamed, if it cannot.
    fn why_collected(&self, by: usize, reply: &LocalReply) -> Option<Reason> {
        if !self.session.may_stream_reply() {
            return Some(Reason::NotStreamed);
        }
        if self.request.head.as_ref().is_some_and(|head| head.is_grpc()) {
            return Some(Reason::GrpcClient);
        }
        let repeats = |(index, (name, _)): (usize, &(Name, Value))| {
            reply.headers()[..index].iter().any(|(earlier, _)| earlier == name)
        };
        if reply.headers().iter().enumerate().any(repeats) {
            return Some(Reason::RepeatedHeader);
        }
        let collects =
            |stage: &usize| matches!(self.row.want(*stage, Response::DIRECTION), Want::Whole(_) | Want::Messages);
        self.crossing(by).iter().any(collects).then_some(Reason::CollectedInChain)
    }

    /// The reply with its whole body, for a way that takes no other.
    pub(super) async fn whole(&mut self, by: usize, mut reply: LocalReply) -> Result<LocalReply, Outcome> {
        let Some(stream) = reply.take_stream() else { return Ok(reply) };
        let body = self.collect(by, stream, Reason::NotStreamed).await?;
        Ok(reply.body(body))
    }

    fn start(&self, by: usize, stream: ReplyStream) -> Result<Running, Outcome> {
        stream.start().ok_or_else(|| {
            self.row.record.failed(by, FailureKind::Error, &"a streamed reply can be sent once");
            self.stage_failure(by)
        })
    }

    /// The whole body, up to a limit. Trailers are lost.
    #[expect(clippy::needless_pass_by_ref_mut, reason = "shared, it would need stages that are `Sync`")]
    async fn collect(&mut self, by: usize, stream: ReplyStream, reason: Reason) -> Result<Bytes, Outcome> {
        self.row.block(by, self.row.record.phase(), Write::ReplyStream, reason);
        let mut running = self.start(by, stream)?;
        let mut body = BytesMut::new();
        let mut done = None;
        while let Some(piece) = next(&mut running, &mut done).await {
            if body.len() + piece.len() > COLLECTED {
                self.row.record.limit(by, Limit::Body);
                let text = format!("a reply that cannot be streamed is longer than {COLLECTED} bytes");
                self.row.record.failed(by, FailureKind::BodyTooLong, &text);
                return Err(self.stage_failure(by));
            }
            body.extend_from_slice(&piece);
        }
        self.judge_writer(by, done)?;
        if !running.take_trailers().is_empty() {
            self.row.block(by, self.row.record.phase(), Write::ReplyTrailer, Reason::NotStreamed);
        }
        Ok(body.freeze())
    }

    /// Shows the head to the other stages. `None`: one of them has replaced the body, or answers itself, and that went out.
    async fn cross_head(
        &mut self,
        by: usize,
        reply: &LocalReply,
    ) -> Result<Option<(u16, Vec<(Name, Value)>)>, Outcome> {
        share_request(&mut self.row, &mut self.request);
        self.row.reach = Reach::default();
        let mut headers = Headers::with_capacity(reply.headers().len() + 2);
        headers.append(Name::from_static(":status"), Value::from(u64::from(reply.status())));
        for (name, value) in reply.headers() {
            headers.append(name.clone(), value.clone());
        }
        if !headers.contains("content-type") {
            headers.append(Name::from_static("content-type"), Value::from_static("text/plain"));
        }
        match self.response.cross_head(&mut self.row, headers).await {
            Ok(None) => {}
            Ok(Some(body)) => {
                let whole = self.response.head.as_ref().map(|head| super::local::reply_of(reply.clone(), head, body));
                if let Some(whole) = whole {
                    self.send_reply(by, whole).map_err(Outcome::Fail)?;
                }
                return Ok(None);
            }
            Err(Outcome::Reply { by, reply }) => {
                let reply = self.whole(by, reply).await?;
                self.send_reply(by, reply).map_err(Outcome::Fail)?;
                return Ok(None);
            }
            Err(outcome) => return Err(outcome),
        }
        let Some(head) = &mut self.response.head else { return Ok(None) };
        if let Some(metadata) = head.take_metadata() {
            self.session.annotate(metadata);
        }
        let framing = |name: &Name| name.is_pseudo() || matches!(name.as_str(), "content-length" | "transfer-encoding");
        let fields = head.headers().iter().filter(|(name, _)| !framing(name)).cloned().collect();
        let told = (head.status(), fields);
        // It has left with its edits: from here on they would be lost.
        *head = Response::head(head.headers().clone(), false);
        Ok(Some(told))
    }

    async fn write(&mut self, by: usize, mut running: Running, out: &Outbox) -> Result<(), Outcome> {
        let mut done = None;
        while let Some(piece) = next(&mut running, &mut done).await {
            for data in self.response.cross_piece(&mut self.row, piece, false).await? {
                self.put_piece(data, false)?;
            }
            self.flush(out).await;
        }
        self.judge_writer(by, done)?;
        let rest = self.response.cross_piece(&mut self.row, Bytes::new(), true).await?;
        let trailers = running.take_trailers();
        for data in rest {
            self.put_piece(data, false)?;
        }
        if trailers.is_empty() {
            return self.put_piece(Bytes::new(), true);
        }
        let trailers = super::flow::Flow::<Response>::cross_trailers(
            &mut self.row,
            &mut self.session,
            Trailers::new(trailers.into_iter().collect()),
        )
        .await?;
        let trailers = trailers.headers().iter().cloned().collect();
        self.session.stream_reply_trailers(trailers).map_err(|misuse| Outcome::Fail(Failure::Misuse(misuse)))
    }

    fn put_piece(&mut self, data: Bytes, end: bool) -> Result<(), Outcome> {
        if data.is_empty() && !end {
            return Ok(());
        }
        self.session.stream_reply_body(data, end).map_err(|misuse| Outcome::Fail(Failure::Misuse(misuse)))
    }

    /// Sends what there is, and waits until it is taken.
    async fn flush(&mut self, out: &Outbox) {
        self.put_out(out);
        out.drained().await;
    }

    fn judge_writer(&self, by: usize, done: Option<Result<(), Halted>>) -> Result<(), Outcome> {
        match done {
            Some(Err(Halted::Panic(text))) => self.row.record.failed(by, FailureKind::Panic, &text),
            Some(Err(Halted::Fail(error))) => self.row.record.handler_failed(by, &error),
            Some(Ok(()) | Err(Halted::Reply(_) | Halted::Reset)) | None => return Ok(()),
        }
        Err(self.stage_failure(by))
    }

    fn stage_failure(&self, by: usize) -> Outcome {
        Outcome::Fail(Failure::Stage(self.row.run.name(by).to_owned()))
    }
}

/// The next piece; `None` when the writer is done, or has failed, which `done` tells.
async fn next(running: &mut Running, done: &mut Option<Result<(), Halted>>) -> Option<Bytes> {
    let Running { writing, pieces, .. } = running;
    loop {
        if matches!(done, Some(Err(_))) {
            // What it wrote before it failed is part of the reply.
            return pieces.try_recv().ok();
        }
        let mut writing = Pin::new(&mut *writing);
        select! {
            biased;
            piece = pieces.recv() => {
                if piece.is_none() && done.is_none() {
                    // It may let go of the writer before it is done.
                    *done = Some(isolate(async { writing.as_mut().await.map_err(Halted::Fail) }).await);
                }
                return piece;
            }
            result = isolate(async { writing.as_mut().await.map_err(Halted::Fail) }), if done.is_none() => {
                *done = Some(result);
            }
        }
    }
}
