//! How much a server takes.

use std::time::Duration;

/// How much a server takes from its data planes, and for how long.
///
/// ```
/// use std::time::Duration;
/// use extproc::{Limits, Noop, Server};
///
/// let mut limits = Limits::default();
/// limits.max_exchanges = 500;
/// limits.max_connection_age = Some(Duration::from_secs(3600));
/// let server = Server::new(Noop).limits(limits);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest message that is received, in bytes; a longer one ends its exchange with OUT_OF_RANGE. It must exceed
    /// what the data plane buffers: 1 MiB in Envoy, unless configured. Default 16 MiB.
    pub max_message: usize,
    /// Connections at the same time; one more is closed at once. Default 10 000.
    pub max_connections: usize,
    /// Exchanges at the same time, over all connections; one more ends at once with RESOURCE_EXHAUSTED, which means to
    /// its data plane what any failure of a processor means. Default 10 000.
    pub max_exchanges: usize,
    /// HTTP/2 streams at the same time on one connection (SETTINGS_MAX_CONCURRENT_STREAMS). A data plane that wants more
    /// opens another connection, or waits. Default 10 000.
    pub max_streams: u32,
    /// The longest header list of a call, in bytes as HTTP/2 counts them (SETTINGS_MAX_HEADER_LIST_SIZE). The headers of
    /// the exchanges are not meant: they travel in messages. Default 16 KiB.
    pub max_header_list: u32,
    /// What one stream may send before it is read, in bytes (HTTP/2 flow control). Default 1 MiB.
    pub stream_window: u32,
    /// What all streams of a connection may send before it is read, in bytes. Where it is not much more than
    /// `stream_window`, one handler that does not read stops all others of its connection. Default 16 MiB.
    pub connection_window: u32,
    /// How long a connection may be silent before it is pinged (HTTP/2 PING); none for never. Default 60 s.
    pub keepalive_interval: Option<Duration>,
    /// How long the answer to such a ping may take before the connection is closed. Default 20 s.
    pub keepalive_timeout: Duration,
    /// How long a new connection may take until its first HTTP/2 byte, TLS handshake included. Default 10 s.
    pub handshake_timeout: Duration,
    /// TLS handshakes at the same time; further ones wait, within their timeout. Default 256.
    pub max_handshakes: usize,
    /// How old a connection may get before it is told to go (GOAWAY): its running exchanges finish, new ones take
    /// another connection. Up to a tenth longer, so that not all end together. None for any age. Default none.
    pub max_connection_age: Option<Duration>,
    /// How long the exchanges of a connection that was told to go for its age may take; none for any time. Default none.
    pub max_connection_age_grace: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 16 << 20,
            max_connections: 10_000,
            max_exchanges: 10_000,
            max_streams: 10_000,
            max_header_list: 16 << 10,
            stream_window: 1 << 20,
            connection_window: 16 << 20,
            keepalive_interval: Some(Duration::from_secs(60)),
            keepalive_timeout: Duration::from_secs(20),
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 256,
            max_connection_age: None,
            max_connection_age_grace: None,
        }
    }
}
