//! Well-behaved processors that change what passes, and the slow obvious account of what must come out.

use std::time::Duration;

use bytes::Bytes;
use extproc_core::headers::{Name, Value};
use extproc_core::pair::{Author, Seen};
use extproc_core::session::{Answer, ApiMisuse, BodyAnswer, BodyChange, Call, Chunk, HeaderEdits, HeadersAnswer};
use extproc_core::{BodyMode, Direction, Headers, ProcessingMode, Session};

use crate::case::Message;
use crate::rng::Rng;

/// What it does to an exchange, in each direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mutator {
    request: Plan,
    response: Plan,
    takes: Duration,
}

#[derive(Clone, Debug, Default)]
struct Plan {
    headers: Vec<Edit>,
    trailers: Vec<Edit>,
    body: Body,
    /// Edits with the answer to a whole body.
    late: Vec<Edit>,
    /// A body with the answer to the headers, in place of whatever follows.
    replace: Option<&'static str>,
    clear_route: bool,
}

#[derive(Clone, Debug)]
enum Edit {
    Set(&'static str, &'static str),
    Append(&'static str, &'static str),
    Remove(&'static str),
}

/// What happens to every byte, so that it does not matter how they are cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Body {
    #[default]
    Keep,
    Upper,
    Double,
    Clear,
}

impl Mutator {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        Self {
            request: Plan::random(rng),
            response: Plan::random(rng),
            takes: Duration::from_millis(if rng.percent(50) { rng.below(100) as u64 } else { 0 }),
        }
    }

    /// Answers at once, and never before the body: then it would matter whether a body was too large already.
    pub(crate) fn prompt(mut self) -> Self {
        self.takes = Duration::ZERO;
        self.request.replace = None;
        self.response.replace = None;
        self
    }

    const fn plan(&self, direction: Direction) -> &Plan {
        match direction {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }
}

impl Plan {
    fn random(rng: &mut Rng) -> Self {
        Self {
            headers: edits(rng),
            trailers: edits(rng),
            body: rng.pick(&[Body::Keep, Body::Upper, Body::Double, Body::Clear]),
            late: if rng.percent(30) { edits(rng) } else { Vec::new() },
            replace: rng.percent(10).then(|| rng.pick(&["", "replaced"])),
            clear_route: rng.percent(20),
        }
    }
}

fn edits(rng: &mut Rng) -> Vec<Edit> {
    // One edit for each name: what several on one name mean is the session's own business.
    ["x-a", "x-b", "x-c", "x-new", "cookie"]
        .into_iter()
        .filter_map(|name| match rng.below(9) {
            0 => Some(Edit::Set(name, "s")),
            1 => Some(Edit::Append(name, "a")),
            2 => Some(Edit::Remove(name)),
            _ => None,
        })
        .collect()
}

impl Author for Mutator {
    fn answer(&mut self, session: &mut Session, call: Call) -> Result<(), ApiMisuse> {
        match call {
            Call::Headers { direction, .. } => {
                let plan = self.plan(direction);
                let duplex = session.body_mode(direction) == Some(BodyMode::FullDuplexStreamed);
                let replace = plan.replace.filter(|_| !duplex).map(|body| Bytes::from_static(body.as_bytes()));
                let edits = lower(&plan.headers);
                let answer =
                    HeadersAnswer { edits, replace, clear_route: plan.clear_route, ..HeadersAnswer::default() };
                session.answer(direction, Answer::Headers(answer))
            }
            Call::Body { direction, chunk } if session.body_mode(direction) == Some(BodyMode::FullDuplexStreamed) => {
                let data = Bytes::from(self.plan(direction).body.apply(&chunk.data));
                session.answer(direction, Answer::Chunk(Chunk { data, ..chunk }))
            }
            Call::Body { direction, chunk } => {
                let plan = self.plan(direction);
                let whole =
                    matches!(session.body_mode(direction), Some(BodyMode::Buffered | BodyMode::BufferedPartial));
                let mut edits = if whole { lower(&plan.late) } else { HeaderEdits::new() };
                if whole && plan.body != Body::Keep {
                    // The data plane checks it against the new body.
                    edits.remove(Name::from_static("content-length"));
                }
                let change = match plan.body {
                    Body::Keep => BodyChange::Keep,
                    Body::Clear => BodyChange::Clear,
                    body @ (Body::Upper | Body::Double) => BodyChange::Replace(Bytes::from(body.apply(&chunk.data))),
                };
                session.answer(direction, Answer::Body(BodyAnswer { edits, change, clear_route: plan.clear_route }))
            }
            Call::Trailers { direction, .. } => {
                session.answer(direction, Answer::Trailers(lower(&self.plan(direction).trailers)))
            }
            _ => Ok(()),
        }
    }

    fn takes(&mut self) -> Duration {
        self.takes
    }
}

fn lower(plan: &[Edit]) -> HeaderEdits {
    let mut edits = HeaderEdits::new();
    for edit in plan {
        match *edit {
            Edit::Set(name, value) => edits.set(Name::from_static(name), Value::from_static(value)),
            Edit::Append(name, value) => edits.append(Name::from_static(name), Value::from_static(value)),
            Edit::Remove(name) => edits.remove(Name::from_static(name)),
        }
    }
    edits
}

impl Body {
    fn apply(self, body: &[u8]) -> Vec<u8> {
        match self {
            Self::Keep => body.to_vec(),
            Self::Upper => body.to_ascii_uppercase(),
            Self::Double => body.iter().flat_map(|byte| [*byte, *byte]).collect(),
            Self::Clear => Vec::new(),
        }
    }
}

/// What the next hop sees of a message after all filters. `filters` in the order in which the message meets them.
pub(crate) fn expected<'a>(
    direction: Direction,
    message: &Message,
    filters: impl Iterator<Item = (&'a ProcessingMode, &'a Mutator)>,
) -> Seen {
    let mut headers = message.headers.clone();
    let mut body = message.body.to_vec();
    let mut trailers = message.trailers.clone();
    let mut headers_only = message.headers_only();
    for (mode, mutator) in filters {
        let plan = mutator.plan(direction);
        if mode.headers(direction) {
            apply(&plan.headers, &mut headers);
            let duplex = mode.body(direction) == BodyMode::FullDuplexStreamed;
            if let Some(new) = plan.replace.filter(|_| !duplex) {
                body = new.as_bytes().to_vec();
                headers_only &= body.is_empty();
                continue;
            }
        }
        // No body message: the headers were all, or the body was empty in front of trailers.
        let has_body = !headers_only && (!body.is_empty() || trailers.is_none());
        match mode.body(direction) {
            // What is over the limit does not come here.
            BodyMode::Buffered | BodyMode::BufferedPartial if has_body => {
                if mode.headers(direction) {
                    apply(&plan.late, &mut headers);
                }
                body = plan.body.apply(&body);
            }
            BodyMode::Streamed | BodyMode::FullDuplexStreamed => body = plan.body.apply(&body),
            _ => {}
        }
        if let Some(trailers) = trailers.as_mut().filter(|_| mode.trailers(direction)) {
            apply(&plan.trailers, trailers);
        }
    }
    Seen { headers: Some(headers), body, trailers, ended: true }
}

fn apply(plan: &[Edit], headers: &mut Headers) {
    for edit in plan {
        match *edit {
            Edit::Set(name, value) => headers.set(Name::from_static(name), Value::from_static(value)),
            Edit::Append(name, value) => headers.append(Name::from_static(name), Value::from_static(value)),
            Edit::Remove(name) => {
                headers.remove(name);
            }
        }
    }
}
