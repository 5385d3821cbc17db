//! One connection to one endpoint: made on demand, shared, made again after it failed.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use extproc_core::filter::GrpcStatus;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, watch};

use super::{Endpoint, Waits};

/// What the processor may send on one stream before we have taken it. Larger than the largest usual message, so that
/// a mutated body of the default buffer limit does not wait for a round trip.
const STREAM_WINDOW: u32 = 2 << 20;
/// The same over all streams of a connection. Messages are taken as soon as they arrive, so this bounds what the
/// kernel and we hold together, not what one slow exchange may hold.
const CONNECTION_WINDOW: u32 = 32 << 20;

/// How long a doubted connection may take for a sign of life.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the next doubt waits.
const PROBE_PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Link {
    target: Arc<Target>,
    state: Arc<watch::Sender<State>>,
}

struct Target {
    endpoint: Endpoint,
    authority: Arc<str>,
    connect_timeout: Duration,
}

enum State {
    /// Never tried, or the last connection has ended.
    Idle,
    /// A task is at it.
    Connecting,
    Ready(Connection),
    /// The last attempt failed.
    Failed(GrpcStatus),
}

/// A connection that takes streams.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(super) streams: SendRequest<Bytes>,
    pub(super) authority: Arc<str>,
    pub(super) health: Arc<Health>,
}

/// Whether there is still somebody at the other end.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// How often data came, over all streams.
    received: AtomicU64,
    doubted: Notify,
}

impl Health {
    pub(super) fn receive(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    /// How often data came; the same later means that none did in between.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Asks for a sign of life.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }
}

type Outcome = Result<Connection, GrpcStatus>;

/// Waits for the connection attempt that is under way.
pub(crate) struct Waiting(Pin<Box<dyn Future<Output = Outcome> + Send>>);

impl Waiting {
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.0.as_mut().poll(cx)
    }
}

impl Link {
    pub(super) fn new(endpoint: Endpoint, connect_timeout: Duration) -> Self {
        let authority = match &endpoint {
            Endpoint::Tcp(host, port) if host.contains(':') => format!("[{host}]:{port}"),
            Endpoint::Tcp(host, port) => format!("{host}:{port}"),
            // What gRPC clients send for unix sockets.
            Endpoint::Unix(_) => "localhost".to_owned(),
        };
        let target = Arc::new(Target { endpoint, authority: authority.into(), connect_timeout });
        Self { target, state: Arc::new(watch::Sender::new(State::Idle)) }
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.target.endpoint
    }

    pub(super) fn has_failed(&self) -> bool {
        matches!(*self.state.borrow(), State::Failed(_))
    }

    /// The connection, or what to wait for. Starts an attempt when none is under way.
    pub(super) fn open(&self) -> Waits {
        if let Some(connection) = self.state.borrow().usable() {
            return Waits::Connected(connection);
        }
        let start = self.state.send_if_modified(|state| {
            let start = !matches!(state, State::Connecting) && state.usable().is_none();
            if start {
                *state = State::Connecting;
            }
            start
        });
        if start {
            // The attempt outlives the exchange that wanted it: otherwise message timeouts shorter than a round trip
            // would cancel every attempt.
            tokio::spawn(run(Arc::clone(&self.target), Arc::clone(&self.state)));
        }
        let mut states = self.state.subscribe();
        let target = Arc::clone(&self.target);
        Waits::Connecting(Waiting(Box::pin(async move {
            let done = states.wait_for(|it| !matches!(it, State::Connecting)).await;
            match done.as_deref() {
                Ok(State::Ready(connection)) => Ok(connection.clone()),
                Ok(State::Failed(status)) => Err(status.clone()),
                Ok(State::Idle | State::Connecting) | Err(_) => {
                    Err(unavailable(&target.endpoint, "the connection ended as soon as it was made"))
                }
            }
        })))
    }
}

impl State {
    /// The connection, unless it is closed or the processor has said that it takes no more streams on it.
    fn usable(&self) -> Option<Connection> {
        let Self::Ready(connection) = self else { return None };
        let mut connection = connection.clone();
        match connection.streams.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Err(_)) => None,
            Poll::Ready(Ok(())) | Poll::Pending => Some(connection),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &*self.state.borrow() {
            State::Idle => "idle",
            State::Connecting => "connecting",
            State::Ready(..) => "ready",
            State::Failed(_) => "failed",
        };
        f.debug_struct("Link").field("endpoint", &self.target.endpoint).field("state", &state).finish()
    }
}

