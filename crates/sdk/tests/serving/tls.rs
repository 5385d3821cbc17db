//! TLS, mTLS, certificates that change, and files that cannot be used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use extproc::{Limits, Noop, Server, Tls};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::rig::{Call, LIMIT, Rig};

type Ca = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn issue(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    Pair { certificate: certificate.pem(), key: key.serialize_pem() }
}

/// The files of a server.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new(pair: &Pair) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.write("tls.crt", &pair.certificate);
        files.write("tls.key", &pair.key);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn tls(&self) -> Tls {
        Tls::new(self.path("tls.crt"), self.path("tls.key")).reload_interval(Duration::from_millis(10))
    }
}

async fn connect(rig: &Rig, ca: &Ca, identity: Option<&Pair>) -> Result<Channel, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem())).domain_name("localhost");
    if let Some(pair) = identity {
        tls = tls.identity(Identity::from_pem(&pair.certificate, &pair.key));
    }
    Endpoint::from_shared(format!("https://{}", rig.address)).unwrap().tls_config(tls)?.connect().await
}

/// Whether an exchange goes through.
async fn works(rig: &Rig, ca: &Ca, identity: Option<&Pair>) -> bool {
    let Ok(channel) = connect(rig, ca, identity).await else { return false };
    // With TLS 1.3 a client learns only now that it is refused.
    let Ok(mut call) = Call::get(channel, "/a").await else { return false };
    matches!(call.reply().await, Ok(Some(_)))
}

#[tokio::test]
async fn exchanges_over_tls_and_silent_connections_hold_up_nobody() {
    let ca = ca("ca");
    let files = Files::new(&issue(&ca, |_| {}));
    let mut limits = Limits::default();
    limits.max_handshakes = 1;
    limits.handshake_timeout = Duration::from_millis(300);
    let mut rig = Rig::start(|server| server.tls(files.tls()).limits(limits)).await;
    let mut silent = TcpStream::connect(&rig.address).await.unwrap();
    let gone = async {
        let mut bytes = Vec::new();
        // A reset is an end too.
        let _ = timeout(LIMIT, silent.read_to_end(&mut bytes)).await.unwrap();
    };
    gone.await;
    let channel = connect(&rig, &ca, None).await.unwrap();
    let mut call = Call::get(channel, "/slow").await.unwrap();
    rig.entered().await;
    rig.stop();
    rig.gate.open.add_permits(1);
    call.answered().await;
    drop(call);
    rig.served().await;
}

#[tokio::test]
async fn clients_must_be_known_with_mutual_tls() {
    let (ca, other) = (ca("ca"), ca("other"));
    let files = Files::new(&issue(&ca, |_| {}));
    let client_ca = files.write("ca.crt", &ca.pem());
    let (known, unknown) = (issue(&ca, |_| {}), issue(&other, |_| {}));
    for (optional, without) in [(false, false), (true, true)] {
        let tls = files.tls().client_ca(&client_ca).client_optional(optional);
        let rig = Rig::start(|server| server.tls(tls)).await;
        assert!(works(&rig, &ca, Some(&known)).await, "optional: {optional}");
        assert!(!works(&rig, &ca, Some(&unknown)).await, "optional: {optional}");
        assert_eq!(works(&rig, &ca, None).await, without, "optional: {optional}");
    }
}

#[tokio::test]
async fn changed_files_are_used_and_running_streams_go_on() {
    let (before, after) = (ca("before"), ca("after"));
    let files = Files::new(&issue(&before, |_| {}));
    let rig = Rig::start(|server| server.tls(files.tls())).await;
    let mut call = Call::get(connect(&rig, &before, None).await.unwrap(), "/slow").await.unwrap();
    rig.entered().await;

    // Half of a change: the last good files stay.
    let pair = issue(&after, |_| {});
    files.write("tls.crt", &pair.certificate);
    for _ in 0..20 {
        assert!(works(&rig, &before, None).await);
    }

    files.write("tls.key", &pair.key);
    let replaced = async {
        while !works(&rig, &after, None).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LIMIT, replaced).await.unwrap();
    assert!(!works(&rig, &before, None).await);
    rig.gate.open.add_permits(1);
    call.answered().await;
}

/// What is said about files that cannot be used.
#[tokio::test]
async fn errors_say_which_file_what_is_wrong_and_what_to_do() {
    let ca = ca("ca");
    let (good, other) = (issue(&ca, |_| {}), issue(&ca, |_| {}));
    let expired = issue(&ca, |params| params.not_after = date_time_ymd(2020, 1, 1));
    let early = issue(&ca, |params| params.not_before = date_time_ymd(4000, 1, 1));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let chain = format!("{}{}", good.certificate, other.certificate);
    let cut = good.certificate.replace("-----END CERTIFICATE-----", "");
    for (certificate, key, name, part) in [
        ("", good.key.as_str(), "tls.crt", "holds no certificate"),
        (&good.key, &good.certificate, "tls.crt", "are certificate and key swapped?"),
        (&good.certificate, "", "tls.key", "holds no private key"),
        (&good.certificate, &good.certificate, "tls.key", "holds a certificate and no private key"),
        (&good.certificate, encrypted, "tls.key", "the key is encrypted; decrypt it"),
        (&good.certificate, &other.key, "tls.key", "is not the key of the certificate in"),
        (&cut, &good.key, "tls.crt", "is not PEM"),
        (garbage, &good.key, "tls.crt", "certificate 1 cannot be used"),
        (&expired.certificate, &expired.key, "tls.crt", "days ago; renew it"),
        (&early.certificate, &early.key, "tls.crt", "is the clock of this machine right?"),
        (&chain, &good.key, "tls.crt", "certificate 1 was not issued by the one behind it"),
    ] {
        let files = Files::new(&Pair { certificate: certificate.to_owned(), key: key.to_owned() });
        let error = refused(files.tls()).await;
        assert!(error.starts_with(&files.path(name).display().to_string()), "{error}");
        assert!(error.contains(part), "{part}: {error}");
    }
    let files = Files::new(&good);
    let missing = files.path("missing");
    for (tls, path) in [
        (Tls::new(&missing, files.path("tls.key")), missing.as_path()),
        (files.tls().client_ca(&missing), &missing),
        (files.tls().client_ca(files.path("tls.key")), &files.path("tls.key")),
    ] {
        let error = refused(tls).await;
        assert!(error.starts_with(&path.display().to_string()), "{error}");
    }
    // The issuer may follow, and may be left out.
    let whole = Files::new(&Pair { certificate: format!("{}{}", good.certificate, ca.pem()), key: good.key.clone() });
    whole.tls().check().unwrap();
    assert!(Path::new(&files.path("tls.crt")).exists() && files.tls().check().is_ok());
}

async fn refused(tls: Tls) -> String {
    let bound = Server::new(Noop).listen("127.0.0.1:0").tls(tls).bind().await;
    bound.unwrap_err().to_string()
}
