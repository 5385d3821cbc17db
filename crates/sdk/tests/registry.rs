//! Chains that a file decides: what it can say, and what is said of its mistakes.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;

use extproc::proto::{HttpHeaders, Metadata, ProcessingRequest, processing_request};
use extproc::testing::Script;
use extproc::{
    BodyMode, LocalReplyScope, Noop, Open, Processor, Registry, RequestHead, Skip, Start, Stop, Stream, processor,
};
use prost_types::{Struct, Value};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    mark: String,
}

/// Appends its mark to `x-seen`; fails on `/fail`.
struct Mark(String);

impl Processor for Mark {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        req.append("x-seen", &self.0);
        if req.path() == "/fail" { Err("broken".into()) } else { Ok(()) }
    }
}

fn registry() -> Registry {
    Registry::new()
        .add("mark", |options: Options| match options.mark.as_str() {
            "bad" => Err("a mark cannot be bad"),
            _ => Ok(Mark(options.mark)),
        })
        .add("noop", |(): ()| Ok::<_, String>(Noop))
        .add("pass", |(): ()| {
            Ok::<_, String>(processor::<(), ()>("Pass", ()).request_body(
                Stream,
                async |_: &(), _: &mut (), io: &mut extproc::ChunkIo<extproc::Request>| -> Result<(), Stop> {
                    io.out.pass();
                    Ok(())
                },
            ))
        })
}

async fn seen(file: &str, headers: &[(&str, &str)]) -> String {
    let chain = registry().parse(file, "chain.yaml").unwrap().processors;
    Script::new().request_only(headers.iter().copied()).run(chain).await.lines().join("\n")
}

#[tokio::test]
async fn a_file_decides_processors_options_and_order() {
    let yaml = "chain:\n  - {processor: mark, options: {mark: a}}\n  - processor: noop\n  - options: {mark: b}\n    processor: mark\n";
    assert_eq!(seen(yaml, &[(":path", "/")]).await, "request_headers x-seen+=a x-seen+=b");
    let json = r#"{"chain": [{"options": {"mark": "j"}, "processor": "mark"}], "local_reply_scope": "earlier"}"#;
    assert_eq!(seen(json, &[(":path", "/")]).await, "request_headers x-seen+=j");
    let chain = registry().parse(json, "chain.json").unwrap();
    assert_eq!((chain.processors.len(), chain.local_reply_scope), (1, LocalReplyScope::Earlier));
    assert_eq!(registry().names().collect::<Vec<_>>(), ["mark", "noop", "pass"]);
}

#[tokio::test]
async fn conditions() {
    let get: &[(&str, &str)] =
        &[(":method", "GET"), (":path", "/api/x.html?q"), (":authority", "A.test:80"), ("x-h", "1"), ("x-h", "2")];
    for (when, holds) in [
        ("{}", true),
        ("{method: GET}", true),
        ("{method: [POST, GET]}", true),
        ("{method: POST}", false),
        ("{host: a.TEST}", true),
        ("{host: b.test}", false),
        ("{path: {prefix: /api/}}", true),
        ("{path: {prefix: /api/, suffix: .css}}", false),
        ("{path: {exact: /api/x.html}}", true),
        ("{headers: {X-H: '2'}}", true),
        ("{headers: {x-h: '3'}}", false),
        ("{headers: {x-h: true, x-none: false}}", true),
        ("{headers: {x-none: true}}", false),
        ("{not: {method: GET}}", false),
        ("{any: [{method: POST}, {path: {prefix: /api}}]}", true),
        ("{any: []}", false),
        ("{method: GET, not: {any: [{host: b.test}, {headers: {x-h: '9'}}]}}", true),
        ("{attributes: {source.port: 1}}", false),
    ] {
        let file = format!("chain: [{{processor: mark, options: {{mark: m}}, when: {when}}}, {{processor: noop}}]");
        let expected = if holds { "request_headers x-seen+=m" } else { "request_headers" };
        assert_eq!(seen(&file, get).await, expected, "{when}");
    }
}

