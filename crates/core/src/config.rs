//! The configuration of one filter.

use std::time::Duration;

use crate::attributes::{InvalidExpression, List, NamedAttribute};
use crate::filter::Windows;
use crate::metadata::MetadataOptions;
use crate::overrides::Overrides;
use crate::rules::{Checker, ForwardRules, Forwarding, MutationRules};
use crate::{BodyMode, Direction, ProcessingMode, Profile};

/// What can be configured, with Envoy's defaults (`ExternalProcessor`). [`Config::new`] checks it.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the entry: labels statistics and logs. Default `ext_proc`.
    pub name: String,
    /// Whose reading of the protocol is followed. Default: Envoy's.
    pub profile: Profile,
    /// What is sent to the processor. Default: both headers; [`Options::of`] has that of a profile.
    pub processing_mode: ProcessingMode,
    /// Attributes that go with the first message of the request direction, once: names as in Envoy
    /// (`request.path`, `source.address`). What nobody knows is left out. Default: none.
    pub request_attributes: Vec<NamedAttribute>,
    /// The same for the response direction. Default: none.
    pub response_attributes: Vec<NamedAttribute>,
    /// How long the processor may take for one answer. Default 200 ms; 0 to 3600 s.
    pub message_timeout: Duration,
    /// The longest timeout that a processor may ask for; zero refuses it. Default 0; 0 to 3600 s.
    pub max_message_timeout: Duration,
    /// How long the processor may pause in a reply that it streams. Default 300 s, as long as Envoy lets a stream be idle;
    /// 0 to 3600 s. `message_timeout` ends with the first part.
    pub streamed_reply_timeout: Duration,
    /// When the processor fails, let the exchange go on as if it were not there. Default false.
    pub failure_mode_allow: bool,
    /// Status of an error reply; only 4xx and 5xx are honoured, others act as 500. Default 500. Timeouts are always 504.
    pub status_on_error: u16,
    /// Let the processor change the mode of the exchange (Envoy `allow_mode_override`). Without effect together with
    /// `send_body_without_waiting_for_header_response` or a FULL_DUPLEX_STREAMED body. Default false.
    pub allow_mode_override: bool,
    /// The modes that it may ask for, compared without `request_headers`; empty allows all. Default empty.
    pub allowed_override_modes: Vec<ProcessingMode>,
    /// Send the processor copies of what passes and go on without it: nothing waits for its answers, and they have no
    /// effect. Of bodies, only STREAMED ones are copied. Default false.
    ///
    /// Copies that the processor has not taken are bounded by `buffer_limit` for each direction: above it, no more of
    /// the body is read. Where the processor takes none for `message_timeout` while the exchange waits, it gets no more
    /// of this exchange (`message_timeouts`), and the exchange goes on, whatever `failure_mode_allow` says. A stream
    /// that fails is a failure as ever, as in Envoy: without `failure_mode_allow` it fails the exchange.
    pub observability_mode: bool,
    /// Observability mode: how long the processor may go on reading once the exchange is over. Default 5 s.
    pub deferred_close_timeout: Duration,
    /// How long the processor may take to end a stream that was half-closed; then it is reset. Zero: streams are reset
    /// and never half-closed. Default 1 s.
    ///
    /// Envoy: runtime `remote_close_timeout_milliseconds`, which is in force with the runtime flag
    /// `ext_proc_graceful_grpc_close`. Without that flag (its default) it half-closes and resets in one go, and
    /// processors see either.
    pub remote_close_timeout: Duration,
    /// The processor is an HTTP service that gets every message as a request of its own (Envoy `http_service`), so that
    /// there is no stream to count and to end. It gets headers only. Default false.
    pub http_service: bool,
    /// Treat an immediate response as a protocol error. Default false.
    pub disable_immediate_response: bool,
    /// Send STREAMED body while the headers wait for their answer; without effect on other modes. The answers come in
    /// order all the same. Default false.
    pub send_body_without_waiting_for_header_response: bool,
    /// Keep `content-length` in all body modes and let the processor set it. Default false.
    pub allow_content_length_header: bool,
    /// Which metadata it gets to see and may write. Default: none.
    pub metadata_options: MetadataOptions,
    /// What a processor may change. Default: Envoy's.
    pub mutation_rules: MutationRules,
    /// What a processor gets to see. Default: all.
    pub forward_rules: ForwardRules,
    /// When to choose the route again. Default: when the processor asks for it.
    pub route_cache_action: RouteCacheAction,
    /// The longest gRPC message of a GRPC body, in bytes. Default 4 MiB.
    pub max_grpc_message: usize,
    /// The initial windows of GRPC bodies, in bytes of messages. Default 65536.
    pub grpc_window: u32,
    /// Whether the windows of GRPC bodies hold. Default: once the processor gives a sign of them.
    pub grpc_flow_control: FlowControl,
    /// How much of a FULL_DUPLEX_STREAMED or GRPC body is kept after it was sent, in bytes for each direction, so that
    /// `failure_mode_allow` can pass the original on as long as nothing of the processor's has gone on. A body that is
    /// longer is not kept, and its exchange fails closed. With it, the profiles `Agentgateway` and `Grpc` open also when the
    /// processor had body. Default 0: nothing is kept, as in Envoy.
    pub replay_buffer: usize,
    /// How much of a body one side may hold. Default 1 MiB.
    pub buffer_limit: usize,
    /// The most entries a header map may have after a mutation, and operations one mutation may have. Default 100.
    pub max_headers: usize,
    /// The most bytes a header map may have after a mutation. Default 60 KiB.
    pub max_header_bytes: usize,
}

