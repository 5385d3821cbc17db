//! What handlers read of heads, trailers and the exchange, and what they write, in tables.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use extproc::proto::{Metadata, ProcessingRequest, processing_request};
use extproc::testing::Script;
use extproc::{
    LocalReply, Open, Pairs, Processor, Refused, RequestHead, ResponseHead, SameSite, SetCookie, Skip, Start, Stop,
    Trailers, processor,
};
use prost_types::{Any, Struct, Value};

/// Runs a function on a request's head; what it gives, and the reply's line.
async fn request<T: Send + 'static>(
    headers: &[(&str, &str)],
    function: impl Fn(&mut RequestHead) -> T + Send + Sync + 'static,
) -> (T, String) {
    struct Run<F, T>(F, Mutex<Option<T>>);
    impl<T: Send + 'static, F: Fn(&mut RequestHead) -> T + Send + Sync + 'static> Processor for Run<F, T> {
        type Ctx = ();
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, _: &Open) {}

        async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
            *self.1.lock().unwrap() = Some((self.0)(req));
            Ok(())
        }
    }
    let run = Arc::new(Run(function, Mutex::new(None)));
    let lines = Script::new().request_only(headers.iter().copied()).run_shared(&run).await.lines();
    (run.1.lock().unwrap().take().unwrap(), lines.join("\n").replacen("request_headers", "", 1).trim().to_owned())
}

async fn response<T: Send + 'static>(headers: &[(&str, &str)], function: fn(&mut ResponseHead) -> T) -> (T, String) {
    let found = Arc::new(Mutex::new(None));
    type State<T> = (fn(&mut ResponseHead) -> T, Arc<Mutex<Option<T>>>);
    let run = processor::<State<T>, ()>("Run", (function, Arc::clone(&found))).response_headers(
        async |state: &State<T>, _: &mut (), rsp: &mut Start<ResponseHead>| -> Result<(), Stop> {
            *state.1.lock().unwrap() = Some((state.0)(rsp));
            Ok(())
        },
    );
    let lines = Script::new().response_only(headers.iter().copied()).run(run).await.lines();
    let value = found.lock().unwrap().take().unwrap();
    (value, lines.join("\n").replacen("response_headers", "", 1).trim().to_owned())
}

#[tokio::test]
async fn py_024_duplicates_stay_apart() {
    let headers = [("x-a", "1"), ("x-a", "2, 3"), ("x-b", "a, \"b,\\\"c\", d"), ("x-n", "\u{e9}")];
    let ((), line) = request(&headers, |req| {
        assert_eq!(req.header("x-a"), Some("1"), "the first");
        assert_eq!(req.header_all("X-A").collect::<Vec<_>>(), ["1", "2, 3"], "as on the wire");
        assert_eq!(req.list("x-a").collect::<Vec<_>>(), ["1", "2", "3"], "split when asked to");
        assert_eq!(req.list("x-b").collect::<Vec<_>>(), ["a", "\"b,\\\"c\"", "d"], "not in quotes");
        assert_eq!(req.pick(["x-a", "x-none"]), [Some("1"), None]);
        assert_eq!(req.header_all_bytes("x-n").collect::<Vec<_>>(), ["\u{e9}".as_bytes()]);
    })
    .await;
    assert_eq!(line, "");
}

