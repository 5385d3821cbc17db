//! GRPC bodies against processors that keep to the windows, take their time, split, join and drain.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use extproc_core::config::FlowControl;
use extproc_core::filter::GrpcStatus;
use extproc_core::headers::{Name, Value};
use extproc_core::pair::{Author, Ending, Outcome, Processor, Replies, Seen, WithSession};
use extproc_core::session::{Answer, ApiMisuse, Call, Chunk, HeaderEdits, HeadersAnswer};
use extproc_core::{BodyMode, Direction, Profile, Session};
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::{Response, ServerWindowUpdate};
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, HeadersResponse, HttpBody, ProcessingRequest, ProcessingResponse,
    StreamedBodyResponse, TrailersResponse,
};

use crate::case::{Case, Message};
use crate::properties::{check, explain, run};
use crate::rng::Rng;
use crate::{PLAIN, conserved, exchanges, same, transparent};

/// What becomes of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Keep,
    Upper,
    /// Itself, and once more.
    Twice,
    Drop,
}

/// What it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    Never,
    Requests,
    Responses,
    /// `request_drain`
    Legacy,
}

/// A processor that keeps to the rules.
#[derive(Clone, Debug)]
struct Player {
    rng: Rng,
    change: Change,
    drain: Drain,
    /// After how many messages of any kind.
    drain_at: usize,
    fails_at: Option<usize>,
    windows: bool,
    seen: usize,
    /// By direction: what we may send.
    credit: [i64; 2],
    /// What waits for it.
    held: [VecDeque<StreamedBodyResponse>; 2],
    /// The answer to the trailers comes behind it.
    trailers_owed: [bool; 2],
    head_owed: [bool; 2],
}

impl Player {
    fn new(rng: &mut Rng, change: Change, drain: Drain, windows: bool) -> Self {
        let drain_at = rng.below(5);
        Self {
            rng: rng.split(),
            change,
            drain,
            drain_at,
            fails_at: None,
            windows,
            seen: 0,
            credit: [0; 2],
            held: Default::default(),
            trailers_owed: [false; 2],
            head_owed: [false; 2],
        }
    }

    fn on_body(&mut self, at: usize, body: HttpBody, replies: &mut Replies) {
        let HttpBody { body, end_of_stream, end_of_stream_without_message, drain_complete, .. } = body;
        if self.windows && !body.is_empty() {
            let mut update = [0; 2];
            update[at] = i64::try_from(body.len()).unwrap();
            replies.send(ProcessingResponse { server_window_update: Some(window(update)), ..<_>::default() });
        }
        if drain_complete {
            self.held[at].push_back(StreamedBodyResponse { drain_complete: true, ..<_>::default() });
            return;
        }
        if !end_of_stream_without_message {
            for message in self.change.of(&body) {
                self.held[at].push_back(StreamedBodyResponse { body: message, ..<_>::default() });
            }
        }
        if end_of_stream {
            let end = StreamedBodyResponse {
                end_of_stream: true,
                end_of_stream_without_message: true,
                ..StreamedBodyResponse::default()
            };
            self.held[at].push_back(end);
        }
    }

    /// Says what it may.
    fn flush(&mut self, replies: &mut Replies) {
        for at in [0, 1] {
            if std::mem::take(&mut self.head_owed[at]) {
                let head = HeadersResponse::default();
                replies.send(plain(if at == 0 {
                    Response::RequestHeaders(head)
                } else {
                    Response::ResponseHeaders(head)
                }));
            }
            while let Some(front) = self.held[at].front() {
                if !front.body.is_empty() && self.windows && self.credit[at] <= 0 {
                    break;
                }
                let Some(message) = self.held[at].pop_front() else { break };
                self.credit[at] -= i64::try_from(message.body.len()).unwrap();
                let body_mutation = Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(message)) });
                let common = CommonResponse { body_mutation, ..CommonResponse::default() };
                let body = BodyResponse { response: Some(common) };
                replies.send(plain(if at == 0 { Response::RequestBody(body) } else { Response::ResponseBody(body) }));
            }
            if self.held[at].is_empty() && std::mem::take(&mut self.trailers_owed[at]) {
                let trailers = TrailersResponse::default();
                replies.send(plain(match at {
                    0 => Response::RequestTrailers(trailers),
                    _ => Response::ResponseTrailers(trailers),
                }));
            }
        }
    }
}

