//! For whom a request is meant.

use extproc_tower::Refusal;
use http::uri::{Authority, Scheme};
use http::{Method, Request, Version, header};

/// `:authority` or the authority of an absolute target, or else the Host header; empty if there is none.
pub(super) fn host<B>(request: &Request<B>) -> &str {
    let authority = request.uri().authority().map(Authority::as_str);
    let field = || request.headers().get(header::HOST).and_then(|it| it.to_str().ok());
    authority.or_else(field).unwrap_or_default()
}

/// Refuses requests that name no host, two, or one that is none (RFC 9112, 3.2). Gateway and upstream could take them
/// for different hosts, and then the rules of the one would be applied to a request to the other.
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Refusal> {
    let refuse = |details: &str| Err(Refusal::new(400, "", details));
    if !has_target(request) {
        return refuse("invalid_request_target");
    }
    let mut fields = request.headers().get_all(header::HOST).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return refuse("duplicate_host_header");
    }
    match first {
        Some(host) if !host.is_empty() => match Authority::try_from(host.as_bytes()) {
            Ok(authority) if !authority.as_str().contains('@') => Ok(()),
            Ok(_) | Err(_) => refuse("invalid_host_header"),
        },
        // HTTP/1.0 does not know it; HTTP/2 has the authority in its place.
        None if request.version() >= Version::HTTP_11 && request.uri().authority().is_none() => {
            refuse("missing_host_header")
        }
        Some(_) | None => Ok(()),
    }
}

/// Whether the target has a form that the method allows (RFC 9112, 3.2). `GET foo` is parsed as an authority without a
/// path: it would go on as a request for `/` of the host `foo`.
fn has_target<B>(request: &Request<B>) -> bool {
    let (uri, method) = (request.uri(), request.method());
    if uri.authority().is_some_and(|it| it.as_str().contains('@')) {
        return false;
    }
    if method == Method::CONNECT {
        return true;
    }
    let scheme = uri.scheme().is_some_and(|it| *it == Scheme::HTTP || *it == Scheme::HTTPS);
    match uri.authority() {
        Some(_) => scheme,
        None => uri.path().starts_with('/') || (method == Method::OPTIONS && uri.path() == "*"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let (h10, h11, h2) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        let table: [(Version, &str, &[&str], &str); 15] = [
            (h11, "/", &["a.test"], "a.test"),
            (h11, "/", &["a.test:80"], "a.test:80"),
            (h11, "/", &["[::1]:80"], "[::1]:80"),
            (h11, "/", &[""], ""),
            (h11, "http://a.test/", &["b.test"], "a.test"),
            (h11, "/", &[], "missing_host_header"),
            (h11, "/", &["a.test", "b.test"], "duplicate_host_header"),
            (h11, "/", &["a.test", "a.test"], "duplicate_host_header"),
            (h11, "http://a.test/", &["a.test", "b.test"], "duplicate_host_header"),
            (h11, "/", &["a b"], "invalid_host_header"),
            (h11, "/", &["a.test/x"], "invalid_host_header"),
            (h11, "/", &["me@a.test"], "invalid_host_header"),
            (h10, "/", &[], ""),
            (h2, "http://a.test/", &[], "a.test"),
            (h2, "/", &[], "missing_host_header"),
        ];
        for (version, target, fields, expected) in table {
            let mut request = Request::builder().version(version).uri(target);
            for field in fields {
                request = request.header("host", *field);
            }
            let request = request.body(()).unwrap();
            match check(&request) {
                Ok(()) => assert_eq!(host(&request), expected, "{target} {fields:?}"),
                Err(refusal) => assert!(format!("{refusal:?}").contains(expected), "{target} {fields:?}: {refusal:?}"),
            }
            assert_eq!(check(&request).is_err(), expected.ends_with("_header"), "{target} {fields:?}");
        }
    }

    #[test]
    fn targets() {
        let table = [
            ("GET", "/", true),
            ("GET", "//a/b", true),
            ("GET", "http://a.test/", true),
            ("GET", "https://a.test", true),
            ("OPTIONS", "*", true),
            ("CONNECT", "a.test:80", true),
            ("GET", "*", false),
            ("GET", "foo", false),
            ("GET", "a.test:80", false),
            ("GET", "ftp://a.test/", false),
            ("GET", "http://me@a.test/", false),
            ("CONNECT", "me@a.test:80", false),
        ];
        for (method, target, expected) in table {
            let request = Request::builder().method(method).uri(target).header("host", "a.test").body(()).unwrap();
            assert_eq!(check(&request).is_ok(), expected, "{method} {target}");
        }
    }
}
