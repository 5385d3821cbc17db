//! Applies content codings, piece by piece.

use std::fmt;
use std::io::{self, Write};

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use zstd::stream::write::Encoder as ZstdEncoder;

use super::{CodecError, Coding};

/// What compressors of live traffic use: gzip and deflate 6, br 5 with a window of 4 MiB, zstd 3.
const BROTLI_QUALITY: u32 = 5;
const BROTLI_WINDOW_LOG: u32 = 22;
const BROTLI_BUFFER: usize = 4 << 10;
const ZSTD_LEVEL: i32 = 3;

/// Applies content codings piece by piece, for a [`Stream`](crate::Stream) body handler's context.
///
/// Each piece is flushed: the receiver can decode all that went in so far, so that a live stream stays live. Pieces of
/// a few bytes compress badly for that reason.
///
/// See [`Decoder`](crate::Decoder) for an example.
pub struct Encoder {
    /// In the order of applying.
    layers: Vec<(Coding, Engine)>,
}

enum Engine {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(ZstdEncoder<'static, Vec<u8>>),
}

impl Encoder {
    /// For the codings in the order in which they are to be applied.
    ///
    /// # Errors
    /// [`CodecError::TooMany`]; [`CodecError::Encode`] when an encoder cannot be set up.
    pub fn new(codings: &[Coding]) -> Result<Self, CodecError> {
        if codings.len() > Coding::MAX_STACKED {
            return Err(CodecError::TooMany(codings.len()));
        }
        let layer = |coding: &Coding| Ok((*coding, Engine::new(*coding).map_err(|error| failed(*coding, &error))?));
        Ok(Self { layers: codings.iter().map(layer).collect::<Result<_, CodecError>>()? })
    }

    /// Encodes a piece. Nothing comes of nothing.
    ///
    /// # Errors
    /// [`CodecError::Encode`] when an encoder fails, which is not known to happen in memory.
    pub fn push(&mut self, data: &[u8]) -> Result<Bytes, CodecError> {
        if data.is_empty() {
            return Ok(Bytes::new());
        }
        let mut out = data.to_vec();
        for (coding, engine) in &mut self.layers {
            out = engine.push(&out).map_err(|error| failed(*coding, &error))?;
        }
        Ok(out.into())
    }

    /// Ends the data, and gives the rest of it.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(self) -> Result<Bytes, CodecError> {
        let mut out = Vec::new();
        for (coding, engine) in self.layers {
            out = engine.finish(&out).map_err(|error| failed(coding, &error))?;
        }
        Ok(out.into())
    }
}

impl Engine {
    fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::default())),
            Coding::Deflate => Self::Deflate(ZlibEncoder::new(Vec::new(), Compression::default())),
            Coding::Brotli => Self::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                BROTLI_QUALITY,
                BROTLI_WINDOW_LOG,
            ))),
            Coding::Zstd => Self::Zstd(ZstdEncoder::new(Vec::new(), ZSTD_LEVEL)?),
        })
    }

    fn push(&mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        let writer: &mut dyn Write = match self {
            Self::Gzip(writer) => writer,
            Self::Deflate(writer) => writer,
            Self::Brotli(writer) => writer,
            Self::Zstd(writer) => writer,
        };
        writer.write_all(data)?;
        writer.flush()?;
        Ok(std::mem::take(match self {
            Self::Gzip(writer) => writer.get_mut(),
            Self::Deflate(writer) => writer.get_mut(),
            Self::Brotli(writer) => writer.get_mut(),
            Self::Zstd(writer) => writer.get_mut(),
        }))
    }

    fn finish(mut self, data: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = if data.is_empty() { Vec::new() } else { self.push(data)? };
        out.extend(match self {
            Self::Gzip(writer) => writer.finish()?,
            Self::Deflate(writer) => writer.finish()?,
            Self::Brotli(writer) => writer.into_inner(),
            Self::Zstd(writer) => writer.finish()?,
        });
        Ok(out)
    }
}

fn failed(coding: Coding, error: &io::Error) -> CodecError {
    CodecError::Encode { coding, reason: error.to_string() }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.layers.iter().map(|(coding, _)| coding)).finish()
    }
}
