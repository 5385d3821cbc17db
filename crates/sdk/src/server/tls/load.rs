//! From files to a configuration of rustls, with everything that can be wrong.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{Error as RustlsError, RootCertStore, ServerConfig};
use webpki::{EndEntityCert, KeyUsage};

use super::Tls;

/// Why TLS cannot be served. Each says which file, what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: cannot be read: {source}; give the path of a PEM file that this process may read", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not PEM.
    #[error("{}: is not PEM: {problem}; it should hold lines from `-----BEGIN ...-----` to `-----END ...-----`", file.display())]
    Pem {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file holds no certificate.
    #[error("{}: holds no certificate; it should begin with `-----BEGIN CERTIFICATE-----`{}", file.display(), hint(*.swapped))]
    NoCertificate {
        /// Which.
        file: PathBuf,
        /// It holds a key.
        swapped: bool,
    },
    /// A file holds no private key that can be used.
    #[error("{}: {what}", file.display())]
    NoKey {
        /// Which.
        file: PathBuf,
        /// What it holds in its place, and what to do.
        what: &'static str,
    },
    /// A certificate is broken, or of a kind that cannot be used.
    #[error("{}: certificate {number} cannot be used: {problem}; issue it again, as X.509 version 3", file.display())]
    Certificate {
        /// Which file.
        file: PathBuf,
        /// Which of those in it, from 1.
        number: usize,
        /// What is wrong.
        problem: String,
    },
    /// The certificate is not valid any more.
    #[error("{}: the certificate expired {} ago; renew it", file.display(), Ago(*.since))]
    Expired {
        /// Which.
        file: PathBuf,
        /// For how long.
        since: Duration,
    },
    /// The certificate is not valid yet.
    #[error("{}: the certificate becomes valid in {}; is the clock of this machine right?", file.display(), Ago(*.until))]
    NotYetValid {
        /// Which.
        file: PathBuf,
        /// When.
        until: Duration,
    },
    /// The certificates are not a chain.
    #[error(
        "{}: certificate {number} was not issued by the one behind it; put the server's certificate first, then the one that issued it, and so on",
        file.display()
    )]
    Chain {
        /// Which.
        file: PathBuf,
        /// The certificate whose issuer does not follow, from 1.
        number: usize,
    },
    /// The key is that of another certificate.
    #[error("{}: is not the key of the certificate in {}; were they renewed together?", key.display(), certificate.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// rustls cannot use the files for another reason.
    #[error("{}: cannot be used for TLS: {source}", file.display())]
    Unusable {
        /// Which.
        file: PathBuf,
        /// Why.
        source: RustlsError,
    },
}

const fn hint(swapped: bool) -> &'static str {
    if swapped { "; it holds a private key: are certificate and key swapped?" } else { "" }
}

/// Days, or hours, or less.
struct Ago(Duration);

impl fmt::Display for Ago {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_secs() {
            seconds @ 172_800.. => write!(f, "{} days", seconds / 86_400),
            seconds @ 7200.. => write!(f, "{} hours", seconds / 3600),
            seconds @ 120.. => write!(f, "{} minutes", seconds / 60),
            seconds => write!(f, "{seconds} seconds"),
        }
    }
}

/// What the files hold.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::server) struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Files {
    pub(super) fn read(tls: &Tls) -> Result<Self, TlsError> {
        let read = |file: &Path| std::fs::read(file).map_err(|source| TlsError::Read { file: file.to_owned(), source });
        Ok(Self {
            certificate: read(&tls.certificate)?,
            key: read(&tls.key)?,
            client_ca: tls.client_ca.as_deref().map(read).transpose()?,
        })
    }
}

