//! Header fields between scenarios, transcripts and HTTP libraries.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::scenario::Fields;
use crate::transcript::{HeaderList, text};

pub(super) fn list(map: &HeaderMap) -> HeaderList {
    map.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

/// What the library refuses is left out.
pub(super) fn map(fields: &Fields) -> HeaderMap {
    let field = |(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?));
    fields.iter().filter_map(field).collect()
}
