//! The core in memory: [`extproc_core::FilterChain`] between the same scripts, under virtual time and without sockets.

mod data_plane;
mod facts;
mod processor;
mod upstream;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::bail;
use bytes::Bytes;
use extproc_core::Direction;
use extproc_core::filter::{HttpEvent, StreamEvent};
use extproc_core::headers::{Headers, Name, Value};

use super::{Failure, Target, TargetKind, options};
use crate::scenario::{Fields, Request, Scenario};
use crate::transcript::Transcript;
use data_plane::DataPlane;

/// Virtual time after which an exchange hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// The largest piece of a body that is fed at once.
const PIECE: usize = 16 << 10;

/// The target `core`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Core;

impl Target for Core {
    fn kind(&self) -> TargetKind {
        TargetKind::Core
    }

    fn run<'a>(
        &'a self,
        scenario: &'a Scenario,
    ) -> Pin<Box<dyn Future<Output = Result<Transcript, Failure>> + Send + 'a>> {
        Box::pin(std::future::ready(run(scenario)))
    }
}

/// Something that is going to happen.
#[derive(Debug)]
enum Happening {
    /// The client sends a part, or the upstream does.
    Part(Direction, HttpEvent),
    /// The data plane has waited long enough for the upstream's response.
    UpstreamTimeout,
    /// The upstream breaks off in the middle of its response.
    UpstreamCut,
    /// The client goes away.
    GiveUp,
    /// The side stream brings something.
    Stream(StreamEvent),
}

/// What is going to happen, in order of time and then of planning.
#[derive(Debug, Default)]
struct Agenda {
    planned: BTreeMap<(Duration, usize), Happening>,
    count: usize,
}

impl Agenda {
    fn plan(&mut self, at: Duration, happening: Happening) {
        self.planned.insert((at, self.count), happening);
        self.count += 1;
    }

    fn next_time(&self) -> Option<Duration> {
        self.planned.keys().next().map(|(at, _)| *at)
    }

    fn take(&mut self) -> Option<Happening> {
        self.planned.pop_first().map(|(_, happening)| happening)
    }

    /// Nothing more comes from this direction.
    fn drop_parts(&mut self, of: Direction) {
        self.planned.retain(|_, happening| !matches!(happening, Happening::Part(direction, _) if *direction == of));
    }

    /// Nothing more comes from the side stream.
    fn drop_stream(&mut self) {
        self.planned.retain(|_, happening| !matches!(happening, Happening::Stream(_)));
    }
}

fn run(scenario: &Scenario) -> Result<Transcript, Failure> {
    if scenario.load_only {
        let load = Some(options::filter(scenario, "ext_proc").is_ok());
        return Ok(Transcript { load, ..Transcript::default() });
    }
    let filter = options::filter(scenario, "ext_proc")?;
    let mut plane = DataPlane::new(scenario, filter);
    plan_request(&scenario.request, &mut plane.agenda)?;
    let start = Instant::now();
    plane.settle(start, Duration::ZERO)?;
    let mut last = start;
    while !plane.is_over() {
        let Some(now) = plane.next(start) else {
            return Err(anyhow::anyhow!("it hangs: nothing is left to happen, and the exchange is not over").into());
        };
        if now > LIMIT {
            return Err(anyhow::anyhow!("it is not over after {LIMIT:?} of virtual time").into());
        }
        // A deadline may lie in the past by no more than the settling takes, which is nothing.
        last = last.max(start + now);
        plane.step(last, now)?;
        plane.settle(last, now)?;
    }
    plane.finish(last, last - start)?;
    let watched = plane.ended() + scenario.watch.unwrap_or_default().duration();
    while let Some(now) = plane.next(start).filter(|now| *now <= watched) {
        last = last.max(start + now);
        plane.step(last, now)?;
        plane.settle(last, now)?;
    }
    Ok(plane.transcript(scenario))
}

/// Plans everything that the client does.
fn plan_request(request: &Request, agenda: &mut Agenda) -> anyhow::Result<()> {
    let mut plan = |at, event| agenda.plan(at, Happening::Part(Direction::Request, event));
    let mut headers = Headers::new();
    for (name, value) in [
        (":authority", request.host.as_str()),
        (":path", &request.path),
        (":method", &request.method),
        (":scheme", "http"),
    ] {
        headers.append(Name::from_static(name), Value::parse(value.to_owned())?);
    }
    append(&mut headers, &request.headers)?;
    let body = request.body.as_ref().map(|body| Bytes::from(body.bytes()));
    if let Some(body) = &body {
        headers.append(Name::from_static("content-length"), Value::from(body.len() as u64));
    }
    let mut at = Duration::ZERO;
    match (body, &request.chunks) {
        (Some(body), _) if !body.is_empty() => {
            plan(at, HttpEvent::Headers(headers, false));
            for (piece, last) in pieces(body) {
                plan(at, HttpEvent::Data(piece, last));
            }
        }
        (_, Some(chunks)) => {
            plan(at, HttpEvent::Headers(headers, false));
            for chunk in chunks {
                at += request.pause.duration();
                plan(at, HttpEvent::Data(chunk.bytes().into(), false));
            }
            at += request.pause.duration();
            if !request.unfinished {
                plan(at, end(&request.trailers)?);
            }
        }
        (_, None) => plan(at, HttpEvent::Headers(headers, true)),
    }
    if let Some(patience) = request.give_up {
        agenda.plan(patience.duration(), Happening::GiveUp);
    }
    Ok(())
}

/// The end of a chunked body.
fn end(trailers: &Fields) -> anyhow::Result<HttpEvent> {
    if trailers.is_empty() {
        return Ok(HttpEvent::Data(Bytes::new(), true));
    }
    let mut map = Headers::new();
    append(&mut map, trailers)?;
    Ok(HttpEvent::Trailers(map))
}

fn append(headers: &mut Headers, fields: &Fields) -> anyhow::Result<()> {
    for (name, value) in fields.iter() {
        let (Ok(name), Ok(value)) = (Name::parse(name.to_owned()), Value::parse(value.to_owned())) else {
            bail!("{name}: {value} is no header");
        };
        headers.append(name, value);
    }
    Ok(())
}

/// A body as it comes over a socket, with the end on the last piece.
fn pieces(mut body: Bytes) -> Vec<(Bytes, bool)> {
    let mut pieces = Vec::new();
    while body.len() > PIECE {
        pieces.push((body.split_to(PIECE), false));
    }
    pieces.push((body, true));
    pieces
}
