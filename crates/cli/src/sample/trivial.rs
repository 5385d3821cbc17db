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

#[cfg(test)]
mod tests {
    use extproc::testing::Script;

    use super::*;

    #[tokio::test]
    async fn the_id_is_copied_both_ways_if_there_is_one() {
        for (id, copied) in [(Some(("x-request-id", "7")), " x-extra-request-id=7"), (None, "")] {
            let script = Script::new().request_only(id).response_only([(":status", "200")]);
            let expected = [format!("request_headers{copied}"), format!("response_headers{copied}")];
            assert_eq!(script.run(Trivial).await.lines(), expected, "{id:?}");
        }
    }

    #[tokio::test]
    async fn a_response_alone_has_no_id() {
        let script = Script::new().response_only([("x-request-id", "7")]);
        assert_eq!(script.run(Trivial).await.lines(), ["response_headers"]);
    }
}
