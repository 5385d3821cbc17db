//! grpc.health.v1.

use extproc::proto::grpc::health::v1::health_check_response::ServingStatus::{
    self, NotServing, ServiceUnknown, Serving,
};
use extproc::proto::grpc::health::v1::health_client::HealthClient;
use extproc::proto::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse, HealthListRequest};
use extproc::{Chain, Noop, Reveal, Server};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};

use crate::rig::{LIMIT, Rig};

const PROCESSOR: &str = "envoy.service.ext_proc.v3.ExternalProcessor";

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn list(client: &mut HealthClient<Channel>) -> Vec<(String, ServingStatus)> {
    let listed = client.list(HealthListRequest {}).await.unwrap().into_inner().statuses;
    listed.into_iter().map(|(service, response)| (service, response.status())).collect()
}

async fn next(watch: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    timeout(LIMIT, watch.message()).await.unwrap().unwrap().map(|it| it.status())
}

#[tokio::test]
async fn py_075_each_processor_has_a_state_that_can_be_set() {
    struct Other;
    impl extproc::Processor for Other {
        type Ctx = ();
        type RequestBody = extproc::Skip;
        type ResponseBody = extproc::Skip;

        fn open(&self, _: &extproc::Open) {}
    }
    let server = Server::new(Chain::new(Reveal::new(Noop)).then(Other)).listen("127.0.0.1:0");
    let health = server.health_handle();
    let unknown = health.set("other", false).unwrap_err().to_string();
    assert_eq!(unknown, r#"no processor "other" is served; there are "Noop", "Other""#);
    health.set("Other", false).unwrap();

    let bound = server.bind().await.unwrap();
    let address = bound.local_addr().unwrap();
    tokio::spawn(bound.serve_with_shutdown(std::future::pending()));
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = HealthClient::new(channel);

    let states = |all, other| {
        let states = [("", all), ("Noop", Serving), ("Other", other), (PROCESSOR, all)];
        states.map(|(service, state)| (service.to_owned(), state)).to_vec()
    };
    assert_eq!(list(&mut client).await, states(NotServing, NotServing));
    let mut all = client.watch(of("")).await.unwrap().into_inner();
    let mut noop = client.watch(of("Noop")).await.unwrap().into_inner();
    assert_eq!(next(&mut all).await, Some(NotServing));
    assert_eq!(next(&mut noop).await, Some(Serving));

    health.set("Other", true).unwrap();
    assert_eq!(next(&mut all).await, Some(Serving));
    assert_eq!(list(&mut client).await, states(Serving, Serving));

    health.set_all(false);
    assert_eq!(next(&mut all).await, Some(NotServing));
    assert_eq!(next(&mut noop).await, Some(NotServing), "what does not change is not told");
    assert!(!health.is_serving());
}

#[tokio::test]
async fn unknown_services_are_told_and_do_not_keep_the_server() {
    let mut rig = Rig::start(|server| server).await;
    let mut client = HealthClient::new(rig.channel().await);
    let error = client.check(of("nonsense")).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert!(error.message().contains(PROCESSOR), "{}", error.message());
    let mut watch = client.watch(of("nonsense")).await.unwrap().into_inner();
    assert_eq!(next(&mut watch).await, Some(ServiceUnknown));
    rig.stop();
    assert_eq!(next(&mut watch).await, None);
    rig.served().await;
}
