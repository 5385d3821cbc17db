//! `echo`: answers the client with its own request, when asked to.

use extproc::{LocalReply, Open, Processor, Request, RequestHead, Skip, Start, Stop, Whole, WholeIo};
use extproc_core::Headers;

use super::BODY_LIMIT;

/// Answers requests that have a body and `x-echo-only: true` (or t, T, True, y, Y, yes, Yes).
#[derive(Debug)]
pub(crate) struct Echo;

impl Processor for Echo {
    /// The request's headers, without pseudo headers, as they came.
    type Ctx = Headers;
    type RequestBody = Whole<BODY_LIMIT>;
    type ResponseBody = Skip;

    fn name(&self) -> &'static str {
        "EchoExtProcService"
    }

    fn open(&self, _: &Open) -> Headers {
        Headers::new()
    }

    async fn request_headers(&self, headers: &mut Headers, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        *headers = req.headers().iter().filter(|(name, _)| !name.is_pseudo()).cloned().collect();
        Ok(())
    }

    async fn request_body(&self, headers: &mut Headers, io: &mut WholeIo<Request>) -> Result<(), Stop> {
        if !headers.get_str("x-echo-only").is_some_and(super::is_on) {
            return Ok(());
        }
        let reply = LocalReply::new(200).body(io.body.bytes().clone()).details("echo_only");
        // The framing is the data plane's; LocalReply leaves it out.
        Err(headers.iter().fold(reply, |reply, (name, value)| reply.header(name.clone(), value.clone())).into())
    }
}
