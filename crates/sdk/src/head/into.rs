//! What can be given as a header name or value.

use std::borrow::Cow;

use bytes::Bytes;
use extproc_core::headers::{InvalidName, InvalidValue, Name, Value};

/// What can be given as a header name: text in any case, or a checked [`Name`], which costs nothing.
pub trait IntoName {
    /// Checks and lower-cases it.
    ///
    /// # Errors
    /// [`InvalidName`] when it is no HTTP token.
    fn into_name(self) -> Result<Name, InvalidName>;
}

/// What can be given as a header value: text, bytes, a number, or a checked [`Value`].
pub trait IntoValue {
    /// Checks it.
    ///
    /// # Errors
    /// [`InvalidValue`] when it holds CR, LF or NUL.
    fn into_value(self) -> Result<Value, InvalidValue>;
}

impl IntoName for Name {
    fn into_name(self) -> Result<Name, InvalidName> {
        Ok(self)
    }
}

impl IntoName for &Name {
    fn into_name(self) -> Result<Name, InvalidName> {
        Ok(self.clone())
    }
}

impl IntoName for &str {
    fn into_name(self) -> Result<Name, InvalidName> {
        Name::parse(Bytes::copy_from_slice(self.as_bytes()))
    }
}

impl IntoName for String {
    fn into_name(self) -> Result<Name, InvalidName> {
        Name::parse(self)
    }
}

impl IntoName for &String {
    fn into_name(self) -> Result<Name, InvalidName> {
        self.as_str().into_name()
    }
}

impl IntoValue for Value {
    fn into_value(self) -> Result<Value, InvalidValue> {
        Ok(self)
    }
}

impl IntoValue for &Value {
    fn into_value(self) -> Result<Value, InvalidValue> {
        Ok(self.clone())
    }
}

impl IntoValue for &str {
    fn into_value(self) -> Result<Value, InvalidValue> {
        Value::parse(Bytes::copy_from_slice(self.as_bytes()))
    }
}

impl IntoValue for &String {
    fn into_value(self) -> Result<Value, InvalidValue> {
        self.as_str().into_value()
    }
}

impl IntoValue for Cow<'_, str> {
    fn into_value(self) -> Result<Value, InvalidValue> {
        Value::parse(self.into_owned())
    }
}

impl IntoValue for &[u8] {
    fn into_value(self) -> Result<Value, InvalidValue> {
        Value::parse(Bytes::copy_from_slice(self))
    }
}

macro_rules! owned {
    ($($type:ty),*) => {
        $(impl IntoValue for $type {
            fn into_value(self) -> Result<Value, InvalidValue> {
                Value::parse(self)
            }
        })*
    };
}

owned!(String, Vec<u8>, Bytes);

macro_rules! number {
    ($($type:ty),*) => {
        $(impl IntoValue for $type {
            fn into_value(self) -> Result<Value, InvalidValue> {
                Value::parse(self.to_string())
            }
        })*
    };
}

number!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);
