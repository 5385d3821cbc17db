//! Settings of `serve`: flag, environment, file, default; and TLS from them.

use rcgen::generate_simple_self_signed;
use tempfile::TempDir;

use crate::process::{Server, run, run_with, text};

fn file(directory: &TempDir, name: &str, content: &str) -> String {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn py_064_flag_environment_file_default_win_in_this_order() {
    let dir = TempDir::new().unwrap();
    let file = file(&dir, "s.yaml", "port: 3\ngrace_period: 30\nmax_exchanges: 300\nreveal_chain: false\n");
    let args = ["serve", "--print-settings", "--settings", &file, "--port", "1"];
    let output = run_with(&args, &[("GRPC_PORT", "2"), ("SHUTDOWN_GRACE_PERIOD", "20")]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let in_file = format!("# {file}:3:16");
    for (setting, origin) in [
        ("port: 1", "# flag --port"),
        ("grace_period: 20s", "# variable SHUTDOWN_GRACE_PERIOD"),
        ("max_exchanges: 300", in_file.as_str()),
        ("reflection: true", "# default"),
        ("max_message: 16MiB", "# default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(setting)).unwrap_or_else(|| panic!("{setting}: {shown}"));
        assert!(line.ends_with(origin), "{origin}: {line}");
    }
    // What is printed is a file of settings.
    let again = self::file(&dir, "again.yaml", &shown);
    let output = run(&["serve", "--print-settings", "--settings", &again]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).lines().any(|line| line.starts_with("port: 1 ")), "{}", text(&output.stdout));
}

#[tokio::test]
async fn py_066_what_is_wrong_is_told_with_its_place() {
    let dir = TempDir::new().unwrap();
    let misspelt = file(&dir, "a.yaml", "port: 1\ngrace_perod: 1\n");
    let missing = dir.path().join("missing.yaml").to_str().unwrap().to_owned();
    let half = file(&dir, "b.yaml", "tls_certificate: a.crt\n");
    let absent = file(&dir, "c.yaml", "port: 0\ntls_certificate: /a.crt\ntls_key: /a.key\n");
    for (args, env, code, part) in [
        (vec!["--settings", &misspelt], None, 2, ":2:1: unknown setting `grace_perod`; did you mean `grace_period`?"),
        (vec!["--settings", &missing], None, 2, "missing.yaml: cannot be read"),
        (vec!["--settings", &half], None, 2, "tls_key is not"),
        (vec!["--settings", &absent], None, 1, "/a.crt: cannot be read"),
        (vec!["--max-message", "1 pound"], None, 2, "flag --max-message: \"1 pound\" is no value for max_message"),
        (vec![], Some(("GRPC_PORT", "x")), 2, "variable GRPC_PORT: \"x\" is no value for port"),
    ] {
        let output = run_with(&[&["serve", "noop"], args.as_slice()].concat(), env.as_slice()).await;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {error}");
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn py_070_py_076_tls_by_settings_and_a_probe_over_tls() {
    let dir = TempDir::new().unwrap();
    let made = generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = file(&dir, "tls.crt", &made.cert.pem());
    let key = file(&dir, "tls.key", &made.signing_key.serialize_pem());
    let flags = ["--listen", "127.0.0.1:0", "--tls-certificate", &certificate, "--tls-key", &key];
    let server = Server::start(&[&["serve", "noop"], flags.as_slice()].concat()).await;
    let addr = server.addr.to_string();
    let output = run(&["health", &addr, "--tls-ca", &certificate, "--tls-name", "localhost"]).await;
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(0), "SERVING\n"),
        "{}",
        text(&output.stderr)
    );
    let plain = run(&["health", &addr]).await;
    assert_eq!(plain.status.code(), Some(1));
    server.kill().await;
}
