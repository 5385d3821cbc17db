//! Observability mode over real sockets: who waits for whom, and for how long.

use std::time::{Duration, Instant};

use extproc_core::{BodyMode, Options};
use tokio::net::TcpListener;

use crate::processor::{Scripted, Step};
use crate::world::{TestBody, Upstream, bodies, counted, eventually, exchange, filter, get, post, text};

/// Longer than any test takes.
const NEVER: Duration = Duration::from_secs(600);

fn observing(deferred: Duration) -> impl FnOnce(&mut Options) {
    move |options| {
        options.observability_mode = true;
        options.deferred_close_timeout = deferred;
        options.processing_mode = bodies(BodyMode::Streamed, BodyMode::Streamed);
    }
}

#[tokio::test]
async fn env_277_the_client_does_not_wait_and_the_stream_outlives_the_exchange() {
    let processor = Scripted::start(|_| Step::SILENCE).await;
    let deferred = Duration::from_millis(300);
    let filters = [filter(processor.address, observing(deferred))];
    let response = exchange(&filters, post(TestBody::full("hello")), &Upstream::echo()).await.unwrap();
    assert_eq!(text(response).await, "200 POST http://ex.com/x host=ex.com [hello]");
    let over = Instant::now();
    assert!(counted(&filters[0]).ends_with("/0/0"), "{}", counted(&filters[0]));
    eventually("all copies", || processor.log().matches('!').count() == 2).await;
    assert_eq!(processor.ends(), 0);
    eventually("the end of the stream", || processor.ends() == 1).await;
    assert!(over.elapsed() >= deferred - Duration::from_millis(20), "{:?}", over.elapsed());
    assert!(counted(&filters[0]).ends_with("/0/1"), "{}", counted(&filters[0]));
}

/// Nothing is left behind by somebody who shuts down.
#[tokio::test]
async fn streams_end_when_nobody_has_the_processor_any_more() {
    let processor = Scripted::start(|_| Step::SILENCE).await;
    let filters = [filter(processor.address, observing(NEVER))];
    let response = exchange(&filters, get("/"), &Upstream::echo()).await.unwrap();
    assert_eq!(text(response).await, "200 GET http://ex.com/ host=ex.com []");
    eventually("all copies", || processor.log().matches('!').count() == 2).await;
    assert_eq!(processor.ends(), 0);
    drop(filters);
    eventually("the end of the stream", || processor.ends() == 1).await;
}

/// Nor are copies lost because the connection was not there yet.
#[tokio::test]
async fn copies_that_had_not_left_are_sent_all_the_same() {
    let processor = Scripted::start(|_| Step::SILENCE).await;
    for _ in 0..10 {
        let filters = [filter(processor.address, observing(NEVER))];
        drop(exchange(&filters, get("/"), &Upstream::echo()).await.unwrap());
    }
    eventually("ten requests", || processor.log().matches("qh!").count() == 10).await;
    eventually("ten ends", || processor.ends() == 10).await;
}

/// A processor that opens no window beyond the first one, and says nothing.
async fn unread() -> std::net::SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = socket.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let mut held = Vec::new();
        while let Some(Ok(stream)) = connection.accept().await {
            held.push(stream);
        }
    });
    address
}

#[tokio::test]
async fn a_processor_that_does_not_read_holds_the_body_back_and_then_loses_it() {
    const CHUNK: usize = 16 << 10;
    const CHUNKS: usize = 256;
    let address = unread().await;
    let timeout = Duration::from_millis(400);
    let filters = [filter(address, |options| {
        observing(NEVER)(options);
        options.buffer_limit = 4 * CHUNK;
        options.message_timeout = timeout;
    })];
    let (body, feed) = TestBody::open();
    for _ in 0..CHUNKS {
        feed.data(vec![b'x'; CHUNK]);
    }
    feed.end();
    let began = Instant::now();
    let running = filters.clone();
    let exchange = tokio::spawn(async move {
        let length = Upstream::new(|request| async move {
            let body = http_body_util::BodyExt::collect(request.into_body()).await.unwrap().to_bytes();
            Ok(http::Response::new(TestBody::full(body.len().to_string())))
        });
        text(exchange(&running, post(body), &length).await.unwrap()).await
    });
    // The first window of HTTP/2, what the filter may hold, and a piece on its way at either end.
    let bound = 65_535 + 4 * CHUNK + 4 * CHUNK;
    eventually("some of the body", || feed.read() >= CHUNK).await;
    while began.elapsed() < timeout / 2 {
        assert!(feed.read() <= bound, "{} bytes were read, {bound} may be", feed.read());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(exchange.await.unwrap(), format!("200 {}", CHUNK * CHUNKS));
    assert!(began.elapsed() >= timeout);
    let counts = counted(&filters[0]);
    assert!(counts.ends_with("/0/1 message_timeouts 1"), "{counts}");
}
