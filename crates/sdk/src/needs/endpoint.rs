//! Where data planes find a server.

use crate::Address;

/// The address of a server as data planes write it. Where it listens on all interfaces this is the local one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) place: Place,
    /// It speaks TLS.
    pub(crate) tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Tcp { host: String, port: String },
    Unix(String),
}

impl Endpoint {
    pub(crate) fn new(address: &Address, tls: bool) -> Self {
        let place = match address {
            Address::Unix(path) => Place::Unix(path.to_string_lossy().into_owned()),
            Address::Tcp(text) => {
                let (host, port) = text.rsplit_once(':').unwrap_or((text, "50051"));
                let host = match host.trim_start_matches('[').trim_end_matches(']') {
                    "" | "0.0.0.0" => "127.0.0.1",
                    "::" => "::1",
                    host => host,
                };
                Place::Tcp { host: host.to_owned(), port: port.to_owned() }
            }
        };
        Self { place, tls }
    }

    /// `host:port` with brackets where they are needed, or `unix:PATH`.
    pub(crate) fn authority(&self) -> String {
        match &self.place {
            Place::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port } => format!("{host}:{port}"),
            Place::Unix(path) => format!("unix:{path}"),
        }
    }
}

/// As a YAML string.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// As a YAML list of strings, on one line.
pub(crate) fn list<'a>(items: impl IntoIterator<Item = &'a String>) -> String {
    format!("[{}]", items.into_iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
}
