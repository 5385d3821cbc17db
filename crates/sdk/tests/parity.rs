//! Rows of the Python SDK's acceptance table that concern the SDK itself, each under its number.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::sync::{Arc, Mutex};

use extproc::testing::Script;
use extproc::{
    BodyMode, Error, LocalReply, Name, Noop, Open, Processor, Refused, Request, RequestHead, Response, ResponseHead,
    Reveal, Skip, Start, Stop, Trailers, Whole, WholeIo, processor,
};

const NONE: [(&str, &str); 0] = [];
const GET: [(&str, &str); 3] = [(":method", "GET"), (":path", "/a?b=c"), ("x-request-id", "id-1")];

type Found = Arc<Mutex<Vec<String>>>;

/// Runs a function on a request's head and gives back the reply's line.
async fn on_head<F>(headers: &[(&str, &str)], function: F) -> String
where
    F: Fn(&mut RequestHead) + Send + Sync + 'static,
{
    struct Run<F>(F);
    impl<F: Fn(&mut RequestHead) + Send + Sync + 'static> Processor for Run<F> {
        type Ctx = ();
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, _: &Open) {}

        async fn request_headers(&self, (): &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
            (self.0)(req);
            Ok(())
        }
    }
    Script::new().request_only(headers.iter().copied()).run(Run(function)).await.lines().join("\n")
}

#[tokio::test]
async fn py_002_py_013_py_014_py_085_an_empty_processor_answers_all_six_phases() {
    let phases = [
        "request_headers",
        "request_body",
        "request_trailers",
        "response_headers",
        "response_body",
        "response_trailers",
    ];
    assert_eq!(Script::six().run(Noop).await.lines(), phases);
}

#[test]
fn py_003_names() {
    assert_eq!(Noop.name(), "Noop");
    assert_eq!(Reveal::new(Noop).name(), "Noop");
    assert_eq!(processor::<(), ()>("Decorated", ()).name(), "Decorated");
}

#[tokio::test]
async fn py_007_a_later_registration_replaces_the_earlier() {
    async fn mark(mark: &str, req: &mut RequestHead) -> Result<(), Stop> {
        req.set("x-mark", mark);
        Ok(())
    }
    async fn one(_: &(), _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        mark("one", req).await
    }
    async fn two(_: &(), _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        mark("two", req).await
    }
    let decorated = processor::<(), ()>("P", ()).request_headers(one).request_headers(two);
    assert_eq!(Script::new().request_only(GET).run(decorated).await.lines(), ["request_headers x-mark=two"]);
}

#[tokio::test]
async fn py_018_py_034_a_local_reply_ends_the_exchange() {
    let deny = processor::<(), ()>("Deny", ()).request_body(
        Whole::<16>,
        async |_: &(), _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
            Err(LocalReply::unauthorized()
                .header("set-cookie", "a=1")
                .header("set-cookie", "b=2")
                .header("content-length", 99)
                .header("bad name", "dropped")
                .body(io.body.bytes().clone())
                .grpc_status(16)
                .details("no key\nat all")
                .into())
        },
    );
    let script = Script::six();
    assert_eq!(
        script.run(deny).await.lines(),
        ["request_headers", "immediate 401 set-cookie=a=1 set-cookie+=b=2 grpc=16 details=no_key_at_all"],
        "nothing of the later messages is answered"
    );
    assert_eq!([0, 99, 199, 600].map(|s| LocalReply::new(s).status()), [500; 4]);
}

#[tokio::test]
async fn py_020_py_022_py_023_the_request_stays_readable_and_apart_from_the_response() {
    let found = Found::default();
    let reads = processor::<Found, ()>("Reads", Arc::clone(&found))
        .response_headers(async |found: &Found, _: &mut (), rsp: &mut Start<ResponseHead>| -> Result<(), Stop> {
            let request = rsp.request().ok_or("no request")?;
            found.lock().unwrap().push(format!(
                "{} {} {} {:?} {:?} -> {} {:?}",
                request.method(),
                request.path(),
                request.path_without_query(),
                request.request_id(),
                request.content_type(),
                rsp.status(),
                rsp.content_type(),
            ));
            Ok(())
        })
        .response_body(Whole::<16>, async |found: &Found, _: &mut (), io: &mut WholeIo<Response>| -> Result<(), Stop> {
            found.lock().unwrap().push(io.head.request().ok_or("no request")?.method().to_owned());
            Ok(())
        })
        .response_trailers(async |found: &Found, _: &mut (), t: &mut Trailers| -> Result<(), extproc::Abort> {
            found.lock().unwrap().push(format!("{:?}", t.request().map(|r| r.method().to_owned())));
            Ok(())
        });
    let script = Script::new()
        .modes(BodyMode::None, BodyMode::Buffered)
        .request_only(GET)
        .response_headers([(":status", "200"), ("content-type", "text/plain; charset=utf-8")])
        .response_body("x", false)
        .response_trailers(NONE);
    assert!(script.run(reads).await.status.is_ok());
    let found = found.lock().unwrap().clone();
    assert_eq!(found, ["GET /a?b=c /a Some(\"id-1\") None -> 200 Some(\"text/plain\")", "GET", "Some(\"GET\")"]);
}

