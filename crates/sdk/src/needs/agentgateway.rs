//! Needs as configuration of agentgateway.

use std::collections::BTreeSet;
use std::fmt::Write;

use extproc_core::{BodyMode, Direction};

use super::Needs;
use super::endpoint::{Endpoint, Place, quoted};

/// The words of one of its formats.
struct Words {
    modes: [&'static str; 4],
    send: &'static str,
    skip: &'static str,
    fail_closed: &'static str,
}

const LOCAL: Words = Words {
    modes: ["none", "buffered", "bufferedPartial", "fullDuplexStreamed"],
    send: "send",
    skip: "skip",
    fail_closed: "failClosed",
};

const POLICY: Words = Words {
    modes: ["None", "Buffered", "BufferedPartial", "FullDuplexStreamed"],
    send: "Send",
    skip: "Skip",
    fail_closed: "FailClosed",
};

/// A local configuration file.
pub(super) fn local(needs: &Needs, endpoint: &Endpoint) -> String {
    let block = block(needs, &LOCAL);
    let tls = match endpoint.tls {
        true => {
            "          # The authority that issued the processor's certificate.\n          \
             policies: { backendTLS: { root: /etc/ssl/certs/ca-certificates.crt } }\n"
        }
        false => "",
    };
    let mut text = notes(needs, endpoint);
    let _ = write!(
        text,
        r#"binds:
- port: 8080
  listeners:
  - routes:
    - policies:
        extProc:
          host: {host}
{tls}{block}      backends:
      - host: 127.0.0.1:8000
"#,
        host = quoted(&endpoint.authority()),
        block = indented(&block, 10),
    );
    text
}

/// An `AgentgatewayPolicy` for an HTTPRoute, and the Service that it names.
pub(super) fn policy(needs: &Needs, endpoint: &Endpoint) -> String {
    let port = match &endpoint.place {
        Place::Tcp { port, .. } => port.as_str(),
        Place::Unix(_) => "50051",
    };
    let mut text = notes(needs, endpoint);
    let _ = write!(
        text,
        r#"apiVersion: agentgateway.dev/v1alpha1
kind: AgentgatewayPolicy
metadata:
  name: ext-proc
spec:
  targetRefs:
  - group: gateway.networking.k8s.io
    kind: HTTPRoute
    name: app
  traffic:
    extProc:
      # The Service in front of the processor.
      backendRef:
        name: ext-proc
        port: {port}
{block}"#,
        block = indented(&block(needs, &POLICY), 6),
    );
    text
}

/// What both formats say, in their own words.
fn block(needs: &Needs, words: &Words) -> String {
    let mode = |mode| match mode {
        BodyMode::None => words.modes[0],
        BodyMode::BufferedPartial => words.modes[2],
        BodyMode::Buffered => words.modes[1],
        // What it has for bodies in pieces.
        BodyMode::Streamed | BodyMode::FullDuplexStreamed | BodyMode::Grpc => words.modes[3],
    };
    let trailers = |direction| if needs.trailers(direction) { words.send } else { words.skip };
    let mut text = format!(
        "failureMode: {}\nprocessingOptions:\n  requestHeaderMode: {send}\n  responseHeaderMode: {send}\n  \
         requestBodyMode: {}\n  responseBodyMode: {}\n  requestTrailerMode: {}\n  responseTrailerMode: {}\n",
        words.fail_closed,
        mode(needs.bodies.request),
        mode(needs.bodies.response),
        trailers(Direction::Request),
        trailers(Direction::Response),
        send = words.send,
    );
    let wishes = &needs.wishes;
    if wishes.mode_override {
        text.push_str("  allowModeOverride: true\n");
    }
    for (key, names) in
        [("requestAttributes", &wishes.request_attributes), ("responseAttributes", &wishes.response_attributes)]
    {
        map(&mut text, key, names);
    }
    text
}

/// Attributes are expressions of CEL; those of Envoy that it knows have the same names.
fn map(text: &mut String, key: &str, names: &BTreeSet<String>) {
    if names.is_empty() {
        return;
    }
    let _ = writeln!(text, "{key}:");
    for name in names {
        let _ = writeln!(text, "  {}: {}", quoted(name), quoted(name));
    }
}

/// What it cannot do.
fn notes(needs: &Needs, endpoint: &Endpoint) -> String {
    let mut text = String::new();
    if matches!(endpoint.place, Place::Unix(_)) {
        text.push_str("# agentgateway reaches processors by TCP only: serve on HOST:PORT and put that in here.\n");
    }
    if !needs.wishes.reads_metadata.is_empty() {
        text.push_str("# Metadata that the processor reads has to be made by expressions in metadataContext: ");
        let _ = writeln!(text, "{}.", needs.wishes.reads_metadata.iter().cloned().collect::<Vec<_>>().join(", "));
    }
    text
}

fn indented(text: &str, by: usize) -> String {
    text.lines().fold(String::new(), |text, line| text + &" ".repeat(by) + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Wishes;
    use crate::body::Want;

    #[test]
    fn both_formats_say_what_is_needed() {
        let wishes = Wishes::new().mode_override().request_attribute("request.path").reads_metadata("a");
        let needs = Needs::of(Want::Whole(1), Want::Chunks, wishes);
        let endpoint = Endpoint::new(&"processor.local:50051".into(), true);
        for (text, expected) in [
            (
                local(&needs, &endpoint),
                [
                    "host: 'processor.local:50051'",
                    "requestBodyMode: buffered",
                    "responseBodyMode: fullDuplexStreamed",
                    "requestTrailerMode: skip",
                    "responseTrailerMode: send",
                    "allowModeOverride: true",
                    "'request.path': 'request.path'",
                    "policies: { backendTLS: { root: /etc/ssl/certs/ca-certificates.crt } }",
                ],
            ),
            (
                policy(&needs, &endpoint),
                [
                    "kind: AgentgatewayPolicy",
                    "requestBodyMode: Buffered",
                    "responseBodyMode: FullDuplexStreamed",
                    "requestTrailerMode: Skip",
                    "responseTrailerMode: Send",
                    "allowModeOverride: true",
                    "'request.path': 'request.path'",
                    "port: 50051",
                ],
            ),
        ] {
            for expected in expected {
                assert!(text.lines().any(|line| line.trim() == expected), "{expected} is not in\n{text}");
            }
            assert!(text.starts_with("# Metadata that the processor reads"), "{text}");
        }
        let unix = Endpoint::new(&"unix:/p.sock".into(), false);
        assert!(local(&Needs::default(), &unix).starts_with("# agentgateway reaches processors by TCP only"));
    }
}
