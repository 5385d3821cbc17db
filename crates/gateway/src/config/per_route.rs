//! What a more specific level says of an entry, as Envoy writes it: `ExtProcPerRoute`.

use extproc_core::overrides::{MetadataOverrides, Overrides as CoreOverrides, PerRoute as CoreLevel, Service};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::at::{At, Position};
use super::error::Problems;
use super::ext_proc::ProcessingMode;
use super::grpc_service::{self, GrpcService, HeaderValue};
use super::metadata::{MetadataNamespaces, MetadataOptions};
use super::processor::ProcessorRef;

/// One level of an entry, with every place resolved but that of the processor.
pub type Level = CoreLevel<At<ProcessorRef>>;

/// Envoy's `ExtProcPerRoute`: one of its two keys.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PerRoute {
    /// Envoy's name of the message.
    #[serde(default, rename = "@type", skip_serializing)]
    _type_url: Option<IgnoredAny>,
    /// The entry is off here. Must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<At<bool>>,
    /// The entry is on here, with these settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrides: Option<Overrides>,
}

/// Envoy's `ExtProcOverrides`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// What is sent; replaced as a whole.
    #[serde(default, alias = "processingMode", skip_serializing_if = "Option::is_none")]
    pub processing_mode: Option<ProcessingMode>,
    /// Another processor.
    #[serde(default, alias = "grpcService", skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<At<GrpcService>>,
    /// Lists of namespaces; each replaced by itself.
    #[serde(default, alias = "metadataOptions", skip_serializing_if = "Option::is_none")]
    pub metadata_options: Option<MetadataOptions>,
    /// Merged by key with that of other levels.
    #[serde(default, alias = "grpcInitialMetadata", skip_serializing_if = "Vec::is_empty")]
    pub grpc_initial_metadata: Vec<HeaderValue>,
    /// Go on without the processor when it fails.
    #[serde(default, alias = "failureModeAllow", skip_serializing_if = "Option::is_none")]
    pub failure_mode_allow: Option<At<bool>>,

    // Without effect in Envoy, and here: accepted, because its configurations load there.
    #[serde(default, rename = "async_mode", alias = "asyncMode", skip_serializing)]
    _async_mode: Option<IgnoredAny>,
    #[serde(default, rename = "request_attributes", alias = "requestAttributes", skip_serializing)]
    _request_attributes: Option<IgnoredAny>,
    #[serde(default, rename = "response_attributes", alias = "responseAttributes", skip_serializing)]
    _response_attributes: Option<IgnoredAny>,
    /// There are no client spans here.
    #[serde(default, rename = "emit_client_span", alias = "emitClientSpan", skip_serializing)]
    _emit_client_span: Option<IgnoredAny>,
}

impl PerRoute {
    /// The level; `None` when it is none.
    pub fn level(&self, place: Option<Position>, problems: &mut Problems) -> Option<Level> {
        match (&self.disabled, &self.overrides) {
            (Some(At { value: true, .. }), None) => Some(Level::Disabled),
            (None, Some(overrides)) => Some(Level::Overrides(overrides.meant(place, problems))),
            (Some(At { value: false, position }), None) => {
                let message = "`per_route.disabled` can only be true; to turn an entry on again, write `overrides: {}`";
                problems.push(position.or(place), message);
                None
            }
            (None, None) | (Some(_), Some(_)) => {
                problems.push(place, "`per_route` needs one of `disabled: true` and `overrides: { ... }`");
                None
            }
        }
    }
}

impl Overrides {
    fn meant(&self, place: Option<Position>, problems: &mut Problems) -> CoreOverrides<At<ProcessorRef>> {
        let service = self.grpc_service.as_ref().and_then(|it| {
            let target = it.processor(it.position.or(place), problems)?;
            Some(Service { target, initial_metadata: grpc_service::metadata(&it.initial_metadata, problems) })
        });
        let namespaces = |it: Option<&MetadataNamespaces>| it.map(MetadataNamespaces::meant);
        let options = self.metadata_options.as_ref();
        CoreOverrides {
            processing_mode: self.processing_mode.as_ref().map(|it| it.meant(extproc_core::ProcessingMode::default())),
            service,
            metadata_options: MetadataOverrides {
                forwarding_namespaces: namespaces(options.and_then(|it| it.forwarding_namespaces.as_ref())),
                receiving_namespaces: namespaces(options.and_then(|it| it.receiving_namespaces.as_ref())),
                cluster_metadata_forwarding_namespaces: namespaces(
                    options.and_then(|it| it.cluster_metadata_forwarding_namespaces.as_ref()),
                ),
            },
            grpc_initial_metadata: grpc_service::metadata(&self.grpc_initial_metadata, problems),
            failure_mode_allow: self.failure_mode_allow.map(|it| it.value),
        }
    }
}
