//! Exchanges in which the filter once was not as the model, and was wrong.

use std::sync::Arc;

use bytes::Bytes;
use extproc_core::{BodyMode, Config, Direction, Options, ProcessingMode};
use extproc_proto::body_mutation::Mutation;
use extproc_proto::processing_response::Response;
use extproc_proto::{
    BodyMutation, BodyResponse, CommonResponse, HeadersResponse, ProcessingResponse, StreamedBodyResponse,
};

use crate::drive::Play;
use crate::script::{Script, Step};

fn says(response: Response) -> Step {
    Step::Reply(Box::new(ProcessingResponse { response: Some(response), ..ProcessingResponse::default() }))
}

/// A piece of request body (FULL_DUPLEX_STREAMED).
fn piece(body: &'static str, end_of_stream: bool) -> Step {
    let piece = StreamedBodyResponse { body: Bytes::from_static(body.as_bytes()), end_of_stream, ..<_>::default() };
    let body_mutation = Some(BodyMutation { mutation: Some(Mutation::StreamedResponse(piece)) });
    let response = Some(CommonResponse { body_mutation, ..CommonResponse::default() });
    says(Response::RequestBody(BodyResponse { response }))
}

fn data(text: &str) -> Step {
    Step::Data(Direction::Request, text.as_bytes().to_vec(), false)
}

/// What the stream had not taken when it ended counted against the limit for ever: the rest of the body was never read.
#[test]
fn what_a_lost_stream_has_not_taken_is_no_load() {
    let mode = ProcessingMode {
        request_headers: false,
        request_body: BodyMode::FullDuplexStreamed,
        request_trailers: true,
        ..ProcessingMode::default()
    };
    let options = Options { processing_mode: mode, buffer_limit: 25, ..Options::default() };
    let script = Script {
        config: Arc::new(Config::new(options).unwrap()),
        steps: vec![
            Step::Headers(Direction::Request, Vec::new(), false),
            data("eighteen bytes and"),
            piece("more than ten bytes", false),
            Step::Take(Direction::Request),
            Step::Headers(Direction::Response, Vec::new(), false),
            piece("", true),
            says(Response::ResponseHeaders(HeadersResponse::default())),
            Step::Closed(None),
            Step::Wait(0),
        ],
    };
    Play::run(&script).unwrap();
}
