//! gRPC reflection: what is served here, for tools.

use std::convert::Infallible;

use http::{Request, Response};
use hyper::body::Incoming;
use tonic::codegen::{BoxFuture, Service as _};

/// Answers `grpc.reflection.v1` and `v1alpha`, which older tools ask.
pub(super) struct Reflection {
    v1: Handler,
    v1alpha: Handler,
}

pub(super) type Handler = Box<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>;
type Answer = BoxFuture<Response<tonic::body::Body>, Infallible>;

macro_rules! handler {
    ($build:ident) => {{
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(extproc_proto::FILE_DESCRIPTOR_SET);
        let service = builder.$build().expect("the committed descriptors are complete");
        Box::new(move |request| service.clone().call(request))
    }};
}

impl Reflection {
    pub(super) fn new() -> Self {
        Self { v1: handler!(build_v1), v1alpha: handler!(build_v1alpha) }
    }

    pub(super) fn handler(&self, service: &str) -> Option<&Handler> {
        match service {
            "grpc.reflection.v1.ServerReflection" => Some(&self.v1),
            "grpc.reflection.v1alpha.ServerReflection" => Some(&self.v1alpha),
            _ => None,
        }
    }
}
