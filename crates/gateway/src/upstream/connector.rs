//! Connecting to endpoints, over TCP or unix sockets.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use extproc_tower::UpstreamAddress;
use http::Uri;
use http::uri::Authority;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tower_service::Service;

use crate::plan::Address;

/// Envoy's `connect_timeout` of a cluster, if none is set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects by authority. Unix sockets have authorities that no TCP endpoint can have, for they lack a port.
#[derive(Clone, Debug, Default)]
pub(super) struct Connector {
    sockets: Arc<Vec<PathBuf>>,
}

impl Connector {
    /// The authority by which an address is reached from now on.
    pub(super) fn authority(&mut self, address: &Address) -> Authority {
        let text = match address {
            Address::Tcp(..) => address.to_string(),
            Address::Unix(path) => {
                let sockets = Arc::make_mut(&mut self.sockets);
                sockets.push(path.clone());
                format!("unix-{}", sockets.len() - 1)
            }
        };
        // Addresses are host names or IP addresses with a port, which every authority may be.
        Authority::try_from(text).unwrap_or_else(|_| Authority::from_static("invalid"))
    }

    fn socket(&self, target: &Uri) -> Option<PathBuf> {
        let index = target.host()?.strip_prefix("unix-")?.parse::<usize>().ok()?;
        if target.port().is_some() { None } else { self.sockets.get(index).cloned() }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let socket = self.socket(&target);
        Box::pin(async move {
            let connecting = connect(socket, &target);
            let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
            stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(TokioIo::new)
        })
    }
}

async fn connect(socket: Option<PathBuf>, target: &Uri) -> io::Result<Stream> {
    if let Some(path) = socket {
        return UnixStream::connect(path).await.map(Stream::Unix);
    }
    let host = target.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, target.port_u16().unwrap_or(80))).await?;
    stream.set_nodelay(true)?;
    Ok(Stream::Tcp(stream))
}

/// A connection to an endpoint.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        let address = match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        };
        match address {
            Some(address) => Connected::new().extra(UpstreamAddress(address)),
            None => Connected::new(),
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Tcp($stream) => $call,
            Self::Unix($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
