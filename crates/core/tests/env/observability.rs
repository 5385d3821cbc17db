//! Observability mode: copies, back-pressure, and the stream behind the exchange.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use extproc_core::chain::Effect;
use extproc_core::filter::{Forward, GrpcStatus, HttpEvent, Outgoing, StreamEvent, Timer};
use extproc_core::{BodyMode, Config, Direction, FilterChain, Options, Profile, Stats};

use crate::exchange::{get, u5};

const LIMIT: usize = 1000;

/// A chain of one filter that looks on, and the time.
struct Bench {
    chain: FilterChain,
    now: Instant,
}

fn bench(change: impl FnOnce(&mut Options)) -> Bench {
    let mut options = Options { observability_mode: true, buffer_limit: LIMIT, ..Options::default() };
    options.processing_mode.request_body = BodyMode::Streamed;
    change(&mut options);
    #[allow(clippy::disallowed_methods, reason = "virtual time starts somewhere")]
    let now = Instant::now();
    Bench { chain: FilterChain::new([Arc::new(Config::new(options).unwrap())]), now }
}

impl Bench {
    fn feed(&mut self, direction: Direction, event: HttpEvent) {
        self.chain.handle_http(self.now, direction, event).unwrap();
        while self.chain.poll_forward(direction).is_some() {}
    }

    /// A POST with as many pieces of 100 bytes as are wanted, up to `most`.
    fn upload(&mut self, most: usize) -> usize {
        let HttpEvent::Headers(headers, _) = get().remove(0).1 else { panic!("a request begins with headers") };
        self.feed(Direction::Request, HttpEvent::Headers(headers, false));
        self.pieces(most)
    }

    fn pieces(&mut self, most: usize) -> usize {
        let mut fed = 0;
        while fed < most && self.chain.wants(Direction::Request) {
            self.feed(Direction::Request, HttpEvent::Data(Bytes::from_static(&[b'x'; 100]), false));
            fed += 1;
        }
        fed
    }

    /// A whole exchange: no body, no waiting.
    fn exchange(&mut self) {
        get().into_iter().for_each(|(_, event)| self.feed(Direction::Request, event));
        u5().into_iter().for_each(|(_, event)| self.feed(Direction::Response, event));
        self.chain.finish(self.now);
    }

    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.chain.poll_effect()).collect()
    }

    /// Lets the deadline pass, which must be of this kind and so far away.
    fn pass(&mut self, timer: Timer, after: Duration) {
        assert_eq!(self.chain.poll_timeout(), Some((self.now + after, 0, timer)));
        self.now += after;
        self.chain.handle_timeout(self.now);
    }

    fn stats(&self) -> Stats {
        *self.chain.stats(0)
    }
}

#[test]
fn env_270_every_message_says_so_and_tells_no_modes() {
    for profile in Profile::ALL {
        let mut bench = bench(|options| options.profile = profile);
        assert_eq!(bench.upload(2), 2);
        let sent: Vec<_> = std::iter::from_fn(|| bench.chain.poll_send(0)).collect();
        assert_eq!(sent.len(), 3, "{profile:?}");
        for outgoing in sent {
            let Outgoing::Message(message) = outgoing else { panic!("{profile:?}: {outgoing:?}") };
            assert!(
                message.observability_mode && message.protocol_config.is_none() && message.flow_control_init.is_none()
            );
        }
        assert!(!bench.chain.waits(), "{profile:?}: no answer is waited for");
    }
}

#[test]
fn env_271_copies_share_the_bytes_of_the_original() {
    let mut bench = bench(|_| ());
    bench.upload(0);
    let data = Bytes::from(vec![b'x'; 64]);
    bench.chain.handle_http(bench.now, Direction::Request, HttpEvent::Data(data.clone(), true)).unwrap();
    assert_eq!(bench.chain.poll_forward(Direction::Request), Some(Forward::Data(data.clone(), true)));
    let Some(Outgoing::Message(message)) = std::iter::from_fn(|| bench.chain.poll_send(0)).last() else { panic!() };
    let Some(extproc_proto::processing_request::Request::RequestBody(body)) = message.request else { panic!() };
    assert_eq!(body.body.as_ptr(), data.as_ptr());
}

