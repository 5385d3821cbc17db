//! `serve --print-config`: what is printed loads where it is meant for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use extproc_conform::target::envoy;
use tempfile::TempDir;

use crate::process::{run, text};

/// Samples that want different things: no body, whole ones both ways, pieces.
const SAMPLES: [&str; 3] = ["noop", "digest,context", "upper"];

async fn print(samples: &str, listen: &str, data_plane: &str, dir: &TempDir) -> PathBuf {
    let output = run(&["serve", samples, "--listen", listen, "--print-config", data_plane]).await;
    assert_eq!(output.status.code(), Some(0), "{samples} {data_plane}: {}", text(&output.stderr));
    let file = dir.path().join(format!("{data_plane}.yaml"));
    std::fs::write(&file, output.stdout).unwrap();
    file
}

#[tokio::test]
async fn envoy_loads_what_is_printed_for_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let envoy = match envoy::binary(&root.join("target/envoy")) {
        Ok(binary) => binary,
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "no Envoy: {error:#}");
            eprintln!("SKIPPED, no Envoy: {error:#}");
            return;
        }
    };
    let dir = TempDir::new().unwrap();
    for samples in SAMPLES {
        for listen in ["127.0.0.1:50051", "unix:/tmp/extproc.sock"] {
            let file = print(samples, listen, "envoy", &dir).await;
            let mut command = Command::new(&envoy);
            let command = command.args(["--mode", "validate", "-l", "error", "-c"]).arg(&file).stdin(Stdio::null());
            let output = command.output().unwrap();
            let config = std::fs::read_to_string(&file).unwrap();
            assert!(output.status.success(), "{samples} {listen}: {}\n{config}", text(&output.stderr));
        }
    }
}

#[tokio::test]
async fn the_gateway_accepts_what_is_printed_for_it() {
    let dir = TempDir::new().unwrap();
    for samples in SAMPLES {
        for listen in ["127.0.0.1:50051", "unix:/tmp/extproc.sock"] {
            let file = print(samples, listen, "gateway", &dir).await;
            let output = run(&["gateway", "--config", file.to_str().unwrap(), "--check"]).await;
            let config = std::fs::read_to_string(&file).unwrap();
            assert_eq!(output.status.code(), Some(0), "{samples} {listen}: {}\n{config}", text(&output.stderr));
        }
    }
}

#[tokio::test]
async fn agentgateway_has_two_forms() {
    let dir = TempDir::new().unwrap();
    for (data_plane, lines) in [
        ("agentgateway", ["requestBodyMode: buffered", "host: '127.0.0.1:50051'"]),
        ("agentgateway-policy", ["requestBodyMode: Buffered", "kind: AgentgatewayPolicy"]),
    ] {
        let file = print("digest", "127.0.0.1:50051", data_plane, &dir).await;
        let config = std::fs::read_to_string(&file).unwrap();
        for line in lines {
            assert!(config.lines().any(|it| it.trim() == line), "{line} is not in\n{config}");
        }
    }
    let output = run(&["serve", "noop", "--print-config", "nginx"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("agentgateway-policy"), "{}", text(&output.stderr));
}
