//! Headers of a call: what a processor sees of them, and what it may change.

use bytes::Bytes;
use extproc_proto::{HeaderMap, HeaderMutation, HeaderValue};

use super::config::{Config, HeaderView};
use crate::headers::{Name, Value};
use crate::mutation::{Mutation, Outcome, Part, Scope};
use crate::violation::Violation;
use crate::{Headers, Profile, wire};

/// What the processor gets to see: values in `raw_value` only, `-bin` values each by itself in padded base64.
pub(super) fn shown(headers: &Headers, config: &Config) -> HeaderMap {
    let mut map = HeaderMap { headers: Vec::with_capacity(headers.len()) };
    for (name, value) in headers {
        if !is_visible(name.as_str(), config.options().header_view) || !config.rules().forwarding().shows(name.as_str())
        {
            continue;
        }
        let mut show = |raw_value| {
            map.headers.push(HeaderValue { key: name.clone().into_bytes(), raw_value, ..HeaderValue::default() });
        };
        if is_binary(name.as_str()) {
            value.as_bytes().split(|byte| *byte == b',').for_each(|one| show(padded(one)));
        } else {
            show(value.clone().into_bytes());
        }
    }
    map
}

/// Applies a mutation to a copy: all of it or nothing. Gives back the headers, and how many operations were refused.
pub(super) fn mutated(
    headers: &Headers,
    mutation: Option<HeaderMutation>,
    part: Part,
    config: &Config,
) -> Result<(Headers, u64), Violation> {
    let mut headers = headers.clone();
    let Some(mutation) = mutation else { return Ok((headers, 0)) };
    let mut mutation = wire::mutation(mutation, Profile::Grpc);
    let refused = settle(&mut mutation)?;
    let scope = Scope { config: config.rules(), part, drop_length: false, replacing: false };
    let Outcome { rejected, result, .. } = mutation.apply(&mut headers, scope);
    result.map(|()| (headers, refused + rejected))
}

/// What the rules for all header mutations do not know: `-bin` values are base64, and what HTTP/2 needs of a gRPC call
/// stays as it is.
fn settle(mutation: &mut Mutation) -> Result<u64, Violation> {
    if mutation.remove.iter().any(String::is_empty) {
        return Err(Violation::NoMetadata);
    }
    let before = mutation.remove.len() + mutation.set.len();
    mutation.remove.retain(|name| !is_protected(name.as_bytes()));
    mutation.set.retain(|set| set.as_ref().is_none_or(|set| !is_protected(&set.name)));
    for set in mutation.set.iter_mut().flatten().filter(|set| set.name.ends_with(b"-bin")) {
        set.value = unpadded(&set.value).ok_or(Violation::NoMetadata)?;
    }
    Ok((before - mutation.remove.len() - mutation.set.len()) as u64)
}

pub(super) fn is_binary(name: &str) -> bool {
    name.ends_with("-bin")
}

/// The status of a call, which only the server and an immediate response decide.
pub(super) fn without_status(headers: Headers) -> Headers {
    let status = ["grpc-status", "grpc-message", "grpc-status-details-bin"];
    headers.into_iter().filter(|(name, _)| !status.contains(&name.as_str())).collect()
}

fn is_visible(name: &str, view: HeaderView) -> bool {
    match view {
        HeaderView::Wire => true,
        HeaderView::Metadata => {
            !name.starts_with(':') && !name.starts_with("grpc-") && !is_protected(name.as_bytes()) && name != "host"
        }
    }
}

const fn is_protected(name: &[u8]) -> bool {
    matches!(name, b"te" | b"content-type")
}

/// Base64 as `raw_value` has it.
pub(super) fn padded(value: &[u8]) -> Bytes {
    let value = stripped(value.trim_ascii());
    let mut padded = value.to_vec();
    padded.resize(value.len().next_multiple_of(4), b'=');
    padded.into()
}

/// Base64 as gRPC has it on the wire. `None`: it is none.
fn unpadded(value: &[u8]) -> Option<Bytes> {
    let text = stripped(value);
    let alphabet = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let padding = value.len() - text.len();
    let whole = padding == 0 || (padding <= 2 && value.len().is_multiple_of(4));
    (text.len() % 4 != 1 && text.iter().all(alphabet) && whole).then(|| Bytes::copy_from_slice(text))
}

fn stripped(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    &value[..end]
}

/// The values of a name in one text, as attributes have them.
pub(super) fn joined(headers: &Headers, name: &Name) -> String {
    let text = |value: &Value| {
        if is_binary(name.as_str()) {
            String::from_utf8_lossy(&padded(value.as_bytes())).into_owned()
        } else {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        }
    };
    headers.get_all(name.as_str()).map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded_inside_and_bare_outside() {
        for (outside, inside) in [("BAUG", "BAUG"), ("BAU", "BAU="), ("BA", "BA=="), ("", "")] {
            assert_eq!(padded(outside.as_bytes()), inside);
            assert_eq!(unpadded(inside.as_bytes()).as_deref(), Some(outside.as_bytes()));
            assert_eq!(unpadded(outside.as_bytes()).as_deref(), Some(outside.as_bytes()));
        }
        for none in ["B", "BA=", "BAUG====", "B A=", "BA-_", "=", "BAUGB==="] {
            assert_eq!(unpadded(none.as_bytes()), None, "{none:?}");
        }
    }
}