/// When a header mutation makes the data plane choose the route again (Envoy `route_cache_action`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RouteCacheAction {
    /// When the response sets `clear_route_cache` and has a header mutation.
    #[default]
    Default,
    /// Whenever the response has a header mutation.
    Clear,
    /// Never.
    Retain,
}

/// Flow control of GRPC bodies (gRFC A93). The windows are those of `ProcessingRequest.flow_control_init`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowControl {
    /// The processor is told of windows; they hold, both ways, once it has sent a `server_window_update`. Processors that
    /// know none would otherwise stop after the first window.
    #[default]
    Auto,
    /// They hold from the beginning, as A93 has it. A processor that knows none stops after the first window.
    Required,
    /// There are none.
    Off,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "ext_proc".to_owned(),
            profile: Profile::Envoy,
            processing_mode: ProcessingMode::default(),
            request_attributes: Vec::new(),
            response_attributes: Vec::new(),
            message_timeout: Duration::from_millis(200),
            max_message_timeout: Duration::ZERO,
            streamed_reply_timeout: Duration::from_secs(300),
            failure_mode_allow: false,
            status_on_error: 500,
            allow_mode_override: false,
            allowed_override_modes: Vec::new(),
            observability_mode: false,
            deferred_close_timeout: Duration::from_secs(5),
            remote_close_timeout: Duration::from_secs(1),
            http_service: false,
            disable_immediate_response: false,
            send_body_without_waiting_for_header_response: false,
            allow_content_length_header: false,
            metadata_options: MetadataOptions::default(),
            mutation_rules: MutationRules::default(),
            forward_rules: ForwardRules::default(),
            route_cache_action: RouteCacheAction::Default,
            max_grpc_message: 4 << 20,
            grpc_window: 65_536,
            grpc_flow_control: FlowControl::Auto,
            replay_buffer: 0,
            buffer_limit: 1 << 20,
            max_headers: 100,
            max_header_bytes: 60 << 10,
        }
    }
}

impl Options {
    /// The defaults of a profile.
    #[must_use]
    pub fn of(profile: Profile) -> Self {
        Self { profile, processing_mode: profile.default_mode(), ..Self::default() }
    }
}

/// Checked [`Options`]; shared by all exchanges of a filter.
#[derive(Clone, Debug)]
pub struct Config {
    options: Options,
    checker: Checker,
    forwarding: Forwarding,
    /// By direction.
    attributes: [List; 2],
    /// Where overrides by a processor start from.
    base_mode: ProcessingMode,
}

