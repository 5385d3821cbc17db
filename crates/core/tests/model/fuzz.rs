//! What a fuzzer (`fuzz/`) plays, judged by the model; its corpora are replayed here.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use extproc_core::filter::{StreamEvent, Timer};
use extproc_core::{BodyMode, Config, Direction, FilterChain, Options, ProcessingMode, Profile, Session};
use extproc_proto::processing_response::Response;
use extproc_proto::prost::Message;
use extproc_proto::{
    CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HeadersResponse, ProcessingRequest,
    ProcessingResponse, TrailersResponse,
};

use crate::drive::Play;
use crate::generate;
use crate::rng::Rng;
use crate::script::{Script, Step};

/// Any exchange: the bytes are the choices of the generator.
pub(crate) fn filter(data: &[u8]) {
    let (script, result) = generate::exchange(&mut Rng::of(data));
    if let Err(error) = result {
        panic!("{error}\n{}", script.print());
    }
}

/// Any mutation of a header map, under any rules.
pub(crate) fn mutation(data: &[u8]) {
    let mut rng = Rng::of(data);
    let direction = rng.pick(&Direction::BOTH);
    let of_trailers = rng.percent(25);
    let processing_mode = ProcessingMode {
        request_body: rng.pick(&[BodyMode::None, BodyMode::Buffered, BodyMode::Streamed]),
        request_trailers: true,
        response_trailers: true,
        ..ProcessingMode::default()
    };
    let options = Options {
        profile: rng.pick(&Profile::ALL),
        processing_mode,
        mutation_rules: generate::mutation_rules(&mut rng),
        max_headers: rng.pick(&[100, 4, 8]),
        max_header_bytes: rng.pick(&[60 << 10, 40]),
        allow_content_length_header: rng.percent(30),
        ..Options::default()
    };
    let mut steps = vec![Step::Headers(direction, generate::headers(&mut rng, direction), false)];
    let header_mutation = Some(any_mutation(&mut rng));
    let plain = if of_trailers { None } else { header_mutation.clone() };
    let status = i32::from(rng.percent(20));
    let response = Some(CommonResponse { status, header_mutation: plain, ..CommonResponse::default() });
    let of = |request: Response, response: Response| match direction {
        Direction::Request => request,
        Direction::Response => response,
    };
    let head = HeadersResponse { response };
    steps.push(says(of(Response::RequestHeaders(head.clone()), Response::ResponseHeaders(head))));
    if of_trailers {
        let tail = TrailersResponse { header_mutation };
        steps.push(Step::Trailers(direction, generate::trailers(&mut rng)));
        steps.push(says(of(Response::RequestTrailers(tail.clone()), Response::ResponseTrailers(tail))));
    }
    steps.extend([Step::TakeMessages, Step::Take(Direction::Request), Step::Take(Direction::Response)]);
    judge(&Script { config: Arc::new(Config::new(options).unwrap()), steps });
}

fn any_mutation(rng: &mut Rng) -> HeaderMutation {
    let mut mutation = generate::replies::mutation(rng);
    for _ in 0..rng.below(4) {
        let (key, value) = (any_bytes(rng), any_bytes(rng));
        let header = rng.percent(95).then(|| HeaderValue { key, value, raw_value: any_bytes(rng) });
        mutation.set_headers.push(HeaderValueOption {
            header,
            append: rng.percent(50).then(|| rng.percent(50)),
            append_action: rng.pick(&[0, 1, 2, 3, 4, -1]),
            keep_empty_value: rng.percent(10),
        });
    }
    for _ in 0..rng.below(3) {
        mutation.remove_headers.push(String::from_utf8_lossy(&any_bytes(rng)).into_owned());
    }
    mutation
}

fn any_bytes(rng: &mut Rng) -> Bytes {
    (0..rng.below(9)).map(|_| u8::try_from(rng.below(256)).unwrap()).collect()
}

fn says(response: Response) -> Step {
    Step::Reply(Box::new(ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }))
}

fn judge(script: &Script) {
    if let Err(error) = Play::run(script) {
        panic!("{error}\n{}", script.print());
    }
}

/// Any bytes in place of messages: those of a processor for the filter, those of a data plane for a session. A message
/// that can be read can be written again.
pub(crate) fn wire(data: &[u8]) {
    let [choice, data @ ..] = data else { return };
    for message in data.split(|byte| *byte == 0xfe) {
        if let Ok(request) = ProcessingRequest::decode(message) {
            assert_eq!(ProcessingRequest::decode(&request.encode_to_vec()[..]).as_ref(), Ok(&request));
        }
    }
    let requests = data.split(|byte| *byte == 0xfe).filter_map(|it| ProcessingRequest::decode(it).ok());
    let mut session = Session::new();
    for request in requests {
        if session.handle(request).is_err() {
            break;
        }
        while session.poll_reply().is_some() {}
    }
    let replies: Vec<_> =
        data.split(|byte| *byte == 0xfe).filter_map(|it| ProcessingResponse::decode(it).ok()).collect();
    for reply in &replies {
        assert_eq!(ProcessingResponse::decode(&reply.encode_to_vec()[..]).as_ref(), Ok(reply));
    }
    play_replies(*choice, replies);
}

