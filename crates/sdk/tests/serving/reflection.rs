//! gRPC reflection.

use extproc::proto::prost::Message;
use extproc::proto::prost_types::FileDescriptorProto;
use tonic::Code;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ListServiceResponse, ServerReflectionRequest};

use crate::rig::Rig;

const PROCESSOR: &str = "envoy.service.ext_proc.v3.ExternalProcessor";

fn ask(question: MessageRequest) -> tokio_stream::Once<ServerReflectionRequest> {
    tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request: Some(question) })
}

#[tokio::test]
async fn py_077_tools_can_ask_what_is_served() {
    let rig = Rig::start(|server| server.reflection(true)).await;
    let mut client = ServerReflectionClient::new(rig.channel().await);
    let mut answer = async |question| {
        let mut answers = client.server_reflection_info(ask(question)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };

    let MessageResponse::ListServicesResponse(ListServiceResponse { service }) =
        answer(MessageRequest::ListServices(String::new())).await
    else {
        panic!("another answer")
    };
    let services: Vec<_> = service.into_iter().map(|it| it.name).collect();
    for name in [PROCESSOR, "grpc.health.v1.Health"] {
        assert!(services.iter().any(|it| it == name), "{name} in {services:?}");
    }

    let MessageResponse::FileDescriptorResponse(files) =
        answer(MessageRequest::FileContainingSymbol(PROCESSOR.to_owned())).await
    else {
        panic!("another answer")
    };
    let files: Vec<_> =
        files.file_descriptor_proto.iter().map(|it| FileDescriptorProto::decode(it.as_slice()).unwrap()).collect();
    let method = files.iter().flat_map(|file| &file.service).flat_map(|service| &service.method).next().unwrap();
    assert_eq!((method.name(), method.client_streaming(), method.server_streaming()), ("Process", true, true));
}

#[tokio::test]
async fn it_is_off_unless_asked_for() {
    let rig = Rig::start(|server| server).await;
    let mut client = ServerReflectionClient::new(rig.channel().await);
    let status = client.server_reflection_info(ask(MessageRequest::ListServices(String::new()))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