/// Connects, serves the connection until it ends, and keeps the state true all the while.
async fn run(target: Arc<Target>, state: Arc<watch::Sender<State>>) {
    let endpoint = &target.endpoint;
    let connecting = connect(endpoint);
    match tokio::time::timeout(target.connect_timeout, connecting).await {
        Ok(Ok((streams, driver))) => {
            tracing::debug!(?endpoint, "connected to processor");
            let health = Arc::new(Health::default());
            let authority = Arc::clone(&target.authority);
            state.send_replace(State::Ready(Connection { streams, authority, health: Arc::clone(&health) }));
            serve(endpoint, driver, &health).await;
            // Another may have taken its place, if it was going away.
            state.send_if_modified(|state| {
                let current = matches!(state, State::Ready(it) if Arc::ptr_eq(&it.health, &health));
                if current {
                    *state = State::Idle;
                }
                current
            });
        }
        Ok(Err(error)) => {
            tracing::debug!(?endpoint, %error, "cannot connect to processor");
            state.send_replace(State::Failed(unavailable(endpoint, &error.to_string())));
        }
        Err(_) => {
            tracing::debug!(?endpoint, "connecting to processor timed out");
            state.send_replace(State::Failed(unavailable(endpoint, "connection timeout")));
        }
    }
}

/// Serves a connection until it ends, or until somebody doubts that it is alive and it gives no sign of life. A peer
/// whose machine is gone would otherwise cost every exchange its timeout until the kernel gives up, a quarter of an
/// hour later. Nothing is asked without a doubt: servers may take offence at pings.
async fn serve(endpoint: &Endpoint, mut driver: Driver, health: &Health) {
    let mut pings = driver.as_mut().ping_pong();
    let mut probe = pin!(async {
        loop {
            health.doubted.notified().await;
            let Some(pings) = &mut pings else { return std::future::pending().await };
            match tokio::time::timeout(PROBE_TIMEOUT, pings.ping(h2::Ping::opaque())).await {
                Ok(_) => tokio::time::sleep(PROBE_PAUSE).await,
                Err(_) => return,
            }
        }
    });
    let ended = std::future::poll_fn(|cx| match driver.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(Some(result)),
        Poll::Pending => probe.as_mut().poll(cx).map(|()| None),
    });
    match ended.await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(?endpoint, %error, "connection to processor failed"),
        None => tracing::warn!(?endpoint, "no sign of life from processor; connecting again"),
    }
}

/// A connection, whatever it runs over.
trait Drive: Future<Output = Result<(), h2::Error>> + Send {
    fn ping_pong(self: Pin<&mut Self>) -> Option<h2::PingPong>;
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Drive for h2::client::Connection<T, Bytes> {
    fn ping_pong(self: Pin<&mut Self>) -> Option<h2::PingPong> {
        Self::ping_pong(self.get_mut())
    }
}

type Driver = Pin<Box<dyn Drive>>;

async fn connect(endpoint: &Endpoint) -> io::Result<(SendRequest<Bytes>, Driver)> {
    match endpoint {
        Endpoint::Tcp(host, port) => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            socket.set_nodelay(true)?;
            handshake(socket).await
        }
        Endpoint::Unix(path) => handshake(UnixStream::connect(path).await?).await,
    }
}

async fn handshake<T>(socket: T) -> io::Result<(SendRequest<Bytes>, Driver)>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW).enable_push(false);
    let (connection, driver) = builder.handshake(socket).await.map_err(io::Error::other)?;
    Ok((connection, Box::pin(driver)))
}

fn unavailable(endpoint: &Endpoint, reason: &str) -> GrpcStatus {
    let at = match endpoint {
        Endpoint::Tcp(host, port) => format!("{host}:{port}"),
        Endpoint::Unix(path) => format!("unix:{}", path.display()),
    };
    GrpcStatus { code: 14, message: format!("processor at {at}: {reason}") }
}
