//! The two messages of the exchange, as the data plane would see them.

use std::hash::{BuildHasher, RandomState};

use anyhow::Context;
use bytes::Bytes;
use extproc::testing::Plan;
use extproc_core::Headers;
use extproc_core::headers::{Name, Value};

/// What Envoy would see of a request: pseudo headers, the id and the scheme that it adds, the given headers.
pub(super) fn request(
    method: &str,
    url: &str,
    headers: &[String],
    body: Bytes,
    trailers: &[String],
) -> anyhow::Result<Plan> {
    let uri: http::Uri = url.parse().with_context(|| format!("{url:?} is not a path or a URL"))?;
    let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    http::Method::from_bytes(method.as_bytes()).with_context(|| format!("{method:?} is not a method"))?;
    let given = fields(headers)?;
    let host = given.get("host").cloned();
    let authority = uri.authority().map_or("localhost", http::uri::Authority::as_str).to_owned();
    let mut all = Headers::new();
    all.append(Name::from_static(":method"), Value::parse(method.to_owned())?);
    all.append(Name::from_static(":path"), Value::parse(path.to_owned())?);
    all.append(Name::from_static(":scheme"), Value::parse(uri.scheme_str().unwrap_or("http").to_owned())?);
    all.append(Name::from_static(":authority"), host.map_or_else(|| Value::parse(authority), Ok)?);
    for (name, value) in given.into_iter().filter(|(name, _)| name.as_str() != "host") {
        all.append(name, value);
    }
    if !all.contains("x-forwarded-proto") {
        all.append(Name::from_static("x-forwarded-proto"), Value::from_static("http"));
    }
    if !all.contains("x-request-id") {
        all.append(Name::from_static("x-request-id"), Value::parse(request_id())?);
    }
    let trailers = fields(trailers)?;
    Ok(plan(all, body, trailers))
}

/// A response of the upstream.
pub(super) fn response(status: u16, headers: &[String], body: Bytes, trailers: &[String]) -> anyhow::Result<Plan> {
    anyhow::ensure!((200..600).contains(&status), "{status} is not the status of a final response; give 200 to 599");
    let mut all = Headers::new();
    all.append(Name::from_static(":status"), Value::from(u64::from(status)));
    for (name, value) in fields(headers)? {
        all.append(name, value);
    }
    if !body.is_empty() && !all.contains("content-type") {
        all.append(Name::from_static("content-type"), Value::from_static("text/plain"));
    }
    Ok(plan(all, body, fields(trailers)?))
}

/// With trailers a message is chunked, and has no length.
fn plan(headers: Headers, body: Bytes, trailers: Headers) -> Plan {
    Plan::of(headers).body(body).trailers((!trailers.is_empty()).then_some(trailers))
}

fn fields(lines: &[String]) -> anyhow::Result<Headers> {
    let parse = |line: &String| {
        let (name, value) =
            line.split_once(':').with_context(|| format!("{line:?} is not a header; write 'name: value'"))?;
        anyhow::ensure!(!name.is_empty(), "{line:?}: pseudo headers come from the method and the URL");
        let name = Name::parse(name.trim().to_owned()).with_context(|| format!("{line:?}"))?;
        let value = Value::parse(value.trim().to_owned()).with_context(|| format!("{line:?}"))?;
        Ok((name, value))
    };
    lines.iter().map(parse).collect()
}

/// A random UUID: the hasher's keys are random.
fn request_id() -> String {
    let random = |salt: u8| RandomState::new().hash_one(salt);
    let (high, low) = (random(0), random(1));
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 48 & 0x3fff | 0x8000,
        low & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(url: &str, headers: &[&str], body: &'static str) -> anyhow::Result<Plan> {
        let headers: Vec<String> = headers.iter().map(|line| (*line).to_owned()).collect();
        request("PUT", url, &headers, Bytes::from_static(body.as_bytes()), &[])
    }

    #[test]
    fn requests() {
        let message = message("http://up.example/a?b", &["X-A: 1", "host: h:8"], "abc").expect("valid");
        let head = message.headers();
        for (name, value) in [
            (":method", Some("PUT")),
            (":path", Some("/a?b")),
            (":scheme", Some("http")),
            (":authority", Some("h:8")),
            ("host", None),
            ("x-a", Some("1")),
            ("content-length", Some("3")),
        ] {
            assert_eq!(head.get_str(name), value, "{name}");
        }
        assert_eq!(head.get_str("x-request-id").map(str::len), Some(36));
    }

    #[test]
    fn bad_input_is_named() {
        for (url, header, part) in [
            ("/", "novalue", "name: value"),
            ("/", "a b: c", "a b: c"),
            ("/", ":path: /", "pseudo"),
            ("a b", "a: b", "path"),
        ] {
            let error = message(url, &[header], "").expect_err(header);
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
}
