//! What the scripted processor does with each message.

mod streamed;

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

pub use self::streamed::StreamedPart;
use super::text::{Fields, Millis, Payload};

/// The kinds of message, in both directions of the wire.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `request_headers`
    RequestHeaders,
    /// `request_body`
    RequestBody,
    /// `request_trailers`
    RequestTrailers,
    /// `response_headers`
    ResponseHeaders,
    /// `response_body`
    ResponseBody,
    /// `response_trailers`
    ResponseTrailers,
    /// A message that has none of the kinds.
    Empty,
}

impl Kind {
    const ALL: [(Self, &str); 7] = [
        (Self::RequestHeaders, "request_headers"),
        (Self::RequestBody, "request_body"),
        (Self::RequestTrailers, "request_trailers"),
        (Self::ResponseHeaders, "response_headers"),
        (Self::ResponseBody, "response_body"),
        (Self::ResponseTrailers, "response_trailers"),
        (Self::Empty, "empty"),
    ];

    /// The name used in scenarios and transcripts.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("empty", |(_, name)| name)
    }

    /// The kind of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(kind, _)| *kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The processor's part: a script, or `unreachable` (nothing listens at its address), or `unknown` (the
/// configuration names a processor that is not defined).
#[derive(Clone, Debug)]
pub enum Processor {
    /// Answers by script.
    Script(Script),
    /// Nothing listens.
    Unreachable,
    /// Not defined.
    Unknown,
}

/// For each kind of message what to do: one answer for all of them, or a list with one answer for each in turn, the
/// last standing for all further ones. Kinds not named are acknowledged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// The first streams are refused with these statuses, one each, before anything is read from them.
    pub refuse: Vec<Failure>,
    request_headers: Answers,
    request_body: Answers,
    request_trailers: Answers,
    response_headers: Answers,
    response_body: Answers,
    response_trailers: Answers,
    /// What it does when the data plane has half-closed the stream: `silence` keeps it open, `delay` puts off the end.
    /// It ends the stream OK where nothing else is said.
    half_close: Answers,
}

impl Script {
    /// What to do once the data plane has half-closed the stream: these steps in turn.
    #[must_use]
    pub fn at_half_close(&self) -> Vec<Step> {
        match self.half_close.0.first() {
            Some(step) if !step.steps.is_empty() => step.steps.clone(),
            Some(step) => vec![step.clone()],
            None => vec![Step { close: true, ..Step::default() }],
        }
    }

    /// The same, but for request headers, which are answered so.
    #[must_use]
    pub fn with_request_headers(self, step: Step) -> Self {
        Self { request_headers: Answers(vec![step]), ..self }
    }

    /// The namespaces of dynamic metadata that it may answer with.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<&str> {
        let answers = [
            &self.request_headers,
            &self.request_body,
            &self.request_trailers,
            &self.response_headers,
            &self.response_body,
            &self.response_trailers,
        ];
        let steps = answers.into_iter().flat_map(|it| &it.0).flat_map(|step| step.steps.iter().chain([step]));
        steps.flat_map(|step| step.dynamic_metadata.keys()).map(String::as_str).collect()
    }

    /// What to do with the `nth` message of a kind, counted from 0: these steps in turn.
    #[must_use]
    pub fn answer(&self, kind: Kind, nth: usize) -> Vec<Step> {
        let answers = match kind {
            Kind::RequestHeaders => &self.request_headers,
            Kind::RequestBody => &self.request_body,
            Kind::RequestTrailers => &self.request_trailers,
            Kind::ResponseHeaders => &self.response_headers,
            Kind::ResponseBody => &self.response_body,
            Kind::ResponseTrailers => &self.response_trailers,
            Kind::Empty => return Vec::new(),
        };
        let Some(step) = answers.0.get(nth).or_else(|| answers.0.last()) else {
            return vec![Step::default()];
        };
        if step.steps.is_empty() { vec![step.clone()] } else { step.steps.clone() }
    }
}

#[derive(Clone, Debug, Default)]
struct Answers(Vec<Step>);

