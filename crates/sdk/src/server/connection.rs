//! Connections: taken, served, told to go.

use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use extproc_proto::external_processor_server::ExternalProcessor;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, BufReader};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::TcpConnectInfo;

use super::Limits;
use super::dispatch::Services;
use super::listener::{Listener, Socket};

/// What all connections of a server share.
pub(super) struct Connections<T> {
    pub(super) services: Arc<Services<T>>,
    pub(super) limits: Limits,
    /// Tells every connection to go when its exchanges are done.
    pub(super) stop: CancellationToken,
    /// Drops every connection.
    pub(super) cut: CancellationToken,
    http2: http2::Builder<TokioExecutor>,
    places: Arc<Semaphore>,
    #[cfg(feature = "tls")]
    tls: Option<Arc<super::tls::Acceptor>>,
}

/// How long a connection without exchanges may take to agree that it goes. What it sent before it knew arrives within
/// that time, and is served.
const LAST_CALL: Duration = Duration::from_secs(1);

/// How long accepting rests when the process has no descriptor left for a connection.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// `PRI * HTTP/2.0` and what follows: what every HTTP/2 connection begins with.
const PREFACE: usize = 24;

impl<T: ExternalProcessor> Connections<T> {
    pub(super) fn new(services: Arc<Services<T>>, limits: Limits) -> Self {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(limits.max_header_list)
            .initial_stream_window_size(limits.stream_window)
            .initial_connection_window_size(limits.connection_window)
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout)
            // Data planes reset streams as a matter of course; the default of 20 would close busy connections.
            .max_pending_accept_reset_streams(4096);
        let places = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        #[cfg(feature = "tls")]
        let tls = None;
        Self {
            services,
            limits,
            stop,
            cut,
            http2,
            places,
            #[cfg(feature = "tls")]
            tls,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn with_tls(mut self, tls: Option<Arc<super::tls::Acceptor>>) -> Self {
        self.tls = tls;
        self
    }

    /// Takes connections until told to stop, each with a task of its own.
    pub(super) async fn accept(self: &Arc<Self>, listener: Listener, tasks: &TaskTracker) {
        let mut stopped = pin!(self.stop.cancelled());
        loop {
            let accepted = tokio::select! {
                () = &mut stopped => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => self.take(socket, peer, tasks),
                Err(error) if is_of_one_connection(&error) => tracing::debug!(%error, "a connection failed at once"),
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted; is the limit of open files too low?");
                    sleep(OUT_OF_DESCRIPTORS).await;
                }
            }
        }
    }

    fn take(self: &Arc<Self>, socket: Socket, peer: TcpConnectInfo, tasks: &TaskTracker) {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let limit = self.limits.max_connections;
            tracing::warn!(limit, peer = ?peer.remote_addr, "a connection is closed: the limit max_connections is reached");
            return;
        };
        let connections = Arc::clone(self);
        tasks.spawn(async move {
            let cut = connections.cut.clone();
            tokio::select! {
                () = connections.serve(socket, peer) => {}
                () = cut.cancelled() => {}
            }
            drop(place);
        });
    }

    /// No call can have been made on a connection that has not begun: when the server stops it need not be told to go.
    async fn serve(&self, socket: Socket, peer: TcpConnectInfo) {
        let deadline = Instant::now() + self.limits.handshake_timeout;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let accepted = tokio::select! {
                accepted = timeout_at(deadline, tls.accept(socket)) => accepted,
                () = self.stop.cancelled() => return,
            };
            let at = peer.remote_addr;
            return match accepted {
                Ok(Ok(stream)) => self.begin(stream, peer, deadline).await,
                Ok(Err(error)) => tracing::info!(peer = ?at, %error, "a TLS handshake failed"),
                Err(_) => tracing::info!(peer = ?at, "a connection is closed: its TLS handshake took too long"),
            };
        }
        self.begin(socket, peer, deadline).await;
    }

    async fn begin(&self, io: impl AsyncRead + AsyncWrite + Unpin, peer: TcpConnectInfo, deadline: Instant) {
        let at = peer.remote_addr;
        let mut io = BufReader::with_capacity(PREFACE, io);
        let begun = tokio::select! {
            begun = timeout_at(deadline, io.fill_buf()) => begun,
            () = self.stop.cancelled() => return,
        };
        match begun {
            Ok(Ok([])) => {}
            Ok(Ok(_)) => self.serve_http(io, peer).await,
            Ok(Err(error)) => tracing::debug!(peer = ?at, %error, "a connection ended before it began"),
            Err(_) => tracing::debug!(peer = ?at, "a connection is closed: it sent nothing in time"),
        }
    }

    async fn serve_http(&self, io: impl AsyncRead + AsyncWrite + Unpin, peer: TcpConnectInfo) {
        let (at, running) = (peer.remote_addr, Arc::<AtomicUsize>::default());
        let service = Arc::clone(&self.services).for_connection(peer, Arc::clone(&running));
        let mut connection = pin!(self.http2.serve_connection(TokioIo::new(io), service));
        let grace = tokio::select! {
            result = connection.as_mut() => return ended(result, at),
            () = self.stop.cancelled() => None,
            () = after(self.limits.max_connection_age.map(with_jitter)) => {
                tracing::debug!(peer = ?at, "a connection is told to go: it has reached max_connection_age");
                self.limits.max_connection_age_grace
            }
        };
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            result = connection => ended(result, at),
            () = idle(&running) => {}
            () = after(grace) => tracing::debug!(peer = ?at, "a connection is cut: max_connection_age_grace is over"),
        }
    }
}

fn ended(result: hyper::Result<()>, peer: Option<SocketAddr>) {
    if let Err(error) = result {
        tracing::debug!(?peer, %error, "a connection failed");
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => pending().await,
    }
}

/// Ready when no exchange has been running for [`LAST_CALL`].
async fn idle(running: &AtomicUsize) {
    const STEP: Duration = Duration::from_millis(50);
    let mut quiet = Duration::ZERO;
    while quiet < LAST_CALL {
        sleep(STEP).await;
        quiet = if running.load(Ordering::Relaxed) == 0 { quiet + STEP } else { Duration::ZERO };
    }
}

/// Up to a tenth more.
fn with_jitter(time: Duration) -> Duration {
    // Hashers are seeded at random: good enough to spread connections.
    let random = RandomState::new().hash_one(0) % 1024;
    time + time / 10 * u32::try_from(random).unwrap_or_default() / 1024
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread() {
        let age = Duration::from_secs(100);
        let ages: Vec<_> = (0..64).map(|_| with_jitter(age)).collect();
        assert!(ages.iter().all(|it| (age..age * 11 / 10).contains(it)), "{ages:?}");
        assert!(ages.iter().any(|it| *it != ages[0]), "{ages:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_starts_again_when_an_exchange_begins() {
        let running = AtomicUsize::new(1);
        let begun = Instant::now();
        tokio::join!(idle(&running), async {
            sleep(LAST_CALL * 3).await;
            running.store(0, Ordering::Relaxed);
        });
        let took = begun.elapsed();
        assert!((LAST_CALL * 4 - LAST_CALL / 10..=LAST_CALL * 4 + LAST_CALL / 10).contains(&took), "{took:?}");
    }
}
