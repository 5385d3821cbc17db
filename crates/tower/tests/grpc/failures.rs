//! Processors that fail.

use std::net::SocketAddr;

use extproc_core::call::Options;
use extproc_proto::processing_request::Request as Told;
use extproc_proto::processing_response::Response;
use extproc_proto::{GrpcStatus, ImmediateResponse, ProcessingResponse};
use tonic::Code;

use crate::processor::{Scripted, Step, ack};
use crate::world::{PLACES, World, echoes, options, value};

/// Nobody listens there.
async fn nobody() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a93_102_103_109_286_without_a_processor() {
    for place in PLACES {
        let mut world = World::at(place, options("SGSGS"), nobody().await).await;
        let status = world.unary("a").await.status.unwrap();
        assert_eq!(status.code(), Code::Internal, "{place:?}");
        let text = status.message();
        assert!(text.starts_with("ext_proc: failed to open a stream to the external processor: "), "{text}");
        assert!(world.seen.calls.lock().unwrap().is_empty(), "{place:?}");
        let allowing = Options { failure_mode_allow: true, ..options("SGSGS") };
        let mut world = World::at(place, allowing, nobody().await).await;
        assert_eq!(world.stream("Bidi", &["a", "b"]).await.text(), "a b", "{place:?}");
    }
}

#[tokio::test]
async fn a93_111_113_141_failures_in_the_middle() {
    for place in PLACES {
        let fails_at_messages = |message: &extproc_proto::ProcessingRequest| match message.request.as_ref().unwrap() {
            Told::RequestBody(_) => Step::Fail(Code::Unavailable, "gone"),
            _ => Step::Reply(ack(message)),
        };
        let processor = Scripted::start(fails_at_messages).await;
        for failure_mode_allow in [false, true] {
            let mut world = World::new(place, Options { failure_mode_allow, ..options("SGSGS") }, &processor).await;
            let status = world.stream("Bidi", &["a", "b"]).await.status.unwrap();
            let text = "ext_proc: external processor RPC failed: UNAVAILABLE: gone";
            assert_eq!((status.code(), status.message()), (Code::Internal, text), "{place:?} {failure_mode_allow}");
        }
        let fails_at_headers = |message: &extproc_proto::ProcessingRequest| match message.request.as_ref().unwrap() {
            Told::ResponseHeaders(_) => Step::Fail(Code::Unavailable, "gone"),
            _ => Step::Reply(ack(message)),
        };
        let processor = Scripted::start(fails_at_headers).await;
        let allowing = Options { failure_mode_allow: true, ..options("SNSNS") };
        let mut world = World::new(place, allowing, &processor).await;
        assert_eq!(world.stream("Bidi", &["a", "b"]).await.text(), "a b", "{place:?}");
    }
}

#[tokio::test]
async fn a93_104_106_292_a_stream_that_ends_ok() {
    for place in PLACES {
        let processor = Scripted::start(|_| Step::Finish).await;
        let mut world = World::new(place, options("SNSNS"), &processor).await;
        assert_eq!(world.stream("Bidi", &["a", "b"]).await.text(), "a b", "{place:?}");
        let mut world = World::new(place, options("SGSGS"), &processor).await;
        let text = "Internal: ext_proc: stream closed by the external processor without drain";
        assert_eq!(world.stream("Bidi", &["a"]).await.text(), text, "{place:?}");
    }
}

#[tokio::test]
async fn a93_182_186_188_the_processor_ends_the_call() {
    let refusal = |status: u32| {
        let immediate = ImmediateResponse {
            grpc_status: Some(GrpcStatus { status }),
            details: "no 100%".to_owned(),
            headers: Some(crate::processor::mutation("why", "because")),
            ..ImmediateResponse::default()
        };
        ProcessingResponse { response: Some(Response::ImmediateResponse(immediate)), ..ProcessingResponse::default() }
    };
    for place in PLACES {
        for (at, modes) in [("qh", "SNKNK"), ("qb", "SGKNK"), ("sh", "SNSNK"), ("sb", "KNKGS"), ("st", "KNKNS")] {
            let processor = Scripted::start(move |message| {
                if crate::processor::kind(message) == at { Step::Reply(refusal(16)) } else { echoes()(message) }
            })
            .await;
            let mut world = World::new(place, options(modes), &processor).await;
            let status = world.stream("Bidi", &["a"]).await.status.unwrap();
            assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "no 100%"), "{place:?} {at}");
            assert_eq!(value(status.metadata(), "why"), b"because", "{place:?} {at}");
        }
    }
}

#[tokio::test]
async fn a93_122_a_server_that_cannot_be_reached() {
    let processor = Scripted::start(echoes()).await;
    let mut world = World::new(PLACES[0], options("SGSGS"), &processor).await;
    world.stop_server().await;
    let status = world.unary("a").await.status.unwrap();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
}
