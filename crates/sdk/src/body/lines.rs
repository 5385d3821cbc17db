//! Chunks as whole lines.

use std::str::Utf8Error;

use bytes::{Bytes, BytesMut};

use crate::{ChunkIo, Dir};

/// Puts whole lines together from chunks, for a [`Stream`](crate::Stream) body handler's context.
///
/// However the body is cut, the lines are the same, and all of them in a row are the body: each carries its line end.
/// What stands behind the last line end comes as a line without one when the body ends.
///
/// ```
/// use extproc::{Abort, ChunkIo, Lines, Response, Skip, Stream, processor};
///
/// #[derive(Default)]
/// struct Cx { lines: Lines }
///
/// let redact = processor::<(), Cx>("Redact", ()).response_body(
///     Stream,
///     async |_: &(), cx: &mut Cx, io: &mut ChunkIo<Response>| -> Result<(), Abort> {
///         for line in io.lines(&mut cx.lines)? {
///             if !line.text()?.contains("secret") {
///                 io.out.push(line);
///             }
///         }
///         Ok(())
///     },
/// );
/// # let _ = extproc::Server::new(redact);
/// ```
///
/// The beginning of a line is withheld until its end comes. An error loses it, so a processor with lines should not use
/// [`OnError::Skip`](crate::OnError::Skip), which goes on without it.
#[derive(Clone, Debug)]
pub struct Lines {
    carry: BytesMut,
    limit: usize,
}

/// A line with its end, LF or CR LF; the last line of a body may have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(Bytes);

/// What is put together from chunks is longer than is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is longer than the {limit} bytes that are taken")]
pub struct TooLong {
    pub(super) what: &'static str,
    /// The limit, in bytes.
    pub limit: usize,
}

impl Lines {
    /// With a limit on the length of a line in bytes, its end included. The default is 1 MiB.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { carry: BytesMut::new(), limit }
    }

    /// Takes a chunk, and gives the lines that are whole now. Within a chunk nothing is copied.
    ///
    /// # Errors
    /// [`TooLong`] when a line is.
    pub fn push(&mut self, data: impl Into<Bytes>) -> Result<Vec<Line>, TooLong> {
        let mut data = data.into();
        let mut lines = Vec::new();
        while let Some(at) = memchr::memchr(b'\n', &data) {
            let end = data.split_to(at + 1);
            let line = if self.carry.is_empty() {
                end
            } else {
                self.carry.extend_from_slice(&end);
                self.carry.split().freeze()
            };
            self.check(line.len())?;
            lines.push(Line(line));
        }
        self.carry.extend_from_slice(&data);
        self.check(self.carry.len())?;
        Ok(lines)
    }

    /// What is left when the body ends.
    pub fn finish(&mut self) -> Option<Line> {
        (!self.carry.is_empty()).then(|| Line(self.carry.split().freeze()))
    }

    const fn check(&self, length: usize) -> Result<(), TooLong> {
        if length > self.limit { Err(TooLong { what: "a line", limit: self.limit }) } else { Ok(()) }
    }
}

impl Default for Lines {
    fn default() -> Self {
        Self::new(1 << 20)
    }
}

impl Line {
    /// The bytes, with the line end.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The text, without the line end.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self) -> Result<&str, Utf8Error> {
        let line = self.0.strip_suffix(b"\n").map_or(&*self.0, |line| line.strip_suffix(b"\r").unwrap_or(line));
        std::str::from_utf8(line)
    }
}

impl From<Line> for Bytes {
    fn from(line: Line) -> Self {
        line.0
    }
}

impl<D: Dir> ChunkIo<D> {
    /// The lines that are whole with this chunk, and at the end of the body what is left.
    ///
    /// # Errors
    /// [`TooLong`] when a line is.
    pub fn lines(&self, lines: &mut Lines) -> Result<Vec<Line>, TooLong> {
        let mut whole = lines.push(self.data.clone())?;
        if self.last {
            whole.extend(lines.finish());
        }
        Ok(whole)
    }
}
