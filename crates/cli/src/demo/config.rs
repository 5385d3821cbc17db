//! The gateway's configuration for the demo.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// The processors in front of the upstream, and a route around them; filters as the Python SDK's demo has them.
pub(super) fn yaml(port: u16, upstream: SocketAddr, processors: &[(&str, SocketAddr)]) -> String {
    let mut text = format!(
        "\
version: 1
gateways:
  - name: demo
    listeners: [{{ name: http, address: 127.0.0.1, port: {port} }}]
backends:
  - {{ name: echo, endpoints: [{{ address: \"{upstream}\" }}] }}
routes:
  - name: all
    rules:
      - name: bypass
        matches: [{{ path: {{ type: PathPrefix, value: /no-ext-procs }} }}]
        backend_refs: [{{ name: echo }}]
      - name: processed
        matches: [{{ path: {{ type: PathPrefix, value: / }} }}]
        backend_refs: [{{ name: echo }}]
policies:
  - name: samples
    target_refs: [{{ kind: HTTPRoute, name: all, section_name: processed }}]
    ext_proc:
"
    );
    for (name, address) in processors {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "      - name: {name}
        processor: {{ address: \"{address}\" }}
        failure_mode_allow: true
        message_timeout: 200ms
        processing_mode:
          request_header_mode: SEND
          response_header_mode: SEND
          request_body_mode: BUFFERED
          response_body_mode: BUFFERED
          request_trailer_mode: SKIP
          response_trailer_mode: SKIP
"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_takes_it() {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let text = yaml(0, at(1), &[("one", at(2)), ("two", at(3))]);
        let plan = extproc_gateway::Config::parse(text, "demo").expect("valid").plan().expect("consistent");
        for (path, processors) in
            [("/", 2), ("/something", 2), ("/no-ext-procs", 0), ("/no-ext-procs/a", 0), ("/no-ext-procsa", 2)]
        {
            let chain = plan.routes.select(0, "localhost", path).map(|rule| rule.chain.len());
            assert_eq!(chain, Some(processors), "{path}");
        }
    }
}
