//! A server for a sample that speaks the protocol itself.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use extproc::{Key, Origin, Settings};
use extproc_proto::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::failure::{Failure, Outcome};
use crate::listen::Listen;

/// The settings that this server has. Others are refused: a server that is asked for TLS must not serve without it.
const HAS: [&str; 6] = ["listen", "port", "grace_period", "reveal_chain", "applied_header", "log_level"];

/// Refuses settings that this server does not have.
pub(super) fn takes(name: &str, settings: &Settings) -> Outcome {
    let is_set = |key: &&Key| *settings.origin(key) != Origin::Default;
    match Settings::keys().iter().filter(is_set).find(|key| !HAS.contains(&key.name)) {
        None => Ok(()),
        Some(key) => Err(Failure::usage(format!(
            "{name} speaks the protocol itself and does not have {}; leave it out, or serve another sample",
            key.name
        ))),
    }
}

/// Serves until `stop`, with health, then lets running streams go on for `grace`.
pub(super) async fn serve(
    sample: impl ExternalProcessor,
    name: &str,
    listen: &Listen,
    grace: Duration,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let service = ExternalProcessorServer::new(sample).max_decoding_message_size(usize::MAX);
    let (health, health_service) = tonic_health::server::health_reporter();
    mark(&health, &service, true).await;
    let router = Server::builder().add_service(health_service).add_service(service.clone());
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let stop = async {
        stop.await;
        mark(&health, &service, false).await;
        // The receiver waits for it below.
        let _ = stopping.send(());
    };
    let serve = async {
        match listen {
            Listen::Tcp { .. } => {
                let listener = listen.bind().await?;
                announce(name, &listener.local_addr()?.port().to_string());
                // Answers are small: without this each waits for an acknowledgement, up to 40 ms.
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                router.serve_with_incoming_shutdown(incoming, stop).await?;
            }
            Listen::Unix(path) => {
                let (listener, _file) = unix(path).with_context(|| format!("cannot listen on {listen}"))?;
                announce(name, &listen.to_string());
                router.serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop).await?;
            }
        }
        Ok(())
    };
    let over = async {
        // Not sent when the server failed: then there is no grace to end.
        match stopped.await {
            Ok(()) => tokio::time::sleep(grace).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        result = serve => result,
        () = over => {
            tracing::warn!("streams were cut: they took longer than {grace:?} after the stop");
            Ok(())
        }
    }
}

/// The line that scripts wait for.
pub(super) fn announce(name: &str, place: &str) {
    crate::text::println(format_args!("Starting Envoy ExternalProcessor \"{name}\" at {place}"));
}

async fn mark<S: ExternalProcessor>(
    health: &tonic_health::server::HealthReporter,
    _: &ExternalProcessorServer<S>,
    serving: bool,
) {
    use tonic_health::ServingStatus::{NotServing, Serving};
    let status = if serving { Serving } else { NotServing };
    health.set_service_status("", status).await;
    health.set_service_status(extproc_proto::external_processor_server::SERVICE_NAME, status).await;
}

/// Removes the socket's file when the server is gone.
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A socket file that nobody listens on is replaced.
fn unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    let refused = std::os::unix::net::UnixStream::connect(path).err();
    if refused.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    Ok((UnixListener::bind(path)?, SocketFile(path.to_owned())))
}
