//! What `grpc-encoding` says of messages. A processor sees them decompressed.

use std::io::{self, Read};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

/// The coding of the messages of one direction that are marked as compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
    Unknown,
}

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum CodingError {
    #[error("a message is compressed, and grpc-encoding names no coding for it")]
    NoCoding,
    #[error("grpc-encoding is not one of gzip, deflate, zstd")]
    Unknown,
    #[error("a compressed message cannot be decompressed")]
    Corrupt,
    #[error("a message is longer than the limit of {0} bytes once decompressed")]
    TooLarge(usize),
}

impl Coding {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Self::Identity,
            Some(b"gzip") => Self::Gzip,
            Some(b"deflate") => Self::Deflate,
            Some(b"zstd") => Self::Zstd,
            Some(_) => Self::Unknown,
        }
    }

    /// The message behind the compressed bytes, of at most `limit` bytes.
    pub(super) fn decode(self, compressed: &Bytes, limit: usize) -> Result<Bytes, CodingError> {
        let bytes: &[u8] = compressed;
        match self {
            Self::Identity => Err(CodingError::NoCoding),
            Self::Unknown => Err(CodingError::Unknown),
            Self::Gzip => read(flate2::read::MultiGzDecoder::new(bytes), limit),
            // gRPC's `deflate` is zlib's format.
            Self::Deflate => read(flate2::read::ZlibDecoder::new(bytes), limit),
            Self::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(|_| CodingError::Corrupt)?;
                read(decoder, limit)
            }
        }
    }
}

fn read(decoder: impl Read, limit: usize) -> Result<Bytes, CodingError> {
    let mut message = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let result: io::Result<usize> = decoder.take(most).read_to_end(&mut message);
    result.map_err(|_| CodingError::Corrupt)?;
    if message.len() > limit { Err(CodingError::TooLarge(limit)) } else { Ok(message.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn messages_come_out_whole_and_bounded() {
        let message = vec![b'm'; 1_000];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&message).unwrap();
        zlib.write_all(&message).unwrap();
        for (coding, bytes) in [
            (Coding::Gzip, gzip.finish().unwrap()),
            (Coding::Deflate, zlib.finish().unwrap()),
            (Coding::Zstd, zstd::stream::encode_all(&message[..], 0).unwrap()),
        ] {
            let bytes = Bytes::from(bytes);
            assert_eq!(coding.decode(&bytes, 1_000).unwrap(), message, "{coding:?}");
            assert_eq!(coding.decode(&bytes, 999), Err(CodingError::TooLarge(999)), "{coding:?}");
            assert_eq!(coding.decode(&bytes.slice(..bytes.len() - 9), 1_000), Err(CodingError::Corrupt), "{coding:?}");
        }
        assert_eq!(Coding::Identity.decode(&Bytes::new(), 9), Err(CodingError::NoCoding));
        assert_eq!(Coding::Unknown.decode(&Bytes::new(), 9), Err(CodingError::Unknown));
    }
}
