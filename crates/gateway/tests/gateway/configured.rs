//! What a file says reaches the traffic.

use extproc_gateway::{Config, Gateway};

use crate::processor::{Scripted, Step, ack, kind, set};
use crate::support::{Upstream, get, text};

/// For each path, the marks that the request got on its way: one for each chain entry, named after its processor.
async fn marks(routes: &str, policies: &str, paths: [&str; 3]) -> [String; 3] {
    let mark = |name: &'static str| {
        Scripted::start(move |message| match kind(message) {
            "qh" => Step::Reply(set(message, name, "1")),
            _ => Step::Reply(ack(message)),
        })
    };
    let (upstream, one, two) = (Upstream::echo().await, mark("x-one").await, mark("x-two").await);
    let text_of_file = format!(
        "
gateways: [{{ name: main, listeners: [{{ name: http, address: 127.0.0.1, port: 0 }}] }}]
backends: [{{ name: app, endpoints: [{{ address: '{}' }}] }}]
processors:
  - {{ name: one, endpoints: [{{ address: '{}' }}] }}
  - {{ name: two, endpoints: [{{ address: '{}' }}] }}
routes:
{routes}
policies:
{policies}
",
        upstream.address, one.address, two.address
    );
    let plan = Config::parse(text_of_file, "test").and_then(|it| it.plan()).unwrap_or_else(|errors| panic!("{errors}"));
    let gateway = Gateway::bind(plan).await.unwrap();
    let address = gateway.local_addr(0).unwrap();
    let serving = tokio::spawn(gateway.serve_with_shutdown(std::future::pending()));
    let mut marks = paths.map(|_| String::new());
    for (path, marks) in paths.iter().zip(&mut marks) {
        let (status, echo) = text(crate::support::Client::http1(address).await.send(get(path)).await).await;
        let seen: Vec<&str> =
            ["one", "two"].into_iter().filter(|it| echo.contains(&format!("\nx-{it}: 1\n"))).collect();
        *marks = if status == 200 { seen.join(" ") } else { format!("{status}") };
    }
    serving.abort();
    marks
}

const MYAPP: &str = "  - name: web
    rules:
      - { name: myapp, matches: [{ path: { value: /myapp } }], backend_refs: [{ name: app }] }
      - { name: rest, matches: [{ path: { value: /rest } }], backend_refs: [{ name: app }] }
  - { name: other, rules: [{ matches: [{ path: { value: /other } }], backend_refs: [{ name: app }] }] }";

const PATHS: [&str; 3] = ["/myapp/x", "/rest", "/other"];

#[tokio::test]
async fn agw_106_107_108_policies_of_gateways_routes_and_rules() {
    let gateway = "  - { name: g, target_refs: [{ kind: Gateway, name: main }], ext_proc: [{ processor: one }] }\n";
    let table = [
        // Gateway: every route.
        (gateway.to_owned(), ["one", "one", "one"]),
        // Route only.
        (
            "  - { name: r, target_refs: [{ kind: HTTPRoute, name: web }], ext_proc: [{ processor: two }] }".to_owned(),
            ["two", "two", ""],
        ),
        // Rule only.
        (
            "  - { name: r, target_refs: [{ kind: HTTPRoute, name: web, section_name: myapp }], \
             ext_proc: [{ processor: two }] }"
                .to_owned(),
            ["two", "", ""],
        ),
        // Gateway, and one more for a rule.
        (
            format!(
                "{gateway}  - {{ name: r, target_refs: [{{ kind: HTTPRoute, name: web, section_name: rest }}], \
                 ext_proc: [{{ processor: two }}] }}"
            ),
            ["one", "one two", "one"],
        ),
        // The processor of the gateway, without request headers on one route.
        (
            format!(
                "{gateway}  - {{ name: r, target_refs: [{{ kind: HTTPRoute, name: other }}], \
                 ext_proc: [{{ name: one, processing_mode: {{ request_header_mode: SKIP }} }}] }}"
            ),
            ["one", "one", ""],
        ),
    ];
    for (policies, expected) in table {
        assert_eq!(marks(MYAPP, &policies, PATHS).await, expected, "{policies}");
    }
}

#[tokio::test]
async fn unmatched_requests_pass_the_processors_of_their_gateway() {
    // A processor that answers by itself shows that it was asked.
    let gateway = "  - { name: g, target_refs: [{ kind: Gateway, name: main }], ext_proc: [{ processor: one }] }";
    assert_eq!(marks(MYAPP, gateway, ["/", "/myappx", "/rest/"]).await, ["404", "404", "one"]);
}
