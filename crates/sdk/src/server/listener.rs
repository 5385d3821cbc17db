//! TCP and unix sockets.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tonic::transport::server::TcpConnectInfo;

use super::Address;

/// A socket that is listened on.
pub(super) struct Listener {
    socket: Listening,
    address: Address,
}

enum Listening {
    Tcp(TcpListener, SocketAddr),
    Unix { listener: UnixListener, _file: SocketFile },
}

/// Removes the file when the server no longer listens.
struct SocketFile(PathBuf);

impl Listener {
    pub(super) async fn bind(address: &Address) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let local = listener.local_addr()?;
                Ok(Self { socket: Listening::Tcp(listener, local), address: local.into() })
            }
            Address::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                let socket = Listening::Unix { listener, _file: SocketFile(path.clone()) };
                Ok(Self { socket, address: Address::Unix(path.clone()) })
            }
        }
    }

    pub(super) const fn address(&self) -> &Address {
        &self.address
    }

    pub(super) const fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Listening::Tcp(_, local) => Some(*local),
            Listening::Unix { .. } => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Socket, TcpConnectInfo)> {
        match &self.socket {
            Listening::Tcp(listener, local) => {
                let (stream, peer) = listener.accept().await?;
                // Answers are small: without this each waits for an acknowledgement, up to 40 ms. Fails only on a
                // connection that is gone already.
                let _ = stream.set_nodelay(true);
                Ok((Socket::Tcp(stream), TcpConnectInfo { local_addr: Some(*local), remote_addr: Some(peer) }))
            }
            Listening::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), TcpConnectInfo { local_addr: None, remote_addr: None }))
            }
        }
    }
}

/// Removes a socket file that no process listens on. Anything else in its place is left alone, and binding fails.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is not a socket"));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on this socket")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Err(error) => Err(error),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Gone already, or not ours to remove any more: nothing to do about it here.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! of_socket {
    ($self:ident, $socket:ident => $call:expr) => {
        match $self.get_mut() {
            Socket::Tcp(stream) => {
                let $socket = Pin::new(stream);
                $call
            }
            Socket::Unix(stream) => {
                let $socket = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        of_socket!(self, socket => socket.poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        of_socket!(self, socket => socket.poll_write(cx, data))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_socket!(self, socket => socket.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        of_socket!(self, socket => socket.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        of_socket!(self, socket => socket.poll_write_vectored(cx, data))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
