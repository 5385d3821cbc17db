//! `rewrite`: replaces text in bodies, whatever content coding they have on the wire.

use extproc::{
    Body, Dir, Fields, Open, Processor, Request, RequestHead, Response, ResponseHead, Start, Stop, Whole, WholeIo,
};

use super::BODY_LIMIT;
use super::json_mask::forget;
use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Replaces every occurrence of a text in text bodies of responses, and of requests if told to. A body in gzip, deflate,
/// br or zstd is decoded, changed and encoded again; `content-encoding` stays as it was.
#[derive(Debug)]
pub(crate) struct Rewrite {
    pairs: Vec<(String, String)>,
    requests: bool,
}

impl Rewrite {
    pub(super) const KEYS: &[Key] = &[
        key("replace", "FROM=TO, repeatable", "a text and what goes in its place, in this order"),
        key("requests", "true [default: false]", "change bodies of requests too"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let mut pairs = Vec::new();
        for pair in settings.all("replace") {
            let parts = pair.split_once('=').filter(|(from, _)| !from.is_empty());
            let (from, to) = parts.ok_or_else(|| settings.wrong("replace", "must be FROM=TO"))?;
            pairs.push((from.to_owned(), to.to_owned()));
        }
        if pairs.is_empty() {
            return Err(settings.missing("replace=FROM=TO"));
        }
        Ok(Self { pairs, requests: settings.get("requests")?.unwrap_or(false) })
    }

    fn change<D: Dir>(&self, io: &mut WholeIo<D>) -> Result<(), Stop> {
        if !is_text(&io.head) {
            return Ok(());
        }
        let plain: Body = match io.decoded(BODY_LIMIT) {
            Ok(plain) => plain,
            // Nothing is hidden here: what cannot be read goes on as it came.
            Err(error) => {
                tracing::debug!(%error, "a body cannot be decoded and passes as it is");
                return Ok(());
            }
        };
        let Ok(text) = plain.text() else { return Ok(()) };
        let changed = self.pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        if changed != text {
            io.replace_encoded(changed)?;
        }
        Ok(())
    }
}

impl Processor for Rewrite {
    type Ctx = ();
    type RequestBody = Whole<BODY_LIMIT>;
    type ResponseBody = Whole<BODY_LIMIT>;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if self.requests && is_text(req) {
            forget(req);
        }
        Ok(())
    }

    async fn request_body(&self, _: &mut (), io: &mut WholeIo<Request>) -> Result<(), Stop> {
        if self.requests { self.change(io) } else { Ok(()) }
    }

    async fn response_headers(&self, _: &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if is_text(rsp) {
            // Ranges of the upstream's body are not those of this one.
            forget(rsp);
            rsp.set_if_present("accept-ranges", "none");
        }
        Ok(())
    }

    async fn response_body(&self, _: &mut (), io: &mut WholeIo<Response>) -> Result<(), Stop> {
        self.change(io)
    }
}

/// Text, and all of it: a range cannot be decoded.
fn is_text(head: &Fields) -> bool {
    let text = head.content_type().is_some_and(|media| {
        media.starts_with("text/")
            || media.ends_with("+json")
            || media.ends_with("+xml")
            || matches!(media, "application/json" | "application/javascript" | "application/xml")
    });
    text && head.header("content-range").is_none()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use extproc::testing::Script;
    use extproc::{BodyMode, Coding, Decoder, Encoder};
    use extproc_proto::body_mutation::Mutation;
    use extproc_proto::processing_response::Response as Reply;

    use super::*;

    fn coded(coding: Coding, plain: &[u8]) -> Bytes {
        let mut encoder = Encoder::new(&[coding]).expect("known");
        [encoder.push(plain).expect("encodes"), encoder.finish().expect("ends")].concat().into()
    }

    /// The body that goes on, if it is another.
    async fn changed(mode: BodyMode, encoding: &str, body: Bytes) -> Option<Bytes> {
        let script = Script::new().modes(BodyMode::None, mode).request_only([(":method", "GET")]);
        let headers = [(":status", "200"), ("content-type", "text/html"), ("content-encoding", encoding)];
        let script = script.response_headers(headers).response_body(body, true);
        let rewrite = Rewrite::new(&Settings::test(&["replace=cat=dog", "replace=dogs=cows"])).expect("valid");
        let transcript = script.run(rewrite).await;
        let Some(Reply::ResponseBody(reply)) = transcript.replies.last()?.response.clone() else { return None };
        match reply.response?.body_mutation?.mutation? {
            Mutation::Body(body) => Some(body),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn text_changes_in_every_coding() {
        for mode in [BodyMode::Buffered, BodyMode::BufferedPartial, BodyMode::Streamed] {
            assert_eq!(changed(mode, "identity", "a cat".into()).await.as_deref(), Some(&b"a dog"[..]), "{mode:?}");
            for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
                let body = changed(mode, coding.name(), coded(coding, b"two cats")).await.expect("changed");
                let mut decoder = Decoder::new(&[coding], 1024).expect("known");
                let plain = [decoder.push(&body).expect("sound"), decoder.finish().expect("whole")].concat();
                assert_eq!(plain, b"two cows", "{mode:?} {coding}");
            }
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_passes() {
        for (encoding, body) in
            [("compress", "a cat"), ("gzip", "a cat"), ("identity", "no such animal"), ("identity", "")]
        {
            let passed = changed(BodyMode::Buffered, encoding, body.into()).await;
            assert_eq!(passed, None, "{encoding} {body}");
        }
    }

    #[test]
    fn settings_are_checked() {
        for settings in [&[][..], &["replace=a"], &["replace==b"], &["replace=a=b", "requests=both"]] {
            assert!(Rewrite::new(&Settings::test(settings)).is_err(), "{settings:?}");
        }
    }
}
