//! What attributes tell of an exchange besides its headers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use extproc_core::{Attribute, FilterChain};
use http::{Version, request};

/// In the extensions of a request: what attributes tell of its connection and its route. What is not known is left out.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The client: `source.address`, `source.port`.
    pub source: Option<SocketAddr>,
    /// Where the client has connected to: `destination.address`, `destination.port`.
    pub destination: Option<SocketAddr>,
    /// `connection.id`.
    pub connection_id: Option<u64>,
    /// `xds.cluster_name`: the backend that the route leads to.
    pub cluster_name: Option<Arc<str>>,
    /// `xds.route_name`.
    pub route_name: Option<Arc<str>>,
}

/// In the extensions of a response: the server that it came from (`upstream.address`, `upstream.port`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamAddress(pub SocketAddr);

/// Tells a chain what is known when a request comes in.
pub(crate) fn tell_request(chain: &mut FilterChain, head: &request::Parts) {
    let mut tell = |name: &str, value: &dyn Fn() -> Attribute| {
        if chain.wants_attribute(name) {
            chain.set_attribute(name, &value());
        }
    };
    tell("response.flags", &|| Attribute::Number(0.0));
    tell("request.protocol", &|| text(protocol(head.version)));
    tell("request.time", &|| Attribute::Text(timestamp(SystemTime::now())));
    let Some(facts) = head.extensions.get::<Facts>() else { return };
    if let Some(source) = facts.source {
        tell("source.address", &|| Attribute::Text(source.to_string()));
        tell("source.port", &|| Attribute::Number(source.port().into()));
    }
    if let Some(destination) = facts.destination {
        tell("destination.address", &|| Attribute::Text(destination.to_string()));
        tell("destination.port", &|| Attribute::Number(destination.port().into()));
        // There is no TLS here.
        tell("connection.mtls", &|| Attribute::Bool(false));
        tell("connection.requested_server_name", &|| text(""));
    }
    if let Some(id) = facts.connection_id {
        #[expect(clippy::cast_precision_loss, reason = "a Struct has no other numbers")]
        tell("connection.id", &|| Attribute::Number(id as f64));
    }
    for (name, value) in [("xds.cluster_name", &facts.cluster_name), ("xds.route_name", &facts.route_name)] {
        if let Some(value) = value {
            tell(name, &|| text(value));
        }
    }
}

/// Tells a chain what is known when the upstream has answered.
pub(crate) fn tell_response(chain: &mut FilterChain, extensions: &http::Extensions) {
    if let Some(UpstreamAddress(upstream)) = extensions.get() {
        chain.set_attribute("upstream.address", &Attribute::Text(upstream.to_string()));
        chain.set_attribute("upstream.port", &Attribute::Number(upstream.port().into()));
    }
    chain.set_attribute("response.code_details", &text("via_upstream"));
}

fn text(text: &str) -> Attribute {
    Attribute::Text(text.to_owned())
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// RFC 3339 with nanoseconds, as Envoy's CEL prints a time.
fn timestamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let nanos = format!("{:09}", since.subsec_nanos());
    let fraction = nanos.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{point}{fraction}+00:00")
}

/// The date of a day after 1970-01-01, counted in years that begin in March, so that the leap day is the last.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (nanoseconds, expected) in [
            (0, "1970-01-01T00:00:00+00:00"),
            (951_782_400_000_000_000, "2000-02-29T00:00:00+00:00"),
            (1_709_251_199_500_000_000, "2024-02-29T23:59:59.5+00:00"),
            (1_735_689_600_000_000_001, "2025-01-01T00:00:00.000000001+00:00"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_nanos(nanoseconds)), expected);
        }
    }
}
