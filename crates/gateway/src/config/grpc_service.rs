//! Where an Envoy block says that its processor is: `grpc_service`.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::at::{At, Position, Unsupported};
use super::error::Problems;
use super::processor::{InlineProcessor, ProcessorRef};
use crate::plan::Address;

/// Envoy's `GrpcService`: one of `envoy_grpc` and `google_grpc`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GrpcService {
    /// By the name of one of the `processors`, which are Envoy's clusters.
    #[serde(default, alias = "envoyGrpc", skip_serializing_if = "Option::is_none")]
    pub envoy_grpc: Option<EnvoyGrpc>,
    /// By its address.
    #[serde(default, alias = "googleGrpc", skip_serializing_if = "Option::is_none")]
    pub google_grpc: Option<GoogleGrpc>,
    /// Refused: it has no effect on a stream, in Envoy neither.
    #[serde(default, skip_serializing)]
    timeout: Unsupported,
    /// Refused: a retry takes longer than an answer may.
    #[serde(default, alias = "retryPolicy", skip_serializing)]
    retry_policy: Unsupported,
    /// What every call is given as metadata.
    #[serde(default, alias = "initialMetadata", skip_serializing_if = "Vec::is_empty")]
    pub initial_metadata: Vec<HeaderValue>,
}

/// Envoy's `GrpcService.EnvoyGrpc`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EnvoyGrpc {
    /// The processor.
    #[serde(default, alias = "clusterName")]
    pub cluster_name: At<String>,
}

/// Envoy's `GrpcService.GoogleGrpc`, as far as it says where the processor is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GoogleGrpc {
    /// `host:port` or `unix:PATH`.
    #[serde(default, alias = "targetUri")]
    pub target_uri: At<String>,
    /// A prefix of Envoy's statistics, which are labelled with the entry's name here.
    #[serde(default, rename = "stat_prefix", alias = "statPrefix", skip_serializing)]
    _stat_prefix: Option<IgnoredAny>,
}

/// Envoy's `HeaderValue`, one of gRPC metadata.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderValue {
    /// The name, in lower case.
    pub key: At<String>,
    /// The value.
    #[serde(default)]
    pub value: String,
}

impl GrpcService {
    /// Where the processor is.
    pub(super) fn processor(&self, place: Option<Position>, problems: &mut Problems) -> Option<At<ProcessorRef>> {
        for (key, value) in [("timeout", &self.timeout), ("retry_policy", &self.retry_policy)] {
            if let Some(position) = value.used() {
                let message = format!("`grpc_service.{key}` has no effect on the stream; leave it out");
                problems.push(position.or(place), message);
            }
        }
        match (&self.envoy_grpc, &self.google_grpc) {
            (Some(EnvoyGrpc { cluster_name }), None) => {
                if cluster_name.is_empty() {
                    let message = "`grpc_service.envoy_grpc.cluster_name` is empty; name one of the `processors`";
                    problems.push(cluster_name.position.or(place), message);
                    return None;
                }
                let At { value, position } = cluster_name.clone();
                Some(At { value: ProcessorRef::Name(value), position })
            }
            (None, Some(GoogleGrpc { target_uri, .. })) => match target_uri.parse::<Address>() {
                Ok(address) => {
                    let address = At { value: address, position: target_uri.position };
                    let inline = InlineProcessor { address, connect_timeout: None };
                    Some(At { value: ProcessorRef::Inline(inline), position: target_uri.position })
                }
                Err(error) => {
                    problems
                        .push(target_uri.position.or(place), format!("`grpc_service.google_grpc.target_uri`: {error}"));
                    None
                }
            },
            (None, None) | (Some(_), Some(_)) => {
                let message = "`grpc_service` needs one of `envoy_grpc: { cluster_name: ... }`, which names one of the \
                               `processors`, and `google_grpc: { target_uri: ... }`";
                problems.push(place, message);
                None
            }
        }
    }
}

/// Names and values of gRPC metadata that can be sent.
pub(super) fn metadata(entries: &[HeaderValue], problems: &mut Problems) -> Vec<(String, String)> {
    for HeaderValue { key, value } in entries {
        let name = http::HeaderName::from_bytes(key.as_bytes());
        let lower = key.bytes().all(|it| !it.is_ascii_uppercase());
        if name.is_err() || !lower || key.starts_with("grpc-") || http::HeaderValue::from_str(value).is_err() {
            let message = format!(
                "`{}` with the value `{value}` is no gRPC metadata; names are in lower case and do not begin with `grpc-`",
                **key
            );
            problems.push(key.position, message);
        }
    }
    entries.iter().map(|it| (it.key.value.clone(), it.value.clone())).collect()
}
