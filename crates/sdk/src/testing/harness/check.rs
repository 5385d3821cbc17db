//! What must be the same however an exchange was carried.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bytes::Bytes;
use extproc_core::Headers;

use crate::testing::{Effective, print};

/// Where two effects differ, a line for each place; empty when they are the same.
///
/// Not compared: the route, unless `routes`; the framing (`content-length`, where a body is cut), which only has to be right; the order of headers
/// with different names; the messages on the streams; counters and times.
pub(super) fn differences(first: (&str, &Effective), second: (&str, &Effective), routes: bool) -> String {
    let mut text = String::new();
    let mut differ = |what: &str, one: String, other: String| {
        if one != other {
            let _ = writeln!(text, "{what}: {one} {}, but {other} {}", first.0, second.0);
        }
    };
    let (one, other) = (first.1, second.1);
    differ("the end", format!("{:?}", one.ending), format!("{:?}", other.ending));
    for (hop, one, other) in [("upstream", &one.request, &other.request), ("client", &one.response, &other.response)] {
        for (what, one, other) in
            [("header", &one.headers, &other.headers), ("trailer", &one.trailers, &other.trailers)]
        {
            for name in names(one.as_ref()).union(&names(other.as_ref())) {
                differ(&format!("{hop}, {what} {name}"), values(one.as_ref(), name), values(other.as_ref(), name));
            }
            let there = |fields: &Option<Headers>| if fields.is_some() { "there" } else { "none" }.to_owned();
            differ(&format!("{hop}, {what}s"), there(one), there(other));
        }
        let (one, other) = (one.body(), other.body());
        if one != other {
            let at = one.iter().zip(other.iter()).take_while(|(a, b)| a == b).count();
            let rest = |body: &Bytes| print::quoted(&body[at..]);
            differ(&format!("{hop}, body from byte {at}"), rest(&one), rest(&other));
        }
    }
    let metadata = |all: &Effective| format!("{:?}", all.metadata());
    differ("dynamic metadata", metadata(one), metadata(other));
    if routes {
        differ("the route", format!("cleared: {}", one.cleared_route()), format!("cleared: {}", other.cleared_route()));
    }
    text
}

/// What is wrong with the framing of an exchange.
pub(super) fn misframed(all: &Effective) -> Option<String> {
    [("upstream", &all.request), ("client", &all.response)].into_iter().find_map(|(hop, seen)| {
        let length = seen.headers.as_ref()?.content_length()?;
        let is_head = all.sent_head() && hop == "client";
        let size = seen.body().len() as u64;
        (seen.is_complete() && !is_head && length != size)
            .then(|| format!("{hop}: content-length is {length}, but the body has {size} bytes"))
    })
}

impl Effective {
    /// The client asked with HEAD: the response has the length of a body that does not come.
    fn sent_head(&self) -> bool {
        self.request.header(":method") == Some("HEAD")
    }
}

fn names(fields: Option<&Headers>) -> BTreeSet<&str> {
    let names = fields.into_iter().flat_map(Headers::iter).map(|(name, _)| name.as_str());
    names.filter(|name| *name != "content-length").collect()
}

fn values(fields: Option<&Headers>, name: &str) -> String {
    let values = fields.into_iter().flat_map(|fields| fields.get_all(name));
    format!("{:?}", values.map(|value| value.as_bytes().escape_ascii().to_string()).collect::<Vec<_>>())
}
