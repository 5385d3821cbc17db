//! A call's configuration as Envoy's messages say it, by the rules of A93 and A102.

use std::time::Duration;

use bytes::Bytes;
use extproc_proto::envoy::config::core::v3::GrpcService;
use extproc_proto::envoy::config::core::v3::grpc_service::TargetSpecifier;
use extproc_proto::envoy::extensions::filters::http::ext_proc::v3::ExtProcOverrides;
use extproc_proto::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use extproc_proto::envoy::r#type::matcher::v3::{ListStringMatcher, RegexMatcher, StringMatcher};
use extproc_proto::{BodySendMode, ExternalProcessor, HeaderMutationRules, HeaderSendMode, HeaderValue};
use regex::Regex;

use super::config::{Config, ConfigError, Options};
use crate::headers::Name;
use crate::rules::{ForwardRules, MutationRules, NameMatcher, NamePattern};
use crate::{BodyMode, ProcessingMode};

/// The longest name or value of initial metadata, and one more.
const TOO_LONG: usize = 16_384;

/// A processor as a `GrpcService` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// The target, in gRPC's name syntax.
    pub target_uri: String,
    /// What goes with each stream; `-bin` values are bytes.
    pub initial_metadata: Vec<(Name, Bytes)>,
}

/// Messages that no call can be configured with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvoyError {
    /// A field that must be there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value that the field cannot have.
    #[error("{field} is {got}; {must}")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        got: String,
        /// What it must be.
        must: &'static str,
    },
    /// The target is not one of those that are allowed.
    #[error("grpc_service.google_grpc.target_uri is {0}, which is not among the allowed targets")]
    Target(String),
    /// An expression that cannot be read.
    #[error("{field}: {error}")]
    Expression {
        /// The field.
        field: &'static str,
        /// What the expression compiler says.
        error: String,
    },
    /// What the messages say together is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Reads a filter's configuration, with the override of a route if there is one. `allowed` says whether a target may be
/// called: everything, if the configuration comes from somebody who is trusted.
///
/// `message_timeout`, `max_message_timeout`, `stat_prefix`, `filter_metadata`, `metadata_options`, the route cache, mode
/// overrides and `send_body_without_waiting_for_header_response` mean nothing here and are ignored, as in A93.
///
/// # Errors
/// [`EnvoyError`] names the field. An override is checked by itself: it is refused also where the filter's own
/// configuration is valid.
pub fn read(
    filter: &ExternalProcessor,
    route: Option<&ExtProcOverrides>,
    allowed: impl Fn(&str) -> bool,
) -> Result<(Config, Service), EnvoyError> {
    let mode = filter.processing_mode.as_ref().ok_or(EnvoyError::Missing("processing_mode"))?;
    let mut options = Options {
        processing_mode: processing_mode(mode)?,
        failure_mode_allow: filter.failure_mode_allow,
        disable_immediate_response: filter.disable_immediate_response,
        observability_mode: filter.observability_mode,
        request_attributes: filter.request_attributes.clone(),
        response_attributes: filter.response_attributes.clone(),
        mutation_rules: filter.mutation_rules.as_ref().map(mutation_rules).transpose()?.unwrap_or_default(),
        ..Options::default()
    };
    if let Some(timeout) = &filter.deferred_close_timeout {
        options.deferred_close_timeout = positive("deferred_close_timeout", timeout)?;
    }
    if let Some(rules) = &filter.forward_rules {
        options.forward_rules = ForwardRules {
            allowed: matchers("forward_rules.allowed_headers", rules.allowed_headers.as_ref())?,
            disallowed: matchers("forward_rules.disallowed_headers", rules.disallowed_headers.as_ref())?
                .unwrap_or_default(),
        };
    }
    let own = filter.grpc_service.as_ref().ok_or(EnvoyError::Missing("grpc_service"))?;
    let (mut timeout, mut service) = grpc_service(own, &allowed)?;
    Config::new(options.clone())?;
    if let Some(route) = route {
        if let Some(other) = &route.grpc_service {
            (timeout, service) = grpc_service(other, &allowed)?;
        }
        if let Some(mode) = &route.processing_mode {
            options.processing_mode = processing_mode(mode)?;
        }
        for (list, other) in [
            (&mut options.request_attributes, &route.request_attributes),
            (&mut options.response_attributes, &route.response_attributes),
        ] {
            if !other.is_empty() {
                list.clone_from(other);
            }
        }
        options.failure_mode_allow = route.failure_mode_allow.unwrap_or(options.failure_mode_allow);
    }
    options.stream_timeout = timeout;
    Ok((Config::new(options)?, service))
}

