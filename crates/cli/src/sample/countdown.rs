//! `countdown`: answers a path with server-sent events, one at a time.

use std::time::Duration;

use extproc::{LocalReply, Open, Processor, RequestHead, Skip, Start, Stop};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Streams a reply: nothing of it is held until it is whole, and a slow client is a slow countdown.
#[derive(Debug)]
pub(crate) struct Countdown {
    path: String,
    from: u64,
    pause: Duration,
}

impl Countdown {
    pub(super) const KEYS: &[Key] = &[
        key("path", "PATH [default: /countdown]", "the path that is answered; all others pass"),
        key("from", "NUMBER [default: 5]", "the first number"),
        key("pause", "TIME [default: 1s]", "between two events"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        Ok(Self {
            path: settings.get("path")?.unwrap_or_else(|| "/countdown".to_owned()),
            from: settings.get("from")?.unwrap_or(5),
            pause: settings.duration("pause", Duration::from_secs(1))?,
        })
    }

    fn reply(&self) -> LocalReply {
        let (from, pause) = (self.from, self.pause);
        let reply = LocalReply::new(200).header("content-type", "text/event-stream").header("trailer", "x-events");
        reply.header("cache-control", "no-store").stream(move |mut to| async move {
            for number in (1..=from).rev() {
                to.send(format!("data: {number}\n\n")).await?;
                tokio::time::sleep(pause).await;
            }
            to.send("event: end\ndata: lift-off\n\n").await?;
            to.trailer("x-events", from + 1);
            Ok(())
        })
    }
}

impl Processor for Countdown {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        if req.path().split('?').next() == Some(&self.path) {
            return Err(self.reply().details("countdown").into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use extproc::testing::Script;
    use extproc::{BodyMode, Write};

    use super::*;

    #[tokio::test]
    async fn events_are_streamed_where_the_mode_lets_them() {
        let of = async |mode, path| {
            let settings = Settings::test(&["from=2", "pause=1ms"]);
            let script = Script::new().modes(mode, BodyMode::None).request_only([(":path", path)]);
            script.run(Countdown::new(&settings).expect("valid")).await
        };
        assert_eq!(of(BodyMode::None, "/other").await.lines(), ["request_headers"]);
        for mode in [BodyMode::None, BodyMode::FullDuplexStreamed] {
            let transcript = of(mode, "/countdown?x").await;
            assert_eq!(
                transcript.lines(),
                [
                    "reply :status=200 content-type=text/event-stream trailer=x-events cache-control=no-store",
                    r#"reply "data: 2\n\n""#,
                    r#"reply "data: 1\n\n""#,
                    r#"reply "event: end\ndata: lift-off\n\n""#,
                    "reply trailers x-events=3",
                ],
                "{mode}"
            );
            assert_eq!(transcript.blocked, []);
        }
        let transcript = of(BodyMode::Buffered, "/countdown").await;
        assert!(transcript.lines()[0].starts_with("immediate 200"), "{:?}", transcript.lines());
        let what: Vec<_> = transcript.blocked.iter().map(|blocked| blocked.what).collect();
        assert_eq!(what, [Write::ReplyStream, Write::ReplyTrailer]);
    }
}
