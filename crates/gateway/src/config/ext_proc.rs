//! One entry of a chain: Envoy's `ExternalProcessor` under its own field names.

use extproc_core::rules::MutationRules as CoreRules;
use extproc_core::{BodyMode as CoreBodyMode, Options, ProcessingMode as CoreMode, config};
use serde::{Deserialize, Serialize};

use super::at::{At, Position, Unsupported};
use super::error::Problems;
use super::forward_rules::ForwardRules;
use super::metadata::MetadataOptions;
use super::processor::ProcessorRef;
use super::scalar::{Pattern, Size, Status, Time, words};

/// How one external processor is used. What is absent is inherited from an outer entry of the same name, or Envoy's
/// default.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExtProc {
    /// Labels statistics and logs; entries of the same name at a deeper level override this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<At<String>>,
    /// Where the processor is: the name of one of the `processors`, or its address. Not part of Envoy's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<At<ProcessorRef>>,
    /// Leave the entry out of the chain. Not part of Envoy's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<At<bool>>,
    /// What is sent. Overridden as a whole.
    #[serde(default, alias = "processingMode", skip_serializing_if = "Option::is_none")]
    pub processing_mode: Option<ProcessingMode>,
    /// How long one answer may take.
    #[serde(default, alias = "messageTimeout", skip_serializing_if = "Option::is_none")]
    pub message_timeout: Option<At<Time>>,
    /// The longest timeout that the processor may ask for.
    #[serde(default, alias = "maxMessageTimeout", skip_serializing_if = "Option::is_none")]
    pub max_message_timeout: Option<At<Time>>,
    /// How long the processor may pause in a reply that it streams. Not part of Envoy's message.
    #[serde(default, alias = "streamedReplyTimeout", skip_serializing_if = "Option::is_none")]
    pub streamed_reply_timeout: Option<At<Time>>,
    /// Go on without the processor when it fails.
    #[serde(default, alias = "failureModeAllow", skip_serializing_if = "Option::is_none")]
    pub failure_mode_allow: Option<At<bool>>,
    /// The status of an error reply.
    #[serde(default, alias = "statusOnError", skip_serializing_if = "Option::is_none")]
    pub status_on_error: Option<At<Status>>,
    /// Let the processor change the processing mode of an exchange.
    #[serde(default, alias = "allowModeOverride", skip_serializing_if = "Option::is_none")]
    pub allow_mode_override: Option<At<bool>>,
    /// The modes that it may ask for; absent or empty allows all. Overridden as a whole.
    #[serde(default, alias = "allowedOverrideModes", skip_serializing_if = "Option::is_none")]
    pub allowed_override_modes: Option<Vec<ProcessingMode>>,
    /// Send copies, wait for nothing, and ignore what the processor answers.
    #[serde(default, alias = "observabilityMode", skip_serializing_if = "Option::is_none")]
    pub observability_mode: Option<At<bool>>,
    /// Observability mode: how long the stream stays open behind the exchange.
    #[serde(default, alias = "deferredCloseTimeout", skip_serializing_if = "Option::is_none")]
    pub deferred_close_timeout: Option<At<Time>>,
    /// How long the processor may take to end a half-closed stream. Not part of Envoy's message: there it is a runtime
    /// value.
    #[serde(default, alias = "remoteCloseTimeout", skip_serializing_if = "Option::is_none")]
    pub remote_close_timeout: Option<At<Time>>,
    /// Treat an immediate response as an error.
    #[serde(default, alias = "disableImmediateResponse", skip_serializing_if = "Option::is_none")]
    pub disable_immediate_response: Option<At<bool>>,
    /// Send STREAMED body while the headers wait for their answer.
    #[serde(default, alias = "sendBodyWithoutWaitingForHeaderResponse", skip_serializing_if = "Option::is_none")]
    pub send_body_without_waiting_for_header_response: Option<At<bool>>,
    /// Keep `content-length` and let the processor set it.
    #[serde(default, alias = "allowContentLengthHeader", skip_serializing_if = "Option::is_none")]
    pub allow_content_length_header: Option<At<bool>>,
    /// How much of a streamed body is kept for `failure_mode_allow`. Not part of Envoy's message.
    #[serde(default, alias = "replayBuffer", skip_serializing_if = "Option::is_none")]
    pub replay_buffer: Option<At<Size>>,
    /// What the processor may change. Overridden as a whole.
    #[serde(default, alias = "mutationRules", skip_serializing_if = "Option::is_none")]
    pub mutation_rules: Option<MutationRules>,
    /// What the processor gets to see. Overridden as a whole.
    #[serde(default, alias = "forwardRules", skip_serializing_if = "Option::is_none")]
    pub forward_rules: Option<ForwardRules>,
    /// Which dynamic metadata the processor gets and gives. Overridden as a whole.
    #[serde(default, alias = "metadataOptions", skip_serializing_if = "Option::is_none")]
    pub metadata_options: Option<MetadataOptions>,
    /// When to choose the route again.
    #[serde(default, alias = "routeCacheAction", skip_serializing_if = "Option::is_none")]
    pub route_cache_action: Option<At<RouteCacheAction>>,
    /// Envoy's older spelling of `route_cache_action: RETAIN`.
    #[serde(default, alias = "disableClearRouteCache", skip_serializing_if = "Option::is_none")]
    pub disable_clear_route_cache: Option<At<bool>>,

    #[serde(default, alias = "grpcService", skip_serializing)]
    grpc_service: Unsupported,
    #[serde(default, alias = "httpService", skip_serializing)]
    http_service: Unsupported,
    #[serde(default, alias = "requestAttributes", skip_serializing)]
    request_attributes: Unsupported,
    #[serde(default, alias = "responseAttributes", skip_serializing)]
    response_attributes: Unsupported,
    #[serde(default, alias = "statPrefix", skip_serializing)]
    stat_prefix: Unsupported,
    #[serde(default, alias = "filterMetadata", skip_serializing)]
    filter_metadata: Unsupported,
    #[serde(default, alias = "grpcInitialMetadata", skip_serializing)]
    grpc_initial_metadata: Unsupported,
    #[serde(default, alias = "onProcessingResponse", skip_serializing)]
    on_processing_response: Unsupported,
    #[serde(default, alias = "processingRequestModifier", skip_serializing)]
    processing_request_modifier: Unsupported,
    #[serde(default, alias = "emitClientSpan", skip_serializing)]
    emit_client_span: Unsupported,
    #[serde(default, skip_serializing)]
    when: Unsupported,
}

