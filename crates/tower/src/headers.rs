//! Between `http`'s types and the core's [`Headers`].
//!
//! To the core: pseudo headers first, in Envoy's order for HTTP/1 (`:authority :path :method :scheme`), `host` folded
//! into `:authority`. All names and values of one message share one allocation.
//!
//! From the core: whatever a processor did to the pseudo headers ends up in method, target and status. What cannot be
//! expressed there is an [`InvalidHead`], never a panic.

use bytes::{BufMut, Bytes, BytesMut};
use extproc_core::Headers;
use extproc_core::headers::{Name, Value};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode, Uri, request};

/// Headers that no HTTP message can carry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHead {
    /// A pseudo header has a value that HTTP does not allow.
    #[error("{name} is `{value}`, which HTTP does not allow")]
    Pseudo {
        /// The pseudo header.
        name: &'static str,
        /// Its value, non-ASCII bytes escaped.
        value: String,
    },
    /// A pseudo header is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A header has a value that HTTP does not allow.
    #[error("the value of header {0} has a control character")]
    Value(String),
    /// There are more headers than a header map can hold.
    #[error("too many headers")]
    TooMany,
}

const AUTHORITY: Name = Name::from_static(":authority");
const PATH: Name = Name::from_static(":path");
const METHOD: Name = Name::from_static(":method");
const SCHEME: Name = Name::from_static(":scheme");
const STATUS: Name = Name::from_static(":status");

/// The headers of a request. Without a scheme in its target it counts as `http`.
#[must_use]
pub fn from_request(head: &request::Parts) -> Headers {
    let authority = match head.uri.authority() {
        // An absolute target beats the Host header (RFC 9112, 3.2.2).
        Some(authority) => Some(authority.as_str().as_bytes()),
        None => head.headers.get(header::HOST).map(HeaderValue::as_bytes),
    };
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let scheme = head.uri.scheme_str().unwrap_or("http");
    let pseudo = authority.map_or(0, <[u8]>::len) + path.len() + head.method.as_str().len() + scheme.len();
    let mut block = Block::new(&head.headers, pseudo, 4);
    if let Some(authority) = authority {
        block.pseudo(AUTHORITY, authority);
    }
    block.pseudo(PATH, path.as_bytes());
    block.pseudo(METHOD, head.method.as_str().as_bytes());
    block.pseudo(SCHEME, scheme.as_bytes());
    block.fields(&head.headers, true)
}

/// The headers of a response.
#[must_use]
pub fn from_response(status: StatusCode, fields: &HeaderMap) -> Headers {
    let mut block = Block::new(fields, status.as_str().len(), 1);
    block.pseudo(STATUS, status.as_str().as_bytes());
    block.fields(fields, false)
}

/// Trailers.
#[must_use]
pub fn from_trailers(fields: &HeaderMap) -> Headers {
    Block::new(fields, 0, 0).fields(fields, false)
}

/// Puts headers into a request: method, target, fields and `host`. The target is absolute when it can be, so that a
/// client can tell where to connect. Version and extensions stay.
///
/// # Errors
/// [`InvalidHead`]; the request is then half changed and of no use.
pub fn into_request(headers: Headers, head: &mut request::Parts) -> Result<(), InvalidHead> {
    let (mut authority, mut path, mut method, mut scheme) = (None, None, None, None);
    let mut fields = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        match name.as_str() {
            // A processor that may touch routing headers may also call it by its HTTP/1 name.
            ":authority" | "host" => authority = Some(value),
            ":path" => path = Some(value),
            ":method" => method = Some(value),
            ":scheme" => scheme = Some(value),
            _ => append(&mut fields, name, value)?,
        }
    }
    let method = method.ok_or(InvalidHead::Missing(":method"))?;
    head.method = Method::from_bytes(method.as_bytes()).map_err(|_| pseudo_error(":method", &method))?;
    let path = path.ok_or(InvalidHead::Missing(":path"))?;
    let path = PathAndQuery::from_maybe_shared(path.clone().into_bytes()).map_err(|_| pseudo_error(":path", &path))?;
    let mut target = http::uri::Parts::default();
    if let Some(authority) = authority {
        // A Host header need not be a valid authority; it is passed on all the same.
        target.authority = Authority::from_maybe_shared(authority.clone().into_bytes()).ok();
        append(&mut fields, const { Name::from_static("host") }, authority)?;
    }
    if let Some(scheme) = scheme {
        let parsed = Scheme::try_from(scheme.as_bytes()).map_err(|_| pseudo_error(":scheme", &scheme))?;
        target.scheme = target.authority.is_some().then_some(parsed);
    } else if target.authority.is_some() {
        target.scheme = Some(Scheme::HTTP);
    }
    target.path_and_query = Some(path);
    head.uri = Uri::from_parts(target).map_err(|_| InvalidHead::Missing(":path"))?;
    head.headers = fields;
    Ok(())
}

