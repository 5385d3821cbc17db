//! `extproc serve` and `extproc call`.

use std::process::Output;

use extproc_proto::external_processor_client::ExternalProcessorClient;
use extproc_proto::processing_request::Request as Ask;
use extproc_proto::{BodySendMode, HttpHeaders, ProcessingRequest, ProtocolConfiguration};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

use crate::http::{get, send};
use crate::process::{Server, run, run_with, text};

const ANY: &[&str] = &["--listen", "127.0.0.1:0"];

/// A call with patience: a busy machine is no finding.
async fn call(place: &str, args: &[&str]) -> Output {
    run(&[&["call", place, "--timeout", "20s"], args].concat()).await
}

async fn serve(names: &str) -> Server {
    Server::start(&[&["serve", names], ANY].concat()).await
}

#[tokio::test]
async fn the_samples_are_listed() {
    let output = run(&["serve", "--list"]).await;
    assert_eq!(output.status.code(), Some(0));
    let listed = text(&output.stdout);
    for name in ["noop", "trivial", "timer", "echo", "digest", "decorated", "context", "sink"] {
        assert!(listed.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}: {listed}");
    }
    let output = run(&["serve", "slow,noop", "--list"]).await;
    let shown = text(&output.stdout);
    for part in ["--set slow.delay=TIME [default: 250ms]", "noop: Passes everything", "It has no settings"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// Every sample starts, with settings from the command line or a file, and answers a plain exchange.
#[tokio::test]
async fn every_sample_serves() {
    let dir = TempDir::new().unwrap();
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    let file = dir.path().join("settings.yaml");
    let settings = format!(
        "jwt: {{secret-file: {}}}\nredirect: {{rule: /a=/b}}\nrewrite: {{replace: [a=b, c=d]}}\nslow: {{delay: 1s}}\n",
        secret.display()
    );
    std::fs::write(&file, settings).unwrap();
    let listed = text(&run(&["serve", "--list"]).await.stdout);
    let names = listed.lines().filter_map(|line| line.split_once(' ').filter(|_| !line.ends_with(':')));
    let names: Vec<&str> = names.map(|(name, _)| name).filter(|name| *name != "Settings").collect();
    assert!(names.len() >= 28, "{names:?}");
    for name in names {
        let mut args = vec!["serve", name, "--listen", "127.0.0.1:0", "--settings-file", file.to_str().unwrap()];
        for (sample, setting) in [
            ("api-key", "api-key.key=ann=k"),
            ("dynamic-forwarding", "dynamic-forwarding.endpoint=a=127.0.0.1:1"),
            ("endpoint-picker", "endpoint-picker.endpoint=127.0.0.1:1"),
            ("slow", "slow.delay=1ms"),
        ] {
            if sample == name {
                args.extend(["--set", setting]);
            }
        }
        let server = Server::start(&args).await;
        let output = call(&server.addr.to_string(), &["/something"]).await;
        let expected = if name == "throwing" { 1 } else { 0 };
        assert_eq!(output.status.code(), Some(expected), "{name}: {}{}", text(&output.stdout), text(&output.stderr));
        server.kill().await;
    }
}

#[tokio::test]
async fn unknown_names_and_settings_are_2() {
    for (args, env, part) in [
        (&["serve", "digets"][..], None, "digest"),
        (&["serve", "sink,trivial"], None, "run it alone"),
        (&["serve"], None, "NAME"),
        (&["serve", "noop"], Some(("GRPC_PORT", "x")), "GRPC_PORT"),
        (&["serve", "noop"], Some(("SHUTDOWN_GRACE_PERIOD", "x")), "SHUTDOWN_GRACE_PERIOD"),
        (&["serve", "sink", "--add-header", "novalue"], None, "NAME:VALUE"),
        (&["serve", "slow", "--set", "slow.dely=1s"], None, "it has: phase, delay, extend"),
        (&["serve", "slow", "--set", "slow.delay=1"], None, "write 300ms"),
        (&["serve", "slow", "--set", "delay"], None, "SAMPLE.KEY=VALUE"),
        (&["serve", "slow", "--set", "jwt.leeway=1s"], None, "not among those"),
        (&["serve", "jwt"], None, "jwt.jwks-file"),
        (&["serve", "jwt", "--settings-file", "/none"], None, "/none"),
    ] {
        let output = run_with(args, env.as_slice()).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?} {env:?}: {error}");
        assert!(error.contains(part), "{args:?} {env:?}: {error}");
    }
}

#[tokio::test]
async fn the_conversation_is_printed() {
    let digest = serve("digest").await;
    let addr = digest.addr.to_string();
    let output = call(&addr, &["-X", "PUT", "-d", r#"{"hello":"hi"}"#, "--mode", "buffered", "/something"]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    let set = "set x-request-digest: a794dbc467285567e4c2604c991938386366f6ab94b0b0e4fab5e27e0a932e60";
    for part in
        ["request headers", "request body", "14 bytes, end", set, "response headers", "+ x-request-digest: a794"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn a_chain_is_one_processor() {
    let chain = serve("trivial,digest").await;
    let addr = chain.addr.to_string();
    let output = call(&addr, &["-H", "x-request-id: 7", "/something"]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    for part in ["x-extra-request-id: 7", "x-request-digest: 860d64d6", "TrivialExtProcService,DigestExtProcService"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn a_local_reply_is_shown() {
    let echo = serve("echo").await;
    let addr = echo.addr.to_string();
    let output = call(&addr, &["-H", "x-echo-only: true", "-d", "hi", "--mode", "buffered"]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}{}", text(&output.stderr));
    for part in ["immediate response 200", "Request to the upstream\n  none", "x-ext-procs-applied: EchoExtProcService"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn broken_rules_are_named() {
    let sink = Server::start(&[&["serve", "sink", "--always-stream"], ANY].concat()).await;
    let addr = sink.addr.to_string();
    for (args, part) in [
        (&["-H", "instructions: not-json"][..], "gRPC status 2"),
        (&["-H", r#"instructions: {"addHeaders":{"host":"other"}}"#], "protect host"),
        (&["-d", "hello", "--mode", "buffered"], "broke a rule of the protocol"),
    ] {
        let output = call(&addr, args).await;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{args:?}: {out}{err}");
        assert!(err.contains(part), "{args:?}: {err}");
        assert!(out.contains("Conversation"), "{args:?}: {out}");
    }
}

#[tokio::test]
async fn a_processor_that_does_not_answer_is_named() {
    // Accepts connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let output = run(&["call", &addr, "--timeout", "50ms"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("request headers"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn a_server_that_is_no_processor_is_named() {
    let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = other.local_addr().unwrap().to_string();
    let garbage = async {
        loop {
            let (mut stream, _) = other.accept().await.unwrap();
            stream.write_all(&[b'x'; 1000]).await.unwrap();
        }
    };
    let output = tokio::select! {
        output = call(&addr, &[]) => output,
        () = garbage => unreachable!("it never ends"),
    };
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("is it a gRPC server"), "{error}");
}

#[tokio::test]
async fn health_can_be_asked_by_scripts() {
    let service = "envoy.service.ext_proc.v3.ExternalProcessor";
    for name in ["noop", "sink"] {
        let server = serve(name).await;
        let addr = server.addr.to_string();
        for (args, code, said) in [
            (&["health", &addr][..], 0, "SERVING\n"),
            (&["health", &addr, "--service", service], 0, "SERVING\n"),
            (&["health", &addr, "--service", "other"], 1, ""),
        ] {
            let output = run(args).await;
            assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(code), said), "{name} {args:?}");
        }
        server.kill().await;
        assert_eq!(run(&["health", &addr]).await.status.code(), Some(1), "{name}");
    }
}

#[tokio::test]
async fn unix_sockets() {
    let dir = TempDir::new().unwrap();
    for name in ["trivial", "sink"] {
        let place = format!("unix:{}", dir.path().join(name).display());
        let mut server = Server::spawn(&["serve", name, "--listen", &place], &[]);
        let line = server.line().await.unwrap();
        assert!(
            line.starts_with("Starting Envoy ExternalProcessor \"") && line.ends_with(&format!("at {place}")),
            "{line}"
        );
        let output = call(&place, &[]).await;
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        server.terminate().await;
        assert_eq!(server.end().await.code(), Some(0), "{name}");
        assert!(!dir.path().join(name).exists(), "{name}: the socket's file is removed");
    }
}

#[tokio::test]
async fn settings_come_from_the_environment_and_flags_win() {
    for (flags, port) in [(&[][..], "0"), (&["--port", "0", "--grace-period", "1"], "not a port")] {
        let env = [("GRPC_PORT", port), ("SHUTDOWN_GRACE_PERIOD", "0.5")];
        let mut server = Server::spawn(&[&["serve", "noop"], flags].concat(), &env);
        let line = server.line().await.unwrap();
        let port = line.strip_prefix("Starting Envoy ExternalProcessor \"NoopExtProcService\" at ").unwrap();
        assert_eq!(call(&format!("127.0.0.1:{port}"), &[]).await.status.code(), Some(0), "{flags:?}");
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            assert_eq!(call(&format!("[::1]:{port}"), &[]).await.status.code(), Some(0), "{flags:?}");
        }
        server.terminate().await;
        assert_eq!(server.end().await.code(), Some(0), "{flags:?}");
    }
}

#[tokio::test]
async fn the_configuration_says_what_the_samples_need() {
    let print = |names| ["serve", names, "--listen", "127.0.0.1:50051", "--print-config", "envoy"];
    for (names, request, response) in
        [("noop", "NONE", "NONE"), ("digest", "BUFFERED", "NONE"), ("noop,context", "BUFFERED", "BUFFERED")]
    {
        let output = run(&print(names)).await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let config = text(&output.stdout);
        for line in [
            format!("request_body_mode: {request}"),
            format!("response_body_mode: {response}"),
            "socket_address: { address: '127.0.0.1', port_value: 50051 }".to_owned(),
        ] {
            assert!(config.lines().any(|l| l.trim() == line), "{names}: {line} is not in\n{config}");
        }
    }
    let output = run(&print("sink")).await;
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("sink"), "{}", text(&output.stderr));
}

/// SIGTERM while a handler is at work: health says so at once, the handler ends its work, then the server ends.
#[tokio::test]
async fn py_158_an_exchange_that_runs_is_finished_within_the_grace_period() {
    // It asks for more time when it begins: the sign that it is at work.
    let slow = ["serve", "slow", "--listen", "127.0.0.1:0", "--grace-period", "30", "--set", "slow.extend=true"];
    let server = Server::start(&[&slow[..], &["--set", "slow.delay=1s"]].concat()).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.addr)).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let mut watched = health.watch(tonic_health::pb::HealthCheckRequest::default()).await.unwrap().into_inner();
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
    assert_eq!(watched.message().await.unwrap().unwrap().status(), serving);

    let (ask, asked) = tokio::sync::mpsc::channel(1);
    let mode = BodySendMode::Buffered.into();
    let modes = ProtocolConfiguration { request_body_mode: mode, response_body_mode: mode, ..Default::default() };
    let headers = HttpHeaders { end_of_stream: true, ..HttpHeaders::default() };
    let first = ProcessingRequest {
        request: Some(Ask::RequestHeaders(headers)),
        protocol_config: Some(modes),
        ..ProcessingRequest::default()
    };
    ask.send(first).await.unwrap();
    let asked = tokio_stream::wrappers::ReceiverStream::new(asked);
    let mut replies = ExternalProcessorClient::new(channel).process(asked).await.unwrap().into_inner();
    assert!(replies.message().await.unwrap().unwrap().override_message_timeout.is_some());

    server.terminate().await;
    assert_ne!(watched.message().await.unwrap().unwrap().status(), serving);
    let reply = replies.message().await.unwrap().unwrap();
    assert!(reply.response.is_some(), "{reply:?}");
    drop((ask, replies, watched));
    assert_eq!(server.end().await.code(), Some(0));
}

#[tokio::test]
async fn metrics_are_served_where_they_are_asked_for() {
    let args = ["serve", "trivial,timer", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"];
    let mut server = Server::spawn(&args, &[]);
    let port = server.line().await.unwrap().rsplit(' ').next().unwrap().to_owned();
    let line = server.line().await.unwrap();
    let place = line.strip_prefix("Metrics at http://").and_then(|it| it.strip_suffix("/metrics")).unwrap().to_owned();
    assert_eq!(call(&format!("127.0.0.1:{port}"), &[]).await.status.code(), Some(0));
    let answer = send(place.parse().unwrap(), get("/metrics", &[])).await;
    let answer = text(answer.body());
    for line in ["processor=\"TimerExtProcService\",phase=\"request_headers\"", "# EOF"] {
        assert!(answer.contains(line), "{line}: {answer}");
    }
    server.terminate().await;
    assert_eq!(server.end().await.code(), Some(0));
}
