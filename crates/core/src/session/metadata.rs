//! Dynamic metadata on its way to the data plane.

use std::collections::BTreeMap;

use prost_types::Struct;
pub use prost_types::Value as MetadataValue;
use prost_types::value::Kind;

/// Dynamic metadata for the data plane: values by namespace and key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DynamicMetadata(BTreeMap<String, BTreeMap<String, MetadataValue>>);

impl DynamicMetadata {
    /// Sets a value. A later one for the same key wins.
    pub fn set(&mut self, namespace: impl Into<String>, key: impl Into<String>, value: impl Into<MetadataValue>) {
        self.0.entry(namespace.into()).or_default().insert(key.into(), value.into());
    }

    /// Takes over all of the other's values, which win.
    pub fn merge(&mut self, other: Self) {
        for (namespace, values) in other.0 {
            self.0.entry(namespace).or_default().extend(values);
        }
    }

    /// As on the wire: namespaces at the top, structs below.
    pub(super) fn lower(self) -> Struct {
        let namespace = |fields| MetadataValue::from(Kind::StructValue(Struct { fields }));
        Struct { fields: self.0.into_iter().map(|(name, values)| (name, namespace(values))).collect() }
    }
}
