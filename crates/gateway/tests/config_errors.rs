//! Bad files and what is said about them: the snapshot beside each file of `tests/config/bad`.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::{Path, PathBuf};

use extproc_gateway::config::{Config, LoadError};

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|it| it.unwrap().path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "yaml" || it == "json"));
    files.sort();
    files
}

#[test]
fn bad_files() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad");
    let files = files(&directory);
    assert!(files.len() > 15, "the table is there");
    for path in files {
        let file = path.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let error = Config::parse(text, file).and_then(|it| it.plan());
        let error = error.map(|_| ()).expect_err(file);
        insta::with_settings!({ snapshot_path => &directory, prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), error);
        });
    }
}

#[test]
fn a_file_that_is_not_there() {
    let error = Config::load("/nowhere/gateway.yaml").unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }), "{error}");
    assert_eq!(error.to_string(), "/nowhere/gateway.yaml: cannot be read");
}

/// In Envoy the timeout has no effect on the stream, and a retry takes longer than the message timeout: neither is
/// ignored here.
#[test]
fn env_058_059_what_concerns_the_call_is_refused() {
    for (key, value) in [("timeout", "0.2s"), ("retry_policy", "{ retry_on: unavailable, num_retries: 3 }")] {
        let text = format!(
            "gateways: [{{ name: g, listeners: [{{ name: l, port: 0 }}] }}]
processors: [{{ name: p, endpoints: [{{ address: '127.0.0.1:1' }}] }}]
policies:
  - name: all
    target_refs: [{{ kind: Gateway, name: g }}]
    ext_proc: [{{ name: x, grpc_service: {{ envoy_grpc: {{ cluster_name: p }}, {key}: {value} }} }}]
"
        );
        let error = Config::parse(text, "test").and_then(|it| it.plan()).map(|_| ()).unwrap_err().to_string();
        let message = format!("`grpc_service.{key}` has no effect on the stream");
        assert!(error.starts_with("test:6:") && error.contains(&message), "{error}");
    }
}
