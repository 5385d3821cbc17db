//! What came of an exchange, held against what was expected.

use std::time::Duration;

use bytes::Bytes;
use extproc::testing::{Ending, Seen};
use extproc_core::{Headers, Stats};

use super::case::{Expect, Flag, Kind, Part, Place};
use super::json;
use super::matcher::{Captures, Found};
use super::read::code_name;
use super::reply::kind;
use super::yaml::Position;
use crate::dialogue::Log;

/// One expectation that was not met.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct Difference {
    /// Of what.
    pub(super) what: String,
    pub(super) expected: String,
    pub(super) actual: String,
    /// Where in the case file it is expected.
    #[serde(skip)]
    pub(super) at: Position,
}

/// Everything that is not as expected, but for the transcript.
pub(super) fn differences(expect: &Expect, log: &Log) -> Vec<Difference> {
    let mut all: Vec<Difference> = expect.flags.iter().filter_map(|flag| check_flag(*flag, log)).collect();
    let mut captures = Captures::new();
    let mut found = Vec::new();
    for (place, matcher) in &expect.values {
        let values = place.values(log);
        matcher.capture(&views(&values), &mut captures);
        found.push(values);
    }
    for ((place, matcher), values) in expect.values.iter().zip(&found) {
        for wrong in matcher.check(&views(values), &captures) {
            let path = if wrong.path.is_empty() { String::new() } else { format!(" at {}", wrong.path) };
            let what = format!("{}{path}", place.describe());
            all.push(Difference { what, expected: wrong.expected, actual: wrong.actual, at: wrong.at });
        }
    }
    all.extend(check_messages(expect, log));
    // Unless it is expected otherwise, the stream must not fail.
    let end_given = expect.values.iter().any(|(place, _)| matches!(place, Place::End | Place::EndMessage));
    if let (false, Some(Err(status))) = (end_given, log.ended()) {
        all.push(Difference {
            what: "end of the stream".to_owned(),
            expected: "OK".to_owned(),
            actual: format!("{} {:?}", code_name(status.code), status.message),
            at: Position::default(),
        });
    }
    if log.effective.ending == Ending::Stuck {
        all.push(Difference {
            what: "exchange".to_owned(),
            expected: "an end".to_owned(),
            actual: "it stood still: nothing was owed, and nothing came".to_owned(),
            at: Position::default(),
        });
    }
    let answer = log.slowest().unwrap_or_default();
    for (what, limit, took) in
        [("whole exchange", expect.within, log.effective.took()), ("slowest answer", expect.answer_within, answer)]
    {
        all.extend(limit.filter(|(limit, _)| took > *limit).map(|(limit, at)| Difference {
            what: what.to_owned(),
            expected: format!("within {limit:?}"),
            actual: format!("{:?}", Duration::from_micros(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))),
            at,
        }));
    }
    all
}

fn views(values: &[Bytes]) -> Vec<Found<'_>> {
    values.iter().map(|value| Found::Bytes(value)).collect()
}

fn check_messages(expect: &Expect, log: &Log) -> Vec<Difference> {
    let said: Vec<Kind> = log.replies().map(kind).collect();
    let mut all = Vec::new();
    if let Some((kinds, at)) = &expect.messages
        && *kinds != said
    {
        let names = |kinds: &[Kind]| match kinds {
            [] => "none".to_owned(),
            kinds => kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
        };
        let what = "messages of the processor".to_owned();
        all.push(Difference { what, expected: names(kinds), actual: names(&said), at: *at });
    }
    for (never, at) in &expect.never {
        let times = said.iter().filter(|kind| *kind == never).count();
        if times > 0 {
            let what = format!("messages {}", never.name());
            all.push(Difference { what, expected: "none".to_owned(), actual: times.to_string(), at: *at });
        }
    }
    all
}

