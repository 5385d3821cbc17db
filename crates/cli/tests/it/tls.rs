//! `extproc call` and `extproc test` over TLS.

use std::path::Path;

use extproc::{Noop, Server, Tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::process::{run, text};

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
    let server = Server::new(Noop).listen("127.0.0.1:0").tls(Tls::new(&cert, &key).client_ca(&ca));
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
