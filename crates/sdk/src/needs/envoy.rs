//! Needs as configuration of Envoy.

use std::fmt::Write;

use extproc_core::Direction;

use super::Needs;
use super::endpoint::{Endpoint, Place, quoted};
use super::wished;

/// What Envoy holds of a body unless configured, in bytes.
const DEFAULT_BUFFER: usize = 1 << 20;

/// A bootstrap configuration, as YAML.
pub(super) fn config(needs: &Needs, endpoint: &Endpoint, max_message: usize) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"# A whole configuration: envoy -c FILE. To add to one of your own, take what stands between the marks.
static_resources:
  listeners:
  - name: http
    address:
      socket_address: {{ address: 127.0.0.1, port_value: 8080 }}
{buffer}    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route: {{ cluster: app }}
          http_filters:
          # The filter: in front of the router. It is answered in messages of up to {max_message} bytes.
{filter}          # The filter ends.
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  # The processor's cluster.
{cluster}  # The processor's cluster ends.
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {{ address: 127.0.0.1, port_value: 8000 }}
"#,
        buffer = buffer(needs),
        filter = indented(&filter(needs), 10),
        cluster = indented(&cluster(endpoint), 2),
    );
    text
}

/// Room for the bodies that are taken whole, which Envoy holds meanwhile.
fn buffer(needs: &Needs) -> String {
    match needs.largest_whole() {
        Some(whole) if whole > DEFAULT_BUFFER => format!(
            "    # Bodies that are taken whole: longer ones are answered with 413, or with 500 on the way back. Default 1 MiB.\n    \
             per_connection_buffer_limit_bytes: {}\n",
            whole.min(u32::MAX as usize)
        ),
        _ => String::new(),
    }
}

fn filter(needs: &Needs) -> String {
    let trailers = |direction| if needs.trailers(direction) { "SEND" } else { "SKIP" };
    let wishes = &needs.wishes;
    let mut text = format!(
        r#"- name: envoy.filters.http.ext_proc
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
    grpc_service:
      envoy_grpc:
        cluster_name: ext_proc
    # How long one answer may take; then the exchange fails with 504.
    message_timeout: 0.2s
    # Whether an exchange goes on unprocessed when the processor fails. Never for processors that deny.
    failure_mode_allow: false
    processing_mode:
      request_header_mode: SEND
      response_header_mode: SEND
      request_body_mode: {request}
      response_body_mode: {response}
      request_trailer_mode: {request_trailers}
      response_trailer_mode: {response_trailers}
"#,
        request = needs.bodies.request,
        response = needs.bodies.response,
        request_trailers = trailers(Direction::Request),
        response_trailers = trailers(Direction::Response),
    );
    if wishes.mode_override {
        text.push_str("    allow_mode_override: true\n");
    }
    text.push_str(&wished::attributes(wishes));
    text.push_str(&wished::metadata(wishes));
    text
}

fn cluster(endpoint: &Endpoint) -> String {
    let (kind, address) = address(endpoint);
    let mut text = format!(
        r#"- name: ext_proc
  type: {kind}
  typed_extension_protocol_options:
    envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
      "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
      explicit_http_config:
        http2_protocol_options: {{}}
  load_assignment:
    cluster_name: ext_proc
    endpoints:
    - lb_endpoints:
      - endpoint:
          address:
            {address}
"#
    );
    if endpoint.tls {
        let host = match &endpoint.place {
            Place::Tcp { host, .. } => host.as_str(),
            Place::Unix(_) => "localhost",
        };
        let _ = write!(
            text,
            r#"  transport_socket:
    name: envoy.transport_sockets.tls
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
      sni: {}
      common_tls_context:
        validation_context:
          # The authority that issued the processor's certificate.
          trusted_ca: {{ filename: /etc/ssl/certs/ca-certificates.crt }}
"#,
            quoted(host)
        );
    }
    text
}

/// How Envoy finds the server, and its address.
fn address(endpoint: &Endpoint) -> (&'static str, String) {
    match &endpoint.place {
        Place::Unix(path) => ("STATIC", format!("pipe: {{ path: {} }}", quoted(path))),
        Place::Tcp { host, port } => {
            let kind = if host.parse::<std::net::IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" };
            (kind, format!("socket_address: {{ address: {}, port_value: {port} }}", quoted(host)))
        }
    }
}

fn indented(text: &str, by: usize) -> String {
    text.lines().fold(String::new(), |text, line| text + &" ".repeat(by) + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Want;
    use crate::{DataPlane, Wishes};

    #[test]
    fn addresses() {
        for (text, kind, expected) in [
            ("127.0.0.1:50051", "STATIC", "socket_address: { address: '127.0.0.1', port_value: 50051 }"),
            ("0.0.0.0:1", "STATIC", "socket_address: { address: '127.0.0.1', port_value: 1 }"),
            ("[::]:1", "STATIC", "socket_address: { address: '::1', port_value: 1 }"),
            ("[::1]:2", "STATIC", "socket_address: { address: '::1', port_value: 2 }"),
            ("processor.local:3", "STRICT_DNS", "socket_address: { address: 'processor.local', port_value: 3 }"),
            ("unix:/tmp/it's.sock", "STATIC", "pipe: { path: '/tmp/it''s.sock' }"),
        ] {
            let endpoint = Endpoint::new(&text.into(), false);
            assert_eq!(address(&endpoint), (kind, expected.to_owned()), "{text}");
        }
    }

    fn lines(needs: &Needs, tls: bool) -> Vec<String> {
        let endpoint = Endpoint::new(&"127.0.0.1:50051".into(), tls);
        let text = needs.config_for(DataPlane::Envoy, &endpoint, 1024);
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn what_is_needed_stands_there() {
        let wishes = Wishes::new().mode_override().reads_metadata("a").writes_metadata("b").writes_metadata("c");
        let wishes = wishes.request_attribute("request.path").response_attribute("response.code").request_trailers();
        let needs = Needs::of(Want::Whole(8 << 20), Want::Chunks, wishes);
        let lines = lines(&needs, true);
        for expected in [
            "request_body_mode: BUFFERED",
            "response_body_mode: FULL_DUPLEX_STREAMED",
            "request_trailer_mode: SEND",
            "response_trailer_mode: SEND",
            "allow_mode_override: true",
            "request_attributes: ['request.path']",
            "response_attributes: ['response.code']",
            "forwarding_namespaces: { untyped: ['a'] }",
            "receiving_namespaces: { untyped: ['b', 'c'] }",
            "per_connection_buffer_limit_bytes: 8388608",
            "name: envoy.transport_sockets.tls",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:#?}");
        }
    }

    #[test]
    fn what_is_not_needed_does_not() {
        let lines = lines(&Needs::default(), false);
        for word in ["override", "attributes", "namespaces", "per_connection", "transport_socket", "trailer_mode: SEND"]
        {
            assert!(!lines.iter().any(|line| line.contains(word)), "{word} is in {lines:#?}");
        }
    }
}
