//! Headers and trailers as the protocol sees them: an ordered multi-map with pseudo headers.

use std::fmt;

use bytes::Bytes;

/// Headers in wire order; repeated names are repeated entries. Pseudo headers (`:path`, `:status`) stand in front.
///
/// Names are lower-case by type, values hold any bytes but CR, LF and NUL. Cloning shares the bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers {
    entries: Vec<(Name, Value)>,
}

/// A lower-case header name, or a pseudo header name with its leading colon.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Bytes);

/// A header value: any bytes but CR, LF and NUL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Value(Bytes);

/// The bytes are not a header name: empty, or a byte that is no HTTP token character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a header name: only letters, digits and !#$%&'*+-.^_`|~ are allowed")]
pub struct InvalidName;

/// The bytes are not a header value: CR, LF or NUL inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a header value: CR, LF and NUL are not allowed")]
pub struct InvalidValue;

impl Headers {
    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// No headers, with room for `capacity` entries.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { entries: Vec::with_capacity(capacity) }
    }

    /// Adds an entry behind all others, also when the name is there already; a pseudo header behind the pseudo headers.
    pub fn append(&mut self, name: Name, value: Value) {
        let behind = name.is_pseudo().then(|| self.entries.iter().position(|(n, _)| !n.is_pseudo())).flatten();
        match behind {
            Some(index) => self.entries.insert(index, (name, value)),
            None => self.entries.push((name, value)),
        }
    }

    /// Replaces every value of the name by this one, at the place of the first; adds it when absent.
    pub fn set(&mut self, name: Name, value: Value) {
        let Some(first) = self.entries.iter().position(|(n, _)| *n == name) else {
            return self.append(name, value);
        };
        let mut index = 0;
        self.entries.retain(|(n, _)| {
            index += 1;
            index - 1 <= first || *n != name
        });
        self.entries[first].1 = value;
    }

    /// Removes every value of the name; false when there was none.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(n, _)| n.0 != name);
        self.entries.len() != before
    }

    /// The first value of the name. `name` must be lower-case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(n, _)| n.0 == name).map(|(_, v)| v)
    }

    /// The first value of the name as text; `None` also when it is not UTF-8.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::to_str)
    }

    /// Every value of the name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.entries.iter().filter(move |(n, _)| n.0 == name).map(|(_, v)| v)
    }

    /// Whether the name is there.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// All entries in order.
    pub fn iter(&self) -> std::slice::Iter<'_, (Name, Value)> {
        self.entries.iter()
    }

    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The bytes of all names and values together, as header limits count them.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.entries.iter().map(|(n, v)| n.0.len() + v.0.len()).sum()
    }

    /// `:status` as a number.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.get_str(":status")?.parse().ok()
    }

    /// `content-length` as a number; `None` when absent or not a plain decimal number.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        let text = self.get_str("content-length")?;
        text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|(n, v)| (n, v))).finish()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a (Name, Value);
    type IntoIter = std::slice::Iter<'a, (Name, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

impl IntoIterator for Headers {
    type Item = (Name, Value);
    type IntoIter = std::vec::IntoIter<(Name, Value)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl Extend<(Name, Value)> for Headers {
    fn extend<I: IntoIterator<Item = (Name, Value)>>(&mut self, entries: I) {
        let entries = entries.into_iter();
        self.entries.reserve(entries.size_hint().0);
        entries.for_each(|(name, value)| self.append(name, value));
    }
}

impl FromIterator<(Name, Value)> for Headers {
    fn from_iter<I: IntoIterator<Item = (Name, Value)>>(entries: I) -> Self {
        let mut headers = Self::new();
        headers.extend(entries);
        headers
    }
}

impl Name {
    /// A name known at compile time.
    ///
    /// # Panics
    /// If it is not a valid lower-case name; in a `const`, at compile time.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        let mut at = if !bytes.is_empty() && bytes[0] == b':' { 1 } else { 0 };
        assert!(at < bytes.len(), "empty header name");
        while at < bytes.len() {
            assert!(is_token(bytes[at]) && !bytes[at].is_ascii_uppercase(), "not a lower-case header name");
            at += 1;
        }
        Self(Bytes::from_static(bytes))
    }

