//! What holds for every exchange, whatever anybody does.

use extproc_core::chain::Effect;
use extproc_core::filter::{Forward, HttpEvent};
use extproc_core::pair::{Ending, Entry, Outcome, Pair, Said, Seen};
use extproc_core::{BodyMode, Direction, Profile, Stats};

use crate::case::Case;

/// Runs an exchange and checks it at every step.
pub(crate) fn run(case: &Case, mut pair: Pair, nobody_mutates: bool) -> Result<Outcome, String> {
    let mut watch = Watch::new(case);
    let mut steps = 0;
    loop {
        let more = pair.step();
        steps += 1;
        check(steps < 5_000, || "the exchange does not end".to_owned())?;
        if !more {
            break;
        }
        watch.look(&pair);
        let bounded = || if nobody_mutates { watch.bounded(case) } else { Ok(()) };
        if let Err(error) = watch.deadline_exists(&pair).and_then(|()| bounded()) {
            return Err(explain(case, &pair.outcome(), &error));
        }
    }
    let deadline = pair.chain().poll_timeout();
    let outcome = pair.outcome();
    match check(deadline.is_none(), || "a deadline is left after the end".to_owned())
        .and_then(|()| ended(case, &outcome))
    {
        Ok(()) => Ok(outcome),
        Err(error) => Err(explain(case, &outcome, &error)),
    }
}

pub(crate) fn explain(case: &Case, outcome: &Outcome, error: &str) -> String {
    format!("{error}\n{case:?}\n{}{:?}, {:?}\n{:?}", outcome.print(), outcome.ending, outcome.details, outcome.stats)
}

fn ended(case: &Case, outcome: &Outcome) -> Result<(), String> {
    check(outcome.ending != Ending::Stuck || case.may_wait_forever(), || {
        "stuck: nothing can happen any more".to_owned()
    })?;
    in_order(case, outcome)?;
    for (filter, stats) in outcome.stats.iter().enumerate() {
        counters(case, outcome, filter, stats).map_err(|error| format!("filter {filter}: {error}; {stats:?}"))?;
    }
    for (seen, what) in [(&outcome.request, "request"), (&outcome.response, "response")] {
        check(!seen.ended || seen.headers.is_some(), || format!("the {what} ended without headers"))?;
    }
    framed(&outcome.request, "request")?;
    if case.request.headers.get_str(":method") != Some("HEAD") {
        framed(&outcome.response, "response")?;
    }
    check(outcome.response.ended || outcome.ending != Ending::Complete, || "complete without a response".to_owned())
}

pub(crate) fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

/// What the log says about the things that must hold in between.
struct Watch {
    seen: usize,
    /// By filter and direction: messages that wait for their reply.
    owed: Vec<[i32; 2]>,
    /// By direction: body bytes inside the chain.
    inside: [usize; 2],
    cancelled: bool,
    /// By filter and direction: not every answer has a deadline, as with FULL_DUPLEX_STREAMED and GRPC.
    duplex: Vec<[bool; 2]>,
}

impl Watch {
    fn new(case: &Case) -> Self {
        let duplex = case.filters.iter().map(|options| {
            Direction::BOTH.map(|direction| {
                let body = options.processing_mode.body(direction);
                matches!(body, BodyMode::FullDuplexStreamed | BodyMode::Grpc)
                    || !matches!(options.profile, Profile::Envoy | Profile::Strict)
                    || options.allow_mode_override
                    // A replaced body leaves answers that nobody waits for.
                    || body == BodyMode::Streamed && options.send_body_without_waiting_for_header_response
            })
        });
        Self {
            seen: 0,
            owed: vec![[0; 2]; case.filters.len()],
            inside: [0; 2],
            cancelled: false,
            duplex: duplex.collect(),
        }
    }

    fn look(&mut self, pair: &Pair) {
        for (_, entry) in &pair.log()[self.seen..] {
            match entry {
                Entry::Sent(filter, said) => {
                    if let Some(direction) =
                        direction(*said).filter(|direction| !self.duplex[*filter][index(*direction)])
                    {
                        self.owed[*filter][index(direction)] += 1;
                    }
                }
                Entry::Reply(filter, said) => {
                    if let Some(direction) =
                        direction(*said).filter(|direction| !self.duplex[*filter][index(*direction)])
                    {
                        // It may answer a message that the stream has not taken yet.
                        self.owed[*filter][index(direction)] -= 1;
                    }
                }
                Entry::Fed(direction, HttpEvent::Data(data, _)) => self.inside[index(*direction)] += data.len(),
                // A local reply may be longer than what was fed.
                Entry::Forward(direction, Forward::Data(data, _)) => {
                    let inside = &mut self.inside[index(*direction)];
                    *inside = inside.saturating_sub(data.len());
                }
                Entry::Effect(Effect::CancelUpstream) => {
                    self.cancelled = true;
                    self.inside = [0; 2];
                }
                _ => {}
            }
        }
        self.seen = pair.log().len();
    }

