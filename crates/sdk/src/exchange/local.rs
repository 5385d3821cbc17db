//! A local reply on its way through the response phases of the other stages.

use bytes::Bytes;
use extproc_core::Headers;
use extproc_core::headers::{Name, Value};
use tracing::Instrument;

use super::way::Way;
use super::{Exchange, Outcome, share_request};
use crate::body::{Output, Piece, Want, joined};
use crate::head::Reach;
use crate::stages::Run;
use crate::{LocalReply, LocalReplyScope, Response, ResponseHead, Start};

impl<R: Run> Exchange<R> {
    /// Answers the client, after the response phases of the other stages have seen the reply as a data plane's filters
    /// would. A reply from a response phase goes out directly, as it does there.
    pub(super) async fn reply(&mut self, by: usize, reply: LocalReply) -> Result<(), Outcome> {
        let others = self.row.len() > 1 && self.response.headed() == 0;
        let (by, reply) = if others { self.cross(by, reply).await? } else { (by, reply) };
        // One of the others may have answered with a streamed one.
        let reply = self.whole(by, reply).await?;
        self.send_reply(by, reply).map_err(Outcome::Fail)
    }

    async fn cross(&mut self, by: usize, reply: LocalReply) -> Result<(usize, LocalReply), Outcome> {
        share_request(&mut self.row, &mut self.request);
        let (mut head, mut body) = view(&reply);
        let count = match self.row.settings.scope {
            LocalReplyScope::All => self.row.len(),
            LocalReplyScope::Earlier => by,
        };
        for stage in (0..count).rev().filter(|stage| *stage != by) {
            if !self.row.is_on(stage) {
                continue;
            }
            match self.cross_stage(stage, head, body).await {
                Ok(crossed) => (head, body) = crossed,
                // Envoy sends the reply of a response phase directly.
                Err(Outcome::Reply { by, reply }) => return Ok((by, reply)),
                Err(outcome) => return Err(outcome),
            }
        }
        if let Some(metadata) = head.take_metadata() {
            self.session.annotate(metadata);
        }
        Ok((by, reply_of(reply, &head, body)))
    }

    async fn cross_stage(
        &mut self,
        stage: usize,
        mut head: ResponseHead,
        mut body: Bytes,
    ) -> Result<(ResponseHead, Bytes), Outcome> {
        let row = &mut self.row;
        Response::set_request(&mut head, row.request(stage));
        head.set_facts(&row.facts);
        let tolerant = row.is_tolerant(stage);
        if tolerant {
            head.arm();
        }
        let mut start = Start::new(head, body.is_empty(), Reach::default());
        let span = row.record.begin(stage, Response::HEADERS, &mut start);
        let result = row.run.response_headers(stage, &mut start).instrument(span).await;
        row.record.finish();
        let Start { mut head, replacement, detached, .. } = start;
        if !row.judge(stage, Response::HEADERS, result, &mut head)? {
            return Ok((head, body));
        }
        if let Some(new) = replacement {
            head.fix_length(new.len());
            return Ok((head, new));
        }
        let want = row.want(stage, Response::DIRECTION);
        if want == Want::Nothing || detached || body.is_empty() {
            return Ok((head, body));
        }
        if let Want::Whole(limit) = want
            && body.len() > limit
        {
            return Err(row.overflow::<Response>(stage, limit));
        }
        if tolerant {
            head.arm();
        }
        let mut piece = Piece::new(body.clone(), true, false);
        let span = row.record.begin(stage, Response::BODY, &mut head);
        let result = row.run.response_body(stage, &mut head, &mut piece).instrument(span).await;
        row.record.finish();
        if row.judge(stage, Response::BODY, result, &mut head)?
            && let Output::Pieces(pieces) = piece.out
        {
            body = joined(pieces);
            head.fix_length(body.len());
        }
        Ok((head, body))
    }
}

/// The reply as the data plane would show it to response phases.
fn view(reply: &LocalReply) -> (ResponseHead, Bytes) {
    let body = reply.bytes().clone();
    let mut headers = Headers::with_capacity(reply.headers().len() + 3);
    headers.append(Name::from_static(":status"), Value::from(u64::from(reply.status())));
    for (name, value) in reply.headers() {
        headers.append(name.clone(), value.clone());
    }
    if !body.is_empty() && !headers.contains("content-type") {
        headers.append(Name::from_static("content-type"), Value::from_static("text/plain"));
    }
    headers.append(Name::from_static("content-length"), Value::from(body.len() as u64));
    (Response::head(headers, body.is_empty()), body)
}

pub(super) fn reply_of(reply: LocalReply, head: &ResponseHead, body: Bytes) -> LocalReply {
    let mut reply = reply.body(body);
    reply.set_status(head.status());
    reply.clear_headers();
    for (name, value) in head.headers() {
        reply.copy(name, value);
    }
    reply
}
