//! What is not shown.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use extproc_core::Headers;
use extproc_core::headers::{InvalidValue, Name, Value};

use crate::IntoValue;

/// Headers that carry secrets everywhere.
const ALWAYS: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"];

/// Those of [`redact`], lower-cased.
static ALSO: RwLock<Vec<String>> = RwLock::new(Vec::new());

pub(crate) const REDACTED: &str = "[redacted]";

/// Hides the values of these headers too, in all that this process prints of heads, trailers and local replies with
/// `{:?}`. Those of `authorization`, `cookie`, `proxy-authorization`, `set-cookie` and `x-api-key` are always hidden.
///
/// Only what is printed changes, never a message. [`Fields::headers`](crate::Fields::headers) and the messages of
/// [`proto`](crate::proto) print everything.
///
/// ```
/// extproc::redact(["x-session", "x-internal-token"]);
/// ```
pub fn redact<N: AsRef<str>>(names: impl IntoIterator<Item = N>) {
    let mut also = ALSO.write().unwrap_or_else(PoisonError::into_inner);
    for name in names {
        let name = name.as_ref().to_ascii_lowercase();
        if !also.contains(&name) {
            also.push(name);
        }
    }
}

/// Whether the values of this header are hidden. Names are lower-case.
pub(crate) fn hides(name: &str) -> bool {
    ALWAYS.contains(&name) || ALSO.read().unwrap_or_else(PoisonError::into_inner).iter().any(|it| it == name)
}

/// Headers as they may be printed.
pub(crate) struct Shown<'a>(pub(crate) &'a Headers);

/// A list of headers as it may be printed.
pub(crate) struct ShownList<'a>(pub(crate) &'a [(Name, Value)]);

/// A value that is never printed.
///
/// Keep in it what a processor's state holds of secrets, so that `{:?}` of the state shows none; it can be given as a
/// header value.
///
/// ```
/// use extproc::Secret;
///
/// let token = Secret::new("t0p");
/// assert_eq!(format!("{token:?}"), "[redacted]");
/// assert_eq!(*token.expose(), "t0p");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// The value, given away.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl<T: IntoValue> IntoValue for Secret<T> {
    fn into_value(self) -> Result<Value, InvalidValue> {
        self.0.into_value()
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl fmt::Debug for ShownList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0.iter().map(|(name, value)| (name, value)))
    }
}

fn show<'a>(f: &mut fmt::Formatter<'_>, headers: impl Iterator<Item = (&'a Name, &'a Value)>) -> fmt::Result {
    let mut map = f.debug_map();
    for (name, value) in headers {
        if hides(name.as_str()) {
            map.entry(name, &format_args!("{REDACTED}"));
        } else {
            map.entry(name, value);
        }
    }
    map.finish()
}
