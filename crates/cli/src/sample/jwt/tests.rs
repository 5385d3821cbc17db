use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use extproc::testing::Script;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

use super::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const RSA_PUBLIC: &str = include_str!("testdata/rsa.pub.pem");
/// `{"sub": "ann", "exp": (in 2100)}`, signed with a key that is gone.
const RSA_TOKEN: &str = include_str!("testdata/rs256.jwt");

/// Seconds from now.
fn at(seconds: i64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    now.saturating_add_signed(seconds)
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn hs256(secret: &[u8], claims: &Value) -> String {
    let text = unsigned(&json!({"alg": "HS256"}), claims);
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// A setting that names a file with this content; the file stays as long as the test runs.
fn file(key: &str, content: impl AsRef<[u8]>) -> String {
    let (_, path) = tempfile::NamedTempFile::new().expect("a file").keep().expect("kept");
    std::fs::write(&path, content).expect("written");
    format!("{key}={}", path.display())
}

async fn ask(settings: &[&str], headers: &[(&str, &str)]) -> String {
    let jwt = Jwt::new(&Settings::test(settings)).expect("valid settings");
    Script::new().request_only(headers.iter().copied()).run(jwt).await.lines().join("\n").replace('\\', "")
}

async fn with(settings: &[&str], token: &str) -> String {
    ask(settings, &[("authorization", &format!("Bearer {token}")), ("x-jwt-sub", "forged")]).await
}

const PASSES: &str = "request_headers x-jwt-sub=ann";
const INVALID: &str =
    r#"immediate 401 www-authenticate=Bearer realm="extproc", error="invalid_token" grpc=16 details=jwt_invalid"#;

#[tokio::test]
async fn claims_of_shared_secrets() {
    let secret = file("secret-file", [SECRET, b"\n"].concat());
    let good = json!({"sub": "ann", "exp": at(60), "nbf": at(-60), "aud": ["a", "b"], "iss": "i"});
    let changed = |key: &str, value: Value| {
        let mut claims = good.clone();
        claims[key] = value;
        claims
    };
    let settings = [&secret, "audience=b", "issuer=i", "issuer=j", "leeway=10s"];
    let refused = |why: &str| {
        format!(r#"immediate 401 www-authenticate=Bearer realm="extproc", error="invalid_token" grpc=16 details={why}"#)
    };
    let expired = r#"immediate 401 www-authenticate=Bearer realm="extproc", error="invalid_token", error_description="the token has expired" grpc=16 details=jwt_expired"#;
    for (name, claims, expected) in [
        ("good", good.clone(), PASSES.to_owned()),
        ("exp within the leeway", changed("exp", at(-5).into()), PASSES.to_owned()),
        ("exp", changed("exp", at(-60).into()), expired.to_owned()),
        ("no exp", changed("exp", Value::Null), INVALID.to_owned()),
        ("exp as text", changed("exp", "4102444800".into()), INVALID.to_owned()),
        ("nbf", changed("nbf", at(60).into()), INVALID.to_owned()),
        ("nbf as text", changed("nbf", "0".into()), INVALID.to_owned()),
        ("iss", changed("iss", "k".into()), refused("jwt_wrong_issuer")),
        ("no iss", changed("iss", Value::Null), INVALID.to_owned()),
        ("aud", changed("aud", "c".into()), refused("jwt_wrong_audience")),
        ("no aud", changed("aud", Value::Null), INVALID.to_owned()),
        ("no sub", changed("sub", Value::Null), "request_headers -x-jwt-sub".to_owned()),
        ("a sub that no header holds", changed("sub", "a\r\nx: y".into()), "request_headers -x-jwt-sub".to_owned()),
        ("a sub that is a number", changed("sub", 7.into()), "request_headers x-jwt-sub=7".to_owned()),
    ] {
        assert_eq!(with(&settings, &hs256(SECRET, &claims)).await, expected, "{name}");
    }
    let unasked = with(&[&secret], &hs256(SECRET, &good)).await;
    assert_eq!(unasked, refused("jwt_wrong_audience"), "a token for somebody else");
}

#[tokio::test]
async fn signatures() {
    let secret = file("secret-file", SECRET);
    let claims = json!({"sub": "ann", "exp": at(60)});
    let none = format!("{}.", unsigned(&json!({"alg": "none"}), &claims));
    let stripped = format!("{}.", unsigned(&json!({"alg": "HS256"}), &claims));
    let swapped = hs256(SECRET, &claims).replacen(&URL_SAFE_NO_PAD.encode(claims.to_string()), "e30", 1);
    for token in
        [&none, &stripped, &swapped, &hs256(b"another", &claims), "", ".", "..", "a.b.c", "a", RSA_TOKEN.trim()]
    {
        assert_eq!(with(&[&secret], token).await, INVALID, "{token}");
    }
}

/// A public key is no secret: whoever knows it must not be able to sign with it.
#[tokio::test]
async fn public_keys_and_the_confusion_of_algorithms() {
    let rsa = file("public-key-file", RSA_PUBLIC);
    let claims = json!({"sub": "ann", "exp": at(60)});
    assert_eq!(with(&[&rsa], RSA_TOKEN.trim()).await, PASSES);
    assert_eq!(with(&[&rsa], &hs256(RSA_PUBLIC.as_bytes(), &claims)).await, INVALID);
    let der = RSA_PUBLIC.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let der = base64::engine::general_purpose::STANDARD.decode(der).expect("PEM");
    assert_eq!(with(&[&rsa], &hs256(&der, &claims)).await, INVALID);
}

#[tokio::test]
async fn keys_of_a_set_are_chosen_by_kid() {
    let random = SystemRandom::new();
    let pairs = [(); 2].map(|()| {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("a key")
    });
    let jwk = |kid: &str, pair: &EcdsaKeyPair| {
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": x, "y": y})
    };
    let secret = json!({"kty": "oct", "kid": "s", "k": URL_SAFE_NO_PAD.encode(SECRET)});
    let set = file("jwks-file", json!({"keys": [jwk("1", &pairs[0]), jwk("2", &pairs[1]), secret]}).to_string());
    let sign = |header: Value, pair: &EcdsaKeyPair| {
        let text = unsigned(&header, &json!({"sub": "ann", "exp": at(60)}));
        let signed = pair.sign(&random, text.as_bytes()).expect("signed");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signed))
    };
    for (kid, pair, expected) in [
        (json!("1"), 0, PASSES),
        (json!("2"), 1, PASSES),
        (Value::Null, 1, PASSES),
        (json!("1"), 1, INVALID),
        (json!("3"), 0, INVALID),
    ] {
        let mut header = json!({"alg": "ES256"});
        if !kid.is_null() {
            header["kid"] = kid.clone();
        }
        assert_eq!(with(&[&set], &sign(header, &pairs[pair])).await, expected, "{kid} {pair}");
    }
    let shared = hs256(SECRET, &json!({"sub": "ann", "exp": at(60)}));
    assert_eq!(with(&[&set], &shared).await, INVALID, "a secret among public keys is not taken");
}

#[tokio::test]
async fn without_a_token_the_client_is_told_the_scheme() {
    let secret = file("secret-file", SECRET);
    let token = format!("bearer  {}", hs256(SECRET, &json!({"sub": "ann", "exp": at(60)})));
    let basic = r#"immediate 401 www-authenticate=Bearer realm="extproc" grpc=16 details=no_bearer_token"#;
    for (headers, expected) in [
        (&[][..], basic),
        (&[("authorization", "Basic YTpi")], basic),
        (&[("authorization", "Bearer")], basic),
        (&[("authorization", &token), ("authorization", &token)], basic),
        (&[("authorization", &token)], PASSES),
    ] {
        assert_eq!(ask(&[&secret], headers).await, expected, "{headers:?}");
    }
}

#[test]
fn settings_are_checked() {
    for settings in [
        vec![],
        vec![file("secret-file", "short")],
        vec![file("public-key-file", "no PEM")],
        vec![file("jwks-file", "{}")],
        vec![file("jwks-file", r#"{"keys": []}"#)],
        vec!["secret-file=/none".to_owned()],
        vec![file("secret-file", SECRET), "claim=sub".to_owned()],
        vec![file("secret-file", SECRET), "leeway=5".to_owned()],
    ] {
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        assert!(Jwt::new(&Settings::test(&settings)).is_err(), "{settings:?}");
    }
}
