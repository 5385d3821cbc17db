//! Dynamic metadata: which of it processors get and give, and that of backends.

use std::collections::BTreeMap;

use extproc_core::metadata::{
    DynamicMetadata, MetadataOptions as CoreOptions, MetadataValue, Namespaces as CoreNamespaces,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Envoy's `MetadataOptions`. What is absent is inherited from an outer entry, or empty.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataOptions {
    /// What of the exchange's metadata the processor gets.
    #[serde(default, alias = "forwardingNamespaces", skip_serializing_if = "Option::is_none")]
    pub forwarding_namespaces: Option<MetadataNamespaces>,
    /// What of the processor's metadata becomes the exchange's.
    #[serde(default, alias = "receivingNamespaces", skip_serializing_if = "Option::is_none")]
    pub receiving_namespaces: Option<MetadataNamespaces>,
    /// What of the backend's metadata the processor gets.
    #[serde(default, alias = "clusterMetadataForwardingNamespaces", skip_serializing_if = "Option::is_none")]
    pub cluster_metadata_forwarding_namespaces: Option<MetadataNamespaces>,
}

/// Envoy's `MetadataNamespaces`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataNamespaces {
    /// Of values.
    #[serde(default)]
    pub untyped: Vec<String>,
    /// Of typed messages.
    #[serde(default)]
    pub typed: Vec<String>,
}

impl MetadataOptions {
    pub(super) fn meant(&self) -> CoreOptions {
        let namespaces =
            |it: &Option<MetadataNamespaces>| it.as_ref().map(MetadataNamespaces::meant).unwrap_or_default();
        CoreOptions {
            forwarding_namespaces: namespaces(&self.forwarding_namespaces),
            receiving_namespaces: namespaces(&self.receiving_namespaces),
            cluster_metadata_forwarding_namespaces: namespaces(&self.cluster_metadata_forwarding_namespaces),
        }
    }
}

impl MetadataNamespaces {
    pub(super) fn meant(&self) -> CoreNamespaces {
        CoreNamespaces { untyped: self.untyped.clone(), typed: self.typed.clone() }
    }
}

impl From<&CoreOptions> for MetadataOptions {
    fn from(options: &CoreOptions) -> Self {
        let namespaces = |it: &CoreNamespaces| {
            let named = MetadataNamespaces { untyped: it.untyped.clone(), typed: it.typed.clone() };
            (!it.is_empty()).then_some(named)
        };
        Self {
            forwarding_namespaces: namespaces(&options.forwarding_namespaces),
            receiving_namespaces: namespaces(&options.receiving_namespaces),
            cluster_metadata_forwarding_namespaces: namespaces(&options.cluster_metadata_forwarding_namespaces),
        }
    }
}

/// The metadata of a backend (Envoy `Cluster.metadata`).
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BackendMetadata {
    /// Values by namespace and key.
    #[serde(default, alias = "filterMetadata")]
    pub filter_metadata: BTreeMap<String, BTreeMap<String, Value>>,
}

impl BackendMetadata {
    pub(super) fn meant(&self) -> DynamicMetadata {
        let mut metadata = DynamicMetadata::default();
        for (namespace, values) in &self.filter_metadata {
            for (key, it) in values {
                metadata.set(namespace.as_str(), key.as_str(), value(it));
            }
        }
        metadata
    }
}

fn value(json: &Value) -> MetadataValue {
    match json {
        Value::Null => MetadataValue::default(),
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => number.as_f64().unwrap_or(f64::NAN).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Value::Object(map) => map.iter().map(|(key, it)| (key.clone(), value(it))).collect::<BTreeMap<_, _>>().into(),
    }
}
