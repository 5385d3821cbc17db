//! One exchange as plain data: the options of its filter, and everything that happens.

use std::sync::Arc;

use bytes::Bytes;
use extproc_core::chain::Peer;
use extproc_core::filter::HttpEvent;
use extproc_core::headers::{Name, Value};
use extproc_core::{Config, Direction, Headers};
use extproc_proto::ProcessingResponse;

use crate::mutate::{Map, text};

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) config: Arc<Config>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Headers(Direction, Map, bool),
    Data(Direction, Vec<u8>, bool),
    Trailers(Direction, Map),
    Reply(Box<ProcessingResponse>),
    /// The processor ends the stream: OK, or with this code.
    Closed(Option<u8>),
    /// Milliseconds pass.
    Wait(u64),
    /// Time goes to the deadline.
    Timeout,
    /// The side stream takes everything.
    TakeMessages,
    /// A sink takes everything.
    Take(Direction),
    /// The data plane answers.
    Respond(u16, Vec<u8>),
    GiveUp(Peer),
    Finish,
}

impl Step {
    /// What the data plane brings with it.
    pub(crate) fn event(&self) -> Option<HttpEvent> {
        Some(match self {
            Self::Headers(_, map, end) => HttpEvent::Headers(headers_of(map), *end),
            Self::Data(_, data, end) => HttpEvent::Data(Bytes::from(data.clone()), *end),
            Self::Trailers(_, map) => HttpEvent::Trailers(headers_of(map)),
            _ => return None,
        })
    }

    pub(crate) fn print(&self) -> String {
        let last = |end: bool| if end { " !" } else { "" };
        match self {
            Self::Headers(direction, map, end) => format!("{direction:?} headers [{}]{}", text(map), last(*end)),
            Self::Data(direction, data, end) => format!("{direction:?} data {}{}", data.escape_ascii(), last(*end)),
            Self::Trailers(direction, map) => format!("{direction:?} trailers [{}]", text(map)),
            other => format!("{other:?}"),
        }
    }
}

impl Script {
    pub(crate) fn print(&self) -> String {
        let steps: Vec<_> = self.steps.iter().map(Step::print).collect();
        format!("{:?}\n  {}", self.config.options(), steps.join("\n  "))
    }
}

fn headers_of(map: &Map) -> Headers {
    let parse = |(name, value): &(String, Vec<u8>)| {
        (Name::parse(name.clone()).unwrap(), Value::parse(Bytes::from(value.clone())).unwrap())
    };
    map.iter().map(parse).collect()
}
