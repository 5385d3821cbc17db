//! Calls of all kinds, at the client's and at the server's layer.

use bytes::Bytes;
use extproc_core::call::Options;
use extproc_core::config::FlowControl;
use extproc_proto::processing_request::Request as Told;
use tonic::Request;
use tonic::metadata::MetadataValue;

use crate::processor::{Scripted, Step, ack, set};
use crate::world::{PLACES, World, echoes, eventually, options, streamed, value, with_messages};

#[tokio::test]
async fn an_echoing_processor_changes_nothing() {
    for place in PLACES {
        for modes in ["SGSGS", "KGKGS", "SNSNS", "SGKNK", "KNKGS", "KNKNK"] {
            let processor = Scripted::start(echoes()).await;
            let mut world = World::new(place, options(modes), &processor).await;
            let case = format!("{place:?} {modes}");
            assert_eq!(world.unary("one").await.text(), "one", "{case}");
            assert_eq!(world.stream("Bidi", &["a", "b", "", "c"]).await.text(), "a b  c", "{case}");
            assert_eq!(world.stream("Collect", &["a", "b", "c"]).await.text(), "abc", "{case}");
            assert_eq!(world.stream("Spread", &["abc"]).await.text(), "a b c", "{case}");
            assert_eq!(world.stream("Bidi", &[]).await.text(), "", "{case}");
            assert_eq!(world.stream("Refuse", &["a"]).await.text(), "Aborted: no", "{case}");
            assert_eq!(world.stream("Fail", &["a", "b"]).await.text(), "a b DataLoss: late", "{case}");
            assert_eq!(world.stream("Nothing", &["a"]).await.text(), "Unimplemented: Nothing", "{case}");
        }
    }
}

#[tokio::test]
async fn a93_076_077_078_287_messages_headers_and_trailers_are_changed() {
    for place in PLACES {
        let processor = Scripted::start(|message| match message.request.as_ref().unwrap() {
            Told::RequestHeaders(_) => Step::Reply(set(message, "x-request", "1")),
            Told::ResponseHeaders(_) => Step::Reply(set(message, "x-response", "2")),
            Told::ResponseTrailers(_) => Step::Reply(set(message, "x-trailer", "3")),
            Told::RequestBody(it) if it.end_of_stream => Step::Reply(streamed(message, Bytes::new(), true)),
            Told::RequestBody(it) => Step::Reply(streamed(message, [b"q", &it.body[..]].concat(), false)),
            Told::ResponseBody(it) => {
                let again = streamed(message, Bytes::from_static(b"more"), false);
                Step::Replies(vec![streamed(message, [b"s", &it.body[..]].concat(), false), again])
            }
            Told::RequestTrailers(_) => panic!("gRPC has none"),
        })
        .await;
        let mut world = World::new(place, options("SGSGS"), &processor).await;
        let outcome = world.stream("Bidi", &["a", "b"]).await;
        assert_eq!(outcome.text(), "sqa more sqb more", "{place:?}");
        assert_eq!(
            (value(&outcome.headers, "x-response"), value(&outcome.headers, "server")),
            (&b"2"[..], &b"echo"[..])
        );
        assert_eq!(value(&outcome.trailers, "x-trailer"), b"3");
        assert_eq!(value(&world.seen.calls.lock().unwrap()[0], "x-request"), b"1");
        assert_eq!(world.stream("Collect", &["a", "b"]).await.text(), "sqaqb more", "{place:?}");
    }
}

#[tokio::test]
async fn a93_057_compressed_messages_are_seen_as_they_are() {
    for place in PLACES {
        let processor = Scripted::start(with_messages(<[u8]>::to_ascii_uppercase)).await;
        let mut world = World::new(place, options("SGSGS"), &processor).await.compressing();
        let long = "a".repeat(5_000);
        assert_eq!(world.stream("Bidi", &[&long, "b"]).await.messages, [&long.to_uppercase()[..], "B"], "{place:?}");
        let mut world = World::new(place, options("SNSNS"), &processor).await.compressing();
        assert_eq!(world.stream("Bidi", &[&long, "b"]).await.messages, [&long[..], "b"], "{place:?}");
    }
}

