//! The server around a processor.

mod address;
mod envoy;
mod health;
mod listener;
mod signal;

use std::fmt;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use extproc_proto::external_processor_server::ExternalProcessorServer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::health_server::HealthServer;

pub use self::address::Address;
use self::health::HealthService;
use self::listener::Listener;
use crate::blocked::Settings;
use crate::service::{Force, Service};
use crate::{BodyModes, LocalReplyScope, Stages};

/// Serves a processor or a chain over gRPC, without TLS.
///
/// ```no_run
/// # use extproc::{Noop, Server};
/// # async fn f() -> Result<(), extproc::ServeError> {
/// Server::new(Noop).listen("127.0.0.1:50051").serve().await
/// # }
/// ```
///
/// Beside `envoy.service.ext_proc.v3.ExternalProcessor` it serves `grpc.health.v1.Health` (Check and Watch, for `""`
/// and for the processor's service). SIGTERM or SIGINT starts a graceful shutdown: health turns NOT_SERVING, new
/// connections are refused, running exchanges get the grace period. A second signal cuts it short.
#[must_use = "a server does nothing until it serves"]
pub struct Server<S> {
    stages: Arc<S>,
    address: Address,
    grace: Duration,
    max_message: usize,
    settings: Settings,
}

/// A server whose address is taken and which accepts as soon as it serves.
#[must_use = "a server does nothing until it serves"]
pub struct Bound<S> {
    server: Server<S>,
    listener: Listener,
}

/// Why a server could not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address could not be taken.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which.
        address: Address,
        /// Why.
        source: std::io::Error,
    },
    /// The signal handlers could not be installed.
    #[error("cannot wait for SIGTERM and SIGINT: {0}")]
    Signal(std::io::Error),
    /// The transport failed.
    #[error("the gRPC transport failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

impl<S: Stages> Server<S> {
    /// A server for a processor, a [`Chain`](crate::Chain), or a `Vec` of [`BoxProcessor`](crate::BoxProcessor)s.
    pub fn new(stages: S) -> Self {
        Self {
            stages: Arc::new(stages),
            address: Address::Tcp("0.0.0.0:50051".to_owned()),
            grace: Duration::from_secs(5),
            max_message: 16 << 20,
            settings: Settings::default(),
        }
    }

    /// Where to listen: `host:port` or `unix:PATH`. Default `0.0.0.0:50051`.
    pub fn listen(mut self, address: impl Into<Address>) -> Self {
        self.address = address.into();
        self
    }

    /// How long running exchanges may go on after a shutdown began. Default 5 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// The longest message that is received, in bytes. It must exceed the data plane's buffer limit. Default 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Whose response phases a local reply passes in a chain. Default: those of all other processors.
    pub fn local_reply_scope(mut self, scope: LocalReplyScope) -> Self {
        self.settings.scope = scope;
        self
    }

    /// The names of the processors, joined by commas.
    #[must_use]
    pub fn name(&self) -> String {
        self.stages.names()
    }

    /// The body modes that a data plane should use for this server, as its processors' types say.
    #[must_use]
    pub fn needs(&self) -> BodyModes {
        self.stages.needs()
    }

    /// What to add to an Envoy configuration (YAML): the filter with the modes of [`needs`](Self::needs) and, for a
    /// FULL_DUPLEX_STREAMED body, its trailers; and the cluster with the address that was given to
    /// [`listen`](Self::listen), the local one where that is all interfaces. The rest is Envoy's default: messages
    /// must be answered within 200 ms, and if they are not, or the stream fails, so does the exchange.
    ///
    /// The types tell nothing about trailer phases: a processor that has them needs `request_trailer_mode` and
    /// `response_trailer_mode` SEND in other body modes too.
    ///
    /// ```
    /// use extproc::{Noop, Server};
    ///
    /// let config = Server::new(Noop).listen("127.0.0.1:50051").envoy_config();
    /// assert!(config.contains("request_body_mode: NONE"));
    /// assert!(config.contains("port_value: 50051"));
    /// ```
    #[must_use]
    pub fn envoy_config(&self) -> String {
        envoy::config(self.stages.needs(), &self.address, self.max_message)
    }