#[tokio::test]
async fn py_026_response_phases_alone_are_normal() {
    let found = Found::default();
    let reads = processor::<Found, ()>("Reads", Arc::clone(&found)).response_headers(
        async |found: &Found, _: &mut (), rsp: &mut Start<ResponseHead>| -> Result<(), Stop> {
            found.lock().unwrap().push(format!("{}", rsp.request().is_none()));
            Ok(())
        },
    );
    let lines = Script::new().response_only([(":status", "503")]).run(reads).await.lines();
    assert_eq!((lines, found.lock().unwrap().clone()), (vec!["response_headers".to_owned()], vec!["true".to_owned()]));
}

#[tokio::test]
async fn py_030_py_031_reading() {
    let headers = [("x-a", "1"), ("x-a", "2"), ("x-b", ""), ("content-type", "text/html"), ("x-n", "\u{e9}")];
    let line = on_head(&headers, |req| {
        assert_eq!((req.header("X-A"), req.header("x-missing"), req.header("x-b")), (Some("1"), None, Some("")));
        assert_eq!(req.header_all("X-a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(req.pick(["x-a", "x-missing"]), [Some("1"), None]);
        assert_eq!(req.header_bytes("x-n"), Some("\u{e9}".as_bytes()));
    });
    assert_eq!(line.await, "request_headers");
}

#[tokio::test]
async fn py_032_py_033_writing() {
    let line = on_head(&[("x-there", "0"), ("x-gone", "0")], |req| {
        req.set("X-Set", "1");
        req.append("x-there", 2);
        req.set_if_absent("x-there", "no");
        req.set_if_absent("x-new", "yes");
        req.set_if_present("x-there", "all");
        req.set_if_present("x-missing", "no");
        req.remove("x-gone");
        req.remove("x-missing");
        assert_eq!((req.header("x-set"), req.header("x-gone")), (Some("1"), None), "edits are seen at once");
    });
    assert_eq!(line.await, "request_headers x-set=1 x-there=all x-new?=yes -x-gone -x-missing");
}

#[tokio::test]
async fn py_039_trailers_have_the_same_verbs() {
    let edits = processor::<(), ()>("Edits", ()).request_trailers(
        async |_: &(), _: &mut (), t: &mut Trailers| -> Result<(), Stop> {
            assert_eq!(t.grpc_status(), Some(5));
            t.set("grpc-status", 0);
            t.remove("grpc-message");
            Ok(())
        },
    );
    let lines = Script::new().request_headers(GET).request_trailers([("grpc-status", "5")]).run(edits).await.lines();
    assert_eq!(lines[1], "request_trailers grpc-status=0 -grpc-message");
}

#[tokio::test]
async fn pseudo_headers_have_their_own_verbs_and_move_the_route() {
    let line = on_head(&GET, |req| {
        req.set_query("z=1");
        assert_eq!((req.path(), req.query()), ("/a?z=1", Some("z=1")));
    });
    assert_eq!(line.await, "request_headers :path=/a?z=1 route");
    let line = on_head(&GET, |req| {
        req.set_path("/b");
        req.keep_route();
    });
    assert_eq!(line.await, "request_headers :path=/b");
}

#[tokio::test]
async fn a_refused_edit_fails_the_phase_instead_of_vanishing() {
    type Edit = fn(&mut RequestHead);
    let edits: [(&str, Edit); 6] = [
        ("value", |r| r.set("x-user", "a\r\nx-admin: 1")),
        ("name", |r| r.append("x user", "1")),
        ("pseudo", |r| r.set(":path", "/")),
        ("pseudo", |r| r.remove(":path")),
        ("framing", |r| r.set("content-length", 3)),
        ("framing", |r| {
            r.set_if_absent("transfer-encoding", "chunked");
        }),
    ];
    for (what, edit) in edits {
        assert_eq!(on_head(&GET, edit).await, "error Internal: processor Run failed", "{what}");
    }
    let line = on_head(&GET, |req| {
        assert_eq!(req.try_set(":path", "/"), Err(Refused::Pseudo));
        assert!(req.try_set("x-ok", "1").is_ok());
    });
    assert_eq!(line.await, "request_headers x-ok=1", "a refusal that was looked at does no harm");
}

#[tokio::test]
async fn py_040_py_043_py_044_py_046_the_chain_header() {
    let ok = [(":status", "200"), ("x-ext-procs-applied", "Other")];
    let script = Script::new().request_only([("x-ext-procs-applied", "spoofed")]).response_only(ok);
    assert_eq!(
        script.run(Reveal::new(Noop)).await.lines(),
        ["request_headers", "response_headers x-ext-procs-applied=Noop,Other"]
    );
    let renamed = Reveal::new(Noop).header(Name::from_static("x-chain"));
    assert_eq!(script.run(renamed).await.lines(), ["request_headers", "response_headers x-chain=Noop"]);
    let off = Reveal::new(Noop).enabled(false);
    assert_eq!(script.run(off).await.lines(), ["request_headers", "response_headers"]);
    let no_response = Script::new().request_only(NONE);
    assert_eq!(no_response.run(Reveal::new(Noop)).await.lines(), ["request_headers"]);
}

#[tokio::test]
async fn py_045_the_chain_header_on_a_local_reply_is_the_name_alone() {
    for body_phase in [false, true] {
        let echo = processor::<bool, ()>("Echo", body_phase)
            .request_headers(async |late: &bool, _: &mut (), _: &mut Start<RequestHead>| -> Result<(), Stop> {
                if *late { Ok(()) } else { Err(LocalReply::new(200).into()) }
            })
            .request_body(Whole::<16>, async |_: &bool, _: &mut (), _: &mut WholeIo<Request>| -> Result<(), Stop> {
                Err(LocalReply::new(200).into())
            });
        let script = Script::new()
            .modes(BodyMode::Buffered, BodyMode::None)
            .request_headers([("x-ext-procs-applied", "spoofed")])
            .request_body("hi", true);
        let lines = script.run(Reveal::new(echo)).await.lines();
        assert_eq!(lines.last().unwrap(), "immediate 200 x-ext-procs-applied=Echo");
    }
}

#[tokio::test]
async fn py_084_a_script_can_run_again() {
    let script = Script::six();
    assert_eq!(script.run(Noop).await.lines(), script.run(Noop).await.lines());
}

#[test]
fn errors_show_their_sources_in_the_log_only() {
    let number = "x".parse::<u32>().unwrap_err();
    let error = Error::from(std::io::Error::other(number.clone()));
    assert!(error.downcast_ref::<std::io::Error>().is_some());
    assert_eq!(error.to_string(), format!("{number}"));
}

#[test]
fn py_001_the_root_has_what_a_processor_needs() {
    use extproc::{Server, proto};

    let _: fn(Noop) -> Server<Noop> = Server::new;
    let _ = proto::ProcessingResponse::default();
    let _ = processor::<(), ()>("P", ());
    let _: Stop = LocalReply::new(200).into();
}

#[test]
fn py_004_a_server_shows_its_name() {
    let server = extproc::Server::new(processor::<(), ()>("Shown", ()));
    assert_eq!(server.to_string(), "Shown");
    assert!(format!("{server:?}").contains("Shown"));
}

#[tokio::test]
async fn py_006_py_011_phases_are_methods_and_nothing_can_be_forgotten() {
    struct Edits;
    impl Processor for Edits {
        type Ctx = ();
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, _: &Open) {}

        async fn response_headers(&self, (): &mut (), rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
            rsp.set("x-edit", "1");
            Ok(())
        }
    }
    let script = Script::new().request_only(GET).response_only([(":status", "200")]);
    assert_eq!(
        script.run(Reveal::new(Edits)).await.lines(),
        ["request_headers", "response_headers x-ext-procs-applied=Edits x-edit=1"],
        "there is no reply to return, so none loses the chain header"
    );
}

#[tokio::test]
async fn py_009_work_that_blocks_holds_up_nothing_else() {
    let here = std::thread::current().id();
    let hashes = processor::<(), ()>("Hashes", ()).request_headers(
        async |_: &(), _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
            let path = req.path().to_owned();
            let (length, thread) = extproc::blocking(move || (path.len(), std::thread::current().id())).await;
            req.set("x-length", length);
            req.set("x-thread", format!("{thread:?}"));
            Ok(())
        },
    );
    let line = Script::new().request_only(GET).run(hashes).await.lines().join("\n");
    assert!(
        line.starts_with("request_headers x-length=6 x-thread=") && !line.ends_with(&format!("{here:?}")),
        "{line}"
    );

    let panics = processor::<(), ()>("Panics", ()).request_headers(
        async |_: &(), _: &mut (), _: &mut Start<RequestHead>| -> Result<(), Stop> {
            extproc::blocking(|| panic!("broken")).await
        },
    );
    assert_eq!(Script::new().request_only(GET).run(panics).await.lines(), ["error Internal: processor Panics failed"]);
}