#[tokio::test]
async fn py_036_the_parts_of_a_request() {
    type Row = (&'static [(&'static str, &'static str)], fn(&RequestHead) -> String, &'static str);
    let table: [Row; 18] = [
        (&[(":method", "GET")], |r| r.method().into(), "GET"),
        (
            &[(":path", "/a?b=c&d")],
            |r| format!("{} {} {:?}", r.path(), r.path_without_query(), r.query()),
            "/a?b=c&d /a Some(\"b=c&d\")",
        ),
        (&[(":path", "/a")], |r| format!("{:?} {}", r.query(), r.query_pairs().unwrap().len()), "None 0"),
        (
            &[(":path", "/?q=a+b%21&q")],
            |r| format!("{:?}", r.query_pairs().unwrap().iter().collect::<Vec<_>>()),
            r#"[("q", "a b!"), ("q", "")]"#,
        ),
        (&[(":path", "/?q=%ff")], |r| r.query_pairs().unwrap_err().to_string(), "pair 1 is not UTF-8 when decoded"),
        (&[(":authority", "[::1]:80")], |r| format!("{} {}", r.host(), r.authority()), "[::1] [::1]:80"),
        (
            &[("content-type", "Text/HTML; Charset=\"utf-8\"")],
            |r| {
                let t = r.media_type().unwrap();
                format!("{} {} {} {:?}", t.is("text/html"), t.is("text/plain"), t.is_text(), t.parameter("charset"))
            },
            "true false true Some(\"utf-8\")",
        ),
        (
            &[("content-type", "application/problem+JSON")],
            |r| {
                let t = r.media_type().unwrap();
                format!("{} {} {}", t.is_json(), t.is("application/problem+json"), t.is("application/problem"))
            },
            "true true false",
        ),
        (
            &[("content-type", "application/x-www-form-urlencoded")],
            |r| r.media_type().unwrap().is_form().to_string(),
            "true",
        ),
        (&[("content-type", "nonsense")], |r| r.media_type().is_none().to_string(), "true"),
        (&[("content-type", "a/b"), ("content-type", "c/d")], |r| r.media_type().is_none().to_string(), "true"),
        (&[("content-type", "application/GRPC+proto")], |r| r.is_grpc().to_string(), "true"),
        (&[("content-type", "application/grpc-web")], |r| r.is_grpc().to_string(), "false"),
        (&[("content-length", "12")], |r| format!("{:?}", r.content_length()), "Some(12)"),
        (&[("x-request-id", "i")], |r| format!("{:?}", r.request_id()), "Some(\"i\")"),
        (&[(":method", "CONNECT")], |r| format!("{} {}", r.is_connect(), r.is_upgrade()), "true true"),
        (
            &[(":method", "GET"), ("upgrade", "websocket")],
            |r| format!("{} {}", r.is_connect(), r.is_upgrade()),
            "false true",
        ),
        (
            &[("cookie", "a=1; b=\"2\""), ("cookie", "a=3;;c")],
            |r| format!("{:?} {:?}", r.cookies().collect::<Vec<_>>(), r.cookie("a")),
            r#"[("a", "1"), ("b", "\"2\""), ("a", "3")] Some("1")"#,
        ),
    ];
    for (headers, read, expected) in table {
        let (found, line) = request(headers, move |req| read(req)).await;
        assert_eq!((found.as_str(), line.as_str()), (expected, ""), "{headers:?}");
    }
}

#[tokio::test]
async fn the_client_by_trusted_hops() {
    let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    for (values, hops, expected) in [
        (&["1.1.1.1, 2.2.2.2"][..], 0, ip("2.2.2.2")),
        (&["1.1.1.1, 2.2.2.2"], 1, ip("1.1.1.1")),
        (&["1.1.1.1", "2.2.2.2"], 1, ip("1.1.1.1")),
        (&["1.1.1.1, 2.2.2.2"], 2, None),
        (&["1.1.1.1, junk"], 0, None),
        (&["1.1.1.1:80"], 0, ip("1.1.1.1")),
        (&["[::1]:80"], 0, ip("::1")),
        (&["\"[2001:db8::1]\""], 0, ip("2001:db8::1")),
        (&["2001:db8::1"], 0, ip("2001:db8::1")),
        (&[], 0, None),
        (&[""], 0, None),
    ] {
        let headers: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
        assert_eq!(request(&headers, move |req| req.client_ip(hops)).await.0, expected, "{values:?} {hops}");
    }
}

