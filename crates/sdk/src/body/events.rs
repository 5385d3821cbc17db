//! Chunks as whole server-sent events.

use std::fmt::Write as _;
use std::str::Utf8Error;

use bytes::{Bytes, BytesMut};

use super::lines::TooLong;
use crate::{ChunkIo, Dir};

/// Puts whole server-sent events together from chunks (`text/event-stream`, WHATWG HTML section 9.2), for a
/// [`Stream`](crate::Stream) body handler's context.
///
/// However the body is cut, the events are the same, and all of them in a row are the body: each carries its own bytes,
/// the blank line behind it included. What stands behind the last blank line comes as an event that is not
/// [complete](Event::is_complete) when the body ends; clients ignore it.
///
/// ```
/// use extproc::{Abort, ChunkIo, Event, Events, Response, Stream, processor};
///
/// #[derive(Default)]
/// struct Cx { events: Events }
///
/// let shout = processor::<(), Cx>("Shout", ()).response_body(
///     Stream,
///     async |_: &(), cx: &mut Cx, io: &mut ChunkIo<Response>| -> Result<(), Abort> {
///         for event in io.events(&mut cx.events)? {
///             match event.data()? {
///                 Some(data) => io.out.push(event.with_data(&data.to_uppercase())?),
///                 None => io.out.push(event), // a comment keeps the connection alive
///             }
///         }
///         Ok(())
///     },
/// );
/// # let _ = extproc::Server::new(shout);
/// ```
///
/// The beginning of an event is withheld until its end comes. An error loses it, so a processor with events should not
/// use [`OnError::Skip`](crate::OnError::Skip), which goes on without it.
#[derive(Clone, Debug)]
pub struct Events {
    carry: BytesMut,
    /// How far `carry` is read.
    read: usize,
    at: At,
    limit: usize,
}

/// What is known of the line at the reading position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Nothing of it has been read.
    #[default]
    Blank,
    /// It has bytes.
    Begun,
    /// It had bytes and ended with CR; a LF may belong to it.
    Returned,
    /// It was blank and ended with CR: the event is over, once it is known whether a LF belongs to it.
    Over,
}

/// A server-sent event as it stands in the body, or a block of comments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    raw: Bytes,
    complete: bool,
}

impl Events {
    /// With a limit on the length of an event in bytes. The default is 1 MiB.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { carry: BytesMut::new(), read: 0, at: At::Blank, limit }
    }

    /// Takes a chunk, and gives the events that are whole now.
    ///
    /// # Errors
    /// [`TooLong`] when an event is.
    pub fn push(&mut self, data: &[u8]) -> Result<Vec<Event>, TooLong> {
        self.carry.extend_from_slice(data);
        let mut events = Vec::new();
        while let Some(end) = self.end() {
            events.push(Event { raw: self.take(end)?, complete: true });
        }
        self.check(self.carry.len())?;
        Ok(events)
    }

    /// What is left when the body ends.
    pub fn finish(&mut self) -> Option<Event> {
        let complete = self.at == At::Over;
        (self.read, self.at) = (0, At::Blank);
        (!self.carry.is_empty()).then(|| Event { raw: self.carry.split().freeze(), complete })
    }

    /// Reads on to the end of the event at hand, if it is there.
    fn end(&mut self) -> Option<usize> {
        while let Some(byte) = self.carry.get(self.read) {
            let (at, over) = match (self.at, byte) {
                (At::Over, b'\n') => (At::Blank, Some(self.read + 1)),
                (At::Over, _) => return Some(self.read),
                (At::Blank, b'\n') => (At::Blank, Some(self.read + 1)),
                (At::Blank | At::Returned, b'\r') => (At::Over, None),
                (At::Begun | At::Returned, b'\n') => (At::Blank, None),
                (At::Begun, b'\r') => (At::Returned, None),
                (At::Blank | At::Begun | At::Returned, _) => (At::Begun, None),
            };
            self.at = at;
            self.read += 1;
            if over.is_some() {
                return over;
            }
        }
        None
    }

    fn take(&mut self, end: usize) -> Result<Bytes, TooLong> {
        (self.read, self.at) = (0, At::Blank);
        self.check(end)?;
        Ok(self.carry.split_to(end).freeze())
    }

    const fn check(&self, length: usize) -> Result<(), TooLong> {
        if length > self.limit { Err(TooLong { what: "a server-sent event", limit: self.limit }) } else { Ok(()) }
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new(1 << 20)
    }
}

impl Event {
    /// An event with this data, and nothing else.
    #[must_use]
    pub fn new(data: &str) -> Self {
        Self::write([], data)
    }

    /// The bytes as they stand in the body.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.raw
    }

    /// Whether a blank line ended it. Only the last of a body may lack that; clients ignore it then.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// The values of all `data` lines, joined by LF; `None` when there is no such line, as in comments.
    ///
    /// # Errors
    /// When the event is not UTF-8.
    pub fn data(&self) -> Result<Option<String>, Utf8Error> {
        let mut data: Option<String> = None;
        for (_, value) in fields(self.text()?).filter(|(name, _)| *name == "data") {
            match &mut data {
                None => data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            }
        }
        Ok(data)
    }

    /// The value of the last line of this name, such as `event`, `id` or `retry`.
    ///
    /// # Errors
    /// When the event is not UTF-8.
    pub fn field(&self, name: &str) -> Result<Option<&str>, Utf8Error> {
        Ok(fields(self.text()?).filter(|(n, _)| *n == name).last().map(|(_, value)| value))
    }

    /// The event with other data; its other lines stay, comments do not.
    ///
    /// # Errors
    /// When the event is not UTF-8.
    pub fn with_data(&self, data: &str) -> Result<Self, Utf8Error> {
        Ok(Self::write(fields(self.text()?).filter(|(name, _)| *name != "data"), data))
    }

    fn write<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>, data: &str) -> Self {
        let mut text = String::new();
        for (name, value) in fields {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name}: {value}");
        }
        for line in lines(data) {
            let _ = writeln!(text, "data: {line}");
        }
        text.push('\n');
        Self { raw: text.into(), complete: true }
    }

    fn text(&self) -> Result<&str, Utf8Error> {
        let text = std::str::from_utf8(&self.raw)?;
        // A byte order mark in front of the first event is not part of it.
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }
}

impl From<Event> for Bytes {
    fn from(event: Event) -> Self {
        event.raw
    }
}

impl<D: Dir> ChunkIo<D> {
    /// The server-sent events that are whole with this chunk, and at the end of the body what is left.
    ///
    /// # Errors
    /// [`TooLong`] when an event is.
    pub fn events(&self, events: &mut Events) -> Result<Vec<Event>, TooLong> {
        let mut whole = events.push(&self.data)?;
        if self.last {
            whole.extend(events.finish());
        }
        Ok(whole)
    }
}

/// The fields of an event; comments and blank lines are none.
fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    lines(text).filter(|line| !line.is_empty() && !line.starts_with(':')).map(|line| match line.split_once(':') {
        Some((name, value)) => (name, value.strip_prefix(' ').unwrap_or(value)),
        None => (line, ""),
    })
}

/// The lines, ended by LF, CR LF or CR.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = text.find(['\r', '\n']) else {
            rest = None;
            return Some(text);
        };
        let end = if text[at..].starts_with("\r\n") { 2 } else { 1 };
        rest = Some(&text[at + end..]);
        Some(&text[..at])
    })
}
