//! One set of scenarios, run on the core, the gateway and a real Envoy, and compared.
