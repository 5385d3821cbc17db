//! The kind for chunks as they come.

use bytes::Bytes;

use super::{BodyKind, Dir, Output, Piece, Request, Response, Want};
use crate::stop::Halted;
use crate::{Abort, LocalReply, Stop};

/// The body chunk by chunk as it comes; any number of chunks goes out for each that comes in.
///
/// Nothing is collected. Where the data plane cuts a body into chunks is chance: the output should not depend on it.
/// The head is read-only, because it has left before the body comes; edit it in the header phase. The handler sees the
/// end exactly once, by [`ChunkIo::last`], also when the body is empty or ends with trailers; the exception is trailer
/// mode SKIP in STREAMED, where data planes do not tell that trailers ended a body.
///
/// By body mode:
///
/// * NONE: the processor asks for STREAMED with its header answer (Envoy: needs `allow_mode_override`); if that is not
///   granted it is a [`Mismatch`](crate::Mismatch) and the handler is not run.
/// * BUFFERED, BUFFERED_PARTIAL: one chunk, the last. In BUFFERED_PARTIAL it may be
///   [`truncated`](ChunkIo::truncated). A `content-length` follows.
/// * STREAMED: what is put out for a chunk goes on in its place. Output at the end of a body that ended with trailers
///   fails, because no answer is left that could carry it.
/// * FULL_DUPLEX_STREAMED: free. What is longer than 64 KiB goes out in several chunks.
/// * GRPC: each message as one chunk, with the five bytes of its gRPC frame in front; what is put out must be such
///   frames again, in any chunks, or the phase fails. [`Messages`](super::Messages) is made for this mode.
///
/// In STREAMED and FULL_DUPLEX_STREAMED a `content-length` is dropped. A processor in a chain behind one that wants the
/// [`Whole`](super::Whole) body gets that body in one chunk.
///
/// A response handler stops by [`Abort`]: the client has the response's head by then, so there is no local reply.
///
/// ```
/// use extproc::{Abort, ChunkIo, Open, Processor, Response, Skip, Stream};
///
/// struct Upper;
///
/// impl Processor for Upper {
///     type Ctx = u64;
///     type RequestBody = Skip;
///     type ResponseBody = Stream;
///     fn open(&self, _: &Open) -> u64 { 0 }
///     async fn response_body(&self, seen: &mut u64, io: &mut ChunkIo<Response>) -> Result<(), Abort> {
///         *seen += io.data.len() as u64;
///         io.out.push(io.data.to_ascii_uppercase());
///         if io.last {
///             io.out.push(format!("\n# {seen} bytes"));
///         }
///         Ok(())
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Stream;

/// What a [`Stream`] body handler gets.
#[derive(Debug)]
pub struct ChunkIo<D: Dir> {
    /// The bytes; may be empty when it is the [`last`](Self::last).
    pub data: Bytes,
    /// Nothing of this body follows, to this handler.
    pub last: bool,
    /// Where the output goes. What is not put out is dropped.
    pub out: Out,
    head: D::Head,
    offset: u64,
    truncated: bool,
}

/// The output for one chunk.
#[derive(Debug)]
pub struct Out {
    input: Bytes,
    pieces: Vec<Bytes>,
    /// The chunk as it came is all there is so far.
    passed: bool,
}

impl<D: Dir> ChunkIo<D> {
    /// The head, as it left.
    #[must_use]
    pub const fn head(&self) -> &D::Head {
        &self.head
    }

    /// How many bytes of this body the handler got before this chunk. That is the chunk's place in the body as this
    /// processor sees it: with what processors in front of it in a [`Chain`](crate::Chain) changed, and in GRPC mode with
    /// the five bytes in front of each message. What is put out does not count.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether this may be the beginning of the body only: in BUFFERED_PARTIAL the rest of a long body passes unseen,
    /// behind the output.
    #[must_use]
    pub const fn truncated(&self) -> bool {
        self.truncated
    }
}

impl Out {
    /// Puts out these bytes, behind what was put out before.
    pub fn push(&mut self, data: impl Into<Bytes>) {
        let data = data.into();
        if data.is_empty() {
            return;
        }
        if std::mem::take(&mut self.passed) {
            self.pieces.push(self.input.clone());
        }
        self.pieces.push(data);
    }

    /// Puts out the chunk as it came. Nothing is copied.
    pub fn pass(&mut self) {
        if self.pieces.is_empty() && !self.passed {
            self.passed = true;
        } else {
            self.push(self.input.clone());
        }
    }

    const fn new(input: Bytes) -> Self {
        Self { input, pieces: Vec::new(), passed: false }
    }

    fn into_output(self) -> Output {
        if self.passed { Output::Same } else { Output::Pieces(self.pieces) }
    }
}

fn load<D: Dir>(seen: &mut u64, head: D::Head, piece: &mut Piece) -> Result<ChunkIo<D>, D::Head> {
    let Some(data) = piece.take() else { return Err(head) };
    let offset = *seen;
    *seen += data.len() as u64;
    Ok(ChunkIo { out: Out::new(data.clone()), data, last: piece.last, head, offset, truncated: piece.truncated })
}

fn unload<D: Dir>(io: ChunkIo<D>, piece: &mut Piece) -> D::Head {
    piece.out = io.out.into_output();
    io.head
}

impl BodyKind<Request> for Stream {
    type Io = ChunkIo<Request>;
    type Stop = Stop;
    /// How many bytes the handler got.
    type State = u64;

    const WANT: Want = Want::Chunks;

    fn load(seen: &mut u64, head: crate::RequestHead, piece: &mut Piece) -> Result<Self::Io, crate::RequestHead> {
        load(seen, head, piece)
    }

    fn unload(io: Self::Io, piece: &mut Piece) -> crate::RequestHead {
        unload(io, piece)
    }

    fn pass(io: &mut Self::Io) {
        io.out.pass();
    }

    fn halted(stop: Stop) -> Halted {
        stop.into()
    }

    fn reply(stop: &mut Stop) -> Option<&mut LocalReply> {
        match stop {
            Stop::Reply(reply) => Some(reply),
            Stop::Fail(_) => None,
        }
    }

    fn stop_with(reply: LocalReply) -> Option<Stop> {
        Some(Stop::Reply(reply))
    }

    fn size(io: &Self::Io) -> usize {
        io.data.len()
    }
}

impl BodyKind<Response> for Stream {
    type Io = ChunkIo<Response>;
    type Stop = Abort;
    /// How many bytes the handler got.
    type State = u64;

    const WANT: Want = Want::Chunks;

    fn load(seen: &mut u64, head: crate::ResponseHead, piece: &mut Piece) -> Result<Self::Io, crate::ResponseHead> {
        load(seen, head, piece)
    }

    fn unload(io: Self::Io, piece: &mut Piece) -> crate::ResponseHead {
        unload(io, piece)
    }

    fn pass(io: &mut Self::Io) {
        io.out.pass();
    }

    fn halted(stop: Abort) -> Halted {
        stop.into()
    }

    fn reply(_: &mut Abort) -> Option<&mut LocalReply> {
        None
    }

    fn stop_with(_: LocalReply) -> Option<Abort> {
        Some(Abort::Reset)
    }

    fn size(io: &Self::Io) -> usize {
        io.data.len()
    }
}
