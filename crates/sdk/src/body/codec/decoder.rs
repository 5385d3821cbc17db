//! Undoes content codings, piece by piece.

use bytes::Bytes;

use super::layer::Layer;
use super::{CodecError, Coding};

/// Undoes content codings piece by piece, for a [`Stream`](crate::Stream) body handler's context.
///
/// Memory is bounded: what comes out of one piece is at most `limit` bytes, in each coding of a stack; a decompression
/// bomb is an error before it is memory. What a coding itself keeps is bounded too (at most 16 MiB, for `br`).
///
/// ```
/// use extproc::{Coding, Decoder, Encoder};
///
/// let mut encoder = Encoder::new(&[Coding::Gzip])?;
/// let wire = [encoder.push(b"hello")?, encoder.finish()?].concat();
///
/// let mut decoder = Decoder::new(&[Coding::Gzip], 1 << 20)?;
/// let mut plain = Vec::new();
/// for piece in wire.chunks(3) {
///     plain.extend_from_slice(&decoder.push(piece)?);
/// }
/// plain.extend_from_slice(&decoder.finish()?);
/// assert_eq!(plain, b"hello");
/// # Ok::<(), extproc::CodecError>(())
/// ```
///
/// The bytes that are withheld between pieces live here: a processor with a decoder should not use
/// [`OnError::Skip`](crate::OnError::Skip), which goes on without them.
#[derive(Debug)]
pub struct Decoder {
    /// In the order of undoing.
    layers: Vec<Layer>,
    limit: usize,
    seen: bool,
}

impl Decoder {
    /// For the codings in the order in which they were applied, as [`Fields::content_codings`](crate::Fields::content_codings)
    /// gives them. `limit` is in bytes, for the output of one piece.
    ///
    /// # Errors
    /// [`CodecError::TooMany`]; [`CodecError::Broken`] when a decoder cannot be set up.
    pub fn new(codings: &[Coding], limit: usize) -> Result<Self, CodecError> {
        if codings.len() > Coding::MAX_STACKED {
            return Err(CodecError::TooMany(codings.len()));
        }
        let layers = codings.iter().rev().map(|coding| Layer::new(*coding)).collect::<Result<_, _>>()?;
        Ok(Self { layers, limit, seen: false })
    }

    /// Decodes a piece; any number of bytes may come out.
    ///
    /// # Errors
    /// [`CodecError`] when the data is broken, or more than the limit comes out. The decoder is of no use then.
    pub fn push(&mut self, data: &[u8]) -> Result<Bytes, CodecError> {
        if data.is_empty() {
            return Ok(Bytes::new());
        }
        self.seen = true;
        let Some((first, rest)) = self.layers.split_first_mut() else { return Ok(Bytes::copy_from_slice(data)) };
        let mut out = first.push(data, self.limit)?;
        for layer in rest {
            out = layer.push(&out, self.limit)?;
        }
        Ok(out.into())
    }

    /// Ends the data, and gives what is left of it. No data at all is an empty body in every coding.
    ///
    /// # Errors
    /// [`CodecError::Incomplete`] when the data ends in the middle.
    pub fn finish(mut self) -> Result<Bytes, CodecError> {
        if !self.seen {
            return Ok(Bytes::new());
        }
        let mut out = Vec::new();
        for layer in &mut self.layers {
            out = layer.push(&out, self.limit)?;
            out.extend(layer.finish(self.limit)?);
        }
        Ok(out.into())
    }
}
