//! A header or trailer map with the verbs to edit it.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use extproc_core::Headers;
use extproc_core::headers::{InvalidName, InvalidValue, Name, Value};
use extproc_core::session::{DynamicMetadata, HeaderEdits, MetadataMessage, MetadataValue};

use super::{IntoName, IntoValue};
use crate::Facts;
use crate::telemetry::{Progress, Shown};

/// A header or trailer map: reads the edited state, logs every edit for the wire.
///
/// Names are case-insensitive. Edits are visible at once, also to later processors of a chain. An edit that HTTP or
/// the protocol forbids is a [`Refused`]: `try_` verbs return it; the short verbs keep it, and the phase fails when its
/// handler returns, so that a header that matters is never silently missing.
#[derive(Clone, Default)]
pub struct Fields {
    map: Headers,
    edits: HeaderEdits,
    /// Framing is not the author's.
    framed: bool,
    refused: Option<Refused>,
    metadata: Option<Box<DynamicMetadata>>,
    undo: Undo,
    facts: Arc<Facts>,
    progress: Progress,
}

/// Why an edit was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The name is no HTTP token.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The value holds CR, LF or NUL.
    #[error(transparent)]
    Value(#[from] InvalidValue),
    /// Pseudo headers have their own verbs, such as [`RequestHead::set_path`](crate::RequestHead::set_path).
    #[error("pseudo headers have their own verbs: set_path, set_method, set_host, set_status")]
    Pseudo,
    /// The framing of a message with a body follows from its body.
    #[error("content-length and transfer-encoding of a message with a body follow from the body")]
    Framing,
    /// The status is not one that a response can have.
    #[error("{0} is not a response status; it must be 200 to 599")]
    Status(u16),
    /// The name of the cookie is no token, or its value has characters that would end it (RFC 6265 section 4.1.1).
    #[error(
        "the name of a cookie must be a token, its value free of white space, quotes, commas, semicolons and backslashes"
    )]
    Cookie,
    /// In Basic credentials the first colon ends the user's name.
    #[error("the user of Basic credentials cannot have a colon")]
    BasicUser,
}

/// What the first edit of a phase saves, if the phase may have to be undone.
#[derive(Clone, Debug, Default)]
enum Undo {
    #[default]
    Off,
    Armed,
    Saved(Box<(Headers, HeaderEdits, Option<Box<DynamicMetadata>>)>),
}

