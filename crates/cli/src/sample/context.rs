//! `context`: keeps what the request said until its response.

use bytes::Bytes;
use extproc::{Open, Processor, Request, RequestHead, Response, Start, Stop, Whole, WholeIo};

use super::BODY_LIMIT;
use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

const ID: &str = "x-context-id";

/// Checks that an exchange keeps its own state: the request's body must be the id of its header, and the upstream must
/// answer with the request's path; then the response gets the id.
#[derive(Debug, Default)]
pub(crate) struct Context {
    /// Send the header on, empty, also when there is none, as the Python SDK's example does.
    pub(crate) always: bool,
}

/// One exchange.
#[derive(Debug, Default)]
pub(crate) struct Ctx {
    /// A request may have a header without a value: that counts as none.
    id: Option<Bytes>,
    path: String,
}

impl Context {
    pub(super) const KEYS: &[Key] =
        &[key("always", "true [default: false]", "send x-context-id on also when the client did not, empty")];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        Ok(Self { always: settings.get("always")?.unwrap_or(false) })
    }
}

impl Processor for Context {
    type Ctx = Ctx;
    type RequestBody = Whole<BODY_LIMIT>;
    type ResponseBody = Whole<BODY_LIMIT>;

    fn name(&self) -> &'static str {
        "CtxExtProcService"
    }

    fn open(&self, _: &Open) -> Ctx {
        Ctx::default()
    }

    async fn request_headers(&self, ctx: &mut Ctx, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        ctx.id = req.header_bytes(ID).filter(|id| !id.is_empty()).map(Bytes::copy_from_slice);
        req.path().clone_into(&mut ctx.path);
        match &ctx.id {
            Some(id) => req.set(ID, id.clone()),
            None if self.always => req.set(ID, ""),
            None => {}
        }
        Ok(())
    }

    async fn request_body(&self, ctx: &mut Ctx, io: &mut WholeIo<Request>) -> Result<(), Stop> {
        match &ctx.id {
            Some(id) if id != io.body.bytes() => Err("the request's body is not the id of x-context-id".into()),
            _ => Ok(()),
        }
    }

    async fn response_body(&self, ctx: &mut Ctx, io: &mut WholeIo<Response>) -> Result<(), Stop> {
        let Some(id) = &ctx.id else { return Ok(()) };
        let view: serde_json::Value = serde_json::from_slice(io.body.bytes())?;
        if view["path"] != ctx.path.as_str() {
            return Err("the response's path is not the request's".into());
        }
        io.head.set(ID, id.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::*;

    /// An exchange with these header, request body and response body.
    fn script(id: Option<&'static str>, sent: &'static str, answer: &'static str) -> Script {
        let headers = [(":method", "POST"), (":path", "/a?b")].into_iter().chain(id.map(|id| (ID, id)));
        Script::new()
            .modes(BodyMode::Buffered, BodyMode::Buffered)
            .request_headers(headers)
            .request_body(sent, true)
            .response_headers([(":status", "200")])
            .response_body(answer, true)
    }

    const ANSWER: &str = r#"{"path": "/a?b"}"#;

    #[tokio::test]
    async fn the_id_comes_back() {
        let expected =
            ["request_headers x-context-id=abc", "request_body", "response_headers", "response_body x-context-id=abc"];
        assert_eq!(script(Some("abc"), "abc", ANSWER).run(Context::default()).await.lines(), expected);
    }

    #[tokio::test]
    async fn what_does_not_fit_fails_the_stream() {
        for (sent, answer, replies) in
            [("other", ANSWER, 1), ("abc", r#"{"path": "/other"}"#, 3), ("abc", "no JSON", 3), ("abc", "[]", 3)]
        {
            let transcript = script(Some("abc"), sent, answer).run(Context::default()).await;
            assert_eq!((transcript.replies.len(), transcript.status.is_err()), (replies, true), "{sent} {answer}");
        }
    }

    #[tokio::test]
    async fn without_an_id_everything_passes() {
        for (id, always, first) in [
            (None, false, "request_headers"),
            (None, true, "request_headers x-context-id="),
            (Some(""), false, "request_headers"),
        ] {
            let lines = script(id, "any", "any").run(Context { always }).await.lines();
            assert_eq!(lines, [first, "request_body", "response_headers", "response_body"], "{id:?} {always}");
        }
    }
}
