//! A server that has its address, from serving to its end.

use std::fmt;
use std::future::pending;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::Connections;
use super::dispatch::Services;
use super::{Address, Hook, Listener, ServeError, Server, signal};
use crate::Stages;
use crate::service::{Force, Service};
#[cfg(feature = "metrics")]
use crate::telemetry::Endpoint;

/// A server whose address is taken and which accepts as soon as it serves.
#[must_use = "a server does nothing until it serves"]
pub struct Bound<S> {
    server: Server<S>,
    listener: Listener,
    #[cfg(feature = "metrics")]
    endpoint: Option<Endpoint>,
}

/// How long the last frames of exchanges that were cut off may take.
const FLUSH: Duration = Duration::from_millis(250);

impl<S: Stages> Bound<S> {
    pub(super) const fn new(server: Server<S>, listener: Listener) -> Self {
        Self {
            server,
            listener,
            #[cfg(feature = "metrics")]
            endpoint: None,
        }
    }

    #[cfg(feature = "metrics")]
    pub(super) fn with_endpoint(mut self, endpoint: Option<Endpoint>) -> Self {
        self.endpoint = endpoint;
        self
    }

    /// Where metrics are served, with the port that was chosen; `None` where they are not.
    #[cfg(feature = "metrics")]
    #[must_use]
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(Endpoint::address)
    }

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
            tracing::warn!("a second signal: what still runs is cut off");
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
        #[cfg(feature = "metrics")]
        let _endpoint = self.endpoint.map(|endpoint| {
            let health = self.server.health.clone();
            endpoint.serve(self.server.settings.metrics.clone(), move || health.is_serving())
        });
        let Self { server, listener, .. } = self;
        if let Some(problem) = server.needs().exceed(server.limits.max_message) {
            tracing::warn!("{problem}");
        }
        let force = Arc::new(Force::default());
        let limits = server.limits;
        let processor = Service::new(server.stages, Arc::new(server.settings), Arc::clone(&force));
        let processor = processor.into_server(limits.max_message);
        let services = Services::new(processor, server.health.service(), limits.max_exchanges);
        let services = Arc::new(services.with_reflection(server.reflection));
        let connections = Connections::new(services, limits);
        #[cfg(feature = "tls")]
        let (connections, reload) = match server.tls {
            Some(tls) => {
                let (acceptor, files) = super::tls::Acceptor::new(tls, connections.limits.max_handshakes)?;
                (connections.with_tls(Some(Arc::clone(&acceptor))), Some(super::tls::watch(acceptor, files)))
            }
            None => (connections, None),
        };
        let connections = Arc::new(connections);
        // Whatever becomes of this future, its connections end with it.
        let _cut = connections.cut.clone().drop_guard();
        let tasks = TaskTracker::new();
        #[cfg(feature = "tls")]
        if let Some(reload) = reload {
            let ended = connections.stop.clone();
            tasks.spawn(async move { ended.run_until_cancelled(reload).await });
        }

        let begin = async {
            shutdown.await;
            tracing::info!("Starting graceful shutdown, grace period {:?}", server.grace);
            server.health.drain();
            if !server.drain_delay.is_zero() {
                tokio::select! {
                    () = sleep(server.drain_delay) => {}
                    () = forced.cancelled() => {}
                }
            }
            connections.stop.cancel();
        };
        // In this order the socket is closed before anybody can act on what health says.
        tokio::join!(biased; begin, connections.accept(listener, &tasks));

        tasks.close();
        let mut drained = pin!(tasks.wait());
        let in_time = tokio::select! {
            () = &mut drained => true,
            () = sleep(server.grace) => false,
            () = forced.cancelled() => false,
        };
        if !in_time {
            tracing::warn!(exchanges = connections.services.running(), "exchanges still running are cut off");
            force.cut();
            // The cut streams end with UNAVAILABLE; a client that does not read them is not waited for.
            let _ = timeout(FLUSH, &mut drained).await;
            connections.cut.cancel();
            drained.await;
        }
        run_hooks(server.on_shutdown, server.grace, &forced).await;
        Ok(())
    }
}

async fn run_hooks(hooks: Vec<Hook>, grace: Duration, forced: &CancellationToken) {
    if hooks.is_empty() {
        return;
    }
    let all = async {
        for hook in hooks {
            hook().await;
        }
    };
    tokio::select! {
        () = all => {}
        () = sleep(grace) => tracing::warn!("the shutdown hooks took longer than {grace:?} and are dropped"),
        () = forced.cancelled() => tracing::warn!("the shutdown hooks are dropped"),
    }
}

impl<S: Stages> fmt::Debug for Bound<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound").field("name", &self.name()).field("address", self.address()).finish_non_exhaustive()
    }
}