#[tokio::test]
async fn py_010_handlers_get_state_context_and_view() {
    struct Inputs(&'static str);
    impl Processor for Inputs {
        type Ctx = String;
        type RequestBody = Skip;
        type ResponseBody = Skip;

        fn open(&self, open: &Open) -> String {
            format!("{} {:?} {}", self.0, open.peer(), open.grpc_metadata().len())
        }

        async fn request_headers(&self, ctx: &mut String, req: &mut Start<RequestHead>) -> Result<(), Stop> {
            *ctx = format!("{ctx} {}", req.path());
            Ok(())
        }

        async fn response_headers(&self, ctx: &mut String, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
            let inputs = format!("{ctx} {}", rsp.status());
            rsp.set("x-inputs", inputs);
            Ok(())
        }
    }
    let script = Script::new().request_only(GET).response_only([(":status", "200")]);
    assert_eq!(script.run(Inputs("state")).await.lines()[1], "response_headers x-inputs=state None 0 /a?b=c 200");
}

#[tokio::test]
async fn py_015_one_answer_for_each_message_in_order_and_in_full_duplex_any_number() {
    let slow = || {
        processor::<(), u64>("Slow", ()).request_headers(head).request_body(
            extproc::Stream,
            async |_: &(), seen: &mut u64, io: &mut extproc::ChunkIo<Request>| -> Result<(), Stop> {
                *seen += 1;
                // Early chunks take longer; their answers still come first.
                for _ in 0..10 / *seen {
                    tokio::task::yield_now().await;
                }
                io.out.push(format!("{seen}"));
                io.out.push("+");
                Ok(())
            },
        )
    };
    async fn head(_: &(), _: &mut u64, _: &mut Start<RequestHead>) -> Result<(), Stop> {
        tokio::task::yield_now().await;
        Ok(())
    }
    let script = |mode| {
        Script::new().modes(mode, BodyMode::None).request_headers(GET).request_body("a", false).request_body("b", true)
    };
    assert_eq!(
        script(BodyMode::Streamed).run(slow()).await.lines(),
        ["request_headers", "request_body body=\"1+\"", "request_body body=\"2+\""]
    );
    assert_eq!(
        script(BodyMode::FullDuplexStreamed).run(slow()).await.lines(),
        [
            "request_headers",
            "request_body chunk=\"1\"",
            "request_body chunk=\"+\"",
            "request_body chunk=\"2\"",
            "request_body chunk=\"+\" end",
        ]
    );
}

#[tokio::test]
async fn py_037_readers_are_methods_wherever_there_is_a_head() {
    fn tenant(head: &RequestHead) -> Option<&str> {
        head.header("x-tenant")
    }
    let found = Found::default();
    let reads = processor::<Found, ()>("Reads", Arc::clone(&found))
        .request_headers(async |found: &Found, _: &mut (), req: &mut Start<RequestHead>| -> Result<(), Stop> {
            found.lock().unwrap().push(format!("{:?}", tenant(req)));
            Ok(())
        })
        .request_body(Whole::<16>, async |found: &Found, _: &mut (), io: &mut WholeIo<Request>| -> Result<(), Stop> {
            found.lock().unwrap().push(format!("{:?}", tenant(&io.head)));
            Ok(())
        })
        .response_headers(async |found: &Found, _: &mut (), rsp: &mut Start<ResponseHead>| -> Result<(), Stop> {
            found.lock().unwrap().push(format!("{:?}", rsp.request().and_then(tenant)));
            Ok(())
        });
    let script = Script::new()
        .modes(BodyMode::Buffered, BodyMode::None)
        .request_headers([("x-tenant", "t")])
        .request_body("x", true)
        .response_only([(":status", "200")]);
    assert!(script.run(reads).await.status.is_ok());
    assert_eq!(*found.lock().unwrap(), ["Some(\"t\")"; 3]);
}
