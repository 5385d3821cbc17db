//! The keys that tokens are checked with, and the rules for their claims.

use std::time::Duration;

use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::failure::Outcome;
use crate::sample::settings::Settings;

/// RFC 7518, 3.2: a secret is at least as long as the digest.
const SHORTEST_SECRET: usize = 32;

#[derive(Debug)]
pub(super) struct Keys(Vec<Trusted>);

/// A key, the one algorithm that it is for, and what claims must be.
#[derive(Debug)]
struct Trusted {
    id: Option<String>,
    key: DecodingKey,
    rules: Validation,
}

impl Keys {
    /// Reads the files.
    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let mut keys: Vec<(Option<String>, Algorithm, DecodingKey)> = Vec::new();
        if let Some(secret) = settings.file("secret-file")? {
            let secret = secret.trim_ascii();
            if secret.len() < SHORTEST_SECRET {
                return Err(settings.wrong("secret-file", "holds less than 32 bytes, which can be guessed"));
            }
            keys.push((None, Algorithm::HS256, DecodingKey::from_secret(secret)));
        }
        if let Some(pem) = settings.file("public-key-file")? {
            let rsa = DecodingKey::from_rsa_pem(&pem).map(|key| (Algorithm::RS256, key));
            let key = rsa.or_else(|_| DecodingKey::from_ec_pem(&pem).map(|key| (Algorithm::ES256, key)));
            let (algorithm, key) = key.map_err(|error| {
                settings.wrong("public-key-file", format_args!("holds no public key for RS256 or ES256: {error}"))
            })?;
            keys.push((None, algorithm, key));
        }
        if let Some(json) = settings.file("jwks-file")? {
            let set: JwkSet = serde_json::from_slice(&json)
                .map_err(|error| settings.wrong("jwks-file", format_args!("is no set of keys: {error}")))?;
            let usable = set.keys.iter().filter_map(|jwk| Some((jwk, algorithm(jwk)?)));
            for (jwk, algorithm) in usable {
                let key = DecodingKey::from_jwk(jwk).map_err(|error| settings.wrong("jwks-file", error))?;
                keys.push((jwk.common.key_id.clone(), algorithm, key));
            }
        }
        if keys.is_empty() {
            return Err(settings.missing("jwks-file=keys.json"));
        }
        let leeway = settings.duration("leeway", Duration::from_secs(60))?.as_secs();
        let (issuers, audiences) = (settings.all("issuer"), settings.all("audience"));
        let trusted = |(id, algorithm, key)| Trusted { id, key, rules: rules(algorithm, leeway, issuers, audiences) };
        Ok(Self(keys.into_iter().map(trusted).collect()))
    }

    /// The claims of a valid token.
    pub(super) fn check(&self, token: &str) -> Result<Map<String, Value>, Error> {
        // Not verified yet: it only selects the key.
        let header = decode_header(token)?;
        let fits = |key: &&Trusted| {
            let named = key.id.is_none() || header.kid.is_none() || key.id == header.kid;
            named && key.rules.algorithms.contains(&header.alg)
        };
        let mut result = Err(ErrorKind::InvalidAlgorithm.into());
        for key in self.0.iter().filter(fits) {
            result = decode::<Map<String, Value>>(token, &key.key, &key.rules).map(|token| token.claims);
            // Only where the signature is another key's, the next may fit.
            match &result {
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                _ => break,
            }
        }
        result
    }
}

fn rules(algorithm: Algorithm, leeway: u64, issuers: &[String], audiences: &[String]) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.leeway = leeway;
    rules.validate_nbf = true;
    if !issuers.is_empty() {
        rules.set_issuer(issuers);
        rules.required_spec_claims.insert("iss".to_owned());
    }
    if !audiences.is_empty() {
        rules.set_audience(audiences);
        rules.required_spec_claims.insert("aud".to_owned());
    }
    rules
}

/// What a key of a set is for; `None` if it is not for us. Shared secrets have no place among public keys.
fn algorithm(jwk: &Jwk) -> Option<Algorithm> {
    let signs = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        _ => return None,
    };
    (signs && jwk.common.key_algorithm.is_none_or(|given| given == name)).then_some(algorithm)
}
