//! How processors are called.

use std::time::Duration;

use anyhow::Context;
use tonic::transport::Endpoint;

use crate::dialogue::Processor;
use crate::failure::{Failure, Outcome};

/// Connects to a processor.
pub(crate) async fn connect(address: &str) -> Outcome<Processor> {
    let endpoint = endpoint(address).map_err(Failure::Usage)?;
    let hint = || format!("no processor answers at {address}; start one: extproc serve trivial --listen {address}");
    Ok(Processor::connect(&endpoint).await.with_context(hint)?)
}

/// An address to connect to.
pub(crate) fn endpoint(address: &str) -> anyhow::Result<Endpoint> {
    let uri = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
    let endpoint =
        Endpoint::from_shared(uri).ok().filter(|it| address.starts_with("unix:") || it.uri().port().is_some());
    let endpoint = endpoint.with_context(|| format!("{address:?} is no address; write HOST:PORT or unix:PATH"))?;
    Ok(endpoint.connect_timeout(Duration::from_secs(2)))
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
