//! SIGTERM and SIGINT. One test in a process of its own, because signals go to all of it.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use extproc::proto::external_processor_client::ExternalProcessorClient;
use extproc::proto::grpc::health::v1::HealthCheckRequest;
use extproc::proto::grpc::health::v1::health_check_response::ServingStatus;
use extproc::proto::grpc::health::v1::health_client::HealthClient;
use extproc::testing::Script;
use extproc::{Address, BodyMode, RequestHead, Server, Start, Stop, processor};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic::transport::Endpoint;

const LIMIT: Duration = Duration::from_secs(10);

fn signal(name: &str) {
    let status = Command::new("kill").args([name, &std::process::id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// PY-073, PY-074: both signals are graceful, the second one forces.
#[tokio::test]
async fn the_first_signal_drains_and_the_second_forces() {
    let entered = Arc::new(Notify::new());
    let hang = processor::<Arc<Notify>, ()>("Hang", Arc::clone(&entered)).request_headers(
        async |entered: &Arc<Notify>, _: &mut (), _: &mut Start<RequestHead>| -> Result<(), Stop> {
            entered.notify_one();
            std::future::pending().await
        },
    );
    let bound = Server::new(hang).listen("127.0.0.1:0").grace(Duration::from_secs(3600)).bind().await.unwrap();
    let Address::Tcp(address) = bound.address().clone() else { panic!("not TCP") };
    let served = tokio::spawn(bound.serve());

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let (send, requests) = mpsc::channel(8);
    let first = Script::new().modes(BodyMode::None, BodyMode::None).request_only([(":method", "GET")]).messages();
    send.send(first[0].clone()).await.unwrap();
    let mut replies = ExternalProcessorClient::new(channel.clone())
        .process(ReceiverStream::new(requests))
        .await
        .unwrap()
        .into_inner();
    timeout(LIMIT, entered.notified()).await.unwrap();
    let mut watch = HealthClient::new(channel).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    signal("-TERM");
    let draining = timeout(LIMIT, watch.message()).await.unwrap().unwrap().unwrap();
    assert_eq!(draining.status(), ServingStatus::NotServing);
    assert!(!served.is_finished(), "an exchange is still running");

    signal("-INT");
    assert_eq!(timeout(LIMIT, replies.message()).await.unwrap().unwrap_err().code(), Code::Unavailable);
    timeout(LIMIT, served).await.unwrap().unwrap().unwrap();
}