fn check_flag((flag, expected, at): (Flag, bool, Position), log: &Log) -> Option<Difference> {
    let actual = flag.holds(log);
    let word = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    (actual != expected).then(|| {
        let why = if flag == Flag::Spurious { log.effective.details.as_deref().unwrap_or_default() } else { "" };
        let actual = if why.is_empty() { word(actual) } else { format!("{}: {why}", word(actual)) };
        Difference { what: flag.describe(), expected: word(expected), actual, at }
    })
}

impl Flag {
    fn holds(self, log: &Log) -> bool {
        match self {
            Self::Contacted => log.is_upstream_asked(),
            Self::Immediate => log.is_immediate(),
            Self::Spurious => log.spurious() > 0,
            Self::TimedOut => log.stats().message_timeouts > 0,
            Self::RouteCleared => log.effective.cleared_route(),
            Self::Cut => log.is_cut(),
            Self::Reply(index, mark) => log.replies().nth(index).is_some_and(|reply| mark.holds(reply)),
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Contacted => "upstream asked".to_owned(),
            Self::Immediate => "immediate response".to_owned(),
            Self::Spurious => "message out of place".to_owned(),
            Self::TimedOut => "timeout".to_owned(),
            Self::RouteCleared => "route cleared".to_owned(),
            Self::Cut => "response cut".to_owned(),
            Self::Reply(index, mark) => format!("message {}: {}", index + 1, mark.name()),
        }
    }
}

impl Place {
    fn values(&self, log: &Log) -> Vec<Bytes> {
        match self {
            Self::Upstream(part) => part.values(&log.effective.request),
            Self::Client(part) => part.values(&log.effective.response),
            Self::Reply(index, say) => log.replies().nth(*index).map(|reply| say.values(reply)).unwrap_or_default(),
            Self::Metadata => vec![json::of_metadata(log.replies()).to_string().into()],
            Self::End => vec![Bytes::from_static(end(log).as_bytes())],
            Self::EndMessage => match log.ended() {
                Some(Err(status)) => vec![status.message.clone().into()],
                _ => Vec::new(),
            },
            Self::Details => log.effective.details.clone().map(Bytes::from).into_iter().collect(),
            Self::Counter(name) => {
                let counters = Stats::NAMES.iter().zip(log.stats().values());
                counters.filter(|(it, _)| *it == name).map(|(_, count)| count.to_string().into()).collect()
            }
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Upstream(part) => format!("upstream {}", part.describe()),
            Self::Client(part) => format!("client {}", part.describe()),
            Self::Reply(index, say) => format!("message {}: {}", index + 1, say.describe()),
            Self::Metadata => "metadata".to_owned(),
            Self::End => "end of the stream".to_owned(),
            Self::EndMessage => "message at the end of the stream".to_owned(),
            Self::Details => "details".to_owned(),
            Self::Counter(name) => format!("counter {name}"),
        }
    }
}

impl Part {
    fn values(&self, seen: &Seen) -> Vec<Bytes> {
        let all = |headers: &Option<Headers>, name: &str| {
            let fields = headers.iter().flat_map(Headers::iter).filter(|(it, _)| it.as_str() == name);
            fields.map(|(_, value)| Bytes::copy_from_slice(value.as_bytes())).collect()
        };
        match self {
            Self::Header(name) => all(&seen.headers, name),
            Self::Trailer(name) => all(&seen.trailers, name),
            Self::Body if seen.is_there() => vec![seen.body()],
            Self::Body => Vec::new(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Header(name) => match name.strip_prefix(':') {
                Some(pseudo) => pseudo.to_owned(),
                None => format!("header {name}"),
            },
            Self::Trailer(name) => format!("trailer {name}"),
            Self::Body => "body".to_owned(),
        }
    }
}

/// How the stream ended, by the names that `end` takes.
pub(super) fn end(log: &Log) -> &'static str {
    match log.ended() {
        Some(Ok(())) => "OK",
        Some(Err(status)) => code_name(status.code),
        None if log.is_reset() => "RESET",
        None if log.left_open => "OPEN",
        // It was never opened, or the data plane was done with it.
        None => "OK",
    }
}
