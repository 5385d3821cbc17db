//! `cookie`: gives each browser an id, in a cookie of its own.

use extproc::{Open, Processor, RequestHead, ResponseHead, Skip, Start, Stop};
use ring::rand::{SecureRandom, SystemRandom};

use super::settings::{Key, Settings, key};
use crate::failure::Outcome;

/// The upstream learns the id in this header; what the client sends in it is dropped.
const HEADER: &str = "x-visitor-id";
/// 128 bits, in hexadecimal digits.
const DIGITS: usize = 32;

/// Reads the id from a cookie, or makes one and sets the cookie with the response.
#[derive(Debug)]
pub(crate) struct Cookie {
    name: String,
    attributes: String,
}

impl Cookie {
    pub(super) const KEYS: &[Key] = &[
        key("name", "NAME [default: visitor]", "the cookie's name"),
        key("max-age", "TIME [default: the browser's session]", "how long browsers keep it"),
        key("insecure", "true [default: false]", "leave out the attribute Secure, for plain HTTP"),
    ];

    pub(super) fn new(settings: &Settings) -> Outcome<Self> {
        let name = settings.text("name")?.unwrap_or("visitor").to_owned();
        if extproc::Name::parse(name.clone()).is_err() {
            return Err(settings.wrong("name", format_args!("{name:?} cannot be the name of a cookie")));
        }
        let mut attributes = "; Path=/; HttpOnly; SameSite=Lax".to_owned();
        if !settings.get("insecure")?.unwrap_or(false) {
            attributes.push_str("; Secure");
        }
        if settings.text("max-age")?.is_some() {
            let seconds = settings.duration("max-age", std::time::Duration::ZERO)?.as_secs();
            attributes.push_str(&format!("; Max-Age={seconds}"));
        }
        Ok(Self { name, attributes })
    }

    /// The id that the browser sent, if it is one of ours.
    fn id(&self, req: &RequestHead) -> Option<String> {
        let pairs = req.header_all("cookie").flat_map(|value| value.split(';')).filter_map(|pair| pair.split_once('='));
        let mut ids = pairs.filter(|(name, _)| name.trim() == self.name).map(|(_, value)| value.trim());
        ids.find(|id| id.len() == DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit())).map(str::to_owned)
    }
}

impl Processor for Cookie {
    /// A new id, that the response must tell.
    type Ctx = Option<String>;
    type RequestBody = Skip;
    type ResponseBody = Skip;

    fn open(&self, _: &Open) -> Option<String> {
        None
    }

    async fn request_headers(&self, new: &mut Option<String>, req: &mut Start<RequestHead>) -> Result<(), Stop> {
        let id = match self.id(req) {
            Some(id) => id,
            None => new.insert(random()?).clone(),
        };
        req.set(HEADER, id);
        Ok(())
    }

    async fn response_headers(&self, new: &mut Option<String>, rsp: &mut Start<ResponseHead>) -> Result<(), Stop> {
        if let Some(id) = new {
            // Added to the upstream's own cookies, each in a header of its own.
            rsp.append("set-cookie", format!("{}={id}{}", self.name, self.attributes));
        }
        Ok(())
    }
}

fn random() -> Result<String, Stop> {
    let mut bytes = [0; DIGITS / 2];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no random bytes")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use extproc::testing::Script;

    use super::*;

    const KNOWN: &str = "0123456789abcdef0123456789abcdef";

    #[tokio::test]
    async fn only_new_browsers_get_a_cookie() {
        let long = format!("visitor={KNOWN}0");
        let (known, second) = (format!("visitor={KNOWN}"), format!("a=b; visitor={KNOWN}; c"));
        for (cookie, new) in [
            ("", true),
            ("visitor=guessed", true),
            (long.as_str(), true),
            ("c", true),
            (&known, false),
            (&second, false),
        ] {
            let script = Script::new().request_only([("cookie", cookie), (HEADER, "forged")]);
            let script = script.response_only([("set-cookie", "upstream=1")]);
            let lines = script.run(Cookie::new(&Settings::test(&[])).expect("valid")).await.lines();
            let id = lines[0].strip_prefix("request_headers x-visitor-id=").expect("set");
            assert_eq!((id.len(), id != KNOWN), (DIGITS, new), "{cookie}");
            let set = format!("response_headers set-cookie+=visitor={id}; Path=/; HttpOnly; SameSite=Lax; Secure");
            assert_eq!(lines[1], if new { set } else { "response_headers".to_owned() }, "{cookie}");
        }
    }

    #[test]
    fn attributes() {
        let cookie = Cookie::new(&Settings::test(&["max-age=1h", "insecure=true"])).expect("valid");
        assert_eq!(cookie.attributes, "; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600");
        for setting in ["name=a b", "name=", "name=a=b", "insecure=maybe", "max-age=1"] {
            assert!(Cookie::new(&Settings::test(&[setting])).is_err(), "{setting}");
        }
    }
}
