//! Where the bodies of an exchange are cut.

use std::collections::BTreeSet;
use std::fmt;

use extproc_core::Direction;

use super::check::{differences, misframed};
use super::{Harness, plan};
use crate::testing::{Effective, Exchange};

/// The cuts in both bodies, as positions, and whether the ends come on their own.
#[derive(Clone, Debug, Default)]
pub(super) struct Split {
    cuts: BTreeSet<(Side, usize)>,
    late: BTreeSet<Side>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Request,
    Response,
}

/// What differs from the expected effect.
pub(super) type Broken = (String, Effective);

/// A small generator (xorshift): the same splits in every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or_default() % limit.max(1)
    }
}

impl Split {
    /// Few pieces or many, in both bodies.
    pub(super) fn random(random: &mut Random, exchange: &Exchange) -> Self {
        let mut split = Self::default();
        for side in [Side::Request, Side::Response] {
            let length = side.length(exchange);
            if length == 0 {
                continue;
            }
            if random.below(2) == 0 {
                split.late.insert(side);
            }
            let count = random.below(length.min(8)) + usize::from(random.below(8) == 0) * length;
            split.cuts.extend((0..count).map(|_| (side, 1 + random.below(length))).filter(|(_, at)| *at < length));
        }
        split
    }

    /// What differs with this split, if anything does.
    pub(super) async fn breaks(&self, harness: &Harness, exchange: &Exchange, expected: &Effective) -> Option<Broken> {
        let harness = Harness { chunks: None, ..harness.clone() };
        let done = harness.run(&self.applied_to(exchange)).await;
        let differences = match misframed(&done) {
            Some(wrong) => wrong,
            None => differences(("uncut", expected), ("cut so", &done), true),
        };
        (!differences.is_empty()).then_some((differences, done))
    }

    /// The same failure with as little as possible: every cut that is left is needed.
    pub(super) async fn shrunk(
        mut self,
        harness: &Harness,
        exchange: &Exchange,
        expected: &Effective,
        mut found: Broken,
    ) -> (Self, Broken) {
        loop {
            let mut smaller = None;
            for candidate in self.smaller() {
                if let Some(broken) = candidate.breaks(harness, exchange, expected).await {
                    smaller = Some((candidate, broken));
                    break;
                }
            }
            match smaller {
                Some((split, broken)) => (self, found) = (split, broken),
                None => return (self, found),
            }
        }
    }

    /// Without one thing each.
    fn smaller(&self) -> Vec<Self> {
        let cuts = self.cuts.iter().map(|cut| {
            let mut smaller = self.clone();
            smaller.cuts.remove(cut);
            smaller
        });
        let late = self.late.iter().map(|side| {
            let mut smaller = self.clone();
            smaller.late.remove(side);
            smaller
        });
        cuts.chain(late).collect()
    }

    fn applied_to(&self, exchange: &Exchange) -> Exchange {
        let mut exchange = exchange.clone();
        for side in [Side::Request, Side::Response] {
            let mut from = 0;
            let sizes = self.positions(side).map(|at| at - std::mem::replace(&mut from, at)).collect();
            plan(&mut exchange, side.direction()).cut(sizes, self.late.contains(&side));
        }
        exchange
    }

    fn positions(&self, of: Side) -> impl Iterator<Item = usize> {
        self.cuts.iter().filter(move |(side, _)| *side == of).map(|(_, at)| *at)
    }
}

impl Side {
    const fn direction(self) -> Direction {
        match self {
            Self::Request => Direction::Request,
            Self::Response => Direction::Response,
        }
    }

    const fn length(self, exchange: &Exchange) -> usize {
        match self {
            Self::Request => exchange.request.whole_body().len(),
            Self::Response => exchange.response.whole_body().len(),
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (side, name) in [(Side::Request, "the request"), (Side::Response, "the response")] {
            let at: Vec<_> = self.positions(side).map(|at| at.to_string()).collect();
            if !at.is_empty() {
                parts.push(format!("{name} after byte {}", at.join(", ")));
            }
            if self.late.contains(&side) {
                parts.push(format!("the end of {name} on its own"));
            }
        }
        f.write_str(&if parts.is_empty() { "nowhere".to_owned() } else { parts.join("; ") })
    }
}
