//! The gateway itself: bound listeners, and serving until told to stop.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::Plan;
use crate::drain::Drain;
use crate::listener;
use crate::proxy::Proxy;
use crate::telemetry::Telemetry;

/// A gateway whose listeners are bound.
///
/// ```no_run
/// # async fn run(plan: extproc_gateway::Plan) -> Result<(), extproc_gateway::BindError> {
/// let gateway = extproc_gateway::Gateway::bind(plan).await?;
/// println!("listening on {:?}", gateway.local_addr(0));
/// gateway.serve_with_shutdown(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
/// # Ok(())
/// # }
/// ```
pub struct Gateway {
    listeners: Vec<Bound>,
    proxy: Arc<Proxy>,
    drain_timeout: Duration,
}

struct Bound {
    name: String,
    address: SocketAddr,
    socket: TcpListener,
}

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener `{listener}` cannot bind {address}: {source}")]
pub struct BindError {
    /// The listener's name.
    pub listener: String,
    /// The address it should have.
    pub address: SocketAddr,
    /// What the operating system says.
    pub source: io::Error,
}

impl Gateway {
    /// How long exchanges may go on once the gateway is told to stop, if nothing else is set.
    pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

    /// Binds all listeners of a plan. From here on clients can connect; they are served by
    /// [`serve_with_shutdown`](Self::serve_with_shutdown).
    ///
    /// # Errors
    /// [`BindError`] names the first listener that could not be bound.
    pub async fn bind(plan: Plan) -> Result<Self, BindError> {
        let mut listeners = Vec::with_capacity(plan.listeners.len());
        for spec in &plan.listeners {
            let failed = |source| BindError { listener: spec.name.clone(), address: spec.address, source };
            let socket = TcpListener::bind(spec.address).await.map_err(failed)?;
            let address = socket.local_addr().map_err(failed)?;
            listeners.push(Bound { name: spec.name.clone(), address, socket });
        }
        let proxy = Arc::new(Proxy::new(plan));
        Ok(Self { listeners, proxy, drain_timeout: Self::DEFAULT_DRAIN_TIMEOUT })
    }

    /// Sets how long exchanges may go on once the gateway is told to stop; then they are cut.
    #[must_use]
    pub const fn with_drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Where a listener (by its index in the plan) really listens; tells the port when the plan says 0.
    #[must_use]
    pub fn local_addr(&self, listener: usize) -> Option<SocketAddr> {
        self.listeners.get(listener).map(|it| it.address)
    }

    /// The statistics, also while and after the gateway serves.
    #[must_use]
    pub fn telemetry(&self) -> Arc<Telemetry> {
        Arc::clone(self.proxy.telemetry())
    }

    /// What every filter counted so far: by the name of the chain entry, Envoy's counters by their names.
    #[must_use]
    pub fn stats(&self) -> BTreeMap<String, BTreeMap<&'static str, u64>> {
        self.proxy.telemetry().stats()
    }

    /// Serves until `shutdown` completes; then accepts nothing more, lets exchanges that are under way finish, closes
    /// connections as they become idle, and returns when all are closed or the drain timeout is over. Must run inside
    /// a tokio runtime.
    pub async fn serve_with_shutdown(self, shutdown: impl Future<Output = ()>) {
        let drain = Drain::new();
        for (index, bound) in self.listeners.into_iter().enumerate() {
            tracing::info!(listener = bound.name, address = %bound.address, "listening");
            listener::start(bound.socket, index, &self.proxy, &drain);
        }
        shutdown.await;
        tracing::info!(timeout = ?self.drain_timeout, "draining");
        let cut = drain.finish(self.drain_timeout).await;
        tracing::info!(complete = !cut, "stopped");
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listeners: Vec<_> = self.listeners.iter().map(|it| (&it.name, it.address)).collect();
        f.debug_struct("Gateway").field("listeners", &listeners).finish_non_exhaustive()
    }
}