fn processing_mode(mode: &extproc_proto::ProcessingMode) -> Result<ProcessingMode, EnvoyError> {
    Ok(ProcessingMode {
        request_headers: sends("processing_mode.request_header_mode", mode.request_header_mode, true)?,
        response_headers: sends("processing_mode.response_header_mode", mode.response_header_mode, true)?,
        request_body: body("processing_mode.request_body_mode", mode.request_body_mode)?,
        response_body: body("processing_mode.response_body_mode", mode.response_body_mode)?,
        // gRPC requests have none.
        request_trailers: false,
        response_trailers: sends("processing_mode.response_trailer_mode", mode.response_trailer_mode, false)?,
    })
}

fn sends(field: &'static str, mode: i32, default: bool) -> Result<bool, EnvoyError> {
    match HeaderSendMode::try_from(mode) {
        Ok(HeaderSendMode::Default) => Ok(default),
        Ok(HeaderSendMode::Send) => Ok(true),
        Ok(HeaderSendMode::Skip) => Ok(false),
        Err(_) => Err(value(field, mode, "it must be DEFAULT, SEND or SKIP")),
    }
}

fn body(field: &'static str, mode: i32) -> Result<BodyMode, EnvoyError> {
    match BodySendMode::try_from(mode) {
        Ok(BodySendMode::None) => Ok(BodyMode::None),
        Ok(BodySendMode::Grpc) => Ok(BodyMode::Grpc),
        Ok(other) => Err(value(field, other.as_str_name(), "gRPC calls have NONE or GRPC")),
        Err(_) => Err(value(field, mode, "gRPC calls have NONE or GRPC")),
    }
}

fn grpc_service(
    service: &GrpcService,
    allowed: impl Fn(&str) -> bool,
) -> Result<(Option<Duration>, Service), EnvoyError> {
    let target_uri = match &service.target_specifier {
        Some(TargetSpecifier::GoogleGrpc(it)) if !it.target_uri.is_empty() => it.target_uri.clone(),
        Some(TargetSpecifier::GoogleGrpc(_)) => {
            return Err(EnvoyError::Missing("grpc_service.google_grpc.target_uri"));
        }
        Some(TargetSpecifier::EnvoyGrpc(it)) => {
            return Err(value("grpc_service.envoy_grpc", &it.cluster_name, "gRPC has no clusters; use google_grpc"));
        }
        None => return Err(EnvoyError::Missing("grpc_service.google_grpc")),
    };
    if !allowed(&target_uri) {
        return Err(EnvoyError::Target(target_uri));
    }
    let timeout = service.timeout.as_ref().map(|it| positive("grpc_service.timeout", it)).transpose()?;
    let initial_metadata = service.initial_metadata.iter().map(metadata).collect::<Result<_, _>>()?;
    Ok((timeout, Service { target_uri, initial_metadata }))
}

