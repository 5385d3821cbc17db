//! The kind for gRPC messages.

use bytes::{Bytes, BytesMut};

use super::piece::PREFIX;
use super::{BodyKind, Dir, Message, Output, Piece, Request, Response, Want};
use crate::stop::Halted;
use crate::{Abort, LocalReply, RequestHead, ResponseHead, Stop};

/// The longest message that is taken, as in most gRPC implementations (4 MiB).
const MAX_MESSAGE: usize = 4 << 20;

/// The body as gRPC messages, one by one as they are complete; any number of messages goes out for each that comes in.
///
/// How the data plane cuts the body does not matter: messages are put together from chunks and framed again. The
/// handler runs for messages only: not for an empty body, and not for an end that comes alone. The head is read-only,
/// as with [`Stream`](super::Stream).
///
/// By body mode:
///
/// * NONE: the processor asks for STREAMED with its header answer (Envoy: needs `allow_mode_override`); if that is not
///   granted it is a [`Mismatch`](crate::Mismatch) and the handler is not run.
/// * BUFFERED: all messages at once.
/// * BUFFERED_PARTIAL: all messages at once; of a long body only those that came, the rest passes unseen.
/// * STREAMED: output goes into the answer to the chunk that completed the message.
/// * FULL_DUPLEX_STREAMED: free.
/// * GRPC: native. Each message comes and goes as one, nothing is framed; the processor returns credit and keeps to the
///   data plane's where windows are declared.
///
/// A body whose head says that it is not gRPC passes; if the data plane does not send the head it is taken for gRPC. A
/// message that is longer than 4 MiB fails the exchange. Bytes of an incomplete message at the end of a body pass.
///
/// ```
/// use extproc::{MsgIo, Open, Processor, Request, Skip, Messages, Stop};
///
/// #[derive(Clone, PartialEq, prost::Message)]
/// struct Hello {
///     #[prost(string, tag = "1")]
///     name: String,
/// }
///
/// struct Greet;
///
/// impl Processor for Greet {
///     type Ctx = ();
///     type RequestBody = Messages;
///     type ResponseBody = Skip;
///     fn open(&self, _: &Open) {}
///     async fn request_body(&self, _: &mut (), io: &mut MsgIo<Request>) -> Result<(), Stop> {
///         let mut hello: Hello = io.decode()?;
///         hello.name.insert_str(0, "dear ");
///         io.out.send(&hello);
///         Ok(())
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages;

/// What a [`Messages`] body handler gets: one message.
#[derive(Debug)]
pub struct MsgIo<D: Dir> {
    /// Where the output goes. What is not put out is dropped.
    pub out: MsgOut,
    head: D::Head,
    message: Message,
    half_closed: bool,
}

/// The output for one message: what is put out goes on in its place, in this order.
///
/// ```
/// use extproc::{MsgIo, Request};
///
/// fn frame(io: &mut MsgIo<Request>) {
///     io.out.send_raw("before");
///     io.out.pass();
///     io.out.send_raw("after");
/// }
/// ```
///
/// Without `pass` the message is dropped; without anything, nothing goes on for it. Behind the last message of a
/// direction no handler runs: what is to come after it is put out with it, where it is known to be the last
/// ([`MsgIo::is_half_closed`]).
#[derive(Debug, Default)]
pub struct MsgOut {
    messages: Vec<Message>,
    input: Message,
    /// A message that gRPC cannot frame was put out.
    too_long: Option<usize>,
}

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// It is compressed; only [`MsgIo::raw`] and [`MsgOut::pass`] are of use.
    #[error("the message is compressed")]
    Compressed,
    /// It is not a message of this type.
    #[error("the message cannot be decoded")]
    Decode(#[from] prost::DecodeError),
    /// Its length is above the limit of 4 MiB.
    #[error("a message of {0} bytes is longer than the 4 MiB that are taken")]
    TooLong(usize),
    /// A message was put out that is longer than gRPC can frame (4 GiB).
    #[error("a message of {0} bytes is longer than gRPC can frame")]
    Unframed(usize),
}

