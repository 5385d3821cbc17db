//! HTTP/1.1 messages, read and written by hand: the peers must see where a message was cut and choose its chunks.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::transcript::{End, HeaderList, text};

/// The first line and the headers of a message.
#[derive(Clone, Debug)]
pub struct Head {
    /// The request line or the status line.
    pub start: String,
    /// The fields in order.
    pub headers: HeaderList,
}

impl Head {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The `index`th word of the first line.
    #[must_use]
    pub fn word(&self, index: usize) -> &str {
        self.start.split(' ').nth(index).unwrap_or_default()
    }

    /// How the body of this message is delimited.
    #[must_use]
    pub fn framing(&self, is_response: bool) -> Framing {
        if self.header("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked")) {
            return Framing::Chunked;
        }
        match self.header("content-length").and_then(|value| value.trim().parse().ok()) {
            Some(length) => Framing::Length(length),
            None if is_response => Framing::UntilClose,
            None => Framing::Length(0),
        }
    }
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By `content-length`.
    Length(usize),
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// A body as far as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The bytes.
    pub bytes: BytesMut,
    /// The trailers.
    pub trailers: HeaderList,
    /// How it ended.
    pub end: End,
}

/// Reads messages from a connection.
#[derive(Debug)]
pub struct Reader<R> {
    io: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader without anything read yet.
    pub fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new() }
    }

    /// The next head; `None` when the connection ends before one is complete.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                let mut lines = head[..end].split(|byte| *byte == b'\n');
                let start = text(lines.next().unwrap_or_default().trim_ascii_end());
                return Ok(Some(Head { start, headers: lines.filter_map(field).collect() }));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads a body into `into`, which holds what came also when this future is dropped.
    pub async fn body(&mut self, framing: Framing, into: &mut Body) {
        into.end = End::Cut;
        let whole = match framing {
            Framing::Length(length) => self.counted(length, into).await,
            Framing::Chunked => self.chunked(into).await,
            Framing::UntilClose => self.until_close(into).await,
        };
        if matches!(whole, Ok(true)) {
            into.end = End::Complete;
        }
    }

    async fn counted(&mut self, mut left: usize, into: &mut Body) -> io::Result<bool> {
        loop {
            let take = left.min(self.buffer.len());
            into.bytes.extend_from_slice(&self.buffer.split_to(take));
            left -= take;
            if left == 0 {
                return Ok(true);
            }
            if !self.fill().await? {
                return Ok(false);
            }
        }
    }

    async fn chunked(&mut self, into: &mut Body) -> io::Result<bool> {
        loop {
            let Some(line) = self.line().await? else { return Ok(false) };
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let size = std::str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            let Some(size) = size else { return Ok(false) };
            if size == 0 {
                break;
            }
            if !self.counted(size, into).await? || self.line().await?.is_none() {
                return Ok(false);
            }
        }
        while let Some(line) = self.line().await? {
            match field(&line) {
                Some(trailer) => into.trailers.push(trailer),
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    async fn until_close(&mut self, into: &mut Body) -> io::Result<bool> {
        loop {
            into.bytes.extend_from_slice(&self.buffer.split());
            if !self.fill().await? {
                return Ok(true);
            }
        }
    }

    /// A line without its end; `None` when the connection ends first.
    async fn line(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(end).freeze();
                self.buffer.advance(2);
                return Ok(Some(line));
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads more; false at the end of the connection.
    pub async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.io.read_buf(&mut self.buffer).await? > 0)
    }
}

fn field(line: &[u8]) -> Option<(String, String)> {
    let colon = line.iter().position(|byte| *byte == b':').filter(|at| *at > 0);
    // A name may begin with a colon when a data plane lets a pseudo header slip into trailers.
    let colon = colon.or_else(|| line.iter().skip(1).position(|byte| *byte == b':').map(|at| at + 1))?;
    Some((text(&line[..colon]), text(line[colon + 1..].trim_ascii())))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Appends one chunk, or with an empty one nothing.
pub fn write_chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends the last chunk and the trailers.
pub fn write_end<'a>(out: &mut Vec<u8>, trailers: impl Iterator<Item = (&'a str, &'a str)>) {
    out.extend_from_slice(b"0\r\n");
    write_fields(out, trailers);
    out.extend_from_slice(b"\r\n");
}

/// Appends fields, without the empty line.
pub fn write_fields<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a str, &'a str)>) {
    for (name, value) in fields {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(message: &str) -> (Head, Body) {
        let mut reader = Reader::new(message.as_bytes());
        let head = reader.head().await.unwrap().unwrap();
        let mut body = Body::default();
        let framing = head.framing(true);
        reader.body(framing, &mut body).await;
        (head, body)
    }

    #[tokio::test]
    async fn whole_and_cut_bodies() {
        for (message, bytes, end) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", End::Complete),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", "hel", End::Cut),
            ("HTTP/1.1 200 OK\r\n\r\nhello", "hello", End::Complete),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\n\r\n",
                "hello",
                End::Complete,
            ),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n", "he", End::Cut),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\nx-t: 1\r\n", "he", End::Cut),
        ] {
            let (head, body) = read(message).await;
            assert_eq!(head.word(1), "200");
            assert_eq!((&body.bytes[..], body.end), (bytes.as_bytes(), end), "{message:?}");
        }
    }

    #[tokio::test]
    async fn trailers() {
        let (_, body) =
            read("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-t: 1\r\n:foo: 2\r\n\r\n").await;
        assert_eq!(body.trailers, [("x-t", "1"), (":foo", "2")].map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert_eq!(body.end, End::Complete);
    }
}
