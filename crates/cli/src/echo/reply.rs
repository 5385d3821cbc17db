//! The answers.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, header, request};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::json;

/// The request as JSON. `names`: lower-case header names to names as received.
pub(super) fn view(
    head: &request::Parts,
    names: &HashMap<String, String>,
    body: &[u8],
    message: &str,
) -> Response<Bytes> {
    let view = View {
        method: head.method.as_str().to_ascii_lowercase(),
        path: path(head),
        headers: Fields(received(head, names)),
        body: &String::from_utf8_lossy(body),
        message,
    };
    of_json(&head.method, &view)
}

/// `{"headers": {Name: [values]}}`, names as Go canonicalises them, sorted.
pub(super) fn headers(head: &request::Parts) -> Response<Bytes> {
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in received(head, &HashMap::new()) {
        fields.entry(canonical(&name)).or_default().push(value);
    }
    of_json(&head.method, &BTreeMap::from([("headers", fields)]))
}

/// 308 to the `location` of the query.
pub(super) fn redirect(head: &request::Parts) -> Response<Bytes> {
    let location = head.uri.query().and_then(|query| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix("location="))?;
        header::HeaderValue::from_bytes(&percent_decoded(value)).ok()
    });
    let Some(location) = location else {
        return refusal(StatusCode::BAD_REQUEST, "write /redirect?location=URL; the URL may be percent-encoded\n");
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    response
}

/// An error with a text.
pub(super) fn refusal(status: StatusCode, text: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(text.as_bytes()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}

fn of_json(method: &Method, value: &impl Serialize) -> Response<Bytes> {
    let Ok(text) = json::dumps(value) else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR, "the request cannot be shown as JSON\n");
    };
    let length = text.len();
    // HEAD: the headers of GET, without its body.
    let body = if method == Method::HEAD { Bytes::new() } else { text.into() };
    let mut response = Response::new(body);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    fields.insert(header::CONTENT_LENGTH, length.into());
    response
}

struct View<'a> {
    method: String,
    path: &'a str,
    headers: Fields,
    body: &'a str,
    message: &'a str,
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(5))?;
        map.serialize_entry("method", &self.method)?;
        map.serialize_entry("path", self.path)?;
        map.serialize_entry("headers", &self.headers)?;
        map.serialize_entry("body", self.body)?;
        map.serialize_entry("message", self.message)?;
        map.end()
    }
}

/// An object in the given order; of equal names the last value counts, at the place of the first.
struct Fields(Vec<(String, String)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut last: Vec<(&str, &str)> = Vec::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            match last.iter_mut().find(|(seen, _)| seen == name) {
                Some(field) => field.1 = value,
                None => last.push((name, value)),
            }
        }
        serializer.collect_map(last)
    }
}

/// The headers with the names as received. HTTP/2 has no `host`: it comes from `:authority`.
fn received(head: &request::Parts, names: &HashMap<String, String>) -> Vec<(String, String)> {
    let authority = head.uri.authority().filter(|_| !head.headers.contains_key(header::HOST));
    let host = authority.map(|authority| ("host".to_owned(), authority.to_string()));
    let named = |name: &str| names.get(name).map_or_else(|| name.to_owned(), Clone::clone);
    host.into_iter().chain(head.headers.iter().map(|(name, value)| (named(name.as_str()), latin1(value)))).collect()
}

fn path(head: &request::Parts) -> &str {
    head.uri.path_and_query().map_or("*", http::uri::PathAndQuery::as_str)
}

fn latin1(value: &header::HeaderValue) -> String {
    value.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

/// `x-request-id` to `X-Request-Id`.
fn canonical(name: &str) -> String {
    let mut upper = true;
    let change = |c: char| {
        let changed = if upper { c.to_ascii_uppercase() } else { c };
        upper = c == '-';
        changed
    };
    name.chars().map(change).collect()
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    out
}

/// The body's type, as received.
pub(super) fn content_type(headers: &HeaderMap) -> header::HeaderValue {
    let unknown = || header::HeaderValue::from_static("application/octet-stream");
    headers.get(header::CONTENT_TYPE).cloned().unwrap_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &str, uri: &str, fields: &[(&str, &str)]) -> request::Parts {
        let mut builder = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    fn text(response: &Response<Bytes>) -> &str {
        std::str::from_utf8(response.body()).expect("UTF-8")
    }

    #[test]
    fn the_view_is_the_python_upstreams() {
        let head = head("PUT", "/a?b=1", &[("host", "h"), ("x-a", "1"), ("x-b", "\u{e9}"), ("x-a", "2")]);
        let names = HashMap::from([("x-a".to_owned(), "X-A".to_owned())]);
        let response = view(&head, &names, "\u{e9}\"".as_bytes(), "Hello");
        assert_eq!(
            text(&response),
            r#"{"method": "put", "path": "/a?b=1", "headers": {"host": "h", "X-A": "2", "x-b": "\u00c3\u00a9"}, "body": "\u00e9\"", "message": "Hello"}"#
        );
        assert_eq!(response.headers()["content-length"], text(&response).len().to_string());
        assert_eq!(response.headers()["content-type"], "application/json");
    }

    #[test]
    fn head_has_the_headers_of_get_and_no_body() {
        let get = view(&head("GET", "/", &[]), &HashMap::new(), b"", "Hello");
        let head = view(&head("HEAD", "/", &[]), &HashMap::new(), b"", "Hello");
        // "head" is one letter longer than "get".
        let length =
            |response: &Response<Bytes>| response.headers()["content-length"].to_str().ok()?.parse::<u64>().ok();
        assert_eq!(length(&head), length(&get).map(|length| length + 1));
        assert!(head.body().is_empty());
    }

    #[test]
    fn headers_are_canonical_lists() {
        let head = head("GET", "http://up/headers", &[("x-b", "1"), ("accept", "*/*"), ("x-b", "2")]);
        assert_eq!(text(&headers(&head)), r#"{"headers": {"Accept": ["*/*"], "Host": ["up"], "X-B": ["1", "2"]}}"#);
    }

    #[test]
    fn redirects() {
        for (uri, status, location) in [
            ("/redirect?location=/a", 308, Some("/a")),
            ("/redirected?x=1&location=http%3A%2F%2Fa%2Fb+c", 308, Some("http://a/b c")),
            ("/redirect?location=%zz%4", 308, Some("%zz%4")),
            ("/redirect?location=", 308, Some("")),
            ("/redirect?location=%0d%0aset-cookie:a", 400, None),
            ("/redirect", 400, None),
            ("/redirect?x=1", 400, None),
        ] {
            let response = redirect(&head("GET", uri, &[]));
            assert_eq!(response.status().as_u16(), status, "{uri}");
            let given = response.headers().get("location").map(|value| value.to_str().expect("text"));
            assert_eq!(given, location, "{uri}");
        }
    }
}