fn metadata(header: &HeaderValue) -> Result<(Name, Bytes), EnvoyError> {
    const FIELD: &str = "grpc_service.initial_metadata";
    let key = String::from_utf8_lossy(&header.key).into_owned();
    let alphabet = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'_' | b'-' | b'.');
    let reserved = key == "host" || key.starts_with("grpc-");
    if key.is_empty() || key.len() >= TOO_LONG || !key.bytes().all(alphabet) || reserved {
        let key = if key.len() > 100 { format!("{} bytes long", key.len()) } else { format!("`{key}`") };
        return Err(value(
            FIELD,
            key,
            "a key has 1 to 16383 of 0-9 a-z _ - . and is neither host nor one that begins with grpc-",
        ));
    }
    let binary = key.ends_with("-bin");
    let chosen = if binary && !header.raw_value.is_empty() { &header.raw_value } else { &header.value };
    let printable = |byte: &u8| matches!(byte, b' '..=b'~');
    if chosen.len() >= TOO_LONG || !binary && !chosen.iter().all(printable) {
        return Err(value(
            FIELD,
            format!("`{key}`"),
            "its value has at most 16383 bytes, and is printable text unless the key ends in -bin",
        ));
    }
    let name = Name::parse(key).map_err(|_| EnvoyError::Missing(FIELD))?;
    Ok((name, chosen.clone()))
}

fn positive(field: &'static str, span: &prost_types::Duration) -> Result<Duration, EnvoyError> {
    const LONGEST: i64 = 315_576_000_000;
    const MUST: &str = "it must be a positive duration";
    let prost_types::Duration { seconds, nanos } = *span;
    let valid = (0..=LONGEST).contains(&seconds) && (0..1_000_000_000).contains(&nanos) && (seconds, nanos) != (0, 0);
    let span = Duration::try_from(*span).ok().filter(|_| valid);
    span.ok_or_else(|| value(field, format!("{seconds} s and {nanos} ns"), MUST))
}

fn mutation_rules(rules: &HeaderMutationRules) -> Result<MutationRules, EnvoyError> {
    let on = |flag: Option<bool>| flag.unwrap_or_default();
    let allow = rules.allow_expression.as_ref();
    let disallow = rules.disallow_expression.as_ref();
    Ok(MutationRules {
        allow_all_routing: on(rules.allow_all_routing),
        allow_envoy: on(rules.allow_envoy),
        disallow_system: on(rules.disallow_system),
        disallow_all: on(rules.disallow_all),
        disallow_is_error: on(rules.disallow_is_error),
        allow_expression: allow.map(|it| regex("mutation_rules.allow_expression", it)).transpose()?,
        disallow_expression: disallow.map(|it| regex("mutation_rules.disallow_expression", it)).transpose()?,
    })
}

fn matchers(field: &'static str, list: Option<&ListStringMatcher>) -> Result<Option<Vec<NameMatcher>>, EnvoyError> {
    let Some(list) = list else { return Ok(None) };
    if list.patterns.is_empty() {
        return Err(EnvoyError::Missing(field));
    }
    list.patterns.iter().map(|it| matcher(field, it)).collect::<Result<_, _>>().map(Some)
}

fn matcher(field: &'static str, matcher: &StringMatcher) -> Result<NameMatcher, EnvoyError> {
    let pattern = match matcher.match_pattern.as_ref().ok_or(EnvoyError::Missing(field))? {
        MatchPattern::Exact(text) => NamePattern::Exact(text.clone()),
        MatchPattern::Prefix(text) => NamePattern::Prefix(text.clone()),
        MatchPattern::Suffix(text) => NamePattern::Suffix(text.clone()),
        MatchPattern::Contains(text) => NamePattern::Contains(text.clone()),
        MatchPattern::SafeRegex(it) => NamePattern::Regex(regex(field, it)?),
    };
    Ok(NameMatcher { pattern, ignore_case: matcher.ignore_case })
}

fn regex(field: &'static str, matcher: &RegexMatcher) -> Result<Regex, EnvoyError> {
    Regex::new(&matcher.regex).map_err(|error| EnvoyError::Expression { field, error: error.to_string() })
}

fn value(field: &'static str, got: impl ToString, must: &'static str) -> EnvoyError {
    EnvoyError::Value { field, got: got.to_string(), must }
}
