//! What a data plane's configuration lacks, as far as its first message shows it.

use std::fmt;

use extproc_core::{BodyMode, Direction};

use crate::telemetry::{Label, labels};

/// A data plane is not configured as a processor needs it. Its first message shows that: it declares the body modes
/// (`protocol_config`) and brings the attributes.
///
/// Compared once for each stream; logged once for each processor and difference, with what to change; counted in
/// `ext_proc_config_differences_total`; shown by the test kit. Trailers, metadata and whether mode overrides are allowed
/// are not visible there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The processor that needs it; all of a chain where it is about them together.
    pub processor: String,
    /// What differs.
    pub what: DifferenceKind,
}

/// How a data plane's configuration differs from what is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DifferenceKind {
    /// A body that the processor wants is not sent.
    BodyNotSent {
        /// Whose.
        direction: Direction,
        /// The mode that suits the processor.
        best: BodyMode,
    },
    /// The body comes in a mode that does not go with the processor's kind.
    BodyMode {
        /// Whose.
        direction: Direction,
        /// How it comes.
        mode: BodyMode,
        /// The mode that suits the processor.
        best: BodyMode,
    },
    /// A body is sent that no processor takes: each message of it waits for an answer that says nothing.
    BodyUnread {
        /// Whose.
        direction: Direction,
        /// How it comes.
        mode: BodyMode,
    },
    /// The processor changes body modes, and the data plane does not read that: it sends bodies early or in chunks.
    ModeOverrideUnread,
    /// The processor reads attributes, and none came.
    NoAttributes,
}

impl DifferenceKind {
    /// What to change in the configuration of the data plane: of Envoy's `ext_proc` filter, whose fields the gateway of
    /// this project has under the same names.
    #[must_use]
    pub fn change(&self) -> String {
        let field = |direction| match direction {
            Direction::Request => "processing_mode.request_body_mode",
            Direction::Response => "processing_mode.response_body_mode",
        };
        match *self {
            Self::BodyNotSent { direction, best } | Self::BodyMode { direction, best, .. } => {
                format!("{}: {best}", field(direction))
            }
            Self::BodyUnread { direction, .. } => format!("{}: NONE", field(direction)),
            Self::ModeOverrideUnread => {
                "send_body_without_waiting_for_header_response: false, and no body mode FULL_DUPLEX_STREAMED".to_owned()
            }
            Self::NoAttributes => "request_attributes: the names that the processor reads".to_owned(),
        }
    }

    /// Whether the processor works without the change.
    pub(crate) const fn is_harmless(self) -> bool {
        matches!(self, Self::BodyUnread { .. })
    }

    pub(crate) const fn label(self) -> DifferenceLabel {
        use Direction::{Request, Response};
        match self {
            Self::BodyNotSent { direction: Request, .. } => DifferenceLabel::RequestBodyNotSent,
            Self::BodyNotSent { direction: Response, .. } => DifferenceLabel::ResponseBodyNotSent,
            Self::BodyMode { direction: Request, .. } => DifferenceLabel::RequestBodyMode,
            Self::BodyMode { direction: Response, .. } => DifferenceLabel::ResponseBodyMode,
            Self::BodyUnread { direction: Request, .. } => DifferenceLabel::RequestBodyUnread,
            Self::BodyUnread { direction: Response, .. } => DifferenceLabel::ResponseBodyUnread,
            Self::ModeOverrideUnread => DifferenceLabel::ModeOverride,
            Self::NoAttributes => DifferenceLabel::Attributes,
        }
    }
}

labels! {
    /// A [`DifferenceKind`] without its details.
    pub(crate) enum DifferenceLabel {
        RequestBodyNotSent = "request_body_not_sent",
        ResponseBodyNotSent = "response_body_not_sent",
        RequestBodyMode = "request_body_mode",
        ResponseBodyMode = "response_body_mode",
        RequestBodyUnread = "request_body_unread",
        ResponseBodyUnread = "response_body_unread",
        ModeOverride = "mode_override",
        Attributes = "attributes",
    }
}

impl fmt::Display for DifferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BodyNotSent { direction, .. } => write!(f, "the {} body is not sent", direction.text()),
            Self::BodyMode { direction, mode, .. } => {
                write!(f, "the {} body comes in {mode}, which does not go with the body kind", direction.text())
            }
            Self::BodyUnread { direction, mode } => {
                write!(f, "the {} body comes in {mode}, and no processor takes it", direction.text())
            }
            Self::ModeOverrideUnread => f.write_str("body modes that are asked for are not read"),
            Self::NoAttributes => f.write_str("no attributes came"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; set {}", self.processor, self.what, self.what.change())
    }
}
