//! Replies that a processor streams, over a real side stream.

use bytes::Bytes;
use extproc_core::BodyMode;
use extproc_proto::processing_response::Response;
use extproc_proto::streamed_immediate_response::Response as Part;
use extproc_proto::{
    HeaderMap, HeaderValue, HttpHeaders, ProcessingResponse, StreamedBodyResponse, StreamedImmediateResponse,
};
use http_body_util::BodyExt;

use crate::processor::{Scripted, Step, kind};
use crate::world::{TestBody, Upstream, bodies, counted, eventually, exchange, filter, get, post, text};

const PIECE: usize = 64 << 10;
const PIECES: usize = 160;

fn part(part: Part) -> ProcessingResponse {
    let reply = StreamedImmediateResponse { response: Some(part) };
    ProcessingResponse { response: Some(Response::StreamedImmediateResponse(reply)), ..ProcessingResponse::default() }
}

fn head() -> ProcessingResponse {
    let status = HeaderValue { key: ":status".into(), raw_value: "201".into(), ..HeaderValue::default() };
    let headers = Some(HeaderMap { headers: vec![status] });
    part(Part::HeadersResponse(HttpHeaders { headers, ..HttpHeaders::default() }))
}

fn piece(body: impl Into<Bytes>, end_of_stream: bool) -> ProcessingResponse {
    part(Part::BodyResponse(StreamedBodyResponse {
        body: body.into(),
        end_of_stream,
        ..StreamedBodyResponse::default()
    }))
}

fn never() -> Upstream {
    Upstream::new(|_| async { panic!("the upstream is not asked") })
}

#[tokio::test]
async fn a_slow_client_holds_the_processor_back() {
    let processor = Scripted::start(|_| {
        let pieces = (1..=PIECES).map(|nth| piece(vec![b'x'; PIECE], nth == PIECES));
        Step::Replies([head()].into_iter().chain(pieces).collect())
    })
    .await;
    let filter = filter(processor.address, |options| options.buffer_limit = 2 * PIECE);
    let response = exchange(std::slice::from_ref(&filter), get("/"), &never()).await.unwrap();
    assert_eq!(response.status(), 201);
    let received = || filter.counters.get("stream_msgs_received").unwrap();
    eventually("the limit is reached", || received() >= 4).await;
    // Nothing that can still happen takes longer than this: it is all in this process.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(received() <= 5, "{} messages were taken although nobody takes their content", received());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body.len(), PIECE * PIECES);
    assert_eq!(counted(&filter), format!("1/1/{}/1", PIECES + 1));
}

/// The first piece reaches the client before the second one exists.
#[tokio::test]
async fn pieces_go_out_as_they_come() {
    let processor = Scripted::start(|message| match kind(message) {
        "qh" => Step::Replies(vec![head(), piece("one", false)]),
        _ => Step::Reply(piece("two", true)),
    })
    .await;
    let filter =
        filter(processor.address, |it| it.processing_mode = bodies(BodyMode::FullDuplexStreamed, BodyMode::None));
    let (body, feed) = TestBody::open();
    let response = exchange(std::slice::from_ref(&filter), post(body), &never()).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
    // The request goes on to the processor, which answers it with more of the reply.
    feed.data("more");
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "two");
    assert!(body.frame().await.is_none());
    assert_eq!(processor.log(), "qh qb\"more\"");
    eventually("the request is given up", || feed.is_dropped()).await;
    assert_eq!(counted(&filter), "1/2/3/1");
}

#[tokio::test]
async fn a_processor_that_goes_away_cuts_its_reply() {
    let mut processor = Scripted::start(|_| Step::Replies(vec![head(), piece("one", false)])).await;
    let filter = filter(processor.address, |_| {});
    let response = exchange(std::slice::from_ref(&filter), get("/"), &never()).await.unwrap();
    processor.kill();
    assert!(text(response).await.starts_with("201 cut"));
    assert_eq!(filter.counters.get("streams_failed"), Some(1));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_processors_stream() {
    let processor = Scripted::start(|_| Step::Replies(vec![head(), piece("one", false)])).await;
    let filter = filter(processor.address, |_| {});
    let response = exchange(std::slice::from_ref(&filter), get("/"), &never()).await.unwrap();
    drop(response);
    eventually("the end of the stream", || processor.ends() == 1).await;
    assert_eq!(counted(&filter), "1/1/2/1");
}