/// One thing the processor does. Written as a map of the fields below or as one word: `ack`, `silence`, `close`,
/// `empty`, or the name of a kind to answer with that kind. Fields combine; without any it is an acknowledgement.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Several steps in place of one. The other fields are unused then.
    pub steps: Vec<Self>,
    /// Wait so long before.
    pub delay: Option<Millis>,
    /// Send nothing.
    pub silence: bool,
    /// End the stream with status OK.
    pub close: bool,
    /// End the stream with this status.
    pub error: Option<Failure>,
    /// The kind of the answer; default is the one that belongs to the message.
    pub kind: Option<Kind>,
    /// Leave out `CommonResponse` (headers and body) altogether.
    pub bare: bool,
    /// `CommonResponse.status` is CONTINUE_AND_REPLACE.
    pub replace: bool,
    /// The header mutation.
    pub mutation: Mutation,
    /// The body mutation `body`.
    pub body: Option<Payload>,
    /// The body mutation `clear_body`.
    pub clear_body: bool,
    /// The body mutation `streamed_response`, with this body.
    pub streamed: Option<Payload>,
    /// `end_of_stream` of the streamed response.
    pub end_of_stream: bool,
    /// `CommonResponse.trailers`.
    pub trailers: Option<Fields>,
    /// `CommonResponse.clear_route_cache`.
    pub clear_route_cache: bool,
    /// Answer with an immediate response.
    pub immediate: Option<Immediate>,
    /// Answer with a part of a streamed immediate response.
    pub streamed_immediate: Option<StreamedPart>,
    /// `ProcessingResponse.mode_override`, under Envoy's names.
    pub mode_override: Option<serde_json::Value>,
    /// `ProcessingResponse.dynamic_metadata`, as it stands.
    pub dynamic_metadata: serde_json::Map<String, serde_json::Value>,
    /// `ProcessingResponse.typed_dynamic_metadata`: a `StringValue` for each namespace.
    pub typed_dynamic_metadata: Fields,
    /// `ProcessingResponse.override_message_timeout`.
    pub override_message_timeout: Option<Millis>,
    /// `ProcessingResponse.request_drain`.
    pub request_drain: bool,
    /// `ProcessingResponse.request_drain_requests`.
    pub request_drain_requests: bool,
    /// `ProcessingResponse.server_window_update`.
    pub server_window_update: Option<ServerWindowUpdate>,
    /// Of an HTTP service: answer with this instead.
    pub http: Option<HttpAnswer>,
}

/// What an HTTP service answers other than a response in JSON.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpAnswer {
    /// Default 200.
    pub status: u16,
    /// Default `{}`.
    pub body: String,
}

impl Default for HttpAnswer {
    fn default() -> Self {
        Self { status: 200, body: "{}".to_owned() }
    }
}

/// `ServerWindowUpdate`, under Envoy's names.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerWindowUpdate {
    /// `window_increment_downstream_to_sidestream`
    pub window_increment_downstream_to_sidestream: i64,
    /// `window_increment_upstream_to_sidestream`
    pub window_increment_upstream_to_sidestream: i64,
}

/// A header mutation: `set` and `append` in short, `set_headers` with every field.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mutation {
    /// Set by `raw_value`.
    pub set: Fields,
    /// Append by `raw_value` with `append: true`.
    pub append: Fields,
    /// `set_headers` in full, after the two above.
    pub set_headers: Vec<SetHeader>,
    /// `remove_headers`.
    pub remove: Vec<String>,
}

impl Mutation {
    /// Whether it does nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.set.is_empty() && self.append.is_empty() && self.set_headers.is_empty() && self.remove.is_empty()
    }
}

/// A `HeaderValueOption`. Without `key` it has no header.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SetHeader {
    /// The name, as it stands.
    pub key: Option<String>,
    /// `raw_value`
    pub raw_value: Option<Payload>,
    /// `value`
    pub value: Option<Payload>,
    /// `append`
    pub append: Option<bool>,
    /// `append_action` by number.
    pub append_action: i32,
}

/// An immediate response.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Immediate {
    /// `status.code`; without it the message has no status.
    pub status: Option<i32>,
    /// `headers`
    pub headers: Mutation,
    /// `body`
    pub body: Option<Payload>,
    /// `grpc_status.status`
    pub grpc_status: Option<u32>,
    /// `details`
    pub details: String,
}

/// A gRPC status that ends the stream. Written as a code's name, or with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code, 1 to 16.
    pub code: u8,
    /// The message.
    pub message: String,
}

