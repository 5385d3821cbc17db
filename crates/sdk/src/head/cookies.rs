//! Cookies of requests and responses (RFC 6265).

use std::fmt::{self, Write as _};
use std::time::Duration;

use extproc_core::headers::{InvalidValue, Value};

use super::{Fields, IntoValue, Refused, RequestHead, ResponseHead};

/// Cookies of a request.
impl RequestHead {
    /// The cookies, in order, from every `cookie` header. Values are as on the wire: quotes stay, nothing is decoded.
    /// Cookies that are not text are left out.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.crumbs().filter_map(|crumb| {
            let (name, value) = std::str::from_utf8(crumb).ok()?.split_once('=')?;
            Some((name.trim_end(), value.trim_start()))
        })
    }

    /// The first cookie of this name. Cookie names are case-sensitive.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// Sets a cookie for the upstream, replacing those of its name. The other cookies stay as they are, in one header.
    pub fn set_cookie(&mut self, name: &str, value: &str) {
        let crumb = format!("{name}={value}");
        if is_token(name) && is_cookie_value(value) {
            self.rewrite_cookies(name, Some(crumb.as_bytes()));
        } else {
            self.keep(Err(Refused::Cookie));
        }
    }

    /// Takes the cookies of this name from what the upstream gets; false when there was none.
    pub fn remove_cookie(&mut self, name: &str) -> bool {
        let there = self.crumbs().any(|crumb| crumb_name(crumb) == name.as_bytes());
        if there {
            self.rewrite_cookies(name, None);
        }
        there
    }

    fn crumbs(&self) -> impl Iterator<Item = &[u8]> {
        let values = self.headers().iter().filter(|(name, _)| name.as_str() == "cookie");
        values
            .flat_map(|(_, value)| value.as_bytes().split(|byte| *byte == b';'))
            .map(<[u8]>::trim_ascii)
            .filter(|crumb| !crumb.is_empty())
    }

    fn rewrite_cookies(&mut self, name: &str, new: Option<&[u8]>) {
        let crumbs: Vec<&[u8]> =
            self.crumbs().filter(|crumb| crumb_name(crumb) != name.as_bytes()).chain(new).collect();
        if crumbs.is_empty() {
            return self.remove("cookie");
        }
        let joined = crumbs.join(&b"; "[..]);
        self.set("cookie", joined);
    }
}

/// Cookies of a response.
impl ResponseHead {
    /// The cookies that the response sets: name and value of each `set-cookie` header, without attributes. Those that are
    /// not text are left out.
    pub fn set_cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.header_all("set-cookie").filter_map(|cookie| {
            let (name, value) = cookie.split(';').next()?.split_once('=')?;
            Some((name.trim(), value.trim()))
        })
    }

    /// Adds a `set-cookie` header, keeping those that are there.
    ///
    /// ```
    /// use extproc::{ResponseHead, SetCookie, Start, Stop};
    ///
    /// async fn response_headers(rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
    ///     rsp.add_cookie(SetCookie::new("session", "31d4")?.path("/").http_only().secure());
    ///     Ok(())
    /// }
    /// # let _ = response_headers;
    /// ```
    pub fn add_cookie(&mut self, cookie: SetCookie) {
        self.append("set-cookie", cookie);
    }
}

/// The value of a `set-cookie` header. Also for local replies: `reply.header("set-cookie", cookie)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCookie(String);

/// Where a browser sends a cookie (`SameSite`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Only with requests of the same site.
    Strict,
    /// Also when the user follows a link from another site.
    Lax,
    /// Everywhere; browsers want [`secure`](SetCookie::secure) with it.
    None,
}

impl SetCookie {
    /// A cookie for the session of the browser.
    ///
    /// # Errors
    /// [`Refused::Cookie`] when the name is no token, or the value holds white space, `;`, `,`, `\` or a quote that does
    /// not enclose it. Encode what may hold these.
    pub fn new(name: &str, value: &str) -> Result<Self, Refused> {
        if is_token(name) && is_cookie_value(value) {
            Ok(Self(format!("{name}={value}")))
        } else {
            Err(Refused::Cookie)
        }
    }

    /// A cookie that makes the browser forget the one of this name. Give it the path and the domain of that one.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn expired(name: &str) -> Result<Self, Refused> {
        Self::new(name, "").map(|cookie| cookie.max_age(Duration::ZERO))
    }

    /// For paths that begin with this one.
    ///
    /// A path with control characters or `;` is left out.
    #[must_use]
    pub fn path(self, path: &str) -> Self {
        self.attribute("Path", path)
    }

    /// For this domain and those below it. Left out as by [`path`](Self::path).
    #[must_use]
    pub fn domain(self, domain: &str) -> Self {
        self.attribute("Domain", domain)
    }

    /// For so long, in whole seconds.
    #[must_use]
    pub fn max_age(self, age: Duration) -> Self {
        self.attribute("Max-Age", age.as_secs())
    }

    /// Not for scripts.
    #[must_use]
    pub fn http_only(mut self) -> Self {
        self.0.push_str("; HttpOnly");
        self
    }

    /// Only over TLS.
    #[must_use]
    pub fn secure(mut self) -> Self {
        self.0.push_str("; Secure");
        self
    }

    /// Where the browser sends it.
    #[must_use]
    pub fn same_site(self, site: SameSite) -> Self {
        self.attribute("SameSite", format_args!("{site:?}"))
    }

    fn attribute(mut self, name: &str, value: impl fmt::Display) -> Self {
        let before = self.0.len();
        // Writing to a String does not fail.
        let _ = write!(self.0, "; {name}={value}");
        if self.0[before + 2..].bytes().any(|byte| byte == b';' || byte.is_ascii_control()) {
            tracing::warn!(attribute = name, "an attribute that would break a cookie is left out");
            self.0.truncate(before);
        }
        self
    }
}

impl IntoValue for SetCookie {
    fn into_value(self) -> Result<Value, InvalidValue> {
        self.0.into_value()
    }
}

impl fmt::Display for SetCookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn crumb_name(crumb: &[u8]) -> &[u8] {
    crumb.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii_end()
}

fn is_token(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// RFC 6265 section 4.1.1: octets without white space, quotes, comma, semicolon, backslash; all of it may be quoted.
fn is_cookie_value(value: &str) -> bool {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    inner.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte))
}

impl Fields {
    /// The elements of a list header such as `accept` or `vary`: every value, split at commas that are not quoted. Values
    /// that are not text are left out.
    ///
    /// [`header_all`](Self::header_all) does not split: `set-cookie` and dates have commas of their own.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.header_all(name).flat_map(elements)
    }
}

fn elements(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    let outside = move |it: char| {
        let (was_quoted, was_escaped) = (quoted, std::mem::take(&mut escaped));
        match it {
            '\\' if was_quoted && !was_escaped => escaped = true,
            '"' if !was_escaped => quoted = !quoted,
            _ => {}
        }
        it == ',' && !was_quoted
    };
    value.split(outside).map(str::trim).filter(|element| !element.is_empty())
}
