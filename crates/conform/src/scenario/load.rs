//! Reading scenario files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::{Profile, Scenario};

/// The scenarios of a directory, in order of file and place.
pub type Sources = Vec<Scenario>;

/// Reads every `*.yaml` below a directory.
///
/// # Errors
/// Names the file, line and column of what cannot be read, of a contradiction, or of an id that is taken.
pub fn load_dir(dir: &Path) -> anyhow::Result<Sources> {
    let mut files = Vec::new();
    yaml_files(dir, &mut files).with_context(|| format!("cannot list scenarios in {}", dir.display()))?;
    files.sort();
    let mut all = Vec::new();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    for path in files {
        let name = path.strip_prefix(dir).unwrap_or(&path).to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for scenario in load_str(&name, &text)? {
            if let Some(other) = seen.insert(scenario.id.clone(), name.clone()) {
                bail!("{name}: the id {} is taken by {other}; choose another", scenario.id);
            }
            all.push(scenario);
        }
    }
    Ok(all)
}

/// Reads one file's text; `name` is used in errors.
///
/// # Errors
/// As [`load_dir`].
pub fn load_str(name: &str, text: &str) -> anyhow::Result<Vec<Scenario>> {
    let entries: Vec<Scenario> = serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column())).unwrap_or_default();
        anyhow::anyhow!("{name}{place}: {}", error.without_snippet())
    })?;
    let mut scenarios: Vec<Scenario> = entries.into_iter().flat_map(Scenario::variants).collect();
    for scenario in &mut scenarios {
        name.clone_into(&mut scenario.file);
        check(scenario).with_context(|| format!("{name}: {}", scenario.id))?;
    }
    Ok(scenarios)
}

fn check(scenario: &Scenario) -> anyhow::Result<()> {
    let request = &scenario.request;
    if request.body.is_some() && request.chunks.is_some() {
        bail!("the request has both `body` and `chunks`; keep one");
    }
    if !request.trailers.is_empty() && request.chunks.is_none() {
        bail!("request trailers need `chunks`");
    }
    if request.unfinished && request.give_up.is_none() {
        bail!("an unfinished request needs `give_up`: nothing else ends it");
    }
    if !matches!(request.http, 1 | 2) {
        bail!("`http: {}`: it must be 1 or 2", request.http);
    }
    if scenario.profile != Profile::Envoy && scenario.expect.is_empty() {
        bail!("a profile's column needs something that it expects: no Envoy tells what is right there");
    }
    let upstreams = std::iter::once(&scenario.upstream).chain(scenario.routes.iter().map(|route| &route.upstream));
    for upstream in upstreams {
        if upstream.body.is_some() && upstream.chunks.is_some() {
            bail!("the upstream has both `body` and `chunks`; keep one");
        }
        if !upstream.trailers.is_empty() && upstream.chunks.is_none() {
            bail!("response trailers need `chunks`");
        }
        if !matches!(upstream.http, 1 | 2) {
            bail!("`http: {}`: it must be 1 or 2", upstream.http);
        }
        if upstream.http == 2 && upstream.hints {
            bail!("an upstream of HTTP/2 sends no `hints`");
        }
        if upstream.cut && upstream.chunks.is_none() {
            bail!("an upstream that is `cut` needs `chunks`");
        }
    }
    if !scenario.config.is_object() {
        bail!("`config` must be a map of ExternalProcessor fields");
    }
    if !scenario.grpc_service.is_object() {
        bail!("`grpc_service` must be a map of GrpcService fields");
    }
    Ok(())
}

