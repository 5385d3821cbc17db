//! The names of content codings.

use std::fmt;

use super::CodecError;
use crate::Fields;

/// A content coding (RFC 9110 section 8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Coding {
    /// `gzip`, also `x-gzip`; several members in a row are one body.
    Gzip,
    /// `deflate`: the zlib format. Data without the zlib wrapper, which some peers send, is decoded too.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`, with windows of up to 8 MiB (RFC 9659).
    Zstd,
}

impl Coding {
    /// How many codings may be applied one in another. More of them serve only bombs.
    pub const MAX_STACKED: usize = 4;

    /// The name in `content-encoding`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Reads the value of `content-encoding`: the codings in the order in which they were applied. `identity` is none.
    ///
    /// ```
    /// use extproc::{CodecError, Coding};
    ///
    /// assert_eq!(Coding::list("GZIP, br"), Ok(vec![Coding::Gzip, Coding::Brotli]));
    /// assert_eq!(Coding::list("identity"), Ok(vec![]));
    /// assert_eq!(Coding::list("compress"), Err(CodecError::Unknown("compress".to_owned())));
    /// ```
    ///
    /// # Errors
    /// [`CodecError::Unknown`] and [`CodecError::TooMany`].
    pub fn list(value: &str) -> Result<Vec<Self>, CodecError> {
        let mut codings = Vec::new();
        for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name.to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => codings.push(Self::Gzip),
                "deflate" => codings.push(Self::Deflate),
                "br" => codings.push(Self::Brotli),
                "zstd" => codings.push(Self::Zstd),
                "identity" => {}
                _ => return Err(CodecError::Unknown(name.to_owned())),
            }
        }
        if codings.len() > Self::MAX_STACKED {
            return Err(CodecError::TooMany(codings.len()));
        }
        Ok(codings)
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Fields {
    /// The codings of the body, by `content-encoding`, in the order in which they were applied; none when it is plain.
    /// Give them to [`Decoder::new`](crate::Decoder::new).
    ///
    /// # Errors
    /// [`CodecError`] when a coding is unknown, or there are more than [`Coding::MAX_STACKED`].
    pub fn content_codings(&self) -> Result<Vec<Coding>, CodecError> {
        let mut codings = Vec::new();
        for (name, value) in self.headers() {
            if name.as_str() == "content-encoding" {
                codings.extend(Coding::list(&String::from_utf8_lossy(value.as_bytes()))?);
            }
        }
        if codings.len() > Coding::MAX_STACKED {
            return Err(CodecError::TooMany(codings.len()));
        }
        Ok(codings)
    }
}
