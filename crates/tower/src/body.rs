//! What both body adapters need.

use bytes::Bytes;
use extproc_core::filter::Forward;
use http_body::{Frame, SizeHint};

use crate::headers;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The message cannot be finished: the other side failed, the exchange was given up, or what came does not fit the
/// headers that are already on their way. Whoever sends the body must end it so that the peer sees it is incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message was cut: {0}")]
pub struct Cut(pub(crate) &'static str);

/// How much of a declared content-length is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length(Option<u64>);

impl Length {
    pub(crate) const fn new(declared: Option<u64>) -> Self {
        Self(declared)
    }

    /// Accounts for what is passed on. More than declared would end up in the peer's next message, less would leave it
    /// waiting: both are errors, whatever a processor did to the header.
    pub(crate) fn pass(&mut self, part: &Forward) -> Result<(), Cut> {
        let Some(left) = &mut self.0 else { return Ok(()) };
        let (bytes, end) = match part {
            Forward::Headers(_, end) => (0, *end),
            Forward::Data(data, end) => (data.len() as u64, *end),
            Forward::Trailers(_) => (0, true),
        };
        *left = left.checked_sub(bytes).ok_or(Cut("the body is longer than its content-length"))?;
        if end { self.end() } else { Ok(()) }
    }

    pub(crate) const fn end(&self) -> Result<(), Cut> {
        match self.0 {
            None | Some(0) => Ok(()),
            Some(_) => Err(Cut("the body is shorter than its content-length")),
        }
    }

    /// All bytes that were declared have been passed on.
    pub(crate) const fn is_satisfied(&self) -> bool {
        matches!(self.0, Some(0))
    }

    pub(crate) fn hint(&self) -> SizeHint {
        self.0.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

/// A part as a frame; `None` for the bare end.
pub(crate) fn frame(part: Forward) -> Result<Option<Frame<Bytes>>, BoxError> {
    match part {
        Forward::Data(data, _) if data.is_empty() => Ok(None),
        Forward::Data(data, _) => Ok(Some(Frame::data(data))),
        Forward::Trailers(trailers) => Ok(Some(Frame::trailers(headers::into_trailers(trailers)?))),
        Forward::Headers(..) => Err(Cut("headers came after headers").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_must_have_the_declared_length() {
        let data = |n: usize, end| Forward::Data(Bytes::from(vec![0; n]), end);
        for (declared, parts, ok) in [
            (Some(5), vec![data(2, false), data(3, true)], true),
            (Some(5), vec![data(2, false), data(2, true)], false),
            (Some(5), vec![data(2, false), data(4, false)], false),
            (Some(0), vec![data(0, true)], true),
            (Some(1), vec![Forward::Trailers(extproc_core::Headers::new())], false),
            (None, vec![data(9, true)], true),
        ] {
            let mut length = Length::new(declared);
            let result = parts.iter().try_for_each(|part| length.pass(part));
            assert_eq!(result.is_ok(), ok, "{declared:?} {parts:?}");
        }
    }
}
