//! `idempotency`: a request that comes again under its `idempotency-key` gets the response of the first.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc::{
    Abort, ChunkIo, End, LocalReply, Name, Open, Processor, Request, RequestHead, Response, ResponseHead, Start, Stop,
    Stream, Value, Whole, WholeIo,
};

use super::BODY_LIMIT;
use super::dedup::{Identity, identity};
use super::expiring::{Expiring, Ticket};
use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

const KEY: &str = "idempotency-key";
/// Of one connection or one client, not part of what was done.
const NOT_KEPT: [&str; 5] = ["connection", "content-length", "date", "set-cookie", "transfer-encoding"];

/// Remembers responses to POST and PATCH by client, path and key: 409 while the first is under way, 422 for another
/// request under the same key. Responses of 500 and above are not kept: the client may try again.
#[derive(Debug)]
pub(crate) struct Idempotency {
    client: String,
    longest: usize,
    known: Mutex<Expiring<Identity, Known>>,
}

#[derive(Debug)]
struct Known {
    /// What the key was used for.
    request: Identity,
    /// `None` while it is under way.
    response: Option<Kept>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    status: u16,
    headers: Vec<(Name, Value)>,
    body: Vec<u8>,
}

/// The place of an exchange that is the first under its key.
#[derive(Debug, Default)]
pub(crate) struct Ctx {
    place: Option<(Identity, Ticket)>,
    request: Identity,
    kept: Option<Kept>,
}

impl Idempotency {
    pub(super) const KEYS: &[Key] = &[
        key("client", "NAME [default: authorization]", "the header that tells clients apart"),
        key("limit", "NUMBER [default: 1000]", "how many responses are kept; the oldest are forgotten first"),
        key("ttl", "TIME [default: 10m]", "how long a response is kept"),
        key("max-body", "BYTES [default: 65536]", "responses with longer bodies are not kept"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let limit = settings.get("limit")?.unwrap_or(1000);
        let ttl = settings.duration("ttl", Duration::from_secs(600))?;
        Ok(Self {
            client: settings.text("client")?.unwrap_or("authorization").to_owned(),
            longest: settings.get("max-body")?.unwrap_or(64 << 10),
            known: Mutex::new(Expiring::new(limit, ttl)),
        })
    }

    fn known(&self) -> MutexGuard<'_, Expiring<Identity, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what is known; the first under its key goes on.
    fn enter(&self, ctx: &mut Ctx, req: &RequestHead, body: &Bytes) -> Result<(), Stop> {
        let Some(key) = req.header_bytes(KEY).filter(|_| matches!(req.method(), "POST" | "PATCH")) else {
            return Ok(());
        };
        if key.is_empty() || key.len() > 255 {
            return Err(LocalReply::bad_request().body("idempotency-key must have 1 to 255 characters").into());
        }
        let place = identity(req, &self.client, key);
        let request = identity(req, "content-type", body);
        let (mut known, now) = (self.known(), Instant::now());
        match known.get(now, &place) {
            Some(first) if first.request != request => Err(LocalReply::new(422)
                .body("idempotency-key was used for another request")
                .details("key_reused")
                .into()),
            Some(Known { response: None, .. }) => {
                Err(LocalReply::new(409).header("retry-after", 1).details("still_under_way").into())
            }
            Some(Known { response: Some(kept), .. }) => {
                let reply = LocalReply::new(kept.status).body(kept.body.clone()).details("replayed");
                let reply = kept.headers.iter().fold(reply, |reply, (name, value)| reply.header(name, value));
                Err(reply.header("idempotent-replayed", "true").into())
            }
            None => {
                let ticket = known.insert(now, place, Known { request, response: None });
                (ctx.place, ctx.request) = (Some((place, ticket)), request);
                Ok(())
            }
        }
    }

    /// The response is complete.
    fn keep(&self, ctx: &mut Ctx) {
        if let (Some(kept), Some((place, _))) = (ctx.kept.take(), ctx.place.take()) {
            self.known().insert(Instant::now(), place, Known { request: ctx.request, response: Some(kept) });
        }
    }
}

impl Processor for Idempotency {
    type Ctx = Ctx;
    type RequestBody = Whole<BODY_LIMIT>;
    /// Looked at as it passes: the client does not wait for it to be complete.
    type ResponseBody = Stream;

    fn open(&self, _: &Open) -> Ctx {
        Ctx::default()
    }

    async fn request_headers(&self, ctx: &mut Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if req.is_last() { self.enter(ctx, req, &Bytes::new()) } else { Ok(()) }
    }

