//! In which order the parts of one direction may come.

use super::{ApiMisuse, HttpEvent};

/// How much of a direction its source has given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing.
    #[default]
    Start,
    /// The headers.
    Open,
    /// The last part.
    Ended,
}

impl Order {
    /// The order after this event.
    pub(crate) fn next(self, event: &HttpEvent) -> Result<Self, ApiMisuse> {
        let after = |end: bool| if end { Self::Ended } else { Self::Open };
        match (self, event) {
            (Self::Start, HttpEvent::Headers(_, end)) | (Self::Open, HttpEvent::Data(_, end)) => Ok(after(*end)),
            (Self::Open, HttpEvent::Trailers(_)) => Ok(Self::Ended),
            (Self::Start, HttpEvent::Data(..) | HttpEvent::Trailers(_)) => {
                Err(ApiMisuse("the headers of a direction come first"))
            }
            (Self::Open, HttpEvent::Headers(..)) => Err(ApiMisuse("a direction has one set of headers")),
            (Self::Ended, HttpEvent::Headers(..) | HttpEvent::Data(..) | HttpEvent::Trailers(_)) => {
                Err(ApiMisuse("nothing follows the last part of a direction"))
            }
        }
    }
}
