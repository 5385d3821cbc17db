//! One direction of an exchange as the next hop saw it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use extproc_core::Headers;
use extproc_core::filter::Forward;

use super::print;

/// What the upstream got of the request, or the client of the response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// The head; `None` when it never came.
    pub headers: Option<Headers>,
    /// The body as it came, with the time since the exchange began. An end on its own is no piece.
    pub pieces: Vec<(Duration, Bytes)>,
    /// The trailers.
    pub trailers: Option<Headers>,
    /// When the last part came; `None` when the message is not complete.
    pub ended: Option<Duration>,
}

impl Seen {
    pub(super) fn take(&mut self, at: Duration, part: &Forward) {
        let end = match part {
            Forward::Headers(headers, end) => {
                self.headers = Some(headers.clone());
                *end
            }
            Forward::Data(data, end) => {
                if !data.is_empty() {
                    self.pieces.push((at, data.clone()));
                }
                *end
            }
            Forward::Trailers(trailers) => {
                self.trailers = Some(trailers.clone());
                true
            }
        };
        if end {
            self.ended = Some(at);
        }
    }

    /// Whether anything came at all.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        self.headers.is_some()
    }

    /// Whether the whole message came.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.ended.is_some()
    }

    /// The first value of a header, or pseudo header, if it is text. The name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get_str(name)
    }

    /// All values of a header that are text, in order. The name in lower case.
    #[must_use]
    pub fn header_all(&self, name: &str) -> Vec<&str> {
        let all = self.headers.iter().flat_map(Headers::iter).filter(|(entry, _)| entry.as_str() == name);
        all.filter_map(|(_, value)| value.to_str()).collect()
    }

    /// The first value of a trailer, if it is text. The name in lower case.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get_str(name)
    }

    /// The status of a response.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.headers.as_ref()?.status()
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> Bytes {
        match &self.pieces[..] {
            [(_, only)] => only.clone(),
            pieces => pieces.iter().flat_map(|(_, piece)| piece.iter().copied()).collect(),
        }
    }

    /// The whole body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }
}

/// One line: `POST /a x-b=1 body="hello"`, or `200 x-b=1`. Pseudo headers other than method, path and status are left
/// out, and it says so if the message is not complete.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(headers) = &self.headers else { return f.write_str("nothing") };
        let line = [":method", ":path", ":status"].into_iter().filter_map(|name| headers.get_str(name));
        f.write_str(&line.collect::<Vec<_>>().join(" "))?;
        for (name, value) in headers.iter().filter(|(name, _)| !name.is_pseudo()) {
            write!(f, " {name}={}", value.as_bytes().escape_ascii())?;
        }
        let body = self.body();
        if !body.is_empty() {
            write!(f, " body={}", print::quoted(&body))?;
        }
        for (name, value) in self.trailers.iter().flat_map(Headers::iter) {
            write!(f, " trailer {name}={}", value.as_bytes().escape_ascii())?;
        }
        if !self.is_complete() {
            f.write_str(" (incomplete)")?;
        }
        Ok(())
    }
}
