//! What a processor says: mostly the answer that is owed, with any content.

use bytes::Bytes;
use extproc_core::{BodyMode, Direction, Profile};
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, GrpcStatus, HeaderMutation, HeaderValue, HeaderValueOption,
    HeadersResponse, HttpStatus, ImmediateResponse, ProcessingMode, ProcessingResponse, StreamedBodyResponse,
    TrailersResponse, prost_types,
};

use crate::predict::{Awaits, Model, at};
use crate::rng::Rng;
use crate::script::Step;

pub(crate) fn reply(rng: &mut Rng, model: &Model, wrong: usize) -> Step {
    let mut message = ProcessingResponse::default();
    let owed: Vec<_> =
        Direction::BOTH.into_iter().filter(|it| model.sides[at(*it)].awaits != Awaits::Nothing).collect();
    if owed.is_empty() && !rng.percent(5) || rng.percent(20) {
        return Step::TakeMessages;
    }
    let astray = rng.percent(wrong);
    let direction = if owed.is_empty() || astray { rng.pick(&Direction::BOTH) } else { rng.pick(&owed) };
    let side = &model.sides[at(direction)];
    if rng.percent(3) {
        message.override_message_timeout = Some(prost_types::Duration {
            seconds: rng.pick(&[0, 0, 0, -1, i64::MAX]),
            nanos: rng.pick(&[0, 1_000_000, 300_000_000, 600_000_000]),
        });
    }
    if rng.percent(if model.options.allow_mode_override { 25 } else { 3 }) {
        message.mode_override = Some(mode(rng, model));
        if rng.percent(25) {
            if rng.percent(70) {
                message.mode_override =
                    Some(ProcessingMode { request_body_mode: 4, request_trailer_mode: 1, ..mode(rng, model) });
            }
            return Step::Reply(Box::new(message));
        }
    }
    if rng.percent(2) {
        message.response = Some(immediate(rng));
        return Step::Reply(Box::new(message));
    }
    let awaits = if astray {
        rng.pick(&[Awaits::Headers, Awaits::Whole, Awaits::Duplex, Awaits::Trailers, Awaits::Nothing])
    } else {
        side.awaits
    };
    let duplex = side.body == BodyMode::FullDuplexStreamed;
    message.response = match awaits {
        Awaits::Nothing => None,
        Awaits::Headers => Some(headers(direction, common(rng, false, wrong))),
        Awaits::Whole | Awaits::Partial | Awaits::Chunks => Some(body(direction, common(rng, false, wrong))),
        Awaits::Duplex if side.trailers.is_some() && rng.percent(50) => Some(trailers(rng, direction)),
        Awaits::Duplex => {
            let streamed = duplex || rng.percent(20);
            Some(body(direction, common(rng, streamed, wrong)))
        }
        Awaits::Trailers => Some(trailers(rng, direction)),
    };
    Step::Reply(Box::new(message))
}

fn headers(direction: Direction, common: Option<CommonResponse>) -> Response {
    let response = HeadersResponse { response: common };
    match direction {
        Direction::Request => Response::RequestHeaders(response),
        Direction::Response => Response::ResponseHeaders(response),
    }
}

fn body(direction: Direction, common: Option<CommonResponse>) -> Response {
    let response = BodyResponse { response: common };
    match direction {
        Direction::Request => Response::RequestBody(response),
        Direction::Response => Response::ResponseBody(response),
    }
}

fn trailers(rng: &mut Rng, direction: Direction) -> Response {
    let response = TrailersResponse { header_mutation: rng.percent(50).then(|| mutation(rng)) };
    match direction {
        Direction::Request => Response::RequestTrailers(response),
        Direction::Response => Response::ResponseTrailers(response),
    }
}