/// Takes headers apart into the status and the fields of a response.
///
/// # Errors
/// [`InvalidHead`] when the status is none, or informational, or a value cannot be sent.
pub fn into_response(headers: Headers) -> Result<(StatusCode, HeaderMap), InvalidHead> {
    let mut status = None;
    let mut fields = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if name == STATUS {
            let code =
                StatusCode::from_bytes(value.as_bytes()).ok().filter(|it| it.as_u16() >= 200 || it.as_u16() == 101);
            status = Some(code.ok_or_else(|| pseudo_error(":status", &value))?);
        } else if !name.is_pseudo() {
            append(&mut fields, name, value)?;
        }
    }
    Ok((status.ok_or(InvalidHead::Missing(":status"))?, fields))
}

/// Puts trailers into a map. Pseudo headers have no place there and are left out.
///
/// # Errors
/// [`InvalidHead::Value`] when a value cannot be sent.
pub fn into_trailers(headers: Headers) -> Result<HeaderMap, InvalidHead> {
    let mut fields = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if !name.is_pseudo() {
            append(&mut fields, name, value)?;
        }
    }
    Ok(fields)
}

fn append(fields: &mut HeaderMap, name: Name, value: Value) -> Result<(), InvalidHead> {
    if name.is_pseudo() {
        return Ok(());
    }
    // Every `Name` without a colon is a token, in lower case.
    let Ok(key) = HeaderName::from_bytes(name.as_str().as_bytes()) else { return Ok(()) };
    let value =
        HeaderValue::from_maybe_shared(value.into_bytes()).map_err(|_| InvalidHead::Value(name.as_str().to_owned()))?;
    fields.try_append(key, value).map_err(|_| InvalidHead::TooMany)?;
    Ok(())
}

fn pseudo_error(name: &'static str, value: &Value) -> InvalidHead {
    InvalidHead::Pseudo { name, value: value.as_bytes().escape_ascii().to_string() }
}

/// Headers whose bytes lie in one allocation.
struct Block {
    bytes: BytesMut,
    headers: Headers,
}

impl Block {
    fn new(fields: &HeaderMap, pseudo_bytes: usize, pseudo_entries: usize) -> Self {
        let bytes: usize = fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        Self {
            bytes: BytesMut::with_capacity(bytes + pseudo_bytes),
            headers: Headers::with_capacity(fields.len() + pseudo_entries),
        }
    }

    fn pseudo(&mut self, name: Name, value: &[u8]) {
        let value = self.put(value);
        self.append::<std::convert::Infallible>(Ok(name), value);
    }

    fn fields(mut self, fields: &HeaderMap, without_host: bool) -> Headers {
        for (name, value) in fields {
            if without_host && name == header::HOST {
                continue;
            }
            let key = self.put(name.as_str().as_bytes());
            let value = self.put(value.as_bytes());
            self.append(Name::parse(key), value);
        }
        self.headers
    }

    fn put(&mut self, bytes: &[u8]) -> Bytes {
        self.bytes.put_slice(bytes);
        self.bytes.split().freeze()
    }

