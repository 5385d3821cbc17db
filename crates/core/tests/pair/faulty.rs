//! Processors that do anything but what they should, at random.

use std::time::Duration;

use bytes::Bytes;
use extproc_core::filter::GrpcStatus;
use extproc_core::pair::{Processor, Replies};
use extproc_proto::common_response::ResponseStatus;
use extproc_proto::processing_request::Request;
use extproc_proto::processing_response::{Response, ServerWindowUpdate};
use extproc_proto::prost_types;
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, GrpcStatus as GrpcCode, HeaderMutation, HeaderValue, HeaderValueOption,
    HeadersResponse, HttpHeaders, HttpStatus, ImmediateResponse, ProcessingMode, ProcessingRequest, ProcessingResponse,
    StreamedBodyResponse, StreamedImmediateResponse, TrailersResponse, body_mutation::Mutation,
    streamed_immediate_response,
};

use crate::rng::Rng;

/// Mostly right, sometimes wrong.
#[derive(Debug)]
pub(crate) struct Faulty {
    rng: Rng,
    kind: Kind,
    /// In how many of a hundred messages it does something else than going on.
    wrong: usize,
}

/// What it may do to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Slow, but in time and right.
    Slow,
    /// It fails: late, silent, the wrong message, the end of the stream. It never asks for a change.
    Failing,
    /// Anything that can be written on the wire.
    Garbage,
}

impl Faulty {
    pub(crate) fn new(rng: Rng, kind: Kind) -> Self {
        let mut rng = rng;
        let wrong = rng.pick(&[5, 20, 60]);
        Self { rng, kind, wrong }
    }

    fn fail(&mut self, right: Response, replies: &mut Replies) {
        match self.rng.below(9) {
            0 => {}
            1 => {
                replies.wait(Duration::from_millis(150 + self.rng.below(200) as u64));
                replies.send(plain(right));
            }
            2 => replies.send(plain(any_kind(&mut self.rng))),
            3 => {
                replies.send(plain(right.clone()));
                replies.send(plain(right));
            }
            4 => replies.send(ProcessingResponse::default()),
            5 => replies.send(ProcessingResponse { request_drain: true, ..ProcessingResponse::default() }),
            6 => replies.close(self.status()),
            7 => {
                replies.send(plain(right));
                replies.close(self.status());
            }
            _ => {
                let timeout = self.duration();
                replies.send(ProcessingResponse {
                    override_message_timeout: Some(timeout),
                    ..ProcessingResponse::default()
                });
                replies.wait(Duration::from_millis(self.rng.below(400) as u64));
                replies.send(plain(right));
            }
        }
    }

    fn garble(&mut self, right: Response, replies: &mut Replies) {
        let rng = &mut self.rng;
        let mut response = match rng.below(6) {
            0 => plain(Response::ImmediateResponse(ImmediateResponse {
                status: rng
                    .percent(80)
                    .then(|| HttpStatus { code: rng.pick(&[-1, 0, 99, 100, 200, 403, 599, 600, 70_000]) }),
                headers: rng.percent(50).then(|| mutation(rng)),
                body: body(rng),
                grpc_status: rng.percent(20).then_some(GrpcCode { status: 5 }),
                details: (rng.pick(&["", "why not", "a\tb\u{e4}"])).to_owned(),
            })),
            1 => plain(Response::StreamedImmediateResponse(StreamedImmediateResponse {
                response: rng
                    .percent(70)
                    .then(|| streamed_immediate_response::Response::HeadersResponse(HttpHeaders::default())),
            })),
            _ => plain(garbled(rng, right)),
        };
        if rng.percent(10) {
            response.mode_override = Some(ProcessingMode {
                request_header_mode: any_number(rng),
                response_header_mode: any_number(rng),
                request_body_mode: any_number(rng),
                response_body_mode: any_number(rng),
                request_trailer_mode: any_number(rng),
                response_trailer_mode: any_number(rng),
            });
        }
        if rng.percent(10) {
            response.request_drain = rng.percent(30);
            response.request_drain_requests = rng.percent(50);
            response.request_drain_responses = rng.percent(50);
            response.server_window_update = rng.percent(50).then(|| ServerWindowUpdate {
                window_increment_downstream_to_sidestream: rng.pick(&[0, 1, -5, i64::MAX]),
                window_increment_upstream_to_sidestream: rng.pick(&[0, 1, -5, i64::MIN]),
            });
        }
        if rng.percent(10) {
            response.dynamic_metadata = Some(prost_types::Struct::default());
        }
        replies.send(response);
        if rng.percent(20) {
            replies.send(plain(any_kind(rng)));
        }
    }

