//! Addresses to listen on.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use tokio::net::TcpListener;

/// Where a server listens: `HOST:PORT`, `:PORT` for all interfaces, or `unix:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

impl Listen {
    pub(crate) const fn all(port: u16) -> Self {
        Self::Tcp { host: String::new(), port }
    }

    /// A listening TCP socket; port 0 takes a free one.
    pub(crate) async fn bind(&self) -> anyhow::Result<TcpListener> {
        match self {
            Self::Unix(_) => anyhow::bail!("cannot listen on {self}: this server needs a TCP address, HOST:PORT"),
            // All interfaces: IPv6 sockets take IPv4 too; hosts without IPv6 have only the latter.
            Self::Tcp { host, port } if host.is_empty() => match TcpListener::bind(("::", *port)).await {
                Ok(listener) => Ok(listener),
                Err(_) => TcpListener::bind(("0.0.0.0", *port)).await.with_context(|| self.cannot()),
            },
            Self::Tcp { host, port } => TcpListener::bind((host.as_str(), *port)).await.with_context(|| self.cannot()),
        }
    }

    fn cannot(&self) -> String {
        format!("cannot listen on {self}; is the port taken? Choose another with --listen")
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.is_empty() {
                true => Err("the path is missing; write unix:/run/extproc.sock".to_owned()),
                false => Ok(Self::Unix(path.into())),
            };
        }
        let hint = || "write HOST:PORT, :PORT for all interfaces, or unix:PATH".to_owned();
        let (host, port) = text.rsplit_once(':').ok_or_else(hint)?;
        let port = port.parse().map_err(|_| format!("{port:?} is not a port; {}", hint()))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self::Tcp { host: host.to_owned(), port })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let tcp = |host: &str, port| Ok(Listen::Tcp { host: host.to_owned(), port });
        for (text, expected) in [
            ("127.0.0.1:8000", tcp("127.0.0.1", 8000)),
            (":8000", Ok(Listen::all(8000))),
            ("localhost:0", tcp("localhost", 0)),
            ("[::1]:80", tcp("::1", 80)),
            ("unix:/tmp/a.sock", Ok(Listen::Unix("/tmp/a.sock".into()))),
        ] {
            let parsed = text.parse::<Listen>();
            assert_eq!(parsed, expected, "{text}");
            assert_eq!(parsed.map(|listen| listen.to_string()), Ok(text.to_owned()));
        }
        for text in ["8000", "localhost", "a:b", "a:99999", "unix:"] {
            assert!(text.parse::<Listen>().is_err(), "{text}");
        }
    }
}
