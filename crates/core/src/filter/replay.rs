//! Copies of what the processor was given and has not given back, so that an exchange can go on without it.

/// What the processor alone would have otherwise: the pieces of a FULL_DUPLEX_STREAMED body, the messages of a GRPC one.
/// All of it or nothing. The bytes are shared with the messages that were sent.
#[derive(Debug)]
pub(super) struct Replay<T> {
    pieces: Vec<T>,
    bytes: usize,
    lost: Option<Lost>,
}

/// Why there is no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// More was sent than the limit.
    TooMuch,
    /// The processor's body has gone on: the original cannot any more.
    Released,
}

impl<T> Default for Replay<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), bytes: 0, lost: None }
    }
}

impl<T> Replay<T> {
    /// Keeps a piece that was sent.
    pub(super) fn keep(&mut self, len: usize, limit: usize, piece: impl FnOnce() -> T) {
        if self.lost.is_some() {
            return;
        }
        self.bytes += len;
        // An empty piece is none where nothing is kept.
        if limit == 0 || self.bytes > limit {
            self.lose(Lost::TooMuch);
        } else {
            self.pieces.push(piece());
        }
    }

    /// The processor has given body that goes on.
    pub(super) fn release(&mut self) {
        self.lose(Lost::Released);
    }

    /// Everything that was sent, which is kept no longer.
    pub(super) fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        std::mem::take(&mut self.pieces)
    }

    /// Whether everything that was sent is here, and why not.
    pub(super) const fn lost(&self) -> Option<Lost> {
        self.lost
    }

    fn lose(&mut self, why: Lost) {
        *self = Self { lost: Some(why), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_nothing() {
        for (limit, lens, kept, lost) in [
            (0, &[1][..], 0, Some(Lost::TooMuch)),
            (0, &[0], 0, Some(Lost::TooMuch)),
            (5, &[], 0, None),
            (5, &[0, 2, 3], 3, None),
            (5, &[2, 4], 0, Some(Lost::TooMuch)),
            (5, &[6, 1], 0, Some(Lost::TooMuch)),
        ] {
            let mut replay = Replay::default();
            lens.iter().for_each(|len| replay.keep(*len, limit, || *len));
            assert_eq!((replay.lost(), replay.take().len()), (lost, kept), "{limit} {lens:?}");
        }
        let mut replay = Replay::default();
        replay.keep(1, 5, || 1);
        replay.release();
        replay.keep(1, 5, || 1);
        assert_eq!((replay.lost(), replay.take()), (Some(Lost::Released), Vec::new()));
    }
}
