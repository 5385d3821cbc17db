//! How policies of several levels become one chain. Each case: policies, and the chains of two rules.

#![allow(clippy::unwrap_used, reason = "test code")]

use extproc_gateway::config::Config;

/// The chains of the rules `a` and `b` of one route, as `name(message_timeout in ms, processor)`; `!` marks fail-open.
fn chains(policies: &str) -> String {
    let text = format!(
        r#"
gateways: [{{ name: main, listeners: [{{ name: http, port: 8080 }}] }}, {{ name: other, listeners: [{{ name: http, port: 8081 }}] }}]
backends: [{{ name: app, endpoints: [{{ address: "127.0.0.1:8000" }}] }}]
processors: [{{ name: p, endpoints: [{{ address: "127.0.0.1:1" }}] }}, {{ name: q, endpoints: [{{ address: "127.0.0.1:2" }}] }}]
routes:
  - name: web
    parent_refs: [{{ name: main }}]
    rules:
      - {{ name: a, matches: [{{ path: {{ value: /a }} }}], backend_refs: [{{ name: app }}] }}
      - {{ name: b, matches: [{{ path: {{ value: /b }} }}], backend_refs: [{{ name: app }}] }}
policies:
{policies}
"#
    );
    let config = Config::parse(text, "case").unwrap_or_else(|errors| panic!("{errors}"));
    let plan = config.plan().unwrap_or_else(|errors| panic!("{errors}"));
    let chain = |path| {
        let rule = plan.routes.select(0, "", path).unwrap();
        let entries = rule.chain.iter().map(|it| {
            let options = it.config.options();
            assert_eq!(options.name, it.name, "statistics are labelled with the entry's name");
            let open = if options.failure_mode_allow { "!" } else { "" };
            let processor = &plan.processors[it.processor].name;
            format!("{}({},{processor}){open}", it.name, options.message_timeout.as_millis())
        });
        entries.collect::<Vec<_>>().join(" ")
    };
    format!("{} | {}", chain("/a"), chain("/b"))
}

/// One policy: what it is attached to, and its entries.
fn policy(name: &str, target: &str, more: &str, entries: &[&str]) -> String {
    let target = match target {
        "gateway" => "kind: Gateway, name: main",
        "other" => "kind: Gateway, name: other",
        "listener" => "kind: Gateway, name: main, section_name: http",
        "route" => "kind: HTTPRoute, name: web",
        "rule a" => "kind: HTTPRoute, name: web, section_name: a",
        _ => panic!("no such target: {target}"),
    };
    format!("  - {{ name: {name}, target_refs: [{{ {target} }}], {more} ext_proc: [{}] }}\n", entries.join(", "))
}

#[test]
fn levels_are_joined_outermost_first() {
    // The order of the file does not matter between levels, only within one.
    let policies = [
        policy("1", "rule a", "", &["{ name: rule, processor: p }"]),
        policy("2", "route", "", &["{ name: route, processor: p }"]),
        policy("3", "listener", "", &["{ name: listener, processor: p }"]),
        policy("4", "gateway", "", &["{ name: gateway, processor: p }", "{ name: second, processor: q }"]),
        policy("5", "gateway", "", &["{ name: third, processor: q }"]),
        policy("6", "other", "", &["{ name: elsewhere, processor: q }"]),
    ];
    let outer = "gateway(200,p) second(200,q) third(200,q) listener(200,p) route(200,p)";
    assert_eq!(chains(&policies.concat()), format!("{outer} rule(200,p) | {outer}"));
}

#[test]
fn entries_of_one_name() {
    let gateway = |entry: &str| policy("g", "gateway", "", &[entry, "{ name: last, processor: q }"]);
    let base = "{ name: x, processor: p, message_timeout: 1s, failure_mode_allow: true }";
    let table = [
        // (the deeper entry, what becomes of `x` in rule a)
        ("{ name: x, message_timeout: 2s }", "x(2000,p)! "),
        ("{ name: x, failure_mode_allow: false }", "x(1000,p) "),
        ("{ name: x, processor: q }", "x(1000,q)! "),
        ("{ name: x, disabled: true }", ""),
        ("{ name: x, disabled: false }", "x(1000,p)! "),
        ("{ name: x }", "x(1000,p)! "),
    ];
    for (deeper, expected) in table {
        let policies = gateway(base) + &policy("d", "rule a", "", &[deeper]);
        assert_eq!(chains(&policies), format!("{expected}last(200,q) | x(1000,p)! last(200,q)"), "{deeper}");
    }
    // Off for all, on for some.
    let off = "{ name: x, processor: p, disabled: true }";
    let policies = gateway(off) + &policy("d", "rule a", "", &["{ name: x, disabled: false }"]);
    assert_eq!(chains(&policies), "x(200,p) last(200,q) | last(200,q)");
    // Without a name, that of the processor.
    let policies = gateway("{ processor: p }") + &policy("d", "rule a", "", &["{ name: p, message_timeout: 3s }"]);
    assert_eq!(chains(&policies), "p(3000,p) last(200,q) | p(200,p) last(200,q)");
    // Three levels deep, each says another thing.
    let policies = gateway(base)
        + &policy("r", "route", "", &["{ name: x, message_timeout: 5s }"])
        + &policy("a", "rule a", "", &["{ name: x, failure_mode_allow: false }"]);
    assert_eq!(chains(&policies), "x(5000,p) last(200,q) | x(5000,p)! last(200,q)");
}

