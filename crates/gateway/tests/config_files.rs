//! Good files: the examples of the documentation, both spellings of every key, and what `--print-effective` prints.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};

use extproc_core::config::RouteCacheAction;
use extproc_core::{BodyMode, Options};
use extproc_gateway::config::{Config, ext_proc};
use extproc_gateway::plan::{Address, Timeouts};
use extproc_gateway::{Plan, config};

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples/gateway").join(name)
}

fn plan(text: &str) -> Plan {
    Config::parse(text, "test").and_then(|it| it.plan()).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Plans have no equality of their own (patterns are compiled), but print all they have.
fn print(plan: &Plan) -> String {
    format!("{plan:#?}")
}

#[test]
fn every_example_gives_a_plan_and_its_effective_form_the_same() {
    let files = std::fs::read_dir(example("")).unwrap().map(|it| it.unwrap().path());
    let mut seen = 0;
    for path in files.filter(|it| it.extension().is_some_and(|it| it == "yaml" || it == "json")) {
        let config = Config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        let plan = config.plan().unwrap_or_else(|errors| panic!("{errors}"));
        let effective = config.effective().unwrap();
        let again = Config::parse(effective.clone(), "effective").unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(print(&again.plan().unwrap()), print(&plan), "{}", path.display());
        assert_eq!(again.effective().unwrap(), effective, "nothing is left to fill in");
        seen += 1;
    }
    assert!(seen >= 4, "the examples are there");
}

#[test]
fn the_walk_through() {
    let plan = Config::load(example("acc-003.yaml")).unwrap().plan().unwrap();
    assert_eq!(plan.listeners.len(), 1);
    assert_eq!(plan.listeners[0].address, "127.0.0.1:8080".parse().unwrap());
    let rule = plan.routes.select(0, "www.example.com", "/headers").unwrap();
    assert_eq!(plan.backends[rule.backend(0).unwrap()].endpoint(0).unwrap().address.to_string(), "127.0.0.1:8000");
    let entry = &rule.chain[0];
    assert_eq!(entry.name, "sink");
    assert_eq!(plan.processors[entry.processor].endpoints, [Address::Tcp("127.0.0.1".to_owned(), 18080)]);
    assert!(plan.routes.select(0, "example.com", "/headers").is_none());
}

#[test]
fn the_chain_example() {
    let plan = Config::load(example("chain.yaml")).unwrap().plan().unwrap();
    let chain = |path| {
        let rule = plan.routes.select(0, "api.example.com", path).unwrap();
        let entries = rule.chain.iter().map(|it| (it.name.as_str(), it.config.options()));
        (rule.name.as_str(), entries.collect::<Vec<_>>())
    };
    let names = |path| {
        let (rule, chain) = chain(path);
        (rule, chain.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(names("/api/admin/x"), ("api/admin", "auth audit sizes".to_owned()));
    assert_eq!(names("/healthz"), ("api/health", String::new()));
    assert_eq!(names("/v2"), ("api/rest", "auth audit".to_owned()));

    let (_, admin) = chain("/api/admin");
    let (auth, audit, sizes) = (admin[0].1, admin[1].1, admin[2].1);
    assert!(!auth.processing_mode.response_headers && auth.mutation_rules.disallow_all);
    assert_eq!((audit.failure_mode_allow, audit.status_on_error), (false, 503));
    assert_eq!(sizes.processing_mode.request_body, BodyMode::Buffered);
    assert_eq!(sizes.processing_mode.response_body, BodyMode::Streamed);
    assert_eq!((sizes.message_timeout.as_secs(), sizes.max_message_timeout.as_secs()), (2, 10));
    assert!(sizes.allow_content_length_header && sizes.disable_immediate_response);
    assert_eq!(sizes.route_cache_action, RouteCacheAction::Retain);
    assert!(admin.iter().all(|(_, options)| options.buffer_limit == 4 << 20), "limits hold for all");
    assert!(chain("/api").1[1].1.failure_mode_allow, "what one rule overrides stays for the others");

    let rule = plan.routes.select(0, "x.api.example.com", "/api").unwrap();
    assert_eq!(rule.backends.iter().map(|it| it.weight).collect::<Vec<_>>(), [9, 1]);
    assert_eq!(rule.timeouts, Timeouts::default());
    let admin = plan.routes.select(0, "x.api.example.com", "/api/admin").unwrap();
    let seconds = |it: Option<std::time::Duration>| it.map(|it| it.as_secs());
    assert_eq!((seconds(admin.timeouts.request), seconds(admin.timeouts.backend_request)), (Some(30), Some(10)));
}

#[test]
fn camel_case_and_envoys_forms() {
    let plan = Config::load(example("envoy-names.json")).unwrap().plan().unwrap();
    let rule = plan.routes.select(0, "", "/").unwrap();
    let options = rule.chain[0].config.options();
    assert_eq!(rule.timeouts.backend_request.unwrap().as_secs(), 10);
    assert_eq!(plan.processors[0].connect_timeout.as_millis(), 500);
    assert_eq!(options.message_timeout.as_millis(), 200);
    assert_eq!(options.status_on_error, 503);
    assert_eq!(options.route_cache_action, RouteCacheAction::Retain, "the older spelling");
    assert!(options.mutation_rules.allow_all_routing && options.mutation_rules.disallow_is_error);
    let expression = options.mutation_rules.allow_expression.as_ref().unwrap();
    assert_eq!(expression.as_str(), "x-.*");
}

#[test]
fn words_in_any_spelling() {
    for (text, mode) in [
        ("BUFFERED", BodyMode::Buffered),
        ("buffered", BodyMode::Buffered),
        ("Streamed", BodyMode::Streamed),
        ("none", BodyMode::None),
    ] {
        let text = format!("processing_mode: {{ request_body_mode: {text} }}");
        let entry: ext_proc::ExtProc = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(entry.to_options().unwrap().processing_mode.request_body, mode, "{text}");
    }
    for text in ["FULL_DUPLEX_STREAMED", "fullDuplexStreamed", "FullDuplexStreamed", "full-duplex-streamed"] {
        assert_eq!(text.parse(), Ok(ext_proc::BodyMode::FullDuplexStreamed), "{text}");
    }
    assert_eq!(config::parse_body_mode("full-duplex"), Ok(ext_proc::BodyMode::FullDuplexStreamed));
    assert_eq!(config::parse_body_mode("none"), Ok(ext_proc::BodyMode::None));
}

#[test]
fn an_entry_alone() {
    let entry = |text: &str| serde_saphyr::from_str::<ext_proc::ExtProc>(text).unwrap();
    let default = Options::default();
    assert_eq!(format!("{:?}", entry("{}").to_options().unwrap()), format!("{default:?}"), "Envoy's defaults");

    let with_service = entry("{ grpc_service: { envoy_grpc: { cluster_name: c } }, failure_mode_allow: true }");
    assert!(with_service.without_grpc_service().to_options().unwrap().failure_mode_allow);

    let off = "{ allowed_override_modes: [], forward_rules: null, emit_client_span: false }";
    assert!(entry(off).to_options().is_ok(), "what is off needs no support");
}

/// The rows of "Config load" in Envoy's catalogue, as far as this version has the fields.
#[test]
fn env_431_to_444_what_envoy_loads_and_refuses() {
    let table = [
        ("ENV-432", "processing_mode: { request_body_mode: FULL_DUPLEX_STREAMED }", Some("request_trailer_mode: SEND")),
        (
            "ENV-432",
            "processing_mode: { response_body_mode: FULL_DUPLEX_STREAMED }",
            Some("response_trailer_mode: SEND"),
        ),
        (
            "ENV-432",
            "processing_mode: { request_body_mode: FULL_DUPLEX_STREAMED, request_trailer_mode: DEFAULT }",
            Some("request_trailer_mode: SEND"),
        ),
        ("ENV-436", "message_timeout: 0s", None),
        ("ENV-436", "message_timeout: 3600s", None),
        ("ENV-436", "message_timeout: 3601s", Some("between 0 s and 3600 s")),
        ("ENV-436", "max_message_timeout: 3601s", Some("between 0 s and 3600 s")),
        ("ENV-437", "{ disable_clear_route_cache: true, route_cache_action: CLEAR }", Some("excludes")),
        ("ENV-437", "{ disable_clear_route_cache: true, route_cache_action: RETAIN }", Some("excludes")),
        ("ENV-437", "{ disable_clear_route_cache: true, route_cache_action: DEFAULT }", None),
        ("ENV-437", "{ disable_clear_route_cache: false, route_cache_action: CLEAR }", None),
        ("ENV-438", "status_on_error: { code: 0 }", Some("status_on_error is 0")),
        ("ENV-438", "status_on_error: { code: 777 }", Some("status_on_error is 777")),
        ("ENV-438", "status_on_error: { code: 200 }", None),
    ];
    for (row, text, refused) in table {
        let entry: ext_proc::ExtProc = serde_saphyr::from_str(text).unwrap();
        match (entry.to_options(), refused) {
            (Ok(_), None) => {}
            (Err(problems), Some(why)) => assert!(problems.to_string().contains(why), "{row} {text}: {problems}"),
            (result, _) => panic!("{row} {text}: {result:?}"),
        }
    }
    // A negative time is refused where it is read.
    assert!(serde_saphyr::from_str::<ext_proc::ExtProc>("message_timeout: -1s").is_err());
}

/// Programs that have an entry as a JSON value need no detour through text.
#[test]
fn an_entry_as_a_value() {
    let entry = serde_json::json!({
        "grpc_service": { "envoy_grpc": { "cluster_name": "c" } },
        "processing_mode": { "request_body_mode": "BUFFERED", "request_trailer_mode": "SEND" },
        "message_timeout": "0.5s",
        "failure_mode_allow": true,
        "status_on_error": { "code": 429 },
        "mutation_rules": { "allow_expression": { "google_re2": {}, "regex": "x-.*" }, "disallow_all": true },
        "route_cache_action": "RETAIN",
        "observabilityMode": true,
        "deferred_close_timeout": "0.4s",
        "remote_close_timeout": "0s",
        "send_body_without_waiting_for_header_response": true,
        "allow_mode_override": true,
        "forward_rules": {
            "allowed_headers": { "patterns": [{ "prefix": "x-" }, { "safe_regex": { "regex": "y-.*" } }] },
            "disallowedHeaders": { "patterns": [{ "exact": "X-Secret", "ignore_case": true }] },
        },
        "allowed_override_modes": [{ "request_body_mode": "FULL_DUPLEX_STREAMED", "response_header_mode": "SKIP" }],
    });
    let entry: ext_proc::ExtProc = serde_json::from_value(entry).unwrap();
    let options = entry.without_grpc_service().to_options().unwrap();
    assert!(options.failure_mode_allow && options.processing_mode.request_trailers);
    assert_eq!((options.status_on_error, options.message_timeout.as_millis()), (429, 500));
    assert!(options.observability_mode && options.remote_close_timeout.is_zero());
    assert_eq!(options.deferred_close_timeout.as_millis(), 400);
    assert_eq!(options.mutation_rules.allow_expression.unwrap().as_str(), "x-.*");
    assert!(options.send_body_without_waiting_for_header_response && options.allow_mode_override);
    assert_eq!(options.forward_rules.allowed.as_ref().map(Vec::len), Some(2));
    assert!(options.forward_rules.disallowed[0].ignore_case);
    let [allowed] = options.allowed_override_modes[..] else { panic!("{:?}", options.allowed_override_modes) };
    assert_eq!((allowed.request_body, allowed.response_headers), (BodyMode::FullDuplexStreamed, false));
    let unsupported = serde_json::json!({ "stat_prefix": "x", "on_processing_response": {} });
    let entry: ext_proc::ExtProc = serde_json::from_value(unsupported).unwrap();
    let problems = entry.to_options().unwrap_err();
    let problems = problems.to_string();
    assert!(problems.starts_with("`stat_prefix` has no effect here"), "{problems}");
    assert!(problems.contains("`on_processing_response` runs extensions"), "{problems}");
}

#[test]
fn the_command_line() {
    let listen = config::parse_listen(":8080").unwrap();
    assert_eq!(listen, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(config::parse_listen("[::1]:80"), Ok("[::1]:80".parse().unwrap()));
    assert!(config::parse_listen("8080").is_err());

    let address = |text: &str| text.parse::<Address>().unwrap();
    let flags = |processor, body| Config::from_flags(listen, address("127.0.0.1:8000"), processor, body);
    let config = flags(Some(address("unix:/run/p.sock")), ext_proc::BodyMode::Buffered);
    let plan = config.plan().unwrap();
    let rule = plan.routes.select(0, "any", "/").unwrap();
    assert_eq!(plan.listeners[0].address, listen);
    assert_eq!(plan.backends[rule.backend(0).unwrap()].endpoints[0].address, address("127.0.0.1:8000"));
    assert_eq!(plan.processors[rule.chain[0].processor].endpoints, [address("unix:/run/p.sock")]);
    let mode = rule.chain[0].config.options().processing_mode;
    assert_eq!((mode.request_body, mode.response_body), (BodyMode::Buffered, BodyMode::Buffered));
    let again = Config::parse(config.effective().unwrap(), "effective").unwrap().plan().unwrap();
    assert_eq!(print(&again), print(&plan));

    let direct = flags(None, ext_proc::BodyMode::None).plan().unwrap();
    assert!(direct.routes.select(0, "any", "/").unwrap().chain.is_empty());
}

#[test]
fn where_routes_are_attached() {
    let plan = plan(
        r#"
gateways:
  - { name: one, listeners: [{ name: a, port: 1 }, { name: b, port: 2 }] }
  - { name: two, listeners: [{ name: a, port: 3 }, { name: v4, port: 4, address: 127.0.0.1 }, { name: v6, port: 4, address: "::1" }] }
backends: [{ name: app, endpoints: [{ address: "127.0.0.1:8000" }] }]
routes:
  - { name: everywhere, hostnames: [all.test], rules: [{ backend_refs: [{ name: app }] }] }
  - { name: gateway, hostnames: [gateway.test], parent_refs: [{ name: one }], rules: [{ backend_refs: [{ name: app }] }] }
  - name: listener
    hostnames: [listener.test]
    parent_refs: [{ name: one, section_name: b }, { name: two, section_name: a }]
    rules: [{ backend_refs: [{ name: app, weight: 0 }], timeouts: { request: 1m, backend_request: 0s } }]
"#,
    );
    let reached = |host| {
        let at = (0..plan.listeners.len()).filter(|it| plan.routes.select(*it, host, "/").is_some());
        at.map(|it| plan.listeners[it].name.as_str()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(reached("all.test"), "one/a one/b two/a two/v4 two/v6");
    assert_eq!(reached("gateway.test"), "one/a one/b");
    assert_eq!(reached("listener.test"), "one/b two/a");
    let rule = plan.routes.select(1, "listener.test", "/").unwrap();
    assert_eq!((rule.name.as_str(), rule.backend(0)), ("listener/0", None), "all weights are zero");
    assert_eq!((rule.timeouts.request.map(|it| it.as_secs()), rule.timeouts.backend_request), (Some(60), None));
}
