//! What a test says about one side of an exchange.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;

use super::{Effective, Ending, IntoBody, Seen, print};

/// What the upstream or the client got, with checks that show the whole exchange when they fail.
///
/// Names of headers are in lower case. Everything else that came is in the [`Seen`] of
/// [`Effective::request`] and [`Effective::response`].
///
/// ```no_run
/// # fn check(done: extproc::testing::Effective) {
/// done.upstream().has("x-user", "ann").lacks("authorization").has_body("hello");
/// assert_eq!(done.client().header("x-served-by"), None);
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Hop<'a> {
    name: &'static str,
    seen: &'a Seen,
    all: &'a Effective,
}

impl<'a> Hop<'a> {
    /// The first value of a header, or pseudo header, if it is text.
    #[must_use]
    pub fn header(self, name: &str) -> Option<&'a str> {
        self.seen.header(name)
    }

    /// All values of a header that are text, in order.
    #[must_use]
    pub fn header_all(self, name: &str) -> Vec<&'a str> {
        self.seen.header_all(name)
    }

    /// The first value of a trailer, if it is text.
    #[must_use]
    pub fn trailer(self, name: &str) -> Option<&'a str> {
        self.seen.trailer(name)
    }

    /// The status of a response.
    #[must_use]
    pub fn status(self) -> Option<u16> {
        self.seen.status()
    }

    /// The whole body.
    #[must_use]
    pub fn body(self) -> Bytes {
        self.seen.body()
    }

    /// The whole body as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(self) -> String {
        self.seen.text()
    }
}

impl Hop<'_> {
    /// There is one value of this header, and it is this.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn has(self, name: &str, value: impl Display) -> Self {
        let found = self.seen.header_all(name);
        if found != [value.to_string()] {
            self.fail(format_args!("{name} is {found:?}; expected {:?}", [value.to_string()]));
        }
        self
    }

    /// The values of this header are these, in order.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn has_all<const N: usize>(self, name: &str, values: [&str; N]) -> Self {
        let found = self.seen.header_all(name);
        if found != values {
            self.fail(format_args!("{name} is {found:?}; expected {values:?}"));
        }
        self
    }

    /// There is no such header.
    ///
    /// # Panics
    /// If there is.
    #[track_caller]
    pub fn lacks(self, name: &str) -> Self {
        if self.seen.headers.as_ref().is_some_and(|headers| headers.contains(name)) {
            self.fail(format_args!("{name} is {:?}; expected none", self.seen.header_all(name)));
        }
        self
    }

    /// The trailer has this value.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn has_trailer(self, name: &str, value: impl Display) -> Self {
        let found = self.seen.trailer(name);
        if found != Some(value.to_string().as_str()) {
            self.fail(format_args!("trailer {name} is {found:?}; expected {:?}", value.to_string()));
        }
        self
    }

    /// The status of the response.
    ///
    /// # Panics
    /// If it is another, or there is none.
    #[track_caller]
    pub fn has_status(self, status: u16) -> Self {
        if self.seen.status() != Some(status) {
            self.fail(format_args!("the status is {:?}; expected {status}", self.seen.status()));
        }
        self
    }

    /// The whole body is this, and its `content-length`, if there is one, is right.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn has_body(self, body: impl IntoBody) -> Self {
        let (found, expected) = (self.seen.body(), body.into_body());
        if found != expected {
            self.fail(format_args!("the body is {}; expected {}", print::quoted(&found), print::quoted(&expected)));
        }
        let length = self.seen.headers.as_ref().and_then(extproc_core::Headers::content_length);
        if length.is_some_and(|length| length != found.len() as u64) {
            self.fail(format_args!("content-length is {length:?}, but the body has {} bytes", found.len()));
        }
        self
    }

    /// Nothing came: no request to the upstream, no response to the client.
    ///
    /// # Panics
    /// If something did.
    #[track_caller]
    pub fn has_nothing(self) -> Self {
        if self.seen.is_there() {
            self.fail(format_args!("got {}; expected nothing", self.seen));
        }
        self
    }

    /// The whole message came.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn is_whole(self) -> Self {
        if !self.seen.is_complete() {
            self.fail(format_args!("got {}; expected a complete message", self.seen));
        }
        self
    }

    #[track_caller]
    fn fail(self, what: impl Display) -> ! {
        self.all.fail(format_args!("{}: {what}", self.name))
    }
}

impl Effective {
    /// What the upstream got.
    #[must_use]
    pub const fn upstream(&self) -> Hop<'_> {
        Hop { name: "upstream", seen: &self.request, all: self }
    }

    /// What the client got.
    #[must_use]
    pub const fn client(&self) -> Hop<'_> {
        Hop { name: "client", seen: &self.response, all: self }
    }

    /// The client has a complete response, no stream failed, and no processor said anything that was not asked.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn went_well(&self) -> &Self {
        if self.ending != Ending::Complete {
            self.fail(format_args!("the exchange ended with {:?}; expected a complete response", self.ending));
        }
        for (filter, stats) in self.stats.iter().enumerate() {
            if stats.streams_failed > 0 || stats.message_timeouts > 0 {
                self.fail(format_args!("the processor of filter {filter} failed"));
            }
        }
        self.no_spurious()
    }

    /// No processor sent a message that nothing called for (`spurious_msgs_received`).
    ///
    /// # Panics
    /// If one did.
    #[track_caller]
    pub fn no_spurious(&self) -> &Self {
        for (filter, stats) in self.stats.iter().enumerate() {
            if stats.spurious_msgs_received > 0 {
                self.fail(format_args!("the processor of filter {filter} sent a message that nothing called for"));
            }
        }
        self
    }

    /// The client had its last part after no more than this.
    ///
    /// # Panics
    /// If it took longer, or never came.
    #[track_caller]
    pub fn within(&self, limit: Duration) -> &Self {
        match self.response.ended {
            Some(took) if took <= limit => self,
            Some(took) => self.fail(format_args!("the response took {took:?}; expected at most {limit:?}")),
            None => self.fail(format_args!("the client has no complete response; expected it within {limit:?}")),
        }
    }

    /// Everything that the processors wrote reached the data plane, and their body kinds went with the body modes.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn nothing_blocked(&self) -> &Self {
        if let Some(blocked) = self.blocked.first() {
            self.fail(format_args!("a write was blocked: {blocked}"));
        }
        if let Some(mismatch) = self.mismatches.first() {
            let (processor, mode, what) = (&mismatch.processor, mismatch.mode, mismatch.what);
            self.fail(format_args!("{processor} does not go with body mode {mode}: {what}"));
        }
        self
    }

    /// Panics with the whole exchange.
    #[track_caller]
    pub(super) fn fail(&self, what: impl Display) -> ! {
        panic!("{what}\n\n{}", self.report())
    }
}
