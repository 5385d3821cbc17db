//! `dedup`: refuses a request while an identical one is under way.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use extproc::{End, LocalReply, Open, Processor, Request, RequestHead, Skip, Start, Stop, Whole, WholeIo};
use sha2::{Digest, Sha256};

use super::BODY_LIMIT;
use super::expiring::{Expiring, Ticket};
use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// The digest of what makes a request the same: who asks for what. Never an id that clients or proxies make up.
pub(crate) type Identity = [u8; 32];

/// Answers 409 to a request with the same client, method, host, path and body as one that has no response yet.
#[derive(Debug)]
pub(crate) struct Dedup {
    client: String,
    running: Mutex<Expiring<Identity, ()>>,
}

impl Dedup {
    pub(super) const KEYS: &[Key] = &[
        key("client", "NAME [default: authorization]", "the header that tells clients apart"),
        key("limit", "NUMBER [default: 10000]", "how many requests are remembered; the oldest are forgotten first"),
        key("ttl", "TIME [default: 60s]", "how long a request is remembered at most"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let limit = settings.get("limit")?.unwrap_or(10_000);
        let ttl = settings.duration("ttl", Duration::from_secs(60))?;
        let client = settings.text("client")?.unwrap_or("authorization").to_owned();
        Ok(Self { client, running: Mutex::new(Expiring::new(limit, ttl)) })
    }

    fn enter(&self, place: &mut Option<(Identity, Ticket)>, req: &RequestHead, body: &[u8]) -> Result<(), Stop> {
        // Reading twice does no harm.
        if matches!(req.method(), "GET" | "HEAD" | "OPTIONS") {
            return Ok(());
        }
        let identity = identity(req, &self.client, body);
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if running.get(now, &identity).is_some() {
            return Err(LocalReply::new(409).header("retry-after", 1).details("duplicate_request").into());
        }
        *place = Some((identity, running.insert(now, identity, ())));
        Ok(())
    }
}

impl Processor for Dedup {
    /// The place among those that are under way.
    type Ctx = Option<(Identity, Ticket)>;
    type RequestBody = Whole<BODY_LIMIT>;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) -> Self::Ctx {
        None
    }

    async fn request_headers(&self, place: &mut Self::Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if req.is_last() { self.enter(place, req, b"") } else { Ok(()) }
    }

    async fn request_body(&self, place: &mut Self::Ctx, io: &mut WholeIo<Request>) -> Result<(), Stop> {
        self.enter(place, &io.head, io.body.bytes())
    }

    /// However it ended: nothing stays behind.
    fn close(&self, place: Self::Ctx, _: End) {
        if let Some((identity, ticket)) = place {
            self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&identity, ticket);
        }
    }
}

/// A digest over client, method, host, path and body; each with its length, so that no two can be confused.
pub(super) fn identity(req: &RequestHead, client: &str, body: &[u8]) -> Identity {
    let mut sha = Sha256::new();
    for part in req.header_all(client).chain(["", req.method(), req.authority(), req.path()]) {
        sha.update(part.len().to_be_bytes());
        sha.update(part);
    }
    sha.update(body);
    sha.finalize().into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use extproc::BodyMode;
    use extproc::testing::{InMemory, Script};
    use extproc_core::pair::Processor as _;

    use super::*;

    fn post(path: &str, user: &str, body: &'static str) -> Script {
        let headers = [(":method", "POST"), (":path", path), ("authorization", user)];
        Script::new().modes(BodyMode::Buffered, BodyMode::None).request_headers(headers).request_body(body, true)
    }

    #[tokio::test]
    async fn only_identical_requests_that_are_under_way_are_refused() {
        let dedup = Arc::new(Dedup::new(&Settings::test(&[])).expect("valid"));
        // Under way: its stream stays open.
        let mut first = InMemory::new(&dedup);
        let mut replies = extproc_core::pair::Replies::default();
        for message in post("/a", "ann", "x").messages() {
            first.message(message, &mut replies);
        }
        let refused = "immediate 409 retry-after=1 details=duplicate_request";
        for (path, user, body, last) in [
            ("/a", "ann", "x", refused),
            ("/b", "ann", "x", "request_body"),
            ("/a", "bob", "x", "request_body"),
            ("/a", "ann", "y", "request_body"),
        ] {
            let lines = post(path, user, body).run_shared(&dedup).await.lines();
            assert_eq!(lines.last().map(String::as_str), Some(last), "{path} {user} {body}");
        }
        drop(first);
        assert_eq!(post("/a", "ann", "x").run_shared(&dedup).await.lines().last().expect("one"), "request_body");
    }

    #[tokio::test]
    async fn reading_and_requests_without_a_body() {
        let dedup = Arc::new(Dedup::new(&Settings::test(&[])).expect("valid"));
        let mut open = Vec::new();
        for (method, times) in [("GET", ["request_headers"; 2]), ("DELETE", ["request_headers", "immediate 409"])] {
            for expected in times {
                let mut stream = InMemory::new(&dedup);
                let mut replies = extproc_core::pair::Replies::default();
                let script = Script::new().request_only([(":method", method), (":path", "/a")]);
                stream.message(script.messages().remove(0), &mut replies);
                let refused = format!("{replies:?}").contains("Conflict") || format!("{replies:?}").contains("409");
                assert_eq!(refused, expected.contains("409"), "{method}: {replies:?}");
                open.push(stream);
            }
        }
    }
}