/// Options that no filter can run with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A timeout is longer than Envoy allows.
    #[error("{field} is {got:?}; it must be between 0 s and 3600 s")]
    Timeout {
        /// The field's name.
        field: &'static str,
        /// Its value.
        got: Duration,
    },
    /// The status is not one that HTTP defines.
    #[error("status_on_error is {0}; it must be an HTTP status code, and only 4xx and 5xx are honoured")]
    Status(u16),
    /// An expression cannot be made to match whole names.
    #[error("{field} cannot match a whole name: {error}")]
    Expression {
        /// The field's name.
        field: &'static str,
        /// What the expression compiler says.
        error: String,
    },
    /// An attribute is no path.
    #[error("{field}: `{expression}` is no attribute: {error}")]
    Attribute {
        /// The field's name.
        field: &'static str,
        /// The expression.
        expression: String,
        /// What is wrong with it.
        error: InvalidExpression,
    },
    /// A processor of a FULL_DUPLEX_STREAMED body must see the trailers, or it cannot know where the body ends.
    #[error("processing_mode: the {0:?} body is FULL_DUPLEX_STREAMED; its trailers must be sent as well")]
    DuplexWithoutTrailers(Direction),
    /// An HTTP service gets headers only.
    #[error("processing_mode: an `http_service` gets no body and no trailers of the {0:?}; only headers can be sent")]
    HttpServiceBeyondHeaders(Direction),
    /// The end of a gRPC response is in its trailers (gRFC A93). Not in [`Profile::Envoy`], where GRPC is NONE.
    #[error("processing_mode: the response body is GRPC; response_trailer_mode must be SEND")]
    GrpcWithoutTrailers,
}

impl Config {
    /// Checks the options.
    ///
    /// # Errors
    /// [`ConfigError`] names the field and what it must be.
    pub fn new(mut options: Options) -> Result<Self, ConfigError> {
        options.processing_mode = options.profile.completed(options.processing_mode);
        for (field, got) in [
            ("message_timeout", options.message_timeout),
            ("max_message_timeout", options.max_message_timeout),
            ("streamed_reply_timeout", options.streamed_reply_timeout),
        ] {
            if got > LONGEST_TIMEOUT {
                return Err(ConfigError::Timeout { field, got });
            }
        }
        if !is_defined_status(options.status_on_error) {
            return Err(ConfigError::Status(options.status_on_error));
        }
        let mode = &options.processing_mode;
        for direction in Direction::BOTH {
            if options.http_service && (mode.body(direction) != BodyMode::None || mode.trailers(direction)) {
                return Err(ConfigError::HttpServiceBeyondHeaders(direction));
            }
            if mode.body(direction) == BodyMode::FullDuplexStreamed && !mode.trailers(direction) {
                return Err(ConfigError::DuplexWithoutTrailers(direction));
            }
        }
        if options.profile.body(mode.response_body) == BodyMode::Grpc && !mode.response_trailers {
            return Err(ConfigError::GrpcWithoutTrailers);
        }
        let checker = Checker::new(&options.mutation_rules, options.profile)
            .map_err(|(field, error)| ConfigError::Expression { field, error: error.to_string() })?;
        let forwarding = Forwarding::new(&options.forward_rules)
            .map_err(|(field, error)| ConfigError::Expression { field, error: error.to_string() })?;
        let list = |field, attributes: &[NamedAttribute]| {
            List::read(attributes).map_err(|(expression, error)| ConfigError::Attribute { field, expression, error })
        };
        let attributes = [
            list("request_attributes", &options.request_attributes)?,
            list("response_attributes", &options.response_attributes)?,
        ];
        let base_mode = options.processing_mode;
        Ok(Self { options, checker, forwarding, attributes, base_mode })
    }

    /// A filter with these options under the settings of more specific levels, which are not checked against the others.
    ///
    /// # Errors
    /// As [`new`](Self::new), about the options.
    pub fn overridden<S>(options: Options, overrides: &Overrides<S>) -> Result<Self, ConfigError> {
        let mut config = Self::new(options)?;
        overrides.apply(&mut config.options);
        if let Some(mode) = overrides.processing_mode {
            config.options.processing_mode = config.options.profile.completed(mode);
        }
        Ok(config)
    }

    /// The mode of the filter itself, whatever more specific levels say.
    pub(crate) const fn base_mode(&self) -> &ProcessingMode {
        &self.base_mode
    }

    /// The attributes of a direction.
    pub(crate) const fn attributes(&self) -> [&List; 2] {
        [&self.attributes[0], &self.attributes[1]]
    }