impl Processor for Player {
    fn message(&mut self, message: ProcessingRequest, replies: &mut Replies) {
        if let Some(init) = message.flow_control_init {
            self.credit = [init.initial_window_sidestream_to_upstream, init.initial_window_sidestream_to_downstream];
        }
        if let Some(update) = message.client_window_update {
            self.credit[0] += update.window_increment_sidestream_to_upstream;
            self.credit[1] += update.window_increment_sidestream_to_downstream;
        }
        if self.rng.percent(30) {
            replies.wait(Duration::from_millis(self.rng.below(60) as u64));
        }
        if self.fails_at == Some(self.seen) {
            return replies.close(Err(GrpcStatus { code: 14, message: "gone".to_owned() }));
        }
        let asks = self.seen == self.drain_at;
        self.seen += 1;
        match message.request {
            Some(Request::RequestHeaders(_)) => self.head_owed[0] = true,
            Some(Request::ResponseHeaders(_)) => self.head_owed[1] = true,
            Some(Request::RequestBody(body)) => self.on_body(0, body, replies),
            Some(Request::ResponseBody(body)) => self.on_body(1, body, replies),
            Some(Request::RequestTrailers(_)) => self.trailers_owed[0] = true,
            Some(Request::ResponseTrailers(_)) => self.trailers_owed[1] = true,
            None => {}
        }
        if asks && self.drain != Drain::Never {
            replies.send(ProcessingResponse {
                request_drain: self.drain == Drain::Legacy,
                request_drain_requests: self.drain == Drain::Requests,
                request_drain_responses: self.drain == Drain::Responses,
                ..ProcessingResponse::default()
            });
        }
        self.flush(replies);
    }

    fn half_closed(&mut self, replies: &mut Replies) {
        // No more room can be given.
        self.windows = false;
        self.flush(replies);
        replies.close(Ok(()));
    }
}

impl Change {
    fn of(self, message: &Bytes) -> Vec<Bytes> {
        match self {
            Self::Keep => vec![message.clone()],
            Self::Upper => vec![message.to_ascii_uppercase().into()],
            Self::Twice => vec![message.clone(), message.clone()],
            Self::Drop => Vec::new(),
        }
    }
}

fn window([request, response]: [i64; 2]) -> ServerWindowUpdate {
    ServerWindowUpdate {
        window_increment_downstream_to_sidestream: request,
        window_increment_upstream_to_sidestream: response,
    }
}

fn plain(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

fn framed<'a>(messages: impl IntoIterator<Item = &'a Bytes>) -> Bytes {
    let frame = |message: &Bytes| {
        let len = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &len[..], message].concat()
    };
    messages.into_iter().flat_map(frame).collect()
}

/// A case of calls: bodies are gRPC messages, and the response has trailers.
fn calls(rng: &mut Rng) -> (Case, [Vec<Bytes>; 2]) {
    let mut case = Case::random(rng, PLAIN);
    let bodies = [rng.split(), rng.split()].map(|mut rng| {
        (0..rng.below(6))
            .map(|_| {
                let len = rng.below(20);
                Bytes::from(rng.bytes(len))
            })
            .collect::<Vec<_>>()
    });
    refill(&mut case.request, framed(&bodies[0]), rng);
    refill(&mut case.response, framed(&bodies[1]), rng);
    for message in [&mut case.request, &mut case.response] {
        message.headers.set(Name::from_static("content-type"), Value::from_static("application/grpc"));
    }
    case.request.headers.set(Name::from_static(":method"), Value::from_static("POST"));
    case.response.trailers = Some([(Name::from_static("grpc-status"), Value::from_static("0"))].into_iter().collect());
    for options in &mut case.filters {
        options.profile = rng.pick(&[Profile::Grpc, Profile::Strict]);
        let mode = &mut options.processing_mode;
        mode.request_body = rng.pick(&[BodyMode::Grpc, BodyMode::Grpc, BodyMode::None]);
        mode.response_body = rng.pick(&[BodyMode::Grpc, BodyMode::Grpc, BodyMode::None]);
        mode.response_trailers |= mode.response_body == BodyMode::Grpc;
        options.grpc_window = rng.pick(&[1, 8, 65_536]);
        options.grpc_flow_control = rng.pick(&[FlowControl::Auto, FlowControl::Required]);
        options.buffer_limit = rng.pick(&[1, 40, 1 << 20]);
        options.failure_mode_allow = true;
    }
    (case, bodies)
}

fn refill(message: &mut Message, body: Bytes, rng: &mut Rng) {
    message.body = body;
    if message.headers.contains("content-length") {
        message.headers.set(Name::from_static("content-length"), Value::from(message.body.len() as u64));
    }
    message.cut(rng);
}

fn players(case: &Case, rng: &mut Rng, change: Change, drains: &[Drain]) -> Vec<Player> {
    case.filters
        .iter()
        .map(|options| {
            // One that does not speak of windows is held to none, but where they are required or are checked.
            let required = options.grpc_flow_control == FlowControl::Required || options.profile == Profile::Strict;
            let windows = required || rng.percent(50);
            let drain = rng.pick(drains);
            Player::new(rng, change, drain, windows)
        })
        .collect()
}

fn boxed(players: &[Player]) -> Vec<Box<dyn Processor>> {
    players.iter().map(|player| Box::new(player.clone()) as Box<dyn Processor>).collect()
}

