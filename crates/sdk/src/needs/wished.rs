//! Wishes under Envoy's names, as Envoy and the gateway have them.

use std::fmt::Write;

use super::Wishes;
use super::endpoint::list;

/// The attributes; nothing when there are none.
pub(super) fn attributes(wishes: &Wishes) -> String {
    let mut text = String::new();
    for (key, names) in
        [("request_attributes", &wishes.request_attributes), ("response_attributes", &wishes.response_attributes)]
    {
        if !names.is_empty() {
            let _ = writeln!(text, "    {key}: {}", list(names));
        }
    }
    text
}

/// The metadata; nothing when there is none.
pub(super) fn metadata(wishes: &Wishes) -> String {
    let mut text = String::new();
    let namespaces = [("forwarding", &wishes.reads_metadata), ("receiving", &wishes.writes_metadata)];
    if namespaces.iter().any(|(_, names)| !names.is_empty()) {
        text.push_str("    metadata_options:\n");
    }
    for (way, names) in namespaces {
        if !names.is_empty() {
            let _ = writeln!(text, "      {way}_namespaces: {{ untyped: {} }}", list(names));
        }
    }
    text
}
