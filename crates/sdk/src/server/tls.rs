//! TLS: what is configured, and the state of a running server.

mod load;
mod reload;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

pub use self::load::TlsError;
pub(super) use self::reload::watch;
use super::listener::Socket;

/// The certificate of a server, its key, and who may be a client. Feature `tls`.
///
/// TLS 1.2 and 1.3, HTTP/2 by ALPN. The files are PEM. They are looked at again and again
/// ([`reload_interval`](Self::reload_interval)), and used for new connections when they have changed; files that cannot be
/// used are reported and leave what was before. Running connections keep what they began with.
///
/// ```
/// use extproc::{Noop, Server, Tls};
///
/// let tls = Tls::new("/etc/tls/tls.crt", "/etc/tls/tls.key").client_ca("/etc/tls/ca.crt");
/// let server = Server::new(Noop).tls(tls);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_optional: bool,
    reload_interval: Duration,
}

impl Tls {
    /// `certificate`: the server's certificate, then those that issued it, each before its issuer. `key`: its private key
    /// (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: certificate.into(),
            key: key.into(),
            client_ca: None,
            client_optional: false,
            reload_interval: Duration::from_secs(10),
        }
    }

    /// Mutual TLS: clients must show a certificate that one of these issued. Default: clients show none.
    #[must_use]
    pub fn client_ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.client_ca = Some(file.into());
        self
    }

    /// With [`client_ca`](Self::client_ca): clients may also show no certificate. A bad one is refused all the same.
    #[must_use]
    pub const fn client_optional(mut self, optional: bool) -> Self {
        self.client_optional = optional;
        self
    }

    /// How often the files are looked at. Default 10 s.
    #[must_use]
    pub const fn reload_interval(mut self, interval: Duration) -> Self {
        self.reload_interval = interval;
        self
    }

    /// Reads the files and sees whether they can be used together.
    ///
    /// # Errors
    /// What is wrong with which file, and what to do.
    pub fn check(&self) -> Result<(), TlsError> {
        load::config(self, &load::Files::read(self)?).map(drop)
    }
}

/// TLS of a running server.
pub(super) struct Acceptor {
    tls: Tls,
    config: RwLock<Arc<ServerConfig>>,
    handshakes: Semaphore,
}

impl Acceptor {
    /// # Errors
    /// As [`Tls::check`].
    pub(super) fn new(tls: Tls, max_handshakes: usize) -> Result<(Arc<Self>, load::Files), TlsError> {
        let files = load::Files::read(&tls)?;
        let config = RwLock::new(load::config(&tls, &files)?);
        let handshakes = Semaphore::new(max_handshakes.min(Semaphore::MAX_PERMITS));
        Ok((Arc::new(Self { tls, config, handshakes }), files))
    }

    /// A handshake, when its turn has come.
    ///
    /// # Errors
    /// The client and this server do not agree, or the client is gone.
    pub(super) async fn accept(&self, socket: Socket) -> std::io::Result<TlsStream<Socket>> {
        // Never closed.
        let _turn = self.handshakes.acquire().await.map_err(std::io::Error::other)?;
        let config = Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner));
        TlsAcceptor::from(config).accept(socket).await
    }

    fn replace(&self, config: Arc<ServerConfig>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("tls", &self.tls).finish_non_exhaustive()
    }
}
