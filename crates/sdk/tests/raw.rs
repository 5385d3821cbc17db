//! Processors that speak the protocol themselves, served as the others are.

use extproc::proto::processing_response::Response;
use extproc::proto::{HeadersResponse, ProcessingResponse};
use extproc::testing::Script;
use extproc::{Metrics, Open, Raw, RawProcessor, RawReplies, RawRequests};
use tokio_stream::StreamExt;
use tonic::Status;

/// Answers headers; anything else is an error.
struct HeadsOnly;

impl RawProcessor for HeadsOnly {
    fn name(&self) -> &'static str {
        "HeadsOnly"
    }

    fn process(&self, _: &Open, requests: RawRequests) -> RawReplies {
        Box::pin(requests.map(|message| match message?.request {
            Some(extproc::proto::processing_request::Request::RequestHeaders(_)) => Ok(ProcessingResponse {
                response: Some(Response::RequestHeaders(HeadersResponse::default())),
                ..ProcessingResponse::default()
            }),
            other => Err(Status::unimplemented(format!("no answer to {other:?}"))),
        }))
    }
}

#[tokio::test]
async fn its_answers_are_its_own_and_its_streams_are_counted() {
    let metrics = Metrics::new();
    let heads = Script::new().metrics(&metrics).request_only([(":path", "/")]);
    let said = heads.clone().run(Raw::new(HeadsOnly)).await;
    assert_eq!((said.lines(), said.status.is_ok()), (vec!["request_headers".to_owned()], true));
    let said = heads.response_headers([(":status", "200")]).run(Raw::new(HeadsOnly)).await;
    assert!(said.status.is_err() && said.replies.len() == 1, "the error ends the stream: {:?}", said.lines());
    let text = metrics.encode();
    for line in [
        "ext_proc_streams_total{processor=\"HeadsOnly\",end=\"ok\"} 1",
        "ext_proc_streams_total{processor=\"HeadsOnly\",end=\"failed\"} 1",
        "ext_proc_streams_active{processor=\"HeadsOnly\"} 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
