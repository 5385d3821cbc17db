//! `event-filter`: drops server-sent events, and replaces words in the others, while they flow.

use extproc::{Abort, ChunkIo, Event, Events, Open, Processor, Response, ResponseHead, Skip, Start, Stop, Stream};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Changes `text/event-stream` responses; all others pass. An event goes on as soon as it is complete, however the
/// upstream and the data plane cut the stream into chunks.
#[derive(Debug)]
pub(crate) struct EventFilter {
    drop: Vec<String>,
    replace: Vec<(String, String)>,
}

impl EventFilter {
    pub(super) const KEYS: &[Key] = &[
        key("drop", "TYPE, repeatable", "drop events of this type; 'message' is the type of those without one"),
        key("replace", "FROM=TO, repeatable", "replace this text in the data of events"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let mut replace = Vec::new();
        for pair in settings.all("replace") {
            let parts = pair.split_once('=').filter(|(from, _)| !from.is_empty());
            let (from, to) = parts.ok_or_else(|| settings.wrong("replace", "must be FROM=TO"))?;
            replace.push((from.to_owned(), to.to_owned()));
        }
        Ok(Self { drop: settings.all("drop").to_vec(), replace })
    }

    /// What becomes of an event.
    fn filter(&self, event: Event) -> Result<Option<Event>, std::str::Utf8Error> {
        // Comments keep connections alive.
        let Some(data) = event.data()? else { return Ok(Some(event)) };
        let kind = event.field("event")?.filter(|kind| !kind.is_empty()).unwrap_or("message");
        if self.drop.iter().any(|dropped| dropped == kind) {
            return Ok(None);
        }
        let changed = self.replace.iter().fold(data.clone(), |data, (from, to)| data.replace(from, to));
        if changed == data { Ok(Some(event)) } else { event.with_data(&changed).map(Some) }
    }
}

/// The events that are under way; `None` when the body is something else.
type Ctx = Option<Events>;

impl Processor for EventFilter {
    type Ctx = Ctx;
    type RequestBody = Skip;
    type ResponseBody = Stream;

    fn open(&self, _: &Open) -> Ctx {
        None
    }

    async fn response_headers(&self, events: &mut Ctx, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if rsp.is_event_stream() && rsp.content_codings().is_ok_and(|codings| codings.is_empty()) {
            *events = Some(Events::default());
        }
        Ok(())
    }

    async fn response_body(&self, events: &mut Ctx, io: &mut ChunkIo<Response>) -> Result<(), Abort> {
        let Some(events) = events else {
            io.out.pass();
            return Ok(());
        };
        for event in io.events(events)? {
            if let Some(event) = self.filter(event)? {
                io.out.push(event);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use extproc::BodyMode;
    use extproc::testing::Script;

    use super::*;

    const STREAM: &str = "event: delta\ndata: a secret\n\n: ping\n\nevent: debug\ndata: x\n\ndata: end\n\n";

    /// What the chunks that go out say in a row.
    async fn filtered(settings: &[&str], content_type: &str, cut: usize) -> String {
        let headers = [(":status", "200"), ("content-type", content_type)];
        let script =
            Script::new().modes(BodyMode::None, BodyMode::FullDuplexStreamed).request_only([(":method", "GET")]);
        let script =
            script.response_headers(headers).response_body(&STREAM[..cut], false).response_body(&STREAM[cut..], true);
        let lines = script.run(EventFilter::new(&Settings::test(settings)).expect("valid")).await.lines();
        let chunks = lines.iter().filter_map(|line| line.strip_prefix("response_body chunk=\"")?.split('"').next());
        chunks.collect::<String>().replace("\\n", "\n")
    }

    #[tokio::test]
    async fn events_are_dropped_and_changed_however_they_are_cut() {
        for cut in 0..STREAM.len() {
            for (settings, content_type, expected) in [
                (
                    &["drop=debug", "replace=secret=***"][..],
                    "text/event-stream",
                    "event: delta\ndata: a ***\n\n: ping\n\ndata: end\n\n",
                ),
                (
                    &["drop=message"],
                    "text/event-stream",
                    "event: delta\ndata: a secret\n\n: ping\n\nevent: debug\ndata: x\n\n",
                ),
                (&["drop=debug"], "text/plain", STREAM),
                (&[], "text/event-stream", STREAM),
            ] {
                assert_eq!(filtered(settings, content_type, cut).await, expected, "{settings:?} {cut}");
            }
        }
    }
}