#[tokio::test]
async fn a93_058_messages_of_any_length_pass_whole() {
    for place in PLACES {
        let processor = Scripted::start(echoes()).await;
        let mut world = World::new(place, options("SGSGS"), &processor).await;
        let messages: Vec<_> = [0, 1, 16_383, 70_000, 1_000_000, 5].map(|len| "m".repeat(len)).into();
        let messages: Vec<_> = messages.iter().map(|it| &it[..]).collect();
        assert_eq!(world.stream("Bidi", &messages).await.messages, messages, "{place:?}");
    }
}

#[tokio::test]
async fn a93_162_binary_metadata_comes_through_unchanged() {
    for place in PLACES {
        let processor = Scripted::start(|message| match message.request.as_ref().unwrap() {
            Told::RequestHeaders(headers) => {
                let shown = headers.headers.as_ref().unwrap().headers.iter();
                let shown = shown.clone().find(|it| it.key == "x-bin").unwrap();
                assert_eq!(shown.raw_value, "BAU=");
                Step::Reply(set(message, "y-bin", "BAU="))
            }
            _ => Step::Reply(ack(message)),
        })
        .await;
        let mut world = World::new(place, options("SNKNK"), &processor).await;
        let mut request = Request::new(tokio_stream::once(Bytes::from_static(b"m")));
        request.metadata_mut().insert_bin("x-bin", MetadataValue::from_bytes(&[4, 5]));
        assert_eq!(world.request("Unary", request).await.text(), "m", "{place:?}");
        let calls = world.seen.calls.lock().unwrap();
        for name in ["x-bin", "y-bin"] {
            assert_eq!(&calls[0].get_bin(name).unwrap().to_bytes().unwrap()[..], [4, 5], "{name}");
        }
    }
}

#[tokio::test]
async fn a93_069_messages_of_the_processor_alone() {
    for place in PLACES {
        // Messages of the processor's own go before those of the client, and do not wait for them.
        let processor = Scripted::start(|message| match message.request.as_ref().unwrap() {
            Told::RequestHeaders(_) => {
                let body = extproc_proto::ProcessingRequest {
                    request: Some(Told::RequestBody(extproc_proto::HttpBody::default())),
                    ..extproc_proto::ProcessingRequest::default()
                };
                Step::Replies(vec![ack(message), streamed(&body, "new", false)])
            }
            Told::RequestBody(body) => Step::Reply(streamed(message, body.body.clone(), body.end_of_stream)),
            _ => Step::Reply(ack(message)),
        })
        .await;
        let mut world = World::new(place, options("SGKNK"), &processor).await;
        assert_eq!(world.stream("Bidi", &["a"]).await.text(), "new a", "{place:?}");
    }
}

#[tokio::test]
async fn a93_246_observing_changes_nothing() {
    for place in PLACES {
        let processor = Scripted::start(|_| Step::SILENCE).await;
        let observing = Options { observability_mode: true, ..options("SGSGS") };
        let mut world = World::new(place, observing, &processor).await;
        let outcome = world.stream("Bidi", &["a", "b"]).await;
        assert_eq!(outcome.text(), "a b", "{place:?}");
        // The two directions do not wait for each other.
        let mut told = Vec::new();
        eventually("the copies arrive", || {
            told = processor.log().split(' ').map(str::to_owned).collect();
            told.len() == 8
        })
        .await;
        for (direction, expected) in [('q', "qh qb\"a\" qb\"b\" qb!\"\""), ('s', "sh sb\"a\" sb\"b\" st")] {
            let of: Vec<_> = told.iter().filter(|it| it.starts_with(direction)).map(|it| &it[..]).collect();
            assert_eq!(of.join(" "), expected, "{place:?}");
        }
    }
}

#[tokio::test]
async fn a93_242_windows_of_processors_that_know_none() {
    for policy in [FlowControl::Auto, FlowControl::Off] {
        let processor = Scripted::start(echoes()).await;
        let mut world = World::new(PLACES[0], Options { flow_control: policy, ..options("SGSGS") }, &processor).await;
        let megabyte = "m".repeat(65_536);
        let messages = vec![&megabyte[..]; 16];
        assert_eq!(world.stream("Bidi", &messages).await.messages.len(), 16, "{policy:?}");
    }
}