#[test]
fn replace_drops_what_outer_levels_gave() {
    let gateway = policy("g", "gateway", "", &["{ name: x, processor: p, message_timeout: 1s }"]);
    let table = [
        (policy("d", "rule a", "replace: true,", &[]), ""),
        (policy("d", "rule a", "replace: true,", &["{ name: y, processor: q }"]), "y(200,q)"),
        (policy("d", "rule a", "replace: true,", &["{ name: x, processor: q }"]), "x(200,q)"),
        (policy("d", "rule a", "replace: false,", &[]), "x(1000,p)"),
    ];
    for (deeper, expected) in table {
        assert_eq!(chains(&(gateway.clone() + &deeper)), format!("{expected} | x(1000,p)"), "{deeper}");
    }
    // It drops what comes from outside, not its neighbours.
    let neighbours = policy("1", "rule a", "", &["{ name: y, processor: q }"])
        + &policy("2", "rule a", "replace: true,", &["{ name: z, processor: q }"]);
    assert_eq!(chains(&(gateway + &neighbours)), "y(200,q) z(200,q) | x(1000,p)");
}

#[test]
fn modes_and_rules_are_overridden_as_a_whole() {
    let text = r#"
gateways: [{ name: main, listeners: [{ name: http, port: 8080 }] }]
backends: [{ name: app, endpoints: [{ address: "127.0.0.1:8000" }] }]
routes: [{ name: web, rules: [{ backend_refs: [{ name: app }] }] }]
policies:
  - name: outer
    target_refs: [{ kind: Gateway, name: main }]
    ext_proc:
      - name: x
        processor: { address: "127.0.0.1:1" }
        processing_mode: { request_header_mode: SKIP, request_body_mode: BUFFERED }
        mutation_rules: { allow_envoy: true }
  - name: inner
    target_refs: [{ kind: HTTPRoute, name: web }]
    ext_proc: [{ name: x, processing_mode: { response_body_mode: STREAMED }, mutation_rules: { disallow_all: true } }]
"#;
    let plan = Config::parse(text, "case").unwrap().plan().unwrap();
    let options = plan.routes.select(0, "", "/").unwrap().chain[0].config.options();
    let mode = options.processing_mode;
    assert!(mode.request_headers, "not inherited: Envoy replaces the whole message too");
    assert_eq!(mode.request_body, extproc_core::BodyMode::None);
    assert_eq!(mode.response_body, extproc_core::BodyMode::Streamed);
    assert!(options.mutation_rules.disallow_all && !options.mutation_rules.allow_envoy);
}

#[test]
fn env_372_to_378_levels_in_envoys_words() {
    let outer = policy("g", "gateway", "", &["{ name: x, processor: p }"]);
    let level = |target, says: &str| policy(target, target, "", &[&format!("{{ name: x, per_route: {says} }}")]);
    let table = [
        // (listener, rule a, what becomes of `x` in the rules)
        ("{ disabled: true }", "{ overrides: {} }", "x(200,p) | "),
        ("{ overrides: { failure_mode_allow: true } }", "{ disabled: true }", " | x(200,p)!"),
        ("{ overrides: { failure_mode_allow: true } }", "{ overrides: {} }", "x(200,p)! | x(200,p)!"),
        (
            "{ overrides: { grpc_service: { envoy_grpc: { cluster_name: q } } } }",
            "{ overrides: { failureModeAllow: true } }",
            "x(200,q)! | x(200,q)",
        ),
    ];
    for (listener, rule, expected) in table {
        let policies =
            outer.clone() + &level("listener", listener) + &level("rule a", rule).replace("name: rule a", "name: rule");
        assert_eq!(chains(&policies), expected, "{listener} {rule}");
    }
}
