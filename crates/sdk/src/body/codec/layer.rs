//! One coding on its way to being undone.

use std::fmt;
use std::io::{self, Write};

use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use flate2::write::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation as _};

use super::{CodecError, Coding};

/// The longest zstd window, as a power of two: 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// How much is decoded at once.
const STEP: usize = 16 << 10;

/// Undoes one coding.
pub(super) struct Layer {
    coding: Coding,
    engine: Engine,
    /// Encoded bytes taken.
    taken: u64,
}

enum Engine {
    Gzip(Box<MultiGzDecoder<Sink>>),
    /// The first byte is kept until the second tells whether there is a zlib wrapper.
    Unwrapped(Option<u8>),
    Deflate(Box<Decompress>, bool),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>, bool),
    Zstd(Box<ZstdDecoder<'static>>, bool),
}

/// Takes decoded bytes up to a limit.
#[derive(Default)]
struct Sink {
    data: Vec<u8>,
    limit: usize,
    full: bool,
}

/// Why a step failed.
enum Fault {
    TooLong,
    Broken(String),
}

impl Layer {
    pub(super) fn new(coding: Coding) -> Result<Self, CodecError> {
        let broken = |error: io::Error| CodecError::Broken { coding, at: 0, reason: error.to_string() };
        let engine = match coding {
            Coding::Gzip => Engine::Gzip(Box::new(MultiGzDecoder::new(Sink::default()))),
            Coding::Deflate => Engine::Unwrapped(None),
            Coding::Brotli => {
                let alloc = StandardAlloc::default;
                Engine::Brotli(Box::new(BrotliState::new_strict(alloc(), alloc(), alloc())), false)
            }
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::new().map_err(broken)?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG)).map_err(broken)?;
                Engine::Zstd(Box::new(decoder), true)
            }
        };
        Ok(Self { coding, engine, taken: 0 })
    }

    pub(super) fn push(&mut self, data: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
        if data.is_empty() {
            return Ok(Vec::new());
        }
        self.taken += data.len() as u64;
        let mut sink = Sink { data: Vec::new(), limit, full: false };
        match self.engine.push(data, &mut sink) {
            Ok(()) => Ok(sink.data),
            Err(Fault::TooLong) => Err(CodecError::TooLong { coding: self.coding, limit }),
            Err(Fault::Broken(reason)) => Err(CodecError::Broken { coding: self.coding, at: self.taken, reason }),
        }
    }

    /// What is left when nothing follows.
    pub(super) fn finish(&mut self, limit: usize) -> Result<Vec<u8>, CodecError> {
        let complete = match &mut self.engine {
            Engine::Gzip(decoder) => {
                *decoder.get_mut() = Sink { data: Vec::new(), limit, full: false };
                let done = decoder.try_finish();
                let sink = std::mem::take(decoder.get_mut());
                if sink.full {
                    return Err(CodecError::TooLong { coding: self.coding, limit });
                }
                if done.is_ok() {
                    return Ok(sink.data);
                }
                false
            }
            Engine::Unwrapped(_) => false,
            Engine::Deflate(_, complete) | Engine::Brotli(_, complete) | Engine::Zstd(_, complete) => *complete,
        };
        if complete {
            return Ok(Vec::new());
        }
        Err(CodecError::Incomplete { coding: self.coding, at: self.taken })
    }
}