/// Envoy's `ProcessingMode`. What is absent has Envoy's default.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessingMode {
    /// Whether request headers are sent. Default: yes.
    #[serde(default, alias = "requestHeaderMode", skip_serializing_if = "Option::is_none")]
    pub request_header_mode: Option<At<SendMode>>,
    /// Whether response headers are sent. Default: yes.
    #[serde(default, alias = "responseHeaderMode", skip_serializing_if = "Option::is_none")]
    pub response_header_mode: Option<At<SendMode>>,
    /// How the request body is sent. Default: not at all.
    #[serde(default, alias = "requestBodyMode", skip_serializing_if = "Option::is_none")]
    pub request_body_mode: Option<At<BodyMode>>,
    /// How the response body is sent. Default: not at all.
    #[serde(default, alias = "responseBodyMode", skip_serializing_if = "Option::is_none")]
    pub response_body_mode: Option<At<BodyMode>>,
    /// Whether request trailers are sent. Default: no.
    #[serde(default, alias = "requestTrailerMode", skip_serializing_if = "Option::is_none")]
    pub request_trailer_mode: Option<At<SendMode>>,
    /// Whether response trailers are sent. Default: no.
    #[serde(default, alias = "responseTrailerMode", skip_serializing_if = "Option::is_none")]
    pub response_trailer_mode: Option<At<SendMode>>,
}

words! {
    /// Envoy's `HeaderSendMode`.
    pub enum SendMode: "header mode" {
        /// Headers are sent, trailers are not.
        Default = "DEFAULT",
        /// Sent.
        Send = "SEND",
        /// Not sent.
        Skip = "SKIP",
    }
}