#[tokio::test]
async fn credentials() {
    type Row = (&'static [&'static str], Option<&'static str>, Option<(&'static str, &'static str)>);
    let table: [Row; 10] = [
        (&[], None, None),
        (&["Bearer abc"], Some("abc"), None),
        (&["bearer  abc "], Some("abc"), None),
        (&["Bearer a b"], None, None),
        (&["Bearer "], None, None),
        (&["Bearer a", "Bearer b"], None, None),
        (&["Basic dTpwOnE="], None, Some(("u", "p:q"))),
        (&["BASIC dTo="], None, Some(("u", ""))),
        (&["Basic dQ=="], None, None),
        (&["Basic ?"], None, None),
    ];
    for (values, bearer, basic) in table {
        let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        let read = |req: &mut RequestHead| {
            (req.bearer().map(str::to_owned), req.basic().map(|basic| (basic.user, basic.password)))
        };
        let (found, _) = request(&headers, read).await;
        let found = (found.0.as_deref(), found.1.as_ref().map(|(user, password)| (user.as_str(), password.as_str())));
        assert_eq!(found, (bearer, basic), "{values:?}");
    }
    let (shown, line) = request(&[], |req| {
        req.set_basic("u", "p:q");
        format!("{:?}", req.basic().unwrap())
    })
    .await;
    assert_eq!((shown.as_str(), line.as_str()), ("Basic { user: \"u\", .. }", "authorization=Basic dTpwOnE="));
    assert_eq!(request(&[], |req| req.set_bearer("t")).await.1, "authorization=Bearer t");
    assert_eq!(request(&[], |req| req.set_basic("a:b", "")).await.1, "error Internal: processor Run failed");
}

#[tokio::test]
async fn accepted_codings() {
    for (value, coding, expected) in [
        (None, "gzip", false),
        (None, "identity", true),
        (Some("gzip, br;q=0.5"), "br", true),
        (Some("gzip"), "br", false),
        (Some("GZIP"), "gzip", true),
        (Some("br;q=0, *"), "br", false),
        (Some("br; Q=0.000, *"), "br", false),
        (Some("*"), "zstd", true),
        (Some("*;q=0"), "identity", false),
        (Some(""), "gzip", false),
    ] {
        let headers: Vec<_> = value.map(|value| ("accept-encoding", value)).into_iter().collect();
        let (found, _) = request(&headers, move |req| req.accepts_encoding(coding)).await;
        assert_eq!(found, expected, "{value:?} {coding}");
    }
}

#[tokio::test]
async fn what_a_request_is_given() {
    type Row = (&'static [(&'static str, &'static str)], fn(&mut RequestHead), &'static str);
    let table: [Row; 14] = [
        (&[(":path", "/a?x")], |r| r.set_path("/b"), ":path=/b route"),
        (&[(":path", "/a")], |r| r.set_path("/a"), ":path=/a"),
        (&[(":path", "/a?x=1")], |r| r.set_query(""), ":path=/a route"),
        (
            &[(":path", "/a?x=1&y=2")],
            |r| {
                let mut query = r.query_pairs().unwrap();
                query.remove("x");
                r.set_query_pairs(&query);
            },
            ":path=/a?y=2 route",
        ),
        (&[(":path", "/a?x=1")], |r| r.set_query_pairs(&Pairs::new()), ":path=/a route"),
        (&[(":method", "GET")], |r| r.set_method("POST"), ":method=POST route"),
        (&[(":authority", "a")], |r| r.set_host("b"), ":authority=b route"),
        (
            &[(":authority", "a")],
            |r| {
                r.set_host("b");
                r.keep_route();
            },
            ":authority=b",
        ),
        (&[("cookie", "a=1; b=2"), ("cookie", "a=3")], |r| r.set_cookie("a", "4"), "cookie=b=2; a=4"),
        (&[("cookie", "a=1; b=2")], |r| assert!(r.remove_cookie("a")), "cookie=b=2"),
        (&[("cookie", "a=1")], |r| assert!(r.remove_cookie("a") && r.cookie("a").is_none()), "-cookie"),
        (&[("cookie", "aa=1")], |r| assert!(!r.remove_cookie("a")), ""),
        (&[], |r| r.set_cookie("a", "1; b=2"), "error Internal: processor Run failed"),
        (&[], |r| r.set_cookie("a b", "1"), "error Internal: processor Run failed"),
    ];
    for (headers, write, expected) in table {
        assert_eq!(request(headers, write).await.1, expected, "{headers:?}");
    }
}