impl Engine {
    fn push(&mut self, data: &[u8], sink: &mut Sink) -> Result<(), Fault> {
        match self {
            Self::Gzip(decoder) => {
                std::mem::swap(decoder.get_mut(), sink);
                let done = decoder.write_all(data).and_then(|()| decoder.flush());
                std::mem::swap(decoder.get_mut(), sink);
                done.map_err(|error| if sink.full { Fault::TooLong } else { Fault::Broken(error.to_string()) })
            }
            Self::Unwrapped(first) => {
                let mut all = Vec::new();
                let data = match first.take() {
                    None => data,
                    Some(first) => {
                        all.push(first);
                        all.extend_from_slice(data);
                        &all
                    }
                };
                let [a, b, ..] = *data else {
                    *first = data.first().copied();
                    return Ok(());
                };
                // RFC 1950: method 8, and a check of both bytes.
                let wrapped = a & 0x0f == 8 && (u16::from(a) << 8 | u16::from(b)) % 31 == 0;
                *self = Self::Deflate(Box::new(Decompress::new(wrapped)), false);
                self.push(data, sink)
            }
            Self::Deflate(decoder, done) => inflate(decoder, done, data, sink),
            Self::Brotli(state, done) => unbrotli(state, done, data, sink),
            Self::Zstd(decoder, done) => unzstd(decoder, done, data, sink),
        }
    }
}

fn inflate(decoder: &mut Decompress, done: &mut bool, mut data: &[u8], sink: &mut Sink) -> Result<(), Fault> {
    let mut step = vec![0; STEP];
    loop {
        if *done {
            return if data.is_empty() { Ok(()) } else { Err(trailing()) };
        }
        let (read, written) = (decoder.total_in(), decoder.total_out());
        let status = decoder
            .decompress(data, &mut step, FlushDecompress::None)
            .map_err(|error| Fault::Broken(error.to_string()))?;
        let read = usize::try_from(decoder.total_in() - read).unwrap_or(usize::MAX);
        let written = usize::try_from(decoder.total_out() - written).unwrap_or(usize::MAX);
        data = &data[read..];
        sink.take(&step[..written])?;
        *done = status == Status::StreamEnd;
        if !*done && data.is_empty() && written < STEP {
            return Ok(());
        }
        if !*done && read == 0 && written == 0 {
            return Err(Fault::Broken("no progress".to_owned()));
        }
    }
}

fn unbrotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    done: &mut bool,
    data: &[u8],
    sink: &mut Sink,
) -> Result<(), Fault> {
    if *done {
        return if data.is_empty() { Ok(()) } else { Err(trailing()) };
    }
    let mut step = vec![0; STEP];
    let (mut left, mut offset, mut total) = (data.len(), 0, 0);
    loop {
        let (mut room, mut written) = (STEP, 0);
        let result =
            BrotliDecompressStream(&mut left, &mut offset, data, &mut room, &mut written, &mut step, &mut total, state);
        sink.take(&step[..written])?;
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput => return Ok(()),
            BrotliResult::ResultSuccess => {
                *done = true;
                return if left == 0 { Ok(()) } else { Err(trailing()) };
            }
            BrotliResult::ResultFailure => return Err(Fault::Broken("invalid data".to_owned())),
        }
    }
}

fn unzstd(decoder: &mut ZstdDecoder<'_>, done: &mut bool, mut data: &[u8], sink: &mut Sink) -> Result<(), Fault> {
    let mut step = vec![0; STEP];
    loop {
        let status = decoder.run_on_buffers(data, &mut step).map_err(|error| Fault::Broken(error.to_string()))?;
        data = &data[status.bytes_read..];
        sink.take(&step[..status.bytes_written])?;
        if status.bytes_read == 0 && status.bytes_written == 0 {
            return Ok(());
        }
        // Zero: a frame is over. Another may follow.
        *done = status.remaining == 0;
        if data.is_empty() && status.bytes_written < STEP {
            return Ok(());
        }
    }
}

fn trailing() -> Fault {
    Fault::Broken("data behind the end".to_owned())
}

impl Sink {
    fn take(&mut self, data: &[u8]) -> Result<(), Fault> {
        if data.len() > self.limit - self.data.len() {
            self.full = true;
            return Err(Fault::TooLong);
        }
        self.data.extend_from_slice(data);
        Ok(())
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.take(data).map_err(|_| io::Error::other("too long"))?;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("coding", &self.coding).field("taken", &self.taken).finish_non_exhaustive()
    }
}