words! {
    /// Envoy's `BodySendMode`.
    pub enum BodyMode: "body mode" {
        /// Not sent.
        None = "NONE",
        /// Sent chunk by chunk; each answer is for one chunk.
        Streamed = "STREAMED",
        /// Sent whole.
        Buffered = "BUFFERED",
        /// Sent as far as it fits the buffer.
        BufferedPartial = "BUFFERED_PARTIAL",
        /// Sent chunk by chunk; answers are independent of the chunks.
        FullDuplexStreamed = "FULL_DUPLEX_STREAMED",
        /// Not sent, as in Envoy 1.40.
        Grpc = "GRPC",
    }
}

words! {
    /// Envoy's `RouteCacheAction`.
    pub enum RouteCacheAction: "route cache action" {
        /// When the response says so.
        Default = "DEFAULT",
        /// Whenever the response changes headers.
        Clear = "CLEAR",
        /// Never.
        Retain = "RETAIN",
    }
}

/// Envoy's `HeaderMutationRules`. What is absent is false or unset.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MutationRules {
    /// Permit `host`, `:authority`, `:scheme` and `:method`.
    #[serde(default, alias = "allowAllRouting")]
    pub allow_all_routing: bool,
    /// Permit names starting with `x-envoy-`.
    #[serde(default, alias = "allowEnvoy")]
    pub allow_envoy: bool,
    /// Refuse names starting with a colon.
    #[serde(default, alias = "disallowSystem")]
    pub disallow_system: bool,
    /// Refuse what `allow_expression` does not match.
    #[serde(default, alias = "disallowAll")]
    pub disallow_all: bool,
    /// Permit names that match.
    #[serde(default, alias = "allowExpression", skip_serializing_if = "Option::is_none")]
    pub allow_expression: Option<At<Pattern>>,
    /// Refuse names that match; wins over everything else.
    #[serde(default, alias = "disallowExpression", skip_serializing_if = "Option::is_none")]
    pub disallow_expression: Option<At<Pattern>>,
    /// A refusal fails the whole response.
    #[serde(default, alias = "disallowIsError")]
    pub disallow_is_error: bool,
}

impl ExtProc {
    /// Drops `grpc_service`, for callers that reach the processor in their own way and mean to ignore it.
    #[must_use]
    pub fn without_grpc_service(mut self) -> Self {
        self.grpc_service = Unsupported::default();
        self
    }

    /// The options of the filter. `processor` and `disabled` are not among them.
    ///
    /// # Errors
    /// Everything that no filter can run with, and everything that this version does not implement.
    pub fn to_options(&self) -> Result<Options, Problems> {
        let mut problems = self.unsupported();
        let mut options = Options::default();
        set(&mut options.name, self.name.as_ref().map(|it| it.value.clone()));
        set(&mut options.message_timeout, self.message_timeout.map(|it| it.0));
        set(&mut options.max_message_timeout, self.max_message_timeout.map(|it| it.0));
        set(&mut options.streamed_reply_timeout, self.streamed_reply_timeout.map(|it| it.0));
        set(&mut options.failure_mode_allow, self.failure_mode_allow.map(|it| it.value));
        set(&mut options.status_on_error, self.status_on_error.map(|it| it.0));
        set(&mut options.observability_mode, self.observability_mode.map(|it| it.value));
        set(&mut options.deferred_close_timeout, self.deferred_close_timeout.map(|it| it.0));
        set(&mut options.remote_close_timeout, self.remote_close_timeout.map(|it| it.0));
        set(&mut options.disable_immediate_response, self.disable_immediate_response.map(|it| it.value));
        set(&mut options.allow_mode_override, self.allow_mode_override.map(|it| it.value));
        let modes = self.allowed_override_modes.as_ref();
        set(&mut options.allowed_override_modes, modes.map(|it| it.iter().map(ProcessingMode::meant).collect()));
        set(
            &mut options.send_body_without_waiting_for_header_response,
            self.send_body_without_waiting_for_header_response.map(|it| it.value),
        );
        set(&mut options.allow_content_length_header, self.allow_content_length_header.map(|it| it.value));
        set(&mut options.replay_buffer, self.replay_buffer.map(|it| it.0));
        options.route_cache_action = self.route_cache_action(&mut problems);
        if let Some(mode) = &self.processing_mode {
            options.processing_mode = mode.resolved(&mut problems);
        }
        if let Some(rules) = &self.mutation_rules {
            options.mutation_rules = rules.compiled(&mut problems);
        }
        if let Some(rules) = &self.forward_rules {
            let place = self.name.as_ref().and_then(|it| it.position);
            options.forward_rules = rules.compiled(place, &mut problems);
        }
        set(&mut options.metadata_options, self.metadata_options.as_ref().map(MetadataOptions::meant));
        self.refused(&options, &mut problems);
        problems.into_result(options)
    }

