//! Both sides of an exchange, and what the data plane tells about it.

use std::collections::BTreeMap;

use extproc_proto::Metadata;
use prost_types::{Struct, Value};

use super::Plan;

/// One HTTP exchange as it would be without processors: what the client sends, what the upstream answers, and what the
/// data plane tells the processors about it.
///
/// ```
/// use extproc::testing::{Exchange, Plan};
///
/// let exchange = Exchange::new(Plan::request("POST", "/upload").body("hello"))
///     .answered(Plan::response(201).header("location", "/upload/1"))
///     .attribute("source.address", "192.0.2.1:4711");
/// # let _ = exchange;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// What the client sends.
    pub request: Plan,
    /// What the upstream answers. Default: 200 without body.
    pub response: Plan,
    pub(super) attributes: BTreeMap<String, Struct>,
    pub(super) metadata: Metadata,
}

/// Envoy's key of the attributes.
const ATTRIBUTES: &str = "envoy.filters.http.ext_proc";

impl Exchange {
    /// A request, answered with 200 and no body.
    #[must_use]
    pub fn new(request: Plan) -> Self {
        Self { request, response: Plan::response(200), attributes: BTreeMap::new(), metadata: Metadata::default() }
    }

    /// A GET without body.
    ///
    /// # Panics
    /// If the path holds CR, LF or NUL.
    #[must_use]
    #[track_caller]
    pub fn get(path: &str) -> Self {
        Self::new(Plan::request("GET", path))
    }

    /// What the upstream answers.
    #[must_use]
    pub fn answered(mut self, response: Plan) -> Self {
        self.response = response;
        self
    }

    /// Whether both sides are gRPC's, and their bodies whole messages.
    pub(super) fn is_grpc_call(&self) -> bool {
        self.request.is_messages() && self.response.is_messages()
    }

    /// An attribute, sent with the first message of each stream (Envoy `request_attributes`).
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let attributes = self.attributes.entry(ATTRIBUTES.to_owned()).or_default();
        attributes.fields.insert(name.into(), value.into());
        self
    }

    /// A value of the data plane's dynamic metadata, sent with every message (Envoy
    /// `metadata_options.forwarding_namespaces.untyped`).
    #[must_use]
    pub fn metadata(mut self, namespace: impl Into<String>, key: impl Into<String>, value: impl Into<Value>) -> Self {
        let namespace = self.metadata.filter_metadata.entry(namespace.into()).or_default();
        namespace.fields.insert(key.into(), value.into());
        self
    }
}
