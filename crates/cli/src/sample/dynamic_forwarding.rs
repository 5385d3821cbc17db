//! `dynamic-forwarding`: tells the load balancer which endpoint a request goes to.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use extproc::{LocalReply, Open, Processor, RequestHead, Skip, Start, Stop};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Where Google's load balancers look for it; Envoy needs the namespace among its
/// `metadata_options.receiving_namespaces.untyped`.
const NAMESPACE: &str = "com.google.envoy.dynamic_forwarding.selected_endpoints";

/// Looks up the value of a header. Only endpoints from the settings are ever chosen: a header that named an address
/// itself would let clients reach every host that the data plane can.
#[derive(Debug)]
pub(crate) struct DynamicForwarding {
    header: String,
    endpoints: BTreeMap<String, SocketAddr>,
    otherwise: Option<SocketAddr>,
}

impl DynamicForwarding {
    pub(super) const KEYS: &[Key] = &[
        key("endpoint", "VALUE=IP:PORT, repeatable", "the endpoint for requests whose header has this value"),
        key("default", "IP:PORT [default: the data plane decides]", "the endpoint for requests without the header"),
        key("header", "NAME [default: x-backend]", "the header"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let mut endpoints = BTreeMap::new();
        for pair in settings.all("endpoint") {
            let parts = pair.split_once('=').and_then(|(value, address)| Some((value, address.parse().ok()?)));
            let (value, address) =
                parts.ok_or_else(|| settings.wrong("endpoint", format_args!("{pair:?} must be VALUE=IP:PORT")))?;
            endpoints.insert(value.to_owned(), address);
        }
        if endpoints.is_empty() {
            return Err(settings.missing("endpoint=blue=127.0.0.1:8081"));
        }
        let header = settings.text("header")?.unwrap_or("x-backend").to_owned();
        Ok(Self { header, endpoints, otherwise: settings.get("default")? })
    }
}

impl Processor for DynamicForwarding {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        let endpoint = match req.header(&self.header) {
            Some(value) => {
                let endpoint = self.endpoints.get(value);
                Some(
                    endpoint
                        .ok_or_else(|| LocalReply::bad_request().body("unknown backend").details("unknown_backend"))?,
                )
            }
            None => self.otherwise.as_ref(),
        };
        if let Some(endpoint) = endpoint {
            req.metadata(NAMESPACE, "primary", endpoint.to_string());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use extproc::testing::Script;

    use super::*;

    #[tokio::test]
    async fn the_header_chooses() {
        let settings = ["endpoint=blue=10.0.0.1:80", "endpoint=green=[fd00::1]:8080", "default=10.0.0.9:80"];
        for (headers, settings, expected) in [
            (&[("x-backend", "blue")][..], &settings[..2], r#"request_headers NS.primary:"10.0.0.1:80""#),
            (&[("x-backend", "green")], &settings[..2], r#"request_headers NS.primary:"[fd00::1]:8080""#),
            (
                &[("x-backend", "10.1.1.1:80")],
                &settings[..2],
                r#"immediate 400 body="unknown backend" details=unknown_backend"#,
            ),
            (&[], &settings[..2], "request_headers"),
            (&[], &settings[..], r#"request_headers NS.primary:"10.0.0.9:80""#),
        ] {
            let forwarding = DynamicForwarding::new(&Settings::test(settings)).expect("valid");
            let lines = Script::new().request_only(headers.iter().copied()).run(forwarding).await.lines();
            assert_eq!(lines, [expected.replace("NS", NAMESPACE)], "{headers:?}");
        }
        for settings in [&[][..], &["endpoint=a"], &["endpoint=a=host:80"]] {
            assert!(DynamicForwarding::new(&Settings::test(settings)).is_err(), "{settings:?}");
        }
    }
}