    /// While a reply is owed there is a deadline. What the request still asked for when it was cancelled is not owed.
    fn deadline_exists(&self, pair: &Pair) -> Result<(), String> {
        let chain = pair.chain();
        let waits = (0..chain.len()).find(|filter| {
            let stats = chain.stats(*filter);
            let over = stats.streams_closed + stats.streams_failed + stats.server_half_closed > 0;
            let [request, response] = self.owed[*filter];
            !over && (response > 0 || request > 0 && !self.cancelled)
        });
        check(waits.is_none() || chain.poll_timeout().is_some(), || {
            format!("filter {} is owed a reply and there is no deadline", waits.unwrap_or_default())
        })
    }

    /// No more is held than the limits allow: those of the filters, that of the outlet, and the piece that crossed it.
    fn bounded(&self, case: &Case) -> Result<(), String> {
        let limits = case.filters.iter().map(|options| options.buffer_limit);
        let limit = limits.clone().sum::<usize>() + limits.max().unwrap_or_default();
        for (direction, message) in [(Direction::Request, &case.request), (Direction::Response, &case.response)] {
            let inside = self.inside[index(direction)];
            check(inside <= limit + message.longest_chunk(), || {
                format!("{inside} {direction:?} bytes are held, the limits add up to {limit}")
            })?;
        }
        Ok(())
    }
}

const fn direction(said: Said) -> Option<Direction> {
    match said {
        Said::Headers(direction, _) | Said::Body(direction, ..) | Said::Trailers(direction) => Some(direction),
        Said::Immediate | Said::Other => None,
    }
}

/// The status of every upstream's response, and of nothing else.
const UPSTREAM: u16 = 207;

