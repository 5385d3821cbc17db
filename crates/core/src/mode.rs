//! Which parts of an exchange go to the processor, and how.

/// One of the two ways through the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Client to upstream.
    Request,
    /// Upstream to client.
    Response,
}

impl Direction {
    /// Both, request first.
    pub const BOTH: [Self; 2] = [Self::Request, Self::Response];

    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Request => Self::Response,
            Self::Response => Self::Request,
        }
    }
}

/// How a body goes to the processor (Envoy `ProcessingMode.BodySendMode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BodyMode {
    /// Not at all.
    #[default]
    None,
    /// Chunk by chunk as it arrives, one answer for each chunk, in order.
    Streamed,
    /// Whole, in one message; headers are held until it is answered.
    Buffered,
    /// As much as fits the buffer in one message; the rest passes.
    BufferedPartial,
    /// Chunk by chunk, answers independent of the chunks sent.
    FullDuplexStreamed,
    /// gRPC messages, answers independent of the messages sent.
    Grpc,
}

impl std::fmt::Display for BodyMode {
    /// Envoy's name of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "NONE",
            Self::Streamed => "STREAMED",
            Self::Buffered => "BUFFERED",
            Self::BufferedPartial => "BUFFERED_PARTIAL",
            Self::FullDuplexStreamed => "FULL_DUPLEX_STREAMED",
            Self::Grpc => "GRPC",
        })
    }
}

/// The effective mode of an exchange (Envoy `ProcessingMode` with its defaults resolved).
///
/// The default sends both headers, no bodies and no trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessingMode {
    /// `request_header_mode` is not SKIP.
    pub request_headers: bool,
    /// `response_header_mode` is not SKIP.
    pub response_headers: bool,
    /// `request_body_mode`.
    pub request_body: BodyMode,
    /// `response_body_mode`.
    pub response_body: BodyMode,
    /// `request_trailer_mode` is SEND.
    pub request_trailers: bool,
    /// `response_trailer_mode` is SEND.
    pub response_trailers: bool,
}

impl Default for ProcessingMode {
    fn default() -> Self {
        Self {
            request_headers: true,
            response_headers: true,
            request_body: BodyMode::None,
            response_body: BodyMode::None,
            request_trailers: false,
            response_trailers: false,
        }
    }
}

/// What a processor wants changed in the mode (`ProcessingResponse.mode_override`). `None` is DEFAULT: unchanged.
/// The bodies are always taken from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModeOverride {
    pub(crate) request_headers: Option<bool>,
    pub(crate) response_headers: Option<bool>,
    pub(crate) request_body: BodyMode,
    pub(crate) response_body: BodyMode,
    pub(crate) request_trailers: Option<bool>,
    pub(crate) response_trailers: Option<bool>,
}

impl ModeOverride {
    /// The mode that comes of it.
    pub(crate) fn applied_to(self, base: &ProcessingMode) -> ProcessingMode {
        ProcessingMode {
            request_headers: self.request_headers.unwrap_or(base.request_headers),
            response_headers: self.response_headers.unwrap_or(base.response_headers),
            request_body: self.request_body,
            response_body: self.response_body,
            request_trailers: self.request_trailers.unwrap_or(base.request_trailers),
            response_trailers: self.response_trailers.unwrap_or(base.response_trailers),
        }
    }
}

impl ProcessingMode {
    /// Nothing is sent: no stream is opened.
    pub const OFF: Self = Self {
        request_headers: false,
        response_headers: false,
        request_body: BodyMode::None,
        response_body: BodyMode::None,
        request_trailers: false,
        response_trailers: false,
    };

    /// Whether headers of this direction are sent.
    #[must_use]
    pub const fn headers(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.request_headers,
            Direction::Response => self.response_headers,
        }
    }

    /// How the body of this direction is sent.
    #[must_use]
    pub const fn body(&self, direction: Direction) -> BodyMode {
        match direction {
            Direction::Request => self.request_body,
            Direction::Response => self.response_body,
        }
    }

    /// Whether trailers of this direction are sent.
    #[must_use]
    pub const fn trailers(&self, direction: Direction) -> bool {
        match direction {
            Direction::Request => self.request_trailers,
            Direction::Response => self.response_trailers,
        }
    }
}
