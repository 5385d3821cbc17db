//! 10.17 forward rules.

use extproc_core::Headers;
use extproc_core::rules::{ForwardRules, NameMatcher, NamePattern};
use extproc_proto::HeaderMap;
use extproc_proto::processing_request::Request;

use crate::exchange::{chunked_t, request};
use crate::{mode, with};

fn exact(name: &str) -> NameMatcher {
    NameMatcher { pattern: NamePattern::Exact(name.to_owned()), ignore_case: false }
}

fn of(pattern: NamePattern) -> NameMatcher {
    NameMatcher { pattern, ignore_case: false }
}

fn allow(matchers: Vec<NameMatcher>) -> ForwardRules {
    ForwardRules { allowed: Some(matchers), disallowed: Vec::new() }
}

fn names(map: Option<&HeaderMap>) -> String {
    let names = map.into_iter().flat_map(|map| &map.headers).map(|header| String::from_utf8_lossy(&header.key));
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn env_381_to_384_what_the_processor_sees() {
    let all = ":authority :path :method :scheme";
    let ignoring = NameMatcher { ignore_case: true, ..exact("X-Allow") };
    let prefix = || of(NamePattern::Prefix("x-".to_owned()));
    let regex = |text| of(NamePattern::Regex(regex::Regex::new(text).unwrap()));
    let table = [
        (
            "default",
            ForwardRules::default(),
            format!("{all} x-allow x-deny authorization"),
            ":status content-length x-up",
        ),
        (
            "ENV-381",
            ForwardRules { allowed: None, disallowed: vec![exact("x-deny"), exact("authorization")] },
            format!("{all} x-allow"),
            ":status content-length x-up",
        ),
        (
            "ENV-382",
            ForwardRules { allowed: Some(vec![prefix()]), disallowed: vec![exact("x-deny")] },
            "x-allow".to_owned(),
            "x-up",
        ),
        ("ENV-383", allow(vec![exact("X-Allow")]), String::new(), ""),
        ("ENV-384", allow(vec![ignoring]), "x-allow".to_owned(), ""),
        ("whole names", allow(vec![regex("x-allo|x-d.*")]), "x-deny".to_owned(), ""),
        ("longer alternative", allow(vec![regex("x|x-up")]), String::new(), "x-up"),
        ("the end", allow(vec![of(NamePattern::Suffix("-allow".to_owned()))]), "x-allow".to_owned(), ""),
        ("a part", allow(vec![of(NamePattern::Contains("uth".to_owned()))]), ":authority authorization".to_owned(), ""),
        ("nothing", allow(Vec::new()), String::new(), ""),
    ];
    for (what, rules, there, back) in table {
        let headers = [("x-allow", "1"), ("x-deny", "2"), ("authorization", "s")];
        let outcome = with(|options| options.forward_rules = rules).sends(request("GET", &headers)).run();
        let seen = outcome.wire[0].iter().map(|message| match message.request.as_ref().unwrap() {
            Request::RequestHeaders(part) | Request::ResponseHeaders(part) => names(part.headers.as_ref()),
            other => panic!("{other:?}"),
        });
        let seen: Vec<_> = seen.map(|names| names.replace(" x-envoy-upstream-service-time", "")).collect();
        assert_eq!(seen, [there.as_str(), back], "{what}");
        assert_eq!(outcome.upstream.only(&["x-deny"]), "x-deny: 2", "{what}: it goes on");
    }
}

#[test]
fn trailers_are_restricted_as_well() {
    for text in ["rt S sh K", "rb FD rt S sh K"] {
        let scenario = mode(text).options(|options| {
            options.forward_rules = ForwardRules { allowed: None, disallowed: vec![exact("x-t")] };
        });
        let outcome = scenario.sends(chunked_t(0, &[])).run();
        let trailers = outcome.wire[0].iter().find_map(|message| match message.request.as_ref().unwrap() {
            Request::RequestTrailers(part) => Some(names(part.trailers.as_ref())),
            _ => None,
        });
        assert_eq!(trailers.as_deref(), Some(""), "{text}");
        assert_eq!(outcome.upstream.trailers.as_ref().map(Headers::len), Some(1), "{text}");
    }
}
