//! Header processing, replies in place of the upstream's, and what the counters say.

use extproc_core::Options;
use extproc_core::config::RouteCacheAction;
use extproc_proto::CommonResponse;
use extproc_tower::http::{Details, RecomputeRoute};
use extproc_tower::{ExtProc, Refusal};
use http::{Request, Response};
use tower_service::Service;

use crate::processor::{Scripted, Step, ack, answer, immediate, kind, mutation, set};
use crate::world::{TestBody, Upstream, counted, eventually, exchange, filter, get, post, text};

const DEFAULT: fn(&mut Options) = |_| {};

#[tokio::test]
async fn headers_change_in_both_directions() {
    let processor = Scripted::start(|message| match kind(message) {
        "qh" => Step::Reply(set(message, "x-a", "1")),
        _ => Step::Reply(set(message, "x-b", "2")),
    })
    .await;
    let filter = filter(processor.address, DEFAULT);
    let response = exchange(std::slice::from_ref(&filter), get("/p?q"), &Upstream::echo()).await.unwrap();
    assert_eq!(response.headers()["x-b"], "2");
    assert_eq!(response.extensions().get::<Details>(), None);
    assert_eq!(text(response).await, "200 GET http://ex.com/p?q host=ex.com x-a=1 []");
    assert_eq!(processor.log(), "qh! sh");
    assert_eq!(
        processor.headers("qh"),
        [":authority=ex.com", ":path=/p?q", ":method=GET", ":scheme=http"],
        "in Envoy's order, without host"
    );
    assert_eq!(processor.headers("sh"), [":status=200"]);
    assert_eq!(counted(&filter), "1/2/2/1");
    eventually("the end of the stream", || processor.ends() == 1).await;
}

#[tokio::test]
async fn the_request_line_can_change() {
    let processor = Scripted::start(|message| match kind(message) {
        "qh" => Step::Reply(answer(
            message,
            CommonResponse {
                header_mutation: Some({
                    let mut all = mutation(":path", "/new");
                    all.set_headers.extend(mutation(":method", "PUT").set_headers);
                    all
                }),
                ..CommonResponse::default()
            },
        )),
        _ => Step::Reply(ack(message)),
    })
    .await;
    let filter = filter(processor.address, |it| it.mutation_rules.allow_all_routing = true);
    let response = exchange(&[filter], get("/old"), &Upstream::echo()).await.unwrap();
    assert_eq!(text(response).await, "200 PUT http://ex.com/new host=ex.com []");
}

#[tokio::test]
async fn an_immediate_response_takes_the_place_of_the_upstream() {
    let processor = Scripted::start(|_| Step::Reply(immediate(403, "no"))).await;
    let filter = filter(processor.address, DEFAULT);
    let upstream = Upstream::new(|_| async { panic!("the upstream must not be asked") });
    let response = exchange(std::slice::from_ref(&filter), get("/"), &upstream).await.unwrap();
    assert_eq!(response.headers()["content-length"], "2");
    assert_eq!(response.extensions().get::<Details>(), Some(&Details("said_so".to_owned())));
    assert_eq!(text(response).await, "403 no");
    assert_eq!(counted(&filter), "1/1/1/1 immediate_responses_sent 1");
}

#[tokio::test]
async fn a_refusal_passes_the_filters_like_a_response() {
    let processor = Scripted::start(|message| Step::Reply(set(message, "x-m", "1"))).await;
    let filter = filter(processor.address, DEFAULT);
    let upstream = Upstream::new(|_| async { Err(Refusal::new(503, "down", "upstream_down")) });
    let response = exchange(std::slice::from_ref(&filter), get("/"), &upstream).await.unwrap();
    assert_eq!(response.headers()["x-m"], "1");
    assert_eq!(text(response).await, "503 down");
    assert_eq!(processor.log(), "qh! sh");
    assert_eq!(counted(&filter), "1/2/2/1");
}

#[tokio::test]
async fn filters_run_in_order_and_responses_in_reverse() {
    let script = |name: &'static str| {
        move |message: &extproc_proto::ProcessingRequest| {
            let mut mutation = mutation("x-order", name);
            mutation.set_headers[0].append = Some(true);
            Step::Reply(answer(
                message,
                CommonResponse { header_mutation: Some(mutation), ..CommonResponse::default() },
            ))
        }
    };
    let (one, two) = (Scripted::start(script("one")).await, Scripted::start(script("two")).await);
    let filters = [filter(one.address, DEFAULT), filter(two.address, DEFAULT)];
    let response = exchange(&filters, get("/"), &Upstream::echo()).await.unwrap();
    let order: Vec<_> = response.headers().get_all("x-order").iter().map(|it| it.to_str().unwrap()).collect();
    assert_eq!(order, ["two", "one"]);
    assert_eq!(text(response).await, "200 GET http://ex.com/ host=ex.com x-order=one x-order=two []");
}

#[tokio::test]
async fn the_upstream_learns_that_the_route_is_to_be_chosen_again() {
    let processor = Scripted::start(|message| Step::Reply(set(message, "x-route", "b"))).await;
    let upstream = Upstream::new(|request| async move {
        let again = request.extensions().get::<RecomputeRoute>().is_some();
        Ok(Response::new(TestBody::full(again.to_string())))
    });
    for (action, again) in [(RouteCacheAction::Clear, "200 true"), (RouteCacheAction::Retain, "200 false")] {
        let filter = filter(processor.address, |it| it.route_cache_action = action);
        let response = exchange(&[filter], get("/"), &upstream).await.unwrap();
        assert_eq!(text(response).await, again, "{action:?}");
    }
}

#[tokio::test]
async fn without_filters_everything_passes() {
    let mut service = ExtProc::new([].into(), Upstream::echo());
    let response = service.call(post(TestBody::with_trailer("hello", "x-t", "1"))).await.unwrap();
    assert_eq!(text(response).await, "200 POST /x host=ex.com [hello] x-t=1");
    let refusing = Upstream::new(|_| async { Err(Refusal::new(503, "down", "upstream_down")) });
    let response = ExtProc::new([].into(), refusing.clone()).call(get("/")).await.unwrap();
    assert_eq!(response.extensions().get::<Details>(), Some(&Details("upstream_down".to_owned())));
    assert_eq!(text(response).await, "503 down");
    let head = Request::head("/").body(TestBody::empty()).unwrap();
    let response = ExtProc::new([].into(), refusing).call(head).await.unwrap();
    assert_eq!(response.headers()["content-length"], "4");
    assert_eq!(text(response).await, "503 ");
}