#[tokio::test]
async fn responses() {
    let headers = [
        (":status", "404"),
        ("set-cookie", "a=1; Path=/"),
        ("set-cookie", "b = 2"),
        ("content-type", "Text/Event-Stream; x=y"),
    ];
    let (found, line) = response(&headers, |rsp| {
        let cookies: Vec<_> = rsp.set_cookies().map(|(name, value)| format!("{name}:{value}")).collect();
        let found =
            format!("{} {} {} {} {cookies:?}", rsp.status(), rsp.class(), rsp.is_success(), rsp.is_event_stream());
        rsp.set_status(204);
        let cookie = SetCookie::new("c", "3").unwrap().path("/").domain("a.test").http_only().secure();
        rsp.add_cookie(cookie.max_age(Duration::from_millis(1999)).same_site(SameSite::Lax));
        rsp.add_cookie(SetCookie::expired("a").unwrap().path("/;x"));
        found
    })
    .await;
    assert_eq!(found, "404 4 false true [\"a:1\", \"b:2\"]");
    assert_eq!(
        line,
        ":status=204 set-cookie+=c=3; Path=/; Domain=a.test; HttpOnly; Secure; Max-Age=1; SameSite=Lax set-cookie+=a=; Max-Age=0"
    );
    for (name, value) in
        [("", "1"), ("a b", "1"), ("a", "1;"), ("a", "1 2"), ("a", "\"1"), ("a", "\u{e9}"), ("a", "1\r\n")]
    {
        assert_eq!(SetCookie::new(name, value), Err(Refused::Cookie), "{name:?} {value:?}");
    }
    let reply = LocalReply::new(200).header("set-cookie", SetCookie::new("a", "1").unwrap());
    assert_eq!(reply.headers()[0].1.to_str(), Some("a=1"));
}

#[tokio::test]
async fn grpc_trailers() {
    let run = processor::<(), ()>("Run", ()).response_trailers(
        async |_: &(), _: &mut (), t: &mut Trailers| -> Result<(), extproc::Abort> {
            assert_eq!((t.grpc_status(), t.grpc_message_text().as_deref()), (Some(3), Some("50% \u{e9}")));
            t.set_grpc_status(5, "gone: 100%\n\u{e9}");
            Ok(())
        },
    );
    let lines = Script::new()
        .response_headers([(":status", "200")])
        .response_trailers([("grpc-status", "3"), ("grpc-message", "50%25 %C3%A9")])
        .run(run)
        .await
        .lines();
    assert_eq!(lines[1], "response_trailers grpc-status=5 grpc-message=gone: 100%25%0A%C3%A9");
}

fn fields(entries: &[(&str, Value)]) -> Struct {
    Struct { fields: entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect() }
}

fn attributes(entries: &[(&str, Value)]) -> BTreeMap<String, Struct> {
    BTreeMap::from([("envoy.filters.http.ext_proc".to_owned(), fields(entries))])
}

#[derive(Clone, PartialEq, prost::Message)]
struct User {
    #[prost(string, tag = "1")]
    name: String,
}

impl prost::Name for User {
    const NAME: &'static str = "User";
    const PACKAGE: &'static str = "test";
}

