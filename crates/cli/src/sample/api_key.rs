//! `api-key`: lets in who has a key, and tells the upstream whose it is.

use std::collections::HashMap;

use extproc::{LocalReply, Open, Processor, RequestHead, Skip, Start, Stop};
use sha2::{Digest, Sha256};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// The upstream learns the key's owner in this header; what the client sends in it is replaced.
const USER: &str = "x-user";

/// Checks the key in a header. Keys are kept and compared as digests, so how long that takes says nothing about them.
pub(crate) struct ApiKey {
    header: String,
    users: HashMap<[u8; 32], String>,
}

impl ApiKey {
    pub(super) const KEYS: &[Key] = &[
        key("key", "USER=KEY, repeatable", "a key and whose it is"),
        key("file", "PATH", "a file with USER=KEY in each line; other users of the machine cannot see it"),
        key("header", "NAME [default: x-api-key]", "where clients put the key"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let file = settings.file("file")?.unwrap_or_default();
        let file = String::from_utf8(file).map_err(|_| settings.wrong("file", "is not text"))?;
        let lines = file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut users = HashMap::new();
        for pair in settings.all("key").iter().map(String::as_str).chain(lines) {
            // The pair itself is a secret: it is not told.
            let parts = pair.split_once('=').filter(|(user, key)| !user.is_empty() && !key.is_empty());
            let (user, key) = parts.ok_or_else(|| settings.wrong("key", "must be USER=KEY"))?;
            if users.insert(digest(key.as_bytes()), user.to_owned()).is_some() {
                return Err(settings.wrong("key", format_args!("of {user:?} has an owner already")));
            }
        }
        if users.is_empty() {
            return Err(settings.missing("key=USER=KEY"));
        }
        Ok(Self { header: settings.text("header")?.unwrap_or("x-api-key").to_owned(), users })
    }
}

impl Processor for ApiKey {
    type Ctx = ();
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) {}

    async fn request_headers(&self, _: &mut (), req: &mut Start<RequestHead>) -> Result<(), Stop> {
        let key = req.header_bytes(&self.header).ok_or_else(|| LocalReply::unauthorized().details("no_api_key"))?;
        let user = self.users.get(&digest(key)).ok_or_else(|| LocalReply::forbidden().details("unknown_api_key"))?;
        req.set(USER, user);
        req.remove(&self.header);
        // Nothing of the response matters.
        req.detach();
        Ok(())
    }
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKey").field("header", &self.header).field("users", &self.users.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use extproc::testing::Script;

    use super::*;

    #[tokio::test]
    async fn keys_have_owners() {
        for (headers, expected) in [
            (&[("x-api-key", "k1"), ("x-user", "root")][..], "request_headers x-user=ann -x-api-key"),
            (&[("x-api-key", "k=2")], "request_headers x-user=bob -x-api-key"),
            (&[("x-api-key", "k3")], "immediate 403 details=unknown_api_key"),
            (&[("x-api-key", "")], "immediate 403 details=unknown_api_key"),
            (&[], "immediate 401 details=no_api_key"),
        ] {
            let api_key = ApiKey::new(&Settings::test(&["key=ann=k1", "key=bob=k=2"])).expect("valid");
            let lines = Script::new().request_only(headers.iter().copied()).run(api_key).await.lines();
            assert_eq!(lines, [expected], "{headers:?}");
        }
    }

    #[test]
    fn keys_come_from_a_file_too_and_are_not_told() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "# keys\n\nann = x\nbob=y\n").expect("written");
        let settings = Settings::test(&[&format!("file={}", file.path().display())]);
        assert_eq!(format!("{:?}", ApiKey::new(&settings)), r#"Ok(ApiKey { header: "x-api-key", users: 2 })"#);
        for settings in [&[][..], &["key=secret"], &["key==secret"], &["key=a=secret", "key=b=secret"], &["file=/none"]]
        {
            let error = format!("{:?}", ApiKey::new(&Settings::test(settings)).expect_err("wrong"));
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
