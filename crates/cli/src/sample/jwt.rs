//! `jwt`: lets in who has a valid token, and gives its claims to the upstream.

mod keys;
mod provider;

use extproc::{LocalReply, Name, Open, Processor, RequestHead, Skip, Start, Stop};
use jsonwebtoken::errors::ErrorKind;
use serde_json::{Map, Value};

use self::keys::Keys;
use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// Checks the bearer token (RFC 6750): signature, `exp`, `nbf`, and `iss` and `aud` if they are set.
///
/// Each key has one algorithm (HS256, RS256 or ES256). The token's `alg` only selects among the keys: `none`, or a
/// public key used as a shared secret, find no key.
#[derive(Debug)]
pub(crate) struct Jwt {
    keys: Keys,
    /// Claims and the headers that carry them; a client's own headers of that name never pass.
    claims: Vec<(String, Name)>,
}

impl Jwt {
    pub(super) const KEYS: &[Key] = &[
        key("secret-file", "PATH", "a file with the shared secret of HS256, at least 32 bytes"),
        key("public-key-file", "PATH", "a PEM file with the public key of RS256 (RSA) or ES256 (P-256)"),
        key("jwks-file", "PATH", "a file with public keys as JSON (RFC 7517); tokens choose by kid"),
        key("issuer", "TEXT, repeatable", "the token's iss must be one of these"),
        key(
            "audience",
            "TEXT, repeatable",
            "the token's aud must name one of these; without it, tokens must have no aud",
        ),
        key("leeway", "TIME [default: 60s]", "how far clocks may differ"),
        key("claim", "CLAIM:HEADER, repeatable [default: sub:x-jwt-sub]", "the request header that gets this claim"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        provider::install();
        let mut claims = Vec::new();
        for pair in settings.all("claim") {
            let parts =
                pair.split_once(':').and_then(|(claim, name)| Some((claim, Name::parse(name.to_owned()).ok()?)));
            let (claim, name) =
                parts.ok_or_else(|| settings.wrong("claim", format_args!("{pair:?} must be CLAIM:HEADER")))?;
            claims.push((claim.to_owned(), name));
        }
        if claims.is_empty() {
            claims.push(("sub".to_owned(), Name::from_static("x-jwt-sub")));
        }
        Ok(Self { keys: Keys::new(settings)?, claims })
    }
}

impl Processor for Jwt {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        let token = bearer(req)?.to_owned();
        let claims = self.keys.check(&token).map_err(|error| refused(&error))?;
        for (claim, name) in &self.claims {
            // A claim that no header can hold is as none.
            let set = text(&claims, claim).is_some_and(|value| req.try_set(name, value).is_ok());
            if !set {
                req.remove(name);
            }
        }
        Ok(())
    }
}

/// The token of the one `authorization` header.
fn bearer(req: &RequestHead) -> Result<&str, LocalReply> {
    let mut values = req.header_all("authorization");
    let (Some(value), None) = (values.next(), values.next()) else { return Err(challenge("", "no_bearer_token")) };
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(challenge("", "no_bearer_token")),
    }
}

/// Clients learn that the token is bad, and whether it is too old; the log learns why.
fn refused(error: &jsonwebtoken::errors::Error) -> LocalReply {
    tracing::debug!(%error, "a token is refused");
    match error.kind() {
        ErrorKind::ExpiredSignature => {
            challenge(r#", error="invalid_token", error_description="the token has expired""#, "jwt_expired")
        }
        ErrorKind::InvalidIssuer => challenge(r#", error="invalid_token""#, "jwt_wrong_issuer"),
        ErrorKind::InvalidAudience => challenge(r#", error="invalid_token""#, "jwt_wrong_audience"),
        _ => challenge(r#", error="invalid_token""#, "jwt_invalid"),
    }
}

fn challenge(parameters: &str, details: &str) -> LocalReply {
    let reply = LocalReply::unauthorized().header("www-authenticate", format!(r#"Bearer realm="extproc"{parameters}"#));
    // UNAUTHENTICATED
    reply.details(details).grpc_status(16)
}

/// A claim as a header value: text as it is, anything else as JSON.
fn text(claims: &Map<String, Value>, claim: &str) -> Option<String> {
    match claims.get(claim)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
