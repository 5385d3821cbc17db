//! What a proxy must take off messages and may add to them.

use std::fmt::Write;
use std::net::SocketAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode, Version};

use super::request_id;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Makes a client's request ready for the processors: connection headers off, forwarding headers on. Envoy does the
/// same before its filters run.
pub(super) fn prepare<B>(request: &mut Request<B>, peer: SocketAddr) {
    let http1 = request.version() <= Version::HTTP_11;
    let fields = request.headers_mut();
    if http1 && fields.contains_key(header::EXPECT) {
        // `100-continue` is answered here, as soon as the body is wanted.
        fields.remove(header::EXPECT);
    }
    strip_request(fields);
    if !http1 {
        join_cookies(fields);
    }
    append_peer(fields, peer);
    if !fields.contains_key(X_FORWARDED_PROTO) {
        fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
    if !fields.contains_key(X_REQUEST_ID) {
        fields.insert(X_REQUEST_ID, request_id::generate());
    }
}

/// Takes the connection headers off a request: those of the client, and once more those that a processor has set,
/// which would ask the upstream to close, to upgrade, or to ignore headers.
pub(super) fn strip_request(fields: &mut HeaderMap) {
    let trailers = fields.get(header::TE).is_some_and(|te| {
        te.as_bytes().split(|b| *b == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    strip(fields);
    if trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Takes the connection headers off a response, after the processors have seen them (as in Envoy). `connection: close`
/// of our own stays: it is for the client.
pub(super) fn strip_response(status: StatusCode, fields: &mut HeaderMap) {
    if status == StatusCode::NO_CONTENT {
        // There is no body that it could be the length of (RFC 9110, 8.6).
        fields.remove(header::CONTENT_LENGTH);
    }
    let close = fields.get(header::CONNECTION).is_some_and(|it| it == "close");
    strip(fields);
    if close {
        fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Headers that are about one connection (RFC 9110, 7.6.1), and those that `connection` names. `trailer` stays: it is
/// what lets trailers through on HTTP/1.
fn strip(fields: &mut HeaderMap) {
    if fields.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = fields
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|it| it.as_bytes().split(|b| *b == b','))
            .filter_map(|it| HeaderName::from_bytes(it.trim_ascii()).ok())
            .collect();
        for name in named {
            fields.remove(name);
        }
        fields.remove(header::CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE] {
        fields.remove(name);
    }
}

/// HTTP/2 clients may send a cookie in pieces; servers of HTTP/1 expect one header (RFC 9113, 8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let pieces: Vec<_> = fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if pieces.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        fields.insert(header::COOKIE, whole);
    }
}

fn append_peer(fields: &mut HeaderMap, peer: SocketAddr) {
    let mut list = String::new();
    for known in fields.get_all(X_FORWARDED_FOR) {
        // What is no text was not written by a proxy, and is dropped.
        if let Ok(known) = known.to_str() {
            list.push_str(known);
            list.push(',');
        }
    }
    let written = write!(list, "{}", peer.ip());
    debug_assert!(written.is_ok(), "writing to a string does not fail");
    if let Ok(value) = HeaderValue::try_from(list) {
        fields.insert(X_FORWARDED_FOR, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepared(fields: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut request = Request::new(());
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        prepare(&mut request, ([10, 0, 0, 1], 5).into());
        let mut lines: Vec<_> = request
            .headers()
            .iter()
            .filter(|(name, _)| **name != X_REQUEST_ID)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn connection_headers_go_and_forwarding_headers_come() {
        let added = ["x-forwarded-for: 10.0.0.1", "x-forwarded-proto: http"];
        assert_eq!(prepared(&[]), added);
        let hop_by_hop = [
            ("connection", "close, X-Secret"),
            ("connection", "x-more"),
            ("x-secret", "1"),
            ("x-more", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "close"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("expect", "100-continue"),
        ];
        assert_eq!(prepared(&hop_by_hop), added);
        assert_eq!(prepared(&[("te", "gzip, Trailers")])[0], "te: trailers");
        assert_eq!(
            prepared(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "2.2.2.2"), ("x-forwarded-proto", "https")]),
            ["x-forwarded-for: 1.1.1.1,2.2.2.2,10.0.0.1", "x-forwarded-proto: https"]
        );
    }

    #[test]
    fn cookies_in_pieces_are_joined() {
        let pieces = ["a=1", "b=2", "c=3"];
        for (version, expected) in [(Version::HTTP_2, &["a=1; b=2; c=3"][..]), (Version::HTTP_11, &pieces)] {
            let mut request = Request::new(());
            *request.version_mut() = version;
            for piece in pieces {
                request.headers_mut().append(header::COOKIE, HeaderValue::from_static(piece));
            }
            prepare(&mut request, ([10, 0, 0, 1], 5).into());
            let got: Vec<_> = request.headers().get_all(header::COOKIE).iter().collect();
            assert_eq!(got, expected, "{version:?}");
        }
    }

    #[test]
    fn request_ids_are_kept_or_made() {
        let id = |request: &Request<()>| request.headers()[X_REQUEST_ID].to_str().unwrap().to_owned();
        let mut request = Request::new(());
        request.headers_mut().insert(X_REQUEST_ID, HeaderValue::from_static("mine"));
        prepare(&mut request, ([10, 0, 0, 1], 5).into());
        assert_eq!(id(&request), "mine");
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let mut request = Request::new(());
            prepare(&mut request, ([10, 0, 0, 1], 5).into());
            let id = id(&request);
            assert_eq!((id.len(), id.as_bytes()[14]), (36, b'4'), "{id} is a random UUID");
            assert!(seen.insert(id), "no id comes twice");
        }
    }
}
