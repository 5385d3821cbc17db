//! The settings, one by one.

use std::fmt;

use super::Values;
use super::words::{duration, number, optional_duration, show_duration, show_size, size, size_of_window, truth};
use crate::{Address, Name};

/// A setting: its name in a file, its flag, its variable.
pub struct Key {
    /// In a file, and with `-` in place of `_` as a flag.
    pub name: &'static str,
    /// One letter that is a flag too.
    pub short: Option<char>,
    /// Of what kind, as it stands in help.
    pub value: &'static str,
    /// What it is, in one sentence.
    pub about: &'static str,
    /// Its name in the Python SDK, which is kept.
    pub(super) python: Option<&'static str>,
    pub(super) set: fn(&mut Values, &str) -> Result<(), String>,
    /// None when it has no value.
    pub(super) show: fn(&Values) -> Option<String>,
}

impl Key {
    /// The flag, without the dashes in front.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The environment variable: that of the Python SDK where it has one, else `EXTPROC_` and the name in capitals.
    #[must_use]
    pub fn variable(&self) -> String {
        self.python.map_or_else(|| format!("EXTPROC_{}", self.name.to_ascii_uppercase()), str::to_owned)
    }

    /// Its value when nobody sets it, as it is written; none for no value.
    #[must_use]
    pub fn default_value(&self) -> Option<String> {
        (self.show)(&Values::default())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

macro_rules! key {
    ($name:literal, $value:literal, $about:literal, $set:expr, $show:expr $(, python $python:literal)? $(, short $short:literal)?) => {
        Key {
            name: $name,
            short: key!(@ $($short)?),
            value: $value,
            about: $about,
            python: key!(@ $($python)?),
            set: $set,
            show: $show,
        }
    };
    (@ $given:literal) => { Some($given) };
    (@) => { None };
}

fn listen(text: &str) -> Result<Address, String> {
    let wrong = || "write HOST:PORT, :PORT for all interfaces, or unix:PATH".to_owned();
    match Address::from(text) {
        Address::Unix(path) if path.as_os_str().is_empty() => Err(wrong()),
        Address::Tcp(place) => {
            let port = place.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            port.map(|_| Address::Tcp(place)).ok_or_else(wrong)
        }
        unix => Ok(unix),
    }
}

impl Key {
    /// All that there are.
    pub(super) const ALL: &'static [Self] = &[
        key!(
            "listen",
            "ADDR",
            "HOST:PORT, :PORT for all interfaces, or unix:PATH; port 0 takes a free one",
            |v, t| listen(t).map(|it| v.listen = Some(it)),
            |v| v.listen.as_ref().map(ToString::to_string)
        ),
        key!("port", "PORT", "All interfaces at this port, unless listen is set",
            |v, t| t.parse().map(|it| v.port = it).map_err(|_| "write a number from 0 to 65535".to_owned()),
            |v| Some(v.port.to_string()), python "GRPC_PORT", short 'p'),
        key!("grace_period", "TIME", "How long running exchanges may go on after SIGTERM or SIGINT",
            |v, t| duration(t).map(|it| v.grace_period = it),
            |v| Some(show_duration(v.grace_period)), python "SHUTDOWN_GRACE_PERIOD", short 'g'),
        key!(
            "drain_delay",
            "TIME",
            "How long health says NOT_SERVING before connections are told to go",
            |v, t| duration(t).map(|it| v.drain_delay = it),
            |v| Some(show_duration(v.drain_delay))
        ),
        key!("reflection", "BOOL", "Serve gRPC reflection", |v, t| truth(t).map(|it| v.reflection = it), |v| Some(
            v.reflection.to_string()
        )),
        key!(
            "max_message",
            "SIZE",
            "The longest message that is received; a longer one ends its exchange",
            |v, t| size(t).map(|it| v.limits.max_message = it),
            |v| Some(show_size(v.limits.max_message))
        ),
        key!(
            "max_exchanges",
            "N",
            "Exchanges at the same time; one more ends with RESOURCE_EXHAUSTED",
            |v, t| number(t).map(|it| v.limits.max_exchanges = it),
            |v| Some(v.limits.max_exchanges.to_string())
        ),
        key!(
            "max_connections",
            "N",
            "Connections at the same time; one more is closed at once",
            |v, t| number(t).map(|it| v.limits.max_connections = it),
            |v| Some(v.limits.max_connections.to_string())
        ),
        key!(
            "max_streams",
            "N",
            "HTTP/2 streams at the same time on one connection",
            |v, t| number(t).map(|it| v.limits.max_streams = it),
            |v| Some(v.limits.max_streams.to_string())
        ),
        key!(
            "max_header_list",
            "SIZE",
            "The longest header list of a call",
            |v, t| size_of_window(t).map(|it| v.limits.max_header_list = it),
            |v| Some(show_size(v.limits.max_header_list as usize))
        ),
        key!(
            "stream_window",
            "SIZE",
            "What one HTTP/2 stream may send before it is read",
            |v, t| size_of_window(t).map(|it| v.limits.stream_window = it),
            |v| Some(show_size(v.limits.stream_window as usize))
        ),
        key!(
            "connection_window",
            "SIZE",
            "What all streams of a connection may send before it is read",
            |v, t| size_of_window(t).map(|it| v.limits.connection_window = it),
            |v| Some(show_size(v.limits.connection_window as usize))
        ),
        key!(
            "keepalive_interval",
            "TIME",
            "How long a connection may be silent before it is pinged, or none",
            |v, t| optional_duration(t).map(|it| v.limits.keepalive_interval = it),
            |v| Some(v.limits.keepalive_interval.map_or_else(|| "none".to_owned(), show_duration))
        ),
        key!(
            "keepalive_timeout",
            "TIME",
            "How long the answer to a ping may take",
            |v, t| duration(t).map(|it| v.limits.keepalive_timeout = it),
            |v| Some(show_duration(v.limits.keepalive_timeout))
        ),
        key!(
            "handshake_timeout",
            "TIME",
            "How long a connection may take until its first HTTP/2 byte",
            |v, t| duration(t).map(|it| v.limits.handshake_timeout = it),
            |v| Some(show_duration(v.limits.handshake_timeout))
        ),
        key!(
            "max_handshakes",
            "N",
            "TLS handshakes at the same time; further ones wait",
            |v, t| number(t).map(|it| v.limits.max_handshakes = it),
            |v| Some(v.limits.max_handshakes.to_string())
        ),
        key!(
            "max_connection_age",
            "TIME",
            "How old a connection may get before it is told to go, or none",
            |v, t| optional_duration(t).map(|it| v.limits.max_connection_age = it),
            |v| Some(v.limits.max_connection_age.map_or_else(|| "none".to_owned(), show_duration))
        ),
        key!(
            "max_connection_age_grace",
            "TIME",
            "How long the exchanges of such a connection may take, or none",
            |v, t| optional_duration(t).map(|it| v.limits.max_connection_age_grace = it),
            |v| Some(v.limits.max_connection_age_grace.map_or_else(|| "none".to_owned(), show_duration))
        ),
        key!(
            "tls_certificate",
            "FILE",
            "Serve TLS with this certificate and those that issued it, PEM",
            |v, t| {
                v.tls_certificate = Some(t.into());
                Ok(())
            },
            |v| v.tls_certificate.as_ref().map(|it| it.display().to_string())
        ),
        key!(
            "tls_key",
            "FILE",
            "The certificate's private key, PEM",
            |v, t| {
                v.tls_key = Some(t.into());
                Ok(())
            },
            |v| v.tls_key.as_ref().map(|it| it.display().to_string())
        ),
        key!(
            "tls_client_ca",
            "FILE",
            "Clients must show a certificate that one of these issued, PEM",
            |v, t| {
                v.tls_client_ca = Some(t.into());
                Ok(())
            },
            |v| v.tls_client_ca.as_ref().map(|it| it.display().to_string())
        ),
        key!(
            "tls_client_optional",
            "BOOL",
            "Clients may also show no certificate",
            |v, t| truth(t).map(|it| v.tls_client_optional = it),
            |v| Some(v.tls_client_optional.to_string())
        ),
        key!(
            "tls_reload_interval",
            "TIME",
            "How often the TLS files are looked at",
            |v, t| duration(t).map(|it| v.tls_reload_interval = it),
            |v| Some(show_duration(v.tls_reload_interval))
        ),
        key!("reveal_chain", "BOOL", "Whether processors that are wrapped in Reveal add their names to responses",
            |v, t| truth(t).or(Ok(false)).map(|it| v.reveal_chain = Some(it)),
            |v| v.reveal_chain.map(|it| it.to_string()), python "REVEAL_EXTPROC_CHAIN"),
        key!("applied_header", "NAME", "The response header with these names",
            |v, t| Name::parse(t.to_owned()).map(|it| v.applied_header = Some(it)).map_err(|error| format!("it is no header name: {error}")),
            |v| v.applied_header.as_ref().map(|it| it.as_str().to_owned()), python "EXTPROCS_APPLIED_HEADER"),
        key!("log_level", "LEVEL", "What to log: a level, or targets with levels; RUST_LOG wins over it",
            |v, t| { v.log_level = Some(t.to_owned()); Ok(()) },
            |v| v.log_level.clone(), python "LOG_LEVEL"),
    ];
}
