//! `echo`: answers the client with its own request, when asked to.

use bytes::Bytes;
use extproc::{LocalReply, Open, Processor, Request, RequestHead, Skip, Start, Stop, Whole, WholeIo};
use extproc_core::Headers;

use super::BODY_LIMIT;
use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Answers requests that have a body and `x-echo-only: true` (or t, T, True, y, Y, yes, Yes).
#[derive(Debug, Default)]
pub(crate) struct Echo {
    /// Answer those without a body too; the Python SDK's example does not.
    pub(crate) bodiless: bool,
}

impl Echo {
    pub(super) const KEYS: &[Key] = &[key("bodiless", "true [default: false]", "answer requests without a body too")];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        Ok(Self { bodiless: settings.get("bodiless")?.unwrap_or(false) })
    }
}

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
        if self.bodiless && req.is_last() && is_wanted(headers) {
            Err(reply(headers, Bytes::new()).into())
        } else {
            Ok(())
        }
    }

    async fn request_body(&self, headers: &mut Headers, io: &mut WholeIo<Request>) -> Result<(), Stop> {
        if is_wanted(headers) { Err(reply(headers, io.body.bytes().clone()).into()) } else { Ok(()) }
    }
}

fn is_wanted(headers: &Headers) -> bool {
    headers.get_str("x-echo-only").is_some_and(super::is_on)
}

fn reply(headers: &Headers, body: Bytes) -> LocalReply {
    let reply = LocalReply::new(200).body(body).details("echo_only");
    // The framing is the data plane's; LocalReply leaves it out.
    headers.iter().fold(reply, |reply, (name, value)| reply.header(name.clone(), value.clone()))
}

#[cfg(test)]
mod tests {
    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::*;

    fn script(word: &str) -> Script {
        let headers = [(":method", "POST"), ("content-length", "2"), ("x-a", "1"), ("x-a", "2"), ("x-echo-only", word)];
        Script::new().modes(BodyMode::Buffered, BodyMode::None).request_headers(headers).request_body("hi", true)
    }

    #[tokio::test]
    async fn the_client_gets_its_own_headers_and_body() {
        let lines = script("true").run(Echo::default()).await.lines();
        let reply = r#"immediate 200 x-a=1 x-a+=2 x-echo-only=true body="hi" details=echo_only"#;
        assert_eq!(lines, ["request_headers", reply]);
    }

    #[tokio::test]
    async fn eight_words_mean_yes() {
        for word in ["t", "T", "true", "True", "y", "Y", "yes", "Yes"] {
            assert!(script(word).run(Echo::default()).await.lines()[1].starts_with("immediate 200"), "{word}");
        }
        for word in ["", "no", "1", "TRUE", "on", "YES"] {
            assert_eq!(script(word).run(Echo::default()).await.lines(), ["request_headers", "request_body"], "{word}");
        }
    }

    #[tokio::test]
    async fn without_a_body_nothing_is_echoed_unless_configured() {
        let script = Script::new().request_only([(":method", "GET"), ("x-echo-only", "true")]);
        assert_eq!(script.run(Echo::default()).await.lines(), ["request_headers"]);
        let lines = script.run(Echo { bodiless: true }).await.lines();
        assert_eq!(lines, ["immediate 200 x-echo-only=true details=echo_only"]);
    }
}