fn with_facts(mut script: ProcessingRequest) -> ProcessingRequest {
    script.attributes = attributes(&[
        ("source.address", "10.0.0.1:4711".into()),
        ("source.port", 4711.into()),
        ("connection.mtls", true.into()),
        ("connection.id", "18446744073709551615".into()),
        ("request.size", 1.5.into()),
        ("xds.route_name", "r".into()),
    ]);
    script.metadata_context = Some(Metadata {
        filter_metadata: BTreeMap::from([(
            "ns".to_owned(),
            fields(&[("k", "v".into()), ("n", 3.into()), ("f", 1.5.into())]),
        )]),
        typed_filter_metadata: BTreeMap::from([(
            "typed".to_owned(),
            Any::from_msg(&User { name: "u".to_owned() }).unwrap(),
        )]),
    });
    script
}

#[tokio::test]
async fn facts_are_typed_and_late_ones_are_readable_from_then_on() {
    struct Look(Mutex<Vec<String>>);
    impl Look {
        fn note(&self, text: String) {
            self.0.lock().unwrap().push(text);
        }
    }
    impl Processor for Look {
        type Ctx = u64;
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, open: &Open) -> u64 {
            self.note(format!(
                "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                open.source_address(),
                open.source_port(),
                open.connection_mtls(),
                open.connection_id(),
                open.request_size(),
                open.xds_route_name(),
                open.response_code(),
            ));
            let user = open.metadata_message::<User>("typed").unwrap().unwrap();
            self.note(format!("{} {:?}", user.name, open.metadata_message::<User>("none").is_none()));
            assert_ne!(open.id(), 0);
            open.id()
        }

        async fn request_headers(&self, _: &mut u64, req: &mut Start<RequestHead>) -> Result<(), Stop> {
            self.note(format!("{:?} {:?}", req.client_ip(0), req.facts().metadata_text("ns", "k")));
            Ok(())
        }

        async fn response_headers(&self, _: &mut u64, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
            let facts = rsp.facts();
            self.note(format!(
                "{:?} {:?} {:?}",
                facts.response_code(),
                facts.source_port(),
                facts.metadata_text("ns", "k")
            ));
            self.note(format!("{:?}", rsp.request().unwrap().facts().response_code()));
            Ok(())
        }
    }
    let headers = |kind: fn(extproc::proto::HttpHeaders) -> processing_request::Request| ProcessingRequest {
        request: Some(kind(extproc::proto::HttpHeaders { end_of_stream: true, ..Default::default() })),
        ..Default::default()
    };
    let first = with_facts(headers(processing_request::Request::RequestHeaders));
    let mut late = headers(processing_request::Request::ResponseHeaders);
    late.attributes = attributes(&[("response.code", 404.into())]);
    late.metadata_context = Some(Metadata {
        filter_metadata: BTreeMap::from([("ns".to_owned(), fields(&[("k", "new".into())]))]),
        ..Metadata::default()
    });
    let look = Arc::new(Look(Mutex::default()));
    let said = Script::new().message(first).message(late).run_shared(&look).await;
    assert_eq!(said.lines(), ["request_headers", "response_headers"]);
    assert_eq!(
        *look.0.lock().unwrap(),
        [
            "Some(10.0.0.1:4711) Some(4711) Some(true) Some(18446744073709551615) None Some(\"r\") None",
            "u true",
            "Some(10.0.0.1) Some(\"v\")",
            "Some(404) Some(4711) Some(\"new\")",
            "None",
        ]
    );
}

#[cfg(feature = "json")]
#[tokio::test]
async fn metadata_is_json() {
    struct Look(Mutex<Vec<String>>);
    impl Processor for Look {
        type Ctx = ();
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, open: &Open) {
            let mut seen = self.0.lock().unwrap();
            seen.push(format!("{:?}", open.metadata_json("ns").map(|value| value.to_string())));
            seen.push(format!("{:?}", open.metadata_json("none")));
        }
    }
    let look = Arc::new(Look(Mutex::default()));
    Script::new().message(with_facts(ProcessingRequest::default())).run_shared(&look).await;
    assert_eq!(*look.0.lock().unwrap(), [r#"Some("{\"f\":1.5,\"k\":\"v\",\"n\":3}")"#, "None"]);
}