    /// Checks and lower-cases a name. Copies only when there is something to lower-case.
    ///
    /// # Errors
    /// [`InvalidName`] when the bytes are no HTTP token, after one optional leading colon.
    pub fn parse(name: impl Into<Bytes>) -> Result<Self, InvalidName> {
        let name = name.into();
        let token = name.strip_prefix(b":").unwrap_or(&name);
        if token.is_empty() || !token.iter().all(|b| is_token(*b)) {
            return Err(InvalidName);
        }
        if name.iter().any(u8::is_ascii_uppercase) {
            return Ok(Self(name.to_ascii_lowercase().into()));
        }
        Ok(Self(name))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every constructor admits ASCII only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether it starts with a colon.
    #[must_use]
    pub fn is_pseudo(&self) -> bool {
        self.0.starts_with(b":")
    }

    /// The bytes, shared.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Value {
    /// A value known at compile time.
    ///
    /// # Panics
    /// If it holds CR, LF or NUL; in a `const`, at compile time.
    #[must_use]
    pub const fn from_static(value: &'static str) -> Self {
        let bytes = value.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!(is_value_byte(bytes[at]), "CR, LF or NUL in a header value");
            at += 1;
        }
        Self(Bytes::from_static(bytes))
    }

    /// Checks a value.
    ///
    /// # Errors
    /// [`InvalidValue`] when it holds CR, LF or NUL.
    pub fn parse(value: impl Into<Bytes>) -> Result<Self, InvalidValue> {
        let value = value.into();
        if value.iter().all(|b| is_value_byte(*b)) { Ok(Self(value)) } else { Err(InvalidValue) }
    }

    /// The value as text, if it is UTF-8.
    #[must_use]
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, shared.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self(number.to_string().into())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

const fn is_token(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'^'..=b'z' | b'|' | b'~')
}

const fn is_value_byte(byte: u8) -> bool {
    !matches!(byte, b'\r' | b'\n' | 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(entries: &[(&'static str, &'static str)]) -> Headers {
        entries.iter().map(|(n, v)| (Name::from_static(n), Value::from_static(v))).collect()
    }

    #[test]
    fn set_keeps_the_first_place_and_drops_the_other_values() {
        let mut map = headers(&[("a", "1"), ("b", "2"), ("a", "3"), ("c", "4")]);
        map.set(Name::from_static("a"), Value::from_static("9"));
        assert_eq!(map, headers(&[("a", "9"), ("b", "2"), ("c", "4")]));
        map.set(Name::from_static("d"), Value::from_static("5"));
        assert_eq!(map.get_str("d"), Some("5"));
    }

    #[test]
    fn pseudo_headers_stand_in_front() {
        let mut map = headers(&[("a", "1"), (":path", "/"), ("b", "2"), (":method", "GET")]);
        map.set(Name::from_static(":scheme"), Value::from_static("http"));
        map.set(Name::from_static("c"), Value::from_static("3"));
        let names: Vec<_> = map.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, [":path", ":method", ":scheme", "a", "b", "c"]);
    }

    #[test]
    fn names() {
        for (input, expected) in [
            ("x-a", Ok("x-a")),
            ("X-A", Ok("x-a")),
            (":path", Ok(":path")),
            ("", Err(InvalidName)),
            (":", Err(InvalidName)),
            ("a b", Err(InvalidName)),
            ("a:b", Err(InvalidName)),
            ("a\u{e4}", Err(InvalidName)),
        ] {
            let parsed = Name::parse(Bytes::from_static(input.as_bytes()));
            assert_eq!(parsed.as_ref().map(Name::as_str), expected.as_ref().copied(), "{input:?}");
        }
    }

    #[test]
    fn values() {
        for (input, ok) in [(&b"a b"[..], true), (b"", true), (b"\xff\xfe", true), (b"a\r\nb", false), (b"a\0", false)]
        {
            assert_eq!(Value::parse(Bytes::copy_from_slice(input)).is_ok(), ok, "{input:?}");
        }
    }

    #[test]
    fn content_length_is_digits_only() {
        for (text, expected) in [("5", Some(5)), ("+5", None), ("", None), ("5 ", None), ("18446744073709551616", None)]
        {
            assert_eq!(headers(&[("content-length", text)]).content_length(), expected, "{text:?}");
        }
    }
}
