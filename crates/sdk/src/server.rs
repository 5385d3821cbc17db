//! The server around a processor.

mod address;
mod bound;
mod connection;
mod dispatch;
mod health;
mod limits;
mod listener;
mod reflection;
mod signal;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use extproc_proto::external_processor_server::ExternalProcessorServer;

pub use self::address::Address;
pub use self::bound::Bound;
pub use self::health::{HealthHandle, UnknownProcessor};
pub use self::limits::Limits;
use self::listener::Listener;
#[cfg(feature = "tls")]
pub use self::tls::{Tls, TlsError};
use crate::blocked::Settings;
use crate::service::Service;
#[cfg(feature = "metrics")]
use crate::telemetry::Endpoint;
use crate::{DataPlane, LocalReplyScope, Metrics, Needs, OnMismatch, SettingError, Stages};

/// Serves a processor or a chain over gRPC.
///
/// ```no_run
/// # use extproc::{Noop, Server};
/// # async fn f() -> Result<(), extproc::ServeError> {
/// Server::new(Noop).listen("127.0.0.1:50051").serve().await
/// # }
/// ```
///
/// Beside `envoy.service.ext_proc.v3.ExternalProcessor` it serves `grpc.health.v1.Health` (Check, Watch and List; see
/// [`HealthHandle`]). SIGTERM or SIGINT starts a graceful shutdown: health turns NOT_SERVING, new connections are refused,
/// running exchanges get the grace period, hooks run. A second signal cuts it short.
#[must_use = "a server does nothing until it serves"]
pub struct Server<S> {
    stages: Arc<S>,
    address: Address,
    grace: Duration,
    drain_delay: Duration,
    limits: Limits,
    settings: Settings,
    health: HealthHandle,
    on_shutdown: Vec<Hook>,
    reflection: bool,
    #[cfg(feature = "metrics")]
    metrics_address: Option<String>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

/// What is done when a server has ended.
type Hook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

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
    /// The files for TLS cannot be used.
    #[cfg(feature = "tls")]
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The signal handlers could not be installed.
    #[error("cannot wait for SIGTERM and SIGINT: {0}")]
    Signal(std::io::Error),
}

impl<S: Stages> Server<S> {
    /// A server for a processor, a [`Chain`](crate::Chain), or a `Vec` of [`BoxProcessor`](crate::BoxProcessor)s.
    pub fn new(stages: S) -> Self {
        Self {
            health: HealthHandle::new(&stages.names()),
            stages: Arc::new(stages),
            address: Address::Tcp("0.0.0.0:50051".to_owned()),
            grace: Duration::from_secs(5),
            drain_delay: Duration::ZERO,
            limits: Limits::default(),
            settings: Settings::default(),
            on_shutdown: Vec::new(),
            #[cfg(feature = "metrics")]
            metrics_address: None,
            reflection: false,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// A server with these settings.
    ///
    /// # Errors
    /// As [`settings`](Self::settings).
    pub fn from_settings(stages: S, settings: &crate::Settings) -> Result<Self, SettingError> {
        Self::new(stages).settings(settings)
    }

    /// Takes all settings of a server: address, grace period, limits, TLS, reflection. Those of logs and of
    /// [`Reveal`](crate::Reveal) are for their owners.
    ///
    /// # Errors
    /// [`SettingError::Together`]: a certificate without its key, or TLS without the feature `tls`.
    pub fn settings(mut self, settings: &crate::Settings) -> Result<Self, SettingError> {
        let values = settings.values();
        #[cfg(feature = "tls")]
        {
            self.tls = settings.tls()?;
        }
        #[cfg(not(feature = "tls"))]
        if values.tls_certificate.is_some() || values.tls_key.is_some() || values.tls_client_ca.is_some() {
            let text = "files for TLS are set, but this program is built without the feature `tls` of extproc";
            return Err(SettingError::Together(text.to_owned()));
        }
        self.address = settings.address();
        self.grace = values.grace_period;
        self.drain_delay = values.drain_delay;
        self.limits = values.limits.clone();
        self.reflection = values.reflection;
        Ok(self)
    }

    /// Where to listen: `host:port` or `unix:PATH`. Default `0.0.0.0:50051`.
    pub fn listen(mut self, address: impl Into<Address>) -> Self {
        self.address = address.into();
        self
    }

    /// Serves TLS. Default: plaintext. Feature `tls`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// How long running exchanges may go on after a shutdown began. Default 5 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// How long health says NOT_SERVING before connections are told to go, for load balancers that have to see it first.
    /// It does not count as grace. Default none.
    pub fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// How much it takes from data planes. Default: see [`Limits`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The longest message that is received, in bytes: [`Limits::max_message`]. Default 16 MiB.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.limits.max_message = bytes;
        self
    }

    /// Serves `grpc.reflection.v1` and `v1alpha` too, so that tools know what is served here. Default off.
    pub fn reflection(mut self, on: bool) -> Self {
        self.reflection = on;
        self
    }

    /// What to do when the last exchange has ended, or was cut off, before serving returns: to write what is kept in
    /// memory, for example. Several run one after another, in the order given; together they get the grace period anew,
    /// then the rest is dropped with a warning. A second signal drops them too.
    ///
    /// ```
    /// use extproc::{Noop, Server};
    ///
    /// let server = Server::new(Noop).on_shutdown(|| async { println!("bye") });
    /// ```
    pub fn on_shutdown<F, H>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> H + Send + Sync + 'static,
        H: Future<Output = ()> + Send + 'static,
    {
        self.on_shutdown.push(Box::new(move || Box::pin(hook())));
        self
    }

    /// Says whether the processors serve, from anywhere, for as long as is needed.
    #[must_use]
    pub fn health_handle(&self) -> HealthHandle {
        self.health.clone()
    }

    /// Whose response phases a local reply passes in a chain. Default: those of all other processors.
    pub fn local_reply_scope(mut self, scope: LocalReplyScope) -> Self {
        self.settings.scope = scope;
        self
    }

    /// What becomes of processors whose body kinds do not go with the data plane's body modes, and which do not say so
    /// themselves ([`Processor::on_mismatch`](crate::Processor::on_mismatch)). Default: [`OnMismatch::Serve`].
    pub fn on_mismatch(mut self, policy: OnMismatch) -> Self {
        self.settings.on_mismatch = policy;
        self
    }

    /// Counts into these metrics. Default: into metrics of its own.
    pub fn metrics(mut self, metrics: &Metrics) -> Self {
        self.settings.metrics = metrics.clone();
        self
    }

    /// Serves metrics and readiness over HTTP/1.1 at `host:port`, without TLS, for as long as exchanges are served:
    ///
    /// * `GET /metrics`: the metrics, as [`Metrics::encode`] gives them;
    /// * `GET /healthz`: 200 while the process lives;
    /// * `GET /readyz`: 200 while the server serves, 503 while it drains or a processor does not, as
    ///   [`HealthHandle::is_serving`] says.
    ///
    /// Default: nowhere.
    #[cfg(feature = "metrics")]
    pub fn metrics_listen(mut self, address: impl Into<String>) -> Self {
        self.metrics_address = Some(address.into());
        self
    }

    /// The names of the processors, joined by commas.
    #[must_use]
    pub fn name(&self) -> String {
        self.stages.names()
    }

    /// What its processors need of a data plane, as their types and their [`wishes`](crate::Processor::wishes) say.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.stages.needs()
    }

