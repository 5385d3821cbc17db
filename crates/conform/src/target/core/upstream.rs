//! The scripted upstream in virtual time.

use std::time::Duration;

use extproc_core::Direction;
use extproc_core::filter::{Forward, HttpEvent};
use extproc_core::headers::{Headers, Name, Value};

use super::data_plane::say_empty;
use super::{Agenda, Happening, append, end, pieces};
use crate::scenario::Scenario;
use crate::transcript::{End, HeaderList, Received, text};

/// The upstreams of a scenario, of which the first part of the request chooses one.
#[derive(Debug)]
pub(super) struct Scripted<'a> {
    scenario: &'a Scenario,
    received: Option<Received>,
    answered: bool,
}

/// What the data plane has to do about a part that the upstream cannot take.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing.
    Well,
    /// Answer in its place: nothing listens there.
    Unreachable,
    /// Answer in its place: no route leads there.
    Unrouted,
}

impl<'a> Scripted<'a> {
    pub(super) const fn new(scenario: &'a Scenario) -> Self {
        Self { scenario, received: None, answered: false }
    }

    /// The request sends a part; `routing` are the headers that the route is chosen by.
    pub(super) fn take(
        &mut self,
        now: Duration,
        part: Forward,
        routing: &Headers,
        agenda: &mut Agenda,
    ) -> anyhow::Result<Taken> {
        let is_end = match part {
            Forward::Headers(headers, is_end) => {
                let route = self.route(routing);
                if self.scenario.upstream(route).unreachable {
                    return Ok(Taken::Unreachable);
                }
                if self.scenario.upstream(route).unrouted {
                    return Ok(Taken::Unrouted);
                }
                let mut received = request(route, &headers);
                let without_body = matches!(received.method.as_str(), "GET" | "HEAD" | "DELETE" | "TRACE");
                if is_end && !without_body && self.scenario.upstream(route).http == 1 {
                    say_empty(&mut received.headers);
                }
                self.received = Some(received);
                if self.scenario.upstream(route).early {
                    self.answer(now, agenda)?;
                }
                is_end
            }
            Forward::Data(data, is_end) => {
                if let Some(received) = &mut self.received {
                    received.body = [&received.body[..], &data].concat().into();
                }
                is_end
            }
            Forward::Trailers(trailers) => {
                if let Some(received) = &mut self.received {
                    received.trailers = list(&trailers);
                }
                true
            }
        };
        if is_end && let Some(received) = &mut self.received {
            received.end = End::Complete;
            self.answer(now, agenda)?;
        }
        Ok(Taken::Well)
    }

    pub(super) fn into_received(self) -> Option<Received> {
        self.received
    }

    fn route(&self, headers: &Headers) -> usize {
        let matching = self.scenario.routes.iter().position(|route| {
            let path = headers.get_str(":path").unwrap_or_default();
            route.path_prefix.as_ref().is_none_or(|prefix| path.starts_with(prefix))
                && route.headers.iter().all(|(name, value)| headers.get_str(name) == Some(value))
        });
        matching.map_or(0, |index| index + 1)
    }

    /// Plans the response, once.
    fn answer(&mut self, now: Duration, agenda: &mut Agenda) -> anyhow::Result<()> {
        let Some(received) = self.received.as_ref().filter(|_| !self.answered) else { return Ok(()) };
        let script = self.scenario.upstream(received.route);
        let bodiless = received.method == "HEAD" || matches!(script.status, 204 | 304);
        self.answered = true;
        if let Some(timeout) = script.timeout {
            agenda.plan(now + timeout.duration(), Happening::UpstreamTimeout);
        }
        let mut plan = |at, event| agenda.plan(at, Happening::Part(Direction::Response, event));
        let mut headers = Headers::new();
        headers.append(Name::from_static(":status"), Value::from(u64::from(script.status)));
        append(&mut headers, &script.headers)?;
        let mut at = now + script.delay.duration();
        if let Some(body) = script.whole_body() {
            if script.status != 204 {
                headers.append(Name::from_static("content-length"), Value::from(body.len() as u64));
            }
            let is_end = bodiless || body.is_empty();
            plan(at, HttpEvent::Headers(headers, is_end));
            if !is_end {
                for (piece, last) in pieces(body.into()) {
                    plan(at, HttpEvent::Data(piece, last));
                }
            }
            return Ok(());
        }
        plan(at, HttpEvent::Headers(headers, bodiless));
        if bodiless {
            return Ok(());
        }
        for (index, chunk) in script.chunks.iter().flatten().enumerate() {
            if index > 0 {
                at += script.pause.duration();
            }
            plan(at, HttpEvent::Data(chunk.bytes().into(), false));
        }
        at += script.pause.duration();
        if script.cut {
            agenda.plan(at, Happening::UpstreamCut);
        } else {
            plan(at, end(&script.trailers)?);
        }
        Ok(())
    }
}

/// The request as HTTP/1 would carry it: pseudo headers become the request line and `host`.
fn request(route: usize, headers: &Headers) -> Received {
    let pseudo = |name| headers.get_str(name).unwrap_or_default().to_owned();
    let mut fields = list(headers);
    fields.retain(|(name, _)| !name.starts_with(':'));
    if headers.contains(":authority") && !headers.contains("host") {
        fields.push(("host".to_owned(), pseudo(":authority")));
    }
    Received {
        route,
        method: pseudo(":method"),
        path: pseudo(":path"),
        headers: fields,
        body: bytes::Bytes::new(),
        trailers: Vec::new(),
        end: End::Cut,
    }
}

pub(super) fn list(headers: &Headers) -> HeaderList {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes()))).collect()
}
