//! What a server needs, as configuration of Envoy.

use std::fmt::Write;

use extproc_core::BodyMode;
use extproc_core::session::BodyModes;

use super::Address;

/// The filter and the cluster, as YAML.
pub(super) fn config(bodies: BodyModes, address: &Address, max_message: usize) -> String {
    let trailers = |mode| if mode == BodyMode::FullDuplexStreamed { "SEND" } else { "SKIP" };
    let (kind, endpoint) = endpoint(address);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"# Among the http_filters, in front of the router. Messages of up to {max_message} bytes are taken.
- name: envoy.filters.http.ext_proc
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
    grpc_service:
      envoy_grpc:
        cluster_name: ext_proc
    processing_mode:
      request_header_mode: SEND
      response_header_mode: SEND
      request_body_mode: {request}
      response_body_mode: {response}
      request_trailer_mode: {request_trailers}
      response_trailer_mode: {response_trailers}

# Among the clusters.
- name: ext_proc
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
            {endpoint}
"#,
        request = mode(bodies.request),
        response = mode(bodies.response),
        request_trailers = trailers(bodies.request),
        response_trailers = trailers(bodies.response),
    );
    text
}

const fn mode(mode: BodyMode) -> &'static str {
    match mode {
        BodyMode::None => "NONE",
        BodyMode::Streamed => "STREAMED",
        BodyMode::Buffered => "BUFFERED",
        BodyMode::BufferedPartial => "BUFFERED_PARTIAL",
        BodyMode::FullDuplexStreamed => "FULL_DUPLEX_STREAMED",
        BodyMode::Grpc => "GRPC",
    }
}

/// How Envoy finds the server, and its address. Where the server listens on all interfaces this is the local one.
fn endpoint(address: &Address) -> (&'static str, String) {
    match address {
        Address::Unix(path) => ("STATIC", format!("pipe: {{ path: {} }}", quoted(&path.to_string_lossy()))),
        Address::Tcp(text) => {
            let (host, port) = text.rsplit_once(':').unwrap_or((text, "50051"));
            let host = match host.trim_start_matches('[').trim_end_matches(']') {
                "" | "0.0.0.0" => "127.0.0.1",
                "::" => "::1",
                host => host,
            };
            let kind = if host.parse::<std::net::IpAddr>().is_ok() { "STATIC" } else { "STRICT_DNS" };
            (kind, format!("socket_address: {{ address: {}, port_value: {port} }}", quoted(host)))
        }
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, kind, expected) in [
            ("127.0.0.1:50051", "STATIC", "socket_address: { address: '127.0.0.1', port_value: 50051 }"),
            ("0.0.0.0:1", "STATIC", "socket_address: { address: '127.0.0.1', port_value: 1 }"),
            ("[::]:1", "STATIC", "socket_address: { address: '::1', port_value: 1 }"),
            ("[::1]:2", "STATIC", "socket_address: { address: '::1', port_value: 2 }"),
            ("processor.local:3", "STRICT_DNS", "socket_address: { address: 'processor.local', port_value: 3 }"),
            ("unix:/tmp/it's.sock", "STATIC", "pipe: { path: '/tmp/it''s.sock' }"),
        ] {
            assert_eq!(endpoint(&address.into()), (kind, expected.to_owned()), "{address}");
        }
    }

    #[test]
    fn modes_and_the_trailers_they_need() {
        for (bodies, expected) in [
            (
                BodyModes::default(),
                [
                    "request_body_mode: NONE",
                    "response_body_mode: NONE",
                    "request_trailer_mode: SKIP",
                    "response_trailer_mode: SKIP",
                ],
            ),
            (
                BodyModes { request: BodyMode::Buffered, response: BodyMode::FullDuplexStreamed },
                [
                    "request_body_mode: BUFFERED",
                    "response_body_mode: FULL_DUPLEX_STREAMED",
                    "request_trailer_mode: SKIP",
                    "response_trailer_mode: SEND",
                ],
            ),
        ] {
            let text = config(bodies, &"127.0.0.1:50051".into(), 1024);
            let lines: Vec<_> =
                text.lines().map(str::trim).filter(|l| l.contains("body_mode") || l.contains("trailer_mode")).collect();
            assert_eq!(lines, expected);
            assert!(text.contains("up to 1024 bytes"), "{text}");
        }
    }
}