fn common(rng: &mut Rng, streamed: bool, wrong: usize) -> Option<CommonResponse> {
    if !streamed && rng.percent(25) {
        return None;
    }
    let bytes = |rng: &mut Rng| {
        let length = rng.pick(&[0, 1, 3, 8, 12, 30]);
        Bytes::from((0..length).map(|_| rng.pick(b"ABCDEFGHIJ")).collect::<Vec<_>>())
    };
    let streamed = streamed != rng.percent(wrong / 4);
    let change = if streamed {
        Some(Mutation::StreamedResponse(StreamedBodyResponse {
            body: bytes(rng),
            end_of_stream: rng.percent(20),
            ..StreamedBodyResponse::default()
        }))
    } else {
        match rng.below(10) {
            0..5 => None,
            5 => Some(Mutation::ClearBody(rng.percent(80))),
            _ => Some(Mutation::Body(bytes(rng))),
        }
    };
    Some(CommonResponse {
        status: if rng.percent(8) { 1 } else { 0 },
        header_mutation: rng.percent(40).then(|| mutation(rng)),
        body_mutation: (change.is_some() || rng.percent(10)).then_some(BodyMutation { mutation: change }),
        trailers: None,
        clear_route_cache: rng.percent(20),
    })
}

fn immediate(rng: &mut Rng) -> Response {
    Response::ImmediateResponse(ImmediateResponse {
        status: rng.percent(85).then(|| HttpStatus { code: rng.pick(&[-1, 0, 100, 200, 403, 599, 600, 70_000]) }),
        headers: rng.percent(50).then(|| mutation(rng)),
        body: Bytes::from_static(rng.pick(&[b"", b"denied", b"50%\n"])),
        grpc_status: rng.percent(20).then_some(GrpcStatus { status: 5 }),
        details: rng.pick(&["", "why not"]).to_owned(),
    })
}

pub(crate) fn mutation(rng: &mut Rng) -> HeaderMutation {
    const PLAIN: [&[u8]; 4] = [b"x-a", b"X-B", b"x-c", b"content-length"];
    const ODD: [&[u8]; 14] = [
        b"",
        b"a b",
        b"\xff",
        b":status",
        b":method",
        b":path",
        b":scheme",
        b":authority",
        b":foo",
        b"host",
        b"x-envoy-a",
        b"content-type",
        b"grpc-status",
        b"x-b-bin",
    ];
    const VALUES: [&[u8]; 4] = [b"", b"1", b"8", b"500"];
    const ODD_VALUES: [&[u8]; 6] = [b"a\r\nb", b"\0", b"\xff", b"a b", b"99", b"PUT"];
    let odd = rng.percent(15);
    let name = |rng: &mut Rng| {
        if odd && rng.percent(60) { rng.pick(&ODD) } else { rng.pick(&PLAIN) }
    };
    let value = |rng: &mut Rng| {
        if odd && rng.percent(40) { rng.pick(&ODD_VALUES) } else { rng.pick(&VALUES) }
    };
    let set = |rng: &mut Rng| HeaderValueOption {
        header: (!odd || rng.percent(95)).then(|| HeaderValue {
            key: Bytes::from_static(name(rng)),
            value: Bytes::from_static(if rng.percent(20) { value(rng) } else { b"" }),
            raw_value: Bytes::from_static(value(rng)),
        }),
        append: rng.percent(50).then(|| rng.percent(50)),
        append_action: if rng.percent(20) { rng.pick(&[1, 2, 3, 7]) } else { 0 },
        keep_empty_value: false,
    };
    let count = if odd && rng.percent(4) { 101 } else { rng.below(4) };
    HeaderMutation {
        set_headers: (0..count).map(|_| set(rng)).collect(),
        remove_headers: (0..rng.below(3)).map(|_| String::from_utf8_lossy(name(rng)).into_owned()).collect(),
    }
}

fn mode(rng: &mut Rng, model: &Model) -> ProcessingMode {
    // GRPC is another protocol where it is more than a name.
    let strict = model.options.profile == Profile::Strict;
    let send = |rng: &mut Rng| rng.pick(&[0, 0, 1, 2, 9]);
    let body = |rng: &mut Rng| rng.pick(if strict { &[0, 1, 2, 3, 4, 9] } else { &[0, 1, 2, 3, 4, 5] });
    ProcessingMode {
        request_header_mode: send(rng),
        response_header_mode: send(rng),
        request_body_mode: body(rng),
        response_body_mode: body(rng),
        request_trailer_mode: send(rng),
        response_trailer_mode: send(rng),
    }
}
