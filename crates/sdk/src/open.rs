//! What is known when an exchange opens.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use extproc_core::session::Protocol;
use extproc_proto::Metadata;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tonic::metadata::MetadataMap;

/// What is known when an exchange opens: before its first phase, whichever that is.
#[derive(Clone, Debug, Default)]
pub struct Open {
    pub(crate) protocol: Option<Protocol>,
    pub(crate) observing: bool,
    pub(crate) attributes: BTreeMap<String, Struct>,
    pub(crate) metadata: Metadata,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) grpc_metadata: MetadataMap,
}

impl Open {
    /// How the data plane will send the bodies; `None` if it does not say.
    #[must_use]
    pub const fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    /// Whether the data plane only lets us watch: edits and replies have no effect.
    #[must_use]
    pub const fn observing(&self) -> bool {
        self.observing
    }

    /// An attribute that the data plane was told to send with the first message, such as `request.path` or
    /// `source.address`, if it is text. Envoy files them under its filter's name; every name is searched.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        text(self.attribute_value(name))
    }

    /// As [`attribute`](Self::attribute), of any type.
    #[must_use]
    pub fn attribute_value(&self, name: &str) -> Option<&Value> {
        self.attributes.values().find_map(|attributes| attributes.fields.get(name))
    }

    /// As [`attribute`](Self::attribute), if it is a number, such as `source.port` or `connection.id`.
    #[must_use]
    pub fn attribute_number(&self, name: &str) -> Option<f64> {
        number(self.attribute_value(name))
    }

    /// As [`attribute`](Self::attribute), if it is a truth value, such as `connection.mtls`.
    #[must_use]
    pub fn attribute_bool(&self, name: &str) -> Option<bool> {
        truth(self.attribute_value(name))
    }

    /// All attributes, by the name of the filter that sent them.
    #[must_use]
    pub const fn attributes(&self) -> &BTreeMap<String, Struct> {
        &self.attributes
    }

    /// The data plane's dynamic metadata, as far as it forwards it.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// A value of the data plane's dynamic metadata, if it is text. Envoy forwards the namespaces that
    /// `metadata_options.forwarding_namespaces.untyped` lists.
    #[must_use]
    pub fn metadata_text(&self, namespace: &str, key: &str) -> Option<&str> {
        text(self.metadata_value(namespace, key))
    }

    /// As [`metadata_text`](Self::metadata_text), if it is a number.
    #[must_use]
    pub fn metadata_number(&self, namespace: &str, key: &str) -> Option<f64> {
        number(self.metadata_value(namespace, key))
    }

    /// As [`metadata_text`](Self::metadata_text), if it is a truth value.
    #[must_use]
    pub fn metadata_bool(&self, namespace: &str, key: &str) -> Option<bool> {
        truth(self.metadata_value(namespace, key))
    }

    /// As [`metadata_text`](Self::metadata_text), of any type.
    #[must_use]
    pub fn metadata_value(&self, namespace: &str, key: &str) -> Option<&Value> {
        self.metadata.filter_metadata.get(namespace)?.fields.get(key)
    }

    /// The data plane's address; `None` on unix sockets and in memory.
    #[must_use]
    pub const fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The headers of the gRPC call itself.
    #[must_use]
    pub const fn grpc_metadata(&self) -> &MetadataMap {
        &self.grpc_metadata
    }
}

fn text(value: Option<&Value>) -> Option<&str> {
    match value?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

fn number(value: Option<&Value>) -> Option<f64> {
    match value?.kind.as_ref()? {
        Kind::NumberValue(number) => Some(*number),
        _ => None,
    }
}

fn truth(value: Option<&Value>) -> Option<bool> {
    match value?.kind.as_ref()? {
        Kind::BoolValue(truth) => Some(*truth),
        _ => None,
    }
}
