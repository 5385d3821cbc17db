//! Bodies and trailers: every byte once, in order, and no more than the limits in between.

use bytes::Bytes;
use extproc_core::{BodyMode, Options};
use http::{Request, Response};
use http_body::Body as _;
use http_body_util::BodyExt;

use crate::processor::{Scripted, Step, ack, body, kind, replace, set};
use crate::world::{TestBody, Upstream, bodies, counted, eventually, exchange, filter, get, post, text};

fn upper(message: &extproc_proto::ProcessingRequest) -> Step {
    Step::Reply(match body(message) {
        Some((body, _)) => replace(message, body.to_ascii_uppercase()),
        None => ack(message),
    })
}

#[tokio::test]
async fn bodies_and_trailers_are_processed() {
    for mode in [BodyMode::Streamed, BodyMode::Buffered] {
        let processor = Scripted::start(|message| match kind(message) {
            "qt" | "st" => Step::Reply(set(message, "x-seen", "yes")),
            _ => upper(message),
        })
        .await;
        let filter = filter(processor.address, |it| it.processing_mode = bodies(mode, mode));
        let upstream = Upstream::new(|request: Request<_>| async {
            let body = request.into_body().collect().await.unwrap();
            let trailers = body.trailers().unwrap();
            assert_eq!((trailers["x-t"].as_bytes(), trailers["x-seen"].as_bytes()), (&b"1"[..], &b"yes"[..]));
            assert_eq!(body.to_bytes(), "HELLO");
            Ok(Response::new(TestBody::with_trailer("world", "x-r", "2")))
        });
        let request = post(TestBody::with_trailer("hello", "x-t", "1"));
        let response = exchange(std::slice::from_ref(&filter), request, &upstream).await.unwrap();
        assert_eq!(text(response).await, "200 WORLD x-r=2 x-seen=yes", "{mode:?}");
        assert_eq!(processor.log(), "qh qb\"hello\" qt sh sb\"world\" st", "{mode:?}");
        assert_eq!(counted(&filter), "1/6/6/1", "{mode:?}");
    }
}

#[tokio::test]
async fn a_body_that_no_filter_touches_keeps_its_length() {
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let filter = filter(processor.address, |_| {});
    let upstream = Upstream::new(|request: Request<extproc_tower::RequestBody<_>>| async move {
        assert_eq!(request.body().size_hint().exact(), Some(5));
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Ok(Response::builder().header("content-length", "5").body(TestBody::full(body)).unwrap())
    });
    let mut request = post(TestBody::full("hello"));
    request.headers_mut().insert("content-length", "5".parse().unwrap());
    let response = exchange(&[filter], request, &upstream).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert_eq!(text(response).await, "200 hello");
}

#[tokio::test]
async fn chunks_are_sent_as_they_come() {
    let processor = Scripted::start(upper).await;
    let filter = filter(processor.address, |it| it.processing_mode = bodies(BodyMode::Streamed, BodyMode::None));
    let (body, feed) = TestBody::open();
    let filters = [filter];
    let upstream = Upstream::echo();
    let exchange = exchange(&filters, post(body), &upstream);
    let feeding = async {
        for (chunk, log) in [("aa", "qh qb\"aa\""), ("bb", "qh qb\"aa\" qb\"bb\"")] {
            feed.data(chunk);
            eventually("the chunk's message", || processor.log() == log).await;
        }
        feed.end();
    };
    let (response, ()) = tokio::join!(exchange, feeding);
    assert_eq!(text(response.unwrap()).await, "200 POST http://ex.com/x host=ex.com [AABB]");
    assert_eq!(processor.log(), "qh qb\"aa\" qb\"bb\" qb!\"\" sh");
}

#[tokio::test]
async fn megabytes_pass_unchanged() {
    const SIZE: usize = 8 << 20;
    let data: Bytes = (0..SIZE).map(|it| (it % 251) as u8).collect::<Vec<_>>().into();
    for (mode, limit) in [(BodyMode::Streamed, 64 << 10), (BodyMode::Buffered, SIZE), (BodyMode::None, 64 << 10)] {
        let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
        let filter = filter(processor.address, |it: &mut Options| {
            it.processing_mode = bodies(mode, mode);
            it.buffer_limit = limit;
        });
        let upstream = Upstream::new(|request: Request<_>| async {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let (out, feed) = TestBody::open();
            body.chunks(50_000).for_each(|it| feed.data(body.slice_ref(it)));
            feed.end();
            Ok(Response::new(out))
        });
        let (body, feed) = TestBody::open();
        data.chunks(30_000).for_each(|it| feed.data(data.slice_ref(it)));
        feed.end();
        let response = exchange(&[filter], post(body), &upstream).await.unwrap();
        let received = response.into_body().collect().await.unwrap().to_bytes();
        assert!(received == data, "{mode:?}: {} bytes came back", received.len());
        let seen = if mode == BodyMode::None { 0 } else { 2 * SIZE };
        assert_eq!(processor.body_bytes(), seen, "{mode:?}");
    }
}