    /// What `http` accepts as a name or value is a subset of what the core accepts, so nothing is lost here.
    fn append<E>(&mut self, name: Result<Name, E>, value: Bytes) {
        let (name, value) = (name.ok(), Value::parse(value).ok());
        debug_assert!(name.is_some() && value.is_some(), "http accepts more than the core");
        if let (Some(name), Some(value)) = (name, value) {
            self.headers.append(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(request: request::Builder) -> request::Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn text(headers: &Headers) -> String {
        let line = |(name, value): &(Name, Value)| format!("{name}={}", value.as_bytes().escape_ascii());
        headers.iter().map(line).collect::<Vec<_>>().join(" ")
    }

    fn headers(entries: &[(&'static str, &'static str)]) -> Headers {
        entries.iter().map(|(n, v)| (Name::from_static(n), Value::from_static(v))).collect()
    }

    #[test]
    fn requests_to_the_core() {
        let origin = head(
            http::Request::post("/a?b=c")
                .header("Host", "ex.com")
                .header("X-D", "1")
                .header("x-d", "2")
                .header("y", "\u{e4}"),
        );
        assert_eq!(
            text(&from_request(&origin)),
            ":authority=ex.com :path=/a?b=c :method=POST :scheme=http x-d=1 x-d=2 y=\\xc3\\xa4"
        );
        let absolute = head(http::Request::get("https://a.test:8/x").header("host", "b.test"));
        assert_eq!(text(&from_request(&absolute)), ":authority=a.test:8 :path=/x :method=GET :scheme=https");
        let bare = head(http::Request::options("*"));
        assert_eq!(text(&from_request(&bare)), ":path=* :method=OPTIONS :scheme=http");
    }

    #[test]
    fn requests_come_back_unchanged() {
        for request in [
            http::Request::get("/").header("host", "ex.com").header("a", "1").header("a", "2"),
            http::Request::options("*").header("host", "ex.com"),
            http::Request::post("/x?y#z").header("host", "not an authority"),
            http::Request::get("/no-host"),
        ] {
            let original = head(request);
            let mut out = head(http::Request::builder());
            into_request(from_request(&original), &mut out).unwrap();
            assert_eq!(out.method, original.method);
            assert_eq!(out.uri.path_and_query(), original.uri.path_and_query());
            assert_eq!(out.headers, original.headers);
        }
    }

    #[test]
    fn pseudo_headers_change_the_request() {
        let mut out = head(http::Request::builder());
        let changed = headers(&[
            (":authority", "new.test"),
            (":path", "/new"),
            (":method", "PUT"),
            (":scheme", "https"),
            ("x-a", "1"),
        ]);
        into_request(changed, &mut out).unwrap();
        assert_eq!((out.method.as_str(), out.uri.to_string().as_str()), ("PUT", "https://new.test/new"));
        assert_eq!(out.headers["host"], "new.test");
        assert_eq!(out.headers.len(), 2);
    }

    #[test]
    fn what_cannot_be_sent_is_an_error() {
        let base = [(":authority", "a"), (":path", "/"), (":method", "GET"), (":scheme", "http")];
        for (name, value, error) in [
            (":path", "/a b", ":path is `/a b`, which HTTP does not allow"),
            (":path", "", ":path is ``, which HTTP does not allow"),
            (":method", "G T", ":method is `G T`, which HTTP does not allow"),
            (":method", "", ":method is ``, which HTTP does not allow"),
            (":scheme", "a b", ":scheme is `a b`, which HTTP does not allow"),
            ("x-a", "a\u{1}b", "the value of header x-a has a control character"),
        ] {
            let mut map = headers(&base);
            map.set(Name::from_static(name), Value::from_static(value));
            let result = into_request(map, &mut head(http::Request::builder()));
            assert_eq!(result.unwrap_err().to_string(), error, "{name} {value}");
        }
        let mut out = head(http::Request::builder());
        assert_eq!(into_request(headers(&base[..1]), &mut out), Err(InvalidHead::Missing(":method")));
    }

    #[test]
    fn responses() {
        let (status, fields) = into_response(headers(&[(":status", "404"), ("a", "1"), ("a", "2")])).unwrap();
        assert_eq!((status.as_u16(), fields.len()), (404, 2));
        assert_eq!(text(&from_response(status, &fields)), ":status=404 a=1 a=2");
        for status in ["99", "100", "abc", ""] {
            assert!(into_response(headers(&[(":status", status)])).is_err(), "{status}");
        }
        assert_eq!(into_response(Headers::new()), Err(InvalidHead::Missing(":status")));
    }
}
