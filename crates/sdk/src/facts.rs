//! What the data plane tells about an exchange besides its messages.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use extproc_proto::Metadata;
use prost_types::value::Kind;
use prost_types::{Any, Struct, Value};

/// What the data plane tells about an exchange besides its messages: attributes, and its dynamic metadata.
///
/// Envoy sends the attributes that `request_attributes` lists with the first message of the request, those of
/// `response_attributes` with the first of the response, so more may be known in later phases:
/// [`Open`](crate::Open) has what came with the first message, every view what has come so far
/// ([`Fields::facts`](crate::Fields::facts)).
///
/// ```
/// use extproc::{LocalReply, RequestHead, Start, Stop};
///
/// async fn request_headers(req: &mut Start<RequestHead>) -> Result<(), Stop> {
///     if req.facts().connection_mtls() != Some(true) {
///         return Err(LocalReply::forbidden().details("no_client_certificate").into());
///     }
///     Ok(())
/// }
/// # let _ = request_headers;
/// ```
#[derive(Clone, Debug, Default)]
pub struct Facts {
    attributes: BTreeMap<String, Struct>,
    metadata: Metadata,
}

macro_rules! typed {
    ($($(#[$doc:meta])* $method:ident $name:literal $read:ident $type:ty;)*) => {
        $(
            $(#[$doc])*
            #[doc = concat!("Attribute `", $name, "`.")]
            #[must_use]
            pub fn $method(&self) -> Option<$type> {
                $read(self.attribute_value($name))
            }
        )*
    };
}

/// Any attribute by its name.
impl Facts {
    /// An attribute, if it is text. Envoy files attributes under its filter's name; every name is searched.
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
}

/// Envoy's attributes, typed; `None` when one was not sent or is of another type.
impl Facts {
    typed! {
        /// With the query.
        request_path "request.path" text &str;
        /// Without the query.
        request_url_path "request.url_path" text &str;
        request_query "request.query" text &str;
        request_host "request.host" text &str;
        request_scheme "request.scheme" text &str;
        request_method "request.method" text &str;
        request_id "request.id" text &str;
        /// `HTTP/1.1`, `HTTP/2` and so on.
        request_protocol "request.protocol" text &str;
        request_referer "request.referer" text &str;
        request_user_agent "request.useragent" text &str;
        /// Of the body, in bytes.
        request_size "request.size" whole u64;
        response_code "response.code" status u16;
        response_code_details "response.code_details" text &str;
        /// Of the body, in bytes.
        response_size "response.size" whole u64;
        /// The downstream's, as the data plane decided it.
        source_address "source.address" address SocketAddr;
        source_port "source.port" port u16;
        destination_address "destination.address" address SocketAddr;
        destination_port "destination.port" port u16;
        connection_id "connection.id" whole u64;
        /// Whether the client showed a certificate.
        connection_mtls "connection.mtls" truth bool;
        connection_requested_server_name "connection.requested_server_name" text &str;
        connection_tls_version "connection.tls_version" text &str;
        connection_subject_local_certificate "connection.subject_local_certificate" text &str;
        connection_subject_peer_certificate "connection.subject_peer_certificate" text &str;
        connection_dns_san_peer_certificate "connection.dns_san_peer_certificate" text &str;
        connection_uri_san_peer_certificate "connection.uri_san_peer_certificate" text &str;
        connection_sha256_peer_certificate_digest "connection.sha256_peer_certificate_digest" text &str;
        upstream_address "upstream.address" address SocketAddr;
        xds_cluster_name "xds.cluster_name" text &str;
        xds_route_name "xds.route_name" text &str;
        xds_virtual_host_name "xds.virtual_host_name" text &str;
        xds_filter_chain_name "xds.filter_chain_name" text &str;
    }
}

/// The data plane's dynamic metadata, as far as it forwards it.
impl Facts {
    /// All of it.
    #[must_use]
    pub const fn metadata_context(&self) -> &Metadata {
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

    /// A namespace of the dynamic metadata as JSON, for `serde_json::from_value` and the like.
    #[cfg(feature = "json")]
    #[must_use]
    pub fn metadata_json(&self, namespace: &str) -> Option<serde_json::Value> {
        Some(object(self.metadata.filter_metadata.get(namespace)?))
    }

    /// A namespace of the typed dynamic metadata (`forwarding_namespaces.typed`) as a message; `None` when it was not
    /// forwarded.
    ///
    /// # Errors
    /// When it is of another type than `M`, by its type URL or its bytes.
    pub fn metadata_message<M: prost::Name + Default>(&self, namespace: &str) -> Option<Result<M, prost::DecodeError>> {
        self.metadata.typed_filter_metadata.get(namespace).map(Any::to_msg)
    }
}

impl Facts {
    /// Takes what a message brings; what is newer wins.
    pub(crate) fn add(&mut self, attributes: BTreeMap<String, Struct>, metadata: Option<Metadata>) {
        for (filter, more) in attributes {
            self.attributes.entry(filter).or_default().fields.extend(more.fields);
        }
        let Some(metadata) = metadata else { return };
        self.metadata.filter_metadata.extend(metadata.filter_metadata);
        self.metadata.typed_filter_metadata.extend(metadata.typed_filter_metadata);
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

/// Data planes send whole numbers as numbers or, where these are not exact, as text.
fn whole(value: Option<&Value>) -> Option<u64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Some(text) = text(value) {
        return text.parse().ok();
    }
    let number = number(value)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

fn port(value: Option<&Value>) -> Option<u16> {
    whole(value)?.try_into().ok()
}

fn status(value: Option<&Value>) -> Option<u16> {
    whole(value)?.try_into().ok()
}

fn address(value: Option<&Value>) -> Option<SocketAddr> {
    text(value)?.parse().ok()
}

#[cfg(feature = "json")]
fn object(value: &Struct) -> serde_json::Value {
    value.fields.iter().map(|(key, value)| (key.clone(), json(value))).collect()
}

#[cfg(feature = "json")]
fn json(value: &Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(truth)) => (*truth).into(),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect(),
        Some(Kind::StructValue(fields)) => object(fields),
        // Protobuf has no whole numbers here; those that are, are written and read as such.
        Some(Kind::NumberValue(number)) => match whole(Some(value)) {
            Some(whole) => whole.into(),
            None => (*number).into(),
        },
    }
}
