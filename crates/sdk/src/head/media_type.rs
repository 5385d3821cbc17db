//! The type of a body.

use std::borrow::Cow;

use super::Fields;

/// A parsed `content-type`, such as `text/html; charset=utf-8`. Names compare without regard to case.
#[derive(Clone, Debug)]
pub struct MediaType<'a>(mediatype::MediaType<'a>);

impl Fields {
    /// `content-type`, parsed; `None` when it is not there, more than once there, or malformed.
    ///
    /// ```
    /// # fn f(req: &extproc::RequestHead) {
    /// if req.media_type().is_some_and(|t| t.is_json()) {
    ///     // application/json, application/problem+json, with any parameters
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn media_type(&self) -> Option<MediaType<'_>> {
        let mut values = self.headers().iter().filter(|(name, _)| name.as_str() == "content-type");
        let (_, value) = values.next()?;
        if values.next().is_some() {
            return None;
        }
        mediatype::MediaType::parse(value.to_str()?).ok().map(MediaType)
    }

    pub(super) fn has_grpc_type(&self) -> bool {
        let essence = self.content_type().unwrap_or_default();
        let Some((grpc, rest)) = essence.split_at_checked("application/grpc".len()) else { return false };
        grpc.eq_ignore_ascii_case("application/grpc") && (rest.is_empty() || rest.starts_with('+'))
    }
}

impl MediaType<'_> {
    /// Whether it is this type, whatever its parameters: `is("text/html")`.
    #[must_use]
    pub fn is(&self, essence: &str) -> bool {
        essence.split_once('/').is_some_and(|(kind, sub)| {
            self.0.ty == kind && {
                let own = self.0.subty.as_str();
                match self.0.suffix {
                    None => own.eq_ignore_ascii_case(sub),
                    Some(suffix) => sub.rsplit_once('+').is_some_and(|(sub, end)| {
                        own.eq_ignore_ascii_case(sub) && suffix.as_str().eq_ignore_ascii_case(end)
                    }),
                }
            }
        })
    }

    /// Whether it is JSON: `application/json`, or any type with the suffix `+json`.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.is("application/json") || self.0.suffix.is_some_and(|suffix| suffix == "json")
    }

    /// Whether it is text: `text/*`.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.0.ty == "text"
    }

    /// Whether it is a form of names and values: `application/x-www-form-urlencoded`.
    #[must_use]
    pub fn is_form(&self) -> bool {
        self.is("application/x-www-form-urlencoded")
    }

    /// A parameter, such as `charset` or `boundary`, without quotes.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.0.params.iter().find(|(n, _)| *n == name).map(|(_, value)| value.unquoted_str())
    }
}
