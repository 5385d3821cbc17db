//! What the driver of an exchange and its two body adapters share: the chain, and who waits for what.
//!
//! The lock is held for one step of the state machine, never across a poll of anything foreign. A sink that finds
//! nothing parks its waker; whoever makes something available puts it into the sink's hand and wakes it. So a sink is
//! woken when, and only when, it has something to take.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use extproc_core::filter::Forward;
use extproc_core::{Direction, FilterChain, Stats};

use crate::http::Filter;
use crate::metrics::Counters;

pub(crate) struct Shared {
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) chain: FilterChain,
    sinks: [Sink; 2],
    published: Box<[Published]>,
    parked: Option<Parked>,
}

/// What of a filter's counters everybody can see.
struct Published {
    counters: Arc<Counters>,
    stats: Stats,
}

/// Where one direction goes.
#[derive(Default)]
struct Sink {
    /// A part that was found while the sink was parked.
    hand: Option<Forward>,
    waker: Option<Waker>,
    /// It has all bytes that were declared.
    satisfied: bool,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Fate {
    #[default]
    Open,
    /// It has the last part.
    Ended,
    /// Nobody takes parts any more.
    Gone,
    /// It must fail, so that the peer sees an incomplete message.
    Cut,
}

/// The driver waits; it has to act when the view changes.
struct Parked {
    waker: Waker,
    view: View,
}

/// Everything that a sink can change and a driver acts on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    wants: [bool; 2],
    done: [bool; 2],
    fate: [Fate; 2],
    /// Room for a processor may come of a part that was taken.
    sends: bool,
    /// A processor that was faster than the client may go on.
    takes: bool,
    pub(crate) deadline: Option<Instant>,
}

/// What a sink gets.
pub(crate) enum Part {
    Next(Forward),
    End,
    Cut,
}

impl Shared {
    pub(crate) fn new(filters: &[Filter]) -> Self {
        let mut chain = FilterChain::new(filters.iter().map(|it| Arc::clone(&it.config)));
        for (index, filter) in filters.iter().enumerate() {
            chain.set_destination(index, Arc::clone(filter.processor.name()));
        }
        let published =
            filters.iter().map(|it| Published { counters: Arc::clone(&it.counters), stats: Stats::default() });
        let published = published.collect();
        let state = State { chain, sinks: Default::default(), published, parked: None };
        Self { state: Mutex::new(state) }
    }

    /// A panic in the state machine must not take the process along: the exchange it hit goes on or fails by itself.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step of the state machine; whoever has to know is woken.
    pub(crate) fn step<T>(&self, step: impl FnOnce(&mut FilterChain) -> T) -> T {
        let mut state = self.lock();
        let result = step(&mut state.chain);
        let wakers = state.settle();
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        result
    }

    /// The next part for a sink. Without one, `cx` is woken when there is.
    ///
    /// No `cx` means that the caller runs the driver itself and asks again after each of its polls: nobody is woken.
    pub(crate) fn poll_part(&self, direction: Direction, cx: Option<&Context<'_>>) -> Poll<Part> {
        let mut state = self.lock();
        let sink = &mut state.sinks[direction as usize];
        match sink.fate {
            Fate::Open => {}
            Fate::Ended => return Poll::Ready(Part::End),
            Fate::Gone | Fate::Cut => return Poll::Ready(Part::Cut),
        }
        let hand = sink.hand.take();
        let Some(part) = hand.or_else(|| state.chain.poll_forward(direction)) else {
            if state.chain.is_done(direction) {
                state.sinks[direction as usize].fate = Fate::Ended;
                let driver = state.changed();
                drop(state);
                driver.into_iter().for_each(Waker::wake);
                return Poll::Ready(Part::End);
            }
            state.sinks[direction as usize].waker = cx.map(|it| it.waker().clone());
            return Poll::Pending;
        };
        if cx.is_none() {
            // The caller polls the driver before it asks for the next part.
            state.parked = None;
        }
        if is_last(&part) {
            state.sinks[direction as usize].fate = Fate::Ended;
        }
        state.publish();
        let driver = state.changed();
        drop(state);
        driver.into_iter().for_each(Waker::wake);
        Poll::Ready(Part::Next(part))
    }

    /// The peer has all that was declared: when the sink goes away now, it has ended.
    pub(crate) fn satisfy(&self, direction: Direction) {
        self.lock().sinks[direction as usize].satisfied = true;
    }

    /// A sink has ended, is gone or must fail. Only the first fate counts.
    pub(crate) fn close(&self, direction: Direction, fate: Fate) {
        let mut state = self.lock();
        let sink = &mut state.sinks[direction as usize];
        if sink.fate != Fate::Open {
            return;
        }
        sink.fate = if fate == Fate::Gone && sink.satisfied { Fate::Ended } else { fate };
        sink.hand = None;
        let waiting = sink.waker.take();
        let driver = state.changed();
        drop(state);
        waiting.into_iter().chain(driver).for_each(Waker::wake);
    }
}

impl State {
    /// Hands parts to parked sinks and publishes the counters; returns whom to wake once the lock is released.
    fn settle(&mut self) -> [Option<Waker>; 2] {
        self.publish();
        Direction::BOTH.map(|direction| {
            let sink = &mut self.sinks[direction as usize];
            if sink.fate == Fate::Gone {
                // Nobody will take these; the other parts of the exchange must not wait for them.
                while self.chain.poll_forward(direction).is_some() {}
                return None;
            }
            if sink.waker.is_none() || sink.hand.is_some() {
                return None;
            }
            sink.hand = self.chain.poll_forward(direction);
            if sink.hand.is_some() || self.chain.is_done(direction) { sink.waker.take() } else { None }
        })
    }

    pub(crate) fn publish(&mut self) {
        for (index, Published { counters, stats }) in self.published.iter_mut().enumerate() {
            let now = self.chain.stats(index);
            if now != stats {
                counters.add(&now.since(stats));
                *stats = *now;
            }
        }
    }

    pub(crate) fn view(&self) -> View {
        View {
            wants: Direction::BOTH.map(|it| self.chain.wants(it)),
            done: Direction::BOTH.map(|it| self.chain.is_done(it)),
            fate: Direction::BOTH.map(|it| self.sinks[it as usize].fate),
            sends: self.chain.has_outgoing(),
            takes: (0..self.chain.len()).all(|it| self.chain.takes_messages(it)),
            deadline: self.chain.poll_timeout().map(|(deadline, ..)| deadline),
        }
    }

    pub(crate) fn fate(&self, direction: Direction) -> Fate {
        self.sinks[direction as usize].fate
    }

    /// Lets the driver sleep until the view differs from the one it acted on; false when it already does.
    pub(crate) fn park(&mut self, seen: View, cx: &Context<'_>) -> bool {
        let unchanged = self.view() == seen;
        if unchanged {
            match &mut self.parked {
                Some(parked) => {
                    parked.waker.clone_from(cx.waker());
                    parked.view = seen;
                }
                None => self.parked = Some(Parked { waker: cx.waker().clone(), view: seen }),
            }
        }
        unchanged
    }

    /// The driver's waker, if it sleeps and has to act.
    fn changed(&mut self) -> Option<Waker> {
        let view = self.view();
        self.parked.take_if(|it| it.view != view).map(|it| it.waker)
    }
}

/// Whether nothing follows this part.
pub(crate) const fn is_last(part: &Forward) -> bool {
    match part {
        Forward::Headers(_, end) | Forward::Data(_, end) => *end,
        Forward::Trailers(_) => true,
    }
}
