//! Random numbers that are the same everywhere for the same seed, or what a fuzzer chose in their place.

use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub(crate) struct Rng(Source);

#[derive(Clone, Debug)]
enum Source {
    /// SplitMix64.
    Seed(u64),
    /// Zeros behind the last one.
    Bytes(VecDeque<u8>),
}

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Source::Seed(seed))
    }

    /// Every choice is one byte or two.
    pub(crate) fn of(data: &[u8]) -> Self {
        Self(Source::Bytes(data.iter().copied().collect()))
    }

    /// Whether there is nothing left to choose from.
    pub(crate) fn is_over(&self) -> bool {
        matches!(&self.0, Source::Bytes(bytes) if bytes.is_empty())
    }

    pub(crate) fn next(&mut self) -> u64 {
        let state = match &mut self.0 {
            Source::Seed(state) => state,
            Source::Bytes(bytes) => return (0..8).fold(0, |so_far, _| so_far << 8 | take(bytes)),
        };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `bound - 1`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let number = match &mut self.0 {
            Source::Seed(_) => self.next(),
            Source::Bytes(bytes) if bound <= 256 => take(bytes),
            Source::Bytes(bytes) => take(bytes) << 8 | take(bytes),
        };
        usize::try_from(number % bound as u64).unwrap()
    }

    /// True in so many of a hundred cases.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| b"abcdefghijklmnopqrstuvwxyz\0\xff"[self.below(28)]).collect()
    }

    /// A generator of its own, so that what one part draws does not move the others.
    pub(crate) fn split(&mut self) -> Self {
        Self::new(self.next())
    }
}

fn take(bytes: &mut VecDeque<u8>) -> u64 {
    bytes.pop_front().map_or(0, u64::from)
}
