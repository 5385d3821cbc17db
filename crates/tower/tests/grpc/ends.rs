//! Deadlines, cancellation, and what is left when a call is over.

use std::time::Duration;

use bytes::Bytes;
use tonic::{Code, Request};

use crate::processor::{Scripted, Step};
use crate::world::{PLACES, World, echoes, eventually, options};

#[tokio::test]
async fn a93_263_the_deadline_holds_while_the_processor_thinks() {
    for place in PLACES {
        let processor = Scripted::start(|_| Step::SILENCE).await;
        let mut world = World::new(place, options("SNKNK"), &processor).await;
        let mut request = Request::new(tokio_stream::once(Bytes::from_static(b"a")));
        request.set_timeout(Duration::from_millis(200));
        let status = world.request("Unary", request).await.status.unwrap();
        // A client's own timeout, below the layer, may be the first.
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{place:?} {status:?}");
        assert!(world.seen.calls.lock().unwrap().is_empty(), "{place:?}");
    }
}

#[tokio::test]
async fn a93_261_262_a_client_that_leaves_takes_the_processor_along() {
    for place in PLACES {
        let processor = Scripted::start(echoes()).await;
        let mut world = World::new(place, options("SGSGS"), &processor).await;
        let call = world.stream("Never", &["a"]);
        assert!(tokio::time::timeout(Duration::from_millis(300), call).await.is_err(), "{place:?}");
        eventually("the side stream ends", || processor.ends() == 1).await;
    }
}

#[tokio::test]
async fn a93_267_the_side_stream_ends_with_the_call() {
    for place in PLACES {
        let processor = Scripted::start(echoes()).await;
        let mut world = World::new(place, options("SGSGS"), &processor).await;
        for calls in 1..=20 {
            assert_eq!(world.unary("a").await.text(), "a");
            eventually("the side stream ends", || processor.ends() == calls).await;
        }
    }
}

#[tokio::test]
async fn many_calls_at_once() {
    let processor = Scripted::start(echoes()).await;
    let mut world = World::new(PLACES[0], options("SGSGS"), &processor).await;
    let client = world.client.clone();
    let calls: Vec<_> = (0..64)
        .map(|n| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let message = format!("call {n}");
                let request = Request::new(tokio_stream::once(Bytes::from(message.clone())));
                let path = http::uri::PathAndQuery::from_static("/test.Echo/Bidi");
                client.ready().await.unwrap();
                let response = client.streaming(request, path, crate::world::BytesCodec).await.unwrap();
                let mut messages = response.into_inner();
                assert_eq!(messages.message().await.unwrap().unwrap(), message);
                assert_eq!(messages.message().await.unwrap(), None);
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(world.unary("after").await.text(), "after");
}
