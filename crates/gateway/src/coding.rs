//! How bodies are coded for the way.

use extproc_tower::Refusal;
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;

/// Refuses requests with transfer codings other than chunked (RFC 9112, 6.1; Envoy). Nobody here undoes them, and the header that
/// names them goes no further: the upstream would take what is compressed for the content.
pub(crate) fn check(fields: &HeaderMap) -> Result<(), Refusal> {
    if is_known(fields) { Ok(()) } else { Err(Refusal::new(501, "", "unsupported_transfer_encoding")) }
}

/// Whether there is no transfer coding, or only chunked.
pub(crate) fn is_known(fields: &HeaderMap) -> bool {
    fields.get_all(TRANSFER_ENCODING).iter().all(|it| it.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_chunked_is_known() {
        for (value, expected) in [
            (None, true),
            (Some("chunked"), true),
            (Some(" Chunked"), true),
            (Some("gzip, chunked"), false),
            (Some("gzip"), false),
        ] {
            let fields: HeaderMap =
                value.map(|it| (TRANSFER_ENCODING, HeaderValue::from_static(it))).into_iter().collect();
            assert_eq!(check(&fields).is_ok(), expected, "{value:?}");
        }
    }
}