#[tokio::test]
async fn conditions_on_what_the_data_plane_tells() {
    let fields = |entries: &[(&str, Value)]| Struct {
        fields: entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
    };
    let attributes =
        fields(&[("connection.mtls", true.into()), ("source.port", 7.into()), ("xds.route_name", "r".into())]);
    let message = ProcessingRequest {
        request: Some(processing_request::Request::RequestHeaders(HttpHeaders {
            end_of_stream: true,
            ..HttpHeaders::default()
        })),
        attributes: BTreeMap::from([("f".to_owned(), attributes)]),
        metadata_context: Some(Metadata {
            filter_metadata: BTreeMap::from([("ns".to_owned(), fields(&[("k", "v".into())]))]),
            ..Metadata::default()
        }),
        ..ProcessingRequest::default()
    };
    for (when, holds) in [
        ("{attributes: {connection.mtls: true, source.port: 7, xds.route_name: r}}", true),
        ("{attributes: {connection.mtls: false}}", false),
        ("{attributes: {source.port: '7'}}", false),
        ("{metadata: {ns: {k: v}}}", true),
        ("{metadata: {ns: {k: w}}}", false),
        ("{metadata: {other: {k: v}}}", false),
    ] {
        let file = format!("chain: [{{processor: mark, options: {{mark: m}}, when: {when}}}, {{processor: noop}}]");
        let chain = registry().parse(&file, "f").unwrap().processors;
        let lines = Script::new().message(message.clone()).run(chain).await.lines();
        assert_eq!(lines, [if holds { "request_headers x-seen+=m" } else { "request_headers" }], "{when}");
    }
}

#[tokio::test]
async fn error_policies_and_limits() {
    for (policy, expected) in [
        ("fail", "error Internal: processor Mark failed"),
        ("skip", "request_headers x-seen+=b"),
        ("{reply: 503}", "immediate 503"),
    ] {
        let file = format!("chain: [{{processor: mark, on_error: {policy}}}, {{processor: other}}]");
        let other = registry().add("other", |(): ()| {
            Ok::<_, String>(processor::<(), ()>("Other", ()).request_headers(
                async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
                    req.append("x-seen", "b");
                    Ok(())
                },
            ))
        });
        let chain = other.parse(&file, "f").unwrap().processors;
        let said = Script::new().request_only([(":path", "/fail")]).run(chain).await.lines().join("\n");
        assert_eq!(said, expected, "{policy}");
    }
    let body = registry().parse("chain: [{processor: pass, limits: {request_body: 3}}]", "f").unwrap().processors;
    let lines = Script::new()
        .modes(BodyMode::Streamed, BodyMode::None)
        .request_headers([(":method", "POST")])
        .request_body("four", true)
        .run(body)
        .await
        .lines();
    assert!(lines[1].starts_with("immediate 413"), "{lines:?}");

    let limits = "chain: [{processor: noop, limits: {rate: {requests: 1, seconds: 3600}, concurrency: 5}}]";
    let limited = std::sync::Arc::new(registry().parse(limits, "f").unwrap().processors);
    let script = Script::new().request_only([(":path", "/")]);
    assert_eq!(script.run_shared(&limited).await.lines(), ["request_headers"]);
    assert!(script.run_shared(&limited).await.lines()[0].starts_with("immediate 429 retry-after="));
}

#[test]
fn mistakes_have_a_place_and_a_way_out() {
    let table = [
        ("chain:\n  - processor: mrk\n", "f:2:16: unknown processor `mrk`; did you mean `mark`?"),
        ("chain: [{processor: zzz}]", "f:1:21: unknown processor `zzz`; known are mark, noop, pass"),
        ("chain: [{processr: mark}]", "f:1:10: unknown key `processr`; did you mean `processor`?"),
        ("chain: [{options: {}}]", "f:1:10: `processor` is missing"),
        ("chains: []", "f:1:1: unknown key `chains`; did you mean `chain`?"),
        ("chain: mark", "f:1:8: expected a list"),
        (
            "chain:\n  - processor: mark\n    options: {mork: a}\n  - processor: nop\n",
            "f:3:14: options of `mark`: unknown field `mork`, expected `mark`\n\
             f:4:16: unknown processor `nop`; did you mean `noop`?",
        ),
        ("chain: [{processor: mark, options: {mark: bad}}]", "f:1:36: options of `mark`: a mark cannot be bad"),
        ("chain: [{processor: noop, options: {a: 1}}]", "f:1:36: options of `noop`: invalid type: map, expected unit"),
    ];
    for (text, expected) in table {
        assert_eq!(registry().parse(text, "f").unwrap_err().to_string(), expected, "{text}");
    }
    for (text, word) in [
        ("chain: [{processor: noop, on_error: skp}]", "f:1:"),
        ("chain: [{processor: noop, limits: {rate: {requests: 0}}}]", "f:1:"),
        ("chain: [{processor: noop, when: {path: /a}}]", "f:1:"),
        ("chain: [", "f:1:"),
        ("", "f"),
    ] {
        let error = registry().parse(text, "f").unwrap_err().to_string();
        assert!(error.starts_with(word), "{text}: {error}");
    }
    let error = registry().load("/no/such/file.yaml").unwrap_err().to_string();
    assert!(error.starts_with("/no/such/file.yaml: cannot be read: "), "{error}");
}
