//! What a processor wants of a body.

#[cfg(feature = "codecs")]
mod codec;
mod error;
mod events;
mod formats;
mod lines;
mod messages;
mod piece;
mod stream;

use std::ops::DerefMut;
use std::str::Utf8Error;
use std::sync::Arc;

use bytes::Bytes;

#[cfg(feature = "codecs")]
pub use self::codec::{CodecError, Coding, Decoder, Encoder};
pub use self::error::BodyError;
pub use self::events::{Event, Events};
pub use self::lines::{Line, Lines, TooLong};
pub(crate) use self::messages::Deframer;
pub use self::messages::{MessageError, Messages, MsgIo, MsgOut};
pub(crate) use self::piece::{Message, Output, Piece, joined};
pub use self::stream::{ChunkIo, Out, Stream};
use crate::stop::Halted;
use crate::{Fields, LocalReply, RequestHead, ResponseHead, Stop, Trailers};

/// What a processor wants of the body of one direction, said by a type.
///
/// | kind | handler gets | buffers |
/// |---|---|---|
/// | [`Skip`] | nothing; there is no handler | nothing |
/// | [`Whole`] | the head and the whole body at once, whatever body mode the data plane uses | up to its limit |
/// | [`Stream`] | each chunk as it comes, with a read-only head; any output | nothing |
/// | [`Messages`] | each gRPC message, with a read-only head; any output | one message, up to 4 MiB |
///
/// The trait is sealed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a body kind",
    label = "use `Skip` for no body, `Whole<MAX>` for the whole body up to MAX bytes, `Stream` for chunks, `Messages` for gRPC messages"
)]
pub trait BodyKind<D: Dir>: sealed::Sealed + Send + Sync + 'static {
    /// What the body handler gets.
    type Io: Send + 'static;
    /// How the body handler may stop the exchange.
    type Stop: Send + 'static;

    /// What is kept between pieces.
    #[doc(hidden)]
    type State: Default + Send + 'static;

    #[doc(hidden)]
    const WANT: Want;

    /// What the handler gets of a piece; the head back when there is nothing (more) for it.
    #[doc(hidden)]
    fn load(state: &mut Self::State, head: D::Head, piece: &mut Piece) -> Result<Self::Io, D::Head>;

    /// Takes the handler's output.
    #[doc(hidden)]
    fn unload(io: Self::Io, piece: &mut Piece) -> D::Head;

    /// Lets everything go on as it came: what a handler does that was not written.
    #[doc(hidden)]
    fn pass(io: &mut Self::Io);

    #[doc(hidden)]
    fn halted(stop: Self::Stop) -> Halted;

    #[doc(hidden)]
    fn reply(stop: &mut Self::Stop) -> Option<&mut LocalReply>;

    /// The stop that answers the client, or cuts the response off where it has begun; nothing where there is no handler.
    #[doc(hidden)]
    fn stop_with(reply: LocalReply) -> Option<Self::Stop>;

    /// How many bytes the handler gets.
    #[doc(hidden)]
    fn size(io: &Self::Io) -> usize;
}

/// How much of a body a kind takes at once.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(unnameable_types, reason = "sealed")]
pub enum Want {
    /// None of it.
    Nothing,
    /// Each chunk as it comes.
    Chunks,
    /// Each gRPC message.
    Messages,
    /// All of it, up to so many bytes.
    Whole(usize),
}

impl Want {
    /// Whether it takes the body in pieces, as it comes.
    pub(crate) const fn is_piecewise(self) -> bool {
        matches!(self, Self::Chunks | Self::Messages)
    }
}

/// What the body handler of kind `K` gets.
pub type Io<D, K> = <K as BodyKind<D>>::Io;

/// How the body handler of kind `K` may stop the exchange.
pub type Halt<D, K> = <K as BodyKind<D>>::Stop;

/// A direction of an exchange, as a type: [`Request`] or [`Response`].
pub trait Dir: sealed::Sealed + Send + Sync + 'static {
    /// The head of a message in this direction.
    type Head: DerefMut<Target = Fields> + Send + 'static;
}

/// Client to upstream.
#[derive(Clone, Copy, Debug)]
pub enum Request {}

/// Upstream to client.
#[derive(Clone, Copy, Debug)]
pub enum Response {}

impl Dir for Request {
    type Head = RequestHead;
}

impl Dir for Response {
    type Head = ResponseHead;
}

/// Not interested in the body: it passes without being looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Skip;

/// The whole body at once, up to `MAX` bytes.
///
/// The handler runs once, when the body is complete, with the head still open for edits, in every body mode but these:
///
/// * NONE: the data plane sends no body. The processor asks for BUFFERED with its header answer (Envoy: needs
///   `allow_mode_override`); if that is not granted it is a [`Mismatch`](crate::Mismatch) and the handler is not run.
/// * STREAMED: the head leaves before the body. A handler that edits it fails; body edits are fine. With a
///   `content-length` the chunks are answered with nothing as they come, and the output goes into the last. Without one,
///   nothing may ever say where the body ends (it does not, if it ends with trailers): its chunks are not answered
///   before the end, so that the data plane still has them if it gives up. Such a body must come without pauses longer
///   than the data plane's message timeout and fit its buffer; if not, the exchange fails (Envoy: 504, or the original
///   body with `failure_mode_allow`), and a [`Mismatch`](crate::Mismatch) says why. Once chunks were answered with
///   nothing, a failure of the processor cuts the exchange off, whatever `failure_mode_allow` says.
/// * GRPC: all messages in their frames, held back to the end; what is put out must be frames again. The head has left
///   and is read-only. A [`Mismatch`](crate::Mismatch): a call that needs an answer to its first messages before it sends
///   the others waits for ever.
///
/// A body that ends with trailers, or that is empty, runs the handler too; a message without a body does not: see
/// [`Start::is_last`](crate::Start::is_last). CONNECT and upgrades such as WebSocket pass.
///
/// A longer body is answered with 413 on requests and fails the exchange on responses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Whole<const MAX: usize>;

