//! gRPC's framing of messages in a body: a flag, four bytes of length, the message.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::filter::out::Out;

/// The flag and the length in front of a message.
const PREFIX: usize = 5;
/// A message up to this length goes out in one piece with its prefix; a longer one is not copied.
const JOINED: usize = 4_096;

/// One message of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) body: Bytes,
    pub(crate) compressed: bool,
}

impl Message {
    /// Its length in a body.
    pub(in crate::filter) const fn framed_len(&self) -> usize {
        PREFIX + self.body.len()
    }
}

/// Why a body is no sequence of gRPC messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("grpc_message_larger_than_the_limit")]
    TooLarge,
    #[error("grpc_message_with_an_unknown_flag")]
    Flag,
    #[error("grpc_message_cut_short_by_the_end_of_the_body")]
    Truncated,
}

/// The beginning of a body that is not yet whole messages. Copies only a message that came in several pieces.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    /// The prefix of the message that is coming.
    prefix: Option<(bool, usize)>,
}

impl Frames {
    pub(crate) fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.bytes += data.len();
            self.pieces.push_back(data);
        }
    }

    /// The next whole message. Nothing is lost by an error.
    pub(crate) fn next(&mut self, limit: usize) -> Result<Option<Message>, FrameError> {
        let (compressed, len) = match self.prefix {
            Some(prefix) => prefix,
            None if self.bytes < PREFIX => return Ok(None),
            None => {
                let mut prefix = [0; PREFIX];
                let bytes = self.pieces.iter().flatten();
                prefix.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                let [flag, length @ ..] = prefix;
                if flag > 1 {
                    return Err(FrameError::Flag);
                }
                let len = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                if len > limit {
                    return Err(FrameError::TooLarge);
                }
                self.take(PREFIX);
                *self.prefix.insert((flag == 1, len))
            }
        };
        if self.bytes < len {
            return Ok(None);
        }
        self.prefix = None;
        Ok(Some(Message { body: self.take(len), compressed }))
    }

    /// Whether the body may end here.
    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes == 0 && self.prefix.is_none()
    }

    /// Lets go of what is there, as it came.
    pub(in crate::filter) fn release(self, out: &mut Out) {
        if let Some((compressed, len)) = self.prefix {
            out.data(prefix(compressed, len), false);
        }
        self.pieces.into_iter().for_each(|piece| out.data(piece, false));
    }

    /// The first bytes; there are as many.
    fn take(&mut self, len: usize) -> Bytes {
        self.bytes -= len;
        if let Some(first) = self.pieces.front_mut().filter(|first| first.len() > len) {
            return first.split_to(len);
        }
        if self.pieces.front().is_some_and(|first| first.len() == len) {
            return self.pieces.pop_front().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(len);
        while whole.len() < len {
            let Some(mut piece) = self.pieces.pop_front() else { break };
            let rest = piece.split_off(piece.len().min(len - whole.len()));
            whole.extend_from_slice(&piece);
            if !rest.is_empty() {
                self.pieces.push_front(rest);
            }
        }
        whole.freeze()
    }
}

impl Message {
    /// Lets it go with its prefix.
    pub(in crate::filter) fn release(self, out: &mut Out, end: bool) {
        if self.body.len() <= JOINED {
            let mut whole = BytesMut::with_capacity(PREFIX + self.body.len());
            whole.extend_from_slice(&prefix(self.compressed, self.body.len()));
            whole.extend_from_slice(&self.body);
            out.data(whole.freeze(), end);
        } else {
            out.data(prefix(self.compressed, self.body.len()), false);
            out.data(self.body, end);
        }
    }
}

fn prefix(compressed: bool, len: usize) -> Bytes {
    let mut prefix = BytesMut::with_capacity(PREFIX);
    prefix.put_u8(u8::from(compressed));
    // A processor's message comes in a gRPC message itself, whose length has four bytes.
    prefix.put_u32(u32::try_from(len).unwrap_or(u32::MAX));
    prefix.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(frames: &mut Frames) -> Result<Vec<(Bytes, bool)>, FrameError> {
        let mut all = Vec::new();
        while let Some(message) = frames.next(10)? {
            all.push((message.body, message.compressed));
        }
        Ok(all)
    }

    #[test]
    fn any_split_gives_the_same_messages() {
        let body = b"\0\0\0\0\x03abc\x01\0\0\0\0\0\0\0\0\x0ahalf a loaf";
        for first in 0..=body.len() {
            for second in first..=body.len() {
                let mut frames = Frames::default();
                let mut seen = Vec::new();
                for piece in [&body[..first], &body[first..second], &body[second..]] {
                    frames.push(Bytes::copy_from_slice(piece));
                    seen.extend(messages(&mut frames).unwrap_or_default());
                }
                let expected = [(&b"abc"[..], false), (b"", true), (b"half a loa", false)];
                let seen: Vec<_> = seen.iter().map(|(body, compressed)| (&body[..], *compressed)).collect();
                assert_eq!(seen, expected, "cut at {first} and {second}");
                assert_eq!((frames.bytes, frames.is_empty()), (1, false));
            }
        }
    }

    #[test]
    fn errors_lose_nothing() {
        for (body, error) in [
            (&b"\0\0\0\0\x0b"[..], Some(FrameError::TooLarge)),
            (b"\x02\0\0\0\0", Some(FrameError::Flag)),
            (b"\0\xff\xff\xff\xffab", Some(FrameError::TooLarge)),
            (b"\x01\0\0\0\x05ab", None),
            (b"\0\0", None),
        ] {
            let mut frames = Frames::default();
            frames.push(Bytes::from_static(body));
            assert_eq!(messages(&mut frames).err(), error);
            let mut out = Out::default();
            frames.release(&mut out);
            let mut seen = Vec::new();
            while let Some(crate::filter::Forward::Data(data, false)) = out.pop() {
                seen.extend_from_slice(&data);
            }
            assert_eq!(seen, body);
        }
    }

    #[test]
    fn short_messages_go_out_in_one_piece() {
        for (len, pieces) in [(0, 1), (JOINED, 1), (JOINED + 1, 2)] {
            let mut out = Out::default();
            Message { body: vec![b'x'; len].into(), compressed: true }.release(&mut out, true);
            assert_eq!(out.bytes(), PREFIX + len);
            assert_eq!(std::iter::from_fn(|| out.pop()).count(), pieces, "{len}");
        }
    }
}
