//! Accepting connections and serving HTTP/1.1 and cleartext HTTP/2 on them.

mod client;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};

use crate::drain::{Drain, Signal};
use crate::proxy::{Origin, Proxy};
use client::Client;

/// How long a client may take for the headers of a request, also between two requests on one connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an exchange may go on without a byte from or to the client (Envoy: `stream_idle_timeout`). Bounds what a
/// client that neither sends nor reads can hold.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// The bytes of all headers of an HTTP/2 request (Envoy: 60 KiB). HTTP/1.1 has a limit of 100 headers instead.
const MAX_HEADER_BYTES: u32 = 60 << 10;
/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Begins to accept, in a task of its own.
pub(crate) fn start(socket: TcpListener, listener: usize, proxy: &Arc<Proxy>, drain: &Drain) {
    let signal = drain.signal();
    let server = server();
    drain.signal().tasks().spawn(accept(socket, listener, Arc::clone(proxy), server, signal));
}

type Server = auto::Builder<TokioExecutor>;

fn server() -> Server {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1024)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Duration::from_secs(60));
    server
}

async fn accept(socket: TcpListener, listener: usize, proxy: Arc<Proxy>, server: Server, signal: Signal) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = signal.stopped() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = serve(
                    stream,
                    Origin { listener, peer, local: None, connection: 0 },
                    Arc::clone(&proxy),
                    server.clone(),
                    signal.clone(),
                );
                signal.tasks().spawn(connection);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections; trying again");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, mut origin: Origin, proxy: Arc<Proxy>, server: Server, signal: Signal) {
    let peer: SocketAddr = origin.peer;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "the client is gone already");
        return;
    }
    origin.local = stream.local_addr().ok();
    origin.connection = proxy.next_connection();
    let service = service_fn(move |request: hyper::Request<Incoming>| Arc::clone(&proxy).handle(origin, request));
    let client = Client::new(stream);
    let activity = client.activity();
    let mut idle = pin!(activity.idle_for(IDLE_TIMEOUT));
    let mut connection = pin!(server.serve_connection(TokioIo::new(client), service));
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = idle.as_mut() => {
            tracing::debug!(%peer, "nothing came or went; closing");
            return;
        }
        () = signal.stopped() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = connection => result,
                () = signal.killed() => return,
                () = idle => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%peer, error, "connection failed");
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