/// Every outlet gives its items in an order that the sink can follow, and nothing after a last one.
fn in_order(case: &Case, outcome: &Outcome) -> Result<(), String> {
    #[derive(Clone, Copy, Default)]
    struct Stream {
        opened: bool,
        no_more: bool,
        gone: bool,
    }
    let mut streams = vec![Stream::default(); case.filters.len()];
    let mut sinks = [Sink::default(); 2];
    let (mut cancelled, mut cut) = (false, false);
    for (at, entry) in &outcome.log {
        let fault = match entry {
            Entry::Misuse(misuse) => Some(format!("refused what the data plane may do: {misuse}")),
            Entry::Effect(Effect::OpenStream(filter)) => {
                let stream = &mut streams[*filter];
                let twice = stream.opened;
                stream.opened = true;
                (twice || cut).then(|| "a stream is opened twice or too late".to_owned())
            }
            Entry::Effect(Effect::ResetStream(filter)) => {
                let stream = &mut streams[*filter];
                let odd = !stream.opened || stream.gone;
                stream.gone = true;
                odd.then(|| "reset of a stream that is not open".to_owned())
            }
            Entry::Effect(Effect::CancelUpstream) => {
                let twice = cancelled;
                cancelled = true;
                twice.then(|| "the upstream is cancelled twice".to_owned())
            }
            Entry::Effect(Effect::ResetDownstream) => {
                let odd = cut || sinks[1].ended;
                cut = true;
                odd.then(|| "the response is cut twice, or after its end".to_owned())
            }
            Entry::Effect(Effect::RecomputeRoute) => {
                (cancelled || sinks[0].begun).then(|| "a route for a request that has left".to_owned())
            }
            Entry::Sent(filter, _) => {
                let stream = streams[*filter];
                let odd = !stream.opened || stream.no_more || stream.gone;
                odd.then(|| "a message for a stream that is not open".to_owned())
            }
            Entry::HalfClosed(filter) => {
                let stream = &mut streams[*filter];
                let odd = !stream.opened || stream.no_more || stream.gone;
                stream.no_more = true;
                odd.then(|| "half-close of a stream that is not open".to_owned())
            }
            Entry::Closed(filter, _) => {
                streams[*filter].gone = true;
                None
            }
            Entry::Forward(direction, part) => {
                let late = cut || *direction == Direction::Request && cancelled;
                let upstreams = matches!(part, Forward::Headers(headers, _) if headers.status() == Some(UPSTREAM));
                if late {
                    Some("a part after the end".to_owned())
                } else if cancelled && upstreams && outcome.ending != Ending::Complete {
                    // A response that was complete inside the chain goes on.
                    Some("the upstream's response after it was cancelled".to_owned())
                } else {
                    sinks[index(*direction)].take(part)
                }
            }
            Entry::Fed(..) | Entry::GaveUp(_) | Entry::Respond(_) | Entry::Reply(..) | Entry::Timeout => None,
        };
        if let Some(fault) = fault {
            return Err(format!("{fault}: {:.1} ms {entry:?}", at.as_secs_f64() * 1000.0));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Sink {
    begun: bool,
    ended: bool,
}

impl Sink {
    fn take(&mut self, part: &Forward) -> Option<String> {
        if self.ended {
            return Some("a part behind the last one".to_owned());
        }
        let fault = match part {
            Forward::Headers(..) if self.begun => Some("headers come twice"),
            Forward::Data(..) | Forward::Trailers(_) if !self.begun => Some("a part before the headers"),
            Forward::Data(data, false) if data.is_empty() => Some("an empty piece in the middle"),
            Forward::Headers(..) | Forward::Data(..) | Forward::Trailers(_) => None,
        };
        self.begun = true;
        self.ended = matches!(part, Forward::Headers(_, true) | Forward::Data(_, true) | Forward::Trailers(_));
        fault.map(str::to_owned)
    }
}

fn counters(case: &Case, outcome: &Outcome, filter: usize, stats: &Stats) -> Result<(), String> {
    let count = |what: fn(&Entry) -> Option<usize>| {
        outcome.log.iter().filter(|(_, entry)| what(entry) == Some(filter)).count() as u64
    };
    let sent = count(|entry| if let Entry::Sent(filter, _) = entry { Some(*filter) } else { None });
    let opened =
        count(|entry| if let Entry::Effect(Effect::OpenStream(filter)) = entry { Some(*filter) } else { None });
    let replies = count(|entry| if let Entry::Reply(filter, _) = entry { Some(*filter) } else { None });
    let open = case.filters[filter].failure_mode_allow;
    let lost =
        |entry: &Entry| matches!(entry, Entry::Effect(Effect::ResetStream(of)) | Entry::Closed(of, _) if *of == filter);
    let lost = outcome.log.iter().any(|(_, entry)| lost(entry));
    let handled = stats.stream_msgs_received
        + stats.spurious_msgs_received
        + stats.override_message_timeout_received
        + stats.override_message_timeout_ignored;
    for (holds, what) in [
        // A message that the stream could not take before it was lost was sent by the filter all the same.
        (stats.stream_msgs_sent >= sent, "sent is less than the number of messages"),
        (
            stats.stream_msgs_sent == sent || lost || !case.legs.stream_pace.is_zero(),
            "sent is not the number of messages",
        ),
        (stats.streams_started == opened, "started is not the number of streams"),
        (opened <= 1, "more than one stream"),
        (stats.streams_closed <= 1 && stats.streams_failed <= 1, "closed or failed more than once"),
        (stats.streams_closed + stats.streams_failed >= opened, "neither closed nor failed"),
        (stats.streams_closed + stats.streams_failed <= 1 || open, "closed and failed without failing open"),
        (opened > 0 || stats == &Stats { rejected_header_mutations: 0, ..Stats::default() }, "counts without a stream"),
        (stats.spurious_msgs_received <= 1, "spurious more than once"),
        (stats.message_timeouts <= 1, "timed out more than once"),
        (stats.failure_mode_allowed <= 1, "failed open more than once"),
        (stats.failure_mode_allowed == 0 || open, "failed open while it must not"),
        (stats.server_half_closed <= 2, "half-closed more than twice"),
        (stats.immediate_responses_sent <= 1, "answered more than once"),
        (handled <= replies, "handled more replies than came"),
    ] {
        check(holds, || what.to_owned())?;
    }
    Ok(())
}

/// The body that a next hop saw is the one that was sent, or a beginning of it where the message was not ended.
pub(crate) fn conserved(seen: &Seen, sent: &[u8], what: &str) -> Result<(), String> {
    let whole = if seen.ended { seen.body == sent } else { sent.starts_with(&seen.body) };
    check(whole, || {
        format!(
            "the {what} body is {} instead of {}{}",
            seen.body.escape_ascii(),
            sent.escape_ascii(),
            if seen.ended { "" } else { " or a beginning of it" }
        )
    })
}

/// A content-length that was forwarded is that of the body.
fn framed(seen: &Seen, what: &str) -> Result<(), String> {
    let length = seen.headers.as_ref().and_then(extproc_core::Headers::content_length);
    let holds = !seen.ended || length.is_none_or(|length| length == seen.body.len() as u64);
    check(holds, || format!("the {what} has content-length {length:?} and {} bytes", seen.body.len()))
}

const fn index(direction: Direction) -> usize {
    match direction {
        Direction::Request => 0,
        Direction::Response => 1,
    }
}
