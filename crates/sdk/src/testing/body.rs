//! What can be given as a body.

use bytes::Bytes;

/// What can be given as a body: bytes as they are, text as UTF-8, integers as decimal text, `()` as an empty body, and,
/// with the feature `json`, JSON values as Python writes them.
///
/// ```
/// use extproc::testing::IntoBody;
///
/// assert_eq!(("hi".into_body(), 42.into_body(), ().into_body()), ("hi".into(), "42".into(), "".into()));
/// ```
///
/// Anything else does not compile:
///
/// ```compile_fail
/// extproc::testing::IntoBody::into_body(4.2);
/// ```
pub trait IntoBody {
    /// The bytes of the body.
    fn into_body(self) -> Bytes;
}

macro_rules! bytes {
    ($($type:ty),*) => {
        $(impl IntoBody for $type {
            fn into_body(self) -> Bytes {
                self.into()
            }
        })*
    };
}

bytes!(Bytes, Vec<u8>, String);

impl IntoBody for &str {
    fn into_body(self) -> Bytes {
        Bytes::copy_from_slice(self.as_bytes())
    }
}

impl IntoBody for &String {
    fn into_body(self) -> Bytes {
        self.as_str().into_body()
    }
}

impl IntoBody for &[u8] {
    fn into_body(self) -> Bytes {
        Bytes::copy_from_slice(self)
    }
}

impl<const N: usize> IntoBody for &[u8; N] {
    fn into_body(self) -> Bytes {
        self.as_slice().into_body()
    }
}

impl IntoBody for &Bytes {
    fn into_body(self) -> Bytes {
        self.clone()
    }
}

impl IntoBody for () {
    fn into_body(self) -> Bytes {
        Bytes::new()
    }
}

macro_rules! number {
    ($($type:ty),*) => {
        $(impl IntoBody for $type {
            fn into_body(self) -> Bytes {
                self.to_string().into()
            }
        })*
    };
}

number!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

/// As Python's `json.dumps` writes it: a space after `,` and `:`, ASCII only; keys in the order of the map.
#[cfg(feature = "json")]
impl IntoBody for serde_json::Value {
    fn into_body(self) -> Bytes {
        (&self).into_body()
    }
}

/// As the value itself.
#[cfg(feature = "json")]
impl IntoBody for &serde_json::Value {
    fn into_body(self) -> Bytes {
        use serde::Serialize as _;
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, spaced::Spaced);
        // Neither a value nor a vector can fail.
        let _ = self.serialize(&mut serializer);
        out.into()
    }
}

#[cfg(feature = "json")]
mod spaced {
    use std::io::{self, Write};

    use serde_json::ser::Formatter;

    /// Python's separators and escapes.
    pub(super) struct Spaced;

    impl Formatter for Spaced {
        fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
            if first { Ok(()) } else { out.write_all(b", ") }
        }

        fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
            if first { Ok(()) } else { out.write_all(b", ") }
        }

        fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
            out.write_all(b": ")
        }

        fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
            for unit in fragment.encode_utf16() {
                match u8::try_from(unit) {
                    Ok(byte) if byte.is_ascii() => out.write_all(&[byte])?,
                    _ => write!(out, "\\u{unit:04x}")?,
                }
            }
            Ok(())
        }
    }
}
