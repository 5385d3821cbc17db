//! The configuration of a call's processing.

use std::time::Duration;

use crate::config::FlowControl;
use crate::rules::{ForwardRules, MutationRules, NamePattern};
use crate::{BodyMode, Config as FilterConfig, ConfigError as FilterError, Direction, Options as FilterOptions};
use crate::{ProcessingMode, Profile};

/// What can be configured, with A93's defaults. [`Config::new`] checks it.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is sent to the processor: bodies are NONE or GRPC, `request_trailers` has no effect. Default: both headers.
    pub processing_mode: ProcessingMode,
    /// When the processor fails before it was given a message, let the call go on as if it were not there. Default
    /// false.
    pub failure_mode_allow: bool,
    /// Treat an immediate response as a failure. Default false.
    pub disable_immediate_response: bool,
    /// The processor gets copies, and what it says has no effect. Default false.
    pub observability_mode: bool,
    /// How long the side stream stays after the end of an observed call. Default 5 s; more than zero.
    pub deferred_close_timeout: Duration,
    /// How long the processor has to end the side stream once the call is over. Default 1 s.
    pub close_timeout: Duration,
    /// How long the side stream may last (`grpc_service.timeout`); more than zero. Default: as long as the call.
    pub stream_timeout: Option<Duration>,
    /// Attributes with the first message of the request direction. Names nobody knows are left out. Default: none.
    pub request_attributes: Vec<String>,
    /// The same for the response direction. Default: none.
    pub response_attributes: Vec<String>,
    /// What a processor may change. `allow_all_routing`, `allow_envoy` and `disallow_system` have no effect. Default: all
    /// that is an application's metadata.
    pub mutation_rules: MutationRules,
    /// What a processor gets to see. Default: all of the view.
    pub forward_rules: ForwardRules,
    /// Which headers there are for a processor. Default: those of the wire.
    pub header_view: HeaderView,
    /// Whether the windows hold. Default: once the processor takes part.
    pub flow_control: FlowControl,
    /// The four initial windows, in bytes of messages. Default 65536; more than zero.
    pub window: u32,
}

/// Which headers there are for a processor. What it does not see goes on all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderView {
    /// All of HTTP, pseudo headers and `grpc-*` as well, as behind a proxy. They cannot be changed.
    #[default]
    Wire,
    /// What an application has as metadata, as in gRPC for Go and Java.
    Metadata,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            processing_mode: ProcessingMode::default(),
            failure_mode_allow: false,
            disable_immediate_response: false,
            observability_mode: false,
            deferred_close_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(1),
            stream_timeout: None,
            request_attributes: Vec::new(),
            response_attributes: Vec::new(),
            mutation_rules: MutationRules::default(),
            forward_rules: ForwardRules::default(),
            header_view: HeaderView::default(),
            flow_control: FlowControl::Auto,
            window: 65_536,
        }
    }
}

/// Checked [`Options`]; shared by all calls of a layer.
#[derive(Clone, Debug)]
pub struct Config {
    options: Options,
    /// Rules and limits, as the mutation of headers reads them.
    rules: FilterConfig,
}

/// Options that no call can run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// gRPC bodies are messages.
    #[error("processing_mode.{}_body_mode is {got}; gRPC calls have NONE or GRPC", name(*.direction))]
    BodyMode {
        /// The direction.
        direction: Direction,
        /// Its mode.
        got: BodyMode,
    },
    /// A processor of responses must see their end.
    #[error("processing_mode.response_trailer_mode is not SEND; response_body_mode GRPC needs it")]
    BodyWithoutTrailers,
    /// A time span that must be longer than nothing.
    #[error("{0} is zero; it must be positive")]
    Zero(&'static str),
    /// A pattern that matches everything.
    #[error("{0} has an empty prefix, suffix or contains; leave it out, or write what it must match")]
    EmptyPattern(&'static str),
    /// An expression that cannot be made to match whole names.
    #[error("{field} cannot match a whole name: {error}")]
    Expression {
        /// The field's name.
        field: &'static str,
        /// What the expression compiler says.
        error: String,
    },
}

impl Config {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError`] names the field and what it must be.
    pub fn new(options: Options) -> Result<Self, ConfigError> {
        let mode = &options.processing_mode;
        for direction in Direction::BOTH {
            let got = mode.body(direction);
            if !matches!(got, BodyMode::None | BodyMode::Grpc) {
                return Err(ConfigError::BodyMode { direction, got });
            }
        }
        if mode.response_body == BodyMode::Grpc && !mode.response_trailers {
            return Err(ConfigError::BodyWithoutTrailers);
        }
        for (field, zero) in [
            ("deferred_close_timeout", options.deferred_close_timeout.is_zero()),
            ("grpc_service.timeout", options.stream_timeout.is_some_and(|it| it.is_zero())),
            ("window", options.window == 0),
        ] {
            if zero {
                return Err(ConfigError::Zero(field));
            }
        }
        let ForwardRules { allowed, disallowed } = &options.forward_rules;
        let lists = [("forward_rules.allowed_headers", allowed.as_deref().unwrap_or_default())];
        for (field, list) in lists.into_iter().chain([("forward_rules.disallowed_headers", &disallowed[..])]) {
            if list.iter().any(|matcher| matches_all(&matcher.pattern)) {
                return Err(ConfigError::EmptyPattern(field));
            }
        }
        let rules = FilterConfig::new(FilterOptions {
            profile: Profile::Grpc,
            mutation_rules: MutationRules { disallow_system: false, ..options.mutation_rules.clone() },
            forward_rules: options.forward_rules.clone(),
            max_headers: 1_000,
            ..FilterOptions::default()
        });
        let rules = rules.map_err(|error| {
            if let FilterError::Expression { field, error } = error {
                return ConfigError::Expression { field, error };
            }
            // Nothing else of those options differs from the defaults.
            ConfigError::Expression { field: "mutation_rules", error: error.to_string() }
        })?;
        Ok(Self { options, rules })
    }

    pub(super) const fn rules(&self) -> &FilterConfig {
        &self.rules
    }

    /// Whether messages of this direction go to the processor.
    #[must_use]
    pub fn sends_messages(&self, direction: Direction) -> bool {
        self.options.processing_mode.body(direction) == BodyMode::Grpc
    }

    /// Whether nothing goes to the processor: a call needs no [`Call`](super::Call).
    #[must_use]
    pub fn is_off(&self) -> bool {
        let mode = ProcessingMode { request_trailers: false, ..self.options.processing_mode };
        mode == ProcessingMode::OFF
    }

    /// The options it was made from.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }
}

const fn name(direction: Direction) -> &'static str {
    match direction {
        Direction::Request => "request",
        Direction::Response => "response",
    }
}

const fn matches_all(pattern: &NamePattern) -> bool {
    match pattern {
        NamePattern::Prefix(text) | NamePattern::Suffix(text) | NamePattern::Contains(text) => text.is_empty(),
        NamePattern::Exact(_) | NamePattern::Regex(_) => false,
    }
}