/// What is read from a source but not taken by its sink is bounded by the limit of the filter, and by nothing less
/// than a stuck client, upstream or processor being stuck for ever.
#[tokio::test]
async fn a_slow_sink_holds_its_source_back() {
    const CHUNK: usize = 10_000;
    const LIMIT: usize = 100_000;
    for mode in [BodyMode::Streamed, BodyMode::None] {
        let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
        let filters = [filter(processor.address, |it: &mut Options| {
            it.processing_mode = bodies(BodyMode::None, mode);
            it.buffer_limit = LIMIT;
        })];
        let (body, feed) = TestBody::open();
        let body = std::sync::Mutex::new(Some(body));
        let upstream = Upstream::new(move |_| {
            let body = body.lock().unwrap().take().unwrap();
            async { Ok(Response::new(body)) }
        });
        for _ in 0..100 {
            feed.data(vec![7; CHUNK]);
        }
        feed.end();
        let mut response = exchange(&filters, get("/"), &upstream).await.unwrap().into_body();
        let mut taken = 0;
        while let Some(frame) = response.frame().await {
            taken += frame.unwrap().data_ref().unwrap().len();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            // The filter's own limit and that of the outlet, each exceeded by one chunk at most.
            let between = feed.read() - taken;
            assert!(between <= 2 * (LIMIT + CHUNK), "{mode:?}: {between} bytes are held");
        }
        assert_eq!(taken, 100 * CHUNK, "{mode:?}");
    }
}

#[tokio::test]
async fn a_stuck_upstream_holds_the_client_back() {
    const LIMIT: usize = 50_000;
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let filters = [filter(processor.address, |it: &mut Options| {
        it.processing_mode = bodies(BodyMode::Streamed, BodyMode::None);
        it.buffer_limit = LIMIT;
    })];
    let upstream = Upstream::new(|request: Request<_>| async move {
        // It takes the request and never reads it.
        let _request = request;
        std::future::pending().await
    });
    let (body, feed) = TestBody::open();
    (0..100).for_each(|_| feed.data(vec![7; 10_000]));
    let task = tokio::spawn(async move { exchange(&filters, post(body), &upstream).await.map(drop) });
    eventually("reading up to the limit", || feed.read() >= LIMIT).await;
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    assert!(feed.read() <= 3 * LIMIT, "{} bytes were read", feed.read());
    task.abort();
    eventually("letting the client go", || feed.is_dropped()).await;
}

/// Drivers, sinks and connections on several threads: a wake-up that is missed is a hang.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_on_many_threads() {
    const SIZE: usize = 200_000;
    let processor = Scripted::start(|message| Step::Reply(ack(message))).await;
    let filters = [BodyMode::Streamed, BodyMode::None].map(|mode| {
        filter(processor.address, |it: &mut Options| {
            it.processing_mode = bodies(mode, mode);
            it.buffer_limit = 10_000;
        })
    });
    let upstream = Upstream::new(|request: Request<extproc_tower::RequestBody<TestBody>>| async {
        let (out, feed) = TestBody::open();
        tokio::spawn(async move {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                feed.data(frame.unwrap().into_data().unwrap());
                tokio::task::yield_now().await;
            }
            feed.end();
        });
        Ok(Response::new(out))
    });
    let run = |filters: [_; 2], upstream: Upstream| async move {
        let (body, feed) = TestBody::open();
        tokio::spawn(async move {
            for _ in 0..SIZE / 4_000 {
                feed.data(vec![7; 4_000]);
                tokio::task::yield_now().await;
            }
            feed.end();
        });
        let response = exchange(&filters, post(body), &upstream).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes().len()
    };
    let running: Vec<_> = (0..100).map(|_| tokio::spawn(run(filters.clone(), upstream.clone()))).collect();
    let all = async {
        for exchange in running {
            assert_eq!(exchange.await.unwrap(), SIZE);
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(50), all).await.expect("nothing hangs");
    let counters = &filters[0].counters;
    eventually("the end of all streams", || counters.get("streams_closed") == Some(100)).await;
    assert_eq!(counters.get("stream_msgs_sent"), counters.get("stream_msgs_received"));
}
