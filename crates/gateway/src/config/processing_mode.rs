//! What is sent to a processor: Envoy's `ProcessingMode`.

use extproc_core::{BodyMode as CoreBodyMode, ProcessingMode as CoreMode, Profile};
use serde::{Deserialize, Serialize};

use super::at::At;
use super::error::Problems;
use super::scalar::words;

/// Envoy's `ProcessingMode`. What is absent has the default of the profile.
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

impl ProcessingMode {
    /// The mode, with these defaults.
    pub(super) fn meant(&self, default: CoreMode) -> CoreMode {
        let send = |mode: Option<At<SendMode>>, default| match mode.map(|it| it.value) {
            None | Some(SendMode::Default) => default,
            Some(SendMode::Send) => true,
            Some(SendMode::Skip) => false,
        };
        let body = |mode: Option<At<BodyMode>>, default| mode.map_or(default, |it| it.value.into());
        CoreMode {
            request_headers: send(self.request_header_mode, default.request_headers),
            response_headers: send(self.response_header_mode, default.response_headers),
            request_body: body(self.request_body_mode, default.request_body),
            response_body: body(self.response_body_mode, default.response_body),
            request_trailers: send(self.request_trailer_mode, default.request_trailers),
            response_trailers: send(self.response_trailer_mode, default.response_trailers),
        }
    }

    /// The mode with its defaults, if it is one that a filter can begin with.
    pub(super) fn resolved(&self, profile: Profile, problems: &mut Problems) -> CoreMode {
        let resolved = self.meant(profile.default_mode());
        if profile == Profile::Agentgateway {
            // It sends them of its own accord.
            return resolved;
        }
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
