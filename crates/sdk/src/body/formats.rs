//! Whole bodies in common formats.

use bytes::Bytes;
use prost::Message;

use super::error::looks_coded;
use crate::{Body, BodyError, Pairs};

impl Body {
    /// The body as JSON.
    ///
    /// ```
    /// # use extproc::{BodyError, Body};
    /// # fn f(body: &mut Body) -> Result<(), BodyError> {
    /// let mut value: serde_json::Value = body.json()?;
    /// value["seen"] = true.into();
    /// body.set_json(&value)
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`BodyError::Json`], with line and column.
    #[cfg(feature = "json")]
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, BodyError> {
        serde_json::from_slice(self.bytes())
            .map_err(|error| BodyError::Json { error, coded: looks_coded(self.bytes()) })
    }

    /// Sends this value on as JSON, in place of the body. `content-type` is the author's to set.
    ///
    /// # Errors
    /// [`BodyError::ToJson`] when the value has no form in JSON; the body stays as it is.
    #[cfg(feature = "json")]
    pub fn set_json<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> Result<(), BodyError> {
        self.replace(serde_json::to_vec(value).map_err(BodyError::ToJson)?);
        Ok(())
    }

    /// The body as a form (`application/x-www-form-urlencoded`), decoded.
    ///
    /// # Errors
    /// [`BodyError::Form`] when a name or value is not UTF-8 once it is decoded.
    pub fn form(&self) -> Result<Pairs, BodyError> {
        Ok(Pairs::parse(self.bytes())?)
    }

    /// Sends this form on in place of the body.
    pub fn set_form(&mut self, form: &Pairs) {
        self.replace(form.to_string());
    }

    /// The body as one Protocol Buffers message, without gRPC's framing; for that see [`Messages`](crate::Messages).
    ///
    /// # Errors
    /// [`BodyError::Message`], with the field.
    pub fn prost<M: Message + Default>(&self) -> Result<M, BodyError> {
        M::decode(self.bytes().clone()).map_err(|error| BodyError::Message { error, coded: looks_coded(self.bytes()) })
    }

    /// Sends this message on in place of the body.
    pub fn set_prost(&mut self, message: &impl Message) {
        self.replace(message.encode_to_vec());
    }

    /// Sends on what `change` makes of the body.
    pub fn map<B: Into<Bytes>>(&mut self, change: impl FnOnce(&Bytes) -> B) {
        let changed = change(self.bytes()).into();
        self.replace(changed);
    }
}

/// A body to try a handler on.
impl<B: Into<Bytes>> From<B> for Body {
    fn from(data: B) -> Self {
        Self::new(data.into(), false)
    }
}