    /// Envoy takes these modes and copies no body. A file that asks for a body means to get it.
    pub(super) fn check_observed_bodies(&self, problems: &mut Problems) {
        if !self.observability_mode.is_some_and(|it| it.value) {
            return;
        }
        let mode = self.processing_mode.as_ref();
        for body in [mode.and_then(|it| it.request_body_mode), mode.and_then(|it| it.response_body_mode)] {
            let Some(At { value, position }) = body else { continue };
            if !matches!(value, BodyMode::None | BodyMode::Streamed) {
                let message = "`observability_mode` copies no body in this mode; write `STREAMED`, or `NONE`";
                problems.push(position, message);
            }
        }
    }

    /// Its name, or else that of its processor.
    pub(crate) fn effective_name(&self) -> Option<At<String>> {
        let of_processor = || {
            let At { value, position } = self.processor.as_ref()?;
            match value {
                ProcessorRef::Name(name) => Some(At { value: name.clone(), position: *position }),
                ProcessorRef::Inline(_) => None,
            }
        };
        self.name.clone().or_else(of_processor)
    }

    /// An entry that says everything that the options say, except the route cache action.
    pub(super) fn from_options(options: &Options) -> Self {
        let rules = &options.mutation_rules;
        let pattern = |it: &regex::Regex| At::from(Pattern(it.as_str().to_owned()));
        Self {
            name: Some(options.name.clone().into()),
            processing_mode: Some(ProcessingMode::from(options.processing_mode)),
            message_timeout: Some(Time(options.message_timeout).into()),
            max_message_timeout: Some(Time(options.max_message_timeout).into()),
            streamed_reply_timeout: Some(Time(options.streamed_reply_timeout).into()),
            failure_mode_allow: Some(options.failure_mode_allow.into()),
            status_on_error: Some(Status(options.status_on_error).into()),
            observability_mode: Some(options.observability_mode.into()),
            deferred_close_timeout: Some(Time(options.deferred_close_timeout).into()),
            remote_close_timeout: Some(Time(options.remote_close_timeout).into()),
            disable_immediate_response: Some(options.disable_immediate_response.into()),
            allow_mode_override: Some(options.allow_mode_override.into()),
            allowed_override_modes: Some(
                options.allowed_override_modes.iter().map(|mode| ProcessingMode::from(*mode)).collect(),
            ),
            send_body_without_waiting_for_header_response: Some(
                options.send_body_without_waiting_for_header_response.into(),
            ),
            allow_content_length_header: Some(options.allow_content_length_header.into()),
            replay_buffer: Some(Size(options.replay_buffer).into()),
            forward_rules: Some(ForwardRules::from(&options.forward_rules)),
            metadata_options: Some(MetadataOptions::from(&options.metadata_options)),
            mutation_rules: Some(MutationRules {
                allow_all_routing: rules.allow_all_routing,
                allow_envoy: rules.allow_envoy,
                disallow_system: rules.disallow_system,
                disallow_all: rules.disallow_all,
                allow_expression: rules.allow_expression.as_ref().map(pattern),
                disallow_expression: rules.disallow_expression.as_ref().map(pattern),
                disallow_is_error: rules.disallow_is_error,
            }),
            ..Self::default()
        }
    }

