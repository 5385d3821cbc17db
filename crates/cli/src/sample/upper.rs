//! `upper`: plain text in capital letters, as it flows.

use extproc::{Abort, ChunkIo, Open, Processor, Request, RequestHead, Response, ResponseHead, Start, Stop, Stream};

/// Changes ASCII letters of text bodies in both directions. Holds nothing: works on bodies without end.
#[derive(Debug)]
pub(crate) struct Upper;

impl Processor for Upper {
    type Ctx = ();
    type RequestBody = Stream;
    type ResponseBody = Stream;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if !req.is_last() && is_text(req.content_type(), req.header("content-encoding")) {
            req.set("x-upper", "request");
        }
        Ok(())
    }

    async fn request_body(&self, _: &mut (), io: &mut ChunkIo<Request>) -> Result<(), Stop> {
        if is_text(io.head().content_type(), io.head().header("content-encoding")) {
            let loud = io.data.to_ascii_uppercase();
            io.out.push(loud);
        } else {
            io.out.pass();
        }
        Ok(())
    }

    async fn response_headers(&self, _: &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if !rsp.is_last() && is_text(rsp.content_type(), rsp.header("content-encoding")) {
            // What validates the original does not validate this.
            rsp.remove("etag");
            rsp.set("x-upper", "response");
        }
        Ok(())
    }

    async fn response_body(&self, _: &mut (), io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        if is_text(io.head().content_type(), io.head().header("content-encoding")) {
            let loud = io.data.to_ascii_uppercase();
            io.out.push(loud);
        } else {
            io.out.pass();
        }
        Ok(())
    }
}

/// Letters of compressed bodies are no letters.
fn is_text(content_type: Option<&str>, content_encoding: Option<&str>) -> bool {
    content_type == Some("text/plain") && content_encoding.is_none_or(|coding| coding == "identity")
}

#[cfg(test)]
mod tests {
    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::*;

    #[tokio::test]
    async fn letters_of_text_are_changed_in_each_mode() {
        let text = [("content-type", "text/plain; charset=utf-8")];
        for (mode, first, second) in [
            (BodyMode::Streamed, r#"response_body body="HE""#, r#"response_body body="LLO""#),
            (BodyMode::FullDuplexStreamed, r#"response_body chunk="HE""#, r#"response_body chunk="LLO" end"#),
        ] {
            let script = Script::new().modes(BodyMode::None, mode).request_only([(":method", "GET")]);
            let script = script.response_headers(text).response_body("he", false).response_body("llo", true);
            let lines = script.run(Upper).await.lines();
            assert_eq!(lines[1..], ["response_headers x-upper=response -etag", first, second], "{mode:?}");
        }
        let script = Script::new().modes(BodyMode::Buffered, BodyMode::Buffered);
        let lines = script.request_headers(text).request_body("hi", true).run(Upper).await.lines();
        assert_eq!(lines, ["request_headers x-upper=request", r#"request_body body="HI""#]);
    }

    #[tokio::test]
    async fn other_bodies_pass() {
        for headers in
            [&[("content-type", "image/png")][..], &[], &[("content-type", "text/plain"), ("content-encoding", "gzip")]]
        {
            let script = Script::new().modes(BodyMode::Buffered, BodyMode::Buffered);
            let script = script.request_headers(headers.iter().copied()).request_body("hi", true);
            assert_eq!(script.run(Upper).await.lines(), ["request_headers", "request_body"], "{headers:?}");
        }
    }
}
