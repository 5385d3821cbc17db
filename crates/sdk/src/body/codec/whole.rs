//! Whole bodies in content codings.

use bytes::Bytes;

use super::{CodecError, Coding, Decoder, Encoder};
use crate::{Body, Dir, WholeIo};

impl<D: Dir> WholeIo<D> {
    /// The body without its content codings, at most `limit` bytes of it; the body itself stays as it is. It has all the
    /// readers of a [`Body`]. A body that is plain already is not copied.
    ///
    /// ```
    /// use extproc::{Response, Stop, WholeIo};
    ///
    /// async fn response_body(io: &mut WholeIo<Response>) -> Result<(), Stop> {
    ///     let page = io.decoded(4 << 20)?;
    ///     let page = page.text()?.replace("http://", "https://");
    ///     io.replace_encoded(page)?; // in the same codings
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`CodecError`] when a coding is unknown, the data is broken or incomplete (as a
    /// [`truncated`](Body::truncated) body is), or longer than `limit`.
    pub fn decoded(&self, limit: usize) -> Result<Body, CodecError> {
        let codings = self.head.content_codings()?;
        Ok(Body::new(undo(&codings, self.body.bytes(), limit)?, self.body.truncated()))
    }

    /// Puts this plain body in place of the body, in the codings of the head. `content-encoding` stays; a
    /// `content-length` follows. As with every change of a body, an `etag`, `content-md5`, `digest` or `content-digest`
    /// of the upstream's no longer describes it: remove or replace those that matter.
    ///
    /// # Errors
    /// [`CodecError`] when a coding is unknown.
    pub fn replace_encoded(&mut self, plain: impl Into<Bytes>) -> Result<(), CodecError> {
        let codings = self.head.content_codings()?;
        let plain = plain.into();
        self.body.replace(apply(&codings, plain)?);
        Ok(())
    }

    /// Takes the content codings off for good: the body becomes plain, `content-encoding` is removed, and a
    /// `content-length` follows. A body that is plain already stays as it is.
    ///
    /// This edits the head, so it needs a body mode that lets the head wait (see [`Whole`](crate::Whole)). A strong
    /// `etag` is one of the coded bytes: remove it, or make it weak.
    ///
    /// # Errors
    /// As [`decoded`](Self::decoded); nothing is changed then.
    pub fn decode(&mut self, limit: usize) -> Result<(), CodecError> {
        let codings = self.head.content_codings()?;
        if codings.is_empty() {
            return Ok(());
        }
        let plain = undo(&codings, self.body.bytes(), limit)?;
        self.head.remove("content-encoding");
        self.body.replace(plain);
        Ok(())
    }
}

fn undo(codings: &[Coding], data: &Bytes, limit: usize) -> Result<Bytes, CodecError> {
    if codings.is_empty() {
        return Ok(data.clone());
    }
    let mut decoder = Decoder::new(codings, limit)?;
    let plain = decoder.push(data)?;
    let rest = decoder.finish()?;
    match (codings.last(), plain.len() + rest.len() > limit) {
        (Some(coding), true) => Err(CodecError::TooLong { coding: *coding, limit }),
        _ if rest.is_empty() => Ok(plain),
        _ => Ok([plain, rest].concat().into()),
    }
}

fn apply(codings: &[Coding], plain: Bytes) -> Result<Bytes, CodecError> {
    // An empty body is empty in every coding.
    if codings.is_empty() || plain.is_empty() {
        return Ok(plain);
    }
    let mut encoder = Encoder::new(codings)?;
    Ok([encoder.push(&plain)?, encoder.finish()?].concat().into())
}
