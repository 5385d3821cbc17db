//! Who the client is and what it takes.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Refused, RequestHead};

/// What `authorization: Basic` carries.
#[derive(Clone, PartialEq, Eq)]
pub struct Basic {
    /// Before the first colon.
    pub user: String,
    /// Behind it.
    pub password: String,
}

/// The password does not get into logs.
impl std::fmt::Debug for Basic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Basic").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Who the client is and what it takes.
impl RequestHead {
    /// The client's address, as the proxies tell it that are trusted.
    ///
    /// The data plane puts the address of whoever connected to it at the end of `x-forwarded-for` (Envoy:
    /// `use_remote_address`), and each proxy in front of it did the same. Everything further left is the client's word.
    /// `trusted_hops` is how many proxies stand between clients and the data plane: 0 where clients connect to it (the
    /// last address counts), 1 behind one load balancer (the last but one), and so on, as Envoy's
    /// `xff_num_trusted_hops`.
    ///
    /// Where there is no such header and `trusted_hops` is 0 it is attribute `source.address`. `None` when there are
    /// fewer addresses than trusted hops, or the one that counts is no address.
    #[must_use]
    pub fn client_ip(&self, trusted_hops: usize) -> Option<IpAddr> {
        let entries: Vec<&str> = self.header_all("x-forwarded-for").flat_map(|value| value.split(',')).collect();
        if entries.is_empty() && trusted_hops == 0 && !self.headers().contains("x-forwarded-for") {
            return self.facts().source_address().map(|address| address.ip());
        }
        let index = entries.len().checked_sub(trusted_hops + 1)?;
        address(entries[index].trim())
    }

    /// The token of `authorization: Bearer` (RFC 6750). `None` when the header is not there, of another scheme, or there
    /// more than once.
    ///
    /// ```
    /// use extproc::{LocalReply, RequestHead, Start, Stop};
    ///
    /// async fn request_headers(req: &mut Start<RequestHead>) -> Result<(), Stop> {
    ///     let deny = || LocalReply::unauthorized().header("www-authenticate", "Bearer");
    ///     let token = req.bearer().ok_or_else(deny)?;
    ///     # let _ = token;
    ///     Ok(())
    /// }
    /// # let _ = request_headers;
    /// ```
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        self.authorization("bearer").filter(|token| !token.is_empty() && !token.contains(' '))
    }

    /// User and password of `authorization: Basic` (RFC 7617), as UTF-8. `None` as with [`bearer`](Self::bearer), or when
    /// it cannot be decoded.
    #[must_use]
    pub fn basic(&self) -> Option<Basic> {
        let decoded = BASE64_STANDARD.decode(self.authorization("basic")?).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Basic { user: user.to_owned(), password: password.to_owned() })
    }

    /// Gives the upstream a token, in place of the client's `authorization`.
    pub fn set_bearer(&mut self, token: &str) {
        self.set("authorization", format!("Bearer {token}"));
    }

    /// Gives the upstream user and password, in place of the client's `authorization`. A user cannot have a colon.
    pub fn set_basic(&mut self, user: &str, password: &str) {
        if user.contains(':') {
            return self.keep(Err(Refused::BasicUser));
        }
        let coded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        self.set("authorization", format!("Basic {coded}"));
    }

    /// Whether the client takes this content coding, by `accept-encoding` (RFC 9110 section 12.5.3): it is named or `*`
    /// is, and its weight is not 0. Without the header it is only `identity` that is known to be taken.
    #[must_use]
    pub fn accepts_encoding(&self, coding: &str) -> bool {
        let mut any = None;
        for element in self.list("accept-encoding") {
            let (name, parameters) = element.split_once(';').unwrap_or((element, ""));
            let (name, taken) = (name.trim(), !is_zero(parameters));
            if name.eq_ignore_ascii_case(coding) {
                return taken;
            }
            if name == "*" {
                any = Some(taken);
            }
        }
        any.unwrap_or_else(|| coding.eq_ignore_ascii_case("identity"))
    }

    fn authorization(&self, scheme: &str) -> Option<&str> {
        let mut values = self.headers().iter().filter(|(name, _)| name.as_str() == "authorization");
        let (_, value) = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let (found, rest) = value.to_str()?.split_once(' ')?;
        found.eq_ignore_ascii_case(scheme).then(|| rest.trim())
    }
}

/// A weight of 0: `q=0`, `q=0.000`.
fn is_zero(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        name.trim().eq_ignore_ascii_case("q") && value.trim().parse().is_ok_and(|weight: f32| weight == 0.0)
    })
}

/// An address, also with a port, in brackets or quoted.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    text.parse()
        .ok()
        .or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}