    /// The service alone, to add to a tonic server of one's own.
    #[must_use]
    pub fn into_service(self) -> ExternalProcessorServer<Service<S>> {
        Service::new(self.stages, Arc::new(self.settings), Arc::default()).into_server(self.max_message)
    }

    /// Takes the address.
    ///
    /// # Errors
    /// [`ServeError::Bind`].
    pub async fn bind(self) -> Result<Bound<S>, ServeError> {
        match Listener::bind(&self.address).await {
            Ok(listener) => Ok(Bound { server: self, listener }),
            Err(source) => Err(ServeError::Bind { address: self.address, source }),
        }
    }

    /// Takes the address and serves until SIGTERM or SIGINT.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(self) -> Result<(), ServeError> {
        self.bind().await?.serve().await
    }

    /// Takes the address and serves until `shutdown` is ready; signals are not looked at.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve_with_shutdown(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        self.bind().await?.serve_with_shutdown(shutdown).await
    }
}

impl<S: Stages> Bound<S> {
    /// The address that was taken, with the port that was chosen.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// The address, if it is TCP.
    #[must_use]
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr()
    }

    /// The names of the processors, joined by commas.
    #[must_use]
    pub fn name(&self) -> String {
        self.server.name()
    }

    /// The line that tells that it serves, for scripts that wait for it. It goes to the log at INFO too.
    #[must_use]
    pub fn start_line(&self) -> String {
        format!("Starting Envoy ExternalProcessor \"{}\" at {}", self.name(), self.address())
    }

    /// Serves until SIGTERM or SIGINT; a second one cuts the grace period short.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(self) -> Result<(), ServeError> {
        let mut signals = signal::Signals::new().map_err(ServeError::Signal)?;
        let again = CancellationToken::new();
        let forced = again.clone();
        let (begin, begun) = watch::channel(false);
        let shutdown = async move {
            let mut begun = begun;
            // The sender lives in the other branch of the same task.
            let _ = begun.wait_for(|begun| *begun).await;
        };
        let watch_signals = async {
            signals.next().await;
            begin.send_replace(true);
            signals.next().await;
            again.cancel();
            pending::<()>().await;
        };
        tokio::select! {
            result = self.run(shutdown, forced) => result,
            () = watch_signals => Ok(()),
        }
    }

    /// Serves until `shutdown` is ready; signals are not looked at.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve_with_shutdown(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), ServeError> {
        self.run(shutdown, CancellationToken::new()).await
    }

    async fn run(self, shutdown: impl Future<Output = ()> + Send, forced: CancellationToken) -> Result<(), ServeError> {
        tracing::info!("{}", self.start_line());
        let Self { server, listener } = self;
        let (serving, health) = watch::channel(true);
        let (stop, force) = (CancellationToken::new(), Arc::new(Force::default()));
        let service =
            Service::new(server.stages, Arc::new(server.settings), Arc::clone(&force)).into_server(server.max_message);
        let router = tonic::transport::Server::builder()
            // Data planes reset streams as a matter of course; the default of 20 would close busy connections.
            .http2_max_pending_accept_reset_streams(Some(4096))
            .add_service(HealthServer::new(HealthService::new(health)))
            .add_service(service);
        let mut transport = std::pin::pin!(listener.serve(router, stop.clone().cancelled_owned()));
        tokio::select! {
            result = &mut transport => return Ok(result?),
            () = shutdown => {}
        }
        tracing::info!("Starting graceful shutdown, grace period {:?}", server.grace);
        serving.send_replace(false);
        stop.cancel();
        tokio::select! {
            result = &mut transport => return Ok(result?),
            () = tokio::time::sleep(server.grace) => {}
            () = forced.cancelled() => {}
        }
        tracing::warn!("exchanges still running are cut off");
        force.cut();
        // The cut streams end with UNAVAILABLE; a client that does not read them is not waited for.
        let _ = tokio::time::timeout(FLUSH, transport).await;
        Ok(())
    }
}

/// How long a forced shutdown lets the last frames leave.
const FLUSH: Duration = Duration::from_millis(250);

impl<S: Stages> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", &self.name()).field("address", &self.address).finish_non_exhaustive()
    }
}

impl<S: Stages> fmt::Display for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl<S: Stages> fmt::Debug for Bound<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("name", &self.name()).field("address", self.address()).finish_non_exhaustive()
    }
}
