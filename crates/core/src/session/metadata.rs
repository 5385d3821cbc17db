//! Dynamic metadata on its way to the data plane.

use std::collections::BTreeMap;

use prost_types::Struct;
use prost_types::value::Kind;
pub use prost_types::{Any as MetadataMessage, Value as MetadataValue};

/// Dynamic metadata for the data plane: values by namespace and key, and typed messages by namespace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DynamicMetadata {
    values: BTreeMap<String, BTreeMap<String, MetadataValue>>,
    typed: BTreeMap<String, MetadataMessage>,
}

impl DynamicMetadata {
    /// Sets a value. A later one for the same key wins.
    pub fn set(&mut self, namespace: impl Into<String>, key: impl Into<String>, value: impl Into<MetadataValue>) {
        self.values.entry(namespace.into()).or_default().insert(key.into(), value.into());
    }

    /// Sets the typed message of a namespace (`typed_dynamic_metadata`). A later one wins.
    pub fn set_typed(&mut self, namespace: impl Into<String>, message: MetadataMessage) {
        self.typed.insert(namespace.into(), message);
    }

    /// Takes over all of the other's values, which win.
    pub fn merge(&mut self, other: Self) {
        for (namespace, values) in other.values {
            self.values.entry(namespace).or_default().extend(values);
        }
        self.typed.extend(other.typed);
    }

    /// As on the wire: namespaces at the top, structs below; and the typed ones.
    pub(super) fn lower(self) -> (Option<Struct>, BTreeMap<String, MetadataMessage>) {
        let namespace = |fields| MetadataValue::from(Kind::StructValue(Struct { fields }));
        let fields: BTreeMap<_, _> = self.values.into_iter().map(|(name, values)| (name, namespace(values))).collect();
        ((!fields.is_empty()).then_some(Struct { fields }), self.typed)
    }
}
