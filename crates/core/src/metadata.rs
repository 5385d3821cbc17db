//! Dynamic metadata: what filters, processors and the data plane tell each other about an exchange.

use std::collections::BTreeMap;

use prost_types::Struct;
use prost_types::value::Kind;
pub use prost_types::{Any as MetadataMessage, Value as MetadataValue};

use crate::wire;

/// Dynamic metadata: values by namespace and key, and typed messages by namespace.
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

    /// Takes over all of the other's values, which win. The other keys of a namespace stay.
    pub fn merge(&mut self, other: Self) {
        for (namespace, values) in other.values {
            self.values.entry(namespace).or_default().extend(values);
        }
        self.typed.extend(other.typed);
    }

    /// A value.
    #[must_use]
    pub fn value(&self, namespace: &str, key: &str) -> Option<&MetadataValue> {
        self.values.get(namespace)?.get(key)
    }

    /// The namespaces with their values, by name.
    pub fn namespaces(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, MetadataValue>)> {
        self.values.iter().map(|(name, values)| (name.as_str(), values))
    }

    /// The typed messages with their namespaces, by name.
    pub fn messages(&self) -> impl Iterator<Item = (&str, &MetadataMessage)> {
        self.typed.iter().map(|(name, message)| (name.as_str(), message))
    }

    /// Whether there is no namespace at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.typed.is_empty()
    }

    /// As on the wire: namespaces at the top, structs below; and the typed ones.
    pub(crate) fn lower(self) -> (Option<Struct>, BTreeMap<String, MetadataMessage>) {
        let namespace = |fields| MetadataValue::from(Kind::StructValue(Struct { fields }));
        let fields: BTreeMap<_, _> = self.values.into_iter().map(|(name, values)| (name, namespace(values))).collect();
        ((!fields.is_empty()).then_some(Struct { fields }), self.typed)
    }

    /// What of a processor's message these namespaces let in. A namespace that is no struct is empty, as in Envoy.
    pub(crate) fn lifted(
        values: Option<Struct>,
        typed: BTreeMap<String, MetadataMessage>,
        namespaces: &Namespaces,
    ) -> Self {
        let mut received = Self::default();
        for (name, value) in values.into_iter().flat_map(|it| it.fields) {
            if namespaces.untyped.contains(&name) {
                let fields = if let Some(Kind::StructValue(it)) = value.kind { it.fields } else { BTreeMap::new() };
                received.values.insert(name, fields);
            }
        }
        received.typed.extend(typed.into_iter().filter(|(name, _)| namespaces.typed.contains(name)));
        received
    }

    /// All values of a message in one namespace, and no typed ones.
    pub(crate) fn flat(values: Option<Struct>, namespace: &str) -> Self {
        let fields = values.map(|it| it.fields).filter(|it| !it.is_empty());
        Self { values: fields.map(|it| (namespace.to_owned(), it)).into_iter().collect(), typed: BTreeMap::new() }
    }

    /// Puts these namespaces, where there are such, into what a processor is told; whole, in place of what is there.
    pub(crate) fn show(&self, namespaces: &Namespaces, context: &mut wire::Metadata) {
        let values = namespaces.untyped.iter().filter_map(|name| Some((name.clone(), self.values.get(name)?.clone())));
        context.filter_metadata.extend(values.map(|(name, fields)| (name, Struct { fields })));
        let typed = namespaces.typed.iter().filter_map(|name| Some((name.clone(), self.typed.get(name)?.clone())));
        context.typed_filter_metadata.extend(typed);
    }

    /// How many bytes it takes on the wire, about.
    pub(crate) fn size(&self) -> usize {
        let values = self.values.iter().flat_map(|(name, values)| {
            let fields = values.iter().map(|(key, value)| key.len() + wire::value_len(value));
            fields.chain([name.len()])
        });
        let typed = self.typed.iter().map(|(name, message)| name.len() + message.type_url.len() + message.value.len());
        values.chain(typed).sum()
    }
}

/// Names of metadata namespaces (Envoy `MetadataOptions.MetadataNamespaces`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// Of values.
    pub untyped: Vec<String>,
    /// Of typed messages.
    pub typed: Vec<String>,
}

impl Namespaces {
    /// Whether it names nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.untyped.is_empty() && self.typed.is_empty()
    }
}

/// Which metadata a processor gets to see and may write (Envoy `MetadataOptions`). Default: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetadataOptions {
    /// What of the exchange's metadata goes with every message.
    pub forwarding_namespaces: Namespaces,
    /// What of the processor's metadata becomes the exchange's. Other namespaces are dropped.
    pub receiving_namespaces: Namespaces,
    /// What of the upstream's own metadata goes with every message. A forwarded namespace of the same name wins.
    pub cluster_metadata_forwarding_namespaces: Namespaces,
}
