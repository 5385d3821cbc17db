//! Processors that do wrong: what `extproc call` warns of, and what `extproc test` does not let pass.

use std::pin::Pin;

use extproc::proto::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use extproc::proto::processing_response::Response as Answer;
use extproc::proto::{
    CommonResponse, HeaderMutation, HeaderValue, HeaderValueOption, HeadersResponse, ProcessingRequest,
    ProcessingResponse,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::{TcpListenerStream, UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::process::{run, text};

/// What a processor does wrong.
#[derive(Clone, Copy, Debug)]
enum Mistake {
    /// Its header has `value` in place of `raw_value`.
    Value,
    /// It answers the last message twice.
    Twice,
    /// It answers another phase.
    WrongPhase,
    /// It does not end its stream when the data plane has.
    Open,
}

impl Mistake {
    fn answers(self) -> Vec<ProcessingResponse> {
        let headers = HeadersResponse { response: Some(CommonResponse::default()) };
        let reply = |answer| ProcessingResponse { response: Some(answer), ..ProcessingResponse::default() };
        match self {
            Self::Open => vec![reply(Answer::RequestHeaders(headers))],
            Self::Twice => vec![reply(Answer::RequestHeaders(headers.clone())), reply(Answer::RequestHeaders(headers))],
            Self::WrongPhase => vec![reply(Answer::ResponseHeaders(headers))],
            Self::Value => {
                let header = HeaderValue { key: "x-a".into(), value: "1".into(), ..HeaderValue::default() };
                let option = HeaderValueOption { header: Some(header), ..HeaderValueOption::default() };
                let mutation = HeaderMutation { set_headers: vec![option], ..HeaderMutation::default() };
                let common = CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() };
                vec![reply(Answer::RequestHeaders(HeadersResponse { response: Some(common) }))]
            }
        }
    }
}

#[tonic::async_trait]
impl ExternalProcessor for Mistake {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let (mistake, mut messages) = (*self, request.into_inner());
        let (replies, out) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(_)) = messages.message().await {
                for reply in mistake.answers() {
                    let _ = replies.send(Ok(reply));
                }
            }
            if let Self::Open = mistake {
                replies.closed().await;
            }
        });
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(out))))
    }
}

async fn serve(mistake: Mistake) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = tonic::transport::Server::builder().add_service(ExternalProcessorServer::new(mistake));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    addr
}

/// Only the request's headers are sent: one message, one answer.
const ONE: &str = "name: one\ndata_plane: {response_header_mode: skip}\nexpect: {client: {status: 200}}\n";

#[tokio::test]
async fn calls_warn_and_cases_fail() {
    let dir = TempDir::new().unwrap();
    let cases = dir.path().join("cases.yaml").display().to_string();
    std::fs::write(&cases, ONE).unwrap();
    for (mistake, call, said, test, told) in [
        (Mistake::Value, 0, "warning: x-a has only `value`", 0, "1 passed"),
        (Mistake::Twice, 1, "request headers, which was not asked", 1, "message out of place"),
        (Mistake::WrongPhase, 1, "response headers, which was not asked", 1, "spurious_message"),
        (Mistake::Open, 0, "did not end the stream", 0, "1 passed"),
    ] {
        let addr = serve(mistake).await;
        let output = run(&["call", &addr, "--timeout", "20s", "--skip-response-headers"]).await;
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(call), "{mistake:?}: {shown}");
        assert!(shown.contains(said), "{mistake:?}: {shown}");
        let output = run(&["test", &cases, "--target", &addr]).await;
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(test), "{mistake:?}: {shown}");
        assert!(shown.contains(told), "{mistake:?}: {shown}");
    }
}
