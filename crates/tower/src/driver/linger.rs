//! What is left of an exchange that is over: streams that their processors have yet to read or to end. Nobody waits for
//! them, so they get a task of their own, which the filters end by their deadlines.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use extproc_core::chain::{Effect, Peer};
use extproc_core::{Direction, FilterChain};

use super::now;
use super::sides::{self, Side};
use super::timer::Timer;
use crate::http::Filter;
use crate::shared::{Fate, Shared};

/// Ends an exchange: the filters count it, and processors see the end of their streams.
pub(super) fn conclude(shared: &Arc<Shared>, filters: &[Filter], sides: &mut Vec<Side>) {
    let fate = shared.lock().fate(Direction::Response);
    if matches!(fate, Fate::Open | Fate::Gone) {
        shared.step(|chain| chain.handle_reset(now(), Peer::Downstream));
    }
    let details = shared.step(|chain| {
        chain.finish(now());
        chain.details().map(str::to_owned)
    });
    tracing::debug!(response = ?fate, details, "exchange over");
    shared.close(Direction::Request, Fate::Cut);
    run_effects(shared, sides);
    for (index, (side, filter)) in sides.iter_mut().zip(filters).enumerate() {
        // Nobody needs a stream any more that is not there yet, unless somebody only looks on.
        if matches!(side, Side::Opening(..)) && !filter.config.options().observability_mode {
            *side = Side::Closed;
            sides::closed(shared, index, Ok(()));
        }
    }
    // Most streams are done with this.
    sides::poll(sides, shared, |_| None, &mut Context::from_waker(Waker::noop()));
    sides::end_answered(sides, shared);
    log(shared, filters);
    let open = sides.iter().position(|side| matches!(side, Side::Opening(..) | Side::Open(_) | Side::Http(_)));
    if let Some(open) = open.filter(|_| shared.lock().chain.has_streams())
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        let gone = filters[open].processor.gone();
        runtime.spawn(linger(Arc::clone(shared), mem::take(sides), gone));
    }
}

/// One line for each filter, when somebody reads it.
fn log(shared: &Shared, filters: &[Filter]) {
    if !tracing::enabled!(target: "extproc_tower::exchange", tracing::Level::DEBUG) {
        return;
    }
    for (index, filter) in filters.iter().enumerate() {
        let logging = shared.lock().chain.logging(index).clone();
        tracing::debug!(
            target: "extproc_tower::exchange",
            filter = filter.config.options().name,
            ext_proc = %logging,
            failed_open = logging.failed_open,
            immediate = logging.received_immediate_response,
        );
    }
}

/// Goes on until all streams have ended. When the processors are gone (whoever owned them shuts down), no stream stays
/// open for longer than it takes to end it.
async fn linger(shared: Arc<Shared>, mut sides: Vec<Side>, gone: impl Future<Output = ()>) {
    let mut timer = pin!(Timer::new());
    let mut gone = pin!(gone);
    let mut hurries = false;
    poll_fn(|cx| {
        loop {
            let mut moved = sides::poll(&mut sides, &shared, |_| None, cx);
            if timer.as_mut().poll(shared.lock().view().deadline, cx) {
                shared.step(|chain| chain.handle_timeout(now()));
                moved = true;
            }
            if !hurries && gone.as_mut().poll(cx).is_ready() {
                hurries = true;
                shared.step(|chain| chain.close_streams(now()));
                moved = true;
            }
            sides::end_answered(&mut sides, &shared);
            run_effects(&shared, &mut sides);
            if !shared.lock().chain.has_streams() {
                return Poll::Ready(());
            }
            if !moved {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Of all effects, only the end of streams still matters.
fn run_effects(shared: &Shared, sides: &mut [Side]) {
    while let Some(effect) = shared.step(FilterChain::poll_effect) {
        if let Effect::ResetStream(filter) = effect {
            sides[filter].reset();
        }
    }
}