    async fn request_body(&self, ctx: &mut Ctx, io: &mut WholeIo<Request>) -> Result<(), Stop> {
        self.enter(ctx, &io.head, io.body.bytes())
    }

    async fn response_headers(&self, ctx: &mut Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if ctx.place.is_some() && (200..500).contains(&rsp.status()) {
            let kept = |(name, _): &&(Name, Value)| !name.is_pseudo() && !NOT_KEPT.contains(&name.as_str());
            let headers = rsp.headers().iter().filter(kept).cloned().collect();
            ctx.kept = Some(Kept { status: rsp.status(), headers, body: Vec::new() });
            if rsp.is_last() {
                self.keep(ctx);
            }
        }
        Ok(())
    }

    async fn response_body(&self, ctx: &mut Ctx, io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        io.out.pass();
        if let Some(kept) = &mut ctx.kept {
            kept.body.extend_from_slice(&io.data);
            if kept.body.len() > self.longest || io.truncated() {
                ctx.kept = None;
            } else if io.last {
                self.keep(ctx);
            }
        }
        Ok(())
    }

    /// What was not kept may be tried again.
    fn close(&self, ctx: Ctx, _: End) {
        if let Some((place, ticket)) = ctx.place {
            self.known().remove(&place, ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::*;

    /// A POST with its response.
    fn post(key: &str, user: &str, body: &'static str, status: &str) -> Script {
        let headers = [(":method", "POST"), (":path", "/pay"), ("authorization", user), (KEY, key)];
        let response = [(":status", status), ("x-id", "7"), ("set-cookie", "a=1")];
        let script = Script::new().modes(BodyMode::Buffered, BodyMode::Streamed).request_headers(headers);
        let script = script.request_body(body, true).response_headers(response);
        script.response_body("do", false).response_body("ne", true)
    }

    const PASSED: usize = 5;

    #[tokio::test]
    async fn the_first_response_is_given_again() {
        let sample = Arc::new(Idempotency::new(&Settings::test(&["max-body=4"])).expect("valid"));
        let replayed = r#"immediate 201 x-id=7 idempotent-replayed=true body="done" details=replayed"#;
        let reused = r#"immediate 422 body="idempotency-key was used for another request" details=key_reused"#;
        for (key, user, body, status, second) in [
            ("1", "ann", "5", "503", None),
            ("1", "ann", "5", "201", None),
            ("1", "ann", "5", "200", Some(replayed)),
            ("1", "ann", "6", "200", Some(reused)),
            ("1", "bob", "6", "200", None),
            ("2", "ann", "5", "200", None),
        ] {
            let lines = post(key, user, body, status).run_shared(&sample).await.lines();
            match second {
                None => assert_eq!(lines.len(), PASSED, "{key} {user} {body}: {lines:?}"),
                Some(second) => assert_eq!(lines.last().map(String::as_str), Some(second), "{key} {user} {body}"),
            }
        }
    }

    #[tokio::test]
    async fn what_is_too_long_or_without_a_key_is_not_kept() {
        let sample = Arc::new(Idempotency::new(&Settings::test(&["max-body=3"])).expect("valid"));
        for _ in 0..2 {
            assert_eq!(post("1", "ann", "5", "200").run_shared(&sample).await.lines().len(), PASSED);
            let get = Script::new().request_only([(":method", "GET"), (KEY, "1")]).response_only([(":status", "204")]);
            assert_eq!(get.run_shared(&sample).await.lines().len(), 2);
        }
        assert!(post("", "ann", "5", "200").run_shared(&sample).await.lines()[1].starts_with("immediate 400"));
    }

    #[tokio::test]
    async fn while_it_is_under_way_the_second_waits() {
        let sample = Arc::new(Idempotency::new(&Settings::test(&[])).expect("valid"));
        let headers = [(":method", "POST"), (":path", "/pay"), ("authorization", "ann"), (KEY, "1")];
        let place = Script::new().modes(BodyMode::Buffered, BodyMode::Streamed).request_headers(headers);
        let first = place.clone().request_body("5", true);
        let mut stream = extproc::testing::InMemory::new(&sample);
        let mut replies = extproc_core::pair::Replies::default();
        for message in first.messages() {
            extproc_core::pair::Processor::message(&mut stream, message, &mut replies);
        }
        let lines = first.run_shared(&sample).await.lines();
        assert_eq!(lines.last().map(String::as_str), Some("immediate 409 retry-after=1 details=still_under_way"));
        drop(stream);
        assert_eq!(first.run_shared(&sample).await.lines().last().map(String::as_str), Some("request_body"));
    }
}