impl<D: Dir> MsgIo<D> {
    fn new(head: D::Head, message: Message, half_closed: bool) -> Self {
        let out = MsgOut { input: message.clone(), ..MsgOut::default() };
        Self { out, head, message, half_closed }
    }

    /// The head, as it left.
    #[must_use]
    pub const fn head(&self) -> &D::Head {
        &self.head
    }

    /// Reads the message.
    ///
    /// # Errors
    /// [`MessageError`] when it is compressed or of another type.
    pub fn decode<M: prost::Message + Default>(&self) -> Result<M, MessageError> {
        if self.is_compressed() {
            return Err(MessageError::Compressed);
        }
        Ok(M::decode(self.raw())?)
    }

    /// The bytes of the message, as they came.
    #[must_use]
    pub fn raw(&self) -> Bytes {
        self.message.data.clone()
    }

    /// Whether the message is compressed, by what `grpc-encoding` says.
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        self.message.compressed
    }

    /// Whether this is known to be the last message of its direction. False means only that the end has not come with it:
    /// it comes by itself, or with trailers, which end every gRPC response that has messages, and then no handler of
    /// messages hears of it.
    #[must_use]
    pub const fn is_half_closed(&self) -> bool {
        self.half_closed
    }
}

impl MsgIo<Request> {
    /// The service and the method that are called, from the path.
    #[must_use]
    pub fn call(&self) -> Option<(&str, &str)> {
        call(&self.head)
    }
}

impl MsgIo<Response> {
    /// The service and the method that were called, from the request's path.
    #[must_use]
    pub fn call(&self) -> Option<(&str, &str)> {
        call(self.head.request()?)
    }
}

fn call(head: &RequestHead) -> Option<(&str, &str)> {
    head.path_without_query().strip_prefix('/')?.rsplit_once('/')
}

impl MsgOut {
    /// Puts a message out, behind those that were put out before.
    pub fn send(&mut self, message: &impl prost::Message) {
        self.send_raw(message.encode_to_vec());
    }

    /// Puts out the bytes of a message, not compressed. A message longer than gRPC can frame (4 GiB) fails the phase.
    pub fn send_raw(&mut self, message: impl Into<Bytes>) {
        self.put(Message::new(message.into(), false));
    }

    /// Puts out the bytes of a message that the author has compressed, by what `grpc-encoding` says. gRPC's own data
    /// planes refuse compressed messages from a processor in GRPC mode (gRFC A93); proxies may take them.
    pub fn send_compressed(&mut self, message: impl Into<Bytes>) {
        self.put(Message::new(message.into(), true));
    }

    /// Puts out the message as it came, also a compressed one. Nothing is copied.
    pub fn pass(&mut self) {
        self.messages.push(self.input.clone());
    }

    fn put(&mut self, message: Message) {
        if u32::try_from(message.data.len()).is_err() {
            self.too_long = Some(message.data.len());
        } else {
            self.messages.push(message);
        }
    }
}

/// Bytes on their way to becoming messages.
#[derive(Debug, Default)]
#[expect(unnameable_types, reason = "sealed")]
pub struct Deframer {
    /// The rest of the piece at hand, as long as no message began in an earlier one.
    piece: Bytes,
    /// A message that began in an earlier piece, and what followed.
    carry: BytesMut,
}

impl Deframer {
    /// The messages of a whole body in frames; `None` if it is anything else.
    pub(crate) fn messages(body: Bytes) -> Option<Vec<Message>> {
        let mut deframer = Self { piece: body, ..Self::default() };
        let mut messages = Vec::new();
        while let Some(frame) = deframer.next().ok()? {
            messages.push(Message::of_frame(frame));
        }
        deframer.is_empty().then_some(messages)
    }

    pub(crate) fn push(&mut self, data: Bytes) {
        if self.carry.is_empty() {
            self.piece = data;
        } else {
            self.carry.extend_from_slice(&data);
        }
    }