/// What a [`Whole`] body handler gets.
#[derive(Debug)]
pub struct WholeIo<D: Dir> {
    /// The head, open for edits.
    pub head: D::Head,
    /// The body.
    pub body: Body,
}

/// A complete body.
#[derive(Clone, Debug, Default)]
pub struct Body {
    data: Bytes,
    truncated: bool,
    changed: bool,
    trailers: Option<Arc<Trailers>>,
}

/// Where the kind [`Skip`] has nothing: no value of this type exists, so its body handler can neither run nor stop.
#[derive(Clone, Copy, Debug)]
pub enum NoBody {}

impl Body {
    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.data
    }

    /// The body as text.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn text(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.data)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.data.len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Whether this may be the beginning only: in BUFFERED_PARTIAL the rest of a long body passes unseen, behind what
    /// this one is replaced with. Data planes do not say whether such a body is cut or ends with trailers.
    #[must_use]
    pub const fn truncated(&self) -> bool {
        self.truncated
    }

    /// The trailers that ended the body, as they came, where they came before this handler runs. `None` when there are
    /// none, and when they have not come yet:
    ///
    /// | mode | the trailers of a body are |
    /// |---|---|
    /// | FULL_DUPLEX_STREAMED, GRPC | known |
    /// | STREAMED | not known: they are sent when the chunks are answered; but behind an empty body they are |
    /// | BUFFERED, BUFFERED_PARTIAL | not known: they are sent when the body is answered; but behind an empty one, which is not sent, they are |
    ///
    /// Whatever the mode, they come only if the data plane sends trailers. They are edited in the trailer phase, which
    /// is still to come; [`Trailers::request`] has nothing here, the head has it.
    #[must_use]
    pub fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_deref()
    }

    /// Sends these bytes on in its place. A `content-length` follows.
    pub fn replace(&mut self, body: impl Into<Bytes>) {
        self.data = body.into();
        self.changed = true;
    }

    /// Sends an empty body on in its place.
    pub fn clear(&mut self) {
        self.replace(Bytes::new());
    }

    pub(crate) const fn new(data: Bytes, truncated: bool) -> Self {
        Self { data, truncated, changed: false, trailers: None }
    }

    pub(crate) const fn is_changed(&self) -> bool {
        self.changed
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.data
    }
}

impl<D: Dir> BodyKind<D> for Skip {
    type Io = NoBody;
    type Stop = NoBody;
    type State = ();

    const WANT: Want = Want::Nothing;

    fn load((): &mut (), head: D::Head, _: &mut Piece) -> Result<NoBody, D::Head> {
        Err(head)
    }

    fn unload(io: NoBody, _: &mut Piece) -> D::Head {
        match io {}
    }

    fn pass(io: &mut NoBody) {
        match *io {}
    }

    fn halted(stop: NoBody) -> Halted {
        match stop {}
    }

    fn reply(stop: &mut NoBody) -> Option<&mut LocalReply> {
        match *stop {}
    }

    fn stop_with(_: LocalReply) -> Option<NoBody> {
        None
    }

    fn size(io: &NoBody) -> usize {
        match *io {}
    }
}

impl<D: Dir, const MAX: usize> BodyKind<D> for Whole<MAX> {
    type Io = WholeIo<D>;
    type Stop = Stop;
    type State = ();

    const WANT: Want = Want::Whole(MAX);

    fn load((): &mut (), head: D::Head, piece: &mut Piece) -> Result<WholeIo<D>, D::Head> {
        match piece.take() {
            Some(data) => {
                let trailers = piece.trailers.take();
                Ok(WholeIo { head, body: Body { trailers, ..Body::new(data, piece.truncated) } })
            }
            None => Err(head),
        }
    }

    fn unload(io: WholeIo<D>, piece: &mut Piece) -> D::Head {
        if io.body.changed {
            piece.out = Output::Pieces(vec![io.body.data]);
        }
        io.head
    }

    fn pass(_: &mut WholeIo<D>) {}

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

    fn size(io: &WholeIo<D>) -> usize {
        io.body.len()
    }
}

mod sealed {
    #[expect(unnameable_types, reason = "sealed")]
    pub trait Sealed {}
    impl Sealed for super::Request {}
    impl Sealed for super::Response {}
    impl Sealed for super::Skip {}
    impl<const MAX: usize> Sealed for super::Whole<MAX> {}
    impl Sealed for super::Stream {}
    impl Sealed for super::Messages {}
}