    fn route_cache_action(&self, problems: &mut Problems) -> config::RouteCacheAction {
        let action = self.route_cache_action.map_or(RouteCacheAction::Default, |it| it.value);
        match (action, self.disable_clear_route_cache) {
            (RouteCacheAction::Default, Some(At { value: true, .. })) => config::RouteCacheAction::Retain,
            (RouteCacheAction::Clear | RouteCacheAction::Retain, Some(At { value: true, position })) => {
                let message = "`disable_clear_route_cache` excludes `route_cache_action`; write only the latter";
                problems.push(position, message);
                config::RouteCacheAction::Retain
            }
            (RouteCacheAction::Default, _) => config::RouteCacheAction::Default,
            (RouteCacheAction::Clear, _) => config::RouteCacheAction::Clear,
            (RouteCacheAction::Retain, _) => config::RouteCacheAction::Retain,
        }
    }

    /// What the core refuses. It tells one thing at a time, so each option is tried apart from the others.
    fn refused(&self, options: &Options, problems: &mut Problems) {
        let default = Options::default;
        let mode = self.processing_mode.as_ref();
        let sent = &options.processing_mode;
        // Whether the trailers go with it is looked at where the modes are read.
        let alone = CoreMode { request_trailers: true, response_trailers: true, ..CoreMode::default() };
        let request = CoreMode { request_body: sent.request_body, ..alone };
        let response = CoreMode { response_body: sent.response_body, ..alone };
        let trials = [
            (position(self.message_timeout), Options { message_timeout: options.message_timeout, ..default() }),
            (
                position(self.max_message_timeout),
                Options { max_message_timeout: options.max_message_timeout, ..default() },
            ),
            (
                position(self.streamed_reply_timeout),
                Options { streamed_reply_timeout: options.streamed_reply_timeout, ..default() },
            ),
            (position(self.status_on_error), Options { status_on_error: options.status_on_error, ..default() }),
            (mode.and_then(|it| position(it.request_body_mode)), Options { processing_mode: request, ..default() }),
            (mode.and_then(|it| position(it.response_body_mode)), Options { processing_mode: response, ..default() }),
        ];
        for (position, trial) in trials {
            if let Err(error) = extproc_core::Config::new(trial) {
                problems.push(position, error.to_string());
            }
        }
        if problems.0.is_empty()
            && let Err(error) = extproc_core::Config::new(options.clone())
        {
            problems.push(self.name.as_ref().and_then(|it| it.position), error.to_string());
        }
    }
}

