//! One entry of a chain: Envoy's `ExternalProcessor` under its own field names.

use extproc_core::overrides::{Overrides, Service};
use extproc_core::{Options, ProcessingMode as CoreMode, Profile as CoreProfile, config};
use serde::{Deserialize, Serialize};

use super::at::{At, Position, Unsupported};
pub use super::attributes::{Attributes, MappedAttributeBuilder, RequestModifier};
use super::error::Problems;
use super::forward_rules::ForwardRules;
use super::grpc_service;
pub use super::grpc_service::{EnvoyGrpc, GoogleGrpc, GrpcService, HeaderValue};
pub use super::http_service::{ExtProcHttpService, HttpService, HttpUri};
use super::metadata::MetadataOptions;
pub use super::mutation_rules::MutationRules;
pub use super::per_route::{Level, Overrides as RouteOverrides, PerRoute};
pub use super::processing_mode::{BodyMode, ProcessingMode, SendMode};
use super::processor::ProcessorRef;
use super::scalar::{Size, Status, Time, words};
use crate::plan;

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
    /// What the processor is told with the first message of the request. Overridden as a whole.
    #[serde(default, alias = "requestAttributes", skip_serializing_if = "Option::is_none")]
    pub request_attributes: Option<Attributes>,
    /// The same for the response.
    #[serde(default, alias = "responseAttributes", skip_serializing_if = "Option::is_none")]
    pub response_attributes: Option<Attributes>,
    /// Attributes with names of their own, as Envoy writes them.
    #[serde(default, alias = "processingRequestModifier", skip_serializing_if = "Option::is_none")]
    pub processing_request_modifier: Option<RequestModifier>,
    /// Where the processor is, as Envoy says it. Excludes `processor`.
    #[serde(default, alias = "grpcService", skip_serializing_if = "Option::is_none")]
    pub grpc_service: Option<At<GrpcService>>,
    /// Where the processor is if it is an HTTP service. Excludes `processor` and `grpc_service`.
    #[serde(default, alias = "httpService", skip_serializing_if = "Option::is_none")]
    pub http_service: Option<At<ExtProcHttpService>>,
    /// What every call is given as gRPC metadata. Overridden as a whole. Not part of Envoy's message.
    #[serde(default, alias = "grpcInitialMetadata", skip_serializing_if = "Option::is_none")]
    pub grpc_initial_metadata: Option<Vec<HeaderValue>>,
    /// Whose reading of the protocol is followed. Not part of Envoy's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<At<Profile>>,
    /// What this level says of an outer entry, as Envoy writes it. Not part of Envoy's message.
    #[serde(default, alias = "perRoute", skip_serializing_if = "Option::is_none")]
    pub per_route: Option<PerRoute>,
    /// Whether client spans are made. There are none here.
    #[serde(default, alias = "emitClientSpan", skip_serializing_if = "Option::is_none")]
    pub emit_client_span: Option<At<bool>>,
    /// When to choose the route again.
    #[serde(default, alias = "routeCacheAction", skip_serializing_if = "Option::is_none")]
    pub route_cache_action: Option<At<RouteCacheAction>>,
    /// Envoy's older spelling of `route_cache_action: RETAIN`.
    #[serde(default, alias = "disableClearRouteCache", skip_serializing_if = "Option::is_none")]
    pub disable_clear_route_cache: Option<At<bool>>,

    #[serde(default, alias = "statPrefix", skip_serializing)]
    stat_prefix: Unsupported,
    #[serde(default, alias = "filterMetadata", skip_serializing)]
    filter_metadata: Unsupported,
    #[serde(default, alias = "onProcessingResponse", skip_serializing)]
    on_processing_response: Unsupported,
    #[serde(default, skip_serializing)]
    when: Unsupported,
}

words! {
    /// Whose reading of the protocol is followed.
    pub enum Profile: "profile" {
        /// Envoy's.
        Envoy = "envoy",
        /// agentgateway's.
        Agentgateway = "agentgateway",
        /// That of gRPC libraries.
        Grpc = "grpc",
        /// Envoy's, with errors for whatever would be lost silently.
        Strict = "strict",
    }
}

