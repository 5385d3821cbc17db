//! The request's head.

use std::ops::{Deref, DerefMut};

use extproc_core::Headers;
use extproc_core::headers::Name;

use super::{Fields, IntoValue, Refused};
use crate::{NotText, Pairs};

const PATH: Name = Name::from_static(":path");
const METHOD: Name = Name::from_static(":method");
const AUTHORITY: Name = Name::from_static(":authority");

/// The head of a request. Headers are read and edited by the verbs of [`Fields`].
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    fields: Fields,
    clear_route: bool,
}

impl RequestHead {
    /// `:method`; empty if the data plane hides it.
    #[must_use]
    pub fn method(&self) -> &str {
        self.pseudo(":method")
    }

    /// `:scheme`; empty if the data plane hides it.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.pseudo(":scheme")
    }

    /// `:authority`: host, and port if the client named one; empty if the data plane hides it.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.pseudo(":authority")
    }

    /// The authority without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            _ => authority,
        }
    }

    /// `:path` with its query, as on the wire; empty if the data plane hides it.
    #[must_use]
    pub fn path(&self) -> &str {
        self.pseudo(":path")
    }

    /// The path without its query.
    #[must_use]
    pub fn path_without_query(&self) -> &str {
        let path = self.path();
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    /// The names and values of the query, decoded; none when there is no query.
    ///
    /// # Errors
    /// [`NotText`] when one is not UTF-8 once it is decoded.
    pub fn query_pairs(&self) -> Result<Pairs, NotText> {
        Pairs::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// The query, without `?` and not decoded.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.path().split_once('?').map(|(_, query)| query)
    }

    /// `x-request-id`. Clients may choose it: never use it as a key for state; that is what
    /// [`Processor::Ctx`](crate::Processor::Ctx) is for.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.header("x-request-id")
    }

    /// Whether the content type is gRPC's.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.has_grpc_type()
    }

    /// Whether the method is CONNECT, of whatever protocol.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.method() == "CONNECT"
    }

    /// Whether the exchange leaves HTTP: CONNECT, or a protocol upgrade such as WebSocket.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.is_connect() || self.headers().contains("upgrade")
    }

    /// Sets path and query. If they change, the route is chosen again, unless [`keep_route`](Self::keep_route) follows.
    pub fn set_path(&mut self, path: impl IntoValue) {
        self.set_pseudo(PATH, path);
    }

    /// Sets the query, without `?`, keeping the path; an empty one removes it. The route is chosen again as with
    /// [`set_path`](Self::set_path).
    pub fn set_query(&mut self, query: &str) {
        let path = self.path_without_query();
        let path = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        self.set_path(path);
    }

    /// As [`set_query`](Self::set_query), from names and values; without any the query is removed.
    ///
    /// ```
    /// # fn f(req: &mut extproc::RequestHead) -> Result<(), extproc::Stop> {
    /// let mut query = req.query_pairs()?;
    /// query.remove("token");
    /// req.set_query_pairs(&query);
    /// # Ok(()) }
    /// ```
    pub fn set_query_pairs(&mut self, query: &Pairs) {
        self.set_query(&query.to_string());
    }

    /// Sets the method. Envoy takes it only with `allow_all_routing`, or together with
    /// [`Start::replace_body`](crate::Start::replace_body).
    pub fn set_method(&mut self, method: impl IntoValue) {
        self.set_pseudo(METHOD, method);
    }

    /// Sets the authority. Envoy takes it only with `allow_all_routing`.
    pub fn set_host(&mut self, authority: impl IntoValue) {
        self.set_pseudo(AUTHORITY, authority);
    }

    /// Has the route chosen again with the headers as they will be. Envoy does so only if a header changes too.
    pub fn clear_route(&mut self) {
        self.clear_route = true;
    }

    /// Keeps the chosen route, whatever was edited so far.
    pub fn keep_route(&mut self) {
        self.clear_route = false;
    }

    pub(crate) fn new(headers: Headers) -> Self {
        // Also without a body: a length that no body follows would break the framing.
        Self { fields: Fields::new(headers, true), clear_route: false }
    }

    pub(crate) fn take_clear_route(&mut self) -> bool {
        std::mem::take(&mut self.clear_route)
    }

    fn pseudo(&self, name: &str) -> &str {
        self.fields.headers().get_str(name).unwrap_or_default()
    }

    fn set_pseudo(&mut self, name: Name, value: impl IntoValue) {
        match value.into_value() {
            Ok(value) => {
                self.clear_route |= self.fields.headers().get(name.as_str()) != Some(&value);
                self.fields.set_checked(name, value);
            }
            Err(invalid) => self.fields.keep(Err(Refused::from(invalid))),
        }
    }
}

impl Deref for RequestHead {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl DerefMut for RequestHead {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}