fn position<T>(value: Option<At<T>>) -> Option<Position> {
    value.and_then(|it| it.position)
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

/// Calls a macro with all keys that can be inherited, and with all that are not implemented.
macro_rules! with_keys {
    ($macro:ident) => {
        $macro! {
            [processor disabled processing_mode message_timeout max_message_timeout streamed_reply_timeout
             failure_mode_allow status_on_error observability_mode deferred_close_timeout remote_close_timeout
             allow_mode_override allowed_override_modes disable_immediate_response
             send_body_without_waiting_for_header_response
             allow_content_length_header replay_buffer mutation_rules forward_rules metadata_options
             route_cache_action disable_clear_route_cache]
            [grpc_service http_service request_attributes response_attributes stat_prefix
             filter_metadata grpc_initial_metadata
             on_processing_response processing_request_modifier emit_client_span when]
        }
    };
}

macro_rules! define_by_keys {
    ([$($key:ident)+] [$($unsupported:ident)+]) => {
        impl ExtProc {
            /// This entry with everything that a deeper one says instead.
            pub(crate) fn overlaid(self, deeper: Self) -> Self {
                // Without `..`, so that a new key cannot be forgotten here.
                let Self { name, $($key,)+ $($unsupported,)+ } = deeper;
                Self {
                    name: self.name.or(name),
                    $($key: $key.or(self.$key),)+
                    $($unsupported: self.$unsupported.overlaid($unsupported),)+
                }
            }

            fn unsupported(&self) -> Problems {
                let mut problems = Problems::default();
                $(if let Some(position) = self.$unsupported.used() {
                    problems.push(position, unsupported(stringify!($unsupported)));
                })+
                problems
            }
        }
    };
}
with_keys!(define_by_keys);

fn unsupported(key: &str) -> String {
    match key {
        "grpc_service" => "`grpc_service` is not supported yet; name the processor with `processor`".to_owned(),
        _ => format!("`{key}` is not supported yet"),
    }
}

impl ProcessingMode {
    /// The mode with its defaults.
    fn meant(&self) -> CoreMode {
        let send = |mode: Option<At<SendMode>>, default| match mode.map(|it| it.value) {
            None | Some(SendMode::Default) => default,
            Some(SendMode::Send) => true,
            Some(SendMode::Skip) => false,
        };
        let body = |mode: Option<At<BodyMode>>| mode.map_or(BodyMode::None, |it| it.value).into();
        CoreMode {
            request_headers: send(self.request_header_mode, true),
            response_headers: send(self.response_header_mode, true),
            request_body: body(self.request_body_mode),
            response_body: body(self.response_body_mode),
            request_trailers: send(self.request_trailer_mode, false),
            response_trailers: send(self.response_trailer_mode, false),
        }
    }

    /// The mode with its defaults, if it is one that a filter can begin with.
    fn resolved(&self, problems: &mut Problems) -> CoreMode {
        let resolved = self.meant();
        let duplex = [
            ("request", self.request_body_mode, resolved.request_trailers),
            ("response", self.response_body_mode, resolved.response_trailers),
        ];
        for (direction, mode, trailers) in duplex {
            if let (Some(At { value: BodyMode::FullDuplexStreamed, position }), false) = (mode, trailers) {
                let message = format!(
                    "`{direction}_body_mode: FULL_DUPLEX_STREAMED` needs `{direction}_trailer_mode: SEND`, \
                     or the processor cannot know where the body ends"
                );
                problems.push(position, message);
            }
        }
        resolved
    }
}

impl From<CoreMode> for ProcessingMode {
    fn from(mode: CoreMode) -> Self {
        let send = |sent| Some(At::from(if sent { SendMode::Send } else { SendMode::Skip }));
        Self {
            request_header_mode: send(mode.request_headers),
            response_header_mode: send(mode.response_headers),
            request_body_mode: Some(BodyMode::from(mode.request_body).into()),
            response_body_mode: Some(BodyMode::from(mode.response_body).into()),
            request_trailer_mode: send(mode.request_trailers),
            response_trailer_mode: send(mode.response_trailers),
        }
    }
}

impl From<BodyMode> for CoreBodyMode {
    fn from(mode: BodyMode) -> Self {
        match mode {
            BodyMode::None => Self::None,
            BodyMode::Streamed => Self::Streamed,
            BodyMode::Buffered => Self::Buffered,
            BodyMode::BufferedPartial => Self::BufferedPartial,
            BodyMode::FullDuplexStreamed => Self::FullDuplexStreamed,
            BodyMode::Grpc => Self::Grpc,
        }
    }
}

impl From<CoreBodyMode> for BodyMode {
    fn from(mode: CoreBodyMode) -> Self {
        match mode {
            CoreBodyMode::None => Self::None,
            CoreBodyMode::Streamed => Self::Streamed,
            CoreBodyMode::Buffered => Self::Buffered,
            CoreBodyMode::BufferedPartial => Self::BufferedPartial,
            CoreBodyMode::FullDuplexStreamed => Self::FullDuplexStreamed,
            CoreBodyMode::Grpc => Self::Grpc,
        }
    }
}

impl MutationRules {
    fn compiled(&self, problems: &mut Problems) -> CoreRules {
        let mut compile = |pattern: &Option<At<Pattern>>| {
            let At { value, position } = pattern.as_ref()?;
            value.compile().map_err(|message| problems.push(*position, message)).ok()
        };
        CoreRules {
            allow_all_routing: self.allow_all_routing,
            allow_envoy: self.allow_envoy,
            disallow_system: self.disallow_system,
            disallow_all: self.disallow_all,
            allow_expression: compile(&self.allow_expression),
            disallow_expression: compile(&self.disallow_expression),
            disallow_is_error: self.disallow_is_error,
        }
    }
}