impl From<Profile> for CoreProfile {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Envoy => Self::Envoy,
            Profile::Agentgateway => Self::Agentgateway,
            Profile::Grpc => Self::Grpc,
            Profile::Strict => Self::Strict,
        }
    }
}

impl Profile {
    fn of(profile: CoreProfile) -> Self {
        match profile {
            CoreProfile::Agentgateway => Self::Agentgateway,
            CoreProfile::Grpc => Self::Grpc,
            CoreProfile::Strict => Self::Strict,
            _ => Self::Envoy,
        }
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

impl ExtProc {
    /// Drops `grpc_service`, for callers that reach the processor in their own way and mean to ignore it.
    #[must_use]
    pub fn without_grpc_service(mut self) -> Self {
        self.grpc_service = None;
        self
    }

    /// The options of the filter. `processor` and `disabled` are not among them.
    ///
    /// # Errors
    /// Everything that no filter can run with, and everything that this version does not implement.
    pub fn to_options(&self) -> Result<Options, Problems> {
        let mut problems = self.unsupported();
        let profile = self.profile.map_or(CoreProfile::Envoy, |it| it.value.into());
        let mut options = Options::of(profile);
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
        set(
            &mut options.allowed_override_modes,
            modes.map(|it| it.iter().map(|mode| mode.meant(profile.default_mode())).collect()),
        );
        set(
            &mut options.send_body_without_waiting_for_header_response,
            self.send_body_without_waiting_for_header_response.map(|it| it.value),
        );
        set(&mut options.allow_content_length_header, self.allow_content_length_header.map(|it| it.value));
        set(&mut options.replay_buffer, self.replay_buffer.map(|it| it.0));
        options.http_service = self.http_service.is_some();
        options.route_cache_action = self.route_cache_action(&mut problems);
        if let Some(mode) = &self.processing_mode {
            options.processing_mode = mode.resolved(profile, &mut problems);
        }
        if let Some(rules) = &self.mutation_rules {
            options.mutation_rules = rules.compiled(&mut problems);
        }
        if let Some(rules) = &self.forward_rules {
            let place = self.name.as_ref().and_then(|it| it.position);
            options.forward_rules = rules.compiled(place, &mut problems);
        }
        set(&mut options.metadata_options, self.metadata_options.as_ref().map(MetadataOptions::meant));
        let modifier = self.processing_request_modifier.as_ref().map(|it| it.lists(&mut problems));
        let [request, response] = modifier.unwrap_or_default();
        for (target, key, lists) in [
            (&mut options.request_attributes, "request_attributes", [self.request_attributes.as_ref(), Some(&request)]),
            (
                &mut options.response_attributes,
                "response_attributes",
                [self.response_attributes.as_ref(), Some(&response)],
            ),
        ] {
            *target = lists.into_iter().flatten().flat_map(|it| it.meant(key, &mut problems)).collect();
        }
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

    /// Whether it says where its processor is.
    pub(crate) const fn names_processor(&self) -> bool {
        self.processor.is_some() || self.grpc_service.is_some() || self.http_service.is_some()
    }

    /// Where its processor is.
    pub(crate) fn processor_ref(&self, problems: &mut Problems) -> Option<At<ProcessorRef>> {
        let place = self.name.as_ref().and_then(|it| it.position);
        if let Some(service) = &self.http_service {
            if self.processor.is_some() || self.grpc_service.is_some() {
                let message = "`http_service` excludes `processor` and `grpc_service`; write only one of them";
                problems.push(service.position.or(place), message);
            }
            return service.meant(service.position.or(place), problems).map(|(processor, _)| processor);
        }
        match (&self.processor, &self.grpc_service) {
            (Some(reference), None) => Some(reference.clone()),
            (None, Some(service)) => service.processor(service.position.or(place), problems),
            (Some(_), Some(service)) => {
                problems.push(service.position, "`grpc_service` excludes `processor`; write only one of them");
                None
            }
            (None, None) => None,
        }
    }

    /// What its HTTP service is asked, if its processor is one.
    ///
    /// `None` as well where that is not said as it must be; [`service`](Self::service) tells what is wrong.
    #[must_use]
    pub fn http_service(&self) -> Option<plan::HttpService> {
        self.http_service.as_ref()?.meant(None, &mut Problems::default()).map(|(_, service)| service)
    }

    /// Its processor under what more specific levels say.
    ///
    /// `None` where it names none; what is wrong with it is added to the problems.
    pub fn service(
        &self,
        overrides: &Overrides<At<ProcessorRef>>,
        problems: &mut Problems,
    ) -> Option<Service<At<ProcessorRef>>> {
        let of_service = self.grpc_service.as_ref().map_or(&[][..], |it| &it.initial_metadata);
        let mut initial_metadata = grpc_service::metadata(of_service, problems);
        if let (Some(here), Some(_)) = (&self.http_service, &overrides.service) {
            problems.push(here.position, "a level's `grpc_service` cannot take the place of an `http_service`");
        }
        let own = self.grpc_initial_metadata.as_deref().unwrap_or_default();
        initial_metadata.extend(grpc_service::metadata(own, problems));
        Some(overrides.service(Service { target: self.processor_ref(problems)?, initial_metadata }))
    }

    /// What it says as a level of an outer entry.
    pub(crate) fn level(&self, problems: &mut Problems) -> Option<Level> {
        let place = self.name.as_ref().and_then(|it| it.position);
        match (&self.per_route, self.disabled) {
            (Some(per_route), None) => per_route.level(place, problems),
            (Some(_), Some(At { position, .. })) => {
                problems.push(position.or(place), "`disabled` excludes `per_route`, which has its own");
                None
            }
            (None, Some(At { value: true, .. })) => Some(Level::Disabled),
            (None, Some(At { value: false, .. })) => Some(Level::Overrides(Overrides::default())),
            (None, None) => None,
        }
    }

    /// Its name, or else that of its processor.
    pub(crate) fn effective_name(&self) -> Option<At<String>> {
        let of_processor = || {
            let reference = self.processor_ref(&mut Problems::default())?;
            let At { value, position } = &reference;
            match value {
                ProcessorRef::Name(name) => Some(At { value: name.clone(), position: *position }),
                ProcessorRef::Inline(_) => None,
            }
        };
        self.name.clone().or_else(of_processor)
    }

    /// An entry that says everything that the options say, except the route cache action.
    pub(super) fn from_options(options: &Options) -> Self {
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
            profile: Some(Profile::of(options.profile).into()),
            request_attributes: Some(Attributes::from(&options.request_attributes[..])),
            response_attributes: Some(Attributes::from(&options.response_attributes[..])),
            forward_rules: Some(ForwardRules::from(&options.forward_rules)),
            metadata_options: Some(MetadataOptions::from(&options.metadata_options)),
            mutation_rules: Some(MutationRules::from(&options.mutation_rules)),
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
             route_cache_action disable_clear_route_cache request_attributes response_attributes
             processing_request_modifier grpc_service http_service grpc_initial_metadata profile per_route emit_client_span]
            [stat_prefix filter_metadata
             on_processing_response when]
        }
    };
}

macro_rules! define_by_keys {
    ([$($key:ident)+] [$($unsupported:ident)+]) => {
        impl ExtProc {
            /// This entry with everything that a deeper one says instead.
            pub(crate) fn overlaid(mut self, deeper: Self) -> Self {
                if deeper.names_processor() {
                    (self.processor, self.grpc_service, self.http_service) = (None, None, None);
                }
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
        "stat_prefix" => {
            "`stat_prefix` has no effect here: statistics are labelled with the entry's `name`; leave it out".to_owned()
        }
        "on_processing_response" => {
            "`on_processing_response` runs extensions of Envoy's binary, which are not here; leave it out".to_owned()
        }
        _ => format!("`{key}` is not supported yet"),
    }
}
