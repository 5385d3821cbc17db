//! Needs as configuration of this project's gateway.

use std::fmt::Write;

use extproc_core::Direction;

use super::Needs;
use super::endpoint::{Endpoint, quoted};
use super::wished;

/// What the gateway holds of a body unless configured, in bytes.
const DEFAULT_BUFFER: usize = 1 << 20;

/// A whole configuration, as YAML.
pub(super) fn config(needs: &Needs, endpoint: &Endpoint) -> String {
    let trailers = |direction| if needs.trailers(direction) { "SEND" } else { "SKIP" };
    let mut text = String::new();
    if endpoint.tls {
        text.push_str(
            "# The gateway does not speak TLS to processors: serve without, on a unix socket or on loopback.\n",
        );
    }
    let wishes = &needs.wishes;
    if let Some(whole) = needs.largest_whole().filter(|whole| *whole > DEFAULT_BUFFER) {
        let _ = writeln!(text, "limits: {{ max_buffered_bytes: {whole} }}");
    }
    let allow = if wishes.mode_override { "\n    allow_mode_override: true" } else { "" };
    let _ = write!(
        text,
        r"gateways: [{{ name: main, listeners: [{{ name: http, port: 8080 }}] }}]
backends: [{{ name: app, endpoints: [{{ address: 127.0.0.1:8000 }}] }}]
routes: [{{ name: all, rules: [{{ backend_refs: [{{ name: app }}] }}] }}]
policies:
- name: processing
  target_refs: [{{ kind: Gateway, name: main }}]
  ext_proc:
  - name: processor
    processor: {{ address: {address} }}
    # How long one answer may take; then the exchange fails with 504.
    message_timeout: 200ms
    # Whether an exchange goes on unprocessed when the processor fails. Never for processors that deny.
    failure_mode_allow: false{allow}
    processing_mode:
      request_header_mode: SEND
      response_header_mode: SEND
      request_body_mode: {request}
      response_body_mode: {response}
      request_trailer_mode: {request_trailers}
      response_trailer_mode: {response_trailers}
",
        address = quoted(&endpoint.authority()),
        request = needs.bodies.request,
        response = needs.bodies.response,
        request_trailers = trailers(Direction::Request),
        response_trailers = trailers(Direction::Response),
    );
    text.push_str(&wished::attributes(wishes));
    text.push_str(&wished::metadata(wishes));
    text
}
