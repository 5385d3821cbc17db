//! A piece of a body on its way through one stage.

use bytes::Bytes;

use crate::stop::Error;

/// What goes into a body handler, and what comes out.
#[doc(hidden)]
#[derive(Debug)]
#[expect(unnameable_types, reason = "sealed")]
pub struct Piece {
    data: Bytes,
    /// Nothing of this body follows.
    pub(crate) last: bool,
    /// What follows passes unseen.
    pub(crate) truncated: bool,
    taken: bool,
    pub(crate) out: Output,
    /// What goes on if the handler's output is not wanted, where that is more than the piece.
    pub(crate) fallback: Option<Bytes>,
    /// Why the piece cannot be given to a handler.
    pub(crate) error: Option<Error>,
}

/// What a stage made of a piece.
#[derive(Debug, Default)]
pub(crate) enum Output {
    /// It goes on as it came.
    #[default]
    Same,
    /// These go on in its place.
    Pieces(Vec<Bytes>),
}

impl Piece {
    pub(crate) const fn new(data: Bytes, last: bool, truncated: bool) -> Self {
        Self { data, last, truncated, taken: false, out: Output::Same, fallback: None, error: None }
    }

    /// The data, once.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        if self.taken {
            return None;
        }
        self.taken = true;
        Some(self.data.clone())
    }
}

/// The pieces as one; a piece that is alone is not copied.
pub(crate) fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.swap_remove(0),
        _ => pieces.concat().into(),
    }
}
