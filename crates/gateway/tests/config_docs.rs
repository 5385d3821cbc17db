//! Every key has both spellings and stands in the documentation.

#![allow(clippy::unwrap_used, reason = "test code")]

use extproc_gateway::config::{File, InlineProcessor, Processor, ProcessorEndpoint, ext_proc, file, metadata};
use serde::de::DeserializeOwned;

/// The keys of a type, as the reader lists them when it meets another.
fn keys<T: DeserializeOwned + std::fmt::Debug>() -> Vec<&'static str> {
    match serde_saphyr::from_str::<T>("{ no such key: 0 }").unwrap_err().without_snippet() {
        serde_saphyr::Error::SerdeUnknownField { expected, .. } => expected.clone(),
        other => panic!("an unknown key is accepted: {other}"),
    }
}

fn camel_case(key: &str) -> String {
    let mut words = key.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |so_far, word| so_far + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn every_key_has_both_spellings_and_is_documented() {
    let documentation = include_str!("../../../docs/configuration.md");
    let types = [
        ("file", keys::<File>()),
        ("limits", keys::<file::Limits>()),
        ("gateway", keys::<file::Gateway>()),
        ("listener", keys::<file::Listener>()),
        ("backend", keys::<file::Backend>()),
        ("endpoint", keys::<file::Endpoint>()),
        ("processor", keys::<Processor>()),
        ("processor endpoint", keys::<ProcessorEndpoint>()),
        ("inline processor", keys::<InlineProcessor>()),
        ("route", keys::<file::Route>()),
        ("parent", keys::<file::ParentRef>()),
        ("rule", keys::<file::Rule>()),
        ("match", keys::<file::Match>()),
        ("backend reference", keys::<file::BackendRef>()),
        ("timeouts", keys::<file::Timeouts>()),
        ("policy", keys::<file::Policy>()),
        ("target", keys::<file::TargetRef>()),
        ("entry", keys::<ext_proc::ExtProc>()),
        ("processing mode", keys::<ext_proc::ProcessingMode>()),
        ("backend metadata", keys::<metadata::BackendMetadata>()),
        ("per route", keys::<ext_proc::PerRoute>()),
        ("overrides", keys::<ext_proc::RouteOverrides>()),
        ("gRPC service", keys::<ext_proc::GrpcService>()),
        ("Envoy gRPC", keys::<ext_proc::EnvoyGrpc>()),
        ("Google gRPC", keys::<ext_proc::GoogleGrpc>()),
        ("header value", keys::<ext_proc::HeaderValue>()),
        ("request modifier", keys::<ext_proc::RequestModifier>()),
        ("mapped attributes", keys::<ext_proc::MappedAttributeBuilder>()),
        ("metadata options", keys::<metadata::MetadataOptions>()),
        ("metadata namespaces", keys::<metadata::MetadataNamespaces>()),
        ("mutation rules", keys::<ext_proc::MutationRules>()),
    ];
    for (name, keys) in types {
        let snake_case = keys.iter().filter(|it| !it.contains(char::is_uppercase) && **it != "@type");
        for key in snake_case {
            assert!(keys.contains(&camel_case(key).as_str()), "{name}: `{key}` has no camelCase form");
            assert!(documentation.contains(&format!("`{key}`")), "{name}: `{key}` is not documented");
        }
    }
    for key in keys::<file::PathMatch>() {
        assert!(documentation.contains(&format!("`path.{key}`")), "path: `{key}` is not documented");
    }
}
