//! What can be given as a body.

use bytes::Bytes;

/// What can be given as a body: bytes as they are, text as UTF-8, integers as decimal text, `()` as an empty body.
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