    fn status(&mut self) -> Result<(), GrpcStatus> {
        if self.rng.percent(50) {
            return Ok(());
        }
        let code = self.rng.pick(&[1, 2, 4, 8, 13, 14, 16]);
        Err(GrpcStatus { code, message: "it just broke".to_owned() })
    }

    fn duration(&mut self) -> prost_types::Duration {
        self.rng.pick(&[
            prost_types::Duration { seconds: 0, nanos: 500_000_000 },
            prost_types::Duration { seconds: 0, nanos: 0 },
            prost_types::Duration { seconds: 5, nanos: 0 },
            prost_types::Duration { seconds: -1, nanos: -1 },
            prost_types::Duration { seconds: i64::MAX, nanos: i32::MAX },
        ])
    }
}

impl Processor for Faulty {
    fn opened(&mut self, replies: &mut Replies) {
        if self.kind == Kind::Slow || !self.rng.percent(4) {
            return;
        }
        match self.rng.below(3) {
            0 => replies.close(Err(GrpcStatus { code: 14, message: "connection refused".to_owned() })),
            1 => replies.close(Ok(())),
            _ => replies.send(plain(any_kind(&mut self.rng))),
        }
    }

    fn message(&mut self, message: ProcessingRequest, replies: &mut Replies) {
        let Some(right) = right(&message) else { return };
        if self.rng.percent(40) {
            // Together with the way there and back less than the timeout of 200 ms.
            replies.wait(Duration::from_millis(self.rng.below(100) as u64));
        }
        let wrong = self.kind != Kind::Slow && self.rng.percent(self.wrong);
        match self.kind {
            Kind::Garbage if wrong && self.rng.percent(60) => self.garble(right, replies),
            Kind::Failing | Kind::Garbage if wrong => self.fail(right, replies),
            Kind::Slow | Kind::Failing | Kind::Garbage => replies.send(plain(right)),
        }
    }

    fn half_closed(&mut self, replies: &mut Replies) {
        if self.kind != Kind::Slow && self.rng.percent(20) {
            replies.send(plain(any_kind(&mut self.rng)));
        }
        if self.kind == Kind::Slow || self.rng.percent(80) {
            let status = if self.kind == Kind::Slow { Ok(()) } else { self.status() };
            replies.close(status);
        }
    }
}

fn plain(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }
}

/// The reply of the kind that the message asks for, without a change.
fn right(message: &ProcessingRequest) -> Option<Response> {
    Some(match message.request.as_ref()? {
        Request::RequestHeaders(_) => Response::RequestHeaders(HeadersResponse::default()),
        Request::ResponseHeaders(_) => Response::ResponseHeaders(HeadersResponse::default()),
        Request::RequestBody(_) => Response::RequestBody(BodyResponse::default()),
        Request::ResponseBody(_) => Response::ResponseBody(BodyResponse::default()),
        Request::RequestTrailers(_) => Response::RequestTrailers(TrailersResponse::default()),
        Request::ResponseTrailers(_) => Response::ResponseTrailers(TrailersResponse::default()),
    })
}