/// Everything that handshakes need.
pub(super) fn config(tls: &Tls, files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&tls.certificate, &files.certificate)?;
    check_chain(&tls.certificate, &chain, &provider)?;
    let key = private_key(&tls.key, &files.key)?;
    let unusable = |file: &Path| {
        let file = file.to_owned();
        move |source| TlsError::Unusable { file, source }
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable(&tls.certificate))?;
    let builder = match (&tls.client_ca, &files.client_ca) {
        (Some(file), Some(text)) => {
            let roots = Arc::new(roots(file, text)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if tls.client_optional { verifier.allow_unauthenticated() } else { verifier };
            let verifier = verifier.build().map_err(|error| {
                let source = RustlsError::General(error.to_string());
                TlsError::Unusable { file: file.clone(), source }
            })?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|source| match source {
        RustlsError::InconsistentKeys(_) => {
            TlsError::Mismatch { key: tls.key.clone(), certificate: tls.certificate.clone() }
        }
        source => TlsError::Unusable { file: tls.key.clone(), source },
    })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let certificates =
        certificates.map_err(|error| TlsError::Pem { file: file.to_owned(), problem: error.to_string() })?;
    if certificates.is_empty() {
        let swapped = PrivateKeyDer::from_pem_slice(text).is_ok();
        return Err(TlsError::NoCertificate { file: file.to_owned(), swapped });
    }
    Ok(certificates)
}

fn private_key(file: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        let file = file.to_owned();
        let holds = |what: &str| text.windows(what.len()).any(|it| it == what.as_bytes());
        match error {
            pem::Error::NoItemsFound if holds("-----BEGIN ENCRYPTED PRIVATE KEY") => TlsError::NoKey {
                file,
                what: "the key is encrypted; decrypt it with `openssl pkey -in KEY -out KEY.pem`",
            },
            pem::Error::NoItemsFound if holds("-----BEGIN CERTIFICATE") => TlsError::NoKey {
                file,
                what: "holds a certificate and no private key; are certificate and key swapped?",
            },
            pem::Error::NoItemsFound => TlsError::NoKey {
                file,
                what: "holds no private key; it should begin with `-----BEGIN PRIVATE KEY-----`",
            },
            error => TlsError::Pem { file, problem: error.to_string() },
        }
    })
}

fn roots(file: &Path, text: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(file, text)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| bad(file, index, &error))?;
    }
    Ok(roots)
}

fn bad(file: &Path, index: usize, problem: &dyn fmt::Display) -> TlsError {
    TlsError::Certificate { file: file.to_owned(), number: index + 1, problem: problem.to_string() }
}

/// Sees what clients would object to: the time, and the order. Whom clients trust is theirs to know.
fn check_chain(file: &Path, chain: &[CertificateDer<'static>], provider: &CryptoProvider) -> Result<(), TlsError> {
    let parsed = chain
        .iter()
        .enumerate()
        .map(|(index, certificate)| EndEntityCert::try_from(certificate).map_err(|error| bad(file, index, &error)));
    let parsed: Vec<EndEntityCert<'_>> = parsed.collect::<Result<_, _>>()?;
    for (index, pair) in parsed.windows(2).enumerate() {
        if pair[0].issuer() != pair[1].subject() {
            return Err(TlsError::Chain { file: file.to_owned(), number: index + 1 });
        }
    }
    let now = UnixTime::now();
    let seconds = |from: UnixTime, to: UnixTime| Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()));
    let verified = parsed[0].verify_for_usage(
        provider.signature_verification_algorithms.all,
        &[],
        &chain[1..],
        now,
        KeyUsage::server_auth(),
        None,
        None,
    );
    match verified {
        Err(webpki::Error::CertExpired { time, not_after }) => {
            Err(TlsError::Expired { file: file.to_owned(), since: seconds(not_after, time) })
        }
        Err(webpki::Error::CertNotValidYet { time, not_before }) => {
            Err(TlsError::NotYetValid { file: file.to_owned(), until: seconds(time, not_before) })
        }
        // Without an anchor no chain is good; what else is wrong clients will tell.
        _ => Ok(()),
    }
}
