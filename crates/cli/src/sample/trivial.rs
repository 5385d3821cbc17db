//! `trivial`: copies the request's id to another header, on the request and on its response.

use extproc::{Open, Processor, RequestHead, ResponseHead, Skip, Start, Stop};

const ID: &str = "x-extra-request-id";

#[derive(Debug)]
pub(crate) struct Trivial;

impl Processor for Trivial {
    /// The request's id.
    type Ctx = Option<String>;
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn name(&self) -> &'static str {
        "TrivialExtProcService"
    }

    fn open(&self, _: &Open) -> Option<String> {
        None
    }

    async fn request_headers(&self, id: &mut Option<String>, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        *id = req.request_id().map(str::to_owned);
        if let Some(id) = id {
            req.set(ID, id.as_str());
        }
        Ok(())
    }

    async fn response_headers(&self, id: &mut Option<String>, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if let Some(id) = id {
            rsp.set(ID, id.as_str());
        }
        Ok(())
    }
}