const CODES: [&str; 16] = [
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn code(name: &str) -> Result<u8, String> {
    let index = CODES.iter().position(|code| *code == name);
    index.and_then(|index| u8::try_from(index + 1).ok()).ok_or_else(|| format!("`{name}` is no gRPC status code"))
}

impl Default for Processor {
    fn default() -> Self {
        Self::Script(Script::default())
    }
}

impl<'de> Deserialize<'de> for Processor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Processor;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of message kinds to answers, `unreachable` or `unknown`")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Processor, E> {
                match word {
                    "unreachable" => Ok(Processor::Unreachable),
                    "unknown" => Ok(Processor::Unknown),
                    _ => Err(E::custom(format!("`{word}`: expected `unreachable`, `unknown` or a script"))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Processor, A::Error> {
                Script::deserialize(MapAccessDeserializer::new(map)).map(Processor::Script)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for Answers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Answers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an answer or a list of answers, one for each message in turn")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Answers, E> {
                Ok(Answers(vec![Step::from_word(word).map_err(E::custom)?]))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Answers, A::Error> {
                let step = StepMap::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Answers(vec![Step::from(step)]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Answers, A::Error> {
                let mut steps = Vec::new();
                while let Some(step) = seq.next_element()? {
                    steps.push(step);
                }
                Ok(Answers(steps))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Step {
    fn from_word(word: &str) -> Result<Self, String> {
        let ack = Self::default();
        match word {
            "ack" => Ok(ack),
            "silence" => Ok(Self { silence: true, ..ack }),
            "close" => Ok(Self { close: true, ..ack }),
            _ => match Kind::from_name(word) {
                Some(kind) => Ok(Self { kind: Some(kind), ..ack }),
                None => {
                    Err(format!("`{word}` is no answer: write ack, silence, close, empty, a message kind or a map"))
                }
            },
        }
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Step;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("ack, silence, close, empty, a message kind or a map")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Step, E> {
                Step::from_word(word).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Step, A::Error> {
                StepMap::deserialize(MapAccessDeserializer::new(map)).map(Step::from)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// The written form of [`Step`]: the mutation's fields stand beside the others.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StepMap {
    steps: Vec<Step>,
    delay: Option<Millis>,
    silence: bool,
    close: bool,
    error: Option<Failure>,
    kind: Option<Kind>,
    bare: bool,
    replace: bool,
    set: Fields,
    append: Fields,
    set_headers: Vec<SetHeader>,
    remove: Vec<String>,
    body: Option<Payload>,
    clear_body: bool,
    streamed: Option<Payload>,
    end_of_stream: bool,
    trailers: Option<Fields>,
    clear_route_cache: bool,
    immediate: Option<Immediate>,
    streamed_immediate: Option<StreamedPart>,
    mode_override: Option<serde_json::Value>,
    dynamic_metadata: serde_json::Map<String, serde_json::Value>,
    typed_dynamic_metadata: Fields,
    override_message_timeout: Option<Millis>,
    request_drain: bool,
    request_drain_requests: bool,
    server_window_update: Option<ServerWindowUpdate>,
    http: Option<HttpAnswer>,
}

impl From<StepMap> for Step {
    fn from(map: StepMap) -> Self {
        Self {
            steps: map.steps,
            delay: map.delay,
            silence: map.silence,
            close: map.close,
            error: map.error,
            kind: map.kind,
            bare: map.bare,
            replace: map.replace,
            mutation: Mutation { set: map.set, append: map.append, set_headers: map.set_headers, remove: map.remove },
            body: map.body,
            clear_body: map.clear_body,
            streamed: map.streamed,
            end_of_stream: map.end_of_stream,
            trailers: map.trailers,
            clear_route_cache: map.clear_route_cache,
            immediate: map.immediate,
            streamed_immediate: map.streamed_immediate,
            mode_override: map.mode_override,
            dynamic_metadata: map.dynamic_metadata,
            typed_dynamic_metadata: map.typed_dynamic_metadata,
            override_message_timeout: map.override_message_timeout,
            request_drain: map.request_drain,
            request_drain_requests: map.request_drain_requests,
            server_window_update: map.server_window_update,
            http: map.http,
        }
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Map {
            code: String,
            #[serde(default)]
            message: String,
        }
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Failure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a gRPC status code such as INTERNAL, or { code: INTERNAL, message: … }")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Failure, E> {
                Ok(Failure { code: code(name).map_err(E::custom)?, message: String::new() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Failure, A::Error> {
                let map = Map::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Failure { code: code(&map.code).map_err(de::Error::custom)?, message: map.message })
            }
        }
        deserializer.deserialize_any(Any)
    }
}
