use bytes::Bytes;

use super::*;
use crate::headers::{Name, Value};
use crate::{Headers, RequestKind};

fn headers(name: &'static str, value: &'static str) -> Headers {
    [(Name::from_static(name), Value::from_static(value))].into_iter().collect()
}

fn chunks(chunks: &'static [&'static str]) -> impl Iterator<Item = Bytes> {
    chunks.iter().map(|chunk| Bytes::from_static(chunk.as_bytes()))
}

fn get() -> Script {
    Script::message(headers(":method", "GET"), [], None)
}

fn answer() -> Script {
    Script::message(headers(":status", "200"), chunks(&["ab", "c"]), Some(headers("x-t", "1")))
}

fn pair(client: Script, upstream: Upstream, legs: Legs) -> Outcome {
    #[expect(clippy::disallowed_methods, reason = "any instant will do as the start")]
    let start = Instant::now();
    Pair::new(start, []).client(client).upstream(upstream).legs(legs).run()
}

#[test]
fn endings() {
    let ms = Duration::from_millis;
    let refused = LocalReply::new(RequestKind::default(), 503, Bytes::new(), "no_upstream");
    let body = || Script::new().headers(headers(":method", "POST"), false).data("x", false);
    for (what, client, begin, upstream, expected) in [
        ("all goes well", get(), Begin::AtEnd, answer(), (Ending::Complete, Some(200), "abc", 0)),
        (
            "an early answer",
            body().wait(ms(5)).data("y", true),
            Begin::AtHeaders,
            answer(),
            (Ending::Complete, Some(200), "abc", 5),
        ),
        (
            "the upstream is slow",
            get(),
            Begin::AtEnd,
            Script::new().wait(ms(7)).headers(headers(":status", "204"), true),
            (Ending::Complete, Some(204), "", 7),
        ),
        (
            "the client gives up",
            body().wait(ms(3)).reset(),
            Begin::AtEnd,
            answer(),
            (Ending::ClientGaveUp, None, "", 3),
        ),
        (
            "the upstream gives up",
            get(),
            Begin::AtEnd,
            Script::new().headers(headers(":status", "200"), false).data("a", false).reset(),
            (Ending::Cut, Some(200), "a", 0),
        ),
        (
            "the upstream is down",
            get(),
            Begin::AtEnd,
            Script::new().wait(ms(9)).respond(refused),
            (Ending::Complete, Some(503), "", 9),
        ),
        ("nobody answers", get(), Begin::AtEnd, Script::new(), (Ending::Stuck, None, "", 0)),
    ] {
        let outcome = pair(client, Upstream::new(begin, upstream), Legs::default());
        let at = outcome.log.last().map(|(at, _)| at.as_millis()).unwrap_or_default();
        let body = String::from_utf8_lossy(&outcome.response.body).into_owned();
        assert_eq!(
            (outcome.ending, outcome.response.status(), body.as_str(), at),
            expected,
            "{what}\n{}",
            outcome.print()
        );
    }
}

#[test]
fn slow_sinks_take_one_part_at_a_time() {
    let legs = Legs { client_pace: Duration::from_millis(10), ..Legs::default() };
    let outcome = pair(get(), Upstream::new(Begin::AtEnd, answer()), legs);
    let taken: Vec<_> = outcome
        .log
        .iter()
        .filter(|(_, entry)| matches!(entry, Entry::Forward(Direction::Response, _)))
        .map(|(at, _)| at.as_millis())
        .collect();
    assert_eq!(taken, [0, 10, 20, 30]);
    assert_eq!(outcome.response.trailers, Some(headers("x-t", "1")));
}
