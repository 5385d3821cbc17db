//! Names and values as forms and queries have them.

use std::borrow::Cow;
use std::fmt;

/// Names and values in order, as forms and queries have them, decoded. Names may repeat.
///
/// ```
/// use extproc::Pairs;
///
/// let mut pairs = Pairs::parse(b"q=a+b%26c&page=2&flag").unwrap();
/// assert_eq!((pairs.get("q"), pairs.get("flag"), pairs.get("none")), (Some("a b&c"), Some(""), None));
/// pairs.set("page", "3");
/// pairs.append("tag", "\u{e9}");
/// assert_eq!(pairs.to_string(), "q=a+b%26c&page=3&flag=&tag=%C3%A9");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

/// A name or value is not UTF-8 once it is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pair {pair} is not UTF-8 when decoded")]
pub struct NotText {
    /// Which pair, from 1.
    pub pair: usize,
}

impl Pairs {
    /// None.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Reads `a=1&b=2`, with `+` for spaces and `%` escapes.
    ///
    /// # Errors
    /// [`NotText`] when one is not UTF-8 once it is decoded.
    pub fn parse(data: &[u8]) -> Result<Self, NotText> {
        let mut pairs = Vec::new();
        for (index, pair) in data.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).enumerate() {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let mut part = || decoded(parts.next().unwrap_or_default()).ok_or(NotText { pair: index + 1 });
            pairs.push((part()?, part()?));
        }
        Ok(Self(pairs))
    }

    /// The first value of the name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.get_all(name).next()
    }

    /// Every value of the name, in order.
    pub fn get_all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter().filter(move |(n, _)| *n == name).map(|(_, value)| value)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces every value of the name, in the place of the first; or adds it.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        let Some(first) = self.0.iter().position(|(n, _)| *n == name) else {
            return self.0.push((name, value));
        };
        self.0[first].1 = value;
        let mut index = 0;
        self.0.retain(|(n, _)| {
            index += 1;
            *n != name || index == first + 1
        });
    }

    /// Adds a value, keeping those that are there.
    pub fn append(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// Removes every value of the name; false when there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|(n, _)| n != name);
        self.0.len() != before
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// As they stand in a form or query, encoded.
impl fmt::Display for Pairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&form_urlencoded::Serializer::new(String::new()).extend_pairs(self.iter()).finish())
    }
}

fn decoded(part: &[u8]) -> Option<String> {
    let spaced: Cow<'_, [u8]> = if part.contains(&b'+') {
        part.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<_>>().into()
    } else {
        part.into()
    };
    let bytes: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
    String::from_utf8(bytes).ok()
}
