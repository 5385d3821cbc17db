//! Attributes: once for each direction, with its first message. Rows AGW-028, AGW-029, AGW-031 and AGW-093.

use extproc_core::filter::HttpEvent;
use extproc_core::{Attribute, Config, Direction, FilterChain, NamedAttribute, Options};
use extproc_proto::ProcessingRequest;
use extproc_proto::prost_types::value::Kind;

use crate::exchange::{Scenario, headers, post};
use crate::mode;

/// The attributes of each message, as `name=value`.
fn told(messages: &[ProcessingRequest]) -> Vec<String> {
    let text = |kind: &Option<Kind>| match kind {
        Some(Kind::StringValue(text)) => text.clone(),
        Some(Kind::NumberValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    let of_message = |message: &ProcessingRequest| {
        let all = message.attributes.iter().flat_map(|(key, all)| {
            assert_eq!(key, "envoy.filters.http.ext_proc");
            all.fields.iter().map(|(name, value)| format!("{name}={}", text(&value.kind)))
        });
        all.collect::<Vec<_>>().join(" ")
    };
    messages.iter().map(of_message).collect()
}

fn listing(scenario: Scenario, request: &[&str], response: &[&str]) -> Scenario {
    let names = |names: &[&str]| names.iter().copied().map(NamedAttribute::from).collect::<Vec<_>>();
    let (request, response) = (names(request), names(response));
    scenario.options(|options| {
        (options.request_attributes, options.response_attributes) = (request, response);
    })
}

#[test]
fn agw_028_029_093_once_with_the_first_message_of_the_direction() {
    for (text, expected) in [
        ("rb BU sb BU", ["request.method=POST", "", "request.method=POST response.code=200", ""].as_slice()),
        ("rh K rb BU sh K sb BU", &["request.method=POST", "request.method=POST response.code=200"]),
    ] {
        let lists = (&["request.method", "response.code", "no.such"], &["response.code", "request.method"]);
        let outcome = listing(mode(text), lists.0, lists.1).sends(post("hello")).run();
        assert_eq!(told(&outcome.wire[0]), expected, "{text}: {}", outcome.seen());
    }
}

#[test]
fn agw_031_none_without_a_list() {
    let outcome = mode("rb BU").sends(post("hello")).run();
    assert!(outcome.wire[0].iter().all(|message| message.attributes.is_empty()));
}

#[test]
fn the_data_plane_tells_what_headers_do_not_have() {
    let options = Options { request_attributes: vec!["source.address".into()], ..Options::default() };
    let mut chain = FilterChain::new([std::sync::Arc::new(Config::new(options).unwrap())]);
    assert!(chain.wants_attribute("source.address") && !chain.wants_attribute("source.port"));
    chain.set_attribute("source.address", &Attribute::Text("10.0.0.1:5".to_owned()));
    chain.set_attribute("source.port", &Attribute::Number(5.0));
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    let now = std::time::Instant::now();
    chain.handle_http(now, Direction::Request, HttpEvent::Headers(headers(&[(":method", "GET")]), true)).unwrap();
    let Some(extproc_core::filter::Outgoing::Message(message)) = chain.poll_send(0) else { panic!("a message") };
    assert_eq!(told(&[*message]), ["source.address=10.0.0.1:5"]);
}