    /// What to write into the configuration of a data plane, whole and ready: the modes of [`needs`](Self::needs), and
    /// the address that was given to [`listen`](Self::listen), the local one where that is all interfaces. An upstream
    /// at `127.0.0.1:8000` stands for yours.
    ///
    /// ```
    /// use extproc::{DataPlane, Noop, Server};
    ///
    /// let config = Server::new(Noop).listen("127.0.0.1:50051").config_for(DataPlane::Envoy);
    /// assert!(config.contains("request_body_mode: NONE"));
    /// assert!(config.contains("port_value: 50051"));
    /// ```
    #[must_use]
    pub fn config_for(&self, data_plane: DataPlane) -> String {
        #[cfg(feature = "tls")]
        let tls = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let tls = false;
        self.needs().config_for(data_plane, &crate::needs::Endpoint::new(&self.address, tls), self.limits.max_message)
    }

    /// A configuration of Envoy: [`config_for`](Self::config_for) of [`DataPlane::Envoy`].
    #[must_use]
    pub fn envoy_config(&self) -> String {
        self.config_for(DataPlane::Envoy)
    }

    /// The service alone, to add to a tonic server of one's own.
    #[must_use]
    pub fn into_service(self) -> ExternalProcessorServer<Service<S>> {
        Service::new(self.stages, Arc::new(self.settings), Arc::default()).into_server(self.limits.max_message)
    }

    /// Takes the address, and reads the files that it needs.
    ///
    /// # Errors
    /// [`ServeError::Bind`], and `ServeError::Tls`.
    pub async fn bind(self) -> Result<Bound<S>, ServeError> {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            tls.check()?;
        }
        #[cfg(feature = "metrics")]
        let endpoint = match &self.metrics_address {
            Some(address) => Some(
                Endpoint::bind(address)
                    .await
                    .map_err(|source| ServeError::Bind { address: Address::Tcp(address.clone()), source })?,
            ),
            None => None,
        };
        match Listener::bind(&self.address).await {
            #[cfg(feature = "metrics")]
            Ok(listener) => Ok(Bound::new(self, listener).with_endpoint(endpoint)),
            #[cfg(not(feature = "metrics"))]
            Ok(listener) => Ok(Bound::new(self, listener)),
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