impl Fields {
    /// The first value, if it is there and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.map.get_str(&lower(name))
    }

    /// The first value as bytes.
    #[must_use]
    pub fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        self.map.get(&lower(name)).map(Value::as_bytes)
    }

    /// Every value, in order, as text; values that are not text are left out.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &str> {
        let name = name.to_ascii_lowercase();
        self.map.iter().filter(move |(n, _)| n.as_str() == name).filter_map(|(_, v)| v.to_str())
    }

    /// Every value, in order, as bytes.
    pub fn header_all_bytes(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let name = name.to_ascii_lowercase();
        self.map.iter().filter(move |(n, _)| n.as_str() == name).map(|(_, v)| v.as_bytes())
    }

    /// The first value of each name.
    ///
    /// ```
    /// # fn f(req: &extproc::RequestHead) {
    /// let [tenant, user] = req.pick(["x-tenant-id", "x-user"]);
    /// # }
    /// ```
    #[must_use]
    pub fn pick<const N: usize>(&self, names: [&str; N]) -> [Option<&str>; N] {
        names.map(|name| self.header(name))
    }

    /// The media type: `content-type` without its parameters, as on the wire. [`media_type`](Self::media_type) parses it.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        let value = self.map.get_str("content-type")?;
        Some(value.split(';').next().unwrap_or(value).trim())
    }

    /// `content-length`, if it is a plain number.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.map.content_length()
    }

    /// What the data plane told about the exchange so far: attributes and its dynamic metadata.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The whole map, pseudo headers in front.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        &self.map
    }

    /// Replaces every value of the name, or adds it.
    pub fn set(&mut self, name: impl IntoName, value: impl IntoValue) {
        let result = self.try_set(name, value);
        self.keep(result);
    }

    /// As [`set`](Self::set).
    ///
    /// # Errors
    /// [`Refused`] when the name, the value or the moment does not allow it.
    pub fn try_set(&mut self, name: impl IntoName, value: impl IntoValue) -> Result<(), Refused> {
        let (name, value) = self.check(name, value)?;
        self.save();
        self.set_raw(name, value);
        Ok(())
    }

    /// Adds a value, keeping those that are there.
    pub fn append(&mut self, name: impl IntoName, value: impl IntoValue) {
        let result = self.try_append(name, value);
        self.keep(result);
    }

    /// As [`append`](Self::append).
    ///
    /// # Errors
    /// [`Refused`] when the name, the value or the moment does not allow it.
    pub fn try_append(&mut self, name: impl IntoName, value: impl IntoValue) -> Result<(), Refused> {
        let (name, value) = self.check(name, value)?;
        self.save();
        self.map.append(name.clone(), value.clone());
        self.edits.append(name, value);
        Ok(())
    }

    /// Adds the value unless the name is there; false when it is.
    ///
    /// A header that the data plane's forward rules hide counts as absent.
    pub fn set_if_absent(&mut self, name: impl IntoName, value: impl IntoValue) -> bool {
        match self.check(name, value) {
            Ok((name, _)) if self.map.contains(name.as_str()) => false,
            Ok((name, value)) => {
                self.save();
                self.edits.set_if_absent(&self.map, name.clone(), value.clone());
                self.map.set(name, value);
                true
            }
            Err(refused) => {
                self.keep(Err(refused));
                false
            }
        }
    }

    /// Replaces the values of the name if it is there; false when it is not.
    pub fn set_if_present(&mut self, name: impl IntoName, value: impl IntoValue) -> bool {
        match self.check(name, value) {
            Ok((name, _)) if !self.map.contains(name.as_str()) => false,
            Ok((name, value)) => {
                self.save();
                self.edits.set_if_present(&self.map, name.clone(), value.clone());
                self.map.set(name, value);
                true
            }
            Err(refused) => {
                self.keep(Err(refused));
                false
            }
        }
    }

    /// Removes every value of the name. Removing an absent name is harmless.
    pub fn remove(&mut self, name: impl IntoName) {
        match name.into_name() {
            Ok(name) if name.is_pseudo() => self.keep(Err(Refused::Pseudo)),
            Ok(name) => {
                self.save();
                self.map.remove(name.as_str());
                self.edits.remove(name);
            }
            Err(invalid) => self.keep(Err(invalid.into())),
        }
    }

    /// Gives the data plane dynamic metadata, for its access log and for filters behind. It goes out with the answer to
    /// this phase, also with a local reply. A later value for the same key wins.
    ///
    /// The value is text, a number, a truth value, or a list or map of these ([`MetadataValue`]). Envoy takes only
    /// the namespaces that `metadata_options.receiving_namespaces.untyped` lists, and drops others silently.
    ///
    /// ```
    /// # fn f(req: &mut extproc::RequestHead) {
    /// req.metadata("auth", "user", "u1");
    /// req.metadata("auth", "score", 0.5);
    /// # }
    /// ```
    pub fn metadata(&mut self, namespace: impl Into<String>, key: impl Into<String>, value: impl Into<MetadataValue>) {
        self.save();
        self.metadata.get_or_insert_default().set(namespace, key, value);
    }

    /// As [`metadata`](Self::metadata), as a typed message (`typed_dynamic_metadata`); one for each namespace, the last
    /// wins. Envoy takes only the namespaces that `metadata_options.receiving_namespaces.typed` lists.
    ///
    /// ```
    /// # fn f(req: &mut extproc::RequestHead) {
    /// let user = extproc::MetadataMessage { type_url: "type.googleapis.com/acme.User".into(), value: vec![8, 1] };
    /// req.typed_metadata("acme.auth", user);
    /// # }
    /// ```
    pub fn typed_metadata(&mut self, namespace: impl Into<String>, message: MetadataMessage) {
        self.save();
        self.metadata.get_or_insert_default().set_typed(namespace, message);
    }

    /// Where the exchange is, and what this processor's handlers took so far.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn set_progress(&mut self, progress: Progress) {
        self.progress = progress;
    }

    pub(crate) fn take_metadata(&mut self) -> Option<DynamicMetadata> {
        self.metadata.take().map(|metadata| *metadata)
    }

    pub(crate) const fn has_metadata(&self) -> bool {
        self.metadata.is_some()
    }

    pub(crate) fn new(map: Headers, framed: bool) -> Self {
        Self { map, framed, ..Self::default() }
    }

    pub(crate) fn set_facts(&mut self, facts: &Arc<Facts>) {
        self.facts = Arc::clone(facts);
    }

    /// Edits a pseudo header, or the framing on the codec's behalf.
    pub(super) fn set_checked(&mut self, name: Name, value: Value) {
        self.save();
        self.set_raw(name, value);
    }

    pub(crate) fn keep(&mut self, result: Result<(), Refused>) {
        if let Err(refused) = result {
            self.refused.get_or_insert(refused);
        }
    }

    pub(crate) fn take_refused(&mut self) -> Option<Refused> {
        self.refused.take()
    }

    pub(crate) fn take_edits(&mut self) -> HeaderEdits {
        std::mem::take(&mut self.edits)
    }

    pub(crate) fn has_edits(&self) -> bool {
        !self.edits.is_empty()
    }

    pub(crate) fn set_framed(&mut self, framed: bool) {
        self.framed = framed;
    }

    /// Makes `content-length`, if there is one, agree with a new body.
    pub(crate) fn fix_length(&mut self, length: usize) {
        if self.map.contains("content-length") {
            self.set_raw(Name::from_static("content-length"), Value::from(length as u64));
        }
    }

    /// Drops `content-length`, because the body's will not be known before the headers leave.
    pub(crate) fn drop_length(&mut self) {
        if self.map.remove("content-length") {
            self.edits.remove(Name::from_static("content-length"));
        }
    }

    /// Lets [`undo`](Self::undo) go back to this moment.
    pub(crate) fn arm(&mut self) {
        self.undo = Undo::Armed;
    }

    /// Goes on from here: what was armed is forgotten.
    pub(crate) fn commit(&mut self) {
        self.undo = Undo::Off;
    }

    /// Takes back every edit since [`arm`](Self::arm).
    pub(crate) fn undo(&mut self) {
        self.refused = None;
        if let Undo::Saved(saved) = std::mem::take(&mut self.undo) {
            (self.map, self.edits, self.metadata) = *saved;
        }
    }

    fn check(&self, name: impl IntoName, value: impl IntoValue) -> Result<(Name, Value), Refused> {
        let name = name.into_name()?;
        let value = value.into_value()?;
        if name.is_pseudo() {
            return Err(Refused::Pseudo);
        }
        if self.framed && matches!(name.as_str(), "content-length" | "transfer-encoding") {
            return Err(Refused::Framing);
        }
        Ok((name, value))
    }

    fn set_raw(&mut self, name: Name, value: Value) {
        self.map.set(name.clone(), value.clone());
        self.edits.set(name, value);
    }

    fn save(&mut self) {
        if matches!(self.undo, Undo::Armed) {
            self.undo = Undo::Saved(Box::new((self.map.clone(), self.edits.clone(), self.metadata.clone())));
        }
    }
}

/// The headers as they are now; secrets are hidden, see [`redact`](crate::redact()).
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.map).fmt(f)
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return name.to_ascii_lowercase().into();
    }
    name.into()
}