    /// Whether any attribute is listed that headers do not have.
    #[must_use]
    pub fn wants_attributes(&self) -> bool {
        self.attributes.iter().flat_map(List::untold).next().is_some()
    }

    /// The windows of a new stream.
    pub(crate) fn windows(&self) -> Option<Windows> {
        let Options { profile, grpc_window, grpc_flow_control, .. } = self.options;
        let grpc =
            Direction::BOTH.iter().any(|it| profile.body(self.options.processing_mode.body(*it)) == BodyMode::Grpc);
        (grpc && grpc_flow_control != FlowControl::Off).then(|| Windows::new(grpc_window, grpc_flow_control))
    }

    pub(crate) const fn checker(&self) -> &Checker {
        &self.checker
    }

    pub(crate) const fn forwarding(&self) -> &Forwarding {
        &self.forwarding
    }

    /// The options it was made from.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }
}

/// Envoy's bound on both timeouts.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3600);

/// Whether Envoy's `StatusCode` enum defines the value; only those load.
const fn is_defined_status(status: u16) -> bool {
    matches!(
        status,
        100 | 200..=208 | 226 | 300..=305 | 307 | 308 | 400..=417 | 421..=424 | 426 | 428 | 429 | 431 | 500..=508 | 510 | 511
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Options)) -> Option<ConfigError> {
        let mut options = Options::default();
        change(&mut options);
        Config::new(options).err()
    }

    #[test]
    fn env_436_timeouts_from_zero_to_an_hour() {
        assert_eq!(refused(|o| o.message_timeout = Duration::ZERO), None);
        assert_eq!(refused(|o| o.message_timeout = Duration::from_secs(3600)), None);
        let got = Duration::from_secs(3601);
        assert_eq!(refused(|o| o.message_timeout = got), Some(ConfigError::Timeout { field: "message_timeout", got }));
        assert_eq!(
            refused(|o| o.max_message_timeout = got),
            Some(ConfigError::Timeout { field: "max_message_timeout", got })
        );
    }

    #[test]
    fn env_438_status_on_error() {
        for (status, ok) in [(0, false), (777, false), (200, true), (429, true), (599, false)] {
            assert_eq!(refused(|o| o.status_on_error = status).is_none(), ok, "{status}");
        }
    }

    #[test]
    fn env_452_453_a_grpc_response_needs_the_trailers_where_it_is_more_than_a_name() {
        for profile in Profile::ALL {
            let error = refused(|o| {
                (o.profile, o.processing_mode.response_body) = (profile, BodyMode::Grpc);
            });
            let expected = (profile != Profile::Envoy).then_some(ConfigError::GrpcWithoutTrailers);
            assert_eq!(error, expected, "{profile:?}");
            assert_eq!(
                refused(|o| {
                    (o.profile, o.processing_mode.request_body) = (profile, BodyMode::Grpc);
                }),
                None
            );
        }
    }

    #[test]
    fn env_431_an_http_service_gets_headers_only() {
        type Change = fn(&mut ProcessingMode);
        let changes: [(Change, Option<Direction>); 5] = [
            (|_| {}, None),
            (|mode| mode.request_body = BodyMode::Buffered, Some(Direction::Request)),
            (|mode| mode.response_body = BodyMode::Streamed, Some(Direction::Response)),
            (|mode| mode.request_trailers = true, Some(Direction::Request)),
            (|mode| mode.response_trailers = true, Some(Direction::Response)),
        ];
        for (change, refuses) in changes {
            let error = refused(|o| {
                o.http_service = true;
                change(&mut o.processing_mode);
            });
            assert_eq!(error, refuses.map(ConfigError::HttpServiceBeyondHeaders));
            assert_eq!(refused(|o| change(&mut o.processing_mode)), None, "gRPC");
        }
    }

    #[test]
    fn env_451_full_duplex_needs_the_trailers() {
        let duplex = |o: &mut Options| o.processing_mode.request_body = BodyMode::FullDuplexStreamed;
        assert_eq!(refused(duplex), Some(ConfigError::DuplexWithoutTrailers(Direction::Request)));
        assert_eq!(
            refused(|o| {
                duplex(o);
                o.processing_mode.request_trailers = true;
            }),
            None
        );
    }
}