fn yaml_files(dir: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            yaml_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            into.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Kind, Payload, Processor};

    #[test]
    fn a_scenario_in_full() {
        let text = r#"
- id: ENV-1
  title: t
  config: { processing_mode: { request_body_mode: BUFFERED } }
  request: { method: POST, chunks: [aa, { size: 3 }], pause: 30ms, headers: { x-a: [1, b], x-t: true }, trailers: { x-t: 1 } }
  upstream: { chunks: [r1], delay: 2s }
  processor:
    request_headers: { steps: [ack, { delay: 80ms, error: INTERNAL }] }
    request_body: [{ body: AA, set: { content-length: 2 } }, silence]
    response_headers: request_trailers
  expect:
    upstream: not contacted
    processor: [request_headers, request_body "aaxxx" end]
"#;
        let scenario = &load_str("f.yaml", text).unwrap()[0];
        assert_eq!(
            scenario.request.headers.0,
            [("x-a", "1"), ("x-a", "b"), ("x-t", "true")].map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        assert_eq!(scenario.request.chunks, Some(vec![Payload::Text("aa".to_owned()), Payload::Size(3)]));
        assert_eq!(scenario.upstream.delay.0, 2000);
        let Processor::Script(script) = &scenario.processor else { panic!("{:?}", scenario.processor) };
        let opening = script.answer(Kind::RequestHeaders, 0);
        assert_eq!(opening.len(), 2);
        assert_eq!(opening[1].error.as_ref().map(|failure| failure.code), Some(13));
        assert_eq!(script.answer(Kind::RequestBody, 0)[0].body, Some(Payload::Text("AA".to_owned())));
        assert!(script.answer(Kind::RequestBody, 5)[0].silence, "the last answer stands for all further messages");
        assert_eq!(script.answer(Kind::ResponseHeaders, 0)[0].kind, Some(Kind::RequestTrailers));
        assert!(scenario.expect.upstream.as_ref().unwrap().not_contacted);
    }

    #[test]
    fn one_entry_may_be_several_scenarios() {
        let text = "- id: A
  title: t
  protocol: [h1, h2-h1]
  expect: { client: { status: 200 } }
  profiles: { agentgateway: { expect: { client: { status: 500 } } } }
";
        let all = load_str("f", text).unwrap();
        let seen: Vec<_> = all
            .iter()
            .map(|it| (it.id.as_str(), it.title.as_str(), it.request.http, it.upstream.http, it.skip.len()))
            .collect();
        assert_eq!(
            seen,
            [
                ("A", "t", 1, 1, 0),
                ("A-h2-h1", "t, from HTTP/2 to HTTP/1", 2, 1, 0),
                ("A-agentgateway", "t (profile agentgateway)", 1, 1, 1),
            ]
        );
        assert_eq!(all[2].expect.client.as_ref().and_then(|it| it.status), Some(500));
        assert_eq!(load_str("f", "- { id: A, title: t, protocol: all }").unwrap().len(), 4);
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (text, expected) in [
            ("- id: A\n  title: t\n  requst: {}\n", "f.yaml:3:3: "),
            ("- id: A\n  title: t\n  processor:\n    request_headers: { bdy: x }\n", "f.yaml:4:24: "),
            ("- id: A\n  title: t\n  processor: { request_body: shrug }\n", "`shrug` is no answer"),
            ("- id: A\n  title: t\n  request: { pause: 5 }\n", "`5` is no time"),
            ("- id: A\n  title: t\n  request: { body: a, chunks: [a] }\n", "both `body` and `chunks`"),
            ("- id: A\n  title: t\n  protocol: h3\n", "`h3`: expected `all`"),
            ("- id: A\n  title: t\n  protocol: [h3]\n", "unknown variant `h3`"),
            ("- id: A\n  title: t\n  profiles: { strict: { expect: {} } }\n", "needs something that it expects"),
            ("- id: A\n  title: t\n  upstream: { cut: true }\n", "needs `chunks`"),
            ("- id: A\n  title: t\n  upstream: { http: 2, hints: true }\n", "no `hints`"),
            ("- id: A\n  title: t\n  processor: { request_body: { error: OOPS } }\n", "`OOPS` is no gRPC status code"),
        ] {
            let error = format!("{:#}", load_str("f.yaml", text).unwrap_err());
            assert!(error.contains(expected), "{error}\ndoes not name {expected}");
        }
    }
}