    /// The next complete message, with its prefix.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, MessageError> {
        let data: &[u8] = if self.carry.is_empty() { &self.piece } else { &self.carry };
        let Some((prefix, rest)) = data.split_first_chunk::<PREFIX>() else { return Ok(None) };
        let [_, length @ ..] = *prefix;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_MESSAGE {
            return Err(MessageError::TooLong(length));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let frame = if self.carry.is_empty() {
            self.piece.split_to(PREFIX + length)
        } else {
            self.carry.split_to(PREFIX + length).freeze()
        };
        Ok(Some(frame))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.piece.is_empty() && self.carry.is_empty()
    }

    /// Keeps an incomplete message for the next piece.
    pub(crate) fn keep(&mut self) {
        if self.carry.is_empty() {
            self.carry.extend_from_slice(&std::mem::take(&mut self.piece));
        }
    }

    fn take_rest(&mut self) -> Bytes {
        self.keep();
        self.carry.split().freeze()
    }
}

fn load<D: Dir>(state: &mut Deframer, head: D::Head, is_grpc: bool, piece: &mut Piece) -> Result<MsgIo<D>, D::Head> {
    if piece.is_message() {
        let Some(message) = piece.take_message() else { return Err(head) };
        piece.out = Output::Messages(Vec::new());
        return Ok(MsgIo::new(head, message, piece.last));
    }
    if !is_grpc {
        return Err(head);
    }
    if let Some(data) = piece.take() {
        // From here on the output is what the handler puts out.
        piece.out = Output::Pieces(Vec::new());
        if !state.carry.is_empty() {
            piece.fallback = Some([state.carry.as_ref(), data.as_ref()].concat().into());
        }
        state.push(data);
    }
    match state.next() {
        Ok(Some(frame)) => {
            let half_closed = piece.last && !piece.truncated && state.is_empty();
            Ok(MsgIo::new(head, Message::of_frame(frame), half_closed))
        }
        Ok(None) => {
            if piece.last {
                let rest = state.take_rest();
                if let Output::Pieces(pieces) = &mut piece.out
                    && !rest.is_empty()
                {
                    pieces.push(rest);
                }
            } else {
                state.keep();
            }
            Err(head)
        }
        Err(error) => {
            piece.error = Some(error.into());
            Err(head)
        }
    }
}

fn unload<D: Dir>(io: MsgIo<D>, piece: &mut Piece) -> D::Head {
    match &mut piece.out {
        Output::Messages(messages) => messages.extend(io.out.messages),
        Output::Pieces(pieces) => pieces.extend(io.out.messages.into_iter().map(Message::into_frame)),
        Output::Same => {}
    }
    if let Some(length) = io.out.too_long {
        piece.error = Some(MessageError::Unframed(length).into());
    }
    io.head
}

impl BodyKind<Request> for Messages {
    type Io = MsgIo<Request>;
    type Stop = Stop;
    type State = Deframer;

    const WANT: Want = Want::Messages;

    fn load(state: &mut Deframer, head: RequestHead, piece: &mut Piece) -> Result<Self::Io, RequestHead> {
        let is_grpc = head.is_grpc() || head.headers().is_empty();
        load(state, head, is_grpc, piece)
    }

    fn unload(io: Self::Io, piece: &mut Piece) -> RequestHead {
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
        io.message.len()
    }
}

impl BodyKind<Response> for Messages {
    type Io = MsgIo<Response>;
    type Stop = Abort;
    type State = Deframer;

    const WANT: Want = Want::Messages;

    fn load(state: &mut Deframer, head: ResponseHead, piece: &mut Piece) -> Result<Self::Io, ResponseHead> {
        let is_grpc = head.is_grpc() || head.headers().is_empty();
        load(state, head, is_grpc, piece)
    }

    fn unload(io: Self::Io, piece: &mut Piece) -> ResponseHead {
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
        io.message.len()
    }
}
