//! `extproc health`: a probe for containers.

use std::time::Duration;

use anyhow::Context;
use extproc_proto::grpc::health::v1::HealthCheckRequest;
use extproc_proto::grpc::health::v1::health_check_response::ServingStatus;
use extproc_proto::grpc::health::v1::health_client::HealthClient;

use crate::failure::{Failure, Outcome};
use crate::peer;

/// Ask a processor whether it serves
///
/// Calls grpc.health.v1.Health/Check and prints the answer. Exit code 0 when it is SERVING, else 1.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  extproc health 127.0.0.1:50051\n  extproc health localhost:50051 --tls-ca ca.crt")]
pub(crate) struct Args {
    /// The processor: HOST:PORT or unix:PATH
    #[arg(value_name = "ADDR")]
    address: String,
    /// The service to ask for; "" is the server as a whole
    #[arg(long, default_value = "")]
    service: String,
    /// How long it may take, as 200ms or 1.5s
    #[arg(long, default_value = "2s", value_parser = peer::duration)]
    timeout: Duration,
    #[command(flatten)]
    tls: peer::Tls,
}

pub(crate) async fn run(args: Args) -> Outcome {
    let endpoint =
        peer::endpoint(&args.address).and_then(|it| args.tls.apply(&args.address, it)).map_err(Failure::Usage)?;
    let check = async {
        let channel = endpoint.connect().await.with_context(|| format!("nobody answers at {}", args.address))?;
        let request = HealthCheckRequest { service: args.service };
        let answer = HealthClient::new(channel).check(request).await;
        answer.map_err(|status| anyhow::anyhow!("{:?}: {}", status.code(), status.message()))
    };
    let answer = tokio::time::timeout(args.timeout, check).await;
    let answer = answer.with_context(|| format!("no answer within {:?}", args.timeout))??;
    let status = answer.into_inner().status();
    crate::text::println(status.as_str_name());
    if status == ServingStatus::Serving { Ok(()) } else { Err(Failure::Differs) }
}
