//! How processors are called.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::dialogue::Processor;
use crate::failure::{Failure, Outcome};

/// How a processor's server is known, and what is shown to it.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct Tls {
    /// Use TLS, with certificates that one of those in this PEM file issued
    #[arg(long = "tls-ca", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Our own certificate, in a PEM file, for servers that ask for one
    #[arg(long = "tls-cert", value_name = "FILE", requires_all = ["ca", "key"])]
    cert: Option<PathBuf>,
    /// The key of our certificate, in a PEM file
    #[arg(long = "tls-key", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The name that the server's certificate is for [default: the host of the address]
    #[arg(long = "tls-name", value_name = "NAME", requires = "ca")]
    name: Option<String>,
}

/// Connects to a processor.
pub(crate) async fn connect(address: &str, tls: &Tls) -> Outcome<Processor> {
    let endpoint = tls.apply(address, endpoint(address).map_err(Failure::Usage)?).map_err(Failure::Usage)?;
    let hint = || match tls.ca {
        None => format!("no processor answers at {address}; start one: extproc serve trivial --listen {address}"),
        Some(_) => format!("no processor answers at {address} with TLS"),
    };
    Ok(Processor::connect(&endpoint).await.with_context(hint)?)
}

impl Tls {
    /// `endpoint`, which is that of `address`, over TLS if that is asked for.
    pub(crate) fn apply(&self, address: &str, endpoint: Endpoint) -> anyhow::Result<Endpoint> {
        let Some(ca) = &self.ca else { return Ok(endpoint) };
        anyhow::ensure!(!address.starts_with("unix:"), "TLS is for addresses HOST:PORT, not for unix sockets");
        let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            config = config.identity(Identity::from_pem(read(cert)?, read(key)?));
        }
        if let Some(name) = &self.name {
            config = config.domain_name(name.clone());
        }
        // An address without a scheme is http; the client takes TLS only for https.
        let secure: http::Uri =
            format!("https://{address}").parse().with_context(|| format!("{address:?} is no address"))?;
        let endpoint = Endpoint::from(secure).connect_timeout(CONNECT);
        endpoint.tls_config(config).with_context(|| format!("the certificates of {} cannot be used", ca.display()))
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(has_pem(&pem), "{} holds no PEM: there is no line -----BEGIN …-----", path.display());
    Ok(pem)
}

fn has_pem(text: &[u8]) -> bool {
    text.windows(11).any(|it| it == b"-----BEGIN ")
}

const CONNECT: Duration = Duration::from_secs(2);

/// An address to connect to.
pub(crate) fn endpoint(address: &str) -> anyhow::Result<Endpoint> {
    let uri = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
    let endpoint =
        Endpoint::from_shared(uri).ok().filter(|it| address.starts_with("unix:") || it.uri().port().is_some());
    let endpoint = endpoint.with_context(|| format!("{address:?} is no address; write HOST:PORT or unix:PATH"))?;
    Ok(endpoint.connect_timeout(CONNECT))
}

/// `200ms`, `1.5s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').unwrap_or_default(), 1.0),
    };
    let seconds = number.parse::<f64>().ok().map(|number| number * unit);
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    duration.ok_or_else(|| "write a number with its unit, as 200ms or 1.5s".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [("200ms", Some(200)), ("1.5s", Some(1500)), ("0s", Some(0))] {
            assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
        }
        for text in ["200", "", "s", "-1s", "1m", "1e99s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
