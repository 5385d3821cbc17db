//! Where an Envoy block says that its processor is an HTTP service: `http_service`.

use serde::{Deserialize, Serialize};

use super::at::{At, Position, Unsupported};
use super::error::Problems;
use super::processor::ProcessorRef;
use super::scalar::Time;
use crate::plan;

/// Envoy's `ExtProcHttpService`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExtProcHttpService {
    /// The service.
    #[serde(default, alias = "httpService")]
    pub http_service: HttpService,
}

/// Envoy's `HttpService`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpService {
    /// Where it is.
    #[serde(default, alias = "httpUri", skip_serializing_if = "Option::is_none")]
    pub http_uri: Option<HttpUri>,
    #[serde(default, alias = "requestHeadersToAdd", skip_serializing)]
    request_headers_to_add: Unsupported,
    #[serde(default, skip_serializing)]
    formatters: Unsupported,
    #[serde(default, alias = "retryPolicy", skip_serializing)]
    retry_policy: Unsupported,
}

/// Envoy's `HttpUri`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HttpUri {
    /// Host header and path of every request.
    #[serde(default)]
    pub uri: At<String>,
    /// The name of one of the `processors`, which are Envoy's clusters.
    #[serde(default)]
    pub cluster: At<String>,
    /// How long an answer may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<At<Time>>,
}

impl ExtProcHttpService {
    /// The processor, and what it is asked.
    pub(super) fn meant(
        &self,
        place: Option<Position>,
        problems: &mut Problems,
    ) -> Option<(At<ProcessorRef>, plan::HttpService)> {
        let service = &self.http_service;
        for (key, value) in [
            ("request_headers_to_add", &service.request_headers_to_add),
            ("formatters", &service.formatters),
            ("retry_policy", &service.retry_policy),
        ] {
            if let Some(position) = value.used() {
                problems.push(position.or(place), format!("`http_service.http_service.{key}` is not supported yet"));
            }
        }
        let Some(HttpUri { uri, cluster, timeout }) = &service.http_uri else {
            let message = "`http_service` needs `http_service: { http_uri: { uri: ..., cluster: ..., timeout: ... } }`";
            problems.push(place, message);
            return None;
        };
        if cluster.is_empty() {
            let message = "`http_uri.cluster` is empty; name one of the `processors`";
            problems.push(cluster.position.or(place), message);
        }
        let parts = uri.parse::<http::Uri>().map(http::Uri::into_parts).ok();
        let parts = parts.filter(|it| it.scheme.as_ref().is_some_and(|it| *it == http::uri::Scheme::HTTP));
        let authority = parts.as_ref().and_then(|it| it.authority.clone());
        if authority.is_none() {
            let message = format!("`{}` is no `http_uri.uri`; write `http://HOST/PATH`", uri.value);
            problems.push(uri.position.or(place), message);
        }
        if timeout.is_none() {
            problems.push(uri.position.or(place), "`http_uri` needs a `timeout`");
        }
        let path = parts.and_then(|it| it.path_and_query).unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
        let processor = At { value: ProcessorRef::Name(cluster.value.clone()), position: cluster.position };
        let service = plan::HttpService { authority: authority?, path, timeout: timeout.as_ref()?.0 };
        (!cluster.is_empty()).then_some((processor, service))
    }
}
