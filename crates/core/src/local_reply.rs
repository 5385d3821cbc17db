//! Replies that the data plane gives in place of the upstream.

use bytes::Bytes;

use crate::Headers;
use crate::headers::{Name, Value};

/// A complete response that does not come from the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// `:status` included, and if there is a body its type and length. That an empty reply has no body says HTTP/2 with
    /// END_STREAM, and HTTP/1 with a `content-length: 0` that its codec writes.
    pub headers: Headers,
    /// The body; empty for a reply to HEAD.
    pub body: Bytes,
    /// Why, for the access log (Envoy RESPONSE_CODE_DETAILS): no white space.
    pub details: String,
}

/// What of the request decides the form of a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestKind {
    /// The method is HEAD: headers as for GET, no body.
    pub head: bool,
    /// The content type is `application/grpc`: status 200, `grpc-status` and `grpc-message` headers, no body.
    pub grpc: bool,
}

impl LocalReply {
    /// A reply with a status and a text body; the content type is left out when the body is empty.
    ///
    /// To a gRPC request it is a trailers-only response: HTTP 200, the status mapped to `grpc-status`, the body as
    /// `grpc-message`. White space in `details` becomes `_`.
    #[must_use]
    pub fn new(request: RequestKind, status: u16, body: Bytes, details: &str) -> Self {
        Self::with_headers(request, status, None, Headers::new(), body, details)
    }

    /// The same with headers of its own. `:status` and `content-length` among them are replaced by the true ones; a
    /// `content-type` stays unless the body is empty.
    pub(crate) fn with_headers(
        request: RequestKind,
        status: u16,
        grpc_status: Option<u32>,
        mut headers: Headers,
        body: Bytes,
        details: &str,
    ) -> Self {
        let details = details.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
        headers.remove(":status");
        headers.remove("content-length");
        let mut all = Headers::with_capacity(headers.len() + 4);
        if request.grpc {
            headers.remove("content-type");
            all.append(STATUS, Value::from(200));
            all.append(CONTENT_TYPE, Value::from_static("application/grpc"));
            if !headers.contains("grpc-status") {
                let code = grpc_status.unwrap_or_else(|| grpc_status_of(status));
                all.append(Name::from_static("grpc-status"), Value::from(u64::from(code)));
            }
            if !body.is_empty() && !request.head {
                headers.remove("grpc-message");
                all.append(Name::from_static("grpc-message"), percent_encoded(&body));
            }
            all.extend(headers);
            return Self { headers: all, body: Bytes::new(), details };
        }
        all.append(STATUS, Value::from(u64::from(status)));
        if body.is_empty() {
            headers.remove("content-type");
        } else {
            all.append(CONTENT_LENGTH, Value::from(body.len() as u64));
            if !headers.contains("content-type") {
                all.append(CONTENT_TYPE, Value::from_static("text/plain"));
            }
        }
        all.extend(headers);
        Self { headers: all, body: if request.head { Bytes::new() } else { body }, details }
    }
}

impl RequestKind {
    /// Reads it off the request headers.
    #[must_use]
    pub fn of(headers: &Headers) -> Self {
        let grpc = is_grpc(headers);
        Self { head: headers.get(":method").is_some_and(|method| method.as_bytes() == b"HEAD"), grpc }
    }
}

/// Whether the content type is gRPC's (not gRPC-Web's).
pub(crate) fn is_grpc(headers: &Headers) -> bool {
    headers.get("content-type").is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
    })
}

const STATUS: Name = Name::from_static(":status");
const CONTENT_LENGTH: Name = Name::from_static("content-length");
const CONTENT_TYPE: Name = Name::from_static("content-type");

/// Envoy's map from an HTTP status to the gRPC status of a local reply (`doc/http-grpc-status-mapping` of gRPC).
pub(crate) const fn grpc_status_of(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// `grpc-message` is percent-encoded: all but printable ASCII, and the percent sign itself.
fn percent_encoded(text: &Bytes) -> Value {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'%';
    if text.iter().all(|byte| plain(*byte)) {
        return Value::parse(text.clone()).unwrap_or(Value::from_static(""));
    }
    let mut encoded = Vec::with_capacity(text.len() + 16);
    for &byte in text {
        if plain(byte) {
            encoded.push(byte);
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            encoded.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    Value::parse(encoded).unwrap_or(Value::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: RequestKind = RequestKind { head: false, grpc: false };
    const HEAD: RequestKind = RequestKind { head: true, grpc: false };
    const GRPC: RequestKind = RequestKind { head: false, grpc: true };

    fn text(reply: &LocalReply) -> String {
        let headers: Vec<_> = reply.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        format!("{} | {}", headers.join(", "), reply.body.escape_ascii())
    }

    #[test]
    fn forms_of_a_reply() {
        for (kind, status, body, expected) in [
            (PLAIN, 500, "", ":status: 500 | "),
            (PLAIN, 403, "denied", ":status: 403, content-length: 6, content-type: text/plain | denied"),
            (HEAD, 403, "denied", ":status: 403, content-length: 6, content-type: text/plain | "),
            (
                GRPC,
                403,
                "no 100%\n",
                ":status: 200, content-type: application/grpc, grpc-status: 7, grpc-message: no 100%25%0A | ",
            ),
            (GRPC, 500, "", ":status: 200, content-type: application/grpc, grpc-status: 2 | "),
        ] {
            assert_eq!(text(&LocalReply::new(kind, status, Bytes::from_static(body.as_bytes()), "")), expected);
        }
    }

    #[test]
    fn white_space_in_details_becomes_underscores() {
        let reply = LocalReply::new(PLAIN, 500, Bytes::new(), "ext_proc error\tgRPC");
        assert_eq!(reply.details, "ext_proc_error_gRPC");
    }

    #[test]
    fn own_headers_keep_a_content_type_but_no_false_length() {
        let own = |entries: &[(&'static str, &'static str)]| -> Headers {
            entries.iter().map(|(n, v)| (Name::from_static(n), Value::from_static(v))).collect()
        };
        let given = own(&[("content-type", "application/json"), ("content-length", "99"), ("x-a", "1")]);
        let reply = LocalReply::with_headers(PLAIN, 403, None, given.clone(), Bytes::from_static(b"{}"), "");
        assert_eq!(text(&reply), ":status: 403, content-length: 2, content-type: application/json, x-a: 1 | {}");
        let reply = LocalReply::with_headers(PLAIN, 403, None, given, Bytes::new(), "");
        assert_eq!(text(&reply), ":status: 403, x-a: 1 | ");
        let reply = LocalReply::with_headers(GRPC, 403, Some(9), Headers::new(), Bytes::new(), "");
        assert_eq!(reply.headers.get_str("grpc-status"), Some("9"));
    }

    #[test]
    fn kinds() {
        for (content_type, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("text/plain", false),
        ] {
            let headers: Headers = [
                (Name::from_static(":method"), Value::from_static("HEAD")),
                (Name::from_static("content-type"), Value::from_static(content_type)),
            ]
            .into_iter()
            .collect();
            assert_eq!(RequestKind::of(&headers), RequestKind { head: true, grpc }, "{content_type}");
        }
    }
}
