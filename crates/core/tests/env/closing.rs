//! The end of the side stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use extproc_core::chain::{Effect, Peer};
use extproc_core::filter::{Outgoing, StreamEvent, Timer};
use extproc_core::{Config, Direction, FilterChain, Options};
use extproc_proto::CommonResponse;

use crate::answers::answer;
use crate::exchange::get;

const SECOND: Duration = Duration::from_secs(1);

/// Request headers that were answered; nothing else is of interest.
fn closed(change: impl FnOnce(&mut Options)) -> (FilterChain, Instant) {
    let mut options = Options::default();
    options.processing_mode.response_headers = false;
    change(&mut options);
    let mut chain = FilterChain::new([Arc::new(Config::new(options).unwrap())]);
    #[allow(clippy::disallowed_methods, reason = "virtual time starts somewhere")]
    let now = Instant::now();
    for (_, event) in get() {
        chain.handle_http(now, Direction::Request, event).unwrap();
    }
    assert_eq!(chain.poll_effect(), Some(Effect::OpenStream(0)));
    assert!(matches!(chain.poll_send(0), Some(Outgoing::Message(_))));
    chain.handle_stream(now, 0, answer("qh", CommonResponse::default()));
    assert_eq!(chain.stats(0).streams_closed, 1);
    (chain, now)
}

#[test]
fn env_416_a_processor_that_ends_its_stream_is_not_reset() {
    let (mut chain, now) = closed(|_| ());
    assert_eq!(chain.poll_send(0), Some(Outgoing::HalfClose));
    assert!(chain.has_streams() && !chain.waits(), "the exchange does not wait");
    chain.handle_stream(now, 0, StreamEvent::Closed(Ok(())));
    assert!(!chain.has_streams());
    assert_eq!((chain.poll_timeout(), chain.poll_effect()), (None, None));
    let stats = chain.stats(0);
    assert_eq!((stats.streams_closed, stats.server_half_closed), (1, 0));
}

#[test]
fn env_417_a_processor_that_does_not_is_reset_after_a_second() {
    let (mut chain, now) = closed(|_| ());
    assert_eq!(chain.poll_timeout(), Some((now + SECOND, 0, Timer::RemoteClose)));
    chain.finish(now + SECOND / 2);
    assert_eq!(chain.poll_timeout(), Some((now + SECOND, 0, Timer::RemoteClose)), "from the half-close");
    chain.handle_timeout(now + SECOND);
    assert_eq!(chain.poll_effect(), Some(Effect::ResetStream(0)));
    assert_eq!(chain.poll_timeout(), None);
    assert!(!chain.has_streams());
    assert_eq!(chain.stats(0).streams_closed, 1, "it was closed before");
}

#[test]
fn a_client_that_leaves_changes_nothing_about_a_stream_that_is_closed() {
    let (mut chain, now) = closed(|_| ());
    chain.handle_reset(now, Peer::Downstream);
    assert_eq!(chain.poll_effect(), None);
    assert_eq!(chain.poll_timeout(), Some((now + SECOND, 0, Timer::RemoteClose)));
}

#[test]
fn without_time_for_the_processor_streams_are_reset() {
    let (mut chain, _) = closed(|options| options.remote_close_timeout = Duration::ZERO);
    assert_eq!(chain.poll_effect(), Some(Effect::ResetStream(0)));
    assert_eq!((chain.poll_send(0), chain.poll_timeout()), (None, None));
    assert!(!chain.has_streams());
}