fn any_kind(rng: &mut Rng) -> Response {
    match rng.below(6) {
        0 => Response::RequestHeaders(HeadersResponse::default()),
        1 => Response::ResponseHeaders(HeadersResponse::default()),
        2 => Response::RequestBody(BodyResponse::default()),
        3 => Response::ResponseBody(BodyResponse::default()),
        4 => Response::RequestTrailers(TrailersResponse::default()),
        _ => Response::ResponseTrailers(TrailersResponse::default()),
    }
}

/// The right kind with anything in it.
fn garbled(rng: &mut Rng, right: Response) -> Response {
    let mut common = || CommonResponse {
        status: rng.pick(&[ResponseStatus::Continue.into(), ResponseStatus::ContinueAndReplace.into(), 7]),
        header_mutation: rng.percent(60).then(|| mutation(rng)),
        body_mutation: rng.percent(60).then(|| BodyMutation { mutation: body_mutation(rng) }),
        trailers: None,
        clear_route_cache: rng.percent(30),
    };
    match right {
        Response::RequestHeaders(_) => Response::RequestHeaders(HeadersResponse { response: Some(common()) }),
        Response::ResponseHeaders(_) => Response::ResponseHeaders(HeadersResponse { response: Some(common()) }),
        Response::RequestBody(_) => Response::RequestBody(BodyResponse { response: Some(common()) }),
        Response::ResponseBody(_) => Response::ResponseBody(BodyResponse { response: Some(common()) }),
        Response::RequestTrailers(_) => {
            Response::RequestTrailers(TrailersResponse { header_mutation: Some(mutation(rng)) })
        }
        Response::ResponseTrailers(_) => {
            Response::ResponseTrailers(TrailersResponse { header_mutation: Some(mutation(rng)) })
        }
        other @ (Response::ImmediateResponse(_) | Response::StreamedImmediateResponse(_)) => other,
    }
}

fn body_mutation(rng: &mut Rng) -> Option<Mutation> {
    match rng.below(4) {
        0 => None,
        1 => Some(Mutation::ClearBody(rng.percent(50))),
        2 => Some(Mutation::StreamedResponse(StreamedBodyResponse {
            body: body(rng),
            end_of_stream: rng.percent(50),
            end_of_stream_without_message: rng.percent(10),
            grpc_message_compressed: rng.percent(10),
            drain_complete: rng.percent(10),
        })),
        _ => Some(Mutation::Body(body(rng))),
    }
}

fn body(rng: &mut Rng) -> Bytes {
    let length = rng.below(300);
    Bytes::from(rng.bytes(length))
}

fn mutation(rng: &mut Rng) -> HeaderMutation {
    const NAMES: [&[u8]; 14] = [
        b"x-a",
        b"X-B",
        b"",
        b"a b",
        b"\xff",
        b":status",
        b":method",
        b":path",
        b":foo",
        b"host",
        b"x-envoy-a",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
    ];
    const VALUES: [&[u8]; 6] = [b"", b"1", b"500", b"a\r\nb", b"\0", b"\xff"];
    let count = if rng.percent(2) { 101 } else { rng.below(4) };
    let set = |rng: &mut Rng| HeaderValueOption {
        header: rng.percent(95).then(|| HeaderValue {
            key: Bytes::from_static(rng.pick(&NAMES)),
            value: Bytes::from_static(rng.pick(&VALUES)),
            raw_value: Bytes::from_static(rng.pick(&VALUES)),
        }),
        append: rng.percent(50).then(|| rng.percent(50)),
        append_action: any_number(rng),
        keep_empty_value: rng.percent(50),
    };
    HeaderMutation {
        set_headers: (0..count).map(|_| set(rng)).collect(),
        remove_headers: (0..rng.below(3)).map(|_| String::from_utf8_lossy(rng.pick(&NAMES)).into_owned()).collect(),
    }
}

fn any_number(rng: &mut Rng) -> i32 {
    rng.pick(&[0, 1, 2, 3, 4, 5, -1, 99])
}