#[test]
fn a_processor_that_takes_no_copies_holds_the_body_back_and_then_loses_it() {
    let timeout = Options::default().message_timeout;
    let mut bench = bench(|_| ());
    let fed = bench.upload(100);
    assert_eq!(fed, 10, "as many as the limit holds");
    assert!(bench.chain.waits());
    bench.pass(Timer::Stalled, timeout);
    assert_eq!(bench.effects(), [Effect::OpenStream(0), Effect::ResetStream(0)]);
    assert_eq!(bench.chain.poll_send(0), None, "what it did not take is gone");
    assert_eq!(bench.pieces(100), 100, "nothing holds the body back any more");
    bench.exchange_goes_on();
    let stats = bench.stats();
    assert_eq!((stats.message_timeouts, stats.streams_closed, stats.immediate_responses_sent), (1, 1, 0));
}

impl Bench {
    fn exchange_goes_on(&mut self) {
        self.feed(Direction::Request, HttpEvent::Data(Bytes::new(), true));
        assert!(self.chain.is_done(Direction::Request));
        assert_eq!(self.chain.poll_timeout(), None);
    }
}

#[test]
fn a_processor_that_takes_copies_slowly_slows_the_body_down_and_keeps_it() {
    let timeout = Options::default().message_timeout;
    let mut bench = bench(|_| ());
    bench.upload(100);
    let mut taken = 0;
    for _ in 0..50 {
        bench.pieces(100);
        // One message in the time in which it has to take one.
        taken += usize::from(bench.chain.poll_send(0).is_some());
        if bench.chain.waits() {
            bench.pass(Timer::Stalled, timeout);
        }
    }
    assert_eq!((taken, bench.stats().message_timeouts), (50, 0));
    assert!(bench.chain.has_outgoing());
}

#[test]
fn what_the_next_hop_does_not_take_is_not_the_processors_fault() {
    let mut bench = bench(|_| ());
    bench.upload(0);
    while bench.chain.wants(Direction::Request) {
        let event = HttpEvent::Data(Bytes::from_static(&[b'x'; 100]), false);
        bench.chain.handle_http(bench.now, Direction::Request, event).unwrap();
        while bench.chain.poll_send(0).is_some() {}
    }
    assert_eq!(bench.chain.poll_timeout(), None);
}

#[test]
fn env_277_the_stream_outlives_the_exchange() {
    let mut bench = bench(|options| options.deferred_close_timeout = Duration::from_secs(3));
    bench.exchange();
    assert!(bench.chain.has_streams() && !bench.chain.waits());
    assert_eq!(bench.stats().streams_closed, 0);
    // What it had not taken yet, it gets.
    assert_eq!(std::iter::from_fn(|| bench.chain.poll_send(0)).count(), 2);
    bench.pass(Timer::DeferredClose, Duration::from_secs(3));
    assert_eq!(bench.stats().streams_closed, 1);
    assert_eq!(bench.chain.poll_send(0), Some(Outgoing::HalfClose));
    assert!(bench.chain.has_streams(), "the processor has yet to end it");
    bench.pass(Timer::RemoteClose, Options::default().remote_close_timeout);
    assert_eq!(bench.effects().last(), Some(&Effect::ResetStream(0)));
    assert!(!bench.chain.has_streams());
    assert_eq!(bench.chain.poll_timeout(), None);
}

#[test]
fn env_277_what_the_processor_does_behind_the_exchange_counts_nowhere() {
    let failed = || Err(GrpcStatus { code: 13, message: String::new() });
    for event in [StreamEvent::Closed(Ok(())), StreamEvent::Closed(failed())] {
        let mut bench = bench(|_| ());
        bench.exchange();
        let before = bench.stats();
        bench.chain.handle_stream(bench.now, 0, event);
        assert!(!bench.chain.has_streams());
        assert_eq!((bench.stats(), bench.chain.poll_timeout()), (before, None));
    }
}

#[test]
fn streams_are_closed_early_when_the_data_plane_shuts_down() {
    let mut bench = bench(|_| ());
    bench.exchange();
    while bench.chain.poll_send(0).is_some() {}
    bench.chain.close_streams(bench.now);
    assert_eq!(bench.chain.poll_send(0), Some(Outgoing::HalfClose));
    assert_eq!(bench.stats().streams_closed, 1);
    bench.chain.close_streams(bench.now);
    assert_eq!(bench.stats().streams_closed, 1, "once");
}
