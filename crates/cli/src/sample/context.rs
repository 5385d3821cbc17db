//! `context`: keeps what the request said until its response.

use bytes::Bytes;
use extproc::{Open, Processor, Request, RequestHead, Response, Start, Stop, Whole, WholeIo};

use super::BODY_LIMIT;

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