/// What the model does not know it does not judge: replies in a stream, and what is said about GRPC bodies.
fn is_judged(reply: &ProcessingResponse) -> bool {
    let whole = |nanos: i32| nanos % 1_000_000 == 0;
    !matches!(reply.response, Some(Response::StreamedImmediateResponse(_)))
        && reply.override_message_timeout.is_none_or(|it| whole(it.nanos) && (0..1_000).contains(&it.seconds))
}

fn play_replies(choice: u8, replies: Vec<ProcessingResponse>) {
    use BodyMode::{Buffered, BufferedPartial, FullDuplexStreamed, Grpc, None, Streamed};
    let body = [None, Streamed, Buffered, BufferedPartial, FullDuplexStreamed, Grpc][usize::from(choice % 6)];
    let profile = Profile::ALL[usize::from(choice / 6 % 4)];
    let processing_mode = ProcessingMode {
        request_body: body,
        response_body: body,
        request_trailers: true,
        response_trailers: true,
        ..ProcessingMode::default()
    };
    let options = Options {
        profile,
        processing_mode,
        failure_mode_allow: choice >= 128,
        allow_mode_override: choice % 2 == 1,
        replay_buffer: usize::from(choice >= 192) * 100,
        ..Options::default()
    };
    let config = Arc::new(Config::new(options).unwrap());
    let judged = profile == Profile::Envoy && replies.iter().all(is_judged);
    let map = |pairs: &[(&str, &[u8])]| pairs.iter().map(|(n, v)| ((*n).to_owned(), v.to_vec())).collect::<Vec<_>>();
    let mut steps = Vec::new();
    let mut replies = replies.into_iter();
    for part in [
        Step::Headers(Direction::Request, map(&[(":method", b"POST"), (":path", b"/")]), false),
        Step::Data(Direction::Request, b"\0\0\0\0\x01a".to_vec(), false),
        Step::Trailers(Direction::Request, map(&[("x-t", b"1")])),
        Step::Headers(Direction::Response, map(&[(":status", b"200"), ("content-type", b"application/grpc")]), false),
        Step::Data(Direction::Response, b"\0\0\0\0\x01b".to_vec(), false),
        Step::Trailers(Direction::Response, map(&[("grpc-status", b"0")])),
    ] {
        steps.push(part);
        steps.extend(replies.by_ref().take(2).map(|reply| Step::Reply(Box::new(reply))));
        steps.extend([Step::TakeMessages, Step::Take(Direction::Request), Step::Take(Direction::Response)]);
    }
    let script = Script { config, steps };
    if judged { judge(&script) } else { survive(&script) }
}

/// Without the model: nothing but the filter, which must not panic, and what holds for every exchange.
fn survive(script: &Script) {
    #[expect(clippy::disallowed_methods, reason = "the start of the virtual clock")]
    let now = Instant::now();
    let mut chain = FilterChain::new([script.config.clone()]);
    for step in &script.steps {
        match step {
            Step::Headers(direction, ..) | Step::Data(direction, ..) | Step::Trailers(direction, _) => {
                let _misuse = chain.handle_http(now, *direction, step.event().unwrap());
            }
            Step::Reply(reply) => chain.handle_stream(now, 0, StreamEvent::Reply(reply.clone())),
            Step::TakeMessages => while chain.poll_send(0).is_some() {},
            Step::Take(direction) => while chain.poll_forward(*direction).is_some() {},
            _ => {}
        }
        while chain.poll_effect().is_some() {}
        let stats = chain.stats(0);
        assert!(stats.spurious_msgs_received <= 1 && stats.immediate_responses_sent <= 2, "{stats:?}");
        assert!(stats.streams_started <= 1 && stats.streams_closed <= 1, "{stats:?}");
    }
    chain.finish(now);
    let left = chain.poll_timeout().map(|(_, _, timer)| timer);
    assert!(matches!(left, None | Some(Timer::RemoteClose)), "a deadline after the end: {left:?}");
}

/// Inputs that the fuzzer found worth keeping.
fn replay(target: &str, play: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 50, "{} holds {} inputs", folder.display(), files.len());
    for file in files {
        play(&std::fs::read(&file).unwrap());
    }
}

#[test]
fn the_corpus_of_filter_passes() {
    replay("filter", filter);
}

#[test]
fn the_corpus_of_mutation_passes() {
    replay("mutation", mutation);
}

#[test]
fn the_corpus_of_wire_passes() {
    replay("wire", wire);
}