#[test]
fn messages_come_out_as_the_obvious_account_says() {
    exchanges(10_000, |rng| {
        let (case, bodies) = calls(rng);
        let change = rng.pick(&[Change::Keep, Change::Upper, Change::Twice, Change::Drop]);
        let players = players(&case, rng, change, &[Drain::Never]);
        let outcome = run(&case, case.pair(boxed(&players)), false)?;
        accounted(&case, &bodies, change, &outcome)
            .map_err(|error| explain(&case, &outcome, &format!("{error}\n{players:?}")))
    });
}

/// Whether each message came out as often as every filter that sees messages has made of it.
fn accounted(case: &Case, bodies: &[Vec<Bytes>; 2], change: Change, outcome: &Outcome) -> Result<(), String> {
    check(outcome.ending == Ending::Complete, || "not complete".to_owned())?;
    for (direction, message, seen, mut messages) in [
        (Direction::Request, &case.request, &outcome.request, bodies[0].clone()),
        (Direction::Response, &case.response, &outcome.response, bodies[1].clone()),
    ] {
        for options in &case.filters {
            if options.processing_mode.body(direction) == BodyMode::Grpc && !message.headers_only() {
                messages = messages.iter().flat_map(|message| change.of(message)).collect();
            }
        }
        let expected = Seen {
            headers: Some(message.headers.clone()),
            body: framed(&messages).to_vec(),
            trailers: message.trailers.clone(),
            ended: true,
        };
        same(direction, seen, &expected)?;
    }
    Ok(())
}

#[test]
fn drains_are_not_noticed() {
    exchanges(10_000, |rng| {
        let (case, _) = calls(rng);
        let players =
            players(&case, rng, Change::Keep, &[Drain::Never, Drain::Requests, Drain::Responses, Drain::Legacy]);
        let outcome = run(&case, case.pair(boxed(&players)), false)?;
        transparent(&case, &outcome).map_err(|error| explain(&case, &outcome, &format!("{error}\n{players:?}")))
    });
}

#[test]
fn failures_lose_and_double_nothing() {
    exchanges(10_000, |rng| {
        let (mut case, _) = calls(rng);
        let mut players =
            players(&case, rng, Change::Keep, &[Drain::Never, Drain::Requests, Drain::Responses, Drain::Legacy]);
        for player in &mut players {
            player.fails_at = Some(player.rng.below(8));
        }
        for options in &mut case.filters {
            options.failure_mode_allow |= rng.percent(50);
            options.replay_buffer = rng.pick(&[0, 40, 1 << 20]);
        }
        let outcome = run(&case, case.pair(boxed(&players)), false)?;
        let check = || {
            conserved(&outcome.request, &case.request.body, "request")?;
            if outcome.details.is_some() { Ok(()) } else { transparent(&case, &outcome) }
        };
        check().map_err(|error| explain(&case, &outcome, &format!("{error}\n{players:?}")))
    });
}

/// Makes something of each message, through a session.
#[derive(Clone, Copy, Debug)]
struct Maker(Change);

impl Author for Maker {
    fn answer(&mut self, session: &mut Session, call: Call) -> Result<(), ApiMisuse> {
        match call {
            Call::Headers { direction, .. } => session.answer(direction, Answer::Headers(HeadersAnswer::default())),
            Call::Body { direction, chunk } => {
                let messages = if chunk.without_message { Vec::new() } else { self.0.of(&chunk.data) };
                for data in messages {
                    session.answer(direction, Answer::Chunk(Chunk { data, ..Chunk::default() }))?;
                }
                if !chunk.end_stream {
                    return Ok(());
                }
                let end = Chunk { end_stream: true, without_message: true, ..Chunk::default() };
                session.answer(direction, Answer::Chunk(end))
            }
            Call::Trailers { direction, .. } => session.answer(direction, Answer::Trailers(HeaderEdits::new())),
            Call::Drained { direction } => session.answer(direction, Answer::Drained),
            _ => Ok(()),
        }
    }
}

/// Both ends of our own, whatever the policy: the session keeps to the windows that the filter tells it, and the other
/// way round, and neither waits for the other.
#[test]
fn sessions_and_filters_agree_on_windows() {
    exchanges(10_000, |rng| {
        let (mut case, bodies) = calls(rng);
        let policies = [FlowControl::Auto, FlowControl::Required, FlowControl::Off];
        case.filters.iter_mut().for_each(|options| options.grpc_flow_control = rng.pick(&policies));
        let change = rng.pick(&[Change::Keep, Change::Upper, Change::Twice, Change::Drop]);
        let session = || Box::new(WithSession::new(Maker(change))) as Box<dyn Processor>;
        let outcome = run(&case, case.pair(case.filters.iter().map(|_| session()).collect()), false)?;
        accounted(&case, &bodies, change, &outcome).map_err(|error| explain(&case, &outcome, &error))
    });
}
