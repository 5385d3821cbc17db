//! `extproc call` and `extproc test` over TLS.

use std::path::Path;

use extproc::{Noop, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::process::{Server, run, text};

/// `ca.pem`, and a certificate and key for localhost that serve for both ends.
fn certificates(dir: &Path) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = leaf.signed_by(&key, &ca).unwrap();
    for (name, pem) in [("ca.pem", ca.pem()), ("cert.pem", leaf.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(dir.join(name), pem).unwrap();
    }
    std::fs::write(dir.join("cases.yaml"), "name: passes\nexpect: {client: {status: 200}}\n").unwrap();
}

#[tokio::test]
async fn mutual_tls() {
    let dir = TempDir::new().unwrap();
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (ca, cert, key, cases) = (path("ca.pem"), path("cert.pem"), path("key.pem"), path("cases.yaml"));
    let server = extproc::Server::new(Noop).listen("127.0.0.1:0").tls(Tls::new(&cert, &key).client_ca(&ca));
    let bound = server.bind().await.unwrap();
    let addr = format!("localhost:{}", bound.local_addr().unwrap().port());
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(bound.serve_with_shutdown(async move {
        let _ = stopped.await;
    }));
    let known = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
    for (target, tls, code) in [
        (&["call", &addr, "--timeout", "20s"][..], &known[..], 0),
        (&["test", &cases, "--target", &addr], &known, 0),
        (&["call", &addr, "--timeout", "20s"], &known[..2], 1),
        (&["call", &addr, "--timeout", "20s"], &[&known[..], &["--tls-name", "other"]].concat(), 1),
        (&["call", &addr, "--timeout", "20s"], &[], 1),
    ] {
        let output = run(&[target, tls].concat()).await;
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{target:?} {tls:?}: {out}{err}");
    }
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

/// The sink speaks the protocol itself; its server is the one of all samples.
#[tokio::test]
async fn the_sink_has_the_settings_of_every_server() {
    let dir = TempDir::new().unwrap();
    certificates(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
    let tls = ["--tls-certificate", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let sink = Server::start(&[&["serve", "sink", "--listen", "127.0.0.1:0"], &tls[..]].concat()).await;
    let addr = format!("localhost:{}", sink.addr.port());
    let ask = ["call", &addr, "--timeout", "20s", "-H", r#"instructions: {"addHeaders":{"x-a":"1"}}"#];
    let known = ["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key];
    let output = run(&[&ask[..], &known].concat()).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("x-a"), "{}", text(&output.stdout));
    assert_eq!(run(&[&ask[..], &known[..2]].concat()).await.status.code(), Some(1), "without a certificate");
    let full = Server::start(&["serve", "sink", "--listen", "127.0.0.1:0", "--max-exchanges", "0"]).await;
    let output = run(&["call", &full.addr.to_string(), "--timeout", "20s"]).await;
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("exchanges are running already"), "{said}");
}
